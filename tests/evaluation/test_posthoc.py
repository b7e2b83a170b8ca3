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
from sample_scores import make_scores

from hcep.errors import HcepError
from hcep.evaluation import detectors
from hcep.evaluation.bootstrap import bootstrap
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
from hcep.evaluation.distance import Options, fit_distance
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.metrics import open_set, open_set_metrics
from hcep.evaluation.posthoc import COLUMNS, DISTANCE_SCORES, METRICS, _distance_scores, pooled_feature, posthoc
from hcep.evaluation.replicates import read_evaluated, read_posthoc
from hcep.evaluation.scores import group_keys, write_scores
from hcep.files import read_table

OF_LOGITS = ["max_softmax", "max_logit", "energy", "entropy", "gen"]
OF_FEATURE = ["mahalanobis", "relative_mahalanobis", "mahalanobis_l2", "knn", "knn_1", "knn_5", "knn_10", "knn_50"]
OF_FEATURE += ["vim", "nnguide", "fdbd"]
# as declared for distance_mm; without its logistic regression
OPTIONS = Options(0.25, 0.01, None, 3)
ALL = ["own", *OF_LOGITS, *OF_FEATURE, *DISTANCE_SCORES]


def rows_of(scores, folder, **settings):
    """posthoc.csv of a run, by score; the bootstrap is short."""
    write_scores(folder / "scores.h5", scores)
    posthoc(folder / "scores.h5", folder / "posthoc.csv", folder / "posthoc.h5", **{"replicates": 20} | settings)
    return {row["score"]: row for row in read_table(folder / "posthoc.csv")}


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


def test_table_of_one_run(tmp_path):
    scores = linear_scores()
    rows = list(rows_of(scores, tmp_path, replicates=40).values())
    assert tuple(rows[0]) == COLUMNS and [row["score"] for row in rows] == ALL
    assert [row["feature"] for row in rows] == ["", *["logits"] * 5, *["fused"] * 11, *[""] * 3]
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
    # four features and 60 training clips: all that needs no feature of a modality is defined
    assert all(row["auroc"] for row in rows[:-3]) and not any(row["auroc"] for row in rows[-3:])
    assert {row["note"] for row in rows[-3:]} == {"no feature of a modality is stored"}
    smallest = min(np.unique(scores.label[~test], return_counts=True)[1])
    assert {row["score"]: row["note"] for row in rows[:-3] if row["note"]} == {
        "knn_50": f"k = {smallest}, the clips of the smallest class",
    }


def test_fitting_reads_no_test_clip():
    parts, _, _ = make_parts()
    moved = parts.features.copy()
    moved[-10:] += 100
    for fit in (mahalanobis, relative_mahalanobis, mahalanobis_l2, nearest_neighbours, nnguide):
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
    rows = list(rows_of(make_scores(features={}), tmp_path).values())
    assert [(row["score"], row["note"], row["auroc"]) for row in rows[6:]] == [
        *((name, "no feature is stored", "") for name in ALL[6:])
    ]


def separable(**fields):
    """A run with features of all modalities in which the unknown clips lie far away."""
    scores = make_scores(**fields)
    place = np.array([{"anger": 0, "joy": 1, "fear": 2}.get(name, 3) for name in scores.label.tolist()])
    features = {}
    for i, (name, width) in enumerate((("text", 5), ("vision", 6), ("audio", 4))):
        random = np.random.default_rng(i)
        centres = random.normal(size=(4, width))
        features[name] = (centres[place] + 0.3 * random.normal(size=(len(place), width))).astype(np.float32)
    return scores._replace(features=features | {"fused": scores.features["fused"]})


def test_the_distance_is_that_of_the_modalities_and_is_added_at_equal_scales(tmp_path):
    scores = separable()
    train = scores.part == "train"
    missing = np.array(
        [[flag in text.split(";") for flag in ("no_text", "no_video", "no_audio")] for text in scores.flags]
    )
    features = {name: scores.features[name] for name in ("text", "vision", "audio")}
    label = np.array([scores.classes.index(name) for name in scores.label[train].tolist()])
    own = {name: values[train] for name, values in features.items()}
    fitted = fit_distance(own, missing[train], label, group_keys(scores)[train], 3, OPTIONS._replace(logistic_c=1.0))
    near = fitted.measure(features, missing)[:, 0]
    scaled = (near - fitted.centre[0]) / fitted.scale[0]

    def z(values):
        return (values - values[train].mean()) / values[train].std()

    wanted = {"distance": near, "own+distance": z(scores.score) + scaled}
    wanted["max_logit+distance"] = z(scores.logits.max(axis=1)) + scaled
    rows, test = rows_of(scores, tmp_path), ~train
    for name, values in wanted.items():
        found = open_set_metrics(open_set(scores)._replace(score=values[test]))
        for metric in METRICS:
            assert float(rows[name][metric]) == pytest.approx(100 * found[metric], abs=1e-4)
        assert (rows[name]["feature"], rows[name]["note"]) == ("text+vision+audio", "")
    assert float(rows["distance"]["auroc"]) > 95 > float(rows["own"]["auroc"])
    # settings of distance_mm reach it
    other = rows_of(scores, tmp_path, ridge=100.0, distance_power=1.0)
    assert other["distance"] != rows["distance"] and other["mahalanobis"] == rows["mahalanobis"]


def test_the_distance_of_some_modalities_says_which(tmp_path):
    scores = separable()
    alone = scores._replace(features={"vision": scores.features["vision"]})
    rows = rows_of(alone, tmp_path)
    assert [(rows[name]["feature"], rows[name]["note"]) for name in DISTANCE_SCORES] == [
        ("vision", "of vision alone")
    ] * 3
    assert float(rows["distance"]["auroc"]) > 90
    # what stands for an absent sound is not looked at
    noisy = {name: values.copy() for name, values in scores.features.items()}
    noisy["audio"][np.char.find(scores.flags, "no_audio") >= 0] = 1e6
    found = rows_of(scores._replace(features=noisy), tmp_path)
    assert found["distance"]["auroc"] == rows_of(scores, tmp_path)["distance"]["auroc"]
    # a clip that has nothing is the least known, and training clips with nothing do not enter its scale
    flags = np.where(np.arange(180) % 20 == 0, "no_text;no_video;no_audio", "")
    assert np.isfinite(
        [float(rows_of(scores._replace(flags=flags), tmp_path)[n]["oscr"]) for n in DISTANCE_SCORES]
    ).all()
    same = {"text": np.ones((180, 3), np.float32)}
    assert {rows_of(scores._replace(features=same), tmp_path)[name]["note"] for name in DISTANCE_SCORES} == {
        "the features of all training clips are the same"
    }


def test_the_distance_says_where_no_group_could_be_held_out(tmp_path):
    scores = separable()
    group = np.where(scores.part == "train", "one", scores.group)
    rows = rows_of(scores._replace(group=group), tmp_path)
    assert rows["distance"]["note"].startswith("distance: no group of training clips can be held out")


def test_test_clips_decide_nothing_about_the_distance(tmp_path):
    scores = separable()
    test = np.flatnonzero(scores.part == "test")
    # without the last test clips, the others get the same scores
    fewer = np.setdiff1d(np.arange(180), test[-20:])
    tables = [name for name in scores._fields if isinstance(getattr(scores, name), np.ndarray)]
    cut = scores._replace(**{name: getattr(scores, name)[fewer] for name in tables})
    cut = cut._replace(features={name: values[fewer] for name, values in scores.features.items()})
    ids = np.array([scores.classes.index(name) for name in scores.label[scores.part == "train"].tolist()])
    for one, other in zip(*(_distance_scores(r, r.part == "train", ids, OPTIONS) for r in (scores, cut)), strict=True):
        np.testing.assert_allclose(one[2][fewer], other[2], rtol=1e-12)


def test_replicates_of_own_are_those_of_evaluate(tmp_path):
    rows = rows_of(separable(), tmp_path, replicates=100)
    files = (tmp_path / name for name in ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5"))
    evaluate(tmp_path / "scores.h5", *files, replicates=100)
    metrics, evaluated = read_evaluated(tmp_path)
    found, drawn = read_posthoc(tmp_path)
    for name in METRICS:
        np.testing.assert_array_equal(drawn[f"own {name}"], evaluated[name])
        assert found[f"own {name}"] == metrics[name]
        assert float(rows["own"][name]) == pytest.approx(100 * metrics[name]["value"], abs=1e-4)
    shared = set(metrics) & set(found) - {"digests"}
    assert {name: metrics[name] for name in shared} == {name: found[name] for name in shared} and "n_groups" in shared
    assert [entry["score"] for entry in found["scores"]] == ALL


def test_non_finite_features_and_scores_name_file_and_score(tmp_path, monkeypatch):
    file = tmp_path / "scores.h5"
    scores = linear_scores()
    fused = scores.features["fused"].copy()
    fused[65, 2] = np.nan
    write_scores(file, scores._replace(features={"fused": fused}))
    with pytest.raises(HcepError, match="clip 0065 ä: feature fused is not finite, so no score can be") as caught:
        posthoc(file, tmp_path / "posthoc.csv", tmp_path / "posthoc.h5", replicates=20)
    assert caught.value.file == file
    write_scores(file, scores)
    monkeypatch.setitem(LOGIT_SCORES, "energy", lambda logits: np.where(np.arange(180) == 70, np.inf, 0.0))
    with pytest.raises(HcepError, match="clip 0070 ä: post-hoc score energy is not finite for 1 clips") as caught:
        posthoc(file, tmp_path / "posthoc.csv", tmp_path / "posthoc.h5", replicates=20)
    assert caught.value.file == file
    assert not (tmp_path / "posthoc.csv").exists()


def test_a_class_without_training_clip_is_named(tmp_path):
    scores = linear_scores()
    label = np.where((scores.part == "train") & (scores.label == "fear"), "joy", scores.label)
    write_scores(tmp_path / "scores.h5", scores._replace(label=label))
    with pytest.raises(HcepError, match="no training clip of fear"):
        posthoc(tmp_path / "scores.h5", tmp_path / "posthoc.csv", tmp_path / "posthoc.h5", replicates=20)
