"""Computational sequences (.csd) of the CMU Multimodal SDK: features of videos with the time of each, in HDF5."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from hcep.datasets.foreign_hdf5 import check_datasets, open_foreign
from hcep.errors import HcepError

PARTS = ("features", "intervals")
AGAIN = "download it again; it must be the .csd file itself, not a page or a link to it"


class Entry(NamedTuple):
    """Of one video: `features` (n, d) as stored, `intervals` (n, 2) with start and end in seconds."""

    features: np.ndarray
    intervals: np.ndarray


class Csd(NamedTuple):
    """One file: the name of its root group, video id -> `Entry`, and its metadata."""

    name: str
    data: dict[str, Entry]
    metadata: dict[str, Any]


def read_csd(path: Path) -> Csd:
    """Read a computational sequence.

    The root group may have any name; below it lie ``data/<video>/features``, ``data/<video>/intervals`` and
    ``metadata/<key>``, whose values are JSON or, in old files, bare text. Videos stand in the file's order, by name.

    Raises
    ------
    HcepError
        When the file is not HDF5, is cut off, is not laid out as above, or takes its values from elsewhere.
    """
    with _opened(path) as root:
        groups = {video: _checked(path, video, group) for video, group in root["data"].items()}
        check_datasets(path, [group[name] for group in groups.values() for name in PARTS])
        data = {video: _entry(path, video, group) for video, group in groups.items()}
        described = root["metadata"].items() if _is_group(root, "metadata") else ()
        metadata = {key: _text(path, value) for key, value in described}
        return Csd(root.name.lstrip("/"), data, metadata)


def columns(path: Path) -> int:
    """Number of columns of a computational sequence, by its first video alone; 0 when it has no video."""
    with _opened(path) as root:
        for video, group in root["data"].items():
            check_datasets(path, [_checked(path, video, group)[name] for name in PARTS])
            return int(_entry(path, video, group).features.shape[1])
    return 0


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file and find its root group; what HDF5 says of a broken file becomes an HcepError."""
    try:
        with open_foreign(path) as file:
            roots = [group for group in file.values() if isinstance(group, h5py.Group) and _is_group(group, "data")]
            if not roots:
                raise HcepError("holds no group with `data`: not a computational sequence", file=path, remedy=AGAIN)
            yield roots[0]
    except (OSError, RuntimeError) as error:
        raise HcepError(f"cannot be read as HDF5: {error}", file=path, remedy=AGAIN) from error


def _is_group(parent: h5py.Group, name: str) -> bool:
    return isinstance(parent.get(name), h5py.Group)


def _checked(path: Path, video: str, group: Any) -> h5py.Group:
    """The group of a video, which has both parts."""
    if not isinstance(group, h5py.Group) or not all(isinstance(group.get(name), h5py.Dataset) for name in PARTS):
        raise HcepError("has no features with intervals", file=path, row=f"video {video}", remedy=AGAIN)
    return group


def _entry(path: Path, video: str, group: h5py.Group) -> Entry:
    features, intervals = (group[name][()] for name in PARTS)
    if features.ndim != 2 or intervals.shape != (len(features), 2):
        shapes = f"features of shape {features.shape} and intervals of shape {intervals.shape}"
        raise HcepError(f"has {shapes}, not (n, d) and (n, 2)", file=path, row=f"video {video}", remedy=AGAIN)
    return Entry(features, intervals)


def _text(path: Path, value: Any) -> Any:
    """A metadata entry: its JSON value, or its text when it is not JSON."""
    if not isinstance(value, h5py.Dataset) or value.size != 1:
        return None
    check_datasets(path, [value], text=True)
    cell = np.ravel(value[()])[0]
    text = cell.decode("utf-8", errors="replace") if isinstance(cell, bytes) else str(cell)
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError as error:
        row = f"dataset {value.name!r}"
        raise HcepError("is JSON that is nested too deeply", file=path, row=row, remedy=AGAIN) from error
