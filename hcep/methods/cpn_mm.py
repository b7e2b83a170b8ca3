"""CPN on frozen CLIP and wav2vec 2.0 features (the paper's CPN*): prototypes, one-versus-all training, rejection.

Cheng, Zhang, Liu: "Unified Classification and Rejection: A One-versus-All Framework", Machine Intelligence Research
2024. Constants are those of the authors' recipe for a frozen transformer (zhen-cheng121/CPN_OVA_unified@f9de423,
``ImageNet500-DeiT/main_tempWarm.py``, ``engine.py``, ``train.sh``, ``test_ood_ova.py``).

Theirs: prototypes start at class means, thresholds at 6 times the mean within-class squared distance, temperature
warm-up, loss weights, AdamW and its decay, delta 0.5 in the score. Of the shared recipe: the fusion head, batch,
epochs, rate (5e-4 in both, theirs scaled by batch / 512) and its steps. One threshold per class is their other option
``multi``. Distances are scored at the last temperature of ``train.sh``, 1; the test script has 0.2 where none is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.methods.class_means import class_means
from hcep.methods.feature_method import FeatureMethod
from hcep.methods.method import Batch, Sizes, accuracy
from hcep.methods.optimiser import OptimiserGroup

CE_WEIGHT = 0.95
FIRST_TEMPERATURE = 0.01  # the last one is 1
WARM_UP = 15  # epochs, half of the authors' 30
THRESHOLD_FACTOR = 6.0


def with_none(logits: Tensor) -> Tensor:
    """Logits ``(B, K + 1)`` from ``(B, K)``: the last, always 0, is that of no class."""
    return functional.pad(logits, (0, 1))


def warm_up(epoch: int, epochs: int) -> float:
    """Temperature of an epoch (from 0): half a cosine from 0.01 to 1 over 15 epochs, or half of a shorter run, then 1.

    The release does not stop there: its temperature falls again and is 0.02 in the last of its 30 epochs.
    """
    done = min(epoch / min(WARM_UP, epochs / 2), 1.0)
    return FIRST_TEMPERATURE + (1 - FIRST_TEMPERATURE) / 2 * (1 - math.cos(math.pi * done))


class CpnMM(FeatureMethod):
    """One prototype and one threshold per class over the fusion head; 1,705,984 + 513 K learnable parameters.

    Logits ``l_k = T (tau_k - |x - c_k|^2)``. With a further logit 0 for "none of them" their softmax P is the
    combination of the K one-versus-all decisions (Dempster-Shafer). The authors' prototype loss has weight 0 here.

    The authors' score is the smaller of ``1 - P(none)`` and ``max P(k) - delta``. With the delta 0.5 of this recipe, as
    with the 0 of their ImageNet-200 networks, the second is always the smaller, with the -0.95 of their CIFAR-10
    networks the first, up to 20 classes. The first alone calls known whatever lies between the prototypes, where
    several classes accept a clip.

    Settings of its own: ``rival_score`` (``official``; ``msp`` = log max-softmax of the K logits), ``cpn_delta`` (of
    the official score: 0.5 = log max P(k), -0.95 = log-sum-exp of the logits, in the order of ``1 - P(none)``),
    ``rival_optimiser`` (``official`` = AdamW without decay on vectors, ``shared`` = SGD).
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.prototypes = nn.Parameter(torch.rand(len(self.classes), self.head.dim))
        self.thresholds = nn.Parameter(torch.ones(len(self.classes)))
        self.temperature = nn.Buffer(torch.tensor(FIRST_TEMPERATURE))
        self.steps_per_epoch = 1

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """AdamW with decay on matrices only, as timm builds it for the authors; or the run's SGD."""
        if settings["rival_optimiser"] == "shared":
            return super().parameter_groups(settings)
        return OptimiserGroup.adamw(self.parameters(), settings)

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Prototypes to the class means of the untrained head's output, thresholds to 6 times the mean variance."""
        held = [(self.fused(batch).double(), batch.label) for batch in batches]
        if not held:
            return
        self.steps_per_epoch = len(held)
        x, y = (torch.cat(column) for column in zip(*held, strict=True))
        count = len(self.classes)
        means = class_means(x, y, count)
        spread = class_means((x - means[y]).square().sum(dim=1, keepdim=True), y, count)
        self.prototypes.copy_(means)
        self.thresholds.fill_(THRESHOLD_FACTOR * spread.mean())

    def after_step(self, step: int) -> None:
        """The temperature of the next step, kept as a buffer so that a resumed run has it."""
        self.temperature.fill_(warm_up((step + 1) // self.steps_per_epoch, self.settings["epochs"]))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_ova``: binary cross-entropies, summed over classes; ``loss_ce``: 0.95 x that of K + 1 classes."""
        logits = self.temperature * self.logits(self.fused(batch))
        own = functional.one_hot(batch.label, len(self.classes)).to(logits.dtype)
        return {
            "loss_ova": functional.binary_cross_entropy_with_logits(logits, own, reduction="none").sum(dim=1).mean(),
            "loss_ce": CE_WEIGHT * functional.cross_entropy(with_none(logits), batch.label),
            "accuracy": accuracy(logits, batch.label),
        }

    def logits(self, fused: Tensor) -> Tensor:
        """Logits at temperature 1, whatever the warm-up has reached; the squared distance is not divided by m."""
        distance = (fused[:, None] - self.prototypes.to(fused.dtype)).square().sum(dim=2)
        return self.thresholds.to(fused.dtype) - distance

    def score(self, logits: Tensor, fused: Tensor) -> Tensor:
        """The official score in a form that does not saturate, or log max-softmax (`rival_score`)."""
        if self.settings["rival_score"] == "msp":
            return super().score(logits, fused)
        if self.settings["cpn_delta"] < 0:
            return torch.logsumexp(logits, dim=1)
        best, place = logits.max(dim=1, keepdim=True)
        others = with_none(logits).scatter(1, place, -math.inf)
        return functional.logsigmoid(best[:, 0] - torch.logsumexp(others, dim=1))
