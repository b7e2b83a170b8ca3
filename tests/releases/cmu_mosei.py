"""Invented releases in the two shapes of CMU-MOSEI: ids, words and intensities are made up, forms and hazards real."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from sample_media import make_clip

# columns of the csd after the sentiment, and a sentence for each
SENTENCES = {
    "happiness": "this one made my whole week, honestly",
    "sadness": "they left  and nobody said a word",
    "anger": 'it is "not" fair, it never was',
    "surprise": "wait... the box was empty?",
    "disgust": "the soup smelled like a wet dog",
    "fear": "I locked the door twice that night",
}
CLASSES = tuple(SENTENCES)
# of every eight videos; six give every class three clips in train and two in test
FOLDS = ("train", "test", "train", "valid", "train", "test", "train", "none")
# forms that ids have: digits, `-` or `_` first, `_` inside
FORMS = ("Qv{:05d}-xYz", "-T{:05d}kWq", "_m_{:05d}_a", "{:06d}", "--z{:05d}Lp0", "a_b{:05d}_1")
SECONDS = 7.0


class Made(NamedTuple):
    """One labelled sentence: `row` is its number in the csd, `number` that of the sentence."""

    video: str
    row: int
    number: int
    start: float
    end: float
    sentiment: float
    emotions: tuple[float, ...]
    words: str
    fold: str


def make_release(
    root: Path,
    *,
    layout: str = "raw",
    clips_per_class: int = 8,
    media: bool = True,
    faults: bool = False,
    seed: int = 0,
) -> list[Made]:
    """Write a release and return its sentences.

    Every video holds each class once and, every third video, a sentence without emotion or with two equal ones; so
    there are `clips_per_class` videos of 6.3 sentences on average. 3,672 give the size of the real one.

    Parameters
    ----------
    root : path
        Folder to write into.
    layout : str
        ``raw`` or ``mmsa``.
    clips_per_class : int
        Videos; 6 or more, so that every class is trained and tested.
    media : bool
        Whether there are media files, real but few in kind.
    faults : bool
        Whether the things are wrong that go wrong: of video 0 an intensity is 4.33; of video 1 the transcripts are
        missing (raw) or a sentiment differs (mmsa); of video 2 a segment ends before it starts (raw) or lacks in the
        csd (mmsa); of video 3 a transcript line is cut off and not UTF-8 (raw); of the last video the media are
        missing.
    seed : int
        Another seed gives other numbers.
    """
    chance = random.Random(seed)
    made = [sentence for index in range(clips_per_class) for sentence in _video(index, chance)]
    ids = list(dict.fromkeys(sentence.video for sentence in made))
    written = _spoil(made, ids, layout) if faults else made
    write_csd(root / "labels" / "CMU_MOSEI_Labels.csd", written)
    write_words(root / "CMU_MOSEI_TimestampedWords.csd", ids[:2])
    if layout == "raw":
        without = ids[-1] if faults else ""
        write_folds(root / "cmu_mosei_std_folds.py", {sentence.video: sentence.fold for sentence in made})
        _transcripts(root / "CMU_MOSEI/Raw/Transcript/Segmented/Combined", made, ids, faults)
        targets = [Path(f"{video}.mp4") for video in ids if video != without]
        _media(root / "CMU_MOSEI/Raw/Videos/Full/Combined", targets if media else [], SECONDS)
        return made
    cut = [sentence for sentence in made if sentence.fold != "none"]
    changed = {ids[1]: 1.0} if faults else {}
    without = cut[-1].video if faults else ""
    write_table(root / "MOSEI/label.csv", cut, changed)
    targets = [Path(sentence.video, f"{sentence.number}.mp4") for sentence in cut if sentence.video != without]
    _media(root / "MOSEI/Raw", targets if media else [], 1.2)
    return cut


def _video(index: int, chance: random.Random) -> list[Made]:
    """Sentences of one video in order of time; in every second video the csd has them in another order."""
    classes: list[str] = [*CLASSES]
    chance.shuffle(classes)
    if index % 3 == 1:
        classes.insert(chance.randrange(7), "none" if index % 2 else "tie")
    rows = list(range(len(classes)))
    if index % 2 == 0:
        chance.shuffle(rows)
    video = FORMS[index % len(FORMS)].format(index)
    number = chance.randrange(3)
    made = []
    for place, (name, row) in enumerate(zip(classes, rows, strict=True)):
        # most overlap the next; the csd has more digits than the transcripts
        start = round(place * 0.95 + chance.random() * 0.05, 4)
        end = round(start + chance.choice((0.85, 1.15, 1.15)), 4)
        if place == 0 and index % 3 == 0:
            start = -0.3
        words = SENTENCES.get(name, "so there it is") + f" {index}"
        sentiment = chance.randrange(-9, 10) / 3
        made.append(
            Made(video, row, number, start, end, sentiment, _intensities(name, chance), words, FOLDS[index % 8])
        )
        # a sentence that nobody labelled takes a number too
        number += chance.choice((1, 1, 2))
    return made


def _intensities(name: str, chance: random.Random) -> tuple[float, ...]:
    if name == "none":
        return (0.0,) * 6
    if name == "tie":
        # the first column takes part: an arg max would call this happiness
        return (2 / 3, 0.0, 0.0, 2 / 3, 0.0, 0.0)
    values = [0.0] * 6
    if chance.random() < 0.4:
        values[chance.randrange(6)] = 1 / 3
    values[CLASSES.index(name)] = chance.randrange(2, 10) / 3
    return tuple(values)


def _spoil(made: Sequence[Made], ids: Sequence[str], layout: str) -> list[Made]:
    """Sentences as a faulty csd has them."""
    high = next(sentence for sentence in made if sentence.video == ids[0])
    bad = next(sentence for sentence in made if sentence.video == ids[2] and sentence.row == 5)
    rows = []
    for sentence in made:
        if sentence is high:
            highest = max(sentence.emotions)
            values = tuple(13 / 3 if value == highest else value for value in sentence.emotions)
            rows.append(sentence._replace(emotions=values))
        elif sentence is not bad:
            rows.append(sentence)
        elif layout == "raw":
            rows.append(sentence._replace(end=sentence.start - 0.5))
    return rows


def write_csd(path: Path, sentences: Sequence[Made], *, name: str = "All Labels", columns: object = None) -> Path:
    """Write a csd of labels; `columns` are its dimension names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    videos: dict[str, list[Made]] = {}
    for sentence in sentences:
        videos.setdefault(sentence.video, []).append(sentence)
    with h5py.File(path, "w") as file:
        data = file.create_group(f"{name}/data")
        for video, rows in videos.items():
            rows.sort(key=lambda sentence: sentence.row)
            group = data.create_group(video)
            features = [[row.sentiment, *row.emotions] for row in rows]
            group.create_dataset("features", data=np.array(features, np.float32))
            group.create_dataset("intervals", data=np.array([[row.start, row.end] for row in rows], np.float64))
        metadata = {
            "root name": json.dumps(name),
            "dimension names": json.dumps(
                columns or ["sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear"]
            ),
            "computational sequence description": "bare text, as in old files",
        }
        for key, text in metadata.items():
            file.create_dataset(f"{name}/metadata/{key}", (1,), h5py.string_dtype(), data=[text])
    return path


def write_words(path: Path, videos: Sequence[str]) -> None:
    """Write a csd of time-stamped words, which is not the one with the labels."""
    with h5py.File(path, "w") as file:
        for video in videos:
            file.create_dataset(f"words/data/{video}/features", data=np.array([[b"sp"], [b"hello"]]))
            file.create_dataset(f"words/data/{video}/intervals", data=np.array([[0.0, 0.5], [0.5, 1.0]]))


def write_folds(path: Path, folds: dict[str, str]) -> Path:
    """Write the SDK's file: three lists in one line each, and a video that has no labels."""
    lists = {fold: [video for video, place in folds.items() if place == fold] for fold in ("train", "test", "valid")}
    lists["test"].append("no_labels_1")
    path.write_text("\n".join(f"standard_{fold}_fold={videos!r}\n" for fold, videos in lists.items()))
    return path


def write_table(path: Path, sentences: Sequence[Made], changed: dict[str, float]) -> None:
    """Write MMSA's label.csv; clips of a video come as text sorts them, 10 before 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {-1: "Negative", 0: "Neutral", 1: "Positive"}
    spoilt = dict(changed)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode"])
        for row in sorted(sentences, key=lambda row: (row.video, str(row.number))):
            label = row.sentiment + spoilt.pop(row.video, 0.0)
            sign = (row.sentiment > 0) - (row.sentiment < 0)
            writer.writerow([row.video, row.number, row.words, f"{label:.7g}", "", "", "", names[sign], row.fold])


def _transcripts(folder: Path, made: Sequence[Made], ids: Sequence[str], faults: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {video: [] for video in ids}
    for row in made:
        lines[row.video].append(f"{row.video}___{row.number}___{row.start:.3f}___{row.end:.3f}___{row.words}")
        if row.number % 3 == 0:
            # nobody labelled this one
            lines[row.video].append(
                f"{row.video}___{row.number + 90}___{row.start + 0.4:.3f}___{row.end + 0.4:.3f}___and so on"
            )
    texts = {video: ("\n".join(rows) + "\n").encode() for video, rows in lines.items()}
    if faults:
        del texts[ids[1]]
        texts[ids[3]] += f"{ids[3]}___99___7.0\n".encode() + f"{ids[3]}___98___8.0___9.0___caf".encode() + b"\xe9\n"
    for video, text in texts.items():
        (folder / f"{video}.txt").write_bytes(text)


def _media(folder: Path, targets: Sequence[Path], seconds: float) -> None:
    """Copy two real files to all targets."""
    folder.mkdir(parents=True, exist_ok=True)
    if not targets:
        return
    originals = [
        make_clip(folder.parent / f"original{kind}.mp4", seconds=seconds, step=3, hertz=300 + 200 * kind)
        for kind in range(2)
    ]
    for place, target in enumerate(targets):
        (folder / target).parent.mkdir(exist_ok=True)
        shutil.copyfile(originals[place % 2], folder / target)
    for original in originals:
        original.unlink()
