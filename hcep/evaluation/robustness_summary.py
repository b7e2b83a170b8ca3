"""Disturbed test clips of all runs of one task -> robustness.csv: means, and differences from the clean clips."""

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
from hcep.evaluation.robustness import CLEAN, METRICS, MINUS, metric_name
from hcep.evaluation.runs import Cell, read_runs
from hcep.files import write_table

# behind the name of a metric: the difference from the clean clips, its interval, and p
PAIRED = (MINUS, f"{MINUS}_lo", f"{MINUS}_hi", "_p")
COLUMNS = (
    *("task", "method", "openness", *LEVEL_COLUMNS, "kind", "level", "splits", "seeds", "clips", "changed"),
    *(f"{name}{part}" for name in METRICS for part in ("", "_sd", "_lo", "_hi", *PAIRED)),
    *("note", "text_kind", "stand_in", "selection"),
)


def robustness_summary(runs: Sequence[str | Path], task: str, output: str | Path) -> None:
    """Average the disturbed runs of one task; methods, kinds and levels keep the order of the runs.

    Nothing is scored or drawn again: values, replicates and notes are those of robustness.h5.

    Parameters
    ----------
    runs : sequence of path
        Run folders with robustness.h5 and scores.h5.
    output : path
        ``robustness.csv``: a row per method, openness level, kind and level of disturbance, and ``mean`` rows over the
        openness levels, in percent. The columns are those of `aggregate`'s summary, and for every metric the disturbed
        clips minus the clean ones on the same draws. `clips` and `changed` are sums over the runs. A disturbance that
        some run of a row has on no clip has empty cells, and `note` says why.

    Raises
    ------
    HcepError
        As `aggregate`.
    """
    read = read_runs(runs, task, "robustness.h5")
    confidence = read[0].metrics["confidence"]
    rows = []
    for method, levels in cells_of(read).items():
        for openness, cell in levels.items():
            place: dict[str, Any] = {"task": task, "method": method, "openness": openness, **level_columns(openness)}
            place |= {"splits": len(cell.splits), "seeds": len(cell.seeds), **marks(cell.runs)}
            names = dict.fromkeys((one["kind"], one["level"]) for run in cell.runs for one in run.metrics["levels"])
            rows += [place | _row(cell, kind, level, confidence) for kind, level in names]
    write_table(output, shown_columns(COLUMNS, rows), rows)


def _row(cell: Cell, kind: str, level: str, confidence: float) -> dict[str, Any]:
    """The columns of one level of disturbance."""
    entries = [
        one for run in cell.runs for one in run.metrics["levels"] if (one["kind"], one["level"]) == (kind, level)
    ]
    row: dict[str, Any] = {"kind": kind, "level": level}
    row |= {name: sum(one[name] for one in entries) for name in ("clips", "changed")}
    lacking = sum(metric_name(kind, level, METRICS[0]) not in run.replicates for run in cell.runs)
    notes = [f"not applied in {lacking} of {len(cell.runs)} runs"] if lacking else []
    notes += [distinct(one["note"] for one in entries), note_of(cell)]
    row["note"] = "; ".join(dict.fromkeys(note for note in notes if note))
    for metric in METRICS if not lacking else ():
        name, clean = metric_name(kind, level, metric), metric_name(CLEAN, "", metric)
        row |= statistics(cell, name, metric, confidence)
        if kind != CLEAN:
            gap, draws = cell.mean[name] - cell.mean[clean], cell.replicates[name] - cell.replicates[clean]
            found = paired_columns(gap, draws, confidence)
            row |= {f"{metric}{part}": value for part, value in zip(PAIRED, found, strict=True)}
    return row
