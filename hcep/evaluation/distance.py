"""Distances to the class means of every modality, and the logistic regression beside them, in float64.

The parts are known: Mahalanobis distances of features as a score (Lee et al., NeurIPS 2018), the covariance by Ledoit
and Wolf (Journal of Multivariate Analysis 2004), the largest logit (Hendrycks et al., ICML 2022). docs/methods.md has
the equations.

Clips are given as features by modality, ``(n, d_m)`` each, in any dtype, and as a mask `missing`, bool ``(n, M)``,
whose columns have the order of the features. What stands in for a missing modality is never looked at.

Shapes: n clips, M modalities, K classes, d_m width of modality m, D = sum of d_m.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]
Features = Mapping[str, NDArray[Any]]

# a deviation below this share of the modality's largest is raised to it
LEAST_SHARE = 1e-3
# a modality whose unit-length features vary less than float32 rounds them says nothing
LEAST_DEVIATION = 1e-7
# a feature of zeros has no direction and stays zero
LEAST_LENGTH = 1e-12
TOLERANCE = 1e-8
ITERATIONS = 10_000
FOLD_SEED = 0
# the score of a clip without any modality: below all others, and finite in float32 too
LOWEST = -1e30


class Options(NamedTuple):
    """Settings of a fit; names, defaults and bounds are those of base method `distance_mm` in hcep/config/methods.py.

    Attributes
    ----------
    distance_power, ridge, logistic_c : float
        a of the metric; what is added to the diagonal of W_m; scikit-learn's C, or None where only D is wanted: then L
        is not fitted and 0.
    score_folds : int
        Folds of whole groups that give the score its scale.
    """

    distance_power: float
    ridge: float
    logistic_c: float | None
    score_folds: int

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Options:
        """Those among `settings`."""
        return cls(*(settings[name] for name in cls._fields))


@dataclass(frozen=True)
class Regression:
    """Logistic regression L on x = [z_m / sqrt(d_m)], z_m = (f_m / |f_m| - mean_m) / deviation_m.

    Attributes
    ----------
    widths : mapping of modality to int
        d_m, in the order in which the modalities are joined.
    used : (M,) bool
        Whether a modality of the training clips says anything: some clip has it, and not all are the same in it.
    mean, deviation : (D,) float64
        Of the unit-length features of the training clips that have the modality.
    weight, bias : (K, D), (K,) float64
        Of L; the bias of a class without training clips is minus infinity.
    """

    widths: Mapping[str, int]
    used: Bools
    mean: Floats
    deviation: Floats
    weight: Floats
    bias: Floats

    @classmethod
    def blank(cls, widths: Mapping[str, int], classes: int) -> Regression:
        """Not fitted yet; every array has its shape."""
        total = sum(widths.values())
        zeros, ones = np.zeros(total), np.ones(total)
        return cls(widths, np.zeros(len(widths), bool), zeros, ones, np.zeros((classes, total)), np.zeros(classes))

    @classmethod
    def from_state(cls, widths: Mapping[str, int], state: Mapping[str, NDArray[Any]]) -> Regression:
        """The object of which `state` is the state."""
        return cls(widths, *(state[name] for name in ("used", "mean", "deviation", "weight", "bias")))

    def state(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, as a checkpoint keeps them."""
        return {name: getattr(self, name) for name in ("used", "mean", "deviation", "weight", "bias")}

    def there(self, missing: Bools) -> Bools:
        """Which modalities of each clip are looked at, (n, M)."""
        return ~missing & self.used

    def standardised(self, features: Features, missing: Bools) -> Floats:
        """z, (n, D); 0 where a modality is not looked at."""
        z = (_unit(features, self.widths) - self.mean) / self.deviation
        # 0 by selection, not by multiplication, since what stands in for an absent part may be anything
        return np.where(np.repeat(self.there(missing), list(self.widths.values()), axis=1), z, 0.0)

    def split(self, joined: Floats) -> list[Floats]:
        """The modalities of (n, D), one array each."""
        return np.split(joined, np.cumsum(list(self.widths.values()))[:-1], axis=1)

    def joint(self, z: Floats) -> Floats:
        """x, (n, D): each modality of z over the root of its width, so that all weigh the same."""
        return np.concatenate([part / part.shape[1] ** 0.5 for part in self.split(z)], axis=1)

    def logits(self, x: Floats) -> Floats:
        """L, (n, K)."""
        return x @ self.weight.T + self.bias


def fit_regression(features: Features, missing: Bools, label: Ids, classes: int, *, c: float | None) -> Regression:
    """Fit mean, deviation and L on training clips with class ids `label` (n,), 0 ... `classes` - 1.

    The problem is convex and solved to convergence. `c` is scikit-learn's C; with None L stays 0. With two classes the
    two logits are half of scikit-learn's value with either sign; they sum to 0 as those of more classes do.
    """
    blank = Regression.blank({name: values.shape[1] for name, values in features.items()}, classes)
    used, means, deviations = [], [], []
    for i, values in enumerate(blank.split(_unit(features, blank.widths))):
        own = values[~missing[:, i]]
        mean = own.sum(axis=0) / max(len(own), 1)
        deviation = np.sqrt(((own - mean) ** 2).sum(axis=0) / max(len(own), 1))
        used.append(bool(deviation.max() > LEAST_DEVIATION))
        means.append(mean)
        deviations.append(np.maximum(deviation, LEAST_SHARE * deviation.max() if used[-1] else 1.0))
    mean, deviation = np.concatenate(means), np.concatenate(deviations)
    fitted = replace(blank, used=np.array(used), mean=mean, deviation=deviation)
    if c is None:
        return fitted
    found = LogisticRegression(C=c, tol=TOLERANCE, max_iter=ITERATIONS)
    found.fit(fitted.joint(fitted.standardised(features, missing)), label)
    own_weight, own_bias = found.coef_, found.intercept_
    if len(found.classes_) == 2:
        own_weight, own_bias = (np.concatenate([-value, value]) / 2 for value in (own_weight, own_bias))
    weight, bias = np.zeros_like(blank.weight), np.full(classes, -np.inf)
    weight[found.classes_], bias[found.classes_] = own_weight, own_bias
    return replace(fitted, weight=weight, bias=bias)


@dataclass(frozen=True)
class Distance:
    """D, the least over classes k of the sum over m of delta_mk, and L; both with their scale.

    ``delta_mk = |W_m^(-a/2) (z_m - c_mk)|^2 / s_m``: z_m as in `Regression`; c_mk the class mean; W_m the within-class
    covariance of the training clips, shrunk by Ledoit and Wolf, plus a ridge; s_m the mean of delta_mk before the
    division over training clips and their own classes, so that a known clip has about 1 per modality. Of a clip without
    some modalities the sum of the others is taken times M over their number: a known clip is then expected at the same
    D as one that has all. A class none of whose training clips has modality m stands at its training mean, 0.

    Attributes
    ----------
    regression : Regression
    metrics : mapping of modality to (d_m, d_m) float64
        W_m^(-a/2).
    centres : (K, D) float64
        Class means c_mk, joined, after their metric.
    spread : (M,) float64
        s_m, at least a thousandth of what it would be with all centres at 0.
    known : (K,) bool
        Classes with training clips.
    centre, scale : (2,) float64
        Mean and deviation of -D and of max L over known training clips that were held out.
    """

    regression: Regression
    metrics: Mapping[str, Floats]
    centres: Floats
    spread: Floats
    known: Bools
    centre: Floats
    scale: Floats

    @classmethod
    def blank(cls, widths: Mapping[str, int], classes: int) -> Distance:
        """Not fitted yet; every array has its shape."""
        regression = Regression.blank(widths, classes)
        metrics = {name: np.eye(width) for name, width in widths.items()}
        centres, spread = np.zeros((classes, sum(widths.values()))), np.ones(len(widths))
        return cls(regression, metrics, centres, spread, np.ones(classes, bool), np.zeros(2), np.ones(2))

    @classmethod
    def from_state(cls, widths: Mapping[str, int], state: Mapping[str, NDArray[Any]]) -> Distance:
        """The object of which `state` is the state."""
        metrics = {name: state[f"metric_{name}"] for name in widths}
        arrays = (state[name] for name in ("centres", "spread", "known", "centre", "scale"))
        return cls(Regression.from_state(widths, state), metrics, *arrays)

    def state(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, as a checkpoint keeps them."""
        own = {name: getattr(self, name) for name in ("centres", "spread", "known", "centre", "scale")}
        return self.regression.state() | {f"metric_{name}": value for name, value in self.metrics.items()} | own

    def deltas(self, z: Floats) -> Floats:
        """delta_mk, (M, n, K), of standardised features (n, D)."""
        found = np.empty((len(self.metrics), len(z), len(self.centres)))
        parts = zip(self.regression.split(z), self.metrics.values(), self.regression.split(self.centres), strict=True)
        for m, (part, metric, centres) in enumerate(parts):
            moved = part @ metric
            # class by class, without the expanded square, which cancels
            for k, centre in enumerate(centres):
                found[m, :, k] = ((moved - centre) ** 2).sum(axis=1)
        return found / self.spread[:, None, None]

    def distance(self, z: Floats, there: Bools) -> Floats:
        """D, (n,), over the modalities that are `there` (n, M); 0 for a clip that has none."""
        whole = np.where(there.T[:, :, None], self.deltas(z), 0.0).sum(axis=0)
        whole = whole * (there.shape[1] / np.maximum(there.sum(axis=1), 1))[:, None]
        return np.where(self.known, whole, np.inf).min(axis=1)

    def measure(self, features: Features, missing: Bools) -> Floats:
        """-D and max L, (n, 2); -D is -1e30 for a clip without any modality."""
        z, there = self.regression.standardised(features, missing), self.regression.there(missing)
        return self._measured(z, there, self.regression.logits(self.regression.joint(z)))

    def _measured(self, z: Floats, there: Bools, logits: Floats) -> Floats:
        near = np.where(there.any(axis=1), -self.distance(z, there), LOWEST)
        return np.stack([near, logits.max(axis=1)], axis=1)

    def predict(self, features: Features, missing: Bools) -> tuple[Floats, Floats, Floats]:
        """x (n, D), L (n, K) and z(-D) + z(max L) (n,), which is -1e30 for a clip without any modality."""
        z, there = self.regression.standardised(features, missing), self.regression.there(missing)
        x = self.regression.joint(z)
        logits = self.regression.logits(x)
        score = self.scaled(self._measured(z, there, logits))
        return x, logits, np.where(there.any(axis=1), score, LOWEST)

    def scaled(self, parts: Floats) -> Floats:
        """z(-D) + z(max L), (n,), of -D and max L, (n, 2)."""
        return ((parts - self.centre) / self.scale).sum(axis=1)


def fit_distance(
    features: Features,
    missing: Bools,
    label: Ids,
    groups: NDArray[Any] | None,
    classes: int,
    options: Options,
    *,
    warn: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> Distance:
    """Fit all on training clips with class ids `label` (n,), 0 ... `classes` - 1, also the scale of the score.

    The scale is that of known training clips that were held out: folds of whole groups, each measured by a fit on the
    other folds. Not measured are clips of a class that the other folds lack, which are not known there, clips without
    any modality, and a fold beside which one class is left. Where fewer than two clips can be held out, the training
    clips themselves are measured, and `warn` is told, by default on stderr.

    `groups` (n,) is what must not be split (a speaker, a film); with None every clip is a group by itself.
    """
    fitted = _fit(features, missing, label, classes, options)
    held = held_out(features, missing, label, groups, classes, options)
    held = held[~np.isnan(held[:, 0])]
    if len(held) < 2:
        warn(
            "distance: no group of training clips can be held out, so that the parts of the score are scaled by the "
            "clips that they were fitted on"
        )
        held = _measured(fitted, features, missing)
    centre, scale = centre_and_scale(held)
    return replace(fitted, centre=centre, scale=scale)


def centre_and_scale(values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation over the first axis, for z(); a deviation of 0, or no value at all, gives a scale of 1."""
    if not len(values):
        return np.zeros(values.shape[1:]), np.ones(values.shape[1:])
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def held_out(
    features: Features, missing: Bools, label: Ids, groups: NDArray[Any] | None, classes: int, options: Options
) -> Floats:
    """-D and max L, (n, 2), of training clips, each by a fit on other groups; NaN where none can (`fit_distance`)."""
    found = np.full((len(label), 2), np.nan)
    for inside, outside in group_folds(label, groups, options.score_folds):
        present = np.unique(label[inside])
        if len(present) > 1:
            fitted = _fit(_rows(features, inside), missing[inside], label[inside], classes, options)
            rows = outside[np.isin(label[outside], present)]
            rows = rows[fitted.regression.there(missing[rows]).any(axis=1)]
            found[rows] = fitted.measure(_rows(features, rows), missing[rows])
    return found


def group_folds(label: Ids, groups: NDArray[Any] | None, count: int) -> Iterator[tuple[Ids, Ids]]:
    """Positions inside and outside of at most `count` folds of whole groups, with even shares of the classes.

    The draw depends on the groups' names and classes, not on the order of the clips. Fewer groups than folds make fewer
    folds; one group makes none.
    """
    groups = np.arange(len(label)) if groups is None else groups
    count = min(count, len(np.unique(groups)), int(np.bincount(label).max()))
    if count < 2:
        return
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=FOLD_SEED)
    with warnings.catch_warnings():
        # a class may be in fewer clips than folds
        warnings.filterwarnings("ignore", "The least populated class")
        drawn = list(splitter.split(label, label, groups))
    for inside, outside in drawn:
        if len(inside) and len(outside):
            yield inside, outside


def inverse_power(centred: Floats, ridge: float, power: float) -> Floats:
    """``W^(-power/2)``, (d, d), of rows (n, d) centred within their classes.

    W is Ledoit and Wolf's estimate with ``assume_centered=True`` (the mean is not estimated again; sums are divided by
    n, not by n - K) plus `ridge` on the diagonal, hence positive definite for every n.
    """
    with warnings.catch_warnings():
        # scikit-learn takes a single row for a mistake
        warnings.filterwarnings("ignore", "Only one sample available")
        shrunk = LedoitWolf(assume_centered=True).fit(centred).covariance_
    values, vectors = np.linalg.eigh(shrunk + ridge * np.eye(centred.shape[1]))
    # rounding may take a tiny value below the ridge
    return (vectors * np.maximum(values, ridge) ** (-power / 2)) @ vectors.T


def class_means(values: Floats, label: Ids, classes: int) -> Floats:
    """Means, (K, d), of the rows (n, d) of each class; zeros for a class without rows."""
    member = np.eye(classes)[label]
    return member.T @ values / np.maximum(member.sum(axis=0), 1)[:, None]


def _fit(features: Features, missing: Bools, label: Ids, classes: int, options: Options) -> Distance:
    """Regression, metrics, class means and spreads; the scale stays 1."""
    regression = fit_regression(features, missing, label, classes, c=options.logistic_c)
    there, metrics, centres, spread = regression.there(missing), [], [], []
    for i, z in enumerate(regression.split(regression.standardised(features, missing))):
        own, ids = z[there[:, i]], label[there[:, i]]
        means = class_means(own, ids, classes)
        metric, mean_square = np.eye(z.shape[1]), 1.0
        if regression.used[i]:
            metric = inverse_power(own - means[ids], options.ridge, options.distance_power)
            inside = (((own - means[ids]) @ metric) ** 2).sum(axis=1).mean()
            whole = ((own @ metric) ** 2).sum(axis=1).mean()
            mean_square = max(inside, LEAST_SHARE * whole)
        metrics.append(metric)
        centres.append(means @ metric)
        spread.append(mean_square)
    known = np.bincount(label, minlength=classes) > 0
    by_name = dict(zip(regression.widths, metrics, strict=True))
    return Distance(
        regression, by_name, np.concatenate(centres, axis=1), np.array(spread), known, np.zeros(2), np.ones(2)
    )


def _measured(fitted: Distance, features: Features, missing: Bools) -> Floats:
    """-D and max L, (h, 2), of the clips that have a modality."""
    return fitted.measure(features, missing)[fitted.regression.there(missing).any(axis=1)]


def _rows(features: Features, rows: Ids) -> Features:
    return {name: values[rows] for name, values in features.items()}


def _unit(features: Features, widths: Mapping[str, int]) -> Floats:
    """The features side by side, (n, D) float64, each modality at unit length."""
    values = [np.asarray(features[name], dtype=np.float64) for name in widths]
    return np.concatenate(
        [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), LEAST_LENGTH) for part in values], axis=1
    )
