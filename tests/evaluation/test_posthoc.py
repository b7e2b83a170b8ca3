"""The table of post-hoc scores of one run: its rows, the distance, replicates and errors."""

from __future__ import annotations

import numpy as np
import pytest
from sample_scores import make_scores

from hcep.errors import HcepError
from hcep.evaluation.bootstrap import bootstrap
from hcep.evaluation.detectors import LOGIT_SCORES
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


def linear_scores(**fields):
    """A run of 60 training clips whose logits are linear in its fused feature of 4."""
    scores = make_scores(**fields)
    weight = np.random.default_rng(5).normal(size=(3, 4))
    return scores._replace(logits=scores.features["fused"].astype(float) @ weight.T + 2)


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


def class_ids(scores):
    """Which clips are training clips, and their class ids."""
    train = scores.part == "train"
    return train, np.array([scores.classes.index(name) for name in scores.label[train].tolist()])


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
    train, label = class_ids(scores)
    missing = np.array(
        [[flag in text.split(";") for flag in ("no_text", "no_video", "no_audio")] for text in scores.flags]
    )
    features = {name: scores.features[name] for name in ("text", "vision", "audio")}
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
    nothing = np.arange(180) % 20 == 0
    bare = scores._replace(flags=np.where(nothing, "no_text;no_video;no_audio", ""))
    train, ids = class_ids(bare)
    for _, _, values, _ in _distance_scores(bare, train, ids, OPTIONS):
        assert np.isfinite(values).all() and values[nothing].max() < values[~nothing].min()
        assert values[~nothing].std() < 100
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
    for one, other in zip(*(_distance_scores(r, *class_ids(r), OPTIONS) for r in (scores, cut)), strict=True):
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
