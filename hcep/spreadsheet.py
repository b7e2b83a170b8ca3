"""Cells that a spreadsheet would take for a formula, in the tables that people open.

A name from outside such as ``=HYPERLINK(...)`` would be run there. In front of such a cell stands an apostrophe, which
spreadsheets read as: this is text.
"""

from __future__ import annotations

import re
from typing import TypeVar

FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
T = TypeVar("T")


def to_cell(value: T) -> T | str:
    """A value as it is written; text that begins like a formula, and is no number and no lone sign, gets a ``'``."""
    if not isinstance(value, str) or len(value) < 2 or not FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def from_cell(text: str) -> str:
    """What `to_cell` wrote as `text`; other text stays."""
    return text[1:] if text.startswith("'") and to_cell(text[1:]) == text else text
