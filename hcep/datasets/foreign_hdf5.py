"""HDF5 files from outside: what they claim is looked at before a value of them is read.

HDF5 lets a file take its values from other files, by links, by external storage and by virtual datasets, and claim
arrays of any size in a few bytes. None of that is needed here, so none of it is followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import psutil

from hcep.errors import HcepError

# a compressed array takes at least this share of its size (deflate); small ones may be left out of a file
MOST_PACKED, SMALL = 1032, 2**26
REMEDY = "write a file that holds all values itself (h5repack, or h5py), or get it anew"


@contextmanager
def open_foreign(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading in which no link leads to another file.

    Raises
    ------
    HcepError
        A link leads out of it, or it is no plain file.
    OSError
        It cannot be read as HDF5.
    """
    # a pipe would be waited for
    if path.exists() and not path.is_file():
        raise HcepError("is no file", file=path, remedy="name the HDF5 file")
    with h5py.File(path, "r", locking=False) as file:
        # a link inside the file can only leave it over one of another kind; the visit ends with what is no None
        def leaves(name: bytes, link: h5py.h5l.LinkInfo) -> bytes | None:
            return None if link.type in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT) else name

        if (name := file.id.links.visit(leaves, info=True)) is not None:
            place = f"link {name.decode(errors='replace')!r}"
            raise HcepError("is a link to another file", file=path, row=place, remedy=REMEDY)
        yield file


def check_datasets(path: Path, datasets: Iterable[h5py.Dataset], *, text: bool = False, whole: bool = True) -> None:
    """Refuse datasets that are not numbers (with `text` also strings) inside the file, or that are absurdly large.

    With `whole` all of them are to be read at once, which must fit into memory.

    Raises
    ------
    HcepError
        Naming file and dataset.
    """
    total, kinds, held = 0, "fiub" + "SO" * text, path.stat().st_size
    for one in datasets:
        size = math.prod(one.shape or ()) * one.dtype.itemsize
        total += size * whole
        if one.external is not None or one.is_virtual:
            cause = "takes its values from other files"
        elif one.dtype.kind not in kinds or (one.dtype.kind == "O" and h5py.check_string_dtype(one.dtype) is None):
            cause = f"holds {one.dtype} values, not {'text' if text else 'numbers'}"
        elif size > max(SMALL, MOST_PACKED * held):
            cause = f"claims {one.shape} values of {one.dtype}, more than a file of {held:,} bytes can hold"
        elif total > psutil.virtual_memory().available:
            cause = f"needs {total / 1e9:.3g} GB with those before it, more memory than is free"
        else:
            continue
        raise HcepError(cause, file=path, row=f"dataset {one.name.lstrip('/')!r}", remedy=REMEDY)
