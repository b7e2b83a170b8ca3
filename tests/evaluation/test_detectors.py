"""Post-hoc scores against their formulas, written out, and against pytorch-ood where it is exact enough."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_ood.detector import (
    GEN,
    KNN,
    RMD,
    EnergyBased,
    Entropy,
    Mahalanobis,
    MaxLogit,
    MaxSoftmax,
    NNGuide,
    ViM,
    fDBD,
)

from hcep.evaluation import detectors
from hcep.evaluation.detectors import (
    FEATURE_SCORES,
    LOGIT_SCORES,
    Parts,
    fdbd,
    last_layer,
    mahalanobis,
    mahalanobis_l2,
    nearest_neighbours,
    negative_entropy,
    nnguide,
    principal_dimensions,
    relative_mahalanobis,
    vim,
    vim_score,
)

OF_LOGITS = ["max_softmax", "max_logit", "energy", "entropy", "gen"]
OF_FEATURE = ["mahalanobis", "relative_mahalanobis", "mahalanobis_l2", "knn", "knn_1", "knn_5", "knn_10", "knn_50"]
OF_FEATURE += ["vim", "nnguide", "fdbd"]


def make_parts(
    n: int = 90, m: int = 30, d: int = 6, k: int = 3, *, seed: int = 0
) -> tuple[Parts, np.ndarray, np.ndarray]:
    """Clips of `k` shifted clouds whose logits are linear in the feature; the parts, W and b."""
    random = np.random.default_rng(seed)
    label = random.integers(0, k, n)
    centres = random.normal(size=(k, d))
    features = np.concatenate([centres[label], centres[random.integers(0, k, m)]]) + random.normal(size=(n + m, d))
    weight, bias = random.normal(size=(k, d)), random.normal(size=k) + 3
    train = np.arange(n + m) < n
    return Parts(features @ weight.T + bias, features, train, label), weight, bias


def test_scores_of_one_row_of_logits_by_hand():
    # p = 1/6, 2/6, 3/6
    logits = np.log(np.array([[1.0, 2.0, 3.0]]))
    wanted = {
        "max_softmax": math.log(0.5),
        "max_logit": math.log(3),
        "energy": math.log(6),
        "entropy": sum(p * math.log(p) for p in (1 / 6, 1 / 3, 1 / 2)),
        "gen": -sum((p * (1 - p)) ** 0.1 for p in (1 / 6, 1 / 3, 1 / 2)),
    }
    assert {name: function(logits)[0] for name, function in LOGIT_SCORES.items()} == pytest.approx(wanted, abs=1e-14)


def test_logit_scores_agree_with_pytorch_ood_where_it_neither_rounds_nor_clips():
    logits = np.random.default_rng(0).normal(size=(200, 5))
    inputs = torch.from_numpy(logits)
    np.testing.assert_allclose(np.exp(LOGIT_SCORES["max_softmax"](logits)), -MaxSoftmax.score(inputs), atol=1e-14)
    np.testing.assert_allclose(negative_entropy(logits), -Entropy.score(inputs), atol=1e-13)
    np.testing.assert_array_equal(LOGIT_SCORES["max_logit"](logits), -MaxLogit.score(inputs))
    np.testing.assert_allclose(LOGIT_SCORES["energy"](logits), -EnergyBased.score(inputs), atol=1e-14)
    # it takes the mean over the classes
    np.testing.assert_allclose(LOGIT_SCORES["gen"](logits), -5 * GEN.score(inputs), atol=1e-13)
    # and of many classes the likeliest hundred
    many = np.random.default_rng(1).normal(size=(20, 130))
    wanted = -100 * GEN.score(torch.from_numpy(many), M=100)
    np.testing.assert_allclose(LOGIT_SCORES["gen"](many), wanted, rtol=1e-12)


def test_feature_scores_agree_with_pytorch_ood():
    parts, _, _ = make_parts()
    features, label = torch.from_numpy(parts.features), torch.from_numpy(parts.label)
    train = features[torch.from_numpy(parts.train)]
    knn = KNN(None, k=50).fit_features(train, label)
    np.testing.assert_allclose(nearest_neighbours(parts)[0], -knn.predict_features(features).numpy(), atol=1e-14)
    # its Mahalanobis makes its matrices in torch's default type
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        theirs = -Mahalanobis(None).fit_features(train, label).predict_features(features).numpy()
        relative = -RMD(None).fit_features(train, label).predict_features(features).numpy() / 2
        features = features / features.norm(dim=1, keepdim=True)
        train = features[torch.from_numpy(parts.train)]
        unit = -Mahalanobis(None).fit_features(train, label).predict_features(features).numpy()
    finally:
        torch.set_default_dtype(before)
    np.testing.assert_allclose(mahalanobis(parts)[0], theirs, rtol=1e-12)
    np.testing.assert_allclose(relative_mahalanobis(parts)[0], relative, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(mahalanobis_l2(parts)[0], unit, rtol=1e-10)


@pytest.mark.parametrize("k", [1, 5, 10, 50])
def test_neighbours_are_limited_by_the_smallest_class(k):
    parts, _, _ = make_parts()
    features, label = torch.from_numpy(parts.features), torch.from_numpy(parts.label)
    smallest = int(np.bincount(parts.label).min())
    knn = KNN(None, k=min(k, smallest)).fit_features(features[torch.from_numpy(parts.train)], label)
    values, note = FEATURE_SCORES[f"knn_{k}"](parts)
    np.testing.assert_allclose(values, -knn.predict_features(features).numpy(), atol=1e-14)
    assert smallest < 50 and note == ("" if k < 50 else f"k = {smallest}, the clips of the smallest class")


def linear_head(weight, bias):
    """The layer as pytorch-ood's detectors take it, in float32."""
    head = torch.nn.Linear(weight.shape[1], weight.shape[0])
    head.weight.data, head.bias.data = (torch.from_numpy(value).float() for value in (weight, bias))
    return head


def test_nnguide_by_its_definition_and_against_pytorch_ood(monkeypatch):
    parts, weight, bias = make_parts()
    energy = np.log(np.exp(parts.logits).sum(axis=1))
    unit = parts.features / np.linalg.norm(parts.features, axis=1, keepdims=True)
    products = (unit @ unit[parts.train].T) * energy[parts.train]
    wanted = np.sort(products, axis=1)[:, -10:].mean(axis=1) * energy
    values, note = nnguide(parts)
    np.testing.assert_allclose(values, wanted, rtol=1e-12)
    assert note == "" and (energy > 0).all()
    lower = nnguide(parts._replace(logits=parts.logits - 4))[1]
    assert lower == f"the energy of {(energy < 4).sum()} clips is below 0, where the product turns its order"
    monkeypatch.setattr(detectors, "CHUNK", 7)
    np.testing.assert_allclose(nnguide(parts)[0], values, rtol=1e-13)
    features = torch.from_numpy(parts.features).float()
    detector = NNGuide(None, linear_head(weight, bias))
    detector.fit_features(features[torch.from_numpy(parts.train)], torch.from_numpy(parts.label))
    np.testing.assert_allclose(values, -detector.predict_features(features).numpy(), rtol=1e-3, atol=1e-3)
    few, _, _ = make_parts(8)
    few = few._replace(logits=few.logits + 50)
    assert nnguide(few)[1] == "k = 8, all training clips"


def test_fdbd_by_its_definition_and_against_pytorch_ood():
    parts, weight, bias = make_parts()
    wanted = []
    for x, logits in zip(parts.features, parts.logits, strict=True):
        best = logits.argmax()
        steps = [(logits[best] - logits[k]) / np.linalg.norm(weight[best] - weight[k]) for k in range(3) if k != best]
        wanted.append(np.mean(steps) / np.linalg.norm(x - parts.features[parts.train].mean(axis=0)))
    values, note = fdbd(parts)
    np.testing.assert_allclose(values, wanted, rtol=1e-9)
    assert note == ""
    features = torch.from_numpy(parts.features).float()
    detector = fDBD(None, linear_head(weight, bias)).fit_features(features[torch.from_numpy(parts.train)])
    np.testing.assert_allclose(values, -detector.predict_features(features).numpy(), rtol=1e-3, atol=1e-4)
    # a term that all logits share changes nothing; logits that are not linear, or too few clips, define no boundary
    shared = parts._replace(logits=parts.logits + (parts.features**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(fdbd(shared)[0], values, rtol=1e-6)
    assert fdbd(parts._replace(logits=parts.logits**3))[1].startswith("the logits are not linear in the feature")
    assert fdbd(make_parts(6)[0]) == (None, "6 training clips do not determine a linear layer on 6 features")
    # K - 1 boundaries that are one hyperplane away from none: two classes with the same weights
    same = parts.features @ weight[[0, 0, 2]].T
    assert fdbd(parts._replace(logits=same))[0] is None


def test_a_feature_of_zeros_has_neighbours():
    parts, _, _ = make_parts()
    features = parts.features.copy()
    features[-1] = 0
    # unit vectors are one away from it
    assert nearest_neighbours(parts._replace(features=features))[0][-1] == pytest.approx(-1)


def test_confident_clips_keep_their_order():
    logits = np.array([[100.0, 0, 0], [60.0, 0, 0], [45.0, 0, 0], [20.0, 0, 0]])
    inputs = torch.from_numpy(logits)
    # what pytorch-ood makes of them: all but the last are one value
    assert len(set((-MaxSoftmax.score(inputs)).tolist())) < 4 and len(set((-Entropy.score(inputs)).tolist())) < 4
    assert len(set((-GEN.score(inputs)).tolist())) < 4
    for name in ("max_softmax", "entropy", "gen"):
        assert (np.diff(LOGIT_SCORES[name](logits)) < 0).all()
    # -2 q log q - p log p with q = exp(-20) / (1 + 2 exp(-20)), p = 1 - 2 q
    q = math.exp(-20) / (1 + 2 * math.exp(-20))
    wanted = 2 * q * math.log(q) + (1 - 2 * q) * math.log1p(-2 * q)
    assert negative_entropy(logits)[3] == pytest.approx(wanted, rel=1e-12)


def test_mahalanobis_is_half_the_distance_to_the_nearest_mean():
    parts, _, _ = make_parts()
    train = parts.features[parts.train]
    means = [train[parts.label == k].mean(axis=0) for k in range(3)]
    scatter = sum((train[parts.label == k] - means[k]).T @ (train[parts.label == k] - means[k]) for k in range(3))
    inverse = np.linalg.inv(scatter + 1e-6 * np.eye(6))
    wanted = [-min((x - mean) @ inverse @ (x - mean) for mean in means) / 2 for x in parts.features]
    values, note = mahalanobis(parts)
    np.testing.assert_allclose(values, wanted, rtol=1e-9)
    assert values.dtype == np.float64 and note == ""
    few = Parts(parts.logits, parts.features, np.arange(120) < 7, np.array([0, 1, 2, 0, 1, 2, 0]))
    assert "7 training clips in 6 dimensions is singular" in mahalanobis(few)[1]


@pytest.mark.parametrize(("n", "k"), [(90, 50), (20, 20)])
def test_nearest_neighbour_is_the_fiftieth(n, k):
    parts, _, _ = make_parts(n)
    unit = parts.features / np.linalg.norm(parts.features, axis=1, keepdims=True)
    distances = np.sqrt(((unit[:, None] - unit[parts.train][None]) ** 2).sum(axis=2))
    values, note = nearest_neighbours(parts)
    np.testing.assert_allclose(values, -np.sort(distances, axis=1)[:, k - 1], atol=1e-12)
    assert note == ("" if k == 50 else "k = 20, all training clips")


def test_vim_by_its_definition_and_against_pytorch_ood():
    parts, weight, bias = make_parts()
    train = parts.features[parts.train]
    origin = -np.linalg.lstsq(weight, bias, rcond=None)[0]
    np.testing.assert_allclose(weight @ origin + bias, 0, atol=1e-12)
    # the principal subspace from the singular vectors of the centred clips, half of the six dimensions
    principal = np.linalg.svd(train - origin, full_matrices=False)[2][:3]

    def residual(x):
        return np.linalg.norm((x - origin) - (x - origin) @ principal.T @ principal, axis=1)

    alpha = (train @ weight.T + bias).max(axis=1).mean() / residual(train).mean()
    wanted = np.log(np.exp(parts.features @ weight.T + bias).sum(axis=1)) - alpha * residual(parts.features)
    np.testing.assert_allclose(vim_score(parts.features, train, weight, bias), wanted, atol=1e-9)
    detector = ViM(None, 3, torch.from_numpy(weight), torch.from_numpy(bias))
    detector.fit_features(torch.from_numpy(train), torch.zeros(len(train)))
    theirs = -detector.predict_features(torch.from_numpy(parts.features)).numpy()
    np.testing.assert_allclose(vim_score(parts.features, train, weight, bias), theirs, rtol=1e-3, atol=1e-3)


def test_the_last_layer_is_found_in_the_logits():
    parts, weight, bias = make_parts()
    found = last_layer(parts.features, parts.logits, parts.train)
    np.testing.assert_allclose(found[0], weight, atol=1e-12)
    np.testing.assert_allclose(found[1], bias, atol=1e-12)
    assert found[2] < 1e-12
    np.testing.assert_allclose(
        vim(parts)[0], vim_score(parts.features, parts.features[parts.train], weight, bias), atol=1e-9
    )


def test_vim_is_left_to_linear_layers():
    parts, weight, bias = make_parts()
    # ARPL's logits: linear but for a term that is the same for every class
    squared = (parts.features**2).sum(axis=1, keepdims=True)
    values, note = vim(parts._replace(logits=parts.logits + squared))
    weight, bias = weight - weight.mean(axis=0), bias - bias.mean()
    np.testing.assert_allclose(
        values, vim_score(parts.features, parts.features[parts.train], weight, bias), rtol=1e-6, atol=1e-6
    )
    assert note == "logits less their mean over the classes"
    values, note = vim(parts._replace(logits=parts.logits**3))
    assert values is None and note.startswith("the logits are not linear in the feature (residual")
    few, _, _ = make_parts(6)
    assert vim(few) == (None, "6 training clips do not determine a linear layer on 6 features")


def test_principal_dimensions():
    assert [principal_dimensions(d) for d in (64, 512, 768, 1792, 2048)] == [32, 256, 512, 512, 1000]


def test_fitting_reads_no_test_clip():
    parts, _, _ = make_parts()
    moved = parts.features.copy()
    moved[-10:] += 100
    for fit in (mahalanobis, relative_mahalanobis, mahalanobis_l2, nearest_neighbours, nnguide):
        np.testing.assert_array_equal(fit(parts._replace(features=moved))[0][:-10], fit(parts)[0][:-10])
    other = parts._replace(features=moved, logits=np.concatenate([parts.logits[:-10], parts.logits[-10:] + 50]))
    found, wanted = (last_layer(p.features, p.logits, p.train) for p in (other, parts))
    np.testing.assert_array_equal(found[0], wanted[0])
