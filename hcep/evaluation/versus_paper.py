"""Our numbers beside the paper's printed ones, whatever the sign of the difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.files import read_table, write_table

TABLES = ("table2", "table3", "table4")
PAPER_COLUMNS = ("source", "task", "method", "openness", "metric", "value")
COLUMNS = (
    *("task", "method", "openness", "metric", "ours", "lo", "hi", "paper", "difference"),
    *("stand_in", "text_kind", "selection"),
)

Printed = dict[tuple[str, str, str, str, str], float]
Paper = dict[tuple[str, str, str], float]


def read_printed(file: str | Path) -> Printed:
    """All printed results of the paper, in the order of the file.

    Parameters
    ----------
    file : path
        Columns ``source,task,method,openness,metric,value``.

    Returns
    -------
    dict of (source, task, method, openness or ``mean``, metric) to float
        Percent, or the unit that the metric's name ends in.

    Raises
    ------
    HcepError
        A column is missing, a value is no number, or one number is printed twice.
    """
    numbers: Printed = {}
    for line, row in enumerate(read_table(file), 2):
        missing = [name for name in PAPER_COLUMNS if row.get(name) is None]
        if missing:
            raise HcepError(f"column {missing[0]} is missing", file=file, row=line, remedy=f"use {PAPER_COLUMNS}")
        key = (row["source"], row["task"], row["method"], row["openness"], row["metric"])
        if key in numbers:
            raise HcepError(f"{'/'.join(key)} is listed twice", file=file, row=line)
        try:
            numbers[key] = float(row["value"])
        except ValueError as error:
            raise HcepError(f"value {row['value']!r} is no number", file=file, row=line) from error
    return numbers


def read_paper(file: str | Path, task: str) -> Paper:
    """Printed results of one task, Tables 2 to 4 of the paper, in the order of the file.

    Returns
    -------
    dict of (method, openness or ``mean``, metric) to float
        Percent; empty for a task that the paper does not have.

    Raises
    ------
    HcepError
        The file is malformed, see `read_printed`.
    """
    return of_task(read_printed(file), task)


def of_task(printed: Printed, task: str) -> Paper:
    """The numbers of one task in Tables 2 to 4, each of which prints other tasks."""
    return {key[2:]: value for key, value in printed.items() if key[0] in TABLES and key[1] == task}


def same_levels(paper: Paper, levels: set[str]) -> bool:
    """Whether our openness levels are the paper's, so that the two means are over the same settings."""
    return {openness for _, openness, _ in paper if openness != "mean"} == levels


def versus_paper(summary: str | Path, paper: str | Path, task: str, output: str | Path) -> None:
    """Write one row for every number that the paper prints for a task; `ours` is empty where we have none.

    A mean stays without our number unless our openness levels are those of the paper. A task that is not in the paper
    gives a table with a header only.

    Parameters
    ----------
    summary : path
        The summary that `aggregate` wrote.
    paper : path
        The paper's printed results, see `read_printed` for the columns.
    task : str
    output : path
        Percent; `difference` is ours minus the paper's, from the printed digits.

    Raises
    ------
    HcepError
        A file is malformed.
    """
    printed_in_paper = read_paper(paper, task)
    ours: dict[tuple[str, str], dict[str, str]] = {}
    for line, row in enumerate(read_table(summary), 2):
        if not {"task", "method", "openness", "stand_in"} <= row.keys():
            raise HcepError("not a summary table", file=summary, row=line, remedy="run the aggregate step again")
        if row["task"] == task:
            ours[row["method"], row["openness"]] = row
    levels = {openness for _, openness in ours if openness != "mean"}
    comparable = same_levels(printed_in_paper, levels)
    rows = []
    for (method, openness, metric), printed in printed_in_paper.items():
        row = {"task": task, "method": method, "openness": openness, "metric": metric, "paper": f"{printed:.2f}"}
        found = ours.get((method, openness))
        if found is not None and (openness != "mean" or comparable):
            row |= _beside(found, metric, printed, summary)
        rows.append(row)
    write_table(output, COLUMNS, rows)


def _beside(found: dict[str, str], metric: str, printed: float, file: str | Path) -> dict[str, Any]:
    try:
        value = float(found[metric])
        bounds = {"lo": found[f"{metric}_lo"], "hi": found[f"{metric}_hi"]}
    except (KeyError, ValueError) as error:
        place = f"{found['method']} {found['openness']}"
        raise HcepError(f"no number for {metric}", file=file, row=place, remedy="run aggregate again") from error
    difference = round(value - printed, 2) + 0.0
    kept = {name: found.get(name, "") for name in ("stand_in", "text_kind", "selection")}
    return {"ours": found[metric], **bounds, "difference": f"{difference:.2f}", **kept}
