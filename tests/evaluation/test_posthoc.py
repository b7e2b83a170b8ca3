"""Post-hoc scores against their formulas, written out, and against pytorch-ood where it is exact enough."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_ood.detector import KNN, EnergyBased, Entropy, Mahalanobis, MaxLogit, MaxSoftmax, ViM
from sample_scores import make_scores

from hcep.errors import HcepError
from hcep.evaluation import posthoc as module
from hcep.evaluation.bootstrap import bootstrap
from hcep.evaluation.metrics import open_set, open_set_metrics
from hcep.evaluation.posthoc import (
    COLUMNS,
    LOGIT_SCORES,
    Parts,
    last_layer,
    mahalanobis,
    nearest_neighbours,
    negative_entropy,
    pooled_feature,
    posthoc,
    principal_dimensions,
    vim,
    vim_score,
)
from hcep.evaluation.scores import group_keys, write_scores
from hcep.files import read_table

ALL = ["own", "max_softmax", "max_logit", "energy", "entropy", "mahalanobis", "knn", "vim"]


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


def linear_scores(**fields):
    """A run of 60 training clips whose logits are linear in its fused feature of 4."""
    scores = make_scores(**fields)
    weight = np.random.default_rng(5).normal(size=(3, 4))
    return scores._replace(logits=scores.features["fused"].astype(float) @ weight.T + 2)


def test_scores_of_one_row_of_logits_by_hand():
    # p = 1/6, 2/6, 3/6
    logits = np.log(np.array([[1.0, 2.0, 3.0]]))
    wanted = {
        "max_softmax": math.log(0.5),
        "max_logit": math.log(3),
        "energy": math.log(6),
        "entropy": sum(p * math.log(p) for p in (1 / 6, 1 / 3, 1 / 2)),
    }
    assert {name: function(logits)[0] for name, function in LOGIT_SCORES.items()} == pytest.approx(wanted, abs=1e-14)


def test_logit_scores_agree_with_pytorch_ood_where_it_neither_rounds_nor_clips():
    logits = np.random.default_rng(0).normal(size=(200, 5))
    inputs = torch.from_numpy(logits)
    np.testing.assert_allclose(np.exp(LOGIT_SCORES["max_softmax"](logits)), -MaxSoftmax.score(inputs), atol=1e-14)
    np.testing.assert_allclose(negative_entropy(logits), -Entropy.score(inputs), atol=1e-13)
    np.testing.assert_array_equal(LOGIT_SCORES["max_logit"](logits), -MaxLogit.score(inputs))
    np.testing.assert_allclose(LOGIT_SCORES["energy"](logits), -EnergyBased.score(inputs), atol=1e-14)


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
    finally:
        torch.set_default_dtype(before)
    np.testing.assert_allclose(mahalanobis(parts)[0], theirs, rtol=1e-12)


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
    for name in ("max_softmax", "entropy"):
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


def test_table_of_one_run(tmp_path):
    scores = linear_scores()
    write_scores(tmp_path / "scores.h5", scores)
    posthoc(tmp_path / "scores.h5", tmp_path / "posthoc.csv", replicates=40)
    rows = read_table(tmp_path / "posthoc.csv")
    assert tuple(rows[0]) == COLUMNS and [row["score"] for row in rows] == ALL
    assert [row["feature"] for row in rows] == ["", *["logits"] * 4, *["fused"] * 3]
    test = scores.part == "test"
    for row, values in ((rows[0], scores.score), (rows[3], np.log(np.exp(scores.logits).sum(axis=1)))):
        data = open_set(scores)._replace(score=values[test])
        wanted = open_set_metrics(data)
        draws = bootstrap(data, group_keys(scores)[test], replicates=40).values
        for name in ("auroc", "oscr", "fpr95"):
            assert float(row[name]) == pytest.approx(100 * wanted[name], abs=1e-4)
            low, high = np.percentile(draws[name], [2.5, 97.5])
            assert float(row[f"{name}_lo"]) == pytest.approx(100 * low, abs=1e-4)
            assert float(row[f"{name}_hi"]) == pytest.approx(100 * high, abs=1e-4)
    assert (rows[7]["stand_in"], rows[7]["text_kind"], rows[7]["selection"]) == ("true", "asr", "last")
    # four features, three of the 60 training clips' classes: everything is defined
    assert {row["note"] for row in rows} == {""} and all(row["auroc"] for row in rows)


def test_fitting_reads_no_test_clip():
    parts, _, _ = make_parts()
    moved = parts.features.copy()
    moved[-10:] += 100
    for fit in (mahalanobis, nearest_neighbours):
        np.testing.assert_array_equal(fit(parts._replace(features=moved))[0][:-10], fit(parts)[0][:-10])
    other = parts._replace(features=moved, logits=np.concatenate([parts.logits[:-10], parts.logits[-10:] + 50]))
    found, wanted = (last_layer(p.features, p.logits, p.train) for p in (other, parts))
    np.testing.assert_array_equal(found[0], wanted[0])


def test_joined_modalities_stand_in_for_a_fused_feature(tmp_path):
    random = np.random.default_rng(0)
    features = {name: random.normal(size=(180, d)).astype(np.float32) for name, d in (("vision", 2), ("text", 3))}
    name, values = pooled_feature(make_scores(features=features))
    assert name == "text+vision"
    np.testing.assert_array_equal(values, np.concatenate([features["text"], features["vision"]], axis=1))
    write_scores(tmp_path / "scores.h5", make_scores(features={}))
    posthoc(tmp_path / "scores.h5", tmp_path / "posthoc.csv", replicates=20)
    rows = read_table(tmp_path / "posthoc.csv")
    assert [(row["score"], row["note"], row["auroc"]) for row in rows[5:]] == [
        *((name, "no feature is stored", "") for name in ALL[5:])
    ]


def test_non_finite_features_and_scores_name_file_and_score(tmp_path, monkeypatch):
    file = tmp_path / "scores.h5"
    scores = linear_scores()
    fused = scores.features["fused"].copy()
    fused[65, 2] = np.nan
    write_scores(file, scores._replace(features={"fused": fused}))
    with pytest.raises(HcepError, match="clip 0065 ä: feature fused is not finite, so mahalanobis, knn, vim") as caught:
        posthoc(file, tmp_path / "posthoc.csv", replicates=20)
    assert caught.value.file == file
    write_scores(file, scores)
    monkeypatch.setitem(module.LOGIT_SCORES, "energy", lambda logits: np.where(np.arange(180) == 70, np.inf, 0.0))
    with pytest.raises(HcepError, match="clip 0070 ä: post-hoc score energy is not finite for 1 clips") as caught:
        posthoc(file, tmp_path / "posthoc.csv", replicates=20)
    assert caught.value.file == file
    assert not (tmp_path / "posthoc.csv").exists()


def test_a_class_without_training_clip_is_named(tmp_path):
    scores = linear_scores()
    label = np.where((scores.part == "train") & (scores.label == "fear"), "joy", scores.label)
    write_scores(tmp_path / "scores.h5", scores._replace(label=label))
    with pytest.raises(HcepError, match="no training clip of fear"):
        posthoc(tmp_path / "scores.h5", tmp_path / "posthoc.csv", replicates=20)
