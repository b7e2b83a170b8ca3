"""Seals: a digest of its content that a file carries, and with which it is compared whenever it is read.

A changed number, a flipped bit or half a file is then an error that names the file, never a result.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hcep.errors import HcepError
from hcep.files import atomic_path, remake, write_json, writing

SEAL = "seal"
NO_SEAL = "has no digest of its content: an older version of hcep or another program wrote it"
# what h5py raises where the bytes of a file are damaged
DAMAGE = (OSError, LookupError, ValueError, RuntimeError, TypeError, UnicodeError, OverflowError)


@contextmanager
def open_hdf5(path: Path, remedy: str = "", *, named: Path | None = None) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; a file that is not whole is an HcepError, also where that shows while it is read.

    Mode r leaves the file's date alone; without locking, readers on a network file system do not disturb each other.
    `named` is the name to use in errors.
    """
    named = named or Path(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FileNotFoundError as error:
        raise HcepError("is missing", file=named, remedy=remedy or "run the workflow, which makes it") from error
    except PermissionError as error:
        raise HcepError("may not be read", file=named, remedy="ask its owner for the right to read it") from error
    except DAMAGE as error:
        raise HcepError(f"is not a whole HDF5 file ({error})", file=named, remedy=remedy or remake(named)) from error


class Sink(io.RawIOBase):
    """A file that HDF5 writes into; after the first refusal of the system it goes on in memory, to be thrown away.

    HDF5 itself cannot give up a file that it cannot write whole: it would say so for each of its objects, also when the
    process ends. `check`, and the end of the ``with``, tell what was refused.

    Parameters
    ----------
    temporary : path
        The file.
    path : path
        Its name in errors.
    expected : int
        Bytes that are to be written, as far as is known beforehand.
    """

    def __init__(self, temporary: Path, path: str | Path, expected: int = 0) -> None:
        self._file = temporary.open("w+b", buffering=0)
        self._path, self._expected = path, expected
        self._place = self._end = 0
        self._refused: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []

    def __exit__(self, *_: object) -> None:
        self.close()
        self._file.close()
        self.check()

    def check(self) -> None:
        """Raise what kept the file from being written, an HcepError where the system refused it."""
        if self._refused is not None:
            with writing(self._path, max(self._expected, self._end)):
                raise self._refused

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, counted from the beginning or, where `whence` says so, from the end."""
        self._place = offset + (self._end if whence == io.SEEK_END else 0)
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read what has been written; zeros behind the end."""
        view, at = memoryview(buffer).cast("B"), self._place
        got = os.preadv(self._file.fileno(), [view], at)
        view[got:] = bytes(len(view) - got)
        for start, content in self._kept:
            first, last = max(start, at), min(start + len(content), at + len(view))
            if first < last:
                view[first - at : last - at] = content[first - start : last - start]
        self._place += len(view)
        return len(view)

    def write(self, content: Any) -> int:
        """Write all of `content`."""
        view, at = memoryview(content).cast("B"), self._place
        self._place += len(view)
        self._end = max(self._end, self._place)
        done = 0
        try:
            while done < len(view) and self._refused is None:
                done += os.pwrite(self._file.fileno(), view[done:], at + done)
        except OSError as error:
            self._refused = error
        if self._refused is not None:
            self._kept.append((at, bytes(view)))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cut or lengthen the file."""
        size = self._end = self._place if size is None else size
        try:
            if self._refused is None:
                self._file.truncate(size)
        except OSError as error:
            self._refused = error
        return size


@contextmanager
def new_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Write an HDF5 file atomically, sealed when it is complete."""
    with atomic_path(path) as temporary, Sink(temporary, path) as sink, h5py.File(sink, "w") as file:
        yield file
        seal_file(file)


def seal_file(file: h5py.File, leave: Sequence[str] = ()) -> None:
    """Seal an HDF5 file that is complete: every dataset but those in `leave`, and all attributes of the file."""
    digests = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name not in leave:
            digests[name] = item.attrs["sha256"] = _digest_of(item)

    file.visititems(add)
    file.attrs[SEAL] = _root(digests, file)


def check_file(file: h5py.File, path: Path, remedy: str = "", leave: Sequence[str] = ()) -> None:
    """Compare an open HDF5 file with its seal; datasets whose names begin with one of `leave` are not read.

    Raises
    ------
    HcepError
        There is no seal, or the content is not what was sealed.
    """
    stored = file.attrs.get(SEAL)
    remedy = remedy or remake(path)
    if stored is None:
        raise HcepError(NO_SEAL, file=path, remedy=remedy)
    digests: dict[str, str] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "sha256" in item.attrs:
            digests[name] = str(item.attrs["sha256"])
            if not name.startswith(tuple(leave)) and digests[name] != _digest_of(item):
                raise HcepError(f"its {name} does not match its digest", file=path, remedy=remedy)

    file.visititems(add)
    if _root(digests, file) != stored:
        raise HcepError("its content does not match its digest", file=path, remedy=remedy)


def _digest_of(dataset: h5py.Dataset) -> str:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        values = dataset.asstr()[()]
        content = json.dumps(values.tolist() if isinstance(values, np.ndarray) else values).encode()
        return hashlib.sha256(content).hexdigest()
    values = np.ascontiguousarray(dataset[()])
    total = hashlib.sha256(f"{values.dtype.str} {dataset.shape}\n".encode())
    total.update(values.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _root(digests: Mapping[str, str], file: h5py.File) -> str:
    attributes = {name: getattr(value, "item", lambda value=value: value)() for name, value in file.attrs.items()}
    attributes.pop(SEAL, None)
    return _text_digest([digests, attributes])


def _text_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_sealed_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with its seal, as its last key."""
    # what is read back is what is sealed: tuples are lists then, and keys text
    plain = json.loads(json.dumps(dict(content), allow_nan=False))
    write_json(path, plain | {SEAL: _text_digest(plain)})


def read_sealed_json(path: str | Path, remedy: str = "") -> dict[str, Any]:
    """Read a JSON object, without its seal.

    Raises
    ------
    HcepError
        The file is missing, no JSON object, without a seal, or not what was sealed.
    """
    path = Path(path)
    remedy = remedy or remake(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HcepError("the file does not exist", file=path, remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        row = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise HcepError(f"not valid JSON: {error}", file=path, row=row, remedy=remedy) from error
    if not isinstance(content, dict):
        raise HcepError("not a JSON object", file=path, remedy=remedy)
    if SEAL not in content:
        raise HcepError(NO_SEAL, file=path, remedy=remedy)
    if content.pop(SEAL) != _text_digest(content):
        raise HcepError("its content does not match its digest", file=path, remedy=remedy)
    return content
