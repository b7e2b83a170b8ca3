"""What the frames of a clip are taken from in place of its whole pictures: the column `faces` of a manifest.

It names a table of boxes (``.csv``, ``.tsv``, see `hcep.datasets.boxes`), or pictures of faces that a release ships: a
folder of them, such a folder inside a zip archive (``data/frames.zip/frames/00019``), or an array (``.npy``).
"""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from hcep.datasets.boxes import SUFFIXES
from hcep.datasets.manifest_file import Clip
from hcep.errors import HcepError

SOURCES = ("none", "release", "boxes")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
AGAIN = "get the archive anew, or unpack it"


def face_source(clips: Iterable[Clip]) -> str:
    """Which of `SOURCES` the clips of a manifest use; clips that use different ones are an HcepError."""
    kinds = {_source(clip.faces): clip.clip for clip in clips}
    if len(kinds) > 1:
        told = ", ".join(f"{clip!r} {kind}" for kind, clip in sorted(kinds.items()))
        raise HcepError(f"clips of one dataset take their frames from different sources: {told}", remedy="make it anew")
    return next(iter(kinds), "none")


def _source(faces: str) -> str:
    if not faces:
        return "none"
    return "boxes" if PurePosixPath(faces).suffix.lower() in SUFFIXES else "release"


def picture_paths(root: Path, clip: Clip) -> list[str]:
    """Paths below the root that the frames of a clip are decoded from; an archive counts as a whole."""
    match _source(clip.faces):
        case "none":
            paths = [clip.video]
        case "boxes":
            paths = [clip.video, clip.faces]
        case _:
            paths = [split_archive(root, clip.faces)[0]]
    return [path for path in paths if path]


def split_archive(root: Path, path: str) -> tuple[str, str]:
    """The zip archive in a path below the root, and the folder in it; the path itself and '' where there is none."""
    parts = PurePosixPath(path).parts
    for number, part in enumerate(parts, start=1):
        archive = "/".join(parts[:number])
        if part.lower().endswith(".zip") and (root / archive).is_file():
            return archive, "/".join(parts[number:])
    return path, ""


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open a zip archive; one that cannot be read is an HcepError."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise HcepError(f"is not a whole zip archive ({error})", file=path, remedy=AGAIN) from error


def picture_folders(archive: zipfile.ZipFile) -> dict[str, list[str]]:
    """Folder inside an archive -> full names of its pictures.

    Members with an absolute or overlong name, a ``..`` in it or a backslash are passed over, as is what a Mac adds.
    Nothing is unpacked: a name can only be one that is looked for, or not.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for name in archive.namelist():
        folder, _, file = name.rpartition("/")
        if folder and len(file) < 256 and is_picture(file) and not _is_hostile(folder):
            found[folder].append(name)
    return found


def _is_hostile(folder: str) -> bool:
    return folder.startswith("/") or "\\" in folder or bool({"..", ".", "", "__MACOSX"} & {*folder.split("/")})


def is_picture(name: str) -> bool:
    """Whether a file name is that of a picture, and not of what a Mac puts beside it."""
    return name.lower().endswith(PICTURES) and not name.startswith(".")
