"""ARPL on frozen CLIP and wav2vec 2.0 features: the paper's Baseline.

The loss, its constants and their source are those of hcep.methods.head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hcep.methods.feature_method import FeatureMethod
from hcep.methods.head import POINT_STD, arpl_distance, arpl_losses
from hcep.methods.method import Batch, Sizes


class ArplMM(FeatureMethod):
    """Reciprocal points over the fusion head; 1,705,985 + 512 K learnable parameters at full size.

    The official score is the largest raw logit, not its softmax, as in ``core/test.py`` (`rival_score`).
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.points = nn.Parameter(POINT_STD * torch.randn(len(self.classes), self.head.dim))
        self.radius = nn.Parameter(torch.zeros(1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_margin`` of `arpl_losses`."""
        return arpl_losses(self.fused(batch), self.points, self.radius, batch.label)

    def logits(self, fused: Tensor) -> Tensor:
        """Distances to the reciprocal points."""
        return arpl_distance(fused, self.points.to(fused.dtype))
