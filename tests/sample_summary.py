"""A summary and its comparisons as `aggregate` writes them, with numbers of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hcep.evaluation.aggregate import COMPARISON_COLUMNS, SUMMARY_COLUMNS
from hcep.evaluation.metrics import METRICS
from hcep.files import write_table

USUAL = {"task": "t", "splits": 2, "seeds": 1, "text_kind": "asr", "stand_in": "false", "selection": "last"}


def summary_row(method: str, openness: str = "k8u2", value: float = 50, **own: Any) -> dict[str, Any]:
    """A row in which every metric is `value`, with deviation 1 and an interval of 2 to either side."""
    numbers = {}
    for name in METRICS:
        parts = {"": value, "_sd": 1, "_lo": value - 2, "_hi": value + 2}
        numbers |= {f"{name}{part}": f"{number:.2f}" for part, number in parts.items()}
    return {**USUAL, **numbers, "method": method, "openness": openness, "note": "", **own}


def comparison_row(method: str, reference: str, openness: str = "k8u2", **own: Any) -> dict[str, Any]:
    """Method minus reference in AUROC: 1.5 points, p 0.03."""
    numbers = {"metric": "auroc", "difference": "1.50", "lo": "0.10", "hi": "2.90", "p": "0.0300"}
    return {**USUAL, **numbers, "method": method, "reference": reference, "openness": openness, **own}


def write_results(folder: Path, rows: list[dict[str, Any]], comparisons: list[dict[str, Any]]) -> Path:
    """summary.csv and comparisons.csv of a task in a folder, which is returned."""
    more = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in SUMMARY_COLUMNS]
    write_table(folder / "summary.csv", [*SUMMARY_COLUMNS, *more], rows)
    write_table(folder / "comparisons.csv", COMPARISON_COLUMNS, comparisons)
    return folder
