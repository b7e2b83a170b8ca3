"""A run's folder -> the folder of a model that stands alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors.numpy import save

from hcep.config.methods import base_method
from hcep.encoders.info import AUDIO_FILE, CLIP_FILE, CONFIG_FILE, made_by, read_info
from hcep.errors import HcepError
from hcep.evaluation.scores import Scores, read_scores
from hcep.evaluation.thresholds import DEFAULT_ACCEPTANCE
from hcep.files import atomic_folder, read_table, remake, sha256_file, write_bytes, write_json, write_text
from hcep.inference.card import model_card
from hcep.inference.folder import (
    CARD,
    DESCRIPTION,
    ENCODER,
    FORMAT,
    SCORES,
    STATE,
    SUMS,
    Description,
    Preprocessing,
    UsedEncoder,
    first_of,
)
from hcep.media.index import DECODERS
from hcep.media.store import open_stores
from hcep.seal import open_hdf5, read_sealed_json
from hcep.training.checkpoint import read_checkpoint

# settings of the shards that a clip of somebody else must be read with too, by their name in a dataset entry
READ_WITH = {
    "frames": {"frames": "frames", "size": "size", "frame_sampling": "frame_sampling"},
    "audio": {"samples": "samples", "audio_window": "window"},
    "text": {"text": "source"},
}


def export(run: Path, base: str, index: Sequence[Path], encoder: Path, output: Path, *, with_encoder: bool) -> None:
    """Write the folder of a model, see `hcep.inference.folder`.

    Parameters
    ----------
    run : path
        Folder of a run: ``model.safetensors``, ``scores.h5``, ``metrics.json``, ``thresholds.csv``.
    base : str
        Base of its method.
    index : sequence of path
        ``index.h5`` of every dataset of its task.
    encoder : path
        Folder of its encoder.
    output : path
        Folder to write; an exported model that lies there is replaced, anything else is left alone.
    with_encoder : bool
        Copy the encoder into it.

    Raises
    ------
    HcepError
        A file is missing or belongs to another run, or the features of the run came from an encoder that is not here.
    """
    if output.is_dir() and any(output.iterdir()) and not (output / DESCRIPTION).is_file():
        raise HcepError("is there and is no exported model", file=output, remedy="name another folder with --output")
    _, trained = read_checkpoint(run / STATE)
    info = read_info(encoder)
    if "clip" not in info:
        cause = f"the encoder {info['name']!r} has no weights here: its features were imported"
        raise HcepError(
            cause, file=run, remedy="such a run cannot answer for a new clip; export one on another encoder"
        )
    if trained["encoder"]["sha256"] != made_by(info):
        cause = f"is not the encoder {trained['encoder']['name']!r} that the run was trained with: its digests differ"
        raise HcepError(cause, file=encoder, remedy="train the run again, or name its encoder with --encoder")
    scores = read_scores(run / "scores.h5", features=False)
    metrics = read_sealed_json(run / "metrics.json")
    if scores.made_of.get("model") != sha256_file(run / STATE):
        raise HcepError("was made with another model.safetensors", file=run / "scores.h5", remedy="score the run again")
    if scores.classes != tuple(trained["classes"]) or metrics["classes"] != trained["classes"]:
        raise HcepError("its scores or metrics are of other classes than its model", file=run, remedy="score it again")
    lacking = {*base_method(base).model_fields} - {*trained["settings"]}
    if lacking:
        cause = f"is no run of the base method {base}, or one of an older version: it has no {sorted(lacking)[0]!r}"
        raise HcepError(cause, file=run / STATE, remedy="train it again, or name its base method with --base")
    unknown = [str(name) for name in np.unique(scores.label[~scores.known])]
    try:
        about = Description(
            format=FORMAT,
            hcep=version("hcep"),
            base=base,
            unknown_classes=unknown,
            datasets=[str(name) for name in np.unique(scores.dataset)],
            selection=str(trained["settings"]["selection"]),
            stand_in=bool(info["stand_in"]),
            remarks=list(scores.remarks),
            encoder=UsedEncoder(
                name=info["name"], made_by=made_by(info), source=str(info["source"]), included=with_encoder
            ),
            preprocessing=_preprocessing(index, scores, info),
            acceptance=DEFAULT_ACCEPTANCE,
            thresholds=_thresholds(run / "thresholds.csv"),
            metrics={name: value for name, value in metrics.items() if name != "digests"},
            **{key: trained[key] for key in ("method", "settings", "classes", "task", "openness", "split", "seed")},
            **{key: trained[key] for key in ("epoch", "versions")},
        )
    except ValidationError as error:
        raise HcepError(f"cannot be described: {first_of(error)}", file=run) from error
    with atomic_folder(output) as temporary:
        shutil.copyfile(run / STATE, temporary / STATE)
        part, place = scores.part == "train", {name: number for number, name in enumerate(scores.classes)}
        label = np.array([place[name] for name in scores.label[part]], np.int64)
        write_bytes(temporary / SCORES, save({"score": scores.score[part], "label": label}))
        write_json(temporary / DESCRIPTION, about.model_dump())
        write_text(temporary / CARD, model_card(about))
        if with_encoder:
            for name in (CONFIG_FILE, CLIP_FILE, AUDIO_FILE):
                (temporary / ENCODER).mkdir(exist_ok=True)
                shutil.copyfile(encoder / name, temporary / ENCODER / name)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        lines = [f"{sha256_file(path)}  {path.relative_to(temporary).as_posix()}\n" for path in files]
        write_text(temporary / SUMS, "".join(lines))


def _thresholds(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        raise HcepError("is missing", file=path, remedy="run the workflow, which makes it")
    return [{key: float(value) for key, value in row.items() if key != "default"} for row in read_table(path)]


def _preprocessing(index: Sequence[Path], scores: Scores, info: dict[str, Any]) -> Preprocessing:
    """How the clips of a run were read; datasets that differ in it cannot be imitated by one model."""
    found: list[dict[str, Any]] = []
    for path in index:
        with open_hdf5(path) as file:
            try:
                settings = json.loads(file.attrs["settings"])
                read = {key: settings[kind][own] for kind, keys in READ_WITH.items() for key, own in keys.items()}
                read["faces"] = settings["frames"].get("faces", "none")
                read["asr_model"] = settings["text"].get("model", "")
                named = {program: s[program] for s in settings.values() for program in DECODERS if program in s}
            except (KeyError, ValueError) as error:
                raise HcepError(f"is not a whole index ({error})", file=path, remedy=remake(path)) from error
        found.append(read | {"decoders": named})
        for key in ("frame_sampling", "audio_window", "faces"):
            if read[key] != found[0][key]:
                cause = f"the datasets of this run differ in {key}: {found[0][key]} and {read[key]}"
                raise HcepError(cause, file=path, remedy="train on datasets that are read in one way to export a model")
    read = {"text_kinds": scores.text_kind.split(";"), "tokens": _longest(index, scores, info)}
    return Preprocessing.model_validate(found[0] | read)


def _longest(index: Sequence[Path], scores: Scores, info: dict[str, Any]) -> int:
    """Length of the longest words of the run's test clips, start and end mark included."""
    from hcep.encoders.tokens import clip_tokenizer  # imports torch, for which others that read this need not wait

    context = info["clip"]["text_cfg"]["context_length"]
    tested = scores.clip[scores.part == "test"].tolist()
    tokenizer, texts = clip_tokenizer(), open_stores(index).texts(tested)
    return min(max(len(tokenizer.encode(text)) for text in set(texts)) + 2, context)
