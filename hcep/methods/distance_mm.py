"""Distances to the class means of every modality, which say how far a clip is from all that is known.

HCEP's score does not: |x|^2 cancels in its eq. 6 to 8 (`hcep.methods.dpol`), so that it is linear in the fused feature.
Here the label comes from a logistic regression, and the score adds to its largest logit minus the distance to the
nearest class, measured in each modality by itself and in a metric between Euclid's and Mahalanobis'.

The parts are known: Mahalanobis distances of features as a score (Lee et al., NeurIPS 2018), the covariance by Ledoit
and Wolf (Journal of Multivariate Analysis 2004), the largest logit (Hendrycks et al., ICML 2022).

Shapes: B clips, n training clips, K classes, d_m width of modality m, D = d_text + d_vision + d_audio.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from hcep.methods.class_means import class_means
from hcep.methods.logistic import LEAST_SHARE, Logistic
from hcep.methods.method import MODALITIES, Batch, Prediction, Sizes, cached_features

FOLD_SEED = 0
# the score of a clip without any modality: below all others, and finite in float32 too
LOWEST = -1e30


class DistanceMM(Logistic):
    """Label: `Logistic`. Score: z(-D) + z(max L), D the least over classes k of the sum over m of delta_mk.

    ``delta_mk = |W_m^(-a/2) (z_m - c_mk)|^2 / s_m``: z_m as in `Logistic`; c_mk the class mean; W_m the within-class
    covariance of the training clips, shrunk by Ledoit and Wolf, plus `ridge` times the identity; s_m the mean of
    delta_mk before the division over training clips and their own classes, so that a known clip has about 1 per
    modality. Of a clip without some modalities the sum of the others is taken times 3 over their number: a known clip
    is then expected at the same D as one that has all. A class none of whose training clips has modality m stands at
    its training mean, 0.

    z() subtracts the mean and divides by the deviation over known training clips that were held out: `score_folds`
    folds of whole groups, each measured by a fit on the other folds. Not measured are clips of a class that the other
    folds lack, which are not known there, clips without any modality, and a fold beside which one class is left. Where
    nothing can be held out, the training clips themselves are measured, and stderr says so.

    A clip without any modality has the label of `Logistic` and the score -1e30.

    Settings read: ``distance_power`` (a), ``ridge``, ``logistic_c``, ``score_folds``.

    Attributes
    ----------
    metric_text, metric_vision, metric_audio : float64 Tensor (d_m, d_m)
        W_m^(-a/2).
    centres : float64 Tensor (K, D)
        Class means c_mk, joined, after their metric.
    spread : float64 Tensor (3,)
        s_m, at least a thousandth of what it would be with all centres at 0.
    known : bool Tensor (K,)
        Classes with training clips: all, but in parts of a run's clips.
    centre, scale : float64 Tensor (2,)
        Mean and deviation of -D and of max L over the held-out clips.
    """

    centres: Tensor
    spread: Tensor
    known: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        count = len(self.classes)
        for name, width in zip(MODALITIES, self.widths, strict=True):
            self.register_buffer(f"metric_{name}", torch.eye(width, dtype=torch.float64))
        self.register_buffer("centres", torch.zeros(count, sum(self.widths), dtype=torch.float64))
        self.register_buffer("spread", torch.ones(3, dtype=torch.float64))
        self.register_buffer("known", torch.ones(count, dtype=torch.bool))
        self.register_buffer("centre", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(2, dtype=torch.float64))

    def fit(self, clips: Batch) -> None:
        """All that clips ``(n,)`` on the CPU decide, also the scale of the score."""
        self.fit_distances(clips)
        found = self.held_out(clips)
        if len(found) < 2:
            print(
                "distance_mm: no group of training clips can be held out, so that the parts of the score are scaled "
                "by the clips that they were fitted on",
                file=sys.stderr,
            )
            found = self.measured(clips)
        self.centre.copy_(found.mean(dim=0))
        deviation = found.std(dim=0, correction=0)
        self.scale.copy_(torch.where(deviation > 0, deviation, 1.0))

    def fit_distances(self, clips: Batch) -> None:
        """Regression, metrics, class means and spreads."""
        super().fit(clips)
        there, count = self.there(clips), len(self.classes)
        self.known.copy_(clips.label.bincount(minlength=count) > 0)
        centres = []
        for i, z in enumerate(self.standardised(clips).split(self.widths, dim=1)):
            own, label = z[there[:, i]], clips.label[there[:, i]]
            means = class_means(own, label, count)
            metric = torch.eye(z.shape[1], dtype=torch.float64)
            if self.used[i]:
                metric = inverse_power(own - means[label], self.settings["ridge"], self.settings["distance_power"])
                inside = ((own - means[label]) @ metric).square().sum(dim=1).mean()
                whole = (own @ metric).square().sum(dim=1).mean()
                self.spread[i] = torch.maximum(inside, LEAST_SHARE * whole)
            self.metric(i).copy_(metric)
            centres.append(means @ metric)
        self.centres.copy_(torch.cat(centres, dim=1))

    def metric(self, modality: int) -> Tensor:
        """W_m^(-a/2) of a modality, by its place in `MODALITIES`."""
        return self.get_buffer(f"metric_{MODALITIES[modality]}")

    def held_out(self, clips: Batch) -> Tensor:
        """-D and max L ``(h, 2)`` of the training clips that can be measured by a fit on other groups."""
        found = [torch.zeros(0, 2, dtype=torch.float64)]
        for inside, outside in folds(clips, self.settings["score_folds"]):
            rest, held = take(clips, inside), take(clips, outside)
            if len(rest.label.unique()) > 1:
                model = DistanceMM(self.classes, self.sizes, None, self.settings)
                model.fit_distances(rest)
                found.append(model.measured(take(held, torch.isin(held.label, rest.label).nonzero()[:, 0])))
        return torch.cat(found)

    def measured(self, clips: Batch) -> Tensor:
        """-D and max L ``(h, 2)`` of the clips that have a modality."""
        z = self.standardised(clips)
        parts = torch.stack([-self.distance(z, self.there(clips)), self.logits(self.joint(z)).amax(dim=1)], dim=1)
        return parts[self.there(clips).any(dim=1)]

    def deltas(self, z: Tensor) -> Tensor:
        """delta_mk ``(3, B, K)`` of standardised features ``(B, D)``."""
        parts = zip(z.split(self.widths, dim=1), self.centres.split(self.widths, dim=1), strict=True)
        # without the expanded square, which cancels
        exact = "donot_use_mm_for_euclid_dist"
        roots = [torch.cdist(part @ self.metric(i), own, compute_mode=exact) for i, (part, own) in enumerate(parts)]
        return torch.stack(roots).square() / self.spread[:, None, None]

    def distance(self, z: Tensor, there: Tensor) -> Tensor:
        """D ``(B,)`` over the modalities that are `there` ``(B, 3)``; 0 for a clip that has none."""
        deltas = self.deltas(z).masked_fill(~there.T[:, :, None], 0.0)
        whole = deltas.sum(dim=0) * (3 / there.sum(dim=1).clamp_min(1))[:, None]
        return whole.masked_fill(~self.known, torch.inf).amin(dim=1)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """L and the score; the fused feature is x ``(B, D)`` of `Logistic`."""
        z, there = self.standardised(batch), self.there(batch)
        x = self.joint(z)
        logits = self.logits(x)
        parts = torch.stack([-self.distance(z, there), logits.amax(dim=1)], dim=1)
        score = ((parts - self.centre) / self.scale).sum(dim=1).masked_fill(~there.any(dim=1), LOWEST)
        return Prediction(logits, score, {**cached_features(batch)._asdict(), "fused": x})


def inverse_power(centred: Tensor, ridge: float, power: float) -> Tensor:
    """``W^(-power/2)`` ``(d, d)`` of rows ``(n, d)`` centred within their classes.

    W is Ledoit and Wolf's estimate with ``assume_centered=True`` (the mean is not estimated again; sums are divided by
    n, not by n - K) plus `ridge` on the diagonal, hence positive definite for every n.
    """
    with warnings.catch_warnings():
        # scikit-learn takes a single row for a mistake
        warnings.filterwarnings("ignore", "Only one sample available")
        shrunk = LedoitWolf(assume_centered=True).fit(centred.numpy()).covariance_
    covariance = torch.from_numpy(shrunk) + ridge * torch.eye(centred.shape[1], dtype=torch.float64)
    values, vectors = torch.linalg.eigh(covariance)
    # rounding may take a tiny value below the ridge
    return (vectors * values.clamp_min(ridge) ** (-power / 2)) @ vectors.T


def folds(clips: Batch, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions inside and outside of at most `count` folds of whole groups, with even shares of the classes.

    The draw depends on the groups' numbers and classes, not on the order of the clips. Clips without a group are groups
    by themselves. Fewer groups than folds make fewer folds; one group makes none.
    """
    group = clips.row if clips.group is None else clips.group
    count = min(count, len(group.unique()), int(clips.label.bincount().max()))
    if count < 2:
        return
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=FOLD_SEED)
    with warnings.catch_warnings():
        # a class may be in fewer clips than folds
        warnings.filterwarnings("ignore", "The least populated class")
        drawn = list(splitter.split(clips.label, clips.label, group))
    for inside, outside in drawn:
        if len(inside) and len(outside):
            yield torch.from_numpy(inside), torch.from_numpy(outside)


def take(clips: Batch, positions: Tensor) -> Batch:
    """The clips at these positions."""
    return Batch(**{key: value[positions] for key, value in clips._asdict().items() if value is not None})
