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
from hcep.methods.method import MODALITIES, Features
from hcep.methods.parts import NEGATIVE, NEITHER, POSITIVE, Part, Signs

Side = tuple[Tensor, ...]
Pair = tuple[Tensor, Tensor]
Losses = dict[str, Tensor]
Reduction = Literal["mean", "sum"]


class Stream(Part):
    """One of the two losses, as far as it differs between settings.

    Attributes
    ----------
    loss : str
        Name of its loss in the history.
    texts, media : set of {"pos", "neg"}
        The class texts, and the images and waveforms of the classes, that it reads.
    fuse : bool
        Whether anything in it passes through the head's last map.
    """

    group: ClassVar[Literal["head"]] = "head"
    loss: ClassVar[str]
    texts: Signs = NEITHER
    media: Signs = NEITHER
    fuse: bool = True

    def side(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> Side:
        """What clips are compared with, each ``(K, m)``, from the class texts and the features of eq. 4."""
        raise NotImplementedError

    def logits(self, head: FusionHead, features: Features, fused: Tensor, side: Side) -> Tensor:
        """Logits ``(B, K)`` of clips with these features, fused ``(B, m)``, in the precision of `side`."""
        raise NotImplementedError

    def losses(self, logits: Tensor, fused: Tensor, side: Side, label: Tensor, reduction: Reduction) -> Losses:
        """The loss by name: cross-entropy of the logits."""
        return {self.loss: functional.cross_entropy(logits, label, reduction=reduction)}

    def gaps(self, side: Side, opposing: OpposingFeatures) -> dict[str, Pair]:
        """Pairs of positive and negative vectors whose distance the history records, by name."""
        return {}


class EmotionStream(Stream):
    """Eq. 5: the cosine of a clip and one feature per class.

    Parameters
    ----------
    settings : dict
        ``emo_points``: the class feature is the class text ``F_T^+``, or the head's feature of eq. 4's positive side.
        ``emo_features``: the logits are those of the fused feature, or the mean of the three modalities'.
        ``cosine_scale``: the factor on the cosine.
    """

    loss: ClassVar[str] = "loss_emo"
    texts: Signs = POSITIVE

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.on_head, self.scale = settings["emo_points"] == "head", settings["cosine_scale"]
        self.by_modality = settings["emo_features"] == "modality_mean"
        self.media = POSITIVE if self.on_head else NEITHER
        self.fuse = self.on_head or not self.by_modality

    def side(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> Side:
        """The class feature."""
        if not self.on_head:
            return (text[0],)
        assert opposing.positive is not None
        return (head(*opposing.positive),)

    def logits(self, head: FusionHead, features: Features, fused: Tensor, side: Side) -> Tensor:
        """Logits of eq. 5."""
        (target,) = side
        if not self.by_modality:
            return emotion_logits(fused, target, self.scale)
        parts = head.parts(*features)
        return torch.stack([emotion_logits(part.to(target.dtype), target, self.scale) for part in parts]).mean(0)


class PointStream(Stream):
    """Eq. 6-8: distances to ``p_k`` and ``n_k``, or to ``n_k`` alone; its side has two entries, or one."""

    loss: ClassVar[str] = "loss_osr"
    gap: ClassVar[str] = "fused"  # what the gap between the points is called

    def logits(self, head: FusionHead, features: Features, fused: Tensor, side: Side) -> Tensor:
        """Logits of eq. 8."""
        positive, negative = side if len(side) == 2 else (None, side[0])
        return opposing_logits(fused, positive, negative)

    def gaps(self, side: Side, opposing: OpposingFeatures) -> dict[str, Pair]:
        """With both points: theirs, and that of each modality of eq. 4 if both signs are encoded."""
        if len(side) < 2:
            return {}
        pairs: dict[str, Pair] = {}
        if opposing.positive is not None and opposing.negative is not None:
            pairs.update(zip(MODALITIES, zip(opposing.positive, opposing.negative, strict=True), strict=True))
        return pairs | {self.gap: (side[0], side[1])}


class PromptedPoints(PointStream):
    """The head's feature of eq. 4's sides (`point_features: head`).

    With ``modality_sum`` a point per modality, ``(3, K, m)``; eq. 8 is then the sum over the modalities.
    """

    def __init__(self, signs: Signs, *, by_modality: bool) -> None:
        super().__init__()
        self.texts = self.media = signs
        self.by_modality, self.fuse = by_modality, not by_modality

    def side(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> Side:
        """``F_M^+`` and ``F_M^-``."""
        used = (opposing.positive if "pos" in self.media else None, opposing.negative)
        given = [features for features in used if features is not None]
        return tuple(torch.stack(head.parts(*each)) if self.by_modality else head(*each) for each in given)

    def logits(self, head: FusionHead, features: Features, fused: Tensor, side: Side) -> Tensor:
        """Logits of eq. 8, or their sum over the modalities' own distances."""
        if not self.by_modality:
            return super().logits(head, features, fused, side)
        parts = zip(head.parts(*features), zip(*side, strict=True), strict=True)
        one = super().logits
        return torch.stack([one(head, features, part.to(points[-1].dtype), points) for part, points in parts]).sum(0)


class TextPoints(PointStream):
    """The class texts themselves (`point_features: text`), of unit length with `normalise_features`."""

    gap: ClassVar[str] = "text"

    def __init__(self, signs: Signs, *, unit: bool) -> None:
        super().__init__()
        self.texts, self.unit = signs, unit

    def side(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> Side:
        """``F_T^+`` and ``F_T^-``."""
        used = text if "pos" in self.texts else text[1:]
        return tuple(functional.normalize(value, dim=-1) if self.unit else value for value in used)


class FreePoints(PointStream):
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
        """The vectors; not the radius, which starts at 0, so that nothing can measure how far it moved."""
        return {"points": self.vectors}

    def side(self, head: FusionHead, text: tuple[Tensor, Tensor], opposing: OpposingFeatures) -> Side:
        """The vectors."""
        return tuple(self.vectors[i] for i in range(len(self.vectors)))

    def losses(self, logits: Tensor, fused: Tensor, side: Side, label: Tensor, reduction: Reduction) -> Losses:
        """Cross-entropy, and for negative points alone ARPL's ``loss_margin``."""
        losses = super().losses(logits, fused, side, label, reduction)
        if self.radius is not None:
            losses["loss_margin"] = arpl_margin(fused, side[-1], label, self.radius, reduction)
        return losses


def choose_points(classes: int, dim: int, settings: dict[str, Any]) -> PointStream | None:
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
    return PromptedPoints(signs, by_modality=features == "modality_sum")
