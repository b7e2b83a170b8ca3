"""What the page shows, as plain values: the facts of a model, and one answer with its frames, sound and words."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
from PIL import Image

from hcep.errors import HcepError
from hcep.evaluation.groups import groups_note
from hcep.ffmpeg import RATE
from hcep.inference.answer import OTHER_TEXT, WHOLE_PICTURE, Answer
from hcep.inference.card import SHOWN, _clip
from hcep.inference.clips import Media
from hcep.inference.folder import AGAIN, CARD, DESCRIPTION
from hcep.inference.model import Model

# columns of the drawn sound
COLUMNS = 480
# what `metrics.json` says of the test
TESTED = ("n_known", "n_unknown", "n_groups", "confidence")
STAND_IN = (
    "The encoders of this model stand in for those of the paper. It shows that the code works; "
    "its answers say nothing about a person."
)
# how `Media.reason` names the parts of a clip, and what a reader calls them
PARTS = {"frames": "picture", "audio": "sound", "text": "words", "clip": "clip"}


def facts(model: Model) -> dict[str, Any]:
    """What is to be known of a model before it is asked; `scores` are those of its known training clips, falling.

    Raises
    ------
    HcepError
        The model does not say what it was tested on.
    """
    about, order = model.about, np.argsort(-model.training_scores, kind="stable")
    metrics = about.metrics
    if lacking := {*TESTED} - {*metrics}:
        raise HcepError(f"its metrics lack {', '.join(sorted(lacking))}", file=model.folder / DESCRIPTION, remedy=AGAIN)
    measured = [(SHOWN[key], metrics[key]) for key in SHOWN if isinstance(metrics.get(key), dict)]
    return {
        "title": f"{about.method} on {about.task}",
        "run": f"{about.openness}, {about.split}, seed {about.seed}",
        "warning": STAND_IN if about.stand_in else "",
        "classes": about.classes,
        "unknown_classes": about.unknown_classes,
        "datasets": about.datasets,
        "encoder": f"{about.encoder.name} ({about.encoder.source})",
        "clip": _clip(about),
        "reads": list(model.method.towers),
        "text_kinds": [kind for kind in about.preprocessing.text_kinds if kind != "none"],
        "acceptance": about.acceptance,
        "scores": model.training_scores[order].tolist(),
        "labels": [model.training_classes[place] for place in order],
        "thresholds": about.thresholds,
        "tested": {key: metrics[key] for key in TESTED},
        "metrics": [{"name": name, **own} for name, own in measured],
        "remarks": [*filter(None, [groups_note(metrics["n_groups"])]), *about.remarks],
        "card": (model.folder / CARD).is_file(),
    }


def shown(model: Model, media: Media, answer: Answer) -> dict[str, Any]:
    """An answer as the page takes it; what it says of the file's place stays here."""
    return {
        "answered": answer.accepted is not None,
        "score": answer.score,
        "nearest": answer.nearest,
        "probabilities": dict(answer.probabilities),
        "modalities": list(answer.modalities),
        "text": answer.text,
        "text_kind": answer.text_kind,
        "notes": notes(model, answer),
        "frames": [] if media.frames is None else [_png(frame) for frame in media.frames],
        "sound": _sound(media),
    }


def notes(model: Model, answer: Answer) -> list[str]:
    """Flags and reason of an answer in sentences."""
    kinds = " or ".join(model.about.preprocessing.text_kinds)
    flags = {
        OTHER_TEXT: f"Its words are a {answer.text_kind}; the model was trained with words of the kind {kinds}.",
        WHOLE_PICTURE: "The model was trained on faces, and saw the whole picture.",
    }
    found = [flags[flag] for flag in answer.flags if flag in flags]
    parts: dict[str, list[str]] = {}
    for piece in filter(None, answer.reason.split("; ")):
        part, _, said = piece.partition(" ")
        if part in PARTS:
            parts.setdefault(re.sub("^(note|failed|absent): ", "", said), []).append(PARTS[part])
        else:
            found.append(_sentence(piece))
    return [*found, *(_sentence(f"{' and '.join(names)}: {said}") for said, names in parts.items())]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _png(frame: np.ndarray) -> str:
    """A frame (S, S, 3) as the address of its picture."""
    written = io.BytesIO()
    Image.fromarray(frame).save(written, "PNG")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def _sound(media: Media) -> dict[str, Any] | None:
    """The clip's own sound: lowest and highest sample, in -1 to 1, of each of at most `COLUMNS` parts, and seconds."""
    if media.waveform is None or not media.samples:
        return None
    own = media.waveform[: media.samples] / 32768
    starts = np.linspace(0, len(own), min(COLUMNS, len(own)), endpoint=False).astype(np.intp)
    low, high = np.minimum.reduceat(own, starts), np.maximum.reduceat(own, starts)
    return {"low": low.round(4).tolist(), "high": high.round(4).tolist(), "seconds": media.samples / RATE}
