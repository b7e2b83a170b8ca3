"""Evaluated runs of one task -> runs.csv, summary.csv, comparisons.csv, corpora.csv (all in percent)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hcep.evaluation.bootstrap import interval, paired_p
from hcep.evaluation.corpora import APART, PER_CORPUS, known_name
from hcep.evaluation.groups import groups_note
from hcep.evaluation.marks import joined_marks, shown_columns
from hcep.evaluation.metrics import METRICS, Floats
from hcep.evaluation.runs import Cell, Run, level_cell, mean_cell, read_runs
from hcep.evaluation.scores import IDENTITY
from hcep.evaluation.versus_paper import MEAN, Paper, number, of_task, read_printed, same_levels
from hcep.files import write_table
from hcep.protocol.openness import openness_value, parse_openness

COMPARED = ("auroc", "oscr", "accuracy")
LEVEL_COLUMNS = ("known", "unknown", "openness_value")
RUN_COLUMNS = (
    *(*IDENTITY, *LEVEL_COLUMNS),
    *("n_known", "n_unknown", "n_groups", "replicates_dropped"),
    *(f"{name}{part}" for name in METRICS for part in ("", "_lo", "_hi")),
    *("text_kind", "stand_in", "selection", "left_out", "corpora", "corpus_positive"),
    *(f"{APART}{part}" for part in ("", "_lo", "_hi")),
)
SUMMARY_COLUMNS = (
    *("task", "method", "openness", *LEVEL_COLUMNS, "splits", "seeds"),
    *(f"{name}{part}" for name in METRICS for part in ("", "_sd", "_lo", "_hi")),
    *("paper_auroc", "paper_oscr", "text_kind", "stand_in", "selection", "left_out", "protocol", "note"),
)
COMPARISON_COLUMNS = (
    *("task", "method", "reference", "openness", "metric", "difference", "lo", "hi", "p"),
    *("splits", "seeds", "text_kind", "stand_in", "selection"),
)
CORPORA_COLUMNS = (
    *("task", "method", "openness", "corpus", "splits", "seeds"),
    *(f"{name}{part}" for name in PER_CORPUS for part in ("", "_sd", "_lo", "_hi")),
    "corpus_positive",
    *(f"{APART}{part}" for part in ("", "_sd", "_lo", "_hi")),
    *("text_kind", "stand_in", "selection"),
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
    corpora_csv: str | Path | None = None,
    protocol: str = "",
    references: Sequence[str] = (),
) -> None:
    """Average and compare all evaluated runs of one task; methods keep the order in which they first appear.

    Nothing is computed from scores again: point values are those of metrics.json, intervals those of the averaged
    replicates.h5, with the confidence that the runs were evaluated with.

    Parameters
    ----------
    runs : sequence of path
        Run folders with metrics.json, replicates.h5, scores.h5 and, where the method trains, history.csv.
    paper : path, optional
        The paper's printed results; without it, and for other tasks, the paper columns stay empty.
    runs_csv : path
        One row a run, with the last movement and gap columns of its history; where the known test clips are of several
        corpora, ``corpus_auroc`` and the columns ``auroc_known_<corpus>`` and ``oscr_known_<corpus>`` are filled.
    summary_csv : path
        One row per method and openness level and one ``mean`` row per method: mean over splits and seeds, `_sd` over
        splits, `_lo` and `_hi` percentiles of the bootstrap replicates' means. Class splits count as fixed in these
        intervals; `_sd` shows what they contribute. `left_out` names the classes that a split of the row left out of K.
    comparisons_csv : path
        Every method minus each of `references` that is present, on the same test clips and the same draws.
    corpora_csv : path, optional
        One row per method, openness level and corpus of the known test clips; ``corpora.csv`` beside the summary by
        default. A task with one corpus gives a header only.
    protocol : str
        What the task chose where the paper leaves a choice, for the column of that name.
    references : sequence of str
        Names of methods.

    Raises
    ------
    HcepError
        A run is missing, listed twice, of another task, stale, evaluated with other settings than its peers, or has
        other test clips.
    """
    read = read_runs(runs, task)
    confidence = read[0].metrics["confidence"]
    cells = cells_of(read)
    printed = {} if paper is None else of_task(read_printed(paper), task)
    history = list(dict.fromkeys(name for run in read for name in run.history))
    extra = [name for name in dict.fromkeys(name for run in read for name in run.replicates) if name not in METRICS]
    per_corpus = [f"{name}{part}" for name in extra if name != APART for part in ("", "_lo", "_hi")]
    _write(runs_csv, (*RUN_COLUMNS, *per_corpus, *history), [_run_row(run) for run in read])
    _write(summary_csv, SUMMARY_COLUMNS, _summary_rows(task, cells, printed, confidence, protocol))
    _write(comparisons_csv, COMPARISON_COLUMNS, _comparison_rows(task, cells, confidence, references))
    corpora_csv = corpora_csv or Path(summary_csv).with_name("corpora.csv")
    _write(corpora_csv, CORPORA_COLUMNS, _corpora_rows(task, cells, confidence))


def _write(path: str | Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    write_table(path, shown_columns(columns, rows), rows)


def cells_of(runs: Sequence[Run]) -> Cells:
    """The runs of every method at every level, from the least open on, and over all levels as ``mean``."""
    levels = sorted({run.openness for run in runs}, key=lambda name: openness_value(*parse_openness(name)))
    cells: Cells = {}
    for method in dict.fromkeys(run.method for run in runs):
        own = {name: [run for run in runs if (run.method, run.openness) == (method, name)] for name in levels}
        cells[method] = {name: level_cell(found) for name, found in own.items()}
        cells[method][MEAN] = mean_cell(list(cells[method].values()))
    return cells


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as text in percent; '' for None."""
    # adding 0.0 turns -0.00 into 0.00
    return "" if value is None else f"{round(100 * value, digits) + 0.0:.{digits}f}"


def level_columns(openness: str) -> dict[str, Any]:
    """What `LEVEL_COLUMNS` say of a level; nothing of ``mean``."""
    if openness == MEAN:
        return {}
    known, unknown = parse_openness(openness)
    return {"known": known, "unknown": unknown, "openness_value": f"{openness_value(known, unknown):.4f}"}


def distinct(values: Iterable[str]) -> str:
    """Different texts, each once."""
    return ";".join(dict.fromkeys(value for value in values if value))


def marks(runs: Sequence[Run]) -> dict[str, str]:
    """The columns that say how comparable a row is."""
    return {
        "text_kind": distinct(run.metrics["text_kind"] for run in runs),
        **joined_marks([run.metrics for run in runs]),
        "stand_in": "true" if any(run.metrics["stand_in"] for run in runs) else "false",
        "selection": distinct(run.metrics["selection"] for run in runs),
    }


def _left_out(runs: Iterable[Run]) -> str:
    return distinct(name for run in runs for name in run.metrics["left_out"])


def _run_row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(run, name) for name in IDENTITY}
    row |= level_columns(run.openness)
    row |= {name: run.metrics[name] for name in ("n_known", "n_unknown", "n_groups", "replicates_dropped")}
    for name in run.replicates:
        for part, key in (("", "value"), ("_lo", "lo"), ("_hi", "hi")):
            row[f"{name}{part}"] = percent(run.metrics[name][key], 4)
    row |= {"left_out": _left_out([run]), "corpora": distinct(run.metrics["corpora"])}
    row["corpus_positive"] = run.metrics.get("corpus_positive", "")
    return {**row, **marks([run]), **run.history}


def _summary_rows(task: str, cells: Cells, paper: Paper, confidence: float, protocol: str) -> list[dict[str, Any]]:
    rows = []
    for method, levels in cells.items():
        comparable = same_levels(paper, set(levels) - {MEAN})
        for openness, cell in levels.items():
            row: dict[str, Any] = {"task": task, "method": method, "openness": openness, **level_columns(openness)}
            row |= {"splits": len(cell.splits), "seeds": len(cell.seeds), **marks(cell.runs), "note": note_of(cell)}
            row |= {"left_out": _left_out(cell.runs), "protocol": protocol}
            for name in METRICS:
                row |= statistics(cell, name, name, confidence)
            for name in ("auroc", "oscr"):
                value = paper.get((method, openness, name)) if openness != MEAN or comparable else None
                row[f"paper_{name}"] = "" if value is None else f"{value:.2f}"
            rows.append(row)
    return rows


def statistics(cell: Cell, metric: str, column: str, confidence: float) -> dict[str, str]:
    """A metric of a cell with its deviation and interval, as columns that begin with `column`."""
    low, high = interval(cell.replicates[metric], confidence)
    values = {"": cell.mean[metric], "_sd": cell.spread(metric), "_lo": low, "_hi": high}
    return {f"{column}{part}": percent(value) for part, value in values.items()}


def _corpora_rows(task: str, cells: Cells, confidence: float) -> list[dict[str, Any]]:
    rows = []
    for method, levels in cells.items():
        for openness, cell in levels.items():
            runs = [run for run in cell.runs if len(run.metrics["corpora"]) > 1]
            for corpus in sorted({name for run in runs for name in run.metrics["corpora"]}):
                row: dict[str, Any] = {"task": task, "method": method, "openness": openness, "corpus": corpus}
                row |= {"splits": len(cell.splits), "seeds": len(cell.seeds), **marks(cell.runs)}
                row["corpus_positive"] = distinct(run.metrics["corpus_positive"] for run in runs)
                names = {known_name(metric, corpus): metric for metric in PER_CORPUS} | {APART: APART}
                # cells stay empty where one of the averaged runs has no known test clip of this corpus
                for name in names.keys() & cell.mean.keys():
                    row |= statistics(cell, name, names[name], confidence)
                rows.append(row)
    return rows


def note_of(cell: Cell) -> str:
    """What a reader of the row must know: stand-ins, selection on test clips, the clips, few groups, movement."""
    notes = []
    if any(run.metrics["stand_in"] for run in cell.runs):
        notes.append("stand-in encoders or composite data")
    if any(run.metrics["selection"] == "best_on_test" for run in cell.runs):
        notes.append("epoch selected on test clips")
    notes += dict.fromkeys(remark for run in cell.runs for remark in run.metrics["remarks"])
    notes += filter(None, [groups_note(min(run.metrics["n_groups"] for run in cell.runs))])
    dropped = max(run.metrics["replicates_dropped"] for run in cell.runs)
    if dropped:
        notes.append(f"up to {dropped} bootstrap replicates dropped per run")
    names = dict.fromkeys(name for run in cell.runs for name in run.history if name.startswith("movement_"))
    moved = [(name, _mean_history(cell.runs, name)) for name in names]
    notes += [f"{name} {value:.3g}" for name, value in moved if value is not None]
    return "; ".join(notes)


def _mean_history(runs: Sequence[Run], name: str) -> float | None:
    rows = [run.history | {"file": str(run.folder / "history.csv")} for run in runs if run.history.get(name)]
    return sum(number(row, name) for row in rows) / len(rows) if rows else None


def _comparison_rows(task: str, cells: Cells, confidence: float, references: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    pairs = [(method, other) for method in cells for other in references if other in cells and other != method]
    for method, reference in pairs:
        for openness, cell in cells[method].items():
            other = cells[reference][openness]
            shared: dict[str, Any] = {"task": task, "method": method, "reference": reference, "openness": openness}
            shared |= {"splits": len(cell.splits), "seeds": len(cell.seeds), **marks((*cell.runs, *other.runs))}
            for name in COMPARED:
                gap, draws = cell.mean[name] - other.mean[name], cell.replicates[name] - other.replicates[name]
                found = paired_columns(gap, draws, confidence)
                rows.append(shared | {"metric": name} | dict(zip(("difference", "lo", "hi", "p"), found, strict=True)))
    return rows


def paired_columns(gap: float, draws: Floats, confidence: float) -> tuple[str, str, str, str]:
    """A difference with the ends of its interval, in percent, and p, of paired replicates `draws` (R,)."""
    low, high = interval(draws, confidence)
    return percent(gap), percent(low), percent(high), f"{paired_p(draws):.4f}"
