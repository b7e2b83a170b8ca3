"""MAFW's fold lists: which clip has which label and caption, and in which test list it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hcep.datasets.limits import read_bytes
from hcep.datasets.settings import nearest
from hcep.datasets.spellings import find, normal, walk
from hcep.errors import HcepError

# the order of the release's own columns and of the parts of a compound label; label ids of its tables count from 1
EMOTIONS = (
    "anger",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
    "contempt",
    "anxiety",
    "helplessness",
    "disappointment",
)
SETS = (1, 2, 3, 4, 5)
# deep enough for MAFW/Train & Test Set/Train & Test Set/single/with_caption
DEPTH = 5
CLIP_NAME = re.compile(r"([0-9]{5})\.mp4", re.IGNORECASE)
FOLDERS = {"with": ("with_caption", "with_caption_new"), "without": ("no_caption", "without_caption")}
FIELDS = {"with": "clip, label, Chinese and English caption, separated by tabs", "without": "clip and label"}
AGAIN = "unpack the list from the release again"


class Listed(NamedTuple):
    """A clip of the fold lists; `fold` is the number of the set that tests it, or ``train``."""

    label: str
    chinese: str
    caption: str
    fold: str


class FoldLists(NamedTuple):
    """The lists of one family.

    `folder` holds the sets, `clips` maps clip to row in order of clip, `members` maps ``(set, "train" or "test")`` to
    its clips.
    """

    folder: Path
    clips: Mapping[str, Listed]
    members: Mapping[tuple[int, str], frozenset[str]]

    @property
    def sets(self) -> list[int]:
        """Numbers of the sets that are there."""
        return sorted({number for number, _ in self.members})


class _Row(NamedTuple):
    file: Path
    number: int
    clip: str
    label: str
    chinese: str
    caption: str

    def refused(self, cause: str) -> HcepError:
        """An error that names file and row."""
        return HcepError(cause, file=self.file, row=self.number, remedy=AGAIN)


def list_folder(root: Path, kind: str, captions: str) -> Path:
    """The folder of one family of fold lists, e.g. ``Train & Test Set/single/with_caption``; none is an HcepError.

    `kind` is ``single`` or ``compound``, `captions` is ``with`` or ``without``.
    """
    there = []
    for folder, _ in walk(root, DEPTH):
        family = normal(folder.name)
        if family not in ("single", "compound"):
            continue
        for choice, names in FOLDERS.items():
            found = find(folder, names, depth=1, kind="folder")
            if found is not None and (family, choice) == (kind, captions):
                return found
            if found is not None:
                there.append(f"list: {family} with captions: {choice}")
    instead = f", or choose what is there: {'; '.join(sorted(set(there)))}" if there else ""
    cause = f"there are no fold lists {kind}/{FOLDERS[captions][0]} below it"
    raise HcepError(cause, file=root, remedy=f"unpack the release's folder 'Train & Test Set' there{instead}")


def list_files(folder: Path) -> dict[tuple[int, str], Path]:
    """The lists in a family's folder: ``(set, "train" or "test")`` -> file; a set that is not there has none.

    Raises
    ------
    HcepError
        When there is no set, or a set has one of its two lists only.
    """
    files = {}
    for number in SETS:
        place = find(folder, [f"set_{number}"], depth=1, kind="folder")
        if place is None:
            continue
        for part in ("train", "test"):
            path = find(place, [f"{part}.txt"], depth=1, kind="file")
            if path is None:
                raise HcepError(f"has no list {part}.txt", file=place, remedy=AGAIN)
            files[number, part] = path
    if not files:
        raise HcepError("holds no set_1 … set_5", file=folder, remedy="unpack the fold lists of the release there")
    return files


def read_lists(folder: Path, kind: str, captions: str) -> FoldLists:
    """Read and check all fold lists of the family in `folder`; see `list_folder` for `kind` and `captions`.

    Raises
    ------
    HcepError
        For a missing list, a line that does not split, an unknown label, a clip that is twice in a list, in two test
        lists or on both sides of a set, and for a label or caption that differs between lists.
    """
    rows: dict[str, _Row] = {}
    tested: dict[str, tuple[int, _Row]] = {}
    members = {}
    for (number, part), path in list_files(folder).items():
        seen: dict[str, _Row] = {}
        for row in _read(path, kind, captions):
            first = seen.setdefault(row.clip, row)
            if first is not row:
                raise row.refused(f"clip {row.clip} is already in row {first.number}")
            _check_same(row, rows.setdefault(row.clip, row))
            if part == "test":
                other, first = tested.setdefault(row.clip, (number, row))
                if other != number:
                    place = f"{first.file}, row {first.number}"
                    raise row.refused(f"clip {row.clip} is also tested in {place}: its fold is not clear")
        members[number, part] = frozenset(seen)
    for clip, (number, row) in tested.items():
        if clip in members[number, "train"]:
            raise row.refused(f"clip {clip} is in the train list of set_{number} too")
    clips = {
        clip: Listed(row.label, row.chinese, row.caption, str(tested[clip][0]) if clip in tested else "train")
        for clip, row in sorted(rows.items())
    }
    return FoldLists(folder, clips, members)


def decode(path: Path) -> str:
    """Text of a fold list.

    The release's are GB18030 (plain ASCII where there are no captions), copies may be UTF-8. UTF-8 is tried first:
    Chinese sentences in GB18030 are not valid UTF-8, while the reverse can pass and give other characters.

    Raises
    ------
    HcepError
        When it is neither, naming the line.
    """
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass  # not a copy: the release's own encoding
    try:
        return data.decode("gb18030")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise HcepError("is neither GB18030 nor UTF-8", file=path, row=row, remedy=AGAIN) from error


def _read(path: Path, kind: str, captions: str) -> Iterator[_Row]:
    # not splitlines(): a caption may hold what Unicode counts as a line end; not csv: captions hold quotes
    for number, line in enumerate(decode(path).split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.split("\t") if captions == "with" else line.split()
        if len(fields) != (4 if captions == "with" else 2):
            raise HcepError(f"does not split into {FIELDS[captions]}", file=path, row=number, remedy=AGAIN)
        name, label, chinese, caption = (field.strip() for field in [*fields, "", ""][:4])
        match = CLIP_NAME.fullmatch(name)
        fault = _label_fault(label, kind) if match else f"{name!r} is not a clip's name (five digits and .mp4)"
        if match is None or fault:
            raise HcepError(fault, file=path, row=number, remedy=AGAIN)
        yield _Row(path, number, match[1], label, chinese, caption)


def _label_fault(label: str, kind: str) -> str:
    """What is wrong with a label, or ''."""
    parts = label.split("_")
    unknown = [name for name in parts if name not in EMOTIONS]
    if unknown:
        return f"label {label!r} is not one of MAFW's{nearest(unknown[0], EMOTIONS)}"
    if kind == "single" and len(parts) > 1:
        return f"label {label!r} is a compound one, in a list of single emotions"
    canonical = "_".join(name for name in EMOTIONS if name in parts)
    return "" if label == canonical else f"label {label!r} is not in MAFW's order, {canonical!r}"


def _check_same(row: _Row, first: _Row) -> None:
    for what, here, there in (("label", row.label, first.label), ("caption", row.caption, first.caption)):
        if here != there and here.split() != there.split():
            place = f"{first.file}, row {first.number}"
            raise row.refused(f"clip {row.clip} has the {what} {here!r}, but {there!r} in {place}")
