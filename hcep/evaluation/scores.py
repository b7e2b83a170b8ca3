"""scores.h5: what a trained model says about every training and test clip; the only input of the evaluation stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from hcep.errors import HcepError
from hcep.seal import check_file, new_hdf5, open_hdf5

TEXT_COLUMNS = ("dataset", "clip", "part", "label", "group", "prediction", "flags")
PARTS = ("train", "test")
NAMES = ("method", "task", "openness", "split", "text_kind")
IDENTITY = ("task", "method", "openness", "split", "seed")
FEATURES = ("text", "vision", "audio", "fused")
_AGAIN = "run the score step of this run again"


class Scores(NamedTuple):
    """Model outputs of one run, n clips, K known classes.

    Attributes
    ----------
    dataset, clip, part, label, group, prediction, flags : (n,) str
        `part` is ``train`` (known training clips) or ``test``; `label` and `prediction` are class names; `group` is
        what must not be split (speaker, source video); `flags` the missing modalities, joined by ``;``.
    known : (n,) bool
        Whether `label` is one of `classes`.
    logits : (n, K) float64
        One value per known class.
    score : (n,) float64
        Higher = more known.
    features : mapping of name to (n, d) float32
        Pooled features, any of ``text``, ``vision``, ``audio``, ``fused``; may be empty.
    classes : tuple of str
        Known classes in label-id order.
    method, task, openness, split : str
    seed : int
    settings, versions : mapping
        What the run was made with.
    stand_in : bool
        Whether stand-in encoders or composite data were used.
    text_kind : str
        Where the text came from: ``caption``, ``transcript``, ``asr``, ``none``, or several joined by ``;``.
    left_out : tuple of str
        Classes that the split drew as known and left out of K, since they have too few training clips.
    remarks : tuple of str
        What a reader must know of the split's clips.
    faces : str
        Which faces the frames show, ``release`` or ``boxes``, with others joined by ``;``; '' for whole pictures.
    made_of : mapping of name to digest
        The model, the split, the index, the features and the code that the scores come from.
    """

    dataset: NDArray[np.str_]
    clip: NDArray[np.str_]
    part: NDArray[np.str_]
    label: NDArray[np.str_]
    group: NDArray[np.str_]
    prediction: NDArray[np.str_]
    flags: NDArray[np.str_]
    known: NDArray[np.bool_]
    logits: NDArray[np.float64]
    score: NDArray[np.float64]
    features: Mapping[str, NDArray[np.float32]]
    classes: tuple[str, ...]
    method: str
    task: str
    openness: str
    split: str
    seed: int
    settings: Mapping[str, Any]
    versions: Mapping[str, Any]
    stand_in: bool
    text_kind: str
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    faces: str = ""
    made_of: Mapping[str, str] = MappingProxyType({})


def _check_shapes(scores: Scores, file: Path) -> None:
    n, k = len(scores.clip), len(scores.classes)
    if n == 0:
        raise HcepError("no clip was scored", file=file, remedy=_AGAIN)
    if k == 0 or len(set(scores.classes)) != k:
        raise HcepError(f"classes must be distinct and at least one, got {list(scores.classes)}", file=file)
    both = sorted({*scores.left_out} & {*scores.classes})
    if both:
        raise HcepError(f"{', '.join(both)} cannot be a known class and left out", file=file, remedy=_AGAIN)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys((*TEXT_COLUMNS, "known", "score"), (n,))
    for name, wanted in (shapes | {"logits": (n, k)}).items():
        found = np.shape(getattr(scores, name))
        if found != wanted:
            raise HcepError(f"{name} has shape {found}, expected {wanted}", file=file, remedy=_AGAIN)
    for name, values in scores.features.items():
        if name not in FEATURES:
            raise HcepError(f"unknown feature {name!r}, expected one of {', '.join(FEATURES)}", file=file)
        if values.ndim != 2 or len(values) != n:
            raise HcepError(f"features/{name} has shape {values.shape}, expected ({n}, d)", file=file, remedy=_AGAIN)


def _check_values(scores: Scores, file: Path) -> None:
    in_classes = np.isin(scores.label, scores.classes)
    repeated = np.ones(len(scores.clip), dtype=bool)
    repeated[np.unique(clip_keys(scores), return_index=True)[1]] = False
    rules = {
        "the score is not finite": ~np.isfinite(scores.score),
        "a logit is not finite": ~np.isfinite(scores.logits).all(axis=1),
        f"part must be one of {', '.join(PARTS)}": ~np.isin(scores.part, PARTS),
        "a known clip has a label outside the known classes": scores.known & ~in_classes,
        "an unknown clip has the label of a known class": ~scores.known & in_classes,
        "an unknown clip is in the training part": (scores.part == "train") & ~scores.known,
        "the prediction is no known class": ~np.isin(scores.prediction, scores.classes),
        "the clip has no group": scores.group == "",
        "the clip is listed twice": repeated,
    }
    for cause, broken in rules.items():
        if broken.any():
            more = f" ({broken.sum()} clips in all)" if broken.sum() > 1 else ""
            place = f"clip {scores.clip[broken.argmax()]}"
            raise HcepError(cause + more, file=file, row=place, remedy=_AGAIN)


def clip_keys(scores: Scores) -> NDArray[np.str_]:
    """Name every clip across datasets, (n,) str: dataset, unit separator, clip."""
    return np.char.add(np.char.add(scores.dataset, "\x1f"), scores.clip)


def group_keys(scores: Scores) -> NDArray[np.str_]:
    """Name every clip's group across datasets, (n,) str: dataset, unit separator, group."""
    return np.char.add(np.char.add(scores.dataset, "\x1f"), scores.group)


def write_scores(path: str | Path, scores: Scores) -> None:
    """Check and write one run's scores; the file is whole or absent, and sequences become arrays here.

    Raises
    ------
    HcepError
        Shapes disagree, a score or logit is not finite, a label contradicts `known`, a clip is listed twice or
        unknown in the training part; the message names the clip.
    """
    path = Path(path)
    scores = _arrays(scores)
    _check_shapes(scores, path)
    _check_values(scores, path)
    with new_hdf5(path) as handle:
        for name in TEXT_COLUMNS:
            handle.create_dataset(name, data=getattr(scores, name).tolist(), dtype=h5py.string_dtype())
        handle["known"], handle["logits"], handle["score"] = scores.known, scores.logits, scores.score
        for name, values in scores.features.items():
            handle[f"features/{name}"] = values
        for name in NAMES:
            handle.attrs[name] = getattr(scores, name)
        if scores.faces:
            handle.attrs["faces"] = scores.faces
        handle.attrs["seed"], handle.attrs["stand_in"] = int(scores.seed), bool(scores.stand_in)
        for name in ("classes", "left_out", "remarks", "settings", "versions", "made_of"):
            handle.attrs[name] = json.dumps(getattr(scores, name), ensure_ascii=False, sort_keys=True)


def _arrays(scores: Scores) -> Scores:
    texts: dict[str, Any] = {name: np.asarray(getattr(scores, name), dtype=np.str_) for name in TEXT_COLUMNS}
    return scores._replace(
        **texts,
        known=np.asarray(scores.known, dtype=bool),
        logits=np.asarray(scores.logits, dtype=np.float64),
        score=np.asarray(scores.score, dtype=np.float64),
        features={name: np.asarray(values, dtype=np.float32) for name, values in scores.features.items()},
        classes=tuple(scores.classes),
        left_out=tuple(scores.left_out),
        remarks=tuple(scores.remarks),
        made_of=dict(scores.made_of),
    )


def read_scores(path: str | Path, *, features: bool = True) -> Scores:
    """Read and check one run's scores, without the pooled features if so wanted: they are most of the file.

    Raises
    ------
    HcepError
        The file is no HDF5 file, lacks a dataset or attribute, or its content breaks a rule of `write_scores`.
    """
    path = Path(path)
    with open_hdf5(path, _AGAIN) as handle:
        check_file(handle, path, _AGAIN, leave=() if features else ("features",))
        scores = _arrays(_read(handle, features))
    _check_shapes(scores, path)
    _check_values(scores, path)
    return scores


def _read(handle: h5py.File, features: bool) -> Scores:
    wanted = handle["features"].items() if features and "features" in handle else ()
    attributes = handle.attrs
    values: dict[str, Any] = {name: handle[name].asstr()[()] for name in TEXT_COLUMNS}
    values |= {name: handle[name][()] for name in ("known", "logits", "score")}
    values |= {name: str(attributes[name]) for name in NAMES}
    values |= {name: json.loads(attributes[name]) for name in ("classes", "settings", "versions")}
    values |= {name: json.loads(attributes[name]) for name in ("left_out", "remarks", "made_of")}
    return Scores(
        **values,
        features={name: stored[()] for name, stored in wanted},
        seed=int(attributes["seed"]),
        stand_in=bool(attributes["stand_in"]),
        faces=str(attributes.get("faces", "")),
    )
