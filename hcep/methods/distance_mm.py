"""Distances to the class means of every modality, which say how far a clip is from all that is known.

HCEP's score does not: |x|^2 cancels in its eq. 6 to 8 (`hcep.methods.dpol`), so that it is linear in the fused feature.
Here the label comes from a logistic regression, and the score adds to its largest logit minus the distance to the
nearest class, measured in each modality by itself and in a metric between Euclid's and Mahalanobis'.
`hcep.evaluation.distance` has the formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from hcep.evaluation.distance import Bools, Distance, Features, Ids, Options, fit_distance, held_out
from hcep.methods.arrays import Arrays, blank_prediction, clip_arrays, joined
from hcep.methods.method import MODALITIES, Batch, Method, Prediction, Sizes, cached_features

# fits on two thirds of the clips measure longer distances than the whole fit, those on nine tenths hardly
TRAINING_FOLDS = 10


class DistanceMM(Method):
    """`Distance` on the cached features. Label: its L. Score: z(-D) + z(max L).

    z() subtracts the mean and divides by the deviation over known training clips that were held out in whole groups.
    A clip without any modality has the label of `Logistic` and the score -1e30.

    Nothing is learnt by steps: `finish` fits all on the training clips, in float64. Settings read: those of `Options`.
    """

    learns = False

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.widths = {name: getattr(sizes, name) for name in MODALITIES}
        self.arrays = Arrays(Distance.blank(self.widths, len(self.classes)).state())

    @property
    def fitted(self) -> Distance:
        """What `finish` has fitted."""
        return Distance.from_state(self.widths, self.arrays.state())

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Fit on the training clips, on the CPU, where scikit-learn works."""
        self.arrays.keep(fit(batches, len(self.classes), self.settings).state())

    def training_score(self, batches: Iterable[Batch]) -> Tensor:
        """By fits on other groups."""
        return held_out_score(self.fitted, batches, self.settings)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """L and the score; the fused feature is x ``(B, D)`` of L. All on the CPU but the batch's own features."""
        if self.arrays.count_products(batch):
            return blank_prediction(batch, len(self.classes))
        x, logits, score = map(torch.from_numpy, self.fitted.predict(*clip_arrays(batch)))
        return Prediction(logits, score, {**cached_features(batch)._asdict(), "fused": x})


def fit(batches: Iterable[Batch], classes: int, settings: dict[str, Any]) -> Distance:
    """`Distance` of the features in these batches of training clips."""
    return fit_distance(*_training_arrays(batches), classes, Options.of(settings))


def held_out_score(fitted: Distance, batches: Iterable[Batch], settings: dict[str, Any]) -> Tensor:
    """Scores ``(n,)`` of training clips, each by a fit on other groups, in the scale of `fitted`; NaN without one."""
    options = Options.of(settings)
    options = options._replace(score_folds=max(options.score_folds, TRAINING_FOLDS))
    held = held_out(*_training_arrays(batches), len(fitted.known), options)
    return torch.from_numpy(fitted.scaled(held))


def _training_arrays(batches: Iterable[Batch]) -> tuple[Features, Bools, Ids, Ids]:
    clips = joined(batches)
    groups = clips.row if clips.group is None else clips.group
    return *clip_arrays(clips), clips.label.numpy(), groups.numpy()
