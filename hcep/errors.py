"""The one exception that a user sees as a message instead of a traceback."""

from __future__ import annotations

from pathlib import Path


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
        self,
        cause: str,
        *,
        file: str | Path | None = None,
        row: int | str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.cause, self.file, self.row, self.remedy = cause, file, row, remedy
        place = "" if file is None else f"{file}"
        if row is not None:
            place += f", row {row}" if isinstance(row, int) else f", {row}"
        text = f"{place}: {cause}" if place else cause
        super().__init__(text + (f". Remedy: {remedy}" if remedy else ""))
