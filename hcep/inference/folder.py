"""The folder of an exported model: what is in it, what it says of itself, and that nothing of it is damaged.

``model.json`` is a `Description`, ``model.safetensors`` the state of the method, ``training_scores.safetensors`` the
scores of its known training clips, ``README.md`` the model card, ``encoder/`` the encoder where it was copied in, and
``SHA256SUMS`` the digest of every one of these files, as `sha256sum --check` reads it.

A folder may come from anybody. Nothing in it is code or pickle, and no text of it becomes a path: files have the names
that stand here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hcep.config.base import Name, Settings, Unique
from hcep.encoders.info import AUDIO_FILE, CLIP_FILE, CONFIG_FILE
from hcep.errors import HcepError
from hcep.evaluation.metrics import Floats
from hcep.files import sha256_file

FORMAT = 1
DESCRIPTION, STATE, SCORES = "model.json", "model.safetensors", "training_scores.safetensors"
CARD, SUMS, ENCODER = "README.md", "SHA256SUMS", "encoder"
# what is read, and so compared with its digest; people may edit the card
READ = (DESCRIPTION, STATE, SCORES)
ENCODER_FILES = tuple(f"{ENCODER}/{name}" for name in (CONFIG_FILE, CLIP_FILE, AUDIO_FILE))
AGAIN = "fetch the folder again, or run `hcep export` again"


def _shown(text: str) -> str:
    """Refuse text that would do more on a terminal than be read."""
    if not text.isprintable():
        raise ValueError(f"{text!r} holds characters that cannot be shown")
    return text


Shown = Annotated[str, AfterValidator(_shown)]


class Preprocessing(Settings):
    """How clips were read for training, and are read for an answer; the keys are those of a dataset entry."""

    frames: int = Field(ge=1, le=4096)
    size: int = Field(ge=16, le=4096)
    frame_sampling: Literal["time", "index"]
    samples: int = Field(ge=400, le=16_000 * 7200)
    audio_window: Literal["centre", "start"]
    # what frames showed: whole pictures, or faces that a table of boxes cuts out or that the release ships
    faces: Literal["none", "boxes", "release"]
    # where words came from, and of which kinds they were
    text: Literal["manifest", "none", "asr"]
    text_kinds: Annotated[list[Literal["caption", "transcript", "asr", "none"]], Unique]
    asr_model: Shown
    # length of the longest words of the run's test clips, in tokens (`hcep.inference.rows`)
    tokens: int = Field(ge=2, le=100_000)
    # versions of what decoded them
    decoders: dict[Shown, Shown]


class UsedEncoder(Settings):
    """The frozen encoders: name, what decides their features (`hcep.encoders.info.made_by`), and where they are from.

    `included` says that they lie in the folder.
    """

    name: Name
    made_by: dict[str, Any]
    source: Shown
    included: bool


class Description(Settings):
    """``model.json``."""

    format: int
    hcep: Shown
    method: Name
    base: Name
    settings: dict[str, Any]
    classes: Annotated[list[Shown], Field(min_length=2), Unique]
    # classes that it was tested against, and datasets that it was trained and tested on
    unknown_classes: list[Shown]
    datasets: list[Shown]
    task: Name
    openness: Name
    split: Name
    seed: int = Field(ge=0)
    epoch: int | None
    selection: Shown
    stand_in: bool
    versions: dict[Shown, Shown]
    remarks: list[Shown]
    encoder: UsedEncoder
    preprocessing: Preprocessing
    # the share of known training clips that is accepted unless another is asked for
    acceptance: float = Field(gt=0, le=1)
    # rows of thresholds.csv, and metrics.json: what it did on its own test clips
    thresholds: list[dict[str, float]]
    metrics: dict[str, Any]


def read_folder(folder: Path) -> Description:
    """The description of an exported model, each of whose files is what was exported.

    Raises
    ------
    HcepError
        The folder or a file is missing, damaged, or of a newer version.
    """
    if not (folder / DESCRIPTION).is_file():
        cause = f"holds no {DESCRIPTION}" if folder.is_dir() else "there is no such folder"
        raise HcepError(cause, file=folder, remedy="name the folder that `hcep export` has written")
    sums = _read_sums(folder / SUMS)
    for name in READ:
        check_file(folder, name, sums)
    path = folder / DESCRIPTION
    try:
        text = path.read_text(encoding="utf-8")
        found = re.search(r'^ "format": (\d+),?$', text, re.MULTILINE)
        if found is not None and int(found[1]) > FORMAT:
            cause = f"has format {found[1]}, this version of hcep reads {FORMAT}"
            raise HcepError(cause, file=path, remedy="install a newer hcep")
        about = Description.model_validate_json(text)
    except (ValidationError, UnicodeDecodeError) as error:
        raise HcepError(f"does not describe a model: {first_of(error)}", file=path, remedy=AGAIN) from error
    if about.encoder.included:
        for name in ENCODER_FILES:
            check_file(folder, name, sums)
    return about


def first_of(error: Exception) -> str:
    """The first thing that is wrong."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _read_sums(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HcepError("cannot be read", file=path, remedy=AGAIN) from error
    pairs = (line.split("  ", 1) for line in lines)
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def check_file(folder: Path, name: str, sums: dict[str, str]) -> None:
    """Refuse a file that is missing or is not the one that was exported."""
    path = folder / name
    if not path.is_file():
        raise HcepError("is missing", file=path, remedy=AGAIN)
    if sums.get(name) != sha256_file(path):
        raise HcepError(f"is damaged: its sha256 is not the one in {SUMS}", file=path, remedy=AGAIN)


def read_training_scores(folder: Path, classes: list[str]) -> tuple[Floats, list[str]]:
    """Scores (n,) of the known training clips, and the class of each."""
    path = folder / SCORES
    try:
        tensors = load_file(path)
        score, label = tensors["score"], tensors["label"]
    except (SafetensorError, KeyError) as error:
        raise HcepError(f"holds no training scores ({error})", file=path, remedy=AGAIN) from error
    fits = score.dtype == np.float64 and score.ndim == 1 and len(score) and label.shape == score.shape
    if not fits or not np.isfinite(score).all() or not np.isin(label, np.arange(len(classes))).all():
        raise HcepError("its scores are not finite numbers of known clips", file=path, remedy=AGAIN)
    return score, [classes[int(place)] for place in label]
