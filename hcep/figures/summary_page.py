"""The summary of a task as a page: every method and openness, the paired comparisons, what else a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcep.evaluation.versus_paper import MEAN
from hcep.figures.page import Html, html_page, html_table, html_text
from hcep.figures.summary_table import (
    Cell,
    Row,
    Table,
    comparison_table,
    facts,
    read_comparisons,
    read_summary,
    summary_table,
)
from hcep.files import write_text

MOVEMENT = "movement_"


def write_summary_page(summary: str | Path, comparisons: str | Path, output: str | Path, *, task: str) -> None:
    """Write the page for one task from ``summary.csv`` and ``comparisons.csv``; it loads nothing from elsewhere.

    Raises
    ------
    HcepError
        A table is missing or lacks a column, the summary is empty, or a cell is no number.
    """
    rows = read_summary(summary)
    left_out = [
        f"{openness}: {names.replace(';', ', ')}"
        for openness, names in dict.fromkeys((row["openness"], row.get("left_out", "")) for row in rows)
        if names and openness != MEAN
    ]
    head = facts(rows)
    if left_out:
        head.append("A split left classes out of the known ones, see below the table.")
    parts = [
        f"<h1>{html_text(task)}</h1>",
        f"<p>{html_text(' '.join(head))}</p>",
        *_table(summary_table(rows)),
        *(f"<p>Left out of the known classes, too few training clips: {html_text(text)}.</p>" for text in left_out),
        *_comparisons(read_comparisons(comparisons), rows),
        *_movement(rows),
        *_notes(rows),
    ]
    write_text(output, html_page(task, parts))


def _comparisons(comparisons: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """The means over the levels, and folded away every level, where there is more than one."""
    if not comparisons:
        return []
    parts = ["<h2>Paired comparisons</h2>"]
    levels = {row["openness"] for row in comparisons} - {MEAN}
    if len(levels) < 2:
        return parts + _table(comparison_table(comparisons, rows, *levels))
    every = html_table(*_head_and_body(comparison_table(comparisons, rows)), stay=3)
    parts += _table(comparison_table(comparisons, rows, MEAN))
    return [*parts, f"<details><summary>At every openness</summary>{every}</details>"]


def _table(table: Table) -> list[str]:
    """How to read a table, the table, and what must be known of some of its rows."""
    marks = [f"Bold: {table.best}"] * bool(table.best) + [f"underlined: {table.second}"] * bool(table.second)
    caption = " ".join(filter(None, [table.caption, table.interval, f"{'; '.join(marks)}." if marks else ""]))
    stay = 3 if len(table.place) > 2 and table.place[2] == "minus" else 2
    notes = [f'<p class="caption">{html_text(note)}</p>' for note in table.notes]
    return [f'<p class="caption">{html_text(caption)}</p>', html_table(*_head_and_body(table), stay=stay), *notes]


def _head_and_body(table: Table) -> tuple[list[str], list[list[str]]]:
    head = [*table.place, *(metric.heading for metric in table.metrics)]
    return head, [[*map(_name, line.place), *map(_html, line.cells)] for line in table.lines]


def _name(text: str) -> Html:
    """A name that breaks behind an underscore where its column is narrow."""
    return Html(html_text(text).replace("_", "_<wbr>"))


def _html(cell: Cell) -> Html:
    tag = {"best": "b", "second": "u"}.get(cell.mark)
    text = html_text(cell.value)
    text = f"<{tag}>{text}</{tag}>" if tag else text
    for name, part in (("beside", cell.beside), ("under", cell.under)):
        text += f' <span class="{name}">{html_text(part)}</span>' if part else ""
    return Html(f'<span class="few">{text}</span>' if cell.mark == "few" else text)


def _movement(rows: Sequence[Row]) -> list[str]:
    """How far each prompt moved, a column per prompt; rows without prompts are not listed."""
    moved = [(row, dict(part.split(" ", 1) for part in _parts(row) if part.startswith(MOVEMENT))) for row in rows]
    names = list(dict.fromkeys(name for _, values in moved for name in values))
    body = [
        [row["openness"], _name(row["method"]), *(values.get(name, "") for name in names)]
        for row, values in moved
        if values
    ]
    heading = "<h2>How far the prompts moved</h2>"
    meaning = '<p class="caption">|now − start| / |start| after training: 0 is a prompt that stayed where it began.</p>'
    head = ["openness", "method", *(name.removeprefix(MOVEMENT) for name in names)]
    return [heading, meaning, html_table(head, body, stay=2)] if body else []


def _notes(rows: Sequence[Row]) -> list[str]:
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


def _parts(row: Row) -> list[str]:
    return row["note"].split("; ")
