"""Control: a linear softmax classifier on the fusion head over frozen features.

By the identity of eq. 6-8 (hcep.methods.dpol.opposing_logits) HCEP's open-set logits are linear in the fused feature
too; this row shows what the head alone can do. Score: maximum softmax probability (Hendrycks & Gimpel, ICLR 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.methods.head import FusionHead
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


class Linear(Method):
    """Fusion head and one linear layer; settings read: ``score``, ``missing``, and the optimiser's."""

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.head = FusionHead(sizes)
        self.classifier = nn.Linear(self.head.dim, len(self.classes))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``: cross-entropy."""
        logits = self.classifier(self.head(*mask_missing(cached_features(batch), batch.missing, self.settings)))
        return {
            "loss_cls": functional.cross_entropy(logits, batch.label),
            "accuracy": accuracy(logits, batch.label),
        }

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Logits; log max-softmax or the largest logit (`score`)."""
        features = mask_missing(cached_features(batch), batch.missing, self.settings)
        fused = self.head(*features)
        logits = self.classifier(fused).double()
        score = log_max_softmax(logits) if self.settings["score"] == "log_softmax" else logits.max(dim=1).values
        return Prediction(logits, score, {**features._asdict(), "fused": fused})
