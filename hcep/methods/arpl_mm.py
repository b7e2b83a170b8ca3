"""ARPL on frozen CLIP and wav2vec 2.0 features: the paper's Baseline.

Chen, Peng, Wang, Tian: "Adversarial Reciprocal Points Learning for Open Set Recognition", TPAMI 2021; the loss and its
constants are those of hcep.methods.head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hcep.methods.head import POINT_STD, FusionHead, arpl_distance, arpl_terms
from hcep.methods.method import (
    Batch,
    Method,
    Prediction,
    Sizes,
    accuracy,
    cached_features,
    log_max_softmax,
    mask_missing,
)


class ArplMM(Method):
    """Reciprocal points over the fusion head; 1,705,985 + 512 K learnable parameters at full size.

    Settings read: ``rival_score`` (``official`` = largest raw logit, as ``core/test.py``; ``msp`` = log max-softmax),
    ``missing``, and the optimiser's.
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.head = FusionHead(sizes)
        self.points = nn.Parameter(POINT_STD * torch.randn(len(self.classes), self.head.dim))
        self.radius = nn.Parameter(torch.zeros(1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` = cross-entropy of the distances; ``loss_margin`` = 0.1 max(0, d_y - R + 1)."""
        fused = self.head(*mask_missing(cached_features(batch), batch.missing, self.settings))
        terms = arpl_terms(fused, self.points, self.radius, batch.label)
        return {
            "loss_cls": terms.classification,
            "loss_margin": terms.margin,
            "accuracy": accuracy(terms.logits, batch.label),
        }

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Distance to the reciprocal points as logits; the official score is the largest of them, not its softmax."""
        features = mask_missing(cached_features(batch), batch.missing, self.settings)
        fused = self.head(*features)
        logits = arpl_distance(fused.double(), self.points.double())
        score = logits.max(dim=1).values if self.settings["rival_score"] == "official" else log_max_softmax(logits)
        return Prediction(logits, score, {**features._asdict(), "fused": fused})
