"""A release shaped like MAFW's, with invented clips, labels and captions.

The corpus may not be handed on, so nothing here is of it but the names of folders, files, columns and classes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from openpyxl import Workbook
from sample_media import run_ffmpeg

SINGLE = "anger disgust fear happiness neutral sadness surprise contempt anxiety helplessness disappointment"
MULTIPLE = """
anger_disgust sadness_helplessness fear_surprise surprise_anxiety fear_anxiety disgust_contempt happiness_surprise
sadness_anxiety anxiety_helplessness disgust_anxiety helplessness_disappointment fear_sadness anger_sadness
sadness_anxiety_helplessness anxiety_helplessness_disappointment anger_anxiety happiness_contempt fear_surprise_anxiety
disgust_helplessness disgust_surprise anger_disgust_anxiety anger_surprise sadness_disappointment sadness_surprise
sadness_helplessness_disappointment fear_sadness_anxiety disgust_anxiety_helplessness anger_disgust_contempt
disgust_sadness anger_helplessness disgust_disappointment disgust_helplessness_disappointment
"""
EMOTIONS = SINGLE.split()
# the 32 compound classes, the frequent ones first
COMPOUND = MULTIPLE.split()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123456\n"
LISTS = "Train & Test Set"
# different files; more clips than that share them
TEMPLATES = 60
SETS = range(1, 6)


class Release(NamedTuple):
    """What was written: label, number of the testing set and captions by clip, and the clips that lack something."""

    single: dict[str, str]
    compound: dict[str, str]
    single_fold: dict[str, int]
    compound_fold: dict[str, int]
    captions: dict[str, tuple[str, str]]
    silent: str
    missing: str
    pointer: str
    truncated: str


def make_release(
    root: Path,
    *,
    clips_per_class: int = 10,
    compound: int = 6,
    media: bool = True,
    tables: bool = True,
    faults: bool | str = False,
    seed: int = 0,
) -> Release:
    """Write a release below `root`.

    Parameters
    ----------
    root : path
        Folder to write into.
    clips_per_class : int
        Clips of each of the 11 single and of each compound class; with 10, every class has two in each test list.
    compound : int
        Number of compound classes, up to 32.
    media, tables : bool
        Whether clips and Excel tables are written.
    faults : bool or str
        With any: a clip without sound, one that is missing, a git-LFS pointer and a cut file. With ``"label"`` also a
        mistyped label in ``single/*/set_3/train.txt``.
    seed : int
        Of folds and dominant emotions.
    """
    rng = random.Random(seed)
    labels = [label for label in [*EMOTIONS, *COMPOUND[:compound]] for _ in range(clips_per_class)]
    # clips that only the single lists have, then clips that no list has
    extra = ["anger", "sadness", "anxiety"]
    ids = _ids(len(labels) + len(extra) + 4, rng)
    compound_label = dict(zip(ids, labels, strict=False))
    single_label = {clip: rng.choice(label.split("_")) for clip, label in compound_label.items()}
    single_label |= dict(zip(ids[len(labels) :], extra, strict=False))
    captions = {clip: _caption(clip, label) for clip, label in single_label.items() if label != "neutral"}
    release = Release(
        single=dict(sorted(single_label.items())),
        compound=dict(sorted(compound_label.items())),
        single_fold=_folds(single_label, rng),
        compound_fold=_folds(compound_label, rng),
        captions=captions,
        # the first clip of each of the first four classes
        **dict(zip(("silent", "missing", "pointer", "truncated"), ids[::clips_per_class], strict=False)),
    )
    for kind, by_clip, fold in (
        ("single", release.single, release.single_fold),
        ("compound", release.compound, release.compound_fold),
    ):
        _write_lists(root / LISTS / kind, by_clip, fold, captions, typo=faults == "label" and kind == "single")
    if tables:
        _write_tables(root / "Labels", release, sorted(ids))
    if media:
        _write_media(root / "data" / "clips", sorted(ids), release if faults else None)
    return release


def _ids(count: int, rng: random.Random) -> list[str]:
    """Five digits with gaps, in no order."""
    numbers = [19 + 2 * number + number // 7 for number in range(count)]
    rng.shuffle(numbers)
    return [f"{number:05d}" for number in numbers]


def _caption(clip: str, label: str) -> tuple[str, str]:
    """Chinese and English sentence; every few clips one of the peculiarities that the real ones have."""
    number = int(clip)
    who = ("A man", "A woman", "Two friends", "A child")[number % 4]
    english = f"{who} in scene {number} acts with {label[:3]} eyebrows. The mouth moves, {number % 9} times."
    if number % 5 == 0:
        english = f'{who} says "look at {number}" and waits. The eyes are "wide"'
    if number % 7 == 0:
        english = english.replace(", ", "，")
    if number % 3 == 0:
        english = english.replace(". ", ".  ")
    return f"第{number}个场景里，人物的眉毛和嘴巴在动。", english


def _folds(labels: Mapping[str, str], rng: random.Random) -> dict[str, int]:
    """Test list of each clip: the clips of a label in random order, one set after the other."""
    members: dict[str, list[str]] = {}
    for clip, label in sorted(labels.items()):
        members.setdefault(label, []).append(clip)
    folds = {}
    for clips in members.values():
        rng.shuffle(clips)
        folds |= {clip: number % 5 + 1 for number, clip in enumerate(clips)}
    return folds


def _write_lists(
    folder: Path,
    labels: Mapping[str, str],
    folds: Mapping[str, int],
    captions: Mapping[str, tuple[str, str]],
    *,
    typo: bool,
) -> None:
    plain = {clip: f"{clip}.mp4 {label}\r\n".encode("ascii") for clip, label in labels.items()}
    described = {
        clip: "\t".join((f"{clip}.mp4", label, *captions[clip])).encode("gb18030") + b"\r\n"
        for clip, label in labels.items()
        if clip in captions
    }
    for name, lines in (("no_caption", plain), ("with_caption", described)):
        for number in SETS:
            place = folder / name / f"set_{number}"
            place.mkdir(parents=True)
            train = b"".join(line for clip, line in lines.items() if folds[clip] != number)
            test = b"".join(line for clip, line in lines.items() if folds[clip] == number)
            if typo and number == 3:
                train = train.replace(b"anger", b"angre", 1)
            (place / "train.txt").write_bytes(train)
            (place / "test.txt").write_bytes(test)


def _write_tables(folder: Path, release: Release, ids: Iterable[str]) -> None:
    scores = {label: [float(label == name) for name in EMOTIONS] for label in EMOTIONS}
    multi = {clip: label for clip, label in release.compound.items() if "_" in label}
    number = {name: place for place, name in enumerate(EMOTIONS, start=1)}
    unlisted = [0.0] * len(EMOTIONS)
    tables: dict[str, list[list[Any]]] = {
        "annotation.xlsx": [
            ["clip", "invalid", *EMOTIONS],
            *([f"{clip}.mp4", 0 if clip in release.single else -1, *scores.get(release.single.get(clip, ""), unlisted)]
              for clip in ids),
        ],
        "single-set.xlsx": [
            ["clip", *EMOTIONS, "single_label"],
            *([f"{clip}.mp4", *scores[label], number[label]] for clip, label in release.single.items()),
        ],
        "multi-set.xlsx": [
            ["clip", *EMOTIONS, "multi_label"],
            *([f"{clip}.mp4", *scores[release.single[clip]], ",".join(str(number[part]) for part in label.split("_"))]
              for clip, label in multi.items()),
        ],
        "descriptive_text.xlsx": [[f"{clip}.mp4", *release.captions[clip]] for clip in sorted(release.captions)],
    }  # fmt: skip
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        write_table(folder / name, rows)


def write_table(path: Path, rows: Iterable[Iterable[Any]]) -> Path:
    """Write an Excel table of one sheet."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        sheet.append(list(row))
    book.save(path)
    return path


def _write_media(folder: Path, ids: list[str], faulty: Release | None) -> None:
    """Different short clips with sound, cut out of one film by a single call of ffmpeg."""
    folder.mkdir(parents=True)
    count = min(len(ids), TEMPLATES)
    film = ["-f", "lavfi", "-i", f"testsrc2=s=64x48:r=10:d={count}"]
    sweep = ["-f", "lavfi", "-i", f"aevalsrc=0.5*sin(2*PI*(200*t+10*t*t)):s=16000:d={count}"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-keyint_min", "10", "-c:a", "aac", "-shortest"]
    cut = ["-f", "segment", "-segment_time", "1", "-reset_timestamps", "1", "-segment_format", "mp4"]
    run_ffmpeg(*film, *sweep, *coded, *cut, folder / "template%03d.mp4")
    parts = sorted(folder.glob("template*.mp4"))
    contents = [part.read_bytes() for part in parts]
    if faulty is not None:
        run_ffmpeg("-i", parts[0], "-an", "-c:v", "copy", folder / "silent.mp4")
        silent = (folder / "silent.mp4").read_bytes()
        (folder / "silent.mp4").unlink()
    for part in parts:
        part.unlink()
    for number, clip in enumerate(ids):
        content = contents[number % len(contents)]
        if faulty is not None:
            replaced = {faulty.silent: silent, faulty.pointer: POINTER, faulty.truncated: content[: len(content) // 2]}
            content = replaced.get(clip, content)
            if clip == faulty.missing:
                continue
        (folder / f"{clip}.mp4").write_bytes(content)
