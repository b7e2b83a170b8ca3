"""Bring your own data: a TSV or CSV that lists clips and labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from hcep.datasets.bad_rows import BadRows
from hcep.datasets.corpus import TEXTS, Corpus
from hcep.datasets.manifest_file import COLUMNS, Clip, leaves_root, note_faults, open_table, read_numbers
from hcep.datasets.settings import nearest
from hcep.datasets.spellings import other_spelling
from hcep.errors import HcepError, not_text
from hcep.files import digest, sha256_file

REQUIRED = ("clip", "video", "label")


class Manifest(Corpus):
    """A table below `root`, tab-separated (or comma-separated when its name ends in .csv), UTF-8, with a header.

    Columns ``clip video label`` are required; any other column of a manifest may be given. `audio` defaults to the
    video, `group` to the clip, `text_kind` to transcript where there is text, `labels` to the label. Paths in the table
    are relative to the root.

    Settings: ``file`` (default clips.tsv, below root), ``labels`` (list of the allowed label names), ``language``,
    ``text`` (manifest, none or asr: with asr a clip without words in the table is still to be listened to).
    """

    name = "manifest"
    choices: ClassVar = {"text": TEXTS}
    others: ClassVar = {"file": "clips.tsv", "labels": None, "language": "en"}

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        super().__init__(root, settings)
        for name in ("file", "language"):
            if not isinstance(self.settings[name], str):
                cause = f"setting {name!r} of the manifest adapter is {self.settings[name]!r}"
                raise HcepError(cause, remedy="write it as text")
        labels = self.settings["labels"]
        if labels is not None and not isinstance(labels, list):
            cause = f"setting 'labels' of the manifest adapter is {labels!r}"
            raise HcepError(cause, remedy="list the names: [anger, fear, ...]")
        for name in labels or ():
            if not isinstance(name, str):
                cause = f"setting 'labels' of the manifest adapter lists {name!r}, which is not text"
                raise HcepError(cause, remedy=not_text(name))
        self.table = self.root / self.settings["file"]

    def watch(self) -> list[str]:
        """Digest of the table's cells, whatever the order of rows and columns, its line ends and its first bytes."""
        try:
            rows = [sorted((name, cell) for name, cell in cells.items() if cell) for _, cells in self._rows()]
            content = digest(sorted(rows))
        except HcepError:  # told by `clips`
            content = sha256_file(self.table) if os.access(self.table, os.R_OK) else "missing"
        return [f"{self.settings['file']}: {content}"]

    def _rows(self, bad: BadRows | None = None) -> Iterator[tuple[int, dict[str, str]]]:
        delimiter = "," if self.table.suffix.lower() == ".csv" else "\t"
        return open_table(self.table, delimiter, REQUIRED, bad=bad, quoted=True)

    def clips(self) -> list[Clip]:
        """Read, check and complete the table.

        Raises
        ------
        HcepError
            For a missing table, column or media file, a label that is not allowed, a bad number or a repeated id; one
            error for all rows.
        """
        if not self.table.is_file():
            remedy = "write it, or name it in the setting `file`"
            raise HcepError("the list of clips is missing", file=self.table, remedy=remedy)
        clips: dict[int, Clip] = {}
        with BadRows(self.table, clips) as bad:
            # where the table breaks off, the rows before are looked at all the same
            with bad.collected():
                for row, cells in self._rows(bad):
                    if not clips:
                        self._note_columns(cells, bad)
                    clips[row] = self._clip(row, cells, bad)
            if not clips and not bad.faults:
                raise HcepError("lists no clips", file=self.table, remedy="add one row per clip")
            note_faults(clips, bad)
            for row, clip in clips.items():
                self._note_media(row, clip, bad)
        return [*clips.values()]

    @staticmethod
    def _note_columns(names: Iterable[str], bad: BadRows) -> None:
        for name in names:
            if name not in COLUMNS:
                bad.add(f"unknown column {name!r}{nearest(name, COLUMNS)}", 1, f"the columns are {', '.join(COLUMNS)}")

    def _clip(self, row: int, cells: dict[str, str], bad: BadRows) -> Clip:
        numbers = read_numbers(cells, bad, row)

        def cell(name: str) -> str:
            return cells.get(name, "").strip()

        label = cell("label")
        labels = [name.strip() for name in (cell("labels") or label).split(";")]
        for name in dict.fromkeys([label, *labels]):
            if name:
                self._note_label(row, name, bad)
        # spaces around anything but a name or a text are slips of a spreadsheet: "test " is no fold of its own
        clip, video = cells["clip"], cells["video"]
        text, flags = cells.get("text", ""), cell("flags")
        wordless = "asr" if self.settings["text"] == "asr" else "none"
        return Clip(
            clip=clip,
            dataset=cell("dataset"),
            video=video,
            audio=cells.get("audio", "") or ("" if "no_audio" in flags else video),
            start=numbers["start"],
            end=numbers["end"],
            text=text,
            text_kind=cell("text_kind") or ("transcript" if text.strip() else wordless),
            language=cell("language") or self.settings["language"],
            label=label,
            labels=";".join(labels),
            group=cell("group") or clip,
            fold=cell("fold"),
            flags=flags,
            box=cell("box"),
            seconds=numbers["seconds"],
        )

    def _note_label(self, row: int, name: str, bad: BadRows) -> None:
        allowed = self.settings["labels"]
        if allowed is not None and name not in allowed:
            cause = f"label {name!r} is not one of the labels of this dataset{nearest(name, allowed)}"
            bad.add(cause, row, f"use one of {', '.join(allowed)}, or extend the setting `labels`")

    def _note_media(self, row: int, clip: Clip, bad: BadRows) -> None:
        for media in dict.fromkeys((clip.video, clip.audio)):
            if media and not leaves_root(media) and _is_missing(self.root / media):
                remedy = "correct the path (it is relative to the root), or leave the cell empty for none"
                if other := other_spelling(self.root, media):
                    remedy = f"write {other!r}, the file that is there: every letter and its case count"
                bad.add(f"clip {clip.clip!r}: media file {str(self.root / media)!r} is missing", row, remedy)


def _is_missing(path: Path) -> bool:
    """Whether a file is not there; one in a folder that may not be entered is told when it is to be decoded."""
    try:
        path.stat()
    except PermissionError:
        return False
    except (OSError, ValueError):  # an overlong name is missing, and so is one with a NUL
        return True
    return False
