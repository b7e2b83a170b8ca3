"""LPL on frozen CLIP and wav2vec 2.0 features (the paper's LPL*): logits of each modality, weighted by their certainty.

Fu, Liu, Wang: "Logit prototype learning with active multimodal representation for robust open-set recognition",
Science China Information Sciences 2024; constants and order of steps from the authors' repository
(fuyimin96/LPL@d2d891d: ``LPL.py``, ``LPLModelbuilder.py``).

Before it computes AUROC and OSCR the release drops test clips whose modalities disagree in reliability. Here no clip is
dropped: with three modalities its rule (variance of shares at least 0.4) never holds, as that variance is at most 1/3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.methods.class_means import class_means
from hcep.methods.method import Batch, Features, Method, Prediction, Sizes, accuracy, log_max_softmax, masked_features

ANCHOR_SIZE = 5.0
ANCHOR_WEIGHT = 0.1
# The only training clip of a class is the class's anchor: its distance is 0, and so is the radius, which makes the
# reliability 0. Any positive reliability keeps the order of the classes.
LEAST_DISTANCE = 1e-12
LEAST_RELIABILITY = 1e-30


def euclidean(logits: Tensor, anchors: Tensor) -> Tensor:
    """``|l - a_k|`` ``(..., B, K)`` of logits ``(..., B, K)`` and anchors ``(..., K, K)``."""
    return (logits[..., :, None, :] - anchors[..., None, :, :]).norm(dim=-1)


def training_distance(logits: Tensor, anchors: Tensor) -> Tensor:
    """``|l - a_k| + 1 - cos(l, a_k)``, shapes as in `euclidean`."""
    cosine = functional.cosine_similarity(logits[..., :, None, :], anchors[..., None, :, :], dim=-1)
    return euclidean(logits, anchors) + 1 - cosine


def fuse(single: Tensor, anchors: Tensor) -> Tensor:
    """Fused logits ``(B, K)`` of three modalities ``(3, B, K)`` and their anchors ``(3, K, K)``.

    The weight of modality j is ``exp(-H_j)``, divided by the sum of all three. H_j is the entropy (in nats) of the
    inverse distances, divided by their sum. No gradient passes through the weights.
    """
    inverse = 1 / euclidean(single, anchors).clamp_min(LEAST_DISTANCE)
    entropy = torch.special.entr(inverse / inverse.sum(dim=2, keepdim=True)).sum(dim=2)
    weights = torch.softmax(-entropy, dim=0).detach()
    return (weights[..., None] * single).sum(dim=0)


class LplMM(Method):
    """A linear head per modality on the features themselves; 1,795 K learnable parameters at full size.

    `rival_score`: ``official`` = max softmax of minus reliability times distance; ``msp`` leaves the reliability out.

    Attributes
    ----------
    anchors, fused_anchors : Tensor (3, K, K), (K, K)
        5 times the identity in training; then, by `finish`, the class means of the training clips' logits.
    radius : Tensor (3, K)
        Mean training distance of a class's training clips to its anchor; 1 before `finish`.
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        count = len(self.classes)
        self.heads = nn.ModuleList([nn.Linear(width, count) for width in (sizes.text, sizes.vision, sizes.audio)])
        start = ANCHOR_SIZE * torch.eye(count)
        self.anchors = nn.Buffer(start.repeat(3, 1, 1))
        self.fused_anchors = nn.Buffer(start.clone())
        self.radius = nn.Buffer(torch.ones(3, count))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_tuplet`` on the fused logits; ``loss_anchor``: 0.1 x own distance, summed over modalities."""
        single = self._single(masked_features(batch, self.settings))
        distance = training_distance(fuse(single, self.anchors), self.fused_anchors)
        each = training_distance(single, self.anchors)
        own = each.gather(2, batch.label.expand(3, -1)[..., None])
        return {
            # log(1 + sum over k != y of exp(d_y - d_k)) is the cross-entropy of the negative distances
            "loss_tuplet": functional.cross_entropy(-distance, batch.label),
            "loss_anchor": ANCHOR_WEIGHT * own.mean(dim=1).sum(),
            "accuracy": accuracy(-distance, batch.label),
        }

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Set the anchors to the class means of the logits, then measure radii around them, in the release's order.

        The fused anchors are means of logits that the old anchors weighted. As in the release, the radii have the
        cosine term, although `predict` uses the plain distance.
        """
        held = [(self._single(masked_features(batch, self.settings)).double(), batch.label) for batch in batches]
        logits, labels = zip(*held, strict=True)
        single, label, count = torch.cat(logits, dim=1), torch.cat(labels), len(self.classes)
        self.fused_anchors.copy_(class_means(fuse(single, self.anchors.double()), label, count))
        self.anchors.copy_(torch.stack([class_means(each, label, count) for each in single]))
        own = training_distance(single, self.anchors.double()).gather(2, label.expand(3, -1)[..., None])
        self.radius.copy_(class_means(own[..., 0].T, label, count).T)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Logits ``-rho |l - a_k|``; rho is the product over modalities of radius / distance at the nearest anchor.

        The fused feature is the fused logit vector l ``(B, K)``.
        """
        features = masked_features(batch, self.settings)
        single, anchors = self._single(features).double(), self.anchors.double()
        fused = fuse(single, anchors)
        distance = euclidean(fused, self.fused_anchors.double())
        logits = -distance
        if self.settings["rival_score"] == "official":
            nearest = distance.argmin(dim=1)
            own = euclidean(single, anchors).gather(2, nearest.expand(3, -1)[..., None])[..., 0]
            reliability = (self.radius.double()[:, nearest] / own.clamp_min(LEAST_DISTANCE)).prod(dim=0)
            logits = -reliability.clamp_min(LEAST_RELIABILITY)[:, None] * distance
        return Prediction(logits, log_max_softmax(logits), {**features._asdict(), "fused": fused})

    def _single(self, features: Features) -> Tensor:
        """Logits ``(3, B, K)`` of text, vision, audio."""
        return torch.stack([head(value) for head, value in zip(self.heads, features, strict=True)])
