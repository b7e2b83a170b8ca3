"""robustness.csv of a task as a page: every method on the clips as they are and on disturbed ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcep.figures.page import html_page, html_table, html_text
from hcep.figures.run_files import read_rows
from hcep.figures.summary_table import Row, common_notes, with_interval
from hcep.files import write_text

SHOWN = (("auroc", "AUROC"), ("oscr", "OSCR"), ("accuracy", "accuracy"))
MINUS = "_minus_clean"
PARTS = ("", "_lo", "_hi", MINUS, f"{MINUS}_lo", f"{MINUS}_hi", "_p")
MEAN = "mean"


def write_robustness_page(table: str | Path, output: str | Path, *, task: str) -> None:
    """Write the page for one task from its ``robustness.csv``, in percent; the page loads nothing from elsewhere.

    Raises
    ------
    HcepError
        The table is missing, empty, or lacks a column.
    """
    needed = ["openness", "method", "kind", "level", "clips", "changed", "stand_in", "note"]
    rows = [
        row for _, row in read_rows(Path(table), [*needed, *(f"{name}{part}" for name, _ in SHOWN for part in PARTS)])
    ]
    common, notes = common_notes(rows)
    facts = "Percent; in brackets the bootstrap interval over groups of test clips. kKuU: K known, U unknown classes; "
    facts += (
        "mean: over these levels. Differences are paired: disturbed and clean clips are evaluated on the same draws. "
    )
    facts += "Changed: test clips that the disturbance really changed, over all runs of the row."
    if any(row["stand_in"] == "true" for row in rows):
        facts += " Stand-in encoders or composite data: not comparable with published results."
    facts += "".join(f" All rows: {text}." for text in common)
    parts = [f"<h1>Disturbed test clips of {html_text(task)}</h1>", f"<p>{html_text(facts)}</p>"]
    levels = list(dict.fromkeys(row["openness"] for row in rows))
    both = sorted(zip(rows, notes, strict=True), key=lambda pair: levels.index(pair[0]["openness"]))
    for title, chosen in (
        ("Means over the openness levels", [pair for pair in both if pair[0]["openness"] == MEAN]),
        ("Single openness levels", [pair for pair in both if pair[0]["openness"] != MEAN]),
    ):
        parts += [f"<h2>{title}</h2>", _table(chosen)]
    write_text(output, html_page(f"{task}: disturbed test clips", parts))


def _table(rows: Sequence[tuple[Row, str]]) -> str:
    head = ["openness", "method", "disturbance", "changed"]
    head += [text for _, label in SHOWN for text in (label, f"{label} minus clean", "p")]
    body = []
    for row, note in rows:
        disturbance = f"{row['kind']} {row['level']}".strip()
        cells = [row["openness"], row["method"], disturbance, f"{row['changed']} of {row['clips']}"]
        for name, _ in SHOWN:
            cells += [with_interval(row, name), with_interval(row, f"{name}{MINUS}"), row[f"{name}_p"]]
        body.append([*cells, note])
    return html_table([*head, "reason"], body, stay=3)
