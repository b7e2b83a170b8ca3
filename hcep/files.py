"""Files that are either whole or absent: written to a temporary name beside the target, then renamed."""

from __future__ import annotations

import csv
import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.spreadsheet import from_cell, to_cell


def remake(path: str | Path) -> str:
    """What to do about a damaged file of the workflow: Snakemake makes a missing one only when asked by name."""
    name = shlex.quote(str(path))
    return f"delete it, make it again by its name (snakemake --cores 1 {name}), then run again what you wanted"


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


def seal_beside(path: Path) -> Path:
    """Where the digest of a table stands, which has no place for one inside."""
    return path.with_name(f".{path.name}.sha256")


def write_table(
    path: str | Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    *,
    delimiter: str = ",",
    seal: bool = True,
) -> None:
    """Write rows as CSV (or TSV) with a header, UTF-8, LF line ends; a missing key is an empty cell.

    Text that a spreadsheet would take for a formula is written as `to_cell` does it, which `read_table` undoes.

    With `seal` its digest is written beside it, and `read_table` refuses it when it was changed afterwards: so do not
    seal a table that people may edit.
    """
    rows = [{name: to_cell(cell) for name, cell in row.items()} for row in rows]
    # csv quotes a carriage return only where it is part of the line end, and a reader takes a bare one for a line end
    returns = any(isinstance(cell, str) and "\r" in cell for row in rows for cell in row.values())
    quoting: Any = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    beside = seal_beside(Path(path))
    # a job that is killed between the two leaves a table without a digest, not one with that of another table
    beside.unlink(missing_ok=True)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, delimiter=delimiter, lineterminator="\n", quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)
    if seal:
        write_text(beside, f"{sha256_file(path)}\n")


def check_table(path: Path) -> None:
    """Compare a table with the digest beside it, if there is one; tables of people's own have none.

    Raises
    ------
    HcepError
        The table was changed after it was written.
    """
    beside = seal_beside(path)
    if beside.is_file() and path.is_file() and beside.read_bytes().strip() != sha256_file(path).encode():
        remedy = f"{remake(path)}; or, if you changed it yourself, delete {shlex.quote(str(beside))}"
        raise HcepError(f"its content does not match its digest in {beside.name}", file=path, remedy=remedy)


def read_table(path: str | Path, *, delimiter: str = ",") -> list[dict[str, str]]:
    """Read a table written by `write_table`; every cell is a string.

    Raises
    ------
    HcepError
        The table was changed after it was written, or is none.
    """
    check_table(Path(path))
    with Path(path).open(encoding="utf-8", newline="") as handle:
        try:
            rows = list(csv.DictReader(handle, delimiter=delimiter))
        except (csv.Error, UnicodeDecodeError) as error:
            raise HcepError(f"is not a table: {error}", file=path, remedy=remake(path)) from error
    # a row with too many cells has a list of the last ones
    return [{name: from_cell(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Short hex digest (16 characters) of a JSON-serialisable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
