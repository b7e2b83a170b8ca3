"""The two streams of DPOL: what each compares a clip with, and by which logits (paper section 3.5, eq. 5-8).

Each stream says which class texts and which images and waveforms of the classes it reads, and whether it reads the
head's last map, so that what no stream reads is neither learned nor encoded.

Shapes: B clips, K classes, m feature dimension of the head.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.errors import HcepError
from hcep.methods.cuep import OpposingFeatures
from hcep.methods.dpol import emotion_logits, opposing_logits
from hcep.methods.head import POINT_STD, FusionHead, arpl_margin
from hcep.methods.method import Features
from hcep.methods.parts import NEGATIVE, NEITHER, POSITIVE, Part, Signs

PointPair = tuple[Tensor | None, Tensor]


class EmotionStream:
    """Eq. 5: a clip against one feature per class.

    Parameters
    ----------
    target : {"text", "head"}
        The class feature: the class text ``F_T^+``, or the head's feature of eq. 4's positive side (`emo_points`).
    clip : {"fused", "modality_mean"}
        The logits: of the fused feature, or the mean of the three modalities' (`emo_features`).
    scale : float
        Of the cosine.
    """

    texts: Signs = POSITIVE

    def __init__(self, target: str, clip: str, scale: float) -> None:
        self.on_head, self.by_modality, self.scale = target == "head", clip == "modality_mean", scale
        self.media = POSITIVE if self.on_head else NEITHER
        self.fuse = self.on_head or not self.by_modality

    def target(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> Tensor:
        """Class features ``(K, m)``."""
        if not self.on_head:
            return text[0]
        assert opposing.positive is not None
        return head(*opposing.positive)

    def logits(self, head: FusionHead, features: Features, fused: Tensor, target: Tensor) -> Tensor:
        """Logits ``(B, K)`` of eq. 5."""
        if not self.by_modality:
            return emotion_logits(fused, target, self.scale)
        parts = head.parts(*features)
        return torch.stack([emotion_logits(part.to(target.dtype), target, self.scale) for part in parts]).mean(0)


class Points(Part):
    """Eq. 6-8: a clip against a positive and a negative point of every class, or the negative one alone.

    Attributes
    ----------
    texts, media : set of {"pos", "neg"}
        The class texts, and the images and waveforms of the classes, that the points are made of.
    fuse : bool
        Whether points or clips pass through the head's last map.
    gap : str
        Name of the distance between the two points in the history.
    """

    group: ClassVar[Literal["head"]] = "head"
    texts: Signs = NEITHER
    media: Signs = NEITHER
    fuse: ClassVar[bool] = True
    gap: ClassVar[str] = "fused"

    def forward(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> PointPair:
        """``p_k`` and ``n_k`` ``(K, m)``; None for a positive point that is not in use."""
        raise NotImplementedError

    def logits(
        self, head: FusionHead, features: Features, fused: Tensor, positive: Tensor | None, negative: Tensor
    ) -> Tensor:
        """Logits ``(B, K)`` of eq. 8."""
        return opposing_logits(fused, positive, negative)

    def margin(self, fused: Tensor, negative: Tensor, label: Tensor, reduction: Any) -> dict[str, Tensor]:
        """A further loss term by name, for points that have one."""
        return {}


class PromptedPoints(Points):
    """The head's feature of eq. 4's sides (`point_features: head`)."""

    def __init__(self, signs: Signs) -> None:
        super().__init__()
        self.texts = self.media = signs

    def forward(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> PointPair:
        """``F_M^+`` and ``F_M^-``."""
        assert opposing.negative is not None
        positive = opposing.positive if "pos" in self.media else None
        return None if positive is None else self.point(head, positive), self.point(head, opposing.negative)

    def point(self, head: FusionHead, side: Features) -> Tensor:
        """One side's points."""
        return head(*side)


class ModalityPoints(PromptedPoints):
    """A point per modality, ``(3, K, m)``; eq. 8 is the sum over the modalities (`point_features: modality_sum`)."""

    fuse: ClassVar[bool] = False

    def point(self, head: FusionHead, side: Features) -> Tensor:
        """One side's points."""
        return torch.stack(head.parts(*side))

    def logits(
        self, head: FusionHead, features: Features, fused: Tensor, positive: Tensor | None, negative: Tensor
    ) -> Tensor:
        """Logits ``(B, K)`` of eq. 8, summed over the modalities' own distances."""
        triples = zip(head.parts(*features), [None] * 3 if positive is None else positive, negative, strict=True)
        return torch.stack([opposing_logits(part.to(n.dtype), p, n) for part, p, n in triples]).sum(0)


class TextPoints(Points):
    """The class texts themselves (`point_features: text`), of unit length with `normalise_features`."""

    gap: ClassVar[str] = "text"

    def __init__(self, signs: Signs, *, unit: bool) -> None:
        super().__init__()
        self.texts, self.unit = signs, unit

    def forward(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> PointPair:
        """``F_T^+`` and ``F_T^-``."""
        positive, negative = (functional.normalize(value, dim=-1) if self.unit else value for value in text)
        return (positive if "pos" in self.texts else None), negative


class FreePoints(Points):
    """Learned vectors from ARPL's start value: both points, or the negative one alone with ARPL's margin.

    Attributes
    ----------
    vectors : Tensor (2, K, m) or (1, K, m)
        ``p_k`` and ``n_k``, or ``n_k``.
    radius : Tensor (1,) or None
        Of the margin.
    """

    radius: nn.Parameter | None

    def __init__(self, classes: int, dim: int, *, positive: bool) -> None:
        super().__init__()
        self.vectors = nn.Parameter(POINT_STD * torch.randn(2 if positive else 1, classes, dim))
        self.register_parameter("radius", None if positive else nn.Parameter(torch.zeros(1)))

    def reached(self) -> dict[str, Tensor]:
        """All parameters."""
        return dict(self.named_parameters())

    def recorded(self) -> dict[str, Tensor]:
        """The vectors: a radius starts at 0, which no movement can be measured against."""
        return {"points": self.vectors}

    def forward(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> PointPair:
        """The vectors themselves."""
        return (self.vectors[0] if len(self.vectors) == 2 else None), self.vectors[-1]

    def margin(self, fused: Tensor, negative: Tensor, label: Tensor, reduction: Any) -> dict[str, Tensor]:
        """ARPL's ``loss_margin`` of negative points alone."""
        if self.radius is None:
            return {}
        return {"loss_margin": arpl_margin(fused, negative, label, self.radius, reduction)}


def choose_points(classes: int, dim: int, settings: dict[str, Any]) -> Points | None:
    """The points that `points` and `point_features` name; None without the loss of eq. 8.

    Raises
    ------
    HcepError
        For free points that are to be made of something.
    """
    kind, features = settings["points"], settings["point_features"]
    free = kind in ("free", "free_negative")
    if free and features != "head":
        raise HcepError(
            f"point_features: {features} with points: {kind}",
            remedy="free points are vectors in the fused space: leave point_features at head",
        )
    if "osr" not in settings["losses"]:
        return None
    if free:
        return FreePoints(classes, dim, positive=kind == "free")
    signs = POSITIVE | NEGATIVE if kind == "prompted" else NEGATIVE
    if features == "text":
        return TextPoints(signs, unit=settings["normalise_features"])
    return ModalityPoints(signs) if features == "modality_sum" else PromptedPoints(signs)
