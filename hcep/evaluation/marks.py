"""Marks of runs that most tables do not need: a column for each stands in a table only where a row has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hcep.evaluation.scores import Scores

# `faces`: which faces the frames show, '' for whole pictures; `lexicon`: ``true`` where the score knows words outside
# the known classes
RARE = ("faces", "lexicon")


def marks_of(run: Scores) -> dict[str, str]:
    """The marks that a run has."""
    found = {"faces": run.faces, "lexicon": "true" if "lexicon" in run.settings else ""}
    return {name: value for name, value in found.items() if value}


def joined_marks(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The marks of several rows or runs as those of one."""
    found = {name: dict.fromkeys(value for row in rows for value in row.get(name, "").split(";")) for name in RARE}
    return {name: ";".join(filter(None, values)) for name, values in found.items() if any(values)}


def shown_columns(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns of a table of results, with those marks behind `text_kind` that a row has."""
    place = columns.index("text_kind") + 1
    return [*columns[:place], *(name for name in RARE if any(row.get(name) for row in rows)), *columns[place:]]
