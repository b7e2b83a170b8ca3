"""MAFW: clips of films, series and shows in 11 single and 32 compound emotions, with captions (Liu et al. 2022)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hcep.datasets.corpus import TEXTS, Corpus
from hcep.datasets.faces import open_archive, picture_folders
from hcep.datasets.mafw_lists import CLIP_NAME, DEPTH, SETS, FoldLists, Listed, list_files, list_folder, read_lists
from hcep.datasets.mafw_tables import compare_tables, find_tables
from hcep.datasets.manifest_file import Clip
from hcep.datasets.spellings import find, names_in, walk
from hcep.datasets.survey import Fault, Survey, warning
from hcep.errors import HcepError
from hcep.files import digest, sha256_file

# where a clip is expected when no clip at all is there
CLIPS = "data/clips"
CLIP_ID = re.compile("[0-9]{5}")


class Mafw(Corpus):
    """The official release: clips, and ``Train & Test Set/single/with_caption/set_1/train.txt`` and its 39 siblings.

    Labels and folds come from the fold lists of one family alone: the families' folds differ, so that a clip which one
    tests may be trained on by the other. The fold of a clip is the number of the set that tests it.
    Lists and clips are found below the root whatever the spelling of their folders.

    Settings: ``list``: single (dominant emotion) or compound. ``captions``: with (neutral clips have none and are not
    in these lists) or without. ``text``: manifest (the English caption), none or asr. ``clips``: all, or pure = only
    those that the compound lists give a single emotion too. ``keep_neutral``: whether neutral clips of the lists
    without captions are kept. ``faces``: release = the folders of ``frames``, unpacked or in ``frames.zip``.
    """

    name = "mafw"
    ships_faces = True
    choices: ClassVar = {
        "list": ("single", "compound"),
        "captions": ("with", "without"),
        "text": TEXTS,
        "clips": ("all", "pure"),
        "keep_neutral": (False, True),
    }

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        super().__init__(root, settings)
        if self.settings["clips"] == "pure" and self.settings["list"] == "compound":
            cause = "the mafw adapter has no pure clips of the compound lists: no unknown class would be left"
            raise HcepError(cause, remedy="set list: single, or clips: all")

    def _lists(self, kind: str) -> FoldLists:
        captions = self.settings["captions"]
        return read_lists(list_folder(self.root, kind, captions), kind, captions)

    def _media(self) -> dict[str, list[str]]:
        """Folders below the root that hold clips -> file names, the one with most clips first."""
        found = {}
        for folder, entries in walk(self.root, DEPTH):
            names = [entry.name for entry in entries if CLIP_NAME.fullmatch(entry.name)]
            if names:
                found[self.below(folder)] = names
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def face_place(self) -> Path | None:
        """The folder ``frames``, else ``frames.zip``."""
        place = find(self.root, ["frames"], depth=DEPTH, kind="folder")
        # unpacked into a folder of its own name
        while place is not None and (inner := find(place, ["frames"], depth=1, kind="folder")) is not None:
            place = inner
        return place or find(self.root, ["frames.zip"], depth=DEPTH, kind="file")

    def face_paths(self, place: Path) -> dict[str, str]:
        """Folders of five digits in the folder, or anywhere in the archive, the shallowest first."""
        if place.is_dir():
            return {name: f"{self.below(place)}/{name}" for name in names_in(place) if CLIP_ID.fullmatch(name)}
        with open_archive(place) as archive:
            folders = sorted(picture_folders(archive), key=lambda folder: (-folder.count("/"), folder))
        named = {folder.rpartition("/")[2]: folder for folder in folders}
        return {name: f"{self.below(place)}/{folder}" for name, folder in named.items() if CLIP_ID.fullmatch(name)}

    def watch(self) -> list[str]:
        """Digests of the fold lists that are read, and of the names of all clips."""
        if not self.root.is_dir():
            return ["release: missing"]
        kinds = [self.settings["list"], *(["compound"] if self.settings["clips"] == "pure" else [])]
        try:
            folders = [list_folder(self.root, kind, self.settings["captions"]) for kind in kinds]
            lists = [path for folder in folders for path in list_files(folder).values()]
        except HcepError as error:
            return [f"lists: {error}"]
        media = self._media()
        return [
            *(f"{self.below(path)}: {sha256_file(path)}" for path in lists),
            f"media: {sum(map(len, media.values()))} {digest(sorted(media.items()))}",
        ]

    def clips(self) -> list[Clip]:
        """One clip per id of the fold lists, whether its file is there or not.

        Raises
        ------
        HcepError
            When the fold lists are missing, or wrong as in `read_lists`.
        """
        lists = self._lists(self.settings["list"])
        kept = dict(lists.clips)
        dropped = []
        if not self.settings["keep_neutral"]:
            kept = {clip: row for clip, row in kept.items() if row.label != "neutral"}
            dropped.append(f"{len(lists.clips) - len(kept)} neutral")
        if self.settings["clips"] == "pure":
            compound = self._lists("compound").clips
            mixed = sum(clip in compound and "_" in compound[clip].label for clip in kept)
            unlisted = sum(clip not in compound for clip in kept)
            kept = {clip: row for clip, row in kept.items() if clip in compound and "_" not in compound[clip].label}
            dropped.append(f"{mixed} with a compound label and {unlisted} that the compound lists lack")
        sets = ", ".join(map(str, lists.sets))
        left_out = ", ".join(dropped) or "none"
        self.tell(f"{len(kept)} clips of {self.below(lists.folder)}, sets {sets}; dropped: {left_out}")
        if not kept:
            raise HcepError("lists no clip that the settings keep", file=lists.folder, remedy="keep more of them")
        media = self._media()
        paths = {name[:5]: f"{folder}/{name}" for folder in reversed(media) for name in media[folder]}
        expected = next(iter(media), CLIPS)
        return [self._clip(clip, row, paths.get(clip, f"{expected}/{clip}.mp4")) for clip, row in kept.items()]

    def _clip(self, clip: str, row: Listed, path: str) -> Clip:
        source = self.settings["text"]
        captioned = source == "manifest" and self.settings["captions"] == "with"
        path = path.removeprefix("./")
        return Clip(
            clip=clip,
            video=path,
            audio=path,
            text=row.caption if captioned else "",
            text_kind="caption" if captioned else "asr" if source == "asr" else "none",
            language="en" if captioned else "",
            label=row.label,
            labels=row.label.replace("_", ";"),
            group=clip,
            fold=row.fold,
        )

    def survey(self, clips: Sequence[Clip]) -> Survey:
        """Sizes of the fold lists, and where they disagree with each other or with the release's tables."""
        lists = self._lists(self.settings["list"])
        media = self._media()
        tables = find_tables(self.root)
        found = {"fold lists": self.below(lists.folder)} | ({"clips": next(iter(media))} if media else {})
        found |= {name: self.below(path) for name, path in tables.items()}
        sizes = {f"set_{number} {part}": len(members) for (number, part), members in lists.members.items()}
        rows, faults = compare_tables(tables, lists, self.settings["list"], self.settings["captions"])
        counts = {"fold lists": sizes, **({"tables": rows} if rows else {})}
        return Survey(found, counts, [*_set_faults(lists), *_caption_faults(clips, lists), *_twice(media), *faults])


def _set_faults(lists: FoldLists) -> list[Fault]:
    """Sets that are missing, or that divide other clips than the rest."""
    missing = [f"set_{number}" for number in SETS if number not in lists.sets]
    remedy = "unpack them too, or test no fold of theirs: their test clips have the fold `train`"
    faults = warning("sets of fold lists that are missing", missing, remedy)
    remedy = "unpack the lists again; training on the other folds is not what this set's train list says"
    for number in lists.sets:
        lacking = sorted(set(lists.clips) - lists.members[number, "train"] - lists.members[number, "test"])
        faults += warning(f"clips of other sets that set_{number} lacks", lacking, remedy)
    return faults


def _caption_faults(clips: Sequence[Clip], lists: FoldLists) -> list[Fault]:
    """Captions that are empty, or whose Chinese was lost when a list was saved in another encoding."""
    captioned = [clip.clip for clip in clips if clip.text_kind == "caption"]
    empty = [clip for clip in captioned if not lists.clips[clip].caption]
    garbled = [clip for clip in captioned if not any("一" <= letter <= "鿿" for letter in lists.clips[clip].chinese)]
    what = "captions whose Chinese is lost (the list was saved in another encoding)"
    return [*warning("clips whose caption is empty", empty), *warning(what, garbled, "unpack the lists again")]


def _twice(media: Mapping[str, Sequence[str]]) -> list[Fault]:
    """Clips that lie in several folders."""
    first: dict[str, str] = {}
    again = []
    for folder, names in media.items():
        again += [f"{folder}/{name}" for name in names if first.setdefault(name[:5], folder) != folder]
    what = f"clips that lie in several folders (those in {next(iter(media), '')} are used first)"
    return warning(what, sorted(again), "move the others out of the release")
