"""Invented releases in the shape of MELD.Raw: speakers and words are made up, forms and hazards real."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import NamedTuple

from sample_media import make_clip

WORDS = {
    "anger": "No! You can’t park a boat here!",
    "disgust": "Ugh—there’s hair in it…",
    "fear": "I think, “something” moved.",
    "joy": "We got the keys, we got the keys!",
    "neutral": "The bus leaves at nine.",
    "sadness": "She didn’t even say ‘bye’.",
    "surprise": "Wait, you’re twins?!",
}
# the real release has the list of train beside its folder, those of dev and test one level higher
LISTS = {
    "train": ("train/train_sent_emo.csv", "train/train_splits"),
    "valid": ("dev_sent_emo.csv", "dev_splits_complete"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test"),
}
HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
# what a file of Windows-1252 becomes when it is read as Latin-1 and written as UTF-8
SPOILT = {ord(sign): sign.encode("cp1252").decode("latin-1") for sign in "’‘“”—…"}


class Made(NamedTuple):
    """One utterance: fold, numbers, emotion as listed, words as spoken."""

    fold: str
    dialogue: int
    number: int
    emotion: str
    words: str

    @property
    def file(self) -> str:
        """Name of its clip."""
        return f"dia{self.dialogue}_utt{self.number}.mp4"


def make_release(
    root: Path,
    *,
    clips_per_class: int = 4,
    media: bool = True,
    faults: bool = False,
    seed: int = 0,
) -> list[Made]:
    """Write a release and return its utterances.

    Each emotion has `clips_per_class` utterances to train on and half as many, but at least two, in valid and in test;
    dialogues are up to nine utterances long. 1,000 give 14,000 utterances, a little more than the real one has.

    Parameters
    ----------
    root : path
        Folder to write ``MELD.Raw`` into.
    clips_per_class : int
        3 or more.
    media : bool
        Whether there are clips, real but few in kind.
    faults : bool
        Whether the things are wrong that go wrong: the fourth clip of valid is missing, that of train is broken, that
        of test has no sound; valid and test have clips that no list names, and train has the hidden files of macOS.
        (Spoilt quotes and numbers that are left out are in every release, as in the real one.)
    seed : int
        Another seed gives other dialogues.
    """
    chance = random.Random(seed)
    made: list[Made] = []
    for fold in LISTS:
        count = clips_per_class if fold == "train" else max(2, clips_per_class // 2)
        emotions = [emotion for emotion in WORDS for _ in range(count)]
        chance.shuffle(emotions)
        made += _dialogues(fold, emotions, chance)
    base = root / "MELD.Raw"
    for fold, (table, folder) in LISTS.items():
        utterances = [utterance for utterance in made if utterance.fold == fold]
        (base / table).parent.mkdir(parents=True, exist_ok=True)
        _write_list(base / table, utterances, chance)
        if media:
            _media(base / folder, utterances, fold, faults)
    return made


def _dialogues(fold: str, emotions: list[str], chance: random.Random) -> list[Made]:
    made = []
    dialogue, place = -1, 0
    while place < len(emotions):
        # numbers begin at 0 in every fold, and some dialogues and utterances are left out
        dialogue += chance.choice((1, 1, 1, 2))
        number = chance.choice((0, 0, 1))
        for emotion in emotions[place : place + chance.randrange(1, 10)]:
            made.append(Made(fold, dialogue, number, emotion, WORDS[emotion]))
            number += 1
            place += 1
    return made


def _write_list(path: Path, utterances: list[Made], chance: random.Random) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(HEADER.split(","))
        for row, (fold, dialogue, number, emotion, words) in enumerate(utterances, start=1):
            # the lists of dev and test were mended by their authors, that of train was not
            text = words.translate(SPOILT) if fold == "train" else words
            sentiment = {"neutral": "neutral", "joy": "positive"}.get(emotion, "negative")
            # as long as the clips are
            start, end = (f"00:{dialogue % 20:02d}:{number:02d},{part}" for part in ("120", "720"))
            season = chance.randrange(1, 10)
            writer.writerow([row, text, "Alma", emotion, sentiment, dialogue, number, season, 3, start, end])


def _media(folder: Path, utterances: list[Made], fold: str, faults: bool) -> None:
    first = make_clip(folder / utterances[0].file, seconds=0.6, fps=5, size="40x32")
    for utterance in utterances[1:]:
        (folder / utterance.file).hardlink_to(first)
    if not faults:
        return
    fourth = folder / utterances[3].file
    fourth.unlink()
    if fold == "train":
        fourth.write_bytes(first.read_bytes()[:200])
        for utterance in utterances[:5]:
            (folder / f"._{utterance.file}").write_bytes(b"\0\5\x16\7")
    if fold == "test":
        make_clip(fourth, seconds=0.6, fps=5, size="40x32", audio=False)
    if fold != "train":
        (folder / "dia999_utt0.mp4").hardlink_to(first)
        (folder / "final_videos_testdia999_utt1.mp4").hardlink_to(first)
