"""RAVDESS: acted speech of 24 actors (Livingstone & Russo 2018, Zenodo record 1188976, CC BY-NC-SA 4.0)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

from hcep.datasets.corpus import Corpus
from hcep.datasets.manifest_file import Clip
from hcep.errors import HcepError
from hcep.files import digest

# emotion codes of the official file names, as the class names of MAFW where both have the class
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-([0-9]{2})\.(mp4|wav)", re.IGNORECASE)
FOLDER = re.compile(r"(Video_|Audio_)?((Speech|Song)_)?Actors?_[0-9]{2}(-[0-9]{2})?", re.IGNORECASE)
SOURCE = "download Video_Speech_Actor_*.zip of Zenodo record 1188976 and set the dataset's `root` to their folder"


class Ravdess(Corpus):
    """The official release: ``Actor_01/*.mp4``, ``Video_Speech_Actor_01/*.mp4`` or one inside the other.

    A file name is modality-channel-emotion-intensity-statement-repetition-actor. Kept are modality 01 (sound and
    picture) of channel 01 (speech); modality 02 is the same take without sound, 03 without picture. Several actors:
    folds and groups are disjoint by speaker, fold = (actor - 1) mod folds + 1. One actor: by take, fold =
    1 + 2 (statement - 1) + (repetition - 1), so at most 4. The root holds the actors' folders.

    Settings: ``calm``: merge (into neutral, the default) or drop; ``text``: none or asr; ``folds``: number of folds.
    """

    name = "ravdess"
    choices: ClassVar = {"calm": ("merge", "drop"), "text": ("none", "asr")}
    others: ClassVar = {"folds": 5}

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        super().__init__(root, settings)
        folds = self.settings["folds"]
        if not isinstance(folds, int) or folds < 2:
            raise HcepError(f"setting 'folds' of the ravdess adapter is {folds!r}", remedy="use a whole number above 1")

    def _media(self) -> list[str]:
        """Sorted paths of the files with an official name in the root and in folders of actors, at most two deep."""
        found: list[Path] = []
        level = [self.root]
        for _ in range(3):
            places = [Path(entry.path) for folder in level for entry in os.scandir(folder)]
            found += [place for place in places if NAME.fullmatch(place.name)]
            level = [place for place in places if FOLDER.fullmatch(place.name) and place.is_dir()]
        return sorted(map(self.below, found))

    def watch(self) -> list[str]:
        """Number of media files and digest of their names; changes when the list does."""
        if not self.root.is_dir():
            return ["media: missing"]
        media = self._media()
        return [f"media: {len(media)} {digest(media)}"]

    def clips(self) -> list[Clip]:
        """One clip per take.

        Raises
        ------
        HcepError
            When no take is found, or one is there twice.
        """
        takes: dict[str, str] = {}
        ignored = dropped = 0
        for path in self._media():
            take, extension = path.rpartition("/")[2].split(".")
            if not take.startswith("01-01-") or extension.lower() != "mp4":
                ignored += 1
            elif take.split("-")[2] == "02" and self.settings["calm"] == "drop":
                dropped += 1
            elif take in takes:
                cause = f"take {take} is there twice: {takes[take]} and {path}"
                raise HcepError(cause, file=self.root, remedy="remove one copy")
            else:
                takes[take] = path
        self.tell(
            f"{len(takes)} takes; {ignored} files without sound, without picture or sung ignored, {dropped} calm takes "
            "dropped"
        )
        if not takes:
            cause = "no take of modality 01, channel 01 (01-01-*.mp4) is below it"
            raise HcepError(cause, file=self.root, remedy=SOURCE)
        several = len({take.split("-")[6] for take in takes}) > 1
        if not several:
            self.tell(
                "all takes are one actor's: each is its own group, the folds are four, one for each statement and "
                "repetition, and results do not hold for other speakers"
            )
        return [self._clip(take, path, several) for take, path in sorted(takes.items())]

    def _clip(self, take: str, path: str, several_speakers: bool) -> Clip:
        _, _, emotion, _, statement, repetition, actor = take.split("-")
        label = EMOTIONS[emotion].replace("calm", "neutral")
        if several_speakers:
            fold, group = (int(actor) - 1) % self.settings["folds"] + 1, f"actor{actor}"
        else:
            fold, group = 1 + 2 * (int(statement) - 1) + (int(repetition) - 1), take
        return Clip(
            clip=take,
            video=path,
            audio=path,
            text_kind=self.settings["text"],
            language="en",
            label=label,
            labels=label,
            group=group,
            fold=str(fold),
        )
