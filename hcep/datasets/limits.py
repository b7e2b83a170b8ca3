"""Sizes above which a text from outside is no list, table or sentence of a release, and parsers that keep to them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from hcep.errors import HcepError

# characters of a cell (what Python's csv takes) and of a line, columns and rows of a list of clips
LONGEST_CELL, LONGEST_LINE, MOST_COLUMNS, MOST_ROWS = 131_072, 2**24, 5_000, 5_000_000
# rows of a table of face boxes: one a frame
MOST_BOXES = 100_000_000
# bytes of a text file that is read at once
MOST_BYTES = 2**26
REMEDY = "is this the file that is meant? It may be damaged, or packed to deceive"


class TooDeep(ValueError):
    """A text whose brackets or signs go deeper than a parser follows."""


def too_large(path: Path, what: str, limit: int, unit: str, row: int | str | None = None) -> HcepError:
    """The error of a file, or a part of it, above a limit."""
    return HcepError(f"{what} more than {limit:,} {unit}", file=path, row=row, remedy=REMEDY)


def read_bytes(path: Path, limit: int = MOST_BYTES) -> bytes:
    """The content of a text file; one above the limit is an HcepError, before it is read."""
    with path.open("rb") as handle:
        content = handle.read(limit + 1)
    if len(content) > limit:
        raise too_large(path, "has", limit, "bytes")
    return content


def lines_of(handle: IO[str], path: Path) -> Iterator[str]:
    """The lines of a text, with their ends; one without end is an HcepError."""
    number = 0
    while line := handle.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise too_large(path, "has a line of", LONGEST_LINE, "characters", number)
        yield line


def read_literal(text: str | ast.AST) -> Any:
    """A Python literal, see `ast.literal_eval`.

    Raises
    ------
    SyntaxError, TypeError
        When it is none.
    ValueError
        Likewise; `TooDeep` where it is nested too deeply.
    """
    try:
        return ast.literal_eval(text)
    # the parser says MemoryError where its stack is full
    except (RecursionError, MemoryError) as error:
        raise TooDeep("it is nested too deeply") from error
