"""Control: a multinomial logistic regression on frozen features, solved to convergence instead of trained by SGD.

A head that SGD trains for some epochs is not at the minimum of its loss; this row shows what the minimum is worth. The
problem is convex, so that neither seed nor rate nor epochs matter. Score: log of the maximum softmax probability.
`hcep.evaluation.distance` has the formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from hcep.evaluation.distance import Regression, fit_regression
from hcep.methods.arrays import Arrays, blank_prediction, clip_arrays, joined
from hcep.methods.method import MODALITIES, Batch, Method, Prediction, Sizes, cached_features, log_max_softmax


class Logistic(Method):
    """`Regression` on the cached features.

    A modality that is absent enters as its training mean, so that no stand-in for it is looked at and the setting
    ``missing`` has nothing to do. A clip without any modality gets the class with the largest intercept.

    Nothing is learnt by steps: `finish` fits all on the training clips, in float64. Settings read: ``logistic_c``.
    """

    learns = False

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.widths = {name: getattr(sizes, name) for name in MODALITIES}
        self.arrays = Arrays(Regression.blank(self.widths, len(self.classes)).state())

    @property
    def fitted(self) -> Regression:
        """What `finish` has fitted."""
        return Regression.from_state(self.widths, self.arrays.state())

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Fit on the training clips, on the CPU, where scikit-learn works."""
        clips = joined(batches)
        label, c = clips.label.numpy(), self.settings["logistic_c"]
        self.arrays.keep(fit_regression(*clip_arrays(clips), label, len(self.classes), c=c).state())

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """L and its log max-softmax; the fused feature is x ``(B, D)``. All on the CPU but the batch's own features."""
        if self.arrays.count_products(batch):
            return blank_prediction(batch, len(self.classes))
        fitted = self.fitted
        x = fitted.joint(fitted.standardised(*clip_arrays(batch)))
        logits = torch.from_numpy(fitted.logits(x))
        return Prediction(
            logits, log_max_softmax(logits), {**cached_features(batch)._asdict(), "fused": torch.from_numpy(x)}
        )
