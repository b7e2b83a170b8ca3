"""Open-set metrics: exact, in float64, ties between known and unknown count half. Known is the positive side.

All metrics are functions of the counts of accepted clips at every distinct threshold (accept iff score >= threshold),
so one sort serves all of them, for the clips as they are and for any integer weights on groups of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcep.errors import HcepError
from hcep.evaluation.scores import Scores

METRICS = ("auroc", "oscr", "accuracy", "aupr_known", "aupr_unknown", "fpr95", "macro_f1")

Floats = NDArray[np.float64]


class OpenSet(NamedTuple):
    """Test clips of one run as arrays, n clips.

    Attributes
    ----------
    score : (n,) float64
        Higher = more known.
    known : (n,) bool
    label, prediction : (n,) intp
        Class ids in 0 ... K-1; `label` is -1 for unknown clips.
    n_classes : int
        K, the number of known classes.
    """

    score: Floats
    known: NDArray[np.bool_]
    label: NDArray[np.intp]
    prediction: NDArray[np.intp]
    n_classes: int


class Curve(NamedTuple):
    """Points of the ROC and OSCR curves, from accepting nothing (threshold inf) to accepting all; each (T + 1,)."""

    threshold: Floats
    tpr: Floats
    ccr: Floats
    fpr: Floats


class Counts(NamedTuple):
    """Accepted (weighted) clips at every distinct threshold in descending order; each (..., T), last entry = all.

    Attributes
    ----------
    known, correct, unknown : (..., T) float64
        Accepted known clips, accepted known clips with the right prediction, accepted unknown clips.
    """

    known: Floats
    correct: Floats
    unknown: Floats


def open_set(scores: Scores) -> OpenSet:
    """Test part of a run's scores as class ids and arrays."""
    test = scores.part == "test"
    ids = {name: index for index, name in enumerate(scores.classes)}
    return OpenSet(
        scores.score[test],
        scores.known[test],
        np.array([ids.get(name, -1) for name in scores.label[test].tolist()], dtype=np.intp),
        np.array([ids[name] for name in scores.prediction[test].tolist()], dtype=np.intp),
        len(scores.classes),
    )


def log_max_softmax(logits: ArrayLike) -> Floats:
    """Log of the largest softmax probability, which keeps its order where the probability itself rounds to 1.

    (n, K) logits give (n,) float64, at most 0: log p_max = -log1p(sum over j != max of exp(l_j - l_max)), distinct up
    to margins of about 740.

    Raises
    ------
    HcepError
        A logit is not finite, or there is no class.
    """
    values = np.array(logits, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise HcepError(f"logits must be (n, K) with K >= 1, got shape {values.shape}")
    _refuse_non_finite(values, "logits")
    rows, top = np.arange(len(values)), values.argmax(axis=1)
    values -= values[rows, top][:, None]
    values[rows, top] = -np.inf
    return -np.log1p(np.exp(values).sum(axis=1))


class Ranking:
    """Test clips after the one sort that all metrics share.

    Parameters
    ----------
    data : OpenSet
    group : (n,) int, optional
        Group index of every clip, 0 ... n_groups-1; weights are given per group. By default all clips form one group.
    n_groups : int
        Number of groups, those without a clip counted too.

    Raises
    ------
    HcepError
        A score is not finite, or there is no known or no unknown clip.
    """

    def __init__(self, data: OpenSet, group: ArrayLike | None = None, n_groups: int = 1) -> None:
        _refuse_non_finite(data.score, "scores")
        if data.known.all() or not data.known.any():
            n_known = int(data.known.sum())
            cause = f"open-set metrics need known and unknown test clips, got {n_known} and {len(data.known) - n_known}"
            raise HcepError(cause, remedy="check the class split and the test part")
        clip_group = np.zeros(len(data.score), dtype=np.intp) if group is None else np.asarray(group, dtype=np.intp)
        order = np.argsort(-np.asarray(data.score, dtype=np.float64), kind="stable")
        score, known = data.score[order], data.known[order]
        ends = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
        self.threshold: Floats = score[ends]
        # where every clip of the sorted list finds its weight: that of its group, or the zero behind the last group
        group, zero = clip_group[order], n_groups
        right = known & (data.label == data.prediction)[order]
        self.places = tuple(np.where(side, group, zero) for side in (known, right, ~known))
        # the first clip of each threshold; None where no two clips share a score
        self.starts = None if len(ends) == len(score) else np.append(0, ends[:-1] + 1)
        self.tables = np.concatenate(_class_tables(data, clip_group, n_groups), axis=1)

    def counts(self, known_weight: ArrayLike, unknown_weight: ArrayLike) -> Counts:
        """Weighted counts of accepted clips; weights (..., n_groups), counts (..., T)."""
        return _accumulate(self._steps(known_weight, unknown_weight))

    def _steps(self, known_weight: ArrayLike, unknown_weight: ArrayLike) -> Counts:
        """What every threshold accepts and the one above it does not; the same shapes."""
        known, unknown = (_with_zero(np.asarray(weight)) for weight in (known_weight, unknown_weight))
        found = [np.take(of, place, axis=-1) for of, place in zip((known, known, unknown), self.places, strict=True)]
        return Counts(*(found if self.starts is None else [np.add.reduceat(w, self.starts, axis=-1) for w in found]))

    def metrics(self, known_weight: ArrayLike, unknown_weight: ArrayLike) -> dict[str, Floats]:
        """All metrics for R weightings at once.

        Parameters
        ----------
        known_weight, unknown_weight : (R, n_groups) non-negative integers
            How often every group's known and unknown clips count.

        Returns
        -------
        dict of metric name to (R,) float64
            NaN where one side has no weight at all.
        """
        steps = self._steps(known_weight, unknown_weight)
        counts = _accumulate(steps)
        per_class = np.split(np.asarray(known_weight, dtype=np.float64) @ self.tables, 3, axis=1)
        # a side without weight gives 0/0 = NaN, which is what the docstring promises
        with np.errstate(invalid="ignore", divide="ignore"):
            values = {
                "auroc": _area(counts.known, steps.known, counts, steps),
                "oscr": _area(counts.correct, steps.correct, counts, steps),
                "accuracy": counts.correct[..., -1] / counts.known[..., -1],
                "aupr_known": _average_precision(steps.known, counts.known, counts.unknown),
                "aupr_unknown": _average_precision(steps.unknown, *_from_below(counts, steps), backwards=True),
                "fpr95": _fpr95(counts),
                "macro_f1": _macro_f1(*per_class),
            }
        usable = (counts.known[..., -1] > 0) & (counts.unknown[..., -1] > 0)
        return {name: np.where(usable, values[name], np.nan) for name in METRICS}


def open_set_metrics(data: OpenSet) -> dict[str, float]:
    """All metrics of `METRICS` on one sort, as fractions. The errors are those of `Ranking`.

    Returns
    -------
    dict of metric name to float
        ``auroc`` is the probability that a known clip outranks an unknown one. ``oscr`` is the area under CCR over FPR
        (Dhamija et al., "Reducing Network Agnostophobia", 2018): the AUROC after every misclassified known clip has
        been put below all unknown clips. Ties count half in both. ``accuracy`` and ``macro_f1`` are over the known
        clips; a class with neither a clip nor a prediction has no F1 and is left out. ``aupr_known`` and
        ``aupr_unknown`` are average precisions with that side as positives, the unknown side ranked by the negated
        score. ``fpr95`` is the share of unknown clips accepted at the largest threshold that accepts at least 95 % of
        the known clips.
    """
    values = Ranking(data).metrics(np.ones((1, 1)), np.ones((1, 1)))
    return {name: float(value[0]) for name, value in values.items()}


def open_set_curve(data: OpenSet) -> Curve:
    """TPR, CCR and FPR at every distinct score, accepting iff score >= threshold (HCEP, Algorithm 1).

    It starts at (0, 0) with threshold inf and ends at (fpr 1, tpr 1, ccr accuracy). The errors are those of `Ranking`.
    """
    ranking = Ranking(data)
    counts = ranking.counts(np.ones(1), np.ones(1))
    return Curve(
        np.append(np.inf, ranking.threshold),
        np.append(0.0, counts.known / counts.known[-1]),
        np.append(0.0, counts.correct / counts.known[-1]),
        np.append(0.0, counts.unknown / counts.unknown[-1]),
    )


def _refuse_non_finite(values: Floats, what: str) -> None:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise HcepError(f"{bad} of {values.size} {what} are not finite", remedy="look for a diverged training run")


def _class_tables(data: OpenSet, group: NDArray[np.intp], n_groups: int) -> list[Floats]:
    """Per group and class, over known clips: right predictions, clips, predictions; each (n_groups, K)."""
    known, k = data.known, data.n_classes
    counted = ((known & (data.label == data.prediction), data.label), (known, data.label), (known, data.prediction))
    flat = [np.bincount(group[rows] * k + ids[rows], minlength=n_groups * k) for rows, ids in counted]
    return [table.reshape(n_groups, k).astype(np.float64) for table in flat]


def _with_zero(weight: NDArray[Any]) -> Floats:
    """Weights (..., G) as floats, and a zero behind them."""
    found = np.zeros((*weight.shape[:-1], weight.shape[-1] + 1))
    found[..., :-1] = weight
    return found


def _accumulate(steps: Counts) -> Counts:
    return Counts(*(np.cumsum(of, axis=-1) for of in steps))


def _area(hits: Floats, hit_steps: Floats, counts: Counts, steps: Counts) -> Floats:
    """Trapezoid under hits/known over unknown; sums of half integers, hence exact."""
    doubled = 2 * np.einsum("...t,...t->...", hits, steps.unknown)
    doubled -= np.einsum("...t,...t->...", hit_steps, steps.unknown)
    return doubled / (2 * counts.known[..., -1] * counts.unknown[..., -1])


def _from_below(counts: Counts, steps: Counts) -> tuple[Floats, Floats]:
    """Unknown and known clips when accepting from the lowest score upwards to every threshold."""
    unknown, known = (
        side[..., -1:] - side + step for side, step in ((counts.unknown, steps.unknown), (counts.known, steps.known))
    )
    return unknown, known


def _average_precision(step: Floats, positive: Floats, negative: Floats, backwards: bool = False) -> Floats:
    """Sum over thresholds of (recall step) x precision; a step of 0 adds 0 even where precision is 0/0.

    The arguments are whole numbers (R, T); `backwards` where the last threshold accepts the first clips.
    """
    products = positive + negative
    np.maximum(products, 1, out=products)
    np.divide(positive, products, out=products)
    np.multiply(step, products, out=products)
    # one after another in the order of acceptance: the last digit of a sum depends on its order
    in_order = products[:, ::-1] if backwards else products
    return np.ascontiguousarray(in_order.T).sum(axis=0) / step.sum(axis=-1)


def _fpr95(counts: Counts) -> Floats:
    # TPR >= .95 is compared in whole numbers, since .95 cannot be stored exactly
    first = (20 * counts.known >= 19 * counts.known[..., -1:]).argmax(axis=-1)
    return np.take_along_axis(counts.unknown, first[..., None], axis=-1)[..., 0] / counts.unknown[..., -1]


def _macro_f1(hits: Floats, support: Floats, predicted: Floats) -> Floats:
    total = support + predicted
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    return f1.sum(axis=-1) / (total > 0).sum(axis=-1)
