"""A2D with Feature Mixing on frozen features: heads of the modalities that disagree, and outliers without a dataset.

Dong, Zhao, Chatzi, Fink: "MultiOOD: Scaling Out-of-Distribution Detection for Multiple Modalities", NeurIPS 2024
(Agree-to-Disagree), and Liu, Dong, Kelly, Fink, Trapp: "Extremely Simple Multimodal Outlier Synthesis for
Out-of-Distribution Detection and Segmentation", NeurIPS 2025 (Feature Mixing, in the place of the first paper's
NP-Mix). Constants, order of steps and the three-modality form are those of the first paper's repository
(donghao51/MultiOOD@0e10487: ``EPIC-rgb-flow/train_video_flow_audio_epic.py`` and the commands of its README).

Theirs: four cross-entropies of equal weight, Hellinger's distance, weights 0.5, outliers from the eleventh epoch, Adam
with rate 1e-4 and decay 1e-4, batch 16, 50 epochs; probabilities are held above 1e-6 before their root. Their README
takes 0.1 for the three weights on EPIC-Kitchens and Kinetics, and 1.0 for A2D where there are no outliers.

Our own, since their networks are not frozen features or since no source that we could read has it: the embeddings are
the three maps of the fusion head (theirs: the last block of each network), and its joint feature stands before the
joint layer (theirs: the joined embeddings); half of the dimensions are swapped; all three modalities take part, each
giving its values to the next; one draw of dimensions for a whole batch; entropy is raised in all four heads (theirs
with NP-Mix: in the three single ones, and its outliers pass no gradient to the embeddings). The last epoch is kept; the
release keeps the one that is best on known validation clips, which is ``selection: val_known``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.methods.feature_method import FeatureMethod
from hcep.methods.method import MODALITIES, Batch, Sizes, accuracy, masked_features
from hcep.methods.optimiser import OptimiserGroup

LEAST_PROBABILITY = 1e-6
# the root has no slope at 0: two equal predictions are no nearer to each other than this
LEAST_SQUARE = 1e-12


def hellinger(p: Tensor, q: Tensor) -> Tensor:
    """Hellinger's distance ``|sqrt(p) - sqrt(q)| / sqrt(2)`` ``(B,)`` of probabilities ``(B, K)``."""
    apart = p.clamp_min(LEAST_PROBABILITY).sqrt() - q.clamp_min(LEAST_PROBABILITY).sqrt()
    return (apart.square().sum(dim=1).clamp_min(LEAST_SQUARE) / 2).sqrt()


def without_own(logits: Tensor, label: Tensor) -> Tensor:
    """Logits ``(B, K - 1)`` of all classes but each clip's own, in the order of the classes."""
    own = functional.one_hot(label, logits.shape[1]).bool()
    return logits[~own].view(len(logits), -1)


def disagreement(single: Sequence[Tensor]) -> Tensor:
    """Mean over pairs of modalities and over clips of Hellinger's distance of their softmaxes, a scalar."""
    probabilities = [logits.softmax(dim=1) for logits in single]
    return torch.stack([hellinger(p, q).mean() for p, q in combinations(probabilities, 2)]).mean()


def entropy_share(logits: Tensor) -> Tensor:
    """Mean over clips of the softmax's entropy as a share of the largest possible one, a scalar in 0 ... 1."""
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1).mean() / math.log(logits.shape[1])


def swap(parts: Sequence[Tensor], swapped: Tensor) -> list[Tensor]:
    """Embeddings ``(B, m)`` whose `swapped` dimensions, bool ``(m,)``, are those of the modality before."""
    return [torch.where(swapped, parts[i - 1], parts[i]) for i in range(len(parts))]


class A2dMix(FeatureMethod):
    """Agree-to-Disagree with outliers by Feature Mixing; 1,705,984 + 2,052 K learnable parameters at full size.

    Embeddings e_m of text, vision and audio are the three maps of the fusion head, the fused feature is its output. A
    linear layer on each e_m and one on the fused feature are the heads. With a clip's own class taken out of the single
    heads' logits, their softmaxes are pushed apart (`a2d_weight`). From epoch `outlier_start` on, outliers are made of
    each batch by swapping dimensions between the modalities; on them the single heads are pushed apart with no class
    taken out (`outlier_weight`), and the entropy of all heads is raised (`entropy_weight`).

    Class and score are read off the joint head: log max-softmax, the score of the commands in the authors' README, or
    the largest logit (`score`). ``posthoc.csv`` has their energy and others.

    An absent modality takes part by what stands in for it (`missing`). With two known classes nothing is left to
    disagree about where the own class is taken out.

    Settings of its own: `swap_share`, `outlier_start`, the three weights, `rival_optimiser` (``official`` = Adam).

    Attributes
    ----------
    epoch : int64 Tensor ()
        Epoch of the next step, from 0.
    swapped : bool Tensor (m,)
        Dimensions that the outliers of this step swap; drawn before every step.
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.classifier = nn.Linear(self.head.dim, len(self.classes))
        self.single = nn.ModuleList([nn.Linear(self.head.dim, len(self.classes)) for _ in MODALITIES])
        self.epoch = nn.Buffer(torch.tensor(0))
        self.swapped = nn.Buffer(torch.zeros(self.head.dim, dtype=torch.bool), persistent=False)
        self.steps_per_epoch = 1

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """Adam for everything, or the run's SGD (`rival_optimiser: shared`)."""
        if settings["rival_optimiser"] == "shared":
            return super().parameter_groups(settings)
        return [OptimiserGroup("all", list(self.parameters()), "adam", settings["lr"], settings["weight_decay"])]

    def begin(self, batches: Iterable[Batch]) -> None:
        """Count the steps of an epoch."""
        self.steps_per_epoch = max(1, sum(1 for _ in batches))

    def begin_step(self, parts: int) -> None:
        """Draw the dimensions to swap, on the CPU, whose generator a resumed run finds as it was."""
        chosen = torch.randperm(self.head.dim)[: round(self.settings["swap_share"] * self.head.dim)]
        self.swapped.copy_(torch.zeros(self.head.dim, dtype=torch.bool).index_fill(0, chosen, True))

    def after_step(self, step: int) -> None:
        """The epoch of the next step, kept as a buffer so that a resumed run has it."""
        self.epoch.fill_((step + 1) // self.steps_per_epoch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, mean of four cross-entropies; ``loss_a2d``; ``loss_outlier`` and ``loss_entropy``, 0 at first.

        The last three are minus the weighted distances and the weighted entropy.
        """
        parts = self.head.parts(*masked_features(batch, self.settings))
        single, joint = self._heads(parts)
        errors = [functional.cross_entropy(logits, batch.label) for logits in (joint, *single)]
        apart = disagreement([without_own(logits, batch.label) for logits in single])
        terms = {"loss_cls": torch.stack(errors).mean(), "loss_a2d": -self.settings["a2d_weight"] * apart}
        terms |= {name: torch.zeros_like(apart) for name in ("loss_outlier", "loss_entropy")}
        if int(self.epoch) >= self.settings["outlier_start"]:
            outlying, joint_outlying = self._heads(swap(parts, self.swapped))
            entropy = torch.stack([entropy_share(logits) for logits in (joint_outlying, *outlying)]).mean()
            terms["loss_outlier"] = -self.settings["outlier_weight"] * disagreement(outlying)
            terms["loss_entropy"] = -self.settings["entropy_weight"] * entropy
        return terms | {"accuracy": accuracy(joint, batch.label)}

    def logits(self, fused: Tensor) -> Tensor:
        """The joint layer's output, taken in the precision of its weights."""
        return self.classifier(fused.to(self.classifier.weight.dtype)).to(fused.dtype)

    def _heads(self, parts: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Logits ``(B, K)`` of the three single heads, and of the joint one, from embeddings ``(B, m)``."""
        single = [head(part) for head, part in zip(self.single, parts, strict=True)]
        return single, self.classifier(self.head.fuse(torch.cat(list(parts), dim=1)))
