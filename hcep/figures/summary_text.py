"""A summary as text: a table in the terminal, in Markdown, and in LaTeX."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hcep.evaluation.versus_paper import MEAN
from hcep.figures.summary_table import Cell, Metric, Table
from hcep.protocol.openness import parse_openness

LONGEST_LINE = 110
NARROWEST = 40
STYLES = {"best": "bold", "second": "underline", "few": "dim"}
SIGNS = {"best": "*", "second": "+"}
LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"±": r"$\pm$", "−": "$-$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "√": r"$\surd$", "≥": r"$\geq$"},
    **{"†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "§": r"$^{\mathsection}$"},
}


def make_console() -> Console:
    """A console as wide as the terminal; text for a file or a pipe is as wide as it needs, unless COLUMNS is set."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdecimal():
        console.width = 10_000
    console.width = max(console.width, NARROWEST)
    return console


def terminal_text(title: str, table: Table, facts: Sequence[str]) -> str:
    """The table for the terminal that we write to, no wider than it.

    Where the columns do not fit, intervals stand below their values; where they do not fit then, the last columns are
    left out and named. Marks are bold and underlined, or signs where the terminal has no styles.
    """
    console = make_console()
    plain = console.color_system is None
    found, left_out = _fitting(console, table, plain)
    width = min(console.width, LONGEST_LINE)
    with console.capture() as captured:
        console.print(Text(title, style="bold"))
        console.print(" ".join(facts), width=width)
        console.print(found)
        if left_out:
            # the paper's numbers come by themselves
            keys = " ".join(metric.name for metric in left_out if metric.arrow)
            remedy = f"widen the terminal, or name them: --metrics {keys}" if keys else "widen the terminal"
            names = ", ".join(metric.label for metric in left_out)
            console.print(f"Too narrow for {names}: {remedy}", width=width)
        marks = _said(table, ("*", "+") if plain else ("bold", "underlined"))
        for text in filter(None, (f"{table.caption} {table.interval}", marks, *table.notes)):
            console.print(text, width=width)
    return _stripped(captured.get())


def list_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain list in columns; only the last one wraps."""
    console = make_console()
    found = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head:
        found.add_column(name, no_wrap=name != head[-1])
    for row in rows:
        found.add_row(*map(Text, row))
    with console.capture() as captured:
        console.print(found)
    return _stripped(captured.get())


def _stripped(text: str) -> str:
    """Text without blanks at the ends of lines, and without blank lines that follow each other."""
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(line for place, line in enumerate(lines) if line or (place and lines[place - 1])) + "\n"


def _fitting(console: Console, table: Table, plain: bool) -> tuple[RichTable, Sequence[Metric]]:
    """The first layout that fits, and the metrics that it leaves out."""
    count = len(table.metrics)
    layouts = [(count, " ", False), *((left, "\n", False) for left in range(count, 0, -1))]
    wide = console.options.update(max_width=10_000)
    for shown, between, fold in layouts:
        found = _rich_table(table, shown, between, fold, plain)
        if console.measure(found, options=wide).maximum <= console.width:
            return found, table.metrics[shown:]
    return _rich_table(table, 1, "\n", True, plain), table.metrics[1:]


def _rich_table(table: Table, shown: int, between: str, fold: bool, plain: bool) -> RichTable:
    found = RichTable(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for name in table.place:
        found.add_column(name, no_wrap=not fold, overflow="fold")
    for metric in table.metrics[:shown]:
        found.add_column(metric.heading, no_wrap=True)
    for number, line in enumerate(table.lines):
        if number and line.place[0] != table.lines[number - 1].place[0]:
            found.add_section()
        found.add_row(*map(Text, line.place), *(_rich_cell(cell, between, plain) for cell in line.cells[:shown]))
    return found


def _rich_cell(cell: Cell, between: str, plain: bool) -> Text:
    sign = SIGNS.get(cell.mark, "") if plain else ""
    text = Text.assemble((f"{cell.value}{sign}", STYLES.get(cell.mark, "")))
    if cell.beside:
        text.append(f" {cell.beside}")
    if cell.under:
        text.append(f"{between}{cell.under}", style="dim")
    return text


def _said(table: Table, marks: tuple[str, str]) -> str:
    """What the marks of a table mean, as a sentence."""
    said = [f"{mark}: {text}" for mark, text in zip(marks, (table.best, table.second), strict=True) if text]
    return "; ".join(said).capitalize() + "." if said else ""


def markdown_text(title: str, table: Table, facts: Sequence[str]) -> str:
    """The table in Markdown, as GitHub shows it."""
    head = [*table.place, *(metric.heading for metric in table.metrics)]
    lines = [f"**{_markdown(title)}**", ""]
    said = _said(table, ("bold", "underlined"))
    lines += [_markdown(" ".join(part for part in (*facts, table.caption, table.interval, said) if part)), ""]
    lines += [f"| {' | '.join(map(_markdown, head))} |", f"|{' --- |' * len(head)}"]
    for line in table.lines:
        cells = [*map(_markdown, line.place), *map(_markdown_cell, line.cells)]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- {_markdown(note)}" for note in table.notes]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"[\\|*_<]", r"\\\g<0>", text)


def _markdown_cell(cell: Cell) -> str:
    around = {"best": ("**", "**"), "second": ("<u>", "</u>"), "few": ("*", "*")}.get(cell.mark, ("", ""))
    value = f"{around[0]}{cell.value}{around[1]}" if cell.value else ""
    return " ".join(part for part in (value, cell.beside, cell.under) if part)


def latex_text(title: str, table: Table, facts: Sequence[str], *, label: str) -> str:
    """The table in LaTeX with booktabs: a summary like the paper's tables, with a metric's levels side by side.

    Paired comparisons have a row for every line, their levels below each other.
    """
    said = _said(table, ("bold", "underlined"))
    beside = table.place[2:3] != ("minus",)
    # the paper's layout has no room for intervals, and writes an openness as O(K:U)
    reading = [table.caption.replace("kKuU", "O(K:U)")] if beside else [table.caption, table.interval]
    caption = " ".join(part for part in (f"{title}.", *facts, *reading, said, *table.notes) if part)
    columns, head, body = _beside_each_other(table) if beside else _below_each_other(table)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}[t]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{_latex(caption)}}}",
        rf"\label{{{label}}}",
        r"\smallskip",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        *(r"\toprule", *head, r"\midrule", *body, r"\bottomrule"),
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _beside_each_other(table: Table) -> tuple[str, list[str], list[str]]:
    """Columns, head and body of the paper's layout: rows are methods, and each metric has a column per level."""
    levels = list(dict.fromkeys(line.place[0] for line in table.lines))
    names = list(dict.fromkeys(line.place[1:] for line in table.lines))
    found = {(line.place[0], line.place[1:]): line.cells for line in table.lines}
    extra, width = len(table.place) - 1, len(levels)
    spans = [(extra + 1 + width * number, extra + width * (number + 1)) for number in range(len(table.metrics))]
    over = [rf"\multicolumn{{{width}}}{{c}}{{{_latex(metric.heading)}}}" for metric in table.metrics]
    rules = "".join(rf"\cmidrule(lr){{{first}-{last}}}" for first, last in spans)
    under = [*map(_latex, table.place[1:]), *(_level(level) for _ in table.metrics for level in levels)]
    head = [_row([*[""] * extra, *over]), rules, _row(under)]
    body = []
    for place, name in enumerate(names):
        cells = [
            found[level, name][number] if (level, name) in found else Cell()
            for number in range(len(table.metrics))
            for level in levels
        ]
        body += [r"\addlinespace[2pt]"] if place else []
        body.append(_row([*map(_latex, name), *map(_latex_value, cells)]))
        if any(cell.beside for cell in cells):
            body.append(_row([*[""] * extra, *(_small(cell.beside) for cell in cells)]))
    return "l" * extra + "c" * (width * len(table.metrics)), head, body


def _below_each_other(table: Table) -> tuple[str, list[str], list[str]]:
    """Columns, head and body with a row per line of the table."""
    # with one level, the caption says which
    first = 0 if len({line.place[0] for line in table.lines}) > 1 else 1
    head = [_row([*map(_latex, table.place[first:]), *(_latex(metric.heading) for metric in table.metrics)])]
    body: list[str] = []
    for number, line in enumerate(table.lines):
        if number and line.place[0] != table.lines[number - 1].place[0]:
            body.append(r"\addlinespace")
        cells = (f"{_latex_value(cell)} {_small(' '.join((cell.under, cell.beside)).strip())}" for cell in line.cells)
        body.append(_row([*map(_latex, line.place[first:]), *(cell.strip() for cell in cells)]))
    return "l" * (len(table.place) - first + len(table.metrics)), head, body


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _level(openness: str) -> str:
    """An openness as the paper heads its columns."""
    if openness == MEAN:
        return "Mean"
    known, unknown = parse_openness(openness)
    return f"O({known}:{unknown})"


def _latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)


def _latex_value(cell: Cell) -> str:
    value = re.sub("^[+-]", r"$\g<0>$", cell.value)
    command = {"best": "textbf", "second": "underline", "few": "textit"}.get(cell.mark)
    return rf"\{command}{{{value}}}" if command and value else value


def _small(text: str) -> str:
    return rf"{{\scriptsize {_latex(text)}}}" if text else ""
