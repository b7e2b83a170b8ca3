"""Face pictures as releases ship them: folders of pictures, a zip archive of these, arrays; invented."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def face(clip: int, number: int, size: int = 16) -> np.ndarray:
    """An RGB picture (size, size, 3): noise whose first pixel is (clip, number, 7), so no other picture is like it."""
    picture = np.random.default_rng([clip, number]).integers(0, 256, (size, size, 3), dtype=np.uint8)
    picture[0, 0] = clip, number, 7
    return picture


def write_folder(folder: Path, clip: int, numbers: Iterable[int], name: str = "{}.png", size: int = 16) -> list[Path]:
    """One picture per number, lossless."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.format(number) for number in numbers]
    for path, number in zip(paths, numbers, strict=True):
        Image.fromarray(face(clip, number, size)).save(path)
    return paths


def write_archive(path: Path, folder: Path, prefix: str, more: Mapping[str, bytes] | None = None) -> None:
    """All files below a folder in a zip archive under `prefix`, and `more` members by their names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{prefix}{file.relative_to(folder).as_posix()}")
        for name, content in (more or {}).items():
            archive.writestr(name, content)


def write_array(place: Path, name: str, clip: int, count: int, size: int = 16) -> Path:
    """``<name>/<name>.npy`` of `count` faces, blue first as OpenCV has them."""
    path = place / name / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array([face(clip, number, size)[:, :, ::-1] for number in range(count)], np.uint8))
    return path
