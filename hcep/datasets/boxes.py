"""A table of face boxes, ``clip,frame,x,y,w,h``, as any detector can write it."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from hcep.datasets.bad_rows import BadRows
from hcep.datasets.limits import MOST_BOXES
from hcep.datasets.manifest_file import SEPARATORS, open_table
from hcep.errors import HcepError, closest

COLUMNS = ("clip", "frame", "x", "y", "w", "h")
SUFFIXES = {".csv": ",", ".tsv": "\t"}
# a clip's name with the ending of its file is a slip, not another name
MEDIA = re.compile(r"\.(mp4|mkv|avi|mov|webm|flv|wav)$", re.IGNORECASE)


class Track(NamedTuple):
    """The boxes of a clip in order of their frames.

    Attributes
    ----------
    frames : int64 (n,)
        Number of the frame in its file, 0 = the first that is shown.
    boxes : list of tuple of int
        x, y, width and height in whole pixels; no corner is negative, a right or lower one may lie outside the picture.
    rows : list of int
        Where each stands in the table.
    """

    frames: np.ndarray
    boxes: list[tuple[int, int, int, int]]
    rows: list[int]


def read_boxes(path: Path, clips: Collection[str]) -> tuple[dict[str, Track], dict[str, int]]:
    """Read the boxes of these clips; other columns than those of `COLUMNS` are not read.

    Returns
    -------
    dict of str to Track
        Of the clips that have a box.
    dict of str to int
        Other names that the table has, and the first row of each.

    Raises
    ------
    HcepError
        When the table is missing or broken, a cell is not a number, a box is empty or lies left of or above the
        picture, or a frame of a clip has two boxes; one error for all rows.
    """
    found: dict[str, dict[int, tuple[int, tuple[int, int, int, int]]]] = defaultdict(dict)
    others: dict[str, int] = {}
    with BadRows(path) as bad:
        for row, cells in open_table(path, SUFFIXES[path.suffix.lower()], COLUMNS, bad=bad, most=MOST_BOXES):
            name = cells["clip"].strip()
            if name not in clips:
                others.setdefault(name, row)
                continue
            with bad.collected():
                frame, box = _frame(cells["frame"], path, row), _box(cells, path, row)
                first = found[name].setdefault(frame, (row, box))
                if first[0] != row:
                    cause = f"frame {frame} of clip {name!r} already has a box in row {first[0]}"
                    bad.add(cause, row, "keep one face per frame, that of the person who is meant")
    tracks = {}
    for name, boxes in found.items():
        frames = sorted(boxes)
        rows, own = zip(*(boxes[frame] for frame in frames), strict=True)
        tracks[name] = Track(np.array(frames), list(own), list(rows))
    return tracks, others


def check_names(path: Path, others: Mapping[str, int], lacking: Iterable[str]) -> None:
    """Refuse a name of the table that is nearly that of a clip without boxes.

    Names with other numbers are other clips: a table may be of a whole corpus, and the dataset only a part of it.
    """
    by_numbers: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for clip in lacking:
        by_numbers[_numbers(clip)].append(clip)
    for name, row in others.items():
        stem = MEDIA.sub("", name)
        same = by_numbers.get(_numbers(stem), [])
        letters = {_letters(clip): clip for clip in same}
        meant = letters.get(_letters(stem)) or closest(stem, same)
        if meant is not None:
            cause = f"there is no clip {name!r} in the dataset (did you mean {meant!r}, which has no box?)"
            raise HcepError(cause, file=path, row=row, remedy="write the clip's name as in the manifest")


def _numbers(name: str) -> tuple[str, ...]:
    # as text without leading zeros: Python refuses to make a number of thousands of digits
    return tuple(digits.lstrip("0") for digits in re.findall(r"[0-9]+", name))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.casefold())


def _frame(text: str, path: Path, row: int) -> int:
    value = _number("frame", text, path, row)
    if value < 0 or value != int(value):
        remedy = "count the frames of the file in the order in which they are shown: 0, 1, 2, …"
        raise HcepError(f"frame {text!r} is not the number of a frame", file=path, row=row, remedy=remedy)
    return int(value)


def _box(cells: Mapping[str, str], path: Path, row: int) -> tuple[int, int, int, int]:
    """The box in whole pixels, at least one wide and high; what is left of the picture or above it is cut off."""
    x, y, width, height = (_number(name, cells[name], path, row) for name in ("x", "y", "w", "h"))
    if min(width, height) <= 0:
        remedy = "write x, y of its upper left corner, then its width and height; no row for a frame without a face"
        raise HcepError(f"the box is {width:g} wide and {height:g} high", file=path, row=row, remedy=remedy)
    left, top = round(x), round(y)
    right, bottom = max(round(x + width), left + 1), max(round(y + height), top + 1)
    if min(right, bottom) <= 0:
        cause = f"the box {x:g},{y:g},{width:g},{height:g} lies outside the picture"
        raise HcepError(
            cause, file=path, row=row, remedy="write pixels of the source, counted from its upper left corner"
        )
    left, top = max(left, 0), max(top, 0)
    return left, top, right - left, bottom - top


def _number(name: str, text: str, path: Path, row: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # no picture is wider than that, and a whole number of this size is exact
    if not abs(value) < 2**31:
        raise HcepError(
            f"{name} {text!r} is not a number", file=path, row=row, remedy="write digits, with a decimal point"
        )
    return value


def check_table_name(adapter: str, name: object) -> None:
    """Refuse a setting `boxes` that is no name of a table below the root."""
    table = PurePosixPath(name) if isinstance(name, str) else PurePosixPath()
    if table.suffix.lower() not in SUFFIXES or table.is_absolute() or ".." in table.parts:
        endings = " or ".join(f"{suffix} ({SEPARATORS[sign]}s between cells)" for suffix, sign in SUFFIXES.items())
        cause = f"setting 'boxes' of the {adapter} adapter is {name!r}"
        raise HcepError(cause, remedy=f"name a table below the root that ends in {endings}")
