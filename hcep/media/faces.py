"""Frames from the face pictures that a release ships: a folder of pictures, one inside a zip archive, or an array."""

from __future__ import annotations

import functools
import io
import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from hcep.container import MediaError, check_file
from hcep.datasets.faces import is_picture, open_archive, picture_folders, split_archive
from hcep.media.shards import Row, noted
from hcep.media.sources import Rows
from hcep.probe import MAX_PIXELS

FORMATS = ("PNG", "JPEG", "BMP")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
# no picture of a face takes more on disk
MAX_BYTES = 2**26
NO_FACE = "the release has no face picture of this clip"


class Pictures(NamedTuple):
    """The face pictures of a clip in order of time: names, and the one of a number."""

    names: Sequence[str]
    read: Callable[[int], Image.Image]


def read_faces(root: Path, faces: str, positions: list[int], *, frames: int, size: int) -> Rows:
    """Rows of all clips whose face pictures are `faces` below the root, normally one.

    The pictures have no time of their own. Of N pictures, number floor((i + 0.5) N / F) is taken for i = 0 ... F - 1,
    the rule for whole pictures at a constant rate; where some are missing, those that are there close up.

    Returns
    -------
    list of (int, Row)
        Values uint8 (F, S, S, 3), RGB: the short side resized to S (bicubic), the centre cropped. Their length in
        seconds is NaN. A clip gets a note where more than a tenth of the numbers is missing.

    Raises
    ------
    MediaError
        When there is no picture (absent), or one that is taken cannot be read.
    """
    pictures = _find(root, faces)
    if not pictures.names:
        raise MediaError(NO_FACE, absent=True)
    chosen = (2 * np.arange(frames) + 1) * len(pictures.names) // (2 * frames)
    taken = {number: _fit(pictures.read(number), size) for number in dict.fromkeys(chosen.tolist())}
    value = np.stack([taken[number] for number in chosen.tolist()])
    row = Row(value, noted(_gaps(pictures.names)), seconds=math.nan)
    return [(position, row) for position in positions]


def _find(root: Path, faces: str) -> Pictures:
    archive, inner = split_archive(root, faces)
    if inner:
        return _in_archive(root / archive, inner)
    place = root / faces
    if place.suffix == ".npy":
        return _in_array(place)
    try:
        names = sorted((path.name for path in place.iterdir() if is_picture(path.name)), key=natural)
    except FileNotFoundError as error:
        # that the clip has no folder says something of the clip, that nothing is there at all does not
        if place.parent.is_dir():
            raise MediaError(NO_FACE, absent=True) from error
        raise MediaError("the face pictures of the release are missing", file=place.parent) from error
    except OSError as error:
        raise MediaError(f"the folder of face pictures cannot be read: {error.strerror}", file=place) from error
    return Pictures(names, lambda number: _open_file(place / names[number]))


def _in_archive(path: Path, folder: str) -> Pictures:
    archive, folders = _archive(path, path.stat().st_mtime_ns)
    names = sorted(folders.get(folder, []), key=natural)
    return Pictures(names, lambda number: _open_member(archive, names[number]))


# its list of a million names takes seconds to read
@functools.lru_cache(maxsize=1)
def _archive(path: Path, stamp: int) -> tuple[zipfile.ZipFile, dict[str, list[str]]]:
    archive = open_archive(path)
    return archive, picture_folders(archive)


def _in_array(path: Path) -> Pictures:
    """Faces of OpenFace in one array uint8 (N, H, W, 3), which its makers fill with OpenCV, so blue comes first."""
    check_file(path)
    try:
        faces = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MediaError(f"the array of faces cannot be read ({str(error).splitlines()[0]})", file=path) from error
    if not isinstance(faces, np.ndarray):
        raise MediaError("the array of faces is an archive of arrays", file=path)
    if faces.shape[:1] == (0,):
        return Pictures([], _no_picture)
    if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[3] != 3 or 0 in faces.shape:
        shape = "x".join(map(str, faces.shape))
        raise MediaError(f"the array of faces is {faces.dtype} {shape}, not uint8 (N, H, W, 3)", file=path)
    names = [f"{number} of {path.name}" for number in range(len(faces))]
    return Pictures(names, lambda number: Image.fromarray(np.ascontiguousarray(faces[number, :, :, ::-1])))


def _no_picture(number: int) -> Image.Image:
    raise MediaError(NO_FACE, absent=True)


def _open_file(path: Path) -> Image.Image:
    try:
        check_file(path)
        if path.stat().st_size > MAX_BYTES:
            raise MediaError("is larger than any picture of a face")
        return _decode(path.read_bytes())
    except (MediaError, OSError) as error:
        raise _unreadable(path.name, error) from error


def _open_member(archive: zipfile.ZipFile, name: str) -> Image.Image:
    try:
        if archive.getinfo(name).file_size > MAX_BYTES:
            raise MediaError("is larger than any picture of a face")
        return _decode(archive.read(name))
    # a member may be damaged, encrypted (RuntimeError) or packed in a way that is not known
    except (MediaError, zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> MediaError:
    why = error.reason if isinstance(error, MediaError) else getattr(error, "strerror", None) or str(error)
    return MediaError(f"face picture {name} cannot be read: {why}")


def _decode(content: bytes) -> Image.Image:
    """Decode a picture to RGB with 8 bits per channel."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise MediaError(f"claims {picture.width}x{picture.height} pixels, above the limit")
            # Pillow makes 16 bits of grey all white, and does not know whether the inks of a print are inverted
            if picture.mode not in MODES:
                raise MediaError(f"has pixels of kind {picture.mode}, not grey or colours of 8 bits")
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # the message may hold the address of a buffer
        raise MediaError("is no whole PNG, JPEG or BMP picture") from error


def _fit(picture: Image.Image, size: int) -> np.ndarray:
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC))


def natural(name: str) -> list[str | int]:
    """Sorting key by which 2 stands before 10."""
    # every second part is a number
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", name))]


def _gaps(names: Sequence[str]) -> str:
    """A note where more than a tenth of the pictures between the first and the last number is missing."""
    numbers = [re.findall(r"[0-9]+", name.rpartition("/")[2].rpartition(".")[0])[-1:] for name in names]
    if not all(numbers):
        return ""
    there = {int(number) for (number,) in numbers}
    span = max(there) - min(there) + 1
    if len(there) >= 0.9 * span:
        return ""
    return f"{len(there)} of {span} face pictures between the first and the last number are there"
