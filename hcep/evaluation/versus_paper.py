"""Our numbers beside the paper's printed ones, whatever the sign of the difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcep.errors import HcepError
from hcep.evaluation.marks import joined_marks, shown_columns
from hcep.files import read_table, write_table

MEAN = "mean"
TABLES = ("table2", "table3", "table4")
PAPER_COLUMNS = ("source", "task", "method", "openness", "metric", "value")
COLUMNS = (
    *("task", "method", "openness", "metric", "ours", "lo", "hi", "paper", "difference"),
    *("stand_in", "text_kind", "selection"),
)

Row = dict[str, str]
Printed = dict[tuple[str, str, str, str, str], float]
Paper = dict[tuple[str, str, str], float]


def read_rows(file: str | Path, columns: Sequence[str]) -> list[tuple[int, Row]]:
    """Rows of a table with their row numbers (the header is row 1); each also holds under ``file`` where it is from.

    Raises
    ------
    HcepError
        The file does not exist or lacks one of the columns.
    """
    try:
        rows = read_table(file)
    except FileNotFoundError as error:
        raise HcepError("the file does not exist", file=file, remedy="run the step that writes it") from error
    for line, row in enumerate(rows, 2):
        missing = [name for name in columns if row.get(name) is None]
        if missing:
            remedy = f"write it again with the columns {', '.join(columns)}"
            raise HcepError(f"column {missing[0]} is missing", file=file, row=line, remedy=remedy)
    return [(line, row | {"file": str(file)}) for line, row in enumerate(rows, 2)]


def number(row: Row, column: str) -> float:
    """A cell as a number.

    Raises
    ------
    HcepError
        The column is missing or holds no number; file and row are named.
    """
    try:
        return float(row[column])
    except (KeyError, ValueError) as error:
        place = " ".join(row.get(name, "") for name in ("task", "method", "openness", "known")).strip()
        cause = f"no number for {column}: {row.get(column)!r}"
        raise HcepError(cause, file=row["file"], row=place or None, remedy="run its step again") from error


def difference(ours: float, paper: float) -> str:
    """Ours minus the paper's, from the printed digits."""
    return f"{round(ours, 2) - round(paper, 2) + 0.0:.2f}".replace("-0.00", "0.00")


def read_printed(file: str | Path) -> Printed:
    """All printed results of the paper, in the order of the file, which has the columns `PAPER_COLUMNS`.

    They are in percent, or in the unit that the metric's name ends in; an openness may be ``mean``.

    Raises
    ------
    HcepError
        A column is missing, a value is no number, or one number is printed twice.
    """
    numbers: Printed = {}
    for line, row in read_rows(file, PAPER_COLUMNS):
        key = (row["source"], row["task"], row["method"], row["openness"], row["metric"])
        if key in numbers:
            raise HcepError(f"{'/'.join(key)} is listed twice", file=file, row=line)
        try:
            numbers[key] = float(row["value"])
        except ValueError as error:
            raise HcepError(f"value {row['value']!r} is no number", file=file, row=line) from error
    return numbers


def of_task(printed: Printed, task: str) -> Paper:
    """The numbers of one task in Tables 2 to 4, each of which prints other tasks; empty for a task outside the paper.

    Their keys are (method, openness or ``mean``, metric), and they are in percent.
    """
    return {key[2:]: value for key, value in printed.items() if key[0] in TABLES and key[1] == task}


def same_levels(paper: Paper, levels: set[str]) -> bool:
    """Whether our openness levels are the paper's, so that the two means are over the same settings."""
    return {openness for _, openness, _ in paper if openness != MEAN} == levels


def versus_paper(summary: str | Path, paper: str | Path, task: str, output: str | Path) -> None:
    """Write one row for every number that the paper prints for a task; `ours` is empty where we have none.

    A mean stays without our number unless our openness levels are those of the paper. A task that is not in the paper
    gives a table with a header only. Read are the summary that `aggregate` wrote and the paper's printed results, see
    `read_printed`; numbers are in percent, and `difference` is ours minus the paper's, from the printed digits.

    Raises
    ------
    HcepError
        A file is malformed.
    """
    paper_numbers = of_task(read_printed(paper), task)
    read = read_rows(summary, ("task", "method", "openness", "stand_in"))
    ours = {(row["method"], row["openness"]): row for _, row in read if row["task"] == task}
    comparable = same_levels(paper_numbers, {openness for _, openness in ours} - {MEAN})
    rows = []
    for (method, openness, metric), printed in paper_numbers.items():
        row = {"task": task, "method": method, "openness": openness, "metric": metric, "paper": f"{printed:.2f}"}
        found = ours.get((method, openness))
        if found is not None and (openness != MEAN or comparable):
            row |= {"difference": difference(number(found, metric), printed), "ours": found[metric]}
            row |= {part: found.get(f"{metric}_{part}", "") for part in ("lo", "hi")}
            row |= {name: found.get(name, "") for name in ("stand_in", "text_kind", "selection")}
            row |= joined_marks([found])
        rows.append(row)
    write_table(output, shown_columns(COLUMNS, rows), rows)
