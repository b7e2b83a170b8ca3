"""The loss of ARPL, shared by every method with reciprocal points.

Chen, Peng, Wang, Tian: "Adversarial Reciprocal Points Learning for Open Set Recognition", TPAMI 2021; constants from
the authors' repository (iCGY96/ARPL@3ede8b3: ``loss/ARPLoss.py``, ``loss/Dist.py``): points start at 0.1 N(0, 1), the
radius at 0, temperature 1, weight of the margin term 0.1, margin 1.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from hcep.model.head import arpl_distance

MARGIN_WEIGHT = 0.1
MARGIN = 1.0
POINT_STD = 0.1


class ArplTerms(NamedTuple):
    """Logits ``(B, K)`` and the two terms of the loss, scalars."""

    logits: Tensor
    classification: Tensor
    margin: Tensor


def arpl_terms(features: Tensor, points: Tensor, radius: Tensor, label: Tensor) -> ArplTerms:
    """Cross-entropy of the distances to the points, and ``0.1 max(0, d_y - R + 1)`` with the mean squared distance d_y.

    Parameters
    ----------
    features, points : Tensor (B, m), Tensor (K, m)
    radius : Tensor (1,)
        R, learned.
    label : int64 Tensor (B,)
    """
    logits = arpl_distance(features, points)
    own = (features - points[label]).square().mean(dim=1)
    margin = MARGIN_WEIGHT * functional.relu(own - radius + MARGIN).mean()
    return ArplTerms(logits, functional.cross_entropy(logits, label), margin)
