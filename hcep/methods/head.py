"""The fusion head, and ARPL's distance and loss, that HCEP and its rivals share.

ARPL: Chen, Peng, Wang, Tian: "Adversarial Reciprocal Points Learning for Open Set Recognition", TPAMI 2021; constants
from the authors' repository (iCGY96/ARPL@3ede8b3: ``osr.py``, ``loss/ARPLoss.py``, ``loss/Dist.py``): points start at
0.1 N(0, 1), the radius at 0, temperature 1, weight of the margin term 0.1, margin 1.

Shapes: B clips, K classes, m = head dimension (512).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.methods.method import Sizes, accuracy

MARGIN_WEIGHT = 0.1
MARGIN = 1.0
POINT_STD = 0.1


class FusionHead(nn.Module):
    """One linear map per modality, joined, and one more: ``W_f [W_t F_T; W_v F_V; W_a F_A]``.

    The reading R1 of the paper's "simple concatenation", which its Table 8 counts to the parameter. The output has the
    size `dim`; with 0 it is that of CLIP's text feature, so that eq. 5 can compare the two.
    """

    def __init__(self, sizes: Sizes, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim or sizes.text
        self.text = nn.Linear(sizes.text, self.dim)
        self.vision = nn.Linear(sizes.vision, self.dim)
        self.audio = nn.Linear(sizes.audio, self.dim)
        self.fuse = nn.Linear(3 * self.dim, self.dim)

    def parts(self, text: Tensor, vision: Tensor, audio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three modalities in the common space, each ``(B, m)``."""
        return self.text(text), self.vision(vision), self.audio(audio)

    def forward(self, text: Tensor, vision: Tensor, audio: Tensor) -> Tensor:
        """Fused feature ``(B, m)``."""
        return self.fuse(torch.cat(self.parts(text, vision, audio), dim=1))


def arpl_distance(x: Tensor, points: Tensor) -> Tensor:
    """Distance ``(B, K)`` of features ``(B, m)`` to points ``(K, m)``: ``|x - c|^2 / m - x . c``.

    The composite distance of ARPL (Chen et al., TPAMI 2021, ``Dist``), the d of the paper's eq. 6 and 7. The squared
    distance is divided by m, the dot product is not.
    """
    squared = (x * x).sum(1, keepdim=True) - 2 * x @ points.T + (points * points).sum(1)
    return squared / x.shape[1] - x @ points.T


def arpl_margin(
    x: Tensor, points: Tensor, label: Tensor, radius: Tensor, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """ARPL's bound on the open space, ``0.1 max(0, d_y - R + 1)`` over the batch, with its weight; a scalar.

    ``d_y`` is the mean squared difference of a feature ``(B, m)`` to the reciprocal point ``(K, m)`` of its own class
    `label` ``(B,)``, R the learned `radius` ``(1,)``, 1 the margin of ``loss/ARPLoss.py`` (the paper of ARPL has none).
    """
    own = (x - points[label]).square().mean(dim=1)
    terms = functional.relu(own - radius + MARGIN)
    return MARGIN_WEIGHT * (terms.mean() if reduction == "mean" else terms.sum())


def arpl_losses(features: Tensor, points: Tensor, radius: Tensor, label: Tensor) -> dict[str, Tensor]:
    """ARPL's loss in its two terms, and the accuracy; shapes as in `arpl_margin`.

    ``loss_cls`` is the cross-entropy of the distances to the points, ``loss_margin`` is `arpl_margin`.
    """
    logits = arpl_distance(features, points)
    return {
        "loss_cls": functional.cross_entropy(logits, label),
        "loss_margin": arpl_margin(features, points, label, radius),
        "accuracy": accuracy(logits, label),
    }
