"""Post-hoc scores of all runs of one task -> posthoc.csv: means, and differences from each method's own score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcep.evaluation.aggregate import (
    LEVEL_COLUMNS,
    cells_of,
    distinct,
    level_columns,
    marks,
    note_of,
    paired_columns,
    statistics,
)
from hcep.evaluation.marks import shown_columns
from hcep.evaluation.posthoc import METRICS, OWN
from hcep.evaluation.runs import Cell, read_runs
from hcep.files import write_table

# behind the name of a metric: the difference from the method's own score, its interval, and p
PAIRED = ("_minus_own", "_minus_own_lo", "_minus_own_hi", "_p")
COLUMNS = (
    *("task", "method", "openness", *LEVEL_COLUMNS, "score", "feature", "splits", "seeds"),
    *(f"{name}{part}" for name in METRICS for part in ("", "_sd", "_lo", "_hi", *PAIRED)),
    *("note", "text_kind", "stand_in", "selection"),
)


def posthoc_summary(runs: Sequence[str | Path], task: str, output: str | Path) -> None:
    """Average the post-hoc scores of the runs of one task; methods and scores keep the order of the runs.

    Nothing is computed from scores again and nothing is drawn: values, replicates and notes are those of posthoc.h5.

    Parameters
    ----------
    runs : sequence of path
        Run folders with posthoc.h5 and scores.h5.
    output : path
        ``posthoc.csv``: a row per method, openness level and score, and ``mean`` rows over the levels, in percent. The
        columns are those of `aggregate`'s summary, and for every metric the score minus the method's own one on the
        same draws. A score that is not defined in all runs of a row has empty cells, and `note` says why.

    Raises
    ------
    HcepError
        As `aggregate`.
    """
    read = read_runs(runs, task, "posthoc.h5")
    confidence = read[0].metrics["confidence"]
    rows = []
    for method, levels in cells_of(read).items():
        for openness, cell in levels.items():
            place: dict[str, Any] = {"task": task, "method": method, "openness": openness, **level_columns(openness)}
            place |= {"splits": len(cell.splits), "seeds": len(cell.seeds), **marks(cell.runs)}
            names = dict.fromkeys(entry["score"] for run in cell.runs for entry in run.metrics["scores"])
            rows += [place | _row(cell, name, confidence) for name in names]
    write_table(output, shown_columns(COLUMNS, rows), rows)


def _row(cell: Cell, score: str, confidence: float) -> dict[str, str]:
    """The columns of one score."""
    entries = [entry for run in cell.runs for entry in run.metrics["scores"] if entry["score"] == score]
    row = {"score": score, "feature": distinct(entry["feature"] for entry in entries)}
    notes = distinct(entry["note"] for entry in entries).split(";")
    lacking = sum(f"{score} {METRICS[0]}" not in run.replicates for run in cell.runs)
    if lacking:
        notes.insert(0, f"not defined in {lacking} of {len(cell.runs)} runs")
    row["note"] = "; ".join(note.strip() for note in (*notes, note_of(cell)) if note)
    for metric in METRICS if not lacking else ():
        name, own = f"{score} {metric}", f"{OWN} {metric}"
        row |= statistics(cell, name, metric, confidence)
        if score != OWN:
            gap, draws = cell.mean[name] - cell.mean[own], cell.replicates[name] - cell.replicates[own]
            found = paired_columns(gap, draws, confidence)
            row |= {f"{metric}{part}": value for part, value in zip(PAIRED, found, strict=True)}
    return row
