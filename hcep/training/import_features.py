"""Features of encoders that are not part of this package: from a user's file to the shards that `encode` would write.

A file is HDF5: ``clip`` (n,) UTF-8 strings, the clip ids of the manifest; ``text``, ``vision``, ``audio`` float32
(n, d), one row a clip in the same order; attribute ``encoder``, the encoder's name. Rows of other clips are allowed and
not read. An absent modality has a row too (zeros, or the feature of a neutral input): which ones are absent is known
from the cache. Features should be the projections before any temperature: ImageBind multiplies audio by 20, and
LanguageBind vision and audio by exp(logit_scale), which one linear head per modality would have to undo.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hcep.datasets.foreign_hdf5 import check_datasets, open_foreign
from hcep.errors import HcepError
from hcep.media.store import ClipStore
from hcep.methods.method import MODALITIES
from hcep.progress import say
from hcep.training.encode import write_features

LAYOUT = "see docs/methods.md for the layout of a features file"


def import_features(index: Path, shard: str, info: dict[str, Any], features: Path, output: Path) -> None:
    """Write the features of one shard's clips as `encode` does.

    Parameters
    ----------
    index, shard, output
        As in `encode`.
    info : dict
        ``encoder.json`` of an encoder with ``source: import``: its name and the width d of its features.
    features : path
        The user's file.

    Raises
    ------
    HcepError
        The file is missing, is no HDF5 or has another layout, encoder or width; a clip is in it twice, or a clip of the
        shard is not in it; a value of such a clip is not finite.
    """
    store = ClipStore(index, index.parent)
    clips = store.clips(shard)
    values = read_features(features, clips, info["name"], info["width"])
    norms = {name: np.linalg.norm(column, axis=1).mean() if clips else 0 for name, column in values.items()}
    means = ", ".join(f"{name} {norm:.3g}" for name, norm in norms.items())
    say(f"{features}: {len(clips)} clips of shard {shard} read, mean norm {means}")
    write_features(output, store, clips, values, info)


def read_features(path: Path, clips: Sequence[str], encoder: str, width: int) -> dict[str, np.ndarray]:
    """Features float32 ``(len(clips), width)`` by modality, in the order of `clips`; errors as in `import_features`."""
    try:
        with open_foreign(path) as file:
            names = _clip_names(file, path, encoder)
            for name in MODALITIES:
                dtype, shape, wanted = file[name].dtype, file[name].shape, (len(names), width)
                if shape != wanted or dtype != np.float32:
                    cause = f"is {dtype} {shape}, not float32 {wanted}"
                    raise HcepError(cause, file=path, row=f"dataset {name}", remedy=LAYOUT)
            check_datasets(path, [file[name] for name in MODALITIES], whole=False)
            # HDF5 reads rows in rising order only
            rising, back = np.unique(_rows_of(clips, names, path), return_inverse=True)
            values = {name: file[name][rising][back] for name in MODALITIES}
    except FileNotFoundError as error:
        remedy = "put it there or name it in the dataset's `features_files`, or leave this method out"
        raise HcepError("is missing", file=path, remedy=remedy) from error
    except (OSError, UnicodeDecodeError) as error:
        raise HcepError(f"cannot be read as a features file ({error})", file=path, remedy=LAYOUT) from error
    for name, column in values.items():
        bad = np.flatnonzero(~np.isfinite(column).all(axis=1))
        if len(bad):
            cause, first = f"{len(bad)} clips have values in {name} that are not finite", f"clip {clips[bad[0]]!r}"
            raise HcepError(cause, file=path, row=first, remedy="encode them again; an absent modality may be zeros")
    return values


def _clip_names(file: h5py.File, path: Path, encoder: str) -> list[str]:
    """Clip ids of a file whose layout and encoder are the expected ones."""
    lacking = [name for name in ("clip", *MODALITIES) if not isinstance(file.get(name), h5py.Dataset)]
    if lacking:
        raise HcepError(f"has no dataset {', '.join(lacking)}", file=path, remedy=LAYOUT)
    made_with = file.attrs.get("encoder")
    if not isinstance(made_with, str) or made_with != encoder:
        remedy = f"features of {encoder} are wanted here; set the attribute if they are"
        raise HcepError(f"is {made_with!r}, not {encoder!r}", file=path, row="attribute encoder", remedy=remedy)
    if h5py.check_string_dtype(file["clip"].dtype) is None or file["clip"].ndim != 1:
        raise HcepError("is not a list of UTF-8 strings", file=path, row="dataset clip", remedy=LAYOUT)
    check_datasets(path, [file["clip"]], text=True)
    return [str(name) for name in file["clip"].asstr()[()]]


def _rows_of(clips: Sequence[str], names: Sequence[str], path: Path) -> np.ndarray:
    """Rows of the file in which the clips are."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise HcepError("is twice", file=path, row=f"clip {twice!r}", remedy="keep one row for each clip")
    place = {name: row for row, name in enumerate(names)}
    lost = [clip for clip in clips if clip not in place]
    if lost:
        cause = f"{len(lost)} of {len(clips)} clips have no features"
        remedy = "add a row for every clip of the manifest, absent modalities included"
        raise HcepError(cause, file=path, row=f"clip {lost[0]!r}", remedy=remedy)
    return np.array([place[clip] for clip in clips], dtype=np.int64)
