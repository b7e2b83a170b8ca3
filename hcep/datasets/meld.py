"""MELD: utterances of the series Friends in seven emotions, with transcripts (Poria et al., ACL 2019)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from hcep.datasets.bad_rows import BadRows
from hcep.datasets.corpus import TEXTS, Corpus
from hcep.datasets.manifest_file import Clip, open_table
from hcep.datasets.settings import nearest
from hcep.datasets.spellings import find, names_in
from hcep.datasets.survey import Fault, Survey, warning
from hcep.errors import HcepError
from hcep.files import digest, sha256_file

# fold -> list of utterances, folder of clips
FOLDS = {
    "train": ("train_sent_emo.csv", "train_splits"),
    "valid": ("dev_sent_emo.csv", "dev_splits_complete"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test"),
}
# names of the release, as the class names of MAFW
NAMES = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
EMOTIONS = {name: name for name in NAMES} | {"joy": "happiness"}
COLUMNS = ("Utterance", "Emotion", "Dialogue_ID", "Utterance_ID")
# 00:16:16,059
TIME = re.compile(r"(\d{1,9}):(\d\d?):(\d\d?)[,.](\d{1,3})")
# quotes and dashes of Windows-1252 stand in the lists as the control characters of the same number
REPAIRS = {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)} | {0xA0: " "}
SOURCE = (
    "get MELD.Raw.tar.gz of huggingface.co/datasets/declare-lab/MELD, unpack it and the train.tar.gz, dev.tar.gz and "
    "test.tar.gz in it, and set the dataset's `root` to the folder MELD.Raw"
)


class Utterance(NamedTuple):
    """A row of a list: numbers of dialogue and utterance, which begin anew in every fold, class name, listed words.

    `seconds` is the length between its two times, None where they give none.
    """

    dialogue: int
    number: int
    emotion: str
    text: str
    seconds: float | None

    @property
    def file(self) -> str:
        """Name of the clip's file."""
        return f"dia{self.dialogue}_utt{self.number}.mp4"


class Meld(Corpus):
    """``MELD.Raw``: three lists ``*_sent_emo.csv`` and three folders of ``dia<D>_utt<U>.mp4``, at any depth to three.

    The folds are the official ones: train, valid (dev) and test. A group is a dialogue; the speakers are the same in
    all folds. The words are those of the script, transcript of what is said. Two clips of the release are known to be
    missing (dev, dialogue 110, utterance 7) or broken (train, dialogue 125, utterance 3): they keep their rows, and
    decoding flags them. Files that no list names, and the ``._dia…`` files of macOS, are not used. The length that a
    row's StartTime and EndTime give goes into the column seconds, to be compared with the file. The root is the folder
    MELD.Raw, or one of the folders above it.

    Settings: ``text``: manifest, none or asr; ``keep_neutral``: whether neutral utterances are listed (default true).
    """

    name = "meld"
    choices: ClassVar = {"text": TEXTS, "keep_neutral": (True, False)}

    def watch(self) -> list[str]:
        """Digests of the three lists and of the names of the clips of each fold."""
        lines = []
        for fold, (table, folder) in FOLDS.items():
            path = find(self.root, [table], depth=3, kind="file")
            names = sorted(_videos(find(self.root, [folder], depth=3, kind="folder")))
            lines.append(f"{fold} list: {sha256_file(path) if path else 'missing'}")
            lines.append(f"{fold} media: {len(names)} {digest(names)}")
        return lines

    def clips(self) -> list[Clip]:
        """One clip per utterance.

        Raises
        ------
        HcepError
            When a list is missing, lacks a column, names an unknown emotion, or names an utterance twice.
        """
        clips: list[Clip] = []
        repaired = neutral = 0
        for fold in FOLDS:
            folder = self._folder(fold)
            for utterance in self._utterances(fold):
                if utterance.emotion == "neutral" and not self.settings["keep_neutral"]:
                    neutral += 1
                    continue
                text = utterance.text.translate(REPAIRS)
                repaired += text != utterance.text
                clips.append(self._clip(fold, f"{folder}/{utterance.file}", utterance, text.strip()))
        folds = Counter(clip.fold for clip in clips)
        sizes = ", ".join(f"{fold} {folds[fold]}" for fold in FOLDS)
        timeless = sum(clip.seconds is None for clip in clips)
        self.tell(
            f"{len(clips)} utterances ({sizes}), {neutral} neutral ones left out, {timeless} without a length "
            f"(StartTime, EndTime), characters of Windows-1252 mended in {repaired}"
        )
        return clips

    def _clip(self, fold: str, media: str, utterance: Utterance, text: str) -> Clip:
        text, kind = self.words(text)
        return Clip(
            clip=f"{fold}_{utterance.file.removesuffix('.mp4')}",
            video=media,
            audio=media,
            text=text,
            text_kind=kind,
            language="en",
            label=utterance.emotion,
            labels=utterance.emotion,
            group=f"{fold}-dia{utterance.dialogue}",
            fold=fold,
            seconds=utterance.seconds,
        )

    def _list(self, fold: str) -> Path:
        name = FOLDS[fold][0]
        found = find(self.root, [name], depth=3, kind="file")
        if found is None:
            raise HcepError(f"the list {name} is not below it", file=self.root, remedy=SOURCE)
        return found

    def _folder(self, fold: str) -> str:
        """Folder of a fold's clips below the root; where the release has it when it is not there."""
        name = FOLDS[fold][1]
        found = find(self.root, [name], depth=3, kind="folder") or self._list(fold).parent / name
        return self.below(found)

    def _utterances(self, fold: str) -> list[Utterance]:
        path = self._list(fold)
        utterances: list[Utterance] = []
        rows: dict[str, int] = {}
        with BadRows(path) as bad:
            for row, cells in open_table(path, ",", COLUMNS, SOURCE, bad):
                with bad.collected():
                    utterance = _utterance(path, row, cells)
                    if utterance.file in rows:
                        cause = f"{utterance.file.removesuffix('.mp4')} is already in row {rows[utterance.file]}"
                        bad.add(cause, row, "remove one of the rows, or get the list anew")
                    rows.setdefault(utterance.file, row)
                    utterances.append(utterance)
            if not utterances and not bad.faults:
                raise HcepError("lists no utterances", file=path, remedy=SOURCE)
        return utterances

    def survey(self, clips: Sequence[Clip]) -> Survey:
        """Where the parts lie, dialogues per fold, and clips on disk that no list names."""
        found: dict[str, str] = {}
        counts: dict[str, dict[str, int]] = {"dialogues": {}, "video files": {}, "video files not listed": {}}
        faults, extra = [], []
        for fold, (_, name) in FOLDS.items():
            utterances = self._utterances(fold)
            found[f"{fold} list"] = self.below(self._list(fold))
            folder = self.root / self._folder(fold)
            if folder.is_dir():
                found[f"{fold} clips"] = self._folder(fold)
            else:
                faults.append(Fault("error", f"folder {name} is missing", 1, [], SOURCE))
            videos = _videos(folder)
            unlisted = sorted(videos - {utterance.file for utterance in utterances})
            extra += [f"{fold} {file}" for file in unlisted]
            counts["dialogues"][fold] = len({utterance.dialogue for utterance in utterances})
            counts["video files"][fold] = len(videos)
            counts["video files not listed"][fold] = len(unlisted)
        return Survey(found, counts, [*faults, *warning("video files that no list names (not used)", extra)])


def _utterance(path: Path, row: int, cells: Mapping[str, str]) -> Utterance:
    numbers = []
    for name in ("Dialogue_ID", "Utterance_ID"):
        if not (cells[name].strip().isdecimal() and len(cells[name]) < 100):
            cause = f"{name} {cells[name]!r} is not a whole number"
            raise HcepError(cause, file=path, row=row, remedy="get the list anew; spreadsheets change numbers")
        numbers.append(int(cells[name]))
    emotion = cells["Emotion"].strip().casefold()
    if emotion not in EMOTIONS:
        cause = f"unknown emotion {cells['Emotion']!r}{nearest(emotion, EMOTIONS)}"
        raise HcepError(cause, file=path, row=row, remedy=f"the emotions of MELD are {', '.join(EMOTIONS)}")
    return Utterance(numbers[0], numbers[1], EMOTIONS[emotion], cells["Utterance"], _length(cells))


def _length(cells: Mapping[str, str]) -> float | None:
    """Seconds between the two times of a row; None where one is missing or unreadable, or the end is not the later."""
    times = [TIME.fullmatch(cells.get(name, "").strip()) for name in ("StartTime", "EndTime")]
    start, end = (_milliseconds(time) if time else None for time in times)
    return (end - start) / 1000 if start is not None and end is not None and end > start else None


def _milliseconds(time: re.Match[str]) -> int:
    hours, minutes, seconds, fraction = time.groups()
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(fraction.ljust(3, "0"))


def _videos(folder: Path | None) -> set[str]:
    """Names of the .mp4 files of a folder, without the hidden ones that macOS leaves in archives."""
    return {name for name in names_in(folder) if name.endswith(".mp4") and not name.startswith(".")}
