"""Control: a linear softmax classifier on the fusion head over frozen features.

By the identity of eq. 6-8 (hcep.methods.dpol.opposing_logits) HCEP's open-set logits are linear in the fused feature
too; this row shows what the head alone can do. Score: maximum softmax probability (Hendrycks & Gimpel, ICLR 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hcep.methods.feature_method import FeatureMethod
from hcep.methods.method import Sizes


class Linear(FeatureMethod):
    """Fusion head and one linear layer; the score is log max-softmax or the largest logit (`score`)."""

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.classifier = nn.Linear(self.head.dim, len(self.classes))

    def logits(self, fused: Tensor) -> Tensor:
        """The layer's output, taken in the precision of its weights."""
        return self.classifier(fused.to(self.classifier.weight.dtype)).to(fused.dtype)
