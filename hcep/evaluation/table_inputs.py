"""What the paper's tables are filled from: our summaries, our complexity table, and the paper's printed numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hcep.errors import HcepError
from hcep.evaluation.marks import joined_marks
from hcep.evaluation.versus_paper import MEAN, Printed, Row, of_task, read_printed, read_rows

NOT_RUN = "not run"
JOINED = ("text_kind", "selection", "left_out", "note")
SUMMARY_KEYS = ("task", "method", "openness", "stand_in", *JOINED)


class TableInputs(NamedTuple):
    """Everything that a table is filled from.

    Attributes
    ----------
    ours : dict of (task, method, openness) to row
        Rows of the summaries, see `read_rows`.
    costs : dict of (method, number of known classes) to row
        Rows of the complexity table, likewise.
    printed : dict
        See `read_printed`.
    stand_in_for : mapping
        Task of the table to the task whose results are shown instead.
    absent : mapping
        Method to the reason why it has no run.
    """

    ours: dict[tuple[str, str, str], Row]
    costs: dict[tuple[str, int], Row]
    printed: Printed
    stand_in_for: Mapping[str, str]
    absent: Mapping[str, str]

    def task(self, name: str) -> str:
        """The task whose results are shown for a task of the table."""
        return self.stand_in_for.get(name, name)

    def other_levels(self, paper_task: str, method: str) -> str:
        """Why our mean is not the paper's: over which levels the two are; empty where they are the same."""
        place = (self.task(paper_task), method)
        own = [level for task, name, level in self.ours if (task, name) == place and level != MEAN]
        theirs = list(dict.fromkeys(level for _, level, _ in of_task(self.printed, paper_task) if level != MEAN))
        if set(own) == set(theirs):
            return ""
        return f"our mean is over {', '.join(own)}, the paper's over {', '.join(theirs)}: no difference"


def read_table_inputs(
    summaries: Sequence[str | Path],
    paper: str | Path,
    *,
    complexity: str | Path | None,
    stand_in_for: Mapping[str, str] | None,
    absent: Mapping[str, str] | None,
) -> TableInputs:
    """Read the files behind the tables; arguments as in `write_paper_table`.

    Raises
    ------
    HcepError
        A file is missing, lacks a column, or two summaries hold the same task.
    """
    ours: dict[tuple[str, str, str], Row] = {}
    for file in summaries:
        for line, row in read_rows(file, SUMMARY_KEYS):
            key = (row["task"], row["method"], row["openness"])
            if key in ours:
                raise HcepError(f"{' '.join(key)} is also in {ours[key]['file']}", file=file, row=line)
            ours[key] = row
    costs: dict[tuple[str, int], Row] = {}
    for line, row in read_rows(complexity, ("method", "known")) if complexity is not None else ():
        if not row["known"].isdecimal():
            raise HcepError(f"known is {row['known']!r}, no number of classes", file=complexity, row=line)
        costs[row["method"], int(row["known"])] = row
    return TableInputs(ours, costs, read_printed(paper), stand_in_for or {}, absent or {})


def marks(rows: Sequence[Row]) -> Row:
    """What a reader must know about the rows that a cell is made of."""
    kept = {name: dict.fromkeys(value for row in rows for value in row[name].split(";") if value) for name in JOINED}
    stand_in = "true" if any(row["stand_in"] == "true" for row in rows) else "false" if rows else ""
    return {name: ";".join(values) for name, values in kept.items()} | {"stand_in": stand_in} | joined_marks(rows)
