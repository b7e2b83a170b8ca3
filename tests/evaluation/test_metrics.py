"""Open-set metrics against scikit-learn, pytorch-ood, osr-metrics and the double sum; identities; degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from osr_metrics import compute_aoscr
from pytorch_ood.metrics.functional import oscr_score
from sample_scores import make_scores
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score, roc_curve

from hcep.errors import HcepError
from hcep.evaluation.metrics import METRICS, OpenSet, log_max_softmax, open_set, open_set_curve, open_set_metrics

CASE_A = ([0.9, 0.8, 0.6, 0.4], [1, 0, 1, 1], [0.7, 0.5, 0.3])
CASE_TIES = ([0.9, 0.8, 0.6, 0.6], [1, 0, 1, 1], [0.9, 0.6, 0.3])


def two_sides(known, correct, unknown):
    """Clips of one class: known ones that are predicted right or wrong, and unknown ones."""
    known, correct, unknown = np.asarray(known, float), np.asarray(correct, bool), np.asarray(unknown, float)
    label = np.r_[np.zeros(len(known), int), np.full(len(unknown), -1)]
    prediction = np.r_[(~correct).astype(int), np.zeros(len(unknown), int)]
    return OpenSet(np.r_[known, unknown], label == 0, label, prediction, 2)


def auroc(known, unknown):
    return open_set_metrics(two_sides(known, [True] * len(known), unknown))["auroc"]


def oscr(known, correct, unknown):
    return open_set_metrics(two_sides(known, correct, unknown))["oscr"]


def aupr_known(known, unknown):
    return open_set_metrics(two_sides(known, [True] * len(known), unknown))["aupr_known"]


def aupr_unknown(known, unknown):
    return open_set_metrics(two_sides(known, [True] * len(known), unknown))["aupr_unknown"]


def fpr95(known, unknown):
    return open_set_metrics(two_sides(known, [True] * len(known), unknown))["fpr95"]


def closed_set(label, prediction, n_classes):
    """Accuracy and macro F1 of known clips, beside one unknown clip that must not count."""
    n = len(label)
    score, known = np.zeros(n + 1), np.arange(n + 1) < n
    found = open_set_metrics(OpenSet(score, known, np.r_[label, -1], np.r_[prediction, 0], n_classes))
    return found["accuracy"], found["macro_f1"]


def double_sum(known, correct, unknown):
    """OSCR as methods.md and its sources define it, one pair of clips at a time."""
    total = 0.0
    for score, right in zip(known, correct, strict=True):
        for other in unknown:
            total += bool(right) * ((score > other) + 0.5 * (score == other))
    return total / (len(known) * len(unknown))


@st.composite
def sides(draw):
    """Scores of both sides from a few levels, so that ties within and across sides are common."""
    level = st.integers(0, draw(st.sampled_from([0, 2, 6, 1000]))).map(lambda value: value / 7 - 20)
    known = draw(st.lists(level, min_size=1, max_size=40))
    unknown = draw(st.lists(level, min_size=1, max_size=40))
    correct = draw(st.lists(st.booleans(), min_size=len(known), max_size=len(known)))
    return np.array(known), np.array(correct), np.array(unknown)


def together(known, unknown):
    return np.r_[np.ones(len(known)), np.zeros(len(unknown))], np.r_[known, unknown]


@pytest.mark.parametrize(
    ("case", "wanted"), [(CASE_A, (0.75, 0.5)), (CASE_TIES, (0.625, 5.5 / 12)), (([1, 1], [1, 1], [1]), (0.5, 0.5))]
)
def test_worked_fixtures(case, wanted):
    known, correct, unknown = case
    assert (auroc(known, unknown), oscr(known, correct, unknown)) == pytest.approx(wanted, abs=1e-15)


@settings(deadline=None, max_examples=200)
@given(sides())
def test_against_oracles(data):
    known, correct, unknown = data
    truth, score = together(known, unknown)
    assert auroc(known, unknown) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert aupr_known(known, unknown) == pytest.approx(average_precision_score(truth, score), abs=1e-12)
    assert aupr_unknown(known, unknown) == pytest.approx(average_precision_score(1 - truth, -score), abs=1e-12)
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    assert fpr95(known, unknown) == pytest.approx(fpr[np.argmax(tpr >= 0.95 - 1e-12)], abs=1e-12)
    value = oscr(known, correct, unknown)
    assert value == pytest.approx(double_sum(known, correct, unknown), abs=1e-12)
    demoted = np.r_[np.where(correct, known, score.min() - 1), unknown]
    assert value == pytest.approx(roc_auc_score(truth, demoted), abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(sides())
def test_oscr_against_other_libraries(data):
    known, correct, unknown = data
    truth, score = together(known, unknown)
    label = np.where(truth == 1, 0, -1)
    guess = np.r_[(~correct).astype(int), np.zeros(len(unknown), dtype=int)]
    other = oscr_score(torch.tensor(-score), torch.tensor(guess), torch.tensor(label))
    assert oscr(known, correct, unknown) == pytest.approx(other, abs=1e-12)
    # osr-metrics returns 0 when all scores are equal
    if len(np.unique(score)) > 1:
        aoscr = compute_aoscr(-score, 1 - truth, guess, np.zeros(len(guess), dtype=int))
        assert oscr(known, correct, unknown) == pytest.approx(aoscr, abs=1e-12)


@settings(deadline=None, max_examples=200)
@given(sides())
def test_identities(data):
    known, correct, unknown = data
    area, value, share = auroc(known, unknown), oscr(known, correct, unknown), correct.mean()
    assert 0 <= value <= min(area, share) + 1e-12
    assert area - value <= 1 - share + 1e-12
    assert oscr(np.exp(known / 50), correct, np.exp(unknown / 50)) == pytest.approx(value, abs=1e-15)
    assert oscr(known, np.ones(len(known), dtype=bool), unknown) == area
    assert oscr(known + 1e6, correct, unknown) == pytest.approx(share, abs=1e-15)
    assert auroc(-unknown, -known) == pytest.approx(area, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(sides())
def test_curve_gives_the_areas(data):
    known, correct, unknown = data
    curve = open_set_curve(two_sides(known, correct, unknown))
    assert (curve.threshold[0], curve.tpr[0], curve.ccr[0], curve.fpr[0]) == (np.inf, 0, 0, 0)
    assert (curve.tpr[-1], curve.ccr[-1], curve.fpr[-1]) == (1, correct.mean(), 1)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(auroc(known, unknown), abs=1e-12)
    assert np.trapezoid(curve.ccr, curve.fpr) == pytest.approx(oscr(known, correct, unknown), abs=1e-12)
    for index in (1, len(curve.threshold) - 1):
        theta = curve.threshold[index]
        assert curve.ccr[index] == pytest.approx(((known >= theta) & correct).mean())
        assert curve.fpr[index] == pytest.approx((unknown >= theta).mean())


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_closed_set_against_sklearn(pairs):
    label, guess = np.array(pairs).T
    accuracy, macro_f1 = closed_set(label, guess, 5)
    assert accuracy == pytest.approx(accuracy_score(label, guess))
    assert macro_f1 == pytest.approx(f1_score(label, guess, average="macro"), abs=1e-12)


def test_all_metrics_of_a_run_agree_with_the_oracles():
    data = open_set(make_scores())
    inside, correct = data.known, (data.label == data.prediction)[data.known]
    fpr, tpr, _ = roc_curve(inside, data.score, drop_intermediate=False)
    wanted = {
        "auroc": roc_auc_score(inside, data.score),
        "oscr": double_sum(data.score[inside], correct, data.score[~inside]),
        "accuracy": accuracy_score(data.label[inside], data.prediction[inside]),
        "aupr_known": average_precision_score(inside, data.score),
        "aupr_unknown": average_precision_score(~inside, -data.score),
        "fpr95": fpr[np.argmax(tpr >= 0.95 - 1e-12)],
        "macro_f1": f1_score(data.label[inside], data.prediction[inside], average="macro"),
    }
    found = open_set_metrics(data)
    assert tuple(found) == METRICS
    assert found == pytest.approx(wanted, abs=1e-12)
    assert 0.3 < found["oscr"] < found["auroc"] < 0.95


def test_all_scores_equal():
    data = OpenSet(np.zeros(4), np.array([1, 1, 1, 0], bool), np.array([0, 1, 1, -1]), np.array([0, 1, 0, 0]), 2)
    found = open_set_metrics(data)
    assert found["auroc"] == 0.5
    assert found["oscr"] == pytest.approx(1 / 3)
    assert (found["aupr_known"], found["aupr_unknown"], found["fpr95"]) == (0.75, 0.25, 1)


@pytest.mark.parametrize("n_classes", [1, 2])
def test_one_known_clip_and_few_classes(n_classes):
    data = OpenSet(np.array([2.0, 1.0]), np.array([True, False]), np.array([0, -1]), np.array([0, 0]), n_classes)
    found = open_set_metrics(data)
    assert found == {name: 0.0 if name == "fpr95" else 1.0 for name in METRICS}


def test_everything_misclassified():
    data = open_set(make_scores())
    found = open_set_metrics(data._replace(prediction=(data.label + 1) % 3))
    assert (found["oscr"], found["accuracy"], found["macro_f1"]) == (0, 0, 0)
    assert found["auroc"] == open_set_metrics(data)["auroc"]


def test_fpr95_counts_in_whole_clips():
    # 19 of 20 known clips are exactly 95 %
    assert fpr95(np.arange(20.0), [0.5, 1.5]) == 0.5
    assert fpr95(np.arange(19.0), [0.5, -0.5]) == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_scores_raise(bad):
    for known, unknown in (([1.0, bad], [0.0]), ([1.0], [bad, 0.0])):
        for metric in (auroc, aupr_known, aupr_unknown, fpr95):
            with pytest.raises(HcepError, match="not finite"):
                metric(known, unknown)
        with pytest.raises(HcepError, match="not finite"):
            oscr(known, [True] * len(known), unknown)


@pytest.mark.parametrize(("known", "unknown"), [([], [1.0]), ([1.0], [])])
def test_an_empty_side_raises(known, unknown):
    for metric in (auroc, aupr_known, aupr_unknown, fpr95):
        with pytest.raises(HcepError, match="known and unknown"):
            metric(known, unknown)
    with pytest.raises(HcepError, match="known and unknown"):
        open_set_curve(two_sides(known, [True] * len(known), unknown))


def test_log_max_softmax_does_not_saturate():
    margin = np.linspace(1, 700, 1000)
    score = log_max_softmax(np.stack([margin, np.zeros(1000), np.zeros(1000)], axis=1))
    assert (np.diff(score) > 0).all()
    probability = torch.softmax(torch.tensor([[40.0, 0.0]], dtype=torch.float64), 1).max().item()
    assert probability == 1.0 and log_max_softmax([[40.0, 0.0]])[0] < 0


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=1, max_size=10))
def test_log_max_softmax_against_torch(rows):
    wanted = torch.log_softmax(torch.tensor(rows, dtype=torch.float64), 1).max(1).values.numpy()
    np.testing.assert_allclose(log_max_softmax(rows), wanted, atol=1e-12)


def test_log_max_softmax_degenerate():
    np.testing.assert_array_equal(log_max_softmax([[3.0], [-1e9]]), [0, 0])
    np.testing.assert_allclose(log_max_softmax([[1e300, 1e300]]), [-np.log(2)])
    with pytest.raises(HcepError, match="not finite"):
        log_max_softmax([[np.nan, 1.0]])
    with pytest.raises(HcepError, match="K >= 1"):
        log_max_softmax(np.zeros((2, 0)))
