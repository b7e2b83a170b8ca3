"""Control: a multinomial logistic regression on frozen features, solved to convergence instead of trained by SGD.

A head that SGD trains for some epochs is not at the minimum of its loss; this row shows what the minimum is worth. The
problem is convex, so that neither seed nor rate nor epochs matter. Score: log of the maximum softmax probability.

Shapes: B clips, n training clips, K classes, d_m width of modality m, D = d_text + d_vision + d_audio.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from hcep.methods.method import Batch, Method, Prediction, Sizes, cached_features, log_max_softmax

# a deviation below this share of the modality's largest is raised to it
LEAST_SHARE = 1e-3
# a modality whose unit-length features vary less than float32 rounds them says nothing
LEAST_DEVIATION = 1e-7
TOLERANCE = 1e-8
ITERATIONS = 10_000


class Logistic(Method):
    """Logistic regression L on x = [z_m / sqrt(d_m)], z_m = (f_m / |f_m| - mean_m) / deviation_m.

    Mean and deviation are those of the training clips in which the modality is there. Where it is absent, z_m is 0,
    the training mean, so that no stand-in for it enters and the setting ``missing`` has nothing to do. The same holds
    in every clip for a modality that no training clip has, or that is the same in all of them. A clip without any
    modality gets the class with the largest intercept.

    Nothing is learnt by steps: `finish` fits all on the training clips, in float64. Settings read: ``logistic_c``.

    Attributes
    ----------
    used : bool Tensor (3,)
        Whether text, vision, audio of the training clips say anything.
    mean, deviation : float64 Tensor (D,)
        Of the unit-length features, joined in the order text, vision, audio.
    weight, bias : float64 Tensor (K, D), (K,)
        Of L; the bias of a class without training clips, which only parts of a run's clips can lack, is minus infinity.
    """

    learns = False
    used: Tensor
    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.widths = [sizes.text, sizes.vision, sizes.audio]
        total, count = sum(self.widths), len(self.classes)
        self.register_buffer("used", torch.zeros(3, dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(total, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(total, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(count, total, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(count, dtype=torch.float64))

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Fit on the training clips, on the CPU, where scikit-learn works."""
        device = self.bias.device
        self.cpu()
        self.fit(joined(batches))
        self.to(device)

    def fit(self, clips: Batch) -> None:
        """Statistics and regression of clips ``(n,)`` on the CPU."""
        units = _unit_features(clips)
        parts = []
        for i, values in enumerate(units.split(self.widths, dim=1)):
            there = values[~clips.missing[:, i]]
            mean = there.sum(dim=0) / max(len(there), 1)
            deviation = ((there - mean).square().sum(dim=0) / max(len(there), 1)).sqrt()
            self.used[i] = bool(deviation.max() > LEAST_DEVIATION)
            least = LEAST_SHARE * deviation.max() if self.used[i] else 1.0
            parts.append((mean, deviation.clamp_min(least)))
        self.mean.copy_(torch.cat([mean for mean, _ in parts]))
        self.deviation.copy_(torch.cat([deviation for _, deviation in parts]))
        self._fit_regression(self.joint(self.standardised(clips)), clips.label)

    def _fit_regression(self, x: Tensor, label: Tensor) -> None:
        regression = LogisticRegression(C=self.settings["logistic_c"], tol=TOLERANCE, max_iter=ITERATIONS)
        regression.fit(x.numpy(), label.numpy())
        weight, bias = regression.coef_, regression.intercept_
        if len(regression.classes_) == 2:
            # one row for two classes, the difference of theirs; their logits sum to 0 as those of more classes do
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        self.weight.zero_()
        self.bias.fill_(-torch.inf)
        self.weight[regression.classes_] = torch.from_numpy(weight)
        self.bias[regression.classes_] = torch.from_numpy(bias)

    def there(self, clips: Batch) -> Tensor:
        """bool ``(B, 3)``: which modalities of each clip are looked at."""
        return ~clips.missing & self.used

    def standardised(self, clips: Batch) -> Tensor:
        """z ``(B, D)``, 0 where a modality is not looked at."""
        z = (_unit_features(clips) - self.mean) / self.deviation
        there = self.there(clips)
        parts = z.split(self.widths, dim=1)
        return torch.cat([part.masked_fill(~there[:, i, None], 0.0) for i, part in enumerate(parts)], dim=1)

    def joint(self, z: Tensor) -> Tensor:
        """x ``(B, D)``: each modality of z over the root of its width, so that all weigh the same."""
        return torch.cat([part / part.shape[1] ** 0.5 for part in z.split(self.widths, dim=1)], dim=1)

    def logits(self, x: Tensor) -> Tensor:
        """L ``(B, K)``."""
        return x @ self.weight.T + self.bias

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """L and its log max-softmax; the fused feature is x ``(B, D)``."""
        x = self.joint(self.standardised(batch))
        logits = self.logits(x)
        return Prediction(logits, log_max_softmax(logits), {**cached_features(batch)._asdict(), "fused": x})


def joined(batches: Iterable[Batch]) -> Batch:
    """All clips of several batches as one, on the CPU."""
    parts = [{key: value.cpu() for key, value in batch._asdict().items() if value is not None} for batch in batches]
    return Batch(**{key: torch.cat([part[key] for part in parts]) for key in parts[0]})


def _unit_features(clips: Batch) -> Tensor:
    """The features ``(B, D)`` in float64, each modality at unit length."""
    return torch.cat([functional.normalize(value.double(), dim=1) for value in cached_features(clips)], dim=1)
