"""HCEP: hierarchical cross-modal emotion-interactive prompting (Liu et al., Information Fusion 2026).

Frozen CLIP and wav2vec 2.0; SMEP prompts in every clip, CUEP prompts per class, a fusion head, and the two losses of
DPOL. Every reading of the paper that has an alternative is a setting, and so is every ablation of its Tables 5 to 7 and
Fig. 4; docs/methods.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.methods.cuep import CUEP, SIGNS, OpposingFeatures
from hcep.methods.dpol import emotion_logits, opposing_logits
from hcep.methods.features import encode_media
from hcep.methods.head import POINT_STD, FusionHead, arpl_margin
from hcep.methods.method import (
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
from hcep.methods.optimiser import OptimiserGroup
from hcep.methods.shared import Shared
from hcep.methods.smep import SMEP
from hcep.methods.switches import reached_by_losses, refuse_contradictions

PIXEL_AND_WAVE = ("delta_v_pos", "delta_v_neg", "delta_a_pos", "delta_a_neg")


class ClassSide(NamedTuple):
    """What clips are compared with: ``(K, m)`` each, points ``(3, K, m)`` if one per modality; None if not in use.

    Attributes
    ----------
    target : Tensor or None
        Class features of eq. 5.
    positive, negative : Tensor or None
        ``p_k`` and ``n_k`` of eq. 6 and 7.
    """

    target: Tensor | None
    positive: Tensor | None
    negative: Tensor | None


class HCEP(Method):
    """The paper's method and, by settings, its ablations and controls.

    Settings read: ``losses, sample_prompts, guide, prompt_words, prompt_tokens, text_prompt, vision_prompt,
    audio_prompt, audio_pool, class_text, class_text_prompted, pixel_normalisation, points, point_features,
    emo_features, emo_points, cosine_scale, normalise_features, loss_reduction, inference, score, words, prompts,
    prompt_step, prompt_lr_pixels, prompt_lr_semantic, prompt_step_rms, missing``, and the optimiser's.
    """

    inputs: ClassVar[Literal["media", "features"]] = "media"
    text_positive: Tensor
    text_negative: Tensor

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        refuse_contradictions(settings)
        self.used = reached_by_losses(settings)
        self.reduction = settings["loss_reduction"]
        # the head comes first, so that runs with the same seed start from the same head
        self.head = FusionHead(sizes)
        self.smep = SMEP(
            encoders,
            sizes.samples,
            words=settings["prompt_words"],
            tokens=settings["prompt_tokens"],
            guide=settings["guide"],
            text_prompt=settings["text_prompt"],
            vision_prompt=settings["vision_prompt"],
        )
        # "happiness" -> "happy", as in the paper's example sentence
        words = [settings["words"].get(name, name) for name in classes]
        self.cuep = CUEP(
            words,
            sizes.side,
            sizes.samples,
            encoders.text.width,
            class_text=settings["class_text"],
            pixel_normalisation=settings["pixel_normalisation"],
        )
        if "points" in self.used:
            # p_k and n_k, or n_k alone, from ARPL's start value for learned points
            count = 2 if settings["points"] == "free" else 1
            self.points = nn.Parameter(POINT_STD * torch.randn(count, len(self.classes), self.head.dim))
        if "radius" in self.used:
            self.radius = nn.Parameter(torch.zeros(1))
        self.register_buffer("text_positive", torch.zeros(len(self.classes), sizes.text))
        self.register_buffer("text_negative", torch.zeros(len(self.classes), sizes.text))
        self.learn_prompts = settings["prompts"] == "learned"
        self.clips_are_constant = not (self.learn_prompts and settings["sample_prompts"])
        self.text_is_constant = not (
            settings["class_text_prompted"] or (self.learn_prompts and settings["class_text"] != "fixed")
        )
        # clips that are constant are looked up by number
        self.recordable = not self.clips_are_constant
        self._choose_learnable()
        self.start = {name: value.detach().clone() for name, value in self._prompts().items()}
        self._class_side_now: ClassSide | None = None
        self._shared = Shared()
        self._opposing: OpposingFeatures | None = None
        self._known_features: dict[int, tuple[Tensor, ...]] = {}

    def _choose_learnable(self) -> None:
        """Take gradients off what no loss reaches, and off all prompts with `prompts: frozen`."""
        self.head.fuse.requires_grad_("fuse" in self.used)
        self.smep.requires_grad_(self.learn_prompts and "smep" in self.used)
        for name, value in self.cuep.named_parameters():
            value.requires_grad_(self.learn_prompts and name in self.used)

    def _prompts(self) -> dict[str, Tensor]:
        """Prompt tensors in use, by the name under which their movement is recorded."""
        prompts: dict[str, Tensor] = dict(self.smep.recorded()) if "smep" in self.used else {}
        if "points" in self.used:
            prompts["points"] = self.points
        return prompts | {name: value for name, value in self.cuep.named_parameters() if name in self.used}

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Encode the class texts, and all clips, once for the run, where nothing that enters them will move."""
        if self.text_is_constant:
            positive, negative = self.cuep.text_features(self.encoders)
            self.text_positive.copy_(positive)
            self.text_negative.copy_(negative)
        if self.clips_are_constant:
            # in one fixed order, so that a resumed run has the same features, on a CPU to the last bit
            for batch in batches:
                self.features(batch)

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """Head, semantic prompts and pixel/waveform prompts; `prompt_step: adam` moves the prompts by Adam."""
        learnable = {name: value for name, value in self.named_parameters() if value.requires_grad}
        pixels = [value for name, value in learnable.items() if name.removeprefix("cuep.") in PIXEL_AND_WAVE]
        semantic = [value for name, value in learnable.items() if name.startswith(("smep.", "cuep.tokens_"))]
        prompts = {id(value) for value in (*pixels, *semantic)}
        rest = [value for value in learnable.values() if id(value) not in prompts]
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
        """``F_T, F_V, F_A`` of eq. 3; those of the bare clip with `sample_prompts: false`."""
        if self.clips_are_constant and all(int(i) in self._known_features for i in batch.row):
            rows = [self._known_features[int(i)] for i in batch.row]
            return Features(*(torch.stack(column) for column in zip(*rows, strict=True)))
        prompts = self.smep() if self.settings["sample_prompts"] else None
        with self.encoding():
            encoded = encode_media(
                self.encoders,
                batch,
                prompts,
                audio_place=self.settings["audio_prompt"],
                audio_pool=self.settings["audio_pool"],
            )
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
            return self.cuep.text_features(self.encoders, prompts)

    def opposing_features(self, text: tuple[Tensor, Tensor]) -> OpposingFeatures:
        """Features of the class prompts in use (eq. 4); encoded once when no prompt moves."""
        if self._opposing is not None:
            return self._opposing
        signs = [sign for sign in SIGNS if f"delta_v_{sign}" in self.used]
        with self.encoding():
            opposing = self.cuep(self.encoders, text, signs)
        opposing = OpposingFeatures(*(None if side is None else self._scaled(side) for side in opposing))
        if not self.learn_prompts:
            self._opposing = opposing
        return opposing

    def class_features(self) -> tuple[tuple[Tensor, Tensor], OpposingFeatures]:
        """Class texts, and the features of eq. 4."""
        text = self.class_text()
        return text, self.opposing_features(text)

    def class_side(self, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> ClassSide:
        """Targets of eq. 5 and points of eq. 6 and 7, from class texts and the features of eq. 4."""
        target = None
        if "emo" in self.settings["losses"]:
            positive = opposing.positive if self.settings["emo_points"] == "head" else None
            target = text[0] if positive is None else self.head(*positive)
        if "osr" not in self.settings["losses"]:
            return ClassSide(target, None, None)
        return ClassSide(target, *self.class_points(text, opposing))

    def class_points(
        self, text: tuple[Tensor, Tensor], opposing: OpposingFeatures
    ) -> tuple[Tensor | None, Tensor | None]:
        """``p_k`` and ``n_k``: the shared head on eq. 4's features, the class texts themselves, or free vectors."""
        kind = self.settings["points"]
        if kind in ("free", "free_negative"):
            return (self.points[0] if kind == "free" else None), self.points[-1]
        pair: list[Tensor | None]
        if self.settings["point_features"] == "text":
            unit = self.settings["normalise_features"]
            pair = [functional.normalize(value, dim=-1) if unit else value for value in text]
        else:
            pair = [None if side is None else self._point(side) for side in opposing]
        return (pair[0] if kind == "prompted" else None), pair[1]

    def _point(self, side: Features) -> Tensor:
        """``(K, m)`` of the fused feature, or ``(3, K, m)``, one point per modality (`point_features`)."""
        if self.settings["point_features"] == "modality_sum":
            return torch.stack(self.head.parts(*side))
        return self.head(*side)

    def emotion_logits(self, features: Features, fused: Tensor, target: Tensor) -> Tensor:
        """Logits of eq. 5: the fused feature's cosine, or the mean of the three modalities' (`emo_features`)."""
        scale = self.settings["cosine_scale"]
        if self.settings["emo_features"] == "modality_mean":
            parts = self.head.parts(*features)
            return torch.stack([emotion_logits(part.to(target.dtype), target, scale) for part in parts]).mean(0)
        return emotion_logits(fused, target, scale)

    def osr_logits(self, features: Features, fused: Tensor, positive: Tensor | None, negative: Tensor) -> Tensor:
        """Logits of eq. 8 on the fused feature, or summed over the modalities' own distances (`point_features`)."""
        if negative.dim() == 2:
            return opposing_logits(fused, positive, negative)
        parts = self.head.parts(*features)
        triples = zip(parts, [None] * 3 if positive is None else positive, negative, strict=True)
        return torch.stack([opposing_logits(part.to(n.dtype), p, n) for part, p, n in triples]).sum(0)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_emo`` (eq. 5) and ``loss_osr`` (eq. 8), or one of them (`losses`); their sum is eq. 9.

        Reciprocal points of their own (`points: free_negative`) add ARPL's ``loss_margin`` to ``loss_osr``. The
        accuracy is that of the logits which `predict` takes: eq. 8's, or eq. 5's if only they are learned.
        """
        features = self.features(batch)
        fused = self.head(*features)
        target, positive, negative = self.class_side(*self._shared(self.class_features))
        terms = {}
        if target is not None:
            logits = self.emotion_logits(features, fused, target)
            terms["loss_emo"] = functional.cross_entropy(logits, batch.label, reduction=self.reduction)
        if negative is not None:
            logits = self.osr_logits(features, fused, positive, negative)
            terms["loss_osr"] = functional.cross_entropy(logits, batch.label, reduction=self.reduction)
            if "radius" in self.used:
                terms["loss_margin"] = arpl_margin(fused, negative, batch.label, self.radius, self.reduction)
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
            for name in PIXEL_AND_WAVE:
                prompt = getattr(self.cuep, name)
                if prompt.grad is None:
                    continue
                axes = tuple(range(1, prompt.dim()))
                rms = prompt.grad.square().mean(axes, keepdim=True).sqrt()
                prompt -= self.settings["prompt_step_rms"] * prompt.grad / rms.clamp_min(1e-20)

    def after_step(self, step: int) -> None:
        """Targets and points are stale after a step."""
        self._class_side_now = None

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Algorithm 1: softmax(D_neg - D_pos); the score is log max-softmax (`score`), the class its largest logit.

        Without the loss of eq. 8 its logits mean nothing, and the cosines of eq. 5 stand in for them.
        """
        if self._class_side_now is None:
            self._class_side_now = self.class_side(*self.class_features())
        target, positive, negative = (None if x is None else x.double() for x in self._class_side_now)
        features = self.features(batch)
        fused = self.head(*features)
        found = []
        if negative is not None:
            found.append(self.osr_logits(features, fused.double(), positive, negative))
        if target is not None and (negative is None or self.settings["inference"] == "average"):
            found.append(self.emotion_logits(features, fused.double(), target))
        logits = torch.stack(found).mean(0) if len(found) > 1 else found[0]
        score = log_max_softmax(logits) if self.settings["score"] == "log_softmax" else logits.max(dim=1).values
        return Prediction(logits, score, {**features._asdict(), "fused": fused})

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """``movement_*`` = |now - start| / |start| per prompt; ``gap_*`` = mean over k of |p_k - n_k| / |p_k|.

        Gaps exist where both signs are in use: ``gap_text, gap_vision, gap_audio`` of eq. 4's features, ``gap_fused``
        of the points; points that are the texts themselves (`point_features: text`) have ``gap_text`` alone.
        """
        rows = {}
        for name, value in self._prompts().items():
            start = self.start[name].to(value.device)
            rows[f"movement_{name}"] = float((value - start).norm() / start.norm())
        text, opposing = self.class_features()
        side = self.class_side(text, opposing)
        gaps: dict[str, tuple[Tensor, Tensor]] = {}
        if side.positive is not None and side.negative is not None:
            if opposing.positive is not None and opposing.negative is not None:
                gaps = {m: (getattr(opposing.positive, m), getattr(opposing.negative, m)) for m in MODALITIES}
            gaps["text" if self.settings["point_features"] == "text" else "fused"] = (side.positive, side.negative)
        for name, (positive, negative) in gaps.items():
            rows[f"gap_{name}"] = float(((positive - negative).norm(dim=-1) / positive.norm(dim=-1)).mean())
        return rows
