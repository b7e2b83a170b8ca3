"""Base of the methods on cached features behind the shared head: such a method says little more than its logits.

Shapes: B clips, K classes, m feature dimension of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hcep.methods.head import FusionHead
from hcep.methods.method import Batch, Method, Prediction, Sizes, accuracy, masked_features


class FeatureMethod(Method):
    """Cross-entropy of `logits`, which a subclass gives; it may also give a score of its own."""

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.head = FusionHead(sizes, settings["head_dim"])

    def logits(self, fused: Tensor) -> Tensor:
        """Logits ``(B, K)`` of fused features ``(B, m)``, in their precision: float32 in training, then float64."""
        raise NotImplementedError

    def score(self, logits: Tensor, fused: Tensor) -> Tensor:
        """Score ``(B,)``, higher = more known, of logits ``(B, K)`` and the fused features that they came from."""
        return self.usual_score(logits)

    def fused(self, batch: Batch) -> Tensor:
        """Fused features ``(B, m)`` of the clips."""
        return self.head(*masked_features(batch, self.settings))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``: cross-entropy of the logits."""
        logits = self.logits(self.fused(batch))
        return {"loss_cls": functional.cross_entropy(logits, batch.label), "accuracy": accuracy(logits, batch.label)}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Logits and score of the fused feature, both in float64."""
        features = masked_features(batch, self.settings)
        fused = self.head(*features)
        precise = fused.double()
        logits = self.logits(precise)
        return Prediction(logits, self.score(logits, precise), {**features._asdict(), "fused": fused})
