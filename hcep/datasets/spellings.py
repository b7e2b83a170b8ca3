"""Files and folders of a release, found whatever their spelling: case, `_`, `-`, `&`, spaces and depth differ."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from hcep.errors import HcepError

# a folder with more entries holds media or frames; what lies below it is never a part of a release to look for
MANY = 2000
# what archive programs, file managers and open spreadsheets leave beside the real files, some of it under their names
LEFTOVERS = (".", "~$", "__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information")


def normal(name: str) -> str:
    """The letters and digits of a name, case folded: ``Train & Test Set`` and ``train_test-set`` are the same."""
    return "".join(character for character in name.casefold() if character.isalnum())


def walk(root: Path, depth: int) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """Yield a folder and its entries, and those of the folders below it, shallowest first and each level sorted.

    `depth` counts levels of entries: 1 = those of the root, 2 = also those of its folders. Entries are sorted by name,
    without hidden files and `LEFTOVERS`. Folders inside a folder of more than `MANY` entries are not entered, unless it
    is the root. A root that is no folder yields nothing.

    Raises
    ------
    HcepError
        When a folder cannot be read.
    """
    level = [root] if root.is_dir() else []
    for step in range(1, depth + 1):
        below: list[Path] = []
        for folder in level:
            entries = _entries(folder)
            yield folder, entries
            # asking 10,000 entries whether they are folders is slow where the file system does not tell with the name
            if step < depth and (step == 1 or len(entries) <= MANY):
                below += [folder / entry.name for entry in entries if entry.is_dir()]
        level = below


def find(root: Path, names: Sequence[str], *, depth: int = 2, kind: Literal["file", "folder"]) -> Path | None:
    """The shallowest file or folder below `root` that is called one of `names`, up to spelling; None without a match.

    The root's own name does not count. Names (a file's with its suffix) are compared by `normal`; `depth` and errors
    are those of `walk`. Of equally deep matches, the first in order of path is taken.
    """
    wanted = {normal(name) for name in names}
    for folder, entries in walk(root, depth):
        for entry in entries:
            if normal(entry.name) in wanted and (entry.is_dir() if kind == "folder" else entry.is_file()):
                return folder / entry.name
    return None


def names_in(folder: Path | None) -> set[str]:
    """Names of a folder's entries; none when it is not there."""
    # names alone, without asking what each is: for folders of 100,000 files
    return set(os.listdir(folder)) if folder is not None and folder.is_dir() else set()  # noqa: PTH208


def other_spelling(root: Path, path: str) -> str | None:
    """The path below `root` that differs from `path` only in case, spaces at its ends or the coding of accents.

    None when there is none, or when `path` is there itself.
    """
    found = [PurePosixPath()]
    for part in PurePosixPath(path).parts:
        found = [
            above / name for above in found for name in sorted(names_in(root / above)) if _folded(name) == _folded(part)
        ]
    others = [str(place) for place in found]
    return others[0] if others and path not in others else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            kept = [entry for entry in found if not entry.name.startswith(LEFTOVERS)]
    except OSError as error:
        remedy = "make it readable, or move it out of the release"
        raise HcepError(f"cannot be read: {error.strerror}", file=folder, remedy=remedy) from error
    return sorted(kept, key=lambda entry: entry.name)
