"""`distance_mm` and `logistic_msp` against plain numpy, their invariances, absent parts, few classes and few groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from small import CLASSES, INFO, SIZES, MemoryFeed, settings_for
from small_cache import inputs_of, run

from hcep import registry
from hcep.config.methods import base_method
from hcep.evaluation.distance import LOWEST, Options, group_folds, held_out
from hcep.methods.arrays import clip_arrays
from hcep.methods.distance_mm import DistanceMM
from hcep.methods.logistic import Logistic
from hcep.methods.method import Batch, log_max_softmax
from hcep.training.checkpoint import read_checkpoint, save_checkpoint
from hcep.training.complexity import count_flops, shape_only
from hcep.training.loop import Trainer
from hcep.training.run import Run

WIDTHS = (SIZES.text, SIZES.vision, SIZES.audio)


def clips(count=60, known=3, groups=6, spread=0.5, seed=0, far=0):
    """Clips of `known` classes around directions of their own, the last `far` around another one."""
    rng = np.random.default_rng(seed)
    centres = [np.random.default_rng(9).normal(size=(known + 1, width)) for width in WIDTHS]
    label = np.arange(count) % known
    place = np.where(np.arange(count) < count - far, label, known)
    features = [torch.from_numpy(c[place] + spread * rng.normal(size=(count, c.shape[1]))).float() for c in centres]
    label[place == known] = -1
    group = torch.arange(count) // known % groups
    missing = torch.zeros(count, 3, dtype=torch.bool)
    return Batch(torch.arange(count), torch.tensor(label), missing, None, None, None, *features, group=group)


def fitted(batch, base="distance_mm", classes=CLASSES, **changes):
    method = registry.load(base_method(base).target)(classes, SIZES, None, settings_for(base, **changes))
    method.finish(batch.split(16))
    return method


def take(batch, positions):
    """The clips at these positions."""
    held = {key: value for key, value in batch._asdict().items() if value is not None}
    return Batch(**{key: value[positions] for key, value in held.items()})


def folds(batch, count):
    """Positions inside and outside of each fold."""
    groups = None if batch.group is None else batch.group.numpy()
    return [tuple(map(torch.from_numpy, pair)) for pair in group_folds(batch.label.numpy(), groups, count)]


def measured_outside(batch, classes=CLASSES, **changes):
    """-D and max L of the clips that are held out while the scale is found."""
    options = Options.of(settings_for("distance_mm", **changes))
    held = held_out(*clip_arrays(batch), batch.label.numpy(), batch.group.numpy(), len(classes), options)
    return held[~np.isnan(held[:, 0])]


def deltas_of(method, batch):
    """delta_mk (3, n, K)."""
    return method.fitted.deltas(method.fitted.regression.standardised(*clip_arrays(batch)))


def distance_of(method, batch):
    """D (n,)."""
    regression, arrays = method.fitted.regression, clip_arrays(batch)
    return method.fitted.distance(regression.standardised(*arrays), regression.there(arrays[1]))


def used(method):
    """Which modalities are looked at."""
    return getattr(method.fitted, "regression", method.fitted).used.tolist()


def plain_z(train, test):
    """Standardised features of each modality, by numpy."""
    found = []
    for name in ("text", "vision", "audio"):
        unit, own = (
            (v := getattr(b, name).double().numpy()) / np.linalg.norm(v, axis=1)[:, None] for b in (train, test)
        )
        deviation = unit.std(axis=0)
        found.append((own - unit.mean(axis=0)) / np.maximum(deviation, 1e-3 * deviation.max()))
    return found


def test_distances_are_those_of_the_formula():
    train, test = clips(), clips(10, seed=1)
    method = fitted(train, distance_power=0.5, ridge=0.02)
    label, found = train.label.numpy(), deltas_of(method, test)
    for m, (z, own) in enumerate(zip(plain_z(train, train), plain_z(train, test), strict=True)):
        means = np.stack([z[label == k].mean(axis=0) for k in range(3)])
        shape = LedoitWolf(assume_centered=True).fit(z - means[label]).covariance_ + 0.02 * np.eye(z.shape[1])
        values, vectors = np.linalg.eigh(shape)
        root = vectors @ np.diag(values**-0.25) @ vectors.T

        def squared(x, root=root, means=means):
            return (((x[:, None] - means) @ root) ** 2).sum(axis=2)

        spread = squared(z)[np.arange(len(z)), label].mean()
        np.testing.assert_allclose(found[m], squared(own) / spread, rtol=1e-9)
    np.testing.assert_allclose(distance_of(method, test), found.sum(axis=0).min(axis=1), rtol=1e-12)


def test_power_0_is_euclid_and_1_is_mahalanobis():
    train = clips()
    z = plain_z(train, train)[0]
    means = np.stack([z[train.label == k].mean(axis=0) for k in range(3)])
    inner = z - means[train.label]
    shape = LedoitWolf(assume_centered=True).fit(inner).covariance_ + 0.01 * np.eye(z.shape[1])
    for power, wanted in ((0, (inner**2).sum(1)), (1, np.einsum("ni,ij,nj->n", inner, np.linalg.inv(shape), inner))):
        method = fitted(train, distance_power=power)
        own = deltas_of(method, train)[0][np.arange(60), train.label]
        np.testing.assert_allclose(own, wanted / wanted.mean(), rtol=1e-8)


def test_the_label_is_that_of_a_logistic_regression_on_the_joined_features():
    train, test = clips(spread=2), clips(10, seed=1, spread=2)
    x, own = (np.concatenate([z / z.shape[1] ** 0.5 for z in plain_z(train, b)], axis=1) for b in (train, test))
    wanted = LogisticRegression(C=1, tol=1e-10, max_iter=10_000).fit(x, train.label.numpy()).decision_function(own)
    for base in ("logistic", "distance_mm"):
        np.testing.assert_allclose(fitted(train, base).predict(test).logits.numpy(), wanted, atol=1e-5)
    found = fitted(train, "logistic").predict(test)
    assert torch.equal(found.score, log_max_softmax(found.logits))
    np.testing.assert_allclose(found.features["fused"].numpy(), own, rtol=1e-9)
    loose = fitted(train, "logistic", logistic_c=0.01).predict(test)
    assert loose.logits.abs().max() < found.logits.abs().max()


def test_the_score_is_the_sum_of_two_values_scaled_by_clips_that_were_held_out():
    train, test = clips(), clips(10, seed=1)
    method = fitted(train)
    held = []
    for inside, outside in folds(train, 3):
        assert not set(train.group[inside].tolist()) & set(train.group[outside].tolist())
        fold, rest = fitted(take(train, inside)), take(train, outside)
        nearest = deltas_of(fold, rest).sum(0).min(1)
        held += list(zip(-nearest, fold.predict(rest).logits.amax(1), strict=True))
    held = np.array(held, dtype=float)
    assert len(held) == len(train.row)
    logits = method.predict(test).logits
    own = np.stack([-deltas_of(method, test).sum(0).min(1), logits.amax(1).numpy()], axis=1)
    wanted = ((own - held.mean(axis=0)) / held.std(axis=0)).sum(axis=1)
    np.testing.assert_allclose(method.predict(test).score.numpy(), wanted, rtol=1e-6)


def test_training_clips_are_scored_by_fits_that_have_not_seen_their_group():
    train = clips(spread=0.8)
    method, lonely = fitted(train), fitted(clips(groups=1))
    wanted = np.full(len(train.row), np.nan)
    # one fold a group: there are six
    for inside, outside in folds(train, 10):
        fold, rest = fitted(take(train, inside)), take(train, outside)
        own = np.stack([-deltas_of(fold, rest).sum(0).min(1), fold.predict(rest).logits.amax(1).numpy()], axis=1)
        wanted[outside] = ((own - method.fitted.centre) / method.fitted.scale).sum(axis=1)
    found = method.training_score(train.split(7))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
    # a threshold from them accepts the share of new known clips that it was asked to, one from seen clips does not
    new = method.predict(clips(60, seed=1, spread=0.8)).score
    assert (new >= found.quantile(0.1)).float().mean() > 0.9
    assert (new >= method.predict(train).score.quantile(0.1)).float().mean() < 0.8
    assert lonely.training_score([clips(groups=1)]).isnan().all()


def test_far_clips_score_lower_and_known_ones_are_told_apart():
    train, test = clips(spread=0.3), clips(60, seed=1, spread=0.3, far=24)
    known = (test.label >= 0).numpy()
    found = fitted(train).predict(test)
    assert roc_auc_score(known, found.score.numpy()) > 0.99
    assert found.logits.argmax(1)[test.label >= 0].tolist() == test.label[test.label >= 0].tolist()
    assert found.score.numpy()[known].min() > found.score.numpy()[~known].mean()


@pytest.mark.parametrize("base", ["distance_mm", "logistic"])
def test_scaling_the_features_of_a_modality_changes_nothing(base):
    train, test = clips(), clips(10, seed=1)
    wanted = fitted(train, base).predict(test)
    found = fitted(train._replace(vision=train.vision * 8), base).predict(test._replace(vision=test.vision * 8))
    torch.testing.assert_close(found.score, wanted.score, rtol=1e-9, atol=1e-9)
    assert torch.equal(found.features["vision"], test.vision * 8)


@pytest.mark.parametrize("base", ["distance_mm", "logistic"])
def test_the_order_of_the_clips_does_not_matter(base):
    train, test = clips(), clips(10, seed=1)
    order = torch.randperm(len(train.row), generator=torch.Generator().manual_seed(1))
    wanted, found = fitted(train, base).predict(test), fitted(take(train, order), base).predict(test)
    torch.testing.assert_close(found.logits, wanted.logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.score, wanted.score, rtol=0, atol=1e-4)


def without(batch, modality, rows):
    """The batch without a modality in some rows, whose features are what nobody must look at."""
    missing, features = batch.missing.clone(), [batch.text.clone(), batch.vision.clone(), batch.audio.clone()]
    missing[rows, modality] = True
    features[modality][rows] = torch.randn(len(rows), WIDTHS[modality]) * 1e3
    return batch._replace(missing=missing, **dict(zip(("text", "vision", "audio"), features, strict=True)))


@pytest.mark.parametrize("base", ["distance_mm", "logistic"])
def test_what_stands_in_for_an_absent_part_enters_nowhere(base):
    train, test = clips(), clips(10, seed=1)
    one, other = (fitted(without(train, 0, [0, 1, 7]), base) for _ in range(2))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    one, other = (fitted(train, base).predict(without(test, 2, [3])) for _ in range(2))
    assert torch.equal(one.score, other.score) and torch.equal(one.logits, other.logits)


def test_an_absent_part_leaves_the_sum_whose_rest_is_scaled_up():
    train, test = clips(600, spread=1), clips(600, seed=1, spread=1)
    method = fitted(train)
    whole, rows = deltas_of(method, test), list(range(600))
    lacks = without(test, 1, rows)
    np.testing.assert_allclose(distance_of(method, lacks), 1.5 * (whole[0] + whole[2]).min(1), rtol=1e-12)
    single = without(lacks, 0, rows)
    np.testing.assert_allclose(distance_of(method, single), 3 * whole[2].min(1), rtol=1e-12)
    # so that a known clip is expected at about 3 with and without
    own = np.arange(600), test.label.numpy()
    means = [float(part[own].mean()) for part in (whole.sum(0), 1.5 * (whole[0] + whole[2]), 3 * whole[2])]
    assert all(abs(mean - 3) < 0.2 for mean in means), means


def test_a_clip_with_nothing_has_the_lowest_score_and_the_label_of_the_intercept():
    train = clips()
    train = take(train, torch.cat([torch.arange(60), torch.arange(1, 60, 3)]))  # class 1 twice as often
    test = clips(10, seed=1, far=5)
    for modality in range(3):
        test = without(test, modality, [4])
    found = fitted(train).predict(test)
    assert torch.isfinite(found.score.float()).all() and found.score.argmin() == 4 and found.score[4] == LOWEST
    assert found.logits[4].argmax() == 1


@pytest.mark.parametrize("base", ["distance_mm", "logistic"])
def test_training_clips_with_nothing_and_modalities_that_nobody_has(base):
    train, test, rows = clips(), clips(10, seed=1), list(range(60))
    empty = train
    for modality in range(3):
        empty = without(empty, modality, [0, 5])
    assert torch.isfinite(fitted(empty, base).predict(test).score).all()
    # a modality of no training clip is not looked at in a test clip either
    silent = fitted(without(train, 2, rows), base)
    assert used(silent) == [True, True, False]
    assert torch.equal(silent.predict(test).score, silent.predict(without(test, 2, [1, 2])).score)
    # nor is one that is the same in all of them, as the feature of empty words
    same = fitted(train._replace(text=train.text[:1].expand(60, -1)), base)
    assert used(same) == [False, True, True] and torch.isfinite(same.predict(test).score).all()
    # a class without sound: its mean is that of the training clips
    deaf = fitted(without(train, 2, [i for i in rows if i % 3 == 0]), base)
    assert torch.isfinite(deaf.predict(test).score).all()


@pytest.mark.parametrize("base", ["distance_mm", "logistic"])
def test_two_classes_have_two_logits_that_sum_to_0(base):
    train, test = clips(known=2), clips(12, known=2, seed=1)
    found = fitted(train, base, classes=CLASSES[:2]).predict(test)
    assert found.logits.shape == (12, 2) and found.logits.argmax(1).tolist() == test.label.tolist()
    torch.testing.assert_close(found.logits.sum(1), torch.zeros(12, dtype=torch.float64))
    x = np.concatenate([z / z.shape[1] ** 0.5 for z in plain_z(train, test)], axis=1)
    own = np.concatenate([z / z.shape[1] ** 0.5 for z in plain_z(train, train)], axis=1)
    wanted = LogisticRegression(C=1, tol=1e-10, max_iter=10_000).fit(own, train.label.numpy()).decision_function(x)
    np.testing.assert_allclose((found.logits[:, 1] - found.logits[:, 0]).numpy(), wanted, atol=1e-5)


def test_a_class_that_a_folds_other_groups_lack_is_not_known_there():
    train = clips()
    # every group has one class only, and class 2 has one group: beside its fold it vanishes
    train = train._replace(group=torch.where(train.label == 2, 9, train.label * 3 + torch.arange(60) // 3 % 3))
    method = fitted(train)
    held = measured_outside(train)
    assert 0 < len(held) <= 40 and np.isfinite(held).all()
    assert torch.isfinite(method.predict(clips(10, seed=1)).score).all()
    # each class in one group: beside a fold of one of two classes only the other is left, and nothing can be measured
    two = clips(known=2)
    two = two._replace(group=two.label)
    assert not len(measured_outside(two, CLASSES[:2]))
    assert torch.isfinite(fitted(two, classes=CLASSES[:2]).predict(two).score).all()


def test_with_one_group_the_training_clips_are_measured_and_it_is_said(capsys):
    train = clips(groups=1)
    method = fitted(train)
    assert capsys.readouterr().err.count("no group of training clips can be held out") == 1
    own = method.fitted.measure(*clip_arrays(train))
    np.testing.assert_allclose(method.fitted.centre, own.mean(0), rtol=1e-12)
    assert torch.isfinite(method.predict(clips(10, seed=1)).score).all()
    fitted(clips(groups=2))
    assert not capsys.readouterr().err


def test_fewer_groups_make_fewer_folds_and_clips_without_a_group_are_their_own():
    assert [len(list(folds(clips(groups=n), 3))) for n in (1, 2, 3, 6)] == [0, 2, 3, 3]
    assert len(list(folds(clips()._replace(group=None), 5))) == 5
    few = take(clips(), torch.tensor([0, 1, 2]))  # one clip a class
    assert not list(folds(few, 3))
    assert torch.isfinite(fitted(few).predict(clips(10, seed=1)).score).all()


@pytest.mark.parametrize("base", ["distance_mm", "logistic"])
def test_checkpoint_and_repeated_run_have_the_same_bits(base, tmp_path):
    train, test = clips(), clips(10, seed=1)
    method = fitted(train, base)
    assert all(value.dtype in (torch.float64, torch.bool) for value in method.state_dict().values())
    save_checkpoint(tmp_path / "model.safetensors", method.state_dict(), {})
    other = type(method)(CLASSES, SIZES, None, settings_for(base))
    other.load_state_dict(read_checkpoint(tmp_path / "model.safetensors")[0])
    assert torch.equal(other.predict(test).score, method.predict(test).score)
    # a run that ended before its checkpoint is fitted again; it takes no step, so no state of it is kept
    again = type(method)(CLASSES, SIZES, None, settings_for(base))
    trainer = Trainer(again, MemoryFeed(train), settings_for(base), 0, tmp_path / "work")
    trainer.feed.groups = train.group
    assert trainer.run() == [] and not (tmp_path / "work").exists()
    assert all(torch.equal(value, method.state_dict()[name]) for name, value in again.state_dict().items())


def test_one_clip_at_a_time_scores_as_all_at_once():
    train, test = clips(), clips(10, seed=1)
    method = fitted(train)
    parts = torch.cat([method.predict(part).score for part in test.split(1)])
    torch.testing.assert_close(parts, method.predict(test).score, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("base, cls", [("distance_mm", DistanceMM), ("logistic", Logistic)])
def test_a_run_fits_on_its_training_clips_alone_and_knows_their_groups(cache, tmp_path, base, cls, monkeypatch):
    seen = []
    finish = cls.finish

    def noting(self, batches):
        seen.append(list(batches))
        finish(self, seen[-1])

    monkeypatch.setattr(cls, "finish", noting)
    scores, history = run(cache, tmp_path, base)
    data = Run(inputs_of(cache, base), cls, settings_for(base), 0)
    assert data.split.val, "this split holds clips out"
    groups = sorted(set(data.split.groups.values()))
    found = [groups[int(number)] for batch in seen[0] for number in batch.group]
    assert found == [data.split.groups[clip] for clip in data.split.train]
    assert sum(len(batch.row) for batch in seen[0]) == len(data.split.train) and history == []
    assert np.isfinite(scores.score).all() and np.isfinite(scores.logits).all()
    assert set(scores.features) == {"text", "vision", "audio", "fused"}
    # another seed draws nothing else
    again, _ = run(cache, tmp_path / "again", base, seed=5)
    assert np.array_equal(again.score, scores.score)


def test_operations_that_numpy_does_are_counted():
    encoders = shape_only(INFO)
    found = {}
    for base, cls in (("distance_mm", DistanceMM), ("logistic", Logistic)):
        found[base] = count_flops(cls, CLASSES, SIZES, encoders, settings_for(base))
    # a product with each metric and with the centres
    squares = sum(width**2 for width in WIDTHS)
    assert found["distance_mm"] - found["logistic"] == 2 * (squares + 3 * sum(WIDTHS))
    assert found["logistic"] > 2 * 3 * sum(WIDTHS)
