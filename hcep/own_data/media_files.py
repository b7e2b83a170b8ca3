"""Media files below a folder, told by their names alone: nothing is opened."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hcep.datasets.limits import read_bytes
from hcep.datasets.spellings import LEFTOVERS
from hcep.errors import CONTROL_OR_BREAK, HcepError

# files of the containers that `hcep.probe` opens
_VIDEO = "mp4 m4v mov 3gp mkv webm avi flv wmv asf ts mts m2ts mpg mpeg vob"
_SOUND = "wav w64 aif aiff flac ogg oga opus mp3 m4a aac au wma"
VIDEO, SOUND = ({f".{ending}" for ending in endings.split()} for endings in (_VIDEO, _SOUND))
# hidden files are no part of a data set, and on macOS there is one beside every clip
HIDDEN = "hidden files and what programs leave behind"


# bytes of a text with the words of one clip
MOST_WORDS = 2**20


class Media(NamedTuple):
    """Paths below a folder, with /, in order; `left_out` maps a reason to the paths that are not used because of it."""

    video: list[str]
    sound: list[str]
    text: list[str]
    tables: list[str]
    left_out: dict[str, list[str]]


class Take(NamedTuple):
    """Files of one name: a picture or a sound or both, and its words; paths below the folder, '' = none."""

    name: str
    video: str
    audio: str
    text: str


def find_media(root: Path) -> Media:
    """List the media, words and tables below a folder.

    A link to a file is followed where that lies below the folder and is not listed under its own name, as in stores
    that keep contents apart. No link to a folder is followed.

    Raises
    ------
    HcepError
        When `root` is no folder, or one below it cannot be read.
    """
    if not root.is_dir():
        remedy = "give the folder that holds the clips; a table is named with --table"
        raise HcepError("is no folder", file=root, remedy=remedy)
    plain: list[str] = []
    links: list[str] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    for place, folders, names in os.walk(root, onerror=_unreadable):
        below = PurePosixPath(Path(place).relative_to(root).as_posix())
        for name, is_folder in [*((name, True) for name in folders), *((name, False) for name in names)]:
            path = str(below / name)
            if name.startswith(LEFTOVERS):
                left_out[HIDDEN].append(path)
            elif not _is_text(path):
                left_out["names that are not UTF-8"].append(ascii(path))
            elif CONTROL_OR_BREAK.search(name):
                left_out["names with control characters"].append(path)
            elif not is_folder:
                (links if Path(place, name).is_symlink() else plain).append(path)
            elif Path(place, name).is_symlink():
                left_out["links to folders (not followed)"].append(path)
        folders[:] = sorted(name for name in folders if not name.startswith(LEFTOVERS) and _is_plain(name))
    kept = [*plain, *_usable_links(root, plain, links, left_out)]
    kinds: dict[str, list[str]] = {kind: [] for kind in ("video", "sound", "text", "tables")}
    for path in sorted(kept):
        kind = _kind(path)
        (kinds[kind] if kind else left_out["files that are no media by their names"]).append(path)
    return Media(**kinds, left_out={reason: sorted(paths) for reason, paths in left_out.items()})


def _unreadable(error: OSError) -> None:
    remedy = "make it readable, or move it out of the folder"
    raise HcepError(f"cannot be read: {error.strerror}", file=error.filename, remedy=remedy) from error


def _is_text(path: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in path)


def _is_plain(name: str) -> bool:
    return _is_text(name) and not CONTROL_OR_BREAK.search(name)


def _kind(path: str) -> str:
    suffix = PurePosixPath(path).suffix.lower()
    kinds = {"video": VIDEO, "sound": SOUND, "text": {".txt"}, "tables": {".csv", ".tsv"}}
    return next((kind for kind, suffixes in kinds.items() if suffix in suffixes), "")


def _usable_links(root: Path, plain: Sequence[str], links: Sequence[str], left_out: dict[str, list[str]]) -> list[str]:
    """The links that bring a file which is not there otherwise."""
    home = root.resolve()
    listed = {home / path: path for path in plain} if links else {}
    used = []
    for path in sorted(links):
        target = (root / path).resolve()
        if not target.is_file():
            left_out["links that lead nowhere"].append(path)
        elif not target.is_relative_to(home):
            left_out["links that leave the folder"].append(path)
        elif target in listed:
            left_out["links to a file that is used already"].append(f"{path} -> {listed[target]}")
        else:
            listed[target] = path
            used.append(path)
    return used


def takes(root: Path, media: Media) -> list[Take]:
    """One clip per name: a sound beside a picture of the same name is its sound, a .txt has its words.

    Raises
    ------
    HcepError
        When two pictures, or two sounds, have the same name.
    """
    pictures, sounds, texts = (_by_name(root, paths) for paths in (media.video, media.sound, media.text))
    names = sorted({*pictures, *sounds})
    return [Take(name, pictures.get(name, ""), sounds.get(name, ""), texts.get(name, "")) for name in names]


def _by_name(root: Path, paths: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        name = str(PurePosixPath(path).with_suffix(""))
        if name in found:
            remedy = "are they one clip or two? Move one of them away, or give it a name of its own"
            raise HcepError(f"{found[name]!r} and {path!r} have the same name", file=root, remedy=remedy)
        found[name] = path
    return found


def counted(number: int, noun: str) -> str:
    """``1 clip``, ``2 clips``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def read_words(root: Path, path: str) -> str:
    """The words of a clip from a text file, on one line."""
    try:
        return " ".join(read_bytes(root / path, MOST_WORDS).decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise HcepError(f"is not UTF-8 ({error.reason})", file=root / path, remedy="save it as UTF-8") from error


def clip_ids(names: Sequence[str]) -> list[str]:
    """An id for each path without its suffix, as ``anger/anna/01`` -> ``anger_anna_01``; repeated ids are numbered."""
    ids = [name.replace("/", "_") for name in names]
    count: dict[str, int] = defaultdict(int)
    taken, given = set(ids), []
    for one in ids:
        new = one
        while count[one] and new in taken:
            count[one] += 1
            new = f"{one}_{count[one]}"
        count[one] += not count[one]
        taken.add(new)
        given.append(new)
    return given
