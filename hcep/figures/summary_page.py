"""The summary of a task as a page: every method and openness, the paired comparisons, what else a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcep.evaluation.versus_paper import MEAN
from hcep.figures.page import Html, html_page, html_table, html_text
from hcep.figures.summary_table import (
    MOVEMENT,
    Cell,
    Row,
    Table,
    comparison_table,
    facts,
    note_parts,
    read_comparisons,
    read_summary,
    remarks,
    summary_table,
)
from hcep.files import write_text


def write_summary_page(summary: str | Path, comparisons: str | Path, output: str | Path, *, task: str) -> None:
    """Write the page for one task from ``summary.csv`` and ``comparisons.csv``; it loads nothing from elsewhere.

    Raises
    ------
    HcepError
        A table is missing or lacks a column, the summary is empty, or a cell is no number.
    """
    rows = read_summary(summary)
    head = facts(rows)
    if any(row.get("left_out") for row in rows):
        head.append("A split left classes out of the known ones, see below the table.")
    notes = [f"<p>{html_text(remark)}</p>" for remark in remarks(rows)]
    parts = [
        f"<h1>{html_text(task)}</h1>",
        f"<p>{html_text(' '.join(head))}</p>",
        *table_parts(summary_table(rows)),
        *_comparisons(read_comparisons(comparisons), rows),
        *_movement(rows),
        *(["<h2>Notes</h2>", *notes] if notes else []),
    ]
    write_text(output, html_page(task, parts))


def _comparisons(comparisons: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """The means over the levels, and folded away every level, where there is more than one."""
    if not comparisons:
        return []
    parts = ["<h2>Paired comparisons</h2>"]
    levels = {row["openness"] for row in comparisons} - {MEAN}
    if len(levels) < 2:
        return parts + table_parts(comparison_table(comparisons, rows, *levels))
    every = html_table(*_head_and_body(comparison_table(comparisons, rows)), stay=3)
    parts += table_parts(comparison_table(comparisons, rows, MEAN))
    return [*parts, f"<details><summary>At every openness</summary>{every}</details>"]


def table_parts(table: Table) -> list[str]:
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
    moved = [(row, dict(part.split(" ", 1) for part in note_parts(row) if part.startswith(MOVEMENT))) for row in rows]
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
