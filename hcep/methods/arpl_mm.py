"""ARPL on frozen CLIP and wav2vec 2.0 features: the paper's Baseline.

Chen, Peng, Wang, Tian: "Adversarial Reciprocal Points Learning for Open Set Recognition", TPAMI 2021; the loss and its
constants are those of hcep.methods.head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hcep.methods.feature_method import FeatureMethod
from hcep.methods.head import POINT_STD, arpl_distance, arpl_losses
from hcep.methods.method import Batch, Sizes, log_max_softmax


class ArplMM(FeatureMethod):
    """Reciprocal points over the fusion head; 1,705,985 + 512 K learnable parameters at full size.

    Settings read: ``rival_score`` (``official`` = largest raw logit, as ``core/test.py``; ``msp`` = log max-softmax),
    ``missing``, and the optimiser's.
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.points = nn.Parameter(POINT_STD * torch.randn(len(self.classes), self.head.dim))
        self.radius = nn.Parameter(torch.zeros(1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` = cross-entropy of the distances; ``loss_margin`` = 0.1 max(0, d_y - R + 1)."""
        return arpl_losses(self.fused(batch), self.points, self.radius, batch.label)

    def logits(self, fused: Tensor) -> Tensor:
        """Distances to the reciprocal points."""
        return arpl_distance(fused, self.points.to(fused.dtype))

    def score(self, logits: Tensor, fused: Tensor) -> Tensor:
        """The official score is the largest logit, not its softmax."""
        return logits.amax(dim=1) if self.settings["rival_score"] == "official" else log_max_softmax(logits)
