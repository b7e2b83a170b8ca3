"""The numpy core of `distance_mm` where no method stands around it; its formulas: tests/methods/test_distance.py."""

from __future__ import annotations

import numpy as np
import pytest

from hcep.evaluation.distance import LOWEST, Distance, Options, Regression, class_means, fit_distance

OPTIONS = Options(distance_power=0.25, ridge=0.01, logistic_c=1.0, score_folds=3)
WIDTHS = {"vision": 5, "fused": 7}


def clips(count=60, seed=0, spread=0.5, far=0):
    """Clips of three classes in two modalities, the last `far` of none; features, missing, label, group."""
    random = np.random.default_rng(seed)
    label = np.where(np.arange(count) < count - far, np.arange(count) % 3, 3)
    features = {}
    for i, (name, width) in enumerate(WIDTHS.items()):
        centres = np.random.default_rng(i).normal(size=(4, width))
        features[name] = (centres[label] + spread * random.normal(size=(count, width))).astype(np.float32)
    groups = np.array([f"speaker {i // 3 % 6}" for i in range(count)])
    return features, np.zeros((count, 2), bool), label, groups


def test_any_modalities_are_measured_by_name_in_the_order_of_the_fit():
    features, missing, label, groups = clips()
    fitted = fit_distance(features, missing, label, groups, 3, OPTIONS)
    test, none, truth, _ = clips(30, seed=1, far=12)
    found = fitted.measure(test, none)
    assert found[truth < 3, 0].min() > found[truth == 3, 0].max()
    turned = fitted.measure(dict(reversed(test.items())), none)
    np.testing.assert_array_equal(turned, found)
    wanted = ((found - fitted.centre) / fitted.scale).sum(axis=1)
    np.testing.assert_allclose(fitted.predict(test, none)[2], wanted)


def test_a_clip_with_nothing_is_the_farthest():
    fitted = fit_distance(*clips(), 3, OPTIONS)
    features, missing, *_ = clips(6, seed=1)
    missing[2] = True
    assert fitted.measure(features, missing)[2, 0] == LOWEST == fitted.predict(features, missing)[2][2]
    assert np.argmin(fitted.measure(features, missing)[:, 0]) == 2


@pytest.mark.parametrize("kind", [Regression, Distance])
def test_a_state_gives_its_object_back(kind):
    fitted = fit_distance(*clips(), 3, OPTIONS)
    own = fitted if kind is Distance else fitted.regression
    blank = kind.blank(WIDTHS, 3).state()
    assert {k: (v.shape, v.dtype) for k, v in blank.items()} == {k: (v.shape, v.dtype) for k, v in own.state().items()}
    again = kind.from_state(WIDTHS, own.state())
    assert all(np.array_equal(again.state()[name], value) for name, value in own.state().items())
    if kind is Distance:
        features, missing, *_ = clips(9, seed=1)
        np.testing.assert_array_equal(again.predict(features, missing)[2], fitted.predict(features, missing)[2])


def test_groups_may_be_names_or_numbers_in_the_same_order():
    features, missing, label, groups = clips()
    named = fit_distance(features, missing, label, groups, 3, OPTIONS)
    numbered = fit_distance(features, missing, label, np.unique(groups, return_inverse=True)[1], 3, OPTIONS)
    np.testing.assert_array_equal(named.centre, numbered.centre)


def test_class_means_leave_an_empty_class_at_zero():
    values = np.array([[1.0, 2.0], [3.0, 6.0], [10.0, 0.0]])
    assert class_means(values, np.array([2, 2, 0]), 3).tolist() == [[10.0, 0.0], [0.0, 0.0], [2.0, 4.0]]
