"""Files that are either whole or absent: written to a temporary name beside the target, then renamed."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; rename it to `path` on success, delete it on failure.

    The name is always the same, so that what a killed process left is overwritten by the next; one writer at a time.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays last: some writers choose their format by it
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.chmod(0o644)  # safetensors makes private files, which nobody else on a cluster could read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON; NaN and infinities are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_table(
    path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, delimiter: str = ","
) -> None:
    """Write rows as CSV (or TSV) with a header, UTF-8, LF line ends; a missing key is an empty cell."""
    rows = list(rows)
    # csv quotes a carriage return only where it is part of the line end, and a reader takes a bare one for a line end
    returns = any(isinstance(cell, str) and "\r" in cell for row in rows for cell in row.values())
    quoting: Any = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, delimiter=delimiter, lineterminator="\n", quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)


def shown_columns(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns of a table of results, with `faces` behind `text_kind` where a row shows faces."""
    place = columns.index("text_kind") + 1
    return [*columns[:place], *(["faces"] if any("faces" in row for row in rows) else []), *columns[place:]]


def read_table(path: str | Path, *, delimiter: str = ",") -> list[dict[str, str]]:
    """Read a table written by `write_table`; every cell is a string."""
    with Path(path).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter=delimiter))


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Short hex digest (16 characters) of a JSON-serialisable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
