"""summary.csv as a page: one row per method and openness, the intervals beside the values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcep.figures.page import html_page, html_table, html_text
from hcep.figures.run_files import read_rows
from hcep.files import write_text

SHOWN = (("auroc", "AUROC"), ("oscr", "OSCR"), ("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("fpr95", "FPR95"))
MOVEMENT = "movement_"
PLACE = ("openness", "method", "splits", "seeds")
NEEDED = (*PLACE, "stand_in", "text_kind", "selection", "note")


def write_summary_page(summary: str | Path, output: str | Path, *, task: str) -> None:
    """Write the page for one task from ``summary.csv``, in percent; the page loads nothing from elsewhere.

    Raises
    ------
    HcepError
        The table is missing, empty, or lacks a column.
    """
    columns = [*NEEDED, *(f"{name}{part}" for name, _ in SHOWN for part in ("", "_lo", "_hi"))]
    rows = [row for _, row in read_rows(Path(summary), columns)]
    printed = [name for name in ("paper_auroc", "paper_oscr") if any(row.get(name) for row in rows)]
    levels = list(dict.fromkeys(row["openness"] for row in rows))
    body = [
        [*(row[name] for name in PLACE), *(_cell(row, name) for name, _ in SHOWN), *(row[name] for name in printed)]
        for row in sorted(rows, key=lambda row: levels.index(row["openness"]))
    ]
    facts = [
        f"Words: {', '.join(sorted({row['text_kind'] for row in rows}))}.",
        f"Epoch: {', '.join(sorted({row['selection'] for row in rows}))}.",
    ]
    facts += [f"Protocol: {text}." for text in dict.fromkeys(row.get("protocol", "") for row in rows) if text]
    if any(row["stand_in"] == "true" for row in rows):
        facts.append("Stand-in encoders or composite data: not comparable with published results.")
    left_out = [
        f"{openness}: {names.replace(';', ', ')}"
        for openness, names in dict.fromkeys((row["openness"], row.get("left_out", "")) for row in rows)
        if names and openness != "mean"
    ]
    if left_out:
        facts.append("A split left classes out of the known ones, see below the table.")
    parts = [
        f"<h1>{html_text(task)}</h1>",
        "<p>Percent; in brackets the bootstrap interval over groups of test clips. kKuU: K known and U unknown "
        f"classes; mean: over the levels. {html_text(' '.join(facts))}</p>",
        html_table([*PLACE, *(label for _, label in SHOWN), *printed], body),
        *(f"<p>Left out of the known classes, too few training clips: {html_text(text)}.</p>" for text in left_out),
        *_movement(rows),
        *_notes(rows),
    ]
    write_text(output, html_page(task, parts))


def _movement(rows: Sequence[dict[str, str]]) -> list[str]:
    """How far each prompt moved, a column per prompt; rows without prompts are not listed."""
    moved = [(row, dict(part.split(" ", 1) for part in _parts(row) if part.startswith(MOVEMENT))) for row in rows]
    names = list(dict.fromkeys(name for _, values in moved for name in values))
    body = [[*map(row.get, PLACE[:2]), *(values.get(name, "") for name in names)] for row, values in moved if values]
    heading = "<h2>How far the prompts moved</h2>"
    meaning = "<p>|now − start| / |start| after training: 0 is a prompt that stayed where it began.</p>"
    head = [*PLACE[:2], *(name.removeprefix(MOVEMENT) for name in names)]
    return [heading, meaning, html_table(head, body)] if body else []


def _notes(rows: Sequence[dict[str, str]]) -> list[str]:
    """What else a reader must know, once for all rows of which it is true."""
    places: dict[str, list[str]] = {}
    for row in rows:
        for part in _parts(row):
            # movements have a table of their own, and stand-ins are named above the table
            if part and not part.startswith((MOVEMENT, "stand-in")):
                places.setdefault(part, []).append(f"{row['method']} {row['openness']}")
    named = {part: "all rows" if len(where) == len(rows) else ", ".join(where) for part, where in places.items()}
    lines = [f"<p>{html_text(part)} ({html_text(where)}).</p>" for part, where in named.items()]
    return ["<h2>Notes</h2>", *lines] if lines else []


def _parts(row: dict[str, str]) -> list[str]:
    return row["note"].split("; ")


def _cell(row: dict[str, str], name: str) -> str:
    interval = f" [{row[f'{name}_lo']}, {row[f'{name}_hi']}]" if row[f"{name}_lo"] else ""
    return row[name] + interval
