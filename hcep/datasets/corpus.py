"""What the adapters of the corpora share: settings, the words of a clip, and what they print."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hcep.datasets.boxes import check_names, check_table_name, read_boxes
from hcep.datasets.faces import SOURCES, is_picture
from hcep.datasets.manifest_file import Clip
from hcep.datasets.settings import choose, fill
from hcep.datasets.spellings import names_in
from hcep.datasets.survey import Fault, warning
from hcep.errors import HcepError, shown
from hcep.files import digest, sha256_file

TEXTS = ("manifest", "none", "asr")
BOXES = "boxes.csv"
UNKNOWN = "names in the table of boxes that are no clip (not used)"
FACELESS = "clips without a face (kept, flagged no_video, zeros in the cache, never their whole pictures)"


class Corpus:
    """A release on disk, in the folder `root`, read by the adapter called `name`.

    `choices` maps a setting to the values that it may have, the default first; `others` are the defaults of the
    settings with any number of values, which the adapter checks itself.

    Every adapter has the settings ``faces`` (none: whole pictures; boxes: what a table cuts out of them; release: the
    pictures of faces that come with a release, where `ships_faces`) and ``boxes`` (that table, below the root).
    """

    name: ClassVar[str]
    choices: ClassVar[Mapping[str, tuple[Any, ...]]]
    others: ClassVar[Mapping[str, Any]] = {}
    ships_faces: ClassVar[bool] = False

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        self.root = Path(root)
        sources = [source for source in SOURCES if source != "release" or self.ships_faces]
        choices = {**self.choices, "faces": sources}
        defaults = {setting: allowed[0] for setting, allowed in choices.items()}
        self.settings = fill(self.name, settings, {**defaults, **self.others, "boxes": BOXES})
        for setting, allowed in choices.items():
            choose(self.name, setting, self.settings[setting], allowed)
        check_table_name(self.name, self.settings["boxes"])
        if "boxes" in settings and self.settings["faces"] != "boxes":
            cause = f"setting 'boxes' of the {self.name} adapter names a table that is not used"
            raise HcepError(cause, remedy="set faces: boxes too, or remove it")

    def below(self, place: Path) -> str:
        """A path as it is written in the manifest: below the root, with /."""
        return place.relative_to(self.root).as_posix()

    def words(self, transcript: str) -> tuple[str, str]:
        """Columns `text` and `text_kind`: the words where the setting `text` is manifest and there are any."""
        source: str = self.settings["text"]
        return (transcript, "transcript" if transcript else "none") if source == "manifest" else ("", source)

    def tell(self, line: str) -> None:
        """Print a line about the release."""
        print(shown(f"{self.name}: {line}"), file=sys.stderr)

    def face_place(self) -> Path | None:
        """Folder or archive of the face pictures that the release ships; None where there is none."""
        return None

    def face_paths(self, place: Path) -> dict[str, str]:
        """Clip -> path below the root of its face pictures, for the clips that have any in `place`."""
        raise NotImplementedError

    def with_faces(self, clips: Sequence[Clip]) -> list[Clip]:
        """The clips with what their frames are taken from; a clip without a face keeps a source that has none for it.

        Raises
        ------
        HcepError
            When the source is missing, holds nothing of any clip, or a table of boxes is wrong.
        """
        if self.settings["faces"] == "none":
            return list(clips)
        if self.settings["faces"] == "release":
            source = self._face_place()
            paths = self.face_paths(source)
            sources = {clip.clip: f"{self.below(source)}/{clip.clip}" for clip in clips} | paths
            lacking = [clip.clip for clip in clips if clip.clip not in paths]
        else:
            source = self.root / self.settings["boxes"]
            lacking, _ = self._boxes(clips)
            sources = {clip.clip: self.settings["boxes"] for clip in clips}
        if len(lacking) == len(clips):
            cause = f"has no face of any of the {len(clips)} clips, such as {clips[0].clip!r}"
            raise HcepError(cause, file=source, remedy="name the clips there as in the manifest, or set faces: none")
        self.tell(f"faces of {self.below(source)}; {len(lacking)} of {len(clips)} clips have none (no picture)")
        return [clip._replace(faces=sources[clip.clip]) for clip in clips]

    def _face_place(self) -> Path:
        place = self.face_place()
        if place is None:
            remedy = "unpack them there (config/README.md), or set faces to none or boxes"
            raise HcepError("there are no face pictures of the release below it", file=self.root, remedy=remedy)
        return place

    def _boxes(self, clips: Sequence[Clip]) -> tuple[list[str], list[str]]:
        """Clips that the table has no box of, and its names that are no clip."""
        path, names = self.root / self.settings["boxes"], {clip.clip for clip in clips}
        own = next((clip.clip for clip in clips if clip.box), None)
        if own is not None:
            cause = f"clip {own!r} has a face box in the list of clips and there is the table {self.settings['boxes']}"
            raise HcepError(cause, file=path, remedy="keep one of them: empty the column box, or set faces: none")
        tracks, others = read_boxes(path, names)
        lacking = [clip.clip for clip in clips if clip.clip not in tracks]
        check_names(path, others, lacking)
        return lacking, list(others)

    def watch_faces(self) -> list[str]:
        """What should cause a new manifest when it changes; nothing where whole pictures are used."""
        if self.settings["faces"] == "boxes":
            path = self.root / self.settings["boxes"]
            return [f"boxes: {sha256_file(path) if path.is_file() else 'missing'}"]
        if self.settings["faces"] == "none":
            return []
        try:
            place = self._face_place()
            status = place.stat()
            # a list of all names in an archive takes seconds to read
            archive = f"{status.st_size} {status.st_mtime_ns}"
            return [
                f"faces: {self.below(place)} {digest(sorted(self.face_paths(place))) if place.is_dir() else archive}"
            ]
        except HcepError as error:
            return [f"faces: {error.cause}"]

    def survey_faces(self, clips: Sequence[Clip]) -> tuple[dict[str, str], list[Fault]]:
        """Where faces were found, and for those in use which clips have none."""
        place, table = self.face_place(), self.root / self.settings["boxes"]
        found = {"face pictures": self.below(place)} if place is not None else {}
        found |= {"face boxes": self.settings["boxes"]} if table.is_file() else {}
        used = self.settings["faces"]
        found |= {"faces used": used} if found or used != "none" else {}
        if used == "boxes":
            lacking, others = self._boxes(clips)
            return found, warning(FACELESS, lacking) + warning(UNKNOWN, others)
        if used == "none" or place is None:
            return found, []
        paths = self.face_paths(place)
        lacking = [clip.clip for clip in clips if not self._has_pictures(paths.get(clip.clip))]
        return found, warning(FACELESS, lacking)

    def _has_pictures(self, path: str | None) -> bool:
        folder = self.root / path if path else None
        return folder is not None and (not folder.is_dir() or any(map(is_picture, names_in(folder))))
