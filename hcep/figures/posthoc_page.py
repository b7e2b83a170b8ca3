"""posthoc.csv of a task as a page: every method's own score beside the distance, then all scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcep.figures.page import html_page, html_table, html_text
from hcep.figures.run_files import read_rows
from hcep.figures.summary_table import Row, common_notes, with_interval
from hcep.files import write_text

SHOWN = (("auroc", "AUROC"), ("oscr", "OSCR"), ("fpr95", "FPR95"))
PARTS = ("", "_lo", "_hi", "_minus_own", "_minus_own_lo", "_minus_own_hi", "_p")
OWN, BOTH = "own", "own+distance"


def write_posthoc_page(table: str | Path, output: str | Path, *, task: str) -> None:
    """Write the page for one task from its ``posthoc.csv``, in percent; the page loads nothing from elsewhere.

    Raises
    ------
    HcepError
        The table is missing, empty, or lacks a column.
    """
    place = ("openness", "method", "score", "feature")
    needed = [*place, "stand_in", "note", *(f"{name}{part}" for name, _ in SHOWN for part in PARTS)]
    rows = [row for _, row in read_rows(Path(table), needed)]
    levels = list(dict.fromkeys(row["openness"] for row in rows))
    rows.sort(key=lambda row: levels.index(row["openness"]))
    heads = [text for _, label in SHOWN for text in (label, f"{label} minus own", "p")]
    common, notes = common_notes(rows)
    all_scores = [
        [*(row[name] for name in place), *(cell for name, _ in SHOWN for cell in _cells(row, name)), note]
        for row, note in zip(rows, notes, strict=True)
    ]
    facts = "Percent; in brackets the bootstrap interval over groups of test clips. kKuU: K known, U unknown classes; "
    facts += "mean: over the levels. Differences are paired: both scores are evaluated on the same draws of clips."
    if any(row["stand_in"] == "true" for row in rows):
        facts += " Stand-in encoders or composite data: not comparable with published results."
    facts += "".join(f" All rows: {text}." for text in common)
    parts = [
        f"<h1>Post-hoc scores of {html_text(task)}</h1>",
        f"<p>{html_text(facts)}</p>",
        "<h2>Own score beside own + distance</h2>",
        html_table(*_beside(rows), stay=2),
        "<h2>All scores</h2>",
        html_table([*place, *heads, "reason"], all_scores, stay=3),
    ]
    write_text(output, html_page(f"{task}: post-hoc scores", parts))


def _beside(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the short table: a row per level and method."""
    found = {(row["openness"], row["method"], row["score"]): row for row in rows}
    metrics = SHOWN[:2]
    head = ["openness", "method"]
    head += [text for _, label in metrics for text in (f"{label} own", f"{label} {BOTH}", "difference", "p")]
    body = []
    for openness, method in dict.fromkeys((row["openness"], row["method"]) for row in rows):
        own, both = (found[openness, method, score] for score in (OWN, BOTH))
        cells = [cell for name, _ in metrics for cell in (_cells(own, name)[0], *_cells(both, name))]
        body.append([openness, method, *cells])
    return head, body


def _cells(row: Row, metric: str) -> tuple[str, str, str]:
    """Value with its interval, difference from the own score with its interval, and p."""
    return with_interval(row, metric), with_interval(row, f"{metric}_minus_own"), row[f"{metric}_p"]
