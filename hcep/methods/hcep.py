"""HCEP: hierarchical cross-modal emotion-interactive prompting (Liu et al., Information Fusion 2026).

Frozen CLIP and wav2vec 2.0; SMEP prompts in every clip, CUEP prompts per class, a fusion head, and the two losses of
DPOL. Every reading of the paper that has an alternative is a setting, and so is every ablation of its Tables 5 to 7 and
Fig. 4; docs/methods.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.errors import HcepError
from hcep.methods.class_text import choose_text
from hcep.methods.cuep import OpposingFeatures, choose_prompts
from hcep.methods.features import encode_media
from hcep.methods.head import FusionHead
from hcep.methods.method import Batch, Features, Method, Prediction, Sizes, accuracy, mask_missing, movements
from hcep.methods.optimiser import OptimiserGroup
from hcep.methods.parts import NEITHER, Part
from hcep.methods.shared import Shared
from hcep.methods.smep import SMEP
from hcep.methods.streams import EmotionStream, Side, Stream, choose_points


class HCEP(Method):
    """The paper's method and, by settings (hcep.config.methods.Hcep), its ablations and controls."""

    inputs: ClassVar[Literal["media", "features"]] = "media"

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        if settings["inference"] == "average" and set(settings["losses"]) != {"emo", "osr"}:
            raise HcepError(
                f"inference: average with losses: {settings['losses']}",
                remedy="averaging the logits needs both losses",
            )
        self.reduction = settings["loss_reduction"]
        # the head comes first, so that runs with the same seed start from the same head
        self.head = FusionHead(sizes)
        self.smep = SMEP(encoders, sizes.samples, settings)
        self.cuep = choose_prompts(len(self.classes), sizes, encoders, settings)
        self.texts = choose_text(self.words, encoders.text.width, settings)
        self.points = choose_points(len(self.classes), self.head.dim, settings)
        self.emotion = EmotionStream(settings) if "emo" in settings["losses"] else None
        # the losses in use (`losses`): eq. 5, then eq. 8
        self.streams: list[Stream] = [stream for stream in (self.emotion, self.points) if stream is not None]
        # all that may learn beside the head, in the order in which the history records it
        self.parts: list[Part] = [self.smep, *self.streams, self.cuep, self.texts]
        # without learned prompts the head, and points of their own, are left to learn
        self.learn_prompts = settings["prompts"] == "learned"
        # the parts are told what the streams read; the rest and frozen prompts have no gradients
        self.texts.signs = NEITHER.union(*(stream.texts for stream in self.streams))
        self.cuep.signs = NEITHER.union(*(stream.media for stream in self.streams))
        self.head.fuse.requires_grad_(any(stream.fuse for stream in self.streams))
        for part in self.parts:
            part.requires_grad_(False)
            for value in part.reached().values():
                value.requires_grad_(self.learn_prompts or part in self.streams)
        self.text_positive = nn.Buffer(torch.zeros(len(self.classes), sizes.text))
        self.text_negative = nn.Buffer(torch.zeros(len(self.classes), sizes.text))
        self.clips_are_constant = not (self.learn_prompts and self.smep.used)
        self.text_is_constant = not (settings["class_text_prompted"] or (self.learn_prompts and self.texts.learns))
        # clips that are constant are looked up by number
        self.recordable = not self.clips_are_constant
        self.start = {name: value.detach().clone() for name, value in self._recorded().items()}
        self._sides_now: list[Side] | None = None
        self._shared = Shared()
        self._opposing: OpposingFeatures | None = None
        self._known_features: dict[int, tuple[Tensor, ...]] = {}

    def _recorded(self) -> dict[str, Tensor]:
        """Tensors whose movement is recorded, by name."""
        return {name: value for part in self.parts for name, value in part.recorded().items()}

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Encode the class texts, and all clips, once for the run, where nothing that enters them will move."""
        if self.text_is_constant:
            positive, negative = self.texts(self.encoders)
            self.text_positive.copy_(positive)
            self.text_negative.copy_(negative)
        if self.clips_are_constant:
            # in one fixed order, so that a resumed run has the same features, on a CPU to the last bit
            for batch in batches:
                self.features(batch)

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """Head, semantic prompts and class prompts; `prompt_step: adam` moves the prompts by Adam.

        Class prompts that are tokens have a rate of SGD of their own, `prompt_lr_tokens`.
        """
        learnable: dict[str, list[Tensor]] = {"head": [], "pixels": [], "semantic": [], "tokens": []}
        for part in self.parts:
            learnable[part.group] += [value for value in part.reached().values() if value.requires_grad]
        learnable["head"] += [value for value in self.head.parameters() if value.requires_grad]
        own = {"tokens": settings | {"lr": settings["prompt_lr_tokens"]}}
        groups = [OptimiserGroup.sgd(name, values, own.get(name, settings)) for name, values in learnable.items()]
        if settings["prompt_step"] == "adam":
            # no decay on prompts: it would be most of their movement
            rates = ("pixels", settings["prompt_lr_pixels"]), ("semantic", settings["prompt_lr_semantic"])
            groups[1:] = [OptimiserGroup(name, learnable[name], "adam", rate) for name, rate in rates]
        return groups

    def features(self, batch: Batch) -> Features:
        """``F_T, F_V, F_A`` of eq. 3; those of the bare clip with `sample_prompts: false`."""
        if self.clips_are_constant and all(int(i) in self._known_features for i in batch.row):
            rows = [self._known_features[int(i)] for i in batch.row]
            return Features(*(torch.stack(column) for column in zip(*rows, strict=True)))
        prompts = self.smep() if self.smep.used else None
        place, pool = self.settings["audio_prompt"], self.settings["audio_pool"]
        with self.encoding():
            encoded = encode_media(self.encoders, batch, prompts, place, pool)
        encoded = self._scaled(mask_missing(encoded, batch.missing, self.settings))
        if self.clips_are_constant:
            # prompts that never move give every clip the same features in every epoch
            columns = zip(*(value.detach().unbind() for value in encoded), strict=True)
            self._known_features.update(zip((int(i) for i in batch.row), columns, strict=True))
        return encoded

    def _scaled(self, features: Features) -> Features:
        """Unit-length features with `normalise_features`, else as they are."""
        if not self.settings["normalise_features"]:
            return features
        return Features(*(functional.normalize(value, dim=-1) for value in features))

    def class_text(self) -> tuple[Tensor, Tensor]:
        """``F_T^+`` and ``F_T^-``."""
        if self.text_is_constant:
            return self.text_positive, self.text_negative
        prompts = self.smep().text if self.settings["class_text_prompted"] else None
        with self.encoding():
            return self.texts(self.encoders, prompts)

    def opposing_features(self, text: tuple[Tensor, Tensor]) -> OpposingFeatures:
        """Features of the class prompts in use (eq. 4); encoded once when no prompt moves."""
        if self._opposing is not None:
            return self._opposing
        with self.encoding():
            opposing = self.cuep(self.encoders, text)
        opposing = OpposingFeatures(*(None if side is None else self._scaled(side) for side in opposing))
        if not self.learn_prompts:
            self._opposing = opposing
        return opposing

    def class_features(self) -> tuple[tuple[Tensor, Tensor], OpposingFeatures]:
        """Class texts, and the features of eq. 4."""
        text = self.class_text()
        return text, self.opposing_features(text)

    def sides(self, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> list[Side]:
        """What each stream compares clips with: targets of eq. 5, points of eq. 6 and 7."""
        return [stream.side(self.head, text, opposing) for stream in self.streams]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_emo`` (eq. 5) and ``loss_osr`` (eq. 8), or one of them (`losses`); their sum is eq. 9.

        Reciprocal points of their own (`points: free_negative`) add ARPL's ``loss_margin`` to ``loss_osr``. The
        accuracy is that of the logits which `predict` takes: eq. 8's, or eq. 5's if only they are learned.
        """
        features = self.features(batch)
        fused = self.head(*features)
        terms: dict[str, Tensor] = {}
        for stream, side in zip(self.streams, self.sides(*self._shared(self.class_features)), strict=True):
            logits = stream.logits(self.head, features, fused, side)
            terms |= stream.losses(logits, fused, side, batch.label, self.reduction)
        return terms | {"accuracy": accuracy(logits, batch.label)}

    def begin_step(self, parts: int) -> None:
        """All micro-batches of a step see the same class prompts, encoded once."""
        self._shared.begin(parts)

    def before_step(self) -> None:
        """`prompt_step: normalised`: a step of fixed RMS along each class's own gradient (HESP's manual step)."""
        self._shared.backward()
        if self.settings["prompt_step"] != "normalised":
            return
        with torch.no_grad():
            for prompt in self.cuep.reached().values():
                if prompt.grad is None:
                    continue
                axes = tuple(range(1, prompt.dim()))
                rms = prompt.grad.square().mean(axes, keepdim=True).sqrt()
                prompt -= self.settings["prompt_step_rms"] * prompt.grad / rms.clamp_min(1e-20)

    def after_step(self, step: int) -> None:
        """Targets and points are stale after a step."""
        self._sides_now = None

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Algorithm 1: softmax(D_neg - D_pos); the score is log max-softmax (`score`), the class its largest logit.

        Without the loss of eq. 8 its logits mean nothing, and the cosines of eq. 5 stand in for them.
        """
        if self._sides_now is None:
            self._sides_now = self.sides(*self.class_features())
        features = self.features(batch)
        fused = self.head(*features)
        found = []
        for stream, side in zip(self.streams, self._sides_now, strict=True):
            precise = tuple(value.double() for value in side)
            found.append(stream.logits(self.head, features, fused.double(), precise))
        logits = torch.stack(found).mean(0) if self.settings["inference"] == "average" else found[-1]
        return Prediction(logits, self.clip_score(batch, features, logits), {**features._asdict(), "fused": fused})

    def clip_score(self, batch: Batch, features: Features, logits: Tensor) -> Tensor:
        """Score ``(B,)`` of clips with features of eq. 3 and these logits (`score`)."""
        return self.usual_score(logits)

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """``movement_*`` = |now - start| / |start| per prompt; ``gap_*`` = mean over k of |p_k - n_k| / |p_k|.

        Gaps exist where both signs are in use: ``gap_text, gap_vision, gap_audio`` of eq. 4's features, ``gap_fused``
        of the points; points that are the texts themselves (`point_features: text`) have ``gap_text`` alone.
        """
        rows = movements(self._recorded(), self.start)
        text, opposing = self.class_features()
        gaps: dict[str, tuple[Tensor, Tensor]] = {}
        for stream, side in zip(self.streams, self.sides(text, opposing), strict=True):
            gaps |= stream.gaps(side, opposing)
        for name, (positive, negative) in gaps.items():
            rows[f"gap_{name}"] = float(((positive - negative).norm(dim=-1) / positive.norm(dim=-1)).mean())
        return rows
