"""HCEP: hierarchical cross-modal emotion-interactive prompting (Liu et al., Information Fusion 2026).

Frozen CLIP and wav2vec 2.0; SMEP prompts in every clip, CUEP prompts per class, a fusion head, and the two losses of
DPOL. Every reading of the paper that has an alternative is a setting; docs/methods.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.model.cuep import CUEP, OpposingFeatures
from hcep.model.dpol import emotion_logits, opposing_logits
from hcep.model.features import encode_media
from hcep.model.head import FusionHead
from hcep.model.method import (
    MODALITIES,
    Batch,
    Features,
    Method,
    Prediction,
    Sizes,
    accuracy,
    log_max_softmax,
    mask_missing,
)
from hcep.model.optimiser import OptimiserGroup
from hcep.model.smep import SMEP

PIXEL_AND_WAVE = ("delta_v_pos", "delta_v_neg", "delta_a_pos", "delta_a_neg")


class HCEP(Method):
    """The paper's method and, by settings, its controls.

    Settings read: ``prompt_words, prompt_tokens, text_prompt, vision_prompt, audio_prompt, audio_pool,
    class_text_prompted, pixel_normalisation, points, point_features, emo_features, cosine_scale, normalise_features,
    loss_reduction, inference, score, words, prompts, prompt_step, prompt_lr_pixels, prompt_lr_semantic,
    prompt_step_rms, missing``, and the optimiser's.
    """

    inputs: ClassVar[Literal["media", "features"]] = "media"
    text_positive: Tensor
    text_negative: Tensor

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.reduction = settings["loss_reduction"]
        # the head comes first, so that runs with the same seed start from the same head
        self.head = FusionHead(sizes)
        self.smep = SMEP(
            encoders,
            sizes.samples,
            words=settings["prompt_words"],
            tokens=settings["prompt_tokens"],
            text_prompt=settings["text_prompt"],
            vision_prompt=settings["vision_prompt"],
        )
        # "happiness" -> "happy", as in the paper's example sentence
        words = [settings["words"].get(name, name) for name in classes]
        self.cuep = CUEP(words, sizes.side, sizes.samples, pixel_normalisation=settings["pixel_normalisation"])
        self.free_points = settings["points"] == "free"
        if self.free_points:
            # ARPL's start value for learned points
            self.points = nn.Parameter(0.1 * torch.randn(2, len(self.classes), self.head.dim))
        self.register_buffer("text_positive", torch.zeros(len(self.classes), sizes.text))
        self.register_buffer("text_negative", torch.zeros(len(self.classes), sizes.text))
        if self.free_points:
            self.cuep.requires_grad_(False)
        self.learn_prompts = settings["prompts"] == "learned"
        if not self.learn_prompts:
            self.smep.requires_grad_(False)
            self.cuep.requires_grad_(False)
        self.start = {name: value.detach().clone() for name, value in self._prompts().items()}
        self._points_now: tuple[Tensor, Tensor] | None = None
        self._opposing: OpposingFeatures | None = None
        self._known_features: dict[int, tuple[Tensor, ...]] = {}

    def _prompts(self) -> dict[str, Tensor]:
        """Learnable prompt tensors by the name under which their movement is recorded."""
        names = {"delta_t": "smep.delta_t", "n_a": "smep.n_a.weight"}
        names |= {f"n_v{i or ''}": f"smep.n_v.{i}.weight" for i in range(len(self.smep.n_v))}
        if self.free_points:
            names["points"] = "points"
        else:
            names |= {name: f"cuep.{name}" for name in PIXEL_AND_WAVE}
        own = dict(self.named_parameters())
        return {name: own[path] for name, path in names.items()}

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Encode the fixed sentences of the classes, and all clips when no prompt will move, once for the run."""
        positive, negative = self.cuep.text_features(self.encoders)
        self.text_positive.copy_(positive)
        self.text_negative.copy_(negative)
        if not self.learn_prompts:
            # in one fixed order, so that a resumed run has the same features to the last bit
            for batch in batches:
                self.features(batch)

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """Head, semantic prompts and pixel/waveform prompts; `prompt_step: adam` moves the prompts by Adam."""
        pixels = [p for p in self.cuep.parameters() if p.requires_grad]
        semantic = [p for p in self.smep.parameters() if p.requires_grad]
        rest = list(self.head.parameters()) + ([self.points] if self.free_points else [])
        groups = [OptimiserGroup.sgd("head", rest, settings)]
        if settings["prompt_step"] == "adam":
            # no decay on prompts: it would be most of their movement
            groups.append(OptimiserGroup("pixels", pixels, "adam", settings["prompt_lr_pixels"], 0.0, 0.0))
            groups.append(OptimiserGroup("semantic", semantic, "adam", settings["prompt_lr_semantic"], 0.0, 0.0))
        else:
            groups.append(OptimiserGroup.sgd("pixels", pixels, settings))
            groups.append(OptimiserGroup.sgd("semantic", semantic, settings))
        return groups

    def features(self, batch: Batch) -> Features:
        """``F_T, F_V, F_A`` of eq. 3."""
        if not self.learn_prompts and all(int(i) in self._known_features for i in batch.row):
            rows = [self._known_features[int(i)] for i in batch.row]
            return Features(*(torch.stack(column) for column in zip(*rows, strict=True)))
        prompts = self.smep()
        with self.encoding():
            encoded = encode_media(
                self.encoders,
                batch,
                prompts,
                audio_place=self.settings["audio_prompt"],
                audio_pool=self.settings["audio_pool"],
            )
        encoded = mask_missing(encoded, batch.missing, self.settings)
        if self.settings["normalise_features"]:
            encoded = Features(*(functional.normalize(value, dim=-1) for value in encoded))
        if not self.learn_prompts:
            # prompts that never move give every clip the same features in every epoch
            columns = zip(*(value.detach().unbind() for value in encoded), strict=True)
            self._known_features.update(zip((int(i) for i in batch.row), columns, strict=True))
        return encoded

    def class_text(self) -> tuple[Tensor, Tensor]:
        """``F_T^+`` and ``F_T^-``."""
        if self.settings["class_text_prompted"]:
            prompts = self.smep.text_prompts()
            with self.encoding():
                return self.cuep.text_features(self.encoders, prompts)
        return self.text_positive, self.text_negative

    def class_points(self, text: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """``F_M^+`` and ``F_M^-``: the shared head on eq. 4's features, or free vectors (`points: free`).

        ``(K, m)`` each; ``(3, K, m)``, one point per modality, with `point_features: modality_sum`.
        """
        if self.free_points:
            return self.points[0], self.points[1]
        sides = self.opposing_features(text)
        if self.settings["point_features"] == "modality_sum":
            positive, negative = (torch.stack(self.head.parts(*side)) for side in sides)
            return positive, negative
        return self.head(*sides.positive), self.head(*sides.negative)

    def osr_logits(self, features: Features, fused: Tensor, points: tuple[Tensor, Tensor]) -> Tensor:
        """``D_neg - D_pos`` of eq. 8 on the fused feature, or summed over the modalities' own distances."""
        if points[0].dim() == 2:
            return opposing_logits(fused, *points)
        parts = self.head.parts(*features)
        triples = zip(parts, *points, strict=True)
        return torch.stack([opposing_logits(part.to(p.dtype), p, n) for part, p, n in triples]).sum(0)

    def opposing_features(self, text: tuple[Tensor, Tensor]) -> OpposingFeatures:
        """Features of the class prompts (eq. 4); encoded once when no prompt moves."""
        if self._opposing is not None:
            return self._opposing
        with self.encoding():
            opposing = self.cuep(self.encoders, text)
        if self.settings["normalise_features"]:
            sides = (Features(*(functional.normalize(value, dim=-1) for value in side)) for side in opposing)
            opposing = OpposingFeatures(*sides)
        if not self.learn_prompts:
            self._opposing = opposing
        return opposing

    def emotion_logits(self, features: Features, fused: Tensor, text_positive: Tensor) -> Tensor:
        """Logits of eq. 5: the fused feature's cosine, or the mean of the three modalities' (`emo_features`)."""
        scale = self.settings["cosine_scale"]
        if self.settings["emo_features"] == "modality_mean":
            parts = self.head.parts(*features)
            return torch.stack([emotion_logits(part, text_positive, scale) for part in parts]).mean(0)
        return emotion_logits(fused, text_positive, scale)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_emo`` (eq. 5) and ``loss_osr`` (eq. 8); their sum is eq. 9."""
        features = self.features(batch)
        text = self.class_text()
        fused = self.head(*features)
        emotion = self.emotion_logits(features, fused, text[0])
        osr = self.osr_logits(features, fused, self.class_points(text))
        return {
            "loss_emo": functional.cross_entropy(emotion, batch.label, reduction=self.reduction),
            "loss_osr": functional.cross_entropy(osr, batch.label, reduction=self.reduction),
            "accuracy": accuracy(osr, batch.label),
        }

    def before_step(self) -> None:
        """`prompt_step: normalised`: a step of fixed RMS along each class's own gradient (HESP's manual step)."""
        if self.settings["prompt_step"] != "normalised":
            return
        with torch.no_grad():
            for name in PIXEL_AND_WAVE:
                prompt = getattr(self.cuep, name)
                if prompt.grad is None:
                    continue
                axes = tuple(range(1, prompt.dim()))
                rms = prompt.grad.square().mean(axes, keepdim=True).sqrt()
                prompt -= self.settings["prompt_step_rms"] * prompt.grad / rms.clamp_min(1e-20)

    def after_step(self, step: int) -> None:
        """Class points are stale after a step."""
        self._points_now = None

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Algorithm 1: softmax(D_neg - D_pos); the score is log max-softmax (`score`), the class its largest logit."""
        text = self.class_text()
        if self._points_now is None:
            self._points_now = self.class_points(text)
        features = self.features(batch)
        fused = self.head(*features)
        points = (self._points_now[0].double(), self._points_now[1].double())
        logits = self.osr_logits(features, fused.double(), points)
        if self.settings["inference"] == "average":
            logits = (logits + self.emotion_logits(features, fused, text[0]).double()) / 2
        score = log_max_softmax(logits) if self.settings["score"] == "log_softmax" else logits.max(dim=1).values
        return Prediction(logits, score, {**features._asdict(), "fused": fused})

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """``movement_*`` = |now - start| / |start| per prompt; ``gap_*`` = mean over k of |p_k - n_k| / |p_k|."""
        rows = {}
        for name, value in self._prompts().items():
            start = self.start[name].to(value.device)
            rows[f"movement_{name}"] = float((value - start).norm() / start.norm())
        text = self.class_text()
        gaps: dict[str, tuple[Tensor, Tensor]] = {}
        if not self.free_points:
            opposing = self.opposing_features(text)
            gaps = {m: (getattr(opposing.positive, m), getattr(opposing.negative, m)) for m in MODALITIES}
        gaps["fused"] = self.class_points(text)
        for name, (positive, negative) in gaps.items():
            rows[f"gap_{name}"] = float(((positive - negative).norm(dim=-1) / positive.norm(dim=-1)).mean())
        return rows
