"""Clips whose labels, speakers and folds are the names of the folders that they lie in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hcep.errors import HcepError
from hcep.own_data.folds import fold_of
from hcep.own_data.media_files import Media, Take, clip_ids, counted, read_words, takes
from hcep.protocol.near_misses import FAMILY

LEVELS = ("fold", "label", "speaker", "*")


class Reading(NamedTuple):
    """Rows of the clip table, and what to tell about how they were found."""

    rows: list[dict[str, str]]
    told: list[str]


def read_folders(root: Path, media: Media, layout: str | None, text_kind: str) -> Reading:
    """Rows from the places of the files, by a layout such as ``label/speaker``; without one it is found.

    Raises
    ------
    HcepError
        When there are no clips, or the layout is not certain, or fits no file.
    """
    found = takes(root, media)
    if not found:
        names = ", ".join([*media.left_out, *media.tables[:1]]) or "no files at all"
        remedy = f"give the folder of the clips; here are {names}"
        raise HcepError("there is no clip below it", file=root, remedy=remedy)
    layout = layout or find_layout(root, media, [take.name for take in found])
    levels = layout.split("/")
    if levels.count("label") != 1 or any(levels.count(one) > 1 for one in ("fold", "speaker")):
        raise HcepError(f"--layout {layout} must name the label once", remedy="write e.g. label/speaker")
    wrong = next((level for level in levels if level not in LEVELS), None)
    if wrong is not None:
        remedy = f"a level of folders is one of {', '.join(LEVELS)} (* says nothing), as in label/speaker"
        raise HcepError(f"--layout {layout} has {wrong!r}", remedy=remedy)
    fitting = [take for take in found if take.name.count("/") == len(levels)]
    if not fitting:
        depths = ", ".join(f"{count} with {depth}" for depth, count in _depths([take.name for take in found]))
        cause = f"no file lies as --layout {layout} says, {len(levels)} folders deep"
        raise HcepError(cause, file=root, remedy=f"files by how many folders they lie in: {depths}")
    told = [f"layout {layout}: {counted(len(fitting), 'clip')}"]
    if other := [take.name for take in found if take.name.count("/") != len(levels)]:
        told.append(f"left out, not {counted(len(levels), 'folder')} deep: {len(other)}: {_some(other)}")
    ids = clip_ids([take.name for take in fitting])
    rows = [_row(root, take, name, levels, text_kind) for take, name in zip(fitting, ids, strict=True)]
    return Reading(rows, [*told, *_said_of(fitting, rows)])


def _row(root: Path, take: Take, name: str, levels: Sequence[str], text_kind: str) -> dict[str, str]:
    parts = dict(zip(levels, PurePosixPath(take.name).parts, strict=False))
    words = read_words(root, take.text) if take.text else ""
    return {
        "clip": name,
        "video": take.video,
        "audio": take.audio,
        "text": words,
        "text_kind": text_kind if words else "",
        "label": parts["label"],
        "group": parts.get("speaker", ""),
        "fold": parts.get("fold", ""),
    }


def _said_of(found: Sequence[Take], rows: Sequence[dict[str, str]]) -> list[str]:
    both, deaf = (sum(bool(take.audio and take.video) for take in found), sum(not take.video for take in found))
    said = [row for row in rows if row["text"]]
    told = [f"{counted(both, 'sound file')} beside a video of the same name: taken as its sound"] if both else []
    told += [f"{counted(deaf, 'clip')} of sound without a picture"] if deaf else []
    if said:
        told.append(f"words of {counted(len(said), 'clip')} in a .txt of their name: taken as {said[0]['text_kind']}")
        told[-1] += " (--text-kind)"
    return told


def find_layout(root: Path, media: Media, names: Sequence[str]) -> str:
    """The one layout that the names of the folders leave open.

    Folders of labels are those whose names are words for emotions, folders of folds are called train, test and the
    like. Where that does not decide, nobody guesses: speakers taken for labels would be learnt without a word.
    """
    depths = _depths(names)
    table = f"; {media.tables[0]} is there: --table {root / media.tables[0]} reads it" if media.tables else ""
    if len(depths) > 1 or depths[0][0] == 0:
        lying = ", ".join(f"{count} in {depth} folders" for depth, count in depths)
        remedy = f"name the levels of those that are meant, as --layout label/speaker, or give a --table{table}"
        raise HcepError(f"its clips lie at no depth that says their labels: {lying}", file=root, remedy=remedy)
    depth = depths[0][0]
    levels = [sorted({PurePosixPath(name).parts[place] for name in names}) for place in range(depth)]
    folds = [bool(fold_of(name)) for name in levels[0]]
    if depth > 1 and any(folds):
        if not all(folds):
            odd = next(name for name, fold in zip(levels[0], folds, strict=True) if not fold)
            remedy = f"name the levels, as --layout {'/'.join(['fold', 'label', 'speaker'][:depth])}, or move it away"
            raise HcepError(f"its folders are folds ({', '.join(levels[0])}) but for {odd!r}", file=root, remedy=remedy)
        return f"fold/{_decide(root, levels[1:], table, 'fold/')}"
    return _decide(root, levels, table)


def _decide(root: Path, levels: Sequence[Sequence[str]], table: str, before: str = "") -> str:
    shares = [sum(map(_is_emotion, names)) / len(names) for names in levels]
    readings = {1: ["label"], 2: ["label/speaker", "speaker/label"]}.get(len(levels), [])
    for place, reading in enumerate(readings):
        # a speaker may be called Joy
        if shares[place] >= 0.5 and all(share < 0.25 for share in [*shares[:place], *shares[place + 1 :]]):
            return reading
    seen = "; ".join(f"level {place} has {len(names)} ({_some(names)})" for place, names in enumerate(levels, 1))
    readings = readings or ["/".join(["label", *["*"] * (len(levels) - 2), "speaker"])]
    counted = [f"--layout {before}{reading} ({_counts(reading.split('/'), levels)})" for reading in readings]
    cause = f"which of its folders are labels is not certain: {seen}"
    raise HcepError(cause, file=root, remedy=f"say which, as {' or '.join(counted)}{table}")


def _counts(reading: Sequence[str], levels: Sequence[Sequence[str]]) -> str:
    pairs = zip(reading, levels, strict=True)
    return ", ".join(counted(len(names), level) for level, names in pairs if level != "*")


def _is_emotion(name: str) -> bool:
    words = re.findall(r"[^\W\d_]+", name.casefold())
    return bool(words) and all(word in FAMILY for word in words)


def _depths(names: Sequence[str]) -> list[tuple[int, int]]:
    return sorted(Counter(name.count("/") for name in names).items())


def _some(names: Sequence[str], shown: int = 5) -> str:
    return f"{', '.join(names[:shown])}{', …' if len(names) > shown else ''}"
