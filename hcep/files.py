"""Files that are either whole or absent: written to a temporary name beside the target, synced, then renamed.

Everything that hcep leaves on disk is written here. What the system refuses (space, quota, rights) is an HcepError.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.spreadsheet import from_cell, to_cell


def remake(path: str | Path) -> str:
    """What to do about a damaged file of the workflow: Snakemake makes a missing one only when asked by name."""
    name = shlex.quote(str(path))
    return f"delete it, make it again by its name (snakemake --cores 1 {name}), then run again what you wanted"


# why a system refuses to write, and what helps
REFUSALS = {
    errno.ENOSPC: ("no space left", "make room there"),
    errno.EDQUOT: ("the disk quota is used up", "remove files of yours there, or ask for a larger quota"),
    errno.EFBIG: ("a file may not be so large", "raise `ulimit -f`, use more shards, or another file system"),
    errno.EROFS: ("the file system is read-only", "mount it for writing, or write elsewhere"),
}
# what `flock` says of a file system without locks
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF}
# how often to begin a file that other processes interfere with
TRIES = 20


@contextmanager
def writing(path: str | Path, size: int | None = None) -> Iterator[None]:
    """Make an HcepError, with the file and what helps, of an error that says that the system refuses to write.

    `size` is the number of bytes that are to be written, if known.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        words, remedy = REFUSALS[error.errno]
        folder = next(folder for folder in Path(path).absolute().parents if folder.is_dir())
        wanted = "" if size is None else f"{size:,} bytes were to be written, "
        cause = f"{words} while writing it: {wanted}{shutil.disk_usage(folder).free:,} bytes are free in {folder}"
        raise HcepError(cause, file=path, remedy=f"{remedy}, and run again") from error


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, would outlast a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():  # some file systems sync no folders
            error.filename = str(path)
            raise
    finally:
        os.close(handle)


def settle(temporary: Path, path: Path) -> None:
    """Give a written file its name, both of which are on the disk then."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def _lock(handle: int, wait: bool = False) -> bool | None:
    """Lock an open file or folder for this process; False: another one has it, None: there are no locks here."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return True


@contextmanager
def locked(folder: Path, told: str = "") -> Iterator[None]:
    """Let the processes of a machine do something in a folder one after another; `told`: what to say when one waits.

    The lock ends with its process, however that ends, and leaves no file. Do not ask for it twice.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        if _lock(handle) is False:
            if told:
                print(f"{folder}: {told}", file=sys.stderr, flush=True)
            _lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def _new_name(path: Path) -> Path:
    # the suffix stays last, so that a file can be told by it
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what killed processes left of this file or folder: temporary names that nobody holds locked."""
    names = re.compile(rf"\.{re.escape(path.stem)}\.[0-9a-f]{{8}}\.tmp{re.escape(path.suffix)}")
    for left in [one for one in path.parent.iterdir() if names.fullmatch(one.name)]:
        # it may have its own name by now, or belong to another user
        with suppress(FileNotFoundError, PermissionError):
            handle = os.open(left, os.O_RDONLY if left.is_dir() else os.O_RDWR)
            try:
                if _lock(handle):
                    _remove(left)
            finally:
                os.close(handle)


def _begin(path: Path, folder: bool) -> tuple[Path, int]:
    """A new file or folder beside `path`, with the rights that umask gives, and the handle that keeps it locked."""
    for attempt in range(TRIES):
        temporary = _new_name(path)
        try:
            _make_folder(path.parent)
            _sweep(path)
            if folder:
                temporary.mkdir()
            flags = os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL
            handle = os.open(temporary, flags, 0o666)
        except FileNotFoundError:
            # another process that has done the same work may have removed the folder
            if attempt == TRIES - 1:
                raise
            continue
        # who sweeps may have come between
        if _lock(handle) is not False and temporary.exists():
            return temporary, handle
        os.close(handle)
    raise HcepError("other processes remove each file that is begun here", file=path, remedy="end them and run again")


@contextmanager
def _temporary(path: Path, *, folder: bool = False) -> Iterator[Path]:
    try:
        temporary, handle = _begin(path, folder)
    except PermissionError as error:
        remedy = "ask its owner for the right, or write elsewhere"
        raise HcepError("this user may not write into its folder", file=path, remedy=remedy) from error
    try:
        yield temporary
    finally:
        _remove(temporary)
        os.close(handle)


@contextmanager
def atomic_path(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """Yield a temporary file in the target's folder; rename it to `path` on success, delete it on failure.

    File and name are on the disk then, and would outlast a power cut. The name is of this process alone, so two writers
    of one file both end well, and the one that ends last has written it. What a killed process left is removed by the
    next one that writes this file.

    Raises
    ------
    HcepError
        The system refuses to write; `size` is the number of bytes, if known.
    """
    path = Path(path)
    with writing(path, size), _temporary(path) as temporary:
        yield temporary
        settle(temporary, path)


@contextmanager
def atomic_folder(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """The same for a folder; what stands there is removed when the new one is whole."""
    path = Path(path)
    with writing(path, size), _temporary(path, folder=True) as temporary:
        yield temporary
        for file in [*temporary.rglob("*"), temporary]:
            sync(file)
        old = []
        try:
            while True:
                # moved away at once, since two that remove it file by file would take the new one apart
                with suppress(FileNotFoundError):
                    old.append(path.replace(_new_name(path)))
                try:
                    temporary.replace(path)
                    break
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster
                        raise
            sync(path.parent)
        finally:
            # interrupted in between, the one of before goes back to its place
            if old and not path.exists():
                old.pop().replace(path)
            for folder in old:
                _remove(folder)


def discard(path: Path) -> None:
    """Remove a file, what killed processes left of it, and its folder unless another process is at work there."""
    with suppress(FileNotFoundError):
        _sweep(path)
        path.unlink(missing_ok=True)
        try:
            path.parent.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Write a file atomically, see `atomic_path`."""
    with atomic_path(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


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
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, delimiter=delimiter, lineterminator="\n", quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    path = Path(path)
    beside = seal_beside(path)
    with writing(path, len(content)), _temporary(path) as table, _temporary(beside) as mark:
        table.write_bytes(content)
        mark.write_text(f"{hashlib.sha256(content).hexdigest()}\n")
        for written in (table, mark):
            sync(written)
        # one pair after another, so that no table stands beside the digest of another writer's
        with locked(path.parent):
            # a job that is killed in between leaves a table without a digest, not one with that of another table
            beside.unlink(missing_ok=True)
            table.replace(path)
            if seal:
                mark.replace(beside)
        sync(path.parent)


def check_table(path: Path) -> None:
    """Compare a table with the digest beside it, if there is one; tables of people's own have none.

    Raises
    ------
    HcepError
        The table was changed after it was written.
    """
    beside = seal_beside(path)
    if _differs(path, beside):
        # unless another process was just replacing both
        with locked(path.parent):
            if not _differs(path, beside):
                return
        remedy = f"{remake(path)}; or, if you changed it yourself, delete {shlex.quote(str(beside))}"
        raise HcepError(f"its content does not match its digest in {beside.name}", file=path, remedy=remedy)


def _differs(path: Path, beside: Path) -> bool:
    try:
        wanted = beside.read_bytes().strip()
    except FileNotFoundError:  # a table of people's own, or one that is just being replaced
        return False
    return path.is_file() and wanted != sha256_file(path).encode()


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
