"""Features of encoders that are not part of this package, from files that the user supplies.

A file is HDF5: ``clip`` (n,) UTF-8 strings, the clip ids of the manifest; ``text``, ``vision``, ``audio`` float32
(n, d), one row a clip in the same order; attribute ``encoder``, the encoder's name. Rows of other clips are allowed and
not read. An absent modality has a row too (zeros, or the feature of a neutral input): which ones are absent is known
from the cache. Features should be the projections before any temperature: ImageBind multiplies audio by 20, and
LanguageBind vision and audio by exp(logit_scale), which one linear head per modality would have to undo.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from hcep.errors import HcepError
from hcep.model.method import MODALITIES as FEATURES
from hcep.training.feed import Feed

LAYOUT = "see docs/methods.md for the layout of a features file"


class FeaturesFileFeed(Feed):
    """Features of all clips, in memory, from files that the user supplies.

    Parameters
    ----------
    paths : sequence of path
        One file, or one for each dataset of the task.
    encoder : str
        What their attribute ``encoder`` must say.
    width : int
        d, the size of every feature.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        clips: Sequence[str],
        labels: Sequence[int],
        missing: Tensor,
        device: torch.device,
        *,
        encoder: str,
        width: int,
    ) -> None:
        super().__init__(clips, labels, missing, device)
        self.features = read_features(paths, clips, encoder, width)

    def content(self, positions: Tensor) -> dict[str, Tensor]:
        """``text, vision, audio`` of these positions."""
        return {name: value[positions] for name, value in self.features.items()}


def read_features(paths: Sequence[Path], clips: Sequence[str], encoder: str, width: int) -> dict[str, Tensor]:
    """Features ``(len(clips), width)`` by modality, in the order of `clips`.

    Raises
    ------
    HcepError
        A file that is missing, is no HDF5 or has another layout, encoder or width; a clip that is in it twice, or in no
        file; a value of a wanted clip that is not finite.
    """
    features = {name: torch.zeros(len(clips), width) for name in FEATURES}
    position = {clip: i for i, clip in enumerate(clips)}
    seen: dict[str, Path] = {}
    for path in paths:
        names, columns = _read(Path(path), encoder, width)
        _note_clips(names, Path(path), seen)
        rows = [row for row, name in enumerate(names) if name in position]
        places = [position[names[row]] for row in rows]
        norms = []
        for name in FEATURES:
            values = columns[name][rows]
            _check_finite(values, [names[row] for row in rows], name, Path(path))
            features[name][places] = torch.from_numpy(values)
            norms.append(f"{name} {np.linalg.norm(values, axis=1).mean() if rows else 0:.3g}")
        print(f"{path}: {len(rows)} of {len(names)} clips read, mean norm {', '.join(norms)}", file=sys.stderr)
    lost = [clip for clip in clips if clip not in seen]
    if lost:
        raise HcepError(
            f"{len(lost)} of {len(clips)} clips have no features",
            file=", ".join(map(str, paths)) or None,
            row=f"clip {lost[0]!r}",
            remedy="add a row for every clip of the manifest, absent modalities included",
        )
    return features


def _read(path: Path, encoder: str, width: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Clip ids and arrays of one file, its layout checked."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            lacking = [name for name in ("clip", *FEATURES) if not isinstance(file.get(name), h5py.Dataset)]
            if lacking:
                raise HcepError(f"has no dataset {', '.join(lacking)}", file=path, remedy=LAYOUT)
            made_with = file.attrs.get("encoder")
            if not isinstance(made_with, str) or made_with != encoder:
                raise HcepError(
                    f"is {made_with!r}, not {encoder!r}",
                    file=path,
                    row="attribute encoder",
                    remedy=f"this method reads features of {encoder}; set the attribute if they are",
                )
            if h5py.check_string_dtype(file["clip"].dtype) is None or file["clip"].ndim != 1:
                raise HcepError("is not a list of UTF-8 strings", file=path, row="dataset clip", remedy=LAYOUT)
            names = [str(name) for name in file["clip"].asstr()[()]]
            for name in FEATURES:
                _check_column(file[name], name, (len(names), width), path)
            return names, {name: file[name][()] for name in FEATURES}
    except FileNotFoundError as error:
        raise HcepError(
            "is missing",
            file=path,
            remedy="put it there or name it in the dataset's `features_files`, or leave this method out",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise HcepError(f"cannot be read as a features file ({error})", file=path, remedy=LAYOUT) from error


def _check_column(column: h5py.Dataset, name: str, shape: tuple[int, int], path: Path) -> None:
    if column.shape != shape or column.dtype != np.float32:
        raise HcepError(
            f"is {column.dtype} {column.shape}, not float32 {shape}", file=path, row=f"dataset {name}", remedy=LAYOUT
        )


def _note_clips(names: Sequence[str], path: Path, seen: dict[str, Path]) -> None:
    """Remember which file each clip is in; a clip that is there already is an error."""
    for name in names:
        if name in seen:
            place = "twice" if seen[name] == path else f"here and in {seen[name]}"
            raise HcepError(f"is {place}", file=path, row=f"clip {name!r}", remedy="keep one row for each clip")
        seen[name] = path


def _check_finite(values: np.ndarray, names: Sequence[str], column: str, path: Path) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise HcepError(
            f"{len(bad)} clips have values in {column} that are not finite",
            file=path,
            row=f"clip {names[bad[0]]!r}",
            remedy="encode them again; an absent modality may be zeros",
        )
