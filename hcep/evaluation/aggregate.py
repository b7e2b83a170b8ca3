"""Evaluated runs of one task -> runs.csv, summary.csv, comparisons.csv (all in percent)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.evaluation.bootstrap import CONFIDENCE, REPLICATES, interval, paired_p
from hcep.evaluation.metrics import METRICS
from hcep.evaluation.runs import Cell, Run, level_cell, mean_cell, read_runs
from hcep.evaluation.versus_paper import Paper, read_paper, same_levels
from hcep.files import write_table
from hcep.protocol.openness import openness_value, parse_openness

MEAN = "mean"
REFERENCES = ("arpl_mm", "frozen_prompts")
COMPARED = ("auroc", "oscr", "accuracy")
LEVEL_COLUMNS = ("known", "unknown", "openness_value")
RUN_COLUMNS = (
    *("task", "method", "openness", "split", "seed", *LEVEL_COLUMNS),
    *("n_known", "n_unknown", "n_groups", "replicates_dropped"),
    *(f"{name}{part}" for name in METRICS for part in ("", "_lo", "_hi")),
    *("text_kind", "stand_in", "selection"),
)
SUMMARY_COLUMNS = (
    *("task", "method", "openness", *LEVEL_COLUMNS, "splits", "seeds"),
    *(f"{name}{part}" for name in METRICS for part in ("", "_sd", "_lo", "_hi")),
    *("paper_auroc", "paper_oscr", "text_kind", "stand_in", "selection", "note"),
)
COMPARISON_COLUMNS = (
    *("task", "method", "reference", "openness", "metric", "difference", "lo", "hi", "p"),
    *("splits", "seeds", "text_kind", "stand_in", "selection"),
)

Cells = dict[str, dict[str, Cell]]


def aggregate(
    runs: Sequence[str | Path],
    paper: str | Path | None,
    task: str,
    runs_csv: str | Path,
    summary_csv: str | Path,
    comparisons_csv: str | Path,
    *,
    references: Sequence[str] = REFERENCES,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> None:
    """Aggregate all runs of one task; methods keep the order in which they first appear.

    Parameters
    ----------
    runs : sequence of path
        Run folders with scores.h5, metrics.json and, where the method trains, history.csv.
    paper : path, optional
        The paper's printed results; without it, and for other tasks, the paper columns stay empty.
    task : str
    runs_csv : path
        One row a run, with the last movement and gap columns of its history.
    summary_csv : path
        One row per method and openness level and one ``mean`` row per method: mean over splits and seeds, `_sd` over
        splits, `_lo` and `_hi` percentiles of the bootstrap replicates' means. Class splits count as fixed in these
        intervals; `_sd` shows what they contribute.
    comparisons_csv : path
        Every method minus each reference that is present, on the same test clips and the same draws.
    references : sequence of str
        Methods to compare with.
    replicates, confidence, seed
        Of the bootstrap.

    Raises
    ------
    HcepError
        A run is missing, listed twice, of another task, stale, or has other test clips than its peers.
    """
    read = read_runs(runs, task, replicates=replicates, seed=seed)
    cells = _cells(read)
    printed = {} if paper is None else read_paper(paper, task)
    history = list(dict.fromkeys(name for run in read for name in run.history))
    write_table(runs_csv, (*RUN_COLUMNS, *history), [_run_row(run) for run in read])
    write_table(summary_csv, SUMMARY_COLUMNS, _summary_rows(task, cells, printed, confidence))
    write_table(comparisons_csv, COMPARISON_COLUMNS, _comparison_rows(task, cells, references, confidence))


def _cells(runs: Sequence[Run]) -> Cells:
    levels = sorted({run.openness for run in runs}, key=lambda name: openness_value(*parse_openness(name)))
    cells: Cells = {}
    for method in dict.fromkeys(run.method for run in runs):
        own = {name: [run for run in runs if (run.method, run.openness) == (method, name)] for name in levels}
        cells[method] = {name: level_cell(found) for name, found in own.items()}
        cells[method][MEAN] = mean_cell(list(cells[method].values()))
    return cells


def _percent(value: float | None, digits: int = 2) -> str:
    # adding 0.0 turns -0.00 into 0.00
    return "" if value is None else f"{round(100 * value, digits) + 0.0:.{digits}f}"


def _level(openness: str) -> dict[str, Any]:
    if openness == MEAN:
        return {}
    known, unknown = parse_openness(openness)
    return {"known": known, "unknown": unknown, "openness_value": f"{openness_value(known, unknown):.4f}"}


def _distinct(values: Iterable[str]) -> str:
    return ";".join(dict.fromkeys(value for value in values if value))


def _marks(runs: Sequence[Run]) -> dict[str, str]:
    return {
        "text_kind": _distinct(run.metrics["text_kind"] for run in runs),
        "stand_in": _flag(any(run.metrics["stand_in"] for run in runs)),
        "selection": _distinct(run.selection for run in runs),
    }


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _run_row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(run, name) for name in ("task", "method", "openness", "split", "seed")}
    row |= _level(run.openness)
    row |= {name: run.metrics[name] for name in ("n_known", "n_unknown", "n_groups", "replicates_dropped")}
    for name in METRICS:
        for part, key in (("", "value"), ("_lo", "lo"), ("_hi", "hi")):
            row[f"{name}{part}"] = _percent(run.metrics[name][key], 4)
    return {**row, **_marks([run]), **run.history}


def _summary_rows(task: str, cells: Cells, paper: Paper, confidence: float) -> list[dict[str, Any]]:
    rows = []
    for method, levels in cells.items():
        comparable = same_levels(paper, set(levels) - {MEAN})
        for openness, cell in levels.items():
            row: dict[str, Any] = {"task": task, "method": method, "openness": openness, **_level(openness)}
            row |= {"splits": len(cell.splits), "seeds": len(cell.seeds), **_marks(cell.runs), "note": _note(cell)}
            for name in METRICS:
                low, high = interval(cell.replicates[name], confidence)
                row[name], row[f"{name}_sd"] = _percent(cell.mean[name]), _percent(cell.spread(name))
                row[f"{name}_lo"], row[f"{name}_hi"] = _percent(low), _percent(high)
            for name in ("auroc", "oscr"):
                value = paper.get((method, openness, name)) if openness != MEAN or comparable else None
                row[f"paper_{name}"] = "" if value is None else f"{value:.2f}"
            rows.append(row)
    return rows


def _note(cell: Cell) -> str:
    """What a reader of the row must know: stand-ins, selection on test clips, few groups, and prompt movement."""
    notes = []
    if any(run.metrics["stand_in"] for run in cell.runs):
        notes.append("stand-in encoders or composite data")
    if any(run.selection == "best_on_test" for run in cell.runs):
        notes.append("epoch selected on test clips")
    if any(run.metrics["n_groups"] == 1 for run in cell.runs):
        notes.append("one test group: no interval")
    dropped = max(run.dropped for run in cell.runs)
    if dropped:
        notes.append(f"up to {dropped} bootstrap replicates dropped per run")
    names = dict.fromkeys(name for run in cell.runs for name in run.history if name.startswith("movement_"))
    moved = [(name, _mean_history(cell.runs, name)) for name in names]
    notes += [f"{name} {value:.3g}" for name, value in moved if value is not None]
    return "; ".join(notes)


def _mean_history(runs: Sequence[Run], name: str) -> float | None:
    values = []
    for run in runs:
        text = run.history.get(name, "")
        if not text:
            continue
        try:
            values.append(float(text))
        except ValueError as error:
            raise HcepError(f"{name} is {text!r}, no number", file=run.folder / "history.csv") from error
    return sum(values) / len(values) if values else None


def _comparison_rows(task: str, cells: Cells, references: Sequence[str], confidence: float) -> list[dict[str, Any]]:
    rows = []
    for method, levels in cells.items():
        for reference in references:
            if reference == method or reference not in cells:
                continue
            for openness, cell in levels.items():
                other = cells[reference][openness]
                shared = {"task": task, "method": method, "reference": reference, "openness": openness}
                shared |= {"splits": str(len(cell.splits)), "seeds": str(len(cell.seeds))}
                shared |= _marks((*cell.runs, *other.runs))
                rows += [{**shared, "metric": name, **_difference(cell, other, name, confidence)} for name in COMPARED]
    return rows


def _difference(cell: Cell, other: Cell, metric: str, confidence: float) -> dict[str, str]:
    draws = cell.replicates[metric] - other.replicates[metric]
    low, high = interval(draws, confidence)
    value = _percent(cell.mean[metric] - other.mean[metric])
    return {"difference": value, "lo": _percent(low), "hi": _percent(high), "p": f"{paired_p(draws):.4f}"}
