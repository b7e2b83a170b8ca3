"""CMU-MOSEI's annotation: segments with a sentiment and six emotion intensities, and one emotion name of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hcep.datasets.csd import columns, read_csd
from hcep.datasets.spellings import normal, walk
from hcep.errors import HcepError

# the columns of the csd after the sentiment (README of CMU_MOSEI in the SDK), as MAFW names them
EMOTIONS = ("happiness", "sadness", "anger", "surprise", "disgust", "fear")
COLUMNS = ("sentiment", *EMOTIONS)
RULES = ("unique_maximum", "exactly_one")
HIGHEST = 3.0
# intensities are means of a few whole numbers: two that differ at all differ by more than this
TIE = 1e-3
KEY = re.compile(r"(.+?)(?:\[([0-9]{1,9})\])?")
WHERE = (
    "put CMU_MOSEI_Labels.csd of the CMU Multimodal SDK (its cmu_mosei.py has the address) into the root of the release"
)


class Segment(NamedTuple):
    """A row of the csd: `row` is its number within the video from 0, `start` and `end` are seconds as in the file.

    `sentiment` is -3 to 3, `emotions` are intensities of 0 to 3 in the order of `EMOTIONS`.
    """

    row: int
    start: float
    end: float
    sentiment: float
    emotions: tuple[float, ...]

    @property
    def usable(self) -> bool:
        """Whether some of the video lies between start and end."""
        return self.end > max(self.start, 0.0)


class Labels(NamedTuple):
    """Video id -> segments in the file's order; rows above 3 that were `clamped`; a `remark` on the columns or ''."""

    segments: dict[str, list[Segment]]
    clamped: list[str]
    remark: str


def positive(emotions: Sequence[float]) -> list[str]:
    """Names of the emotions that are present: with an intensity above 0."""
    return [name for name, value in zip(EMOTIONS, emotions, strict=True) if value > 0]


def single_label(emotions: Sequence[float], rule: str) -> str:
    """One emotion name for six intensities in the order of `EMOTIONS`, or '' when there is none or more than one.

    The corpus is multi-label; no rule is official. By ``unique_maximum`` it is the highest intensity, if it is above 0
    and no other equals it; by ``exactly_one`` the only intensity above 0. An arg max would call every row without
    emotion and every tie that includes it happiness, its first column.
    """
    top = max(emotions)
    leading = [value if rule == "exactly_one" or top - value < TIE else 0.0 for value in emotions]
    leaders = positive(leading)
    return leaders[0] if len(leaders) == 1 else ""


def find_labels(root: Path) -> Path:
    """The csd with *label* in its name that holds sentiment and emotions together; none is an HcepError."""
    named = [
        folder / entry.name
        for folder, entries in walk(root, 4)
        for entry in entries
        if entry.name.casefold().endswith(".csd") and "label" in normal(entry.name) and entry.is_file()
    ]
    widths = {path: columns(path) for path in named}
    for path, width in widths.items():
        if width == len(COLUMNS):
            return path
    # early releases kept emotions and sentiment apart, and other corpora have labels too
    seen = "".join(f"; {path.name} has {width} columns, not {len(COLUMNS)}" for path, width in widths.items())
    raise HcepError(f"the file of labels is missing{seen}", file=root, remedy=WHERE)


def read_labels(path: Path) -> Labels:
    """Read the segments of every video.

    Intensities above 3, an error of old files (up to 4.33), become 3. Keys of an aligned file, ``video[k]``, are rows
    of ``video``.

    Raises
    ------
    HcepError
        When the file is not a csd of seven columns in the expected order, or holds numbers that are not finite.
    """
    csd = read_csd(path)
    remark = _check_columns(path, csd.metadata.get("dimension names"))
    segments: dict[str, list[Segment]] = {}
    clamped: list[str] = []
    for video, _, key in sorted(map(_place, csd.data)):
        features, intervals = csd.data[key]
        if features.shape[1] != len(COLUMNS):
            cause = f"has {features.shape[1]} columns, not the {len(COLUMNS)} of {', '.join(COLUMNS)}"
            raise HcepError(cause, file=path, row=f"video {key}", remedy=WHERE)
        if any(part.dtype.kind not in "fiu" or not np.isfinite(part).all() for part in (features, intervals)):
            raise HcepError("holds what is not a finite number", file=path, row=f"video {key}", remedy=WHERE)
        rows = segments.setdefault(video, [])
        for (sentiment, *emotions), (start, end) in zip(features.tolist(), intervals.tolist(), strict=True):
            if max(emotions) > HIGHEST + TIE:
                clamped.append(f"{video} {start:g}-{end:g} s")
            limited = tuple(min(value, HIGHEST) for value in emotions)
            rows.append(Segment(len(rows), start, end, sentiment, limited))
    return Labels(segments, clamped, remark)


def _place(key: str) -> tuple[str, int, str]:
    """Video, number within it and the key itself, of ``video`` or ``video[k]``."""
    match = KEY.fullmatch(key)
    return (match[1], int(match[2] or 0), key) if match else (key, 0, key)


def _check_columns(path: Path, names: Any) -> str:
    """Refuse columns in another order; a remark when the names are not ones that could tell."""
    if names is None:
        return ""
    stems = [str(name).strip().casefold()[:3] for name in names] if isinstance(names, list) else []
    expected = [name[:3] for name in COLUMNS]
    if stems == expected:
        return ""
    if sorted(stems) == sorted(expected):
        cause = f"has its columns in the order {', '.join(map(str, names))}, not {', '.join(COLUMNS)}"
        raise HcepError(cause, file=path, remedy=WHERE)
    return f"dimension names of {path.name} are not those of sentiment and six emotions; the order is taken on trust"
