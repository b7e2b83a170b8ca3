"""The group bootstrap: weights against repeated clips, shared and repeatable draws, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from sample_scores import make_scores

from hcep.errors import HcepError
from hcep.evaluation import bootstrap as module
from hcep.evaluation.bootstrap import bootstrap, group_draws, interval, paired_p
from hcep.evaluation.metrics import METRICS, OpenSet, Ranking, open_set, open_set_metrics
from hcep.evaluation.scores import group_keys


def sample(**options):
    scores = make_scores(**options)
    return open_set(scores), group_keys(scores)[scores.part == "test"]


def repeated(data: OpenSet, count: np.ndarray) -> OpenSet:
    """The clips themselves, each as often as it counts."""
    return OpenSet(*(np.repeat(values, count) for values in data[:4]), data.n_classes)


def test_weights_equal_repeated_clips():
    data, groups = sample(n=25)
    names, index = np.unique(groups, return_inverse=True)
    ranking = Ranking(data, index, len(names))
    known, unknown = (next(group_draws(names.tolist(), side, 60, 3)) for side in ("known", "unknown"))
    found = ranking.metrics(known, unknown)
    for row in range(60):
        count = np.where(data.known, known[row][index], unknown[row][index])
        wanted = open_set_metrics(repeated(data, count))
        assert {name: found[name][row] for name in METRICS} == pytest.approx(wanted, abs=1e-12)


def test_a_side_without_weight_is_dropped_and_counted():
    data = OpenSet(np.array([3.0, 1, 2]), np.array([1, 1, 0], bool), np.array([0, 0, -1]), np.zeros(3, int), 1)
    # the only unknown clip is in group b, which about e^-1 of the draws miss
    groups = np.array(["a", "c", "b"])
    result = bootstrap(data, groups, replicates=400, seed=0)
    misses = [next(group_draws(["a", "b", "c"], side, 400, 0)) for side in ("known", "unknown")]
    lost = (misses[0][:, [0, 2]].sum(1) == 0) | (misses[1][:, 1] == 0)
    assert result.dropped == lost.sum() > 50
    np.testing.assert_array_equal(np.isnan(result.values["oscr"]), lost)
    assert not np.isnan(interval(result.values["auroc"])).any()


def test_the_same_seed_gives_the_same_replicates():
    data, groups = sample()
    first, again, other = (bootstrap(data, groups, replicates=50, seed=seed).values for seed in (4, 4, 5))
    for name in METRICS:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["auroc"] != other["auroc"]).any()


def test_chunks_and_count_do_not_change_the_replicates(monkeypatch):
    data, groups = sample()
    whole = bootstrap(data, groups, replicates=50).values
    monkeypatch.setattr(module, "CHUNK_CELLS", 7 * len(data.score))
    chunked = bootstrap(data, groups, replicates=50).values
    longer = bootstrap(data, groups, replicates=64).values
    for name in METRICS:
        # sums of floats in another memory layout may differ in the last bit
        np.testing.assert_allclose(chunked[name], whole[name], rtol=1e-14)
        np.testing.assert_allclose(longer[name][:50], whole[name], rtol=1e-14)


def test_clip_order_does_not_matter():
    data, groups = sample()
    order = np.random.default_rng(0).permutation(len(groups))
    shuffled = OpenSet(*(values[order] for values in data[:4]), data.n_classes)
    for name, values in bootstrap(data, groups, replicates=40).values.items():
        np.testing.assert_allclose(bootstrap(shuffled, groups[order], replicates=40).values[name], values, atol=1e-12)


def test_draws_depend_on_seed_side_and_groups_alone():
    names = [f"speaker{index}" for index in range(9)]
    draw = next(group_draws(names, "known", 30, 1))
    np.testing.assert_array_equal(draw, next(group_draws([*reversed(names), names[0]], "known", 30, 1)))
    assert (draw.sum(axis=1) == 9).all()
    for others in ((names, "unknown", 30, 1), (names, "known", 30, 2), ([*names[1:], "x"], "known", 30, 1)):
        assert (next(group_draws(*others)) != draw).any()


def test_kept_draws_are_those_that_are_drawn_anew(monkeypatch):
    names = [f"speaker{index}" for index in range(300)]
    module._kept_draws.cache_clear()
    kept = [np.concatenate(list(group_draws(names, side, 40, 1, chunk=7))) for side in module.SIDES]
    assert module._kept_draws.cache_info().currsize == 2
    monkeypatch.setattr(module, "KEPT_CELLS", 0)
    for side, wanted in zip(module.SIDES, kept, strict=True):
        np.testing.assert_array_equal(next(group_draws(names, side, 40, 1)), wanted)
    assert module._kept_draws.cache_info().misses == 2
    # a caller cannot change what the next one gets
    with pytest.raises(ValueError, match="read-only"):
        module._kept_draws(tuple(names), "known", 40, 1)[0] += 1


def test_average_precision_to_the_last_bit():
    # ties and a known clip of every rank; one after another, as the sum of floats depends on its order
    data, groups = sample(n=40)
    data = data._replace(score=data.score.round(1))
    names, index = np.unique(groups, return_inverse=True)
    weights = [next(group_draws(names.tolist(), side, 30, 3)) for side in module.SIDES]
    found = Ranking(data, index, len(names)).metrics(*weights)
    for row in range(30):
        count = np.where(data.known, *(weight[row][index] for weight in weights)).astype(int).tolist()
        clips = list(zip(data.score.tolist(), data.known.tolist(), count, strict=True))
        for name, positive, order in (("aupr_known", True, -1), ("aupr_unknown", False, 1)):
            total, hits, accepted = 0.0, 0, 0
            for threshold in sorted({score for score, _, _ in clips})[::order]:
                step = sum(n for score, known, n in clips if score == threshold and known is positive)
                hits += step
                accepted += sum(n for score, _, n in clips if score == threshold)
                total += step * (hits / max(accepted, 1))
            assert found[name][row] == total / hits


def test_methods_are_paired():
    # two models with equal scores but for a shift: every paired difference is 0
    scores = make_scores()
    groups = group_keys(scores)[scores.part == "test"]
    first = bootstrap(open_set(scores), groups, replicates=30).values["auroc"]
    second = bootstrap(open_set(scores._replace(score=2 * scores.score)), groups, replicates=30).values["auroc"]
    np.testing.assert_array_equal(first, second)
    assert first.std() > 0


def test_interval_covers_the_true_auroc():
    # binormal scores one standard deviation apart: AUROC = Phi(1 / sqrt 2)
    truth, hits, trials = 0.7602499389065233, 0, 150
    for trial in range(trials):
        random = np.random.default_rng(trial)
        known = np.arange(160) % 2 == 0
        label = np.where(known, 0, -1)
        data = OpenSet(random.normal(size=160) + known, known, label, np.zeros(160, int), 1)
        low, high = interval(bootstrap(data, np.arange(160).astype(str), replicates=200, seed=trial).values["auroc"])
        hits += low <= truth <= high
    assert 0.88 <= hits / trials <= 0.99


def test_groups_widen_the_interval():
    # clips of a group are copies: resampling them as if independent would be too narrow
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 10)
    known = group % 2 == 0
    score = random.normal(size=20)[group] + known
    data = OpenSet(score, known, np.where(known, 0, -1), np.zeros(200, int), 1)
    width = {}
    for name, names in (("group", group), ("clip", np.arange(200))):
        low, high = interval(bootstrap(data, names.astype(str), replicates=300).values["auroc"])
        width[name] = high - low
    assert width["group"] > 2 * width["clip"]


def test_interval_and_p():
    values = np.append(np.arange(101.0), np.nan)
    assert interval(values, 0.9) == pytest.approx((5, 95))
    assert paired_p(np.append(np.ones(99), np.nan)) == pytest.approx(2 / 100)
    assert paired_p(-np.ones(99)) == pytest.approx(2 / 100)
    assert paired_p(np.zeros(99)) == 1
    assert paired_p(np.r_[np.ones(90), -np.ones(9)]) == pytest.approx(2 * 10 / 100)


def test_bad_arguments_raise():
    with pytest.raises(HcepError, match="confidence"):
        interval(np.ones(3), 1.0)
    with pytest.raises(HcepError, match="no bootstrap replicate"):
        interval(np.full(3, np.nan))
    with pytest.raises(HcepError, match="no bootstrap replicate"):
        paired_p(np.full(3, np.nan))
    with pytest.raises(HcepError, match="groups and replicates"):
        next(group_draws(["a"], "known", 0, 0))
    with pytest.raises(HcepError, match="groups and replicates"):
        next(group_draws([], "known", 5, 0))
    with pytest.raises(HcepError, match="side"):
        next(group_draws(["a"], "both", 5, 0))
