"""The interface that HCEP and every rival share; the training loop calls these names and knows no method by name.

Shapes: B clips, K known classes, F frames, S side in pixels, A samples, L tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from hcep.methods.optimiser import Optimiser, OptimiserGroup

MODALITIES = ("text", "vision", "audio")


class Batch(NamedTuple):
    """Clips as a method sees them: media for methods with prompts, cached features for the others.

    Attributes
    ----------
    row : int64 Tensor (B,)
        Position of each clip in the run's list; the same clip always has the same one.
    label : int64 Tensor (B,)
        Class id in the order of the run's known classes; -1 for a clip of an unknown class.
    missing : bool Tensor (B, 3)
        True where text, vision, audio (in this order) is absent.
    tokens, frames, waveform : Tensor or None
        int64 ``(B, L)``; uint8 ``(B, F, S, S, 3)``; int16 ``(B, A)``.
    text, vision, audio : Tensor or None
        Cached features, float32 ``(B, D)`` of each encoder; audio is ``(B, L, D)`` where a method learns weights of the
        audio model's hidden states (hcep.methods.audio_layers).
    samples : Tensor or None
        int64 ``(B,)``: how many samples of each waveform are the clip's own, the rest being padding; None = all.
    group : Tensor or None
        int64 ``(B,)``: number of the group (a speaker, a film) that each clip belongs to; None = not known.
    """

    row: Tensor
    label: Tensor
    missing: Tensor
    tokens: Tensor | None = None
    frames: Tensor | None = None
    waveform: Tensor | None = None
    text: Tensor | None = None
    vision: Tensor | None = None
    audio: Tensor | None = None
    samples: Tensor | None = None
    group: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device; `row` stays, as it is looked at number by number."""
        held = {key: value for key, value in self._asdict().items() if value is not None}
        return Batch(**{key: v if key == "row" else v.to(device, non_blocking=True) for key, v in held.items()})

    def split(self, size: int) -> list[Batch]:
        """Consecutive parts of at most `size` clips."""
        held = {key: value for key, value in self._asdict().items() if value is not None}
        starts = range(0, len(self.row), size)
        return [Batch(**{key: value[i : i + size] for key, value in held.items()}) for i in starts]


class Prediction(NamedTuple):
    """Of a batch: logits ``(B, K)``, score ``(B,)`` (higher = more known), features by name ``(B, D)``."""

    logits: Tensor
    score: Tensor
    features: dict[str, Tensor]


class Features(NamedTuple):
    """One feature per modality, ``(B, D)`` each."""

    text: Tensor
    vision: Tensor
    audio: Tensor


class Sizes(NamedTuple):
    """Sizes of a run's inputs: frames F, side S in pixels, samples A; dims of the text, vision, audio features.

    `layers` is L where an audio feature is ``(L, D)``, one per hidden state of the audio model, else 0.
    """

    frames: int
    side: int
    samples: int
    text: int
    vision: int
    audio: int
    layers: int = 0


class Method(nn.Module):
    """Base of every method.

    Parameters
    ----------
    classes : sequence of str
        Known classes; the position is the class id.
    sizes : Sizes
        Of the inputs.
    encoders : hcep.encoders.folder.Encoders or None
        Frozen encoders, for methods with ``inputs == "media"``; they stay outside the module tree, so that neither
        ``parameters()`` nor ``train()`` nor a checkpoint reaches them.
    settings : dict
        The run's settings: what the loop and this method read (hcep.config.methods), and nothing else.
    """

    inputs: ClassVar[Literal["media", "features"]] = "features"
    # frozen encoders that a clip passes through, for counting
    towers: ClassVar[tuple[str, ...]] = MODALITIES
    # False where the loss of a batch is not the mean of its parts' losses (batch norm, contrasts within the batch)
    splittable: ClassVar[bool] = True
    # False for a method that takes no step: it may gather statistics in `begin` and `finish`, and its
    # declaration in hcep.config.methods has neither rate nor epochs
    learns: bool = True
    # True where loss and before_step neither look at a tensor's values nor draw numbers, so that their kernels can be
    # recorded once and replayed
    recordable: bool = False
    reduction: Literal["mean", "sum"] = "mean"

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        self.classes = list(classes)
        # "happiness" -> "happy", as in the paper's example sentence, for methods that put classes into sentences
        self.words = [settings.get("words", {}).get(name, name) for name in classes]
        self.sizes, self.encoders, self.settings = sizes, encoders, settings

    @property
    def selectable(self) -> bool:
        """False while `selection` must not keep the present state, as in the first stage of a method of two."""
        return True

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """Learnable parameters with their step rule; default: all of them by SGD with the run's settings."""
        if not self.learns:
            return []
        return [OptimiserGroup.sgd("all", [p for p in self.parameters() if p.requires_grad], settings)]

    def optimizer(self, settings: dict[str, Any]) -> Optimiser:
        """The optimiser over `parameter_groups`."""
        return Optimiser(self.parameter_groups(settings))

    def encoding(self) -> AbstractContextManager[Any]:
        """Context for the encoders' passes: bf16 with ``precision: bf16``; heads, distances and losses stay float32."""
        if self.settings["precision"] != "bf16":
            return nullcontext()
        # zero-shot methods have buffers alone
        device = next(itertools.chain(self.parameters(), self.buffers())).device
        return torch.autocast(device.type, torch.bfloat16)

    def begin(self, batches: Iterable[Batch]) -> None:
        """Called once before the first step with the training clips, in order."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named terms; those called ``loss_*`` are summed and minimised, ``accuracy`` and others are only recorded."""
        raise NotImplementedError

    def begin_step(self, parts: int) -> None:
        """Called before the losses of a step, which the loop takes in `parts` micro-batches."""

    def before_step(self) -> None:
        """Called after the backward pass, before the optimiser's step."""

    def after_step(self, step: int) -> None:
        """Called after the optimiser's step."""

    def finish(self, batches: Iterable[Batch]) -> None:
        """Called after the last step with the training clips; statistics go to buffers.

        Called again on weights that it has finished, it must leave them as they are: a row that differs in its score
        alone takes them over.
        """

    def predict(self, batch: Batch) -> Prediction:
        """Logits, score and features, without gradients."""
        raise NotImplementedError

    def training_score(self, batches: Iterable[Batch]) -> Tensor | None:
        """Scores ``(n,)`` of the training clips, in order, as if none had been trained on; NaN where that cannot be.

        They stand in scores.h5 in the place of `predict`'s, so that a threshold accepts the share of new clips that it
        was asked to. None for a method that would have to be trained again for them.
        """
        return None

    def usual_score(self, logits: Tensor) -> Tensor:
        """Score ``(B,)`` of logits ``(B, K)``: log max-softmax if `score` or `rival_score` says so, or the largest."""
        softmax = self.settings.get("score") == "log_softmax" or self.settings.get("rival_score") == "msp"
        return log_max_softmax(logits) if softmax else logits.amax(dim=1)

    def diagnostics(self) -> dict[str, float]:
        """Numbers for the epoch's row of history.csv (``movement_*``, ``gap_*``)."""
        return {}


def cached_features(batch: Batch) -> Features:
    """The features that `encode` stored."""
    if batch.text is None or batch.vision is None or batch.audio is None:
        raise ValueError("this batch holds media, not cached features")
    return Features(batch.text, batch.vision, batch.audio)


def mask_missing(features: Features, missing: Tensor, settings: dict[str, Any]) -> Features:
    """Apply the setting ``missing``: ``neutral`` keeps the feature of the neutral input, ``zero_feature`` clears it."""
    if settings["missing"] == "neutral":
        return features
    return Features(*(value.masked_fill(missing[:, i, None], 0.0) for i, value in enumerate(features)))


def masked_features(batch: Batch, settings: dict[str, Any]) -> Features:
    """The features that `encode` stored, with the setting ``missing`` applied."""
    return mask_missing(cached_features(batch), batch.missing, settings)


def log_max_softmax(logits: Tensor) -> Tensor:
    """Log of the largest softmax probability ``(B,)`` in float64 from logits ``(B, K)``.

    ``-log1p(sum over j != max of exp(l_j - l_max))``: does not saturate where the probability itself rounds to 1.
    """
    logits = logits.double()
    best, place = logits.max(dim=1, keepdim=True)
    rest = torch.exp(logits - best).scatter(1, place, 0.0)
    return -torch.log1p(rest.sum(dim=1))


def movements(now: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> dict[str, float]:
    """``movement_*`` = |now - start| / |start| of every tensor, by name."""
    pairs = ((name, value, start[name].to(value.device)) for name, value in now.items())
    return {f"movement_{name}": float((value - origin).norm() / origin.norm()) for name, value, origin in pairs}


def accuracy(logits: Tensor, label: Tensor) -> Tensor:
    """Share of clips whose largest logit is their class."""
    return (logits.detach().argmax(dim=1) == label).float().mean()
