"""The one exception that a user sees as a message instead of a traceback, and what a mistyped name was meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path


def closest(name: object, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be, whatever its case; None where none is near."""
    folded = {other.casefold(): other for other in known}
    match = difflib.get_close_matches(str(name).casefold(), folded, n=1)
    return folded[match[0]] if match else None


def not_text(value: object) -> str:
    """What to do about a name that YAML read as something else, as the beginning or the whole of a remedy."""
    if isinstance(value, bool):
        return "YAML takes yes, on, no and off for true and false: write the name in quotes, as 'no'"
    if value is None:
        return "YAML takes an empty entry, ~ and null for nothing: write the name in quotes, as 'null'"
    if isinstance(value, int | float):
        return f"YAML takes it for a number: write the name in quotes, as '{value}'"
    return "YAML does not take it for text: write the name in quotes"


# what a terminal obeys, or what turns the order of letters around; line ends and tabs of a message stay
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
CONTROL, CONTROL_OR_BREAK = re.compile(f"[{_CONTROL}]"), re.compile(rf"[{_CONTROL}\t\n]")


def shown(text: str, *, line: bool = False) -> str:
    """Text that does no more on a terminal than be read: names and cells from outside may hold anything.

    With `line` it stays on its line too.
    """
    return (CONTROL_OR_BREAK if line else CONTROL).sub(lambda sign: ascii(sign[0])[1:-1], text)


class HcepError(Exception):
    """Input or state that a user can mend.

    Parameters
    ----------
    cause : str
        What is wrong, in one sentence without a full stop.
    file : path, optional
        The file it was found in.
    row : int or str, optional
        Line number (1 = first line of the file), clip or key inside that file.
    remedy : str, optional
        What to do about it.
    """

    def __init__(
        self, cause: str, *, file: str | Path | None = None, row: int | str | None = None, remedy: str | None = None
    ) -> None:
        self.cause, self.file, self.row, self.remedy = cause, file, row, remedy
        place = "" if file is None else f"{file}"
        if row is not None:
            place += f", row {row}" if isinstance(row, int) else f", {row}"
        text = f"{place}: {cause}" if place else cause
        super().__init__(text + (f". Remedy: {remedy}" if remedy else ""))

    def __str__(self) -> str:
        return shown(super().__str__())
