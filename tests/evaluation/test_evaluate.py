"""Scores file, thresholds and the evaluation of one run."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
from reseal import reseal
from sample_scores import make_scores

from hcep.errors import HcepError
from hcep.evaluation.bootstrap import bootstrap
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.metrics import METRICS, open_set, open_set_metrics
from hcep.evaluation.replicates import read_evaluated
from hcep.evaluation.scores import group_keys, read_scores, write_scores
from hcep.evaluation.thresholds import ACCEPTANCE, choose_thresholds, threshold_table
from hcep.files import read_table, sha256_file
from hcep.seal import read_sealed_json

OUTPUTS = ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5")


def run_evaluate(folder, scores, **options):
    write_scores(folder / "scores.h5", scores)
    paths = [folder / name for name in OUTPUTS]
    evaluate(folder / "scores.h5", *paths, **({"replicates": 100, "seed": 0} | options))
    return read_sealed_json(paths[0]), read_table(paths[1]), read_table(paths[2])


def test_scores_survive_the_file(tmp_path):
    scores = make_scores(flags=np.array(["", "no_text", "no_audio"] * 60))
    write_scores(tmp_path / "scores.h5", scores)
    back = read_scores(tmp_path / "scores.h5")
    for name, value in scores._asdict().items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(back, name), value)
        elif name == "features":
            np.testing.assert_array_equal(back.features["fused"], value["fused"])
        else:
            assert getattr(back, name) == value
    assert back.score.dtype == back.logits.dtype == np.float64
    assert read_scores(tmp_path / "scores.h5", features=False).features == {}
    with h5py.File(tmp_path / "scores.h5") as handle:
        assert json.loads(handle.attrs["classes"]) == ["anger", "joy", "fear"]
        assert handle["features/fused"].dtype == np.float32


def test_the_same_scores_give_the_same_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_scores(tmp_path / name, make_scores())
    assert sha256_file(tmp_path / "a.h5") == sha256_file(tmp_path / "b.h5")


def change(scores, name, row, value):
    values = getattr(scores, name).astype(object).copy()
    values[row] = value
    return scores._replace(**{name: values.astype(getattr(scores, name).dtype if name != "label" else str)})


@pytest.mark.parametrize(
    ("name", "row", "value", "cause"),
    [
        ("score", 7, np.nan, "score is not finite"),
        ("score", 7, np.inf, "score is not finite"),
        ("logits", 7, np.nan, "logit is not finite"),
        ("part", 7, "val", "part must be"),
        ("label", 7, "disgust", "outside the known classes"),
        ("label", 61, "joy", "label of a known class"),
        ("part", 61, "train", "unknown clip is in the training part"),
        ("prediction", 7, "shame", "no known class"),
        ("group", 7, "", "no group"),
        ("clip", 7, "clip 0003 ä", "listed twice"),
    ],
)
def test_bad_rows_are_named(tmp_path, name, row, value, cause):
    scores = change(make_scores(), name, row, value)
    with pytest.raises(HcepError, match=cause) as caught:
        write_scores(tmp_path / "scores.h5", scores)
    assert "scores.h5" in str(caught.value)
    assert f"clip {scores.clip[row]}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_bad_scores_written_elsewhere_are_refused_on_reading(tmp_path):
    file = tmp_path / "scores.h5"
    write_scores(file, make_scores())
    with h5py.File(file, "r+") as handle:
        handle["score"][64] = np.nan
    with pytest.raises(HcepError, match="its score does not match its digest"):
        read_scores(file)
    reseal(file)
    with pytest.raises(HcepError, match="clip clip 0064 ä: the score is not finite"):
        read_scores(file)
    with h5py.File(file, "r+") as handle:
        del handle["score"]
    with pytest.raises(HcepError, match="its content does not match its digest"):
        read_scores(file)
    reseal(file)
    with pytest.raises(HcepError, match=r"scores\.h5: is not a whole HDF5 file.*'score'.*run the score step"):
        read_scores(file)
    file.write_bytes(b"no HDF5")
    with pytest.raises(HcepError, match=r"scores\.h5: is not a whole HDF5 file.*run the score step"):
        read_scores(file)
    with pytest.raises(HcepError, match=r"absent\.h5: is missing.*run the score step"):
        read_scores(tmp_path / "absent.h5")


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"logits": np.zeros((180, 4))}, "logits has shape"),
        ({"score": np.zeros(179)}, "score has shape"),
        ({"classes": ("anger", "anger", "fear")}, "distinct"),
        ({"features": {"fused": np.zeros((9, 4))}}, "features/fused has shape"),
        ({"features": {"smell": np.zeros((180, 4))}}, "unknown feature"),
    ],
)
def test_bad_shapes_are_refused(tmp_path, fields, cause):
    with pytest.raises(HcepError, match=cause):
        write_scores(tmp_path / "scores.h5", make_scores(**fields))


def test_evaluate_writes_metrics_curves_and_thresholds(tmp_path):
    scores = make_scores()
    metrics, curves, thresholds = run_evaluate(tmp_path, scores)
    wanted = open_set_metrics(open_set(scores))
    for name in METRICS:
        assert metrics[name]["value"] == wanted[name]
        assert metrics[name]["lo"] < wanted[name] < metrics[name]["hi"]
    assert (metrics["n_known"], metrics["n_unknown"], metrics["n_groups"], metrics["n_train"]) == (60, 60, 12, 60)
    assert (metrics["task"], metrics["method"], metrics["openness"]) == ("demo", "hcep", "k3u2")
    assert (metrics["stand_in"], metrics["text_kind"], metrics["selection"]) == (True, "asr", "last")
    assert list(curves[0].items()) == [("threshold", "inf"), ("tpr", "0.0"), ("ccr", "0.0"), ("fpr", "0.0")]
    points = {name: np.array([float(row[name]) for row in curves]) for name in curves[0]}
    assert np.trapezoid(points["ccr"], points["fpr"]) == pytest.approx(wanted["oscr"])
    assert [row["acceptance"] for row in thresholds if row["default"] == "true"] == ["0.95"]
    assert len(thresholds) == len(ACCEPTANCE)


def test_replicates_are_those_of_the_bootstrap_behind_the_intervals(tmp_path):
    scores = make_scores()
    written = run_evaluate(tmp_path, scores, confidence=0.8)[0]
    metrics, values = read_evaluated(tmp_path)
    draws = bootstrap(open_set(scores), group_keys(scores)[scores.part == "test"], replicates=100, seed=0).values
    assert metrics == written and tuple(values) == METRICS
    for name in METRICS:
        assert values[name].dtype == np.float64
        np.testing.assert_array_equal(values[name], draws[name])
        low, high = np.percentile(values[name], [10, 90])
        assert (metrics[name]["lo"], metrics[name]["hi"]) == pytest.approx((low, high), abs=1e-15)
    assert metrics["digests"]["scores"] == sha256_file(tmp_path / "scores.h5")


def test_the_digest_of_the_test_clips_sees_names_labels_groups_and_classes_alone(tmp_path):
    scores = make_scores()
    test = np.flatnonzero(scores.part == "test")
    renamed, regrouped = scores.clip.copy(), scores.group.copy()
    renamed[test[3]], regrouped[test[3]] = "other", "speaker99"
    swapped = scores.label.copy()
    swapped[test[1]] = "shame" if swapped[test[1]] == "disgust" else "disgust"
    training = scores.group.copy()
    training[0] = "speaker99"
    order = np.random.default_rng(0).permutation(len(scores.clip))
    fields = {name: value[order] for name, value in scores._asdict().items() if isinstance(value, np.ndarray)}
    shuffled = scores._replace(**fields, features={})

    def digest_of(name, **changed):
        base = changed.pop("base", scores)
        return run_evaluate(tmp_path / name, base._replace(**changed))[0]["digests"]["test_clips"]

    plain = digest_of("plain")
    assert digest_of("score", score=scores.score + 1) == digest_of("order", base=shuffled) == plain
    assert digest_of("training", group=training) == plain
    more = {"classes": (*scores.classes, "pride"), "logits": np.zeros((180, 4))}
    others = [digest_of("clip", clip=renamed), digest_of("group", group=regrouped), digest_of("label", label=swapped)]
    others.append(digest_of("classes", **more))
    assert len({plain, *others}) == 5


def test_groups_of_two_datasets_stay_apart(tmp_path):
    dataset = np.array(["mafw", "cmu_mosei", "cmu_mosei"] * 60)
    scores = make_scores(dataset=dataset)
    pairs = {
        pair for pair, part in zip(zip(dataset, scores.group, strict=True), scores.part, strict=True) if part == "test"
    }
    assert run_evaluate(tmp_path, scores)[0]["n_groups"] == len(pairs) > 12


def test_evaluate_is_repeatable(tmp_path):
    for name in ("a", "b"):
        run_evaluate(tmp_path / name, make_scores())
    for name in OUTPUTS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_training_clips_do_not_enter_the_metrics(tmp_path):
    scores = make_scores()
    moved = scores._replace(score=np.where(scores.part == "train", 99.0, scores.score))
    first, second = run_evaluate(tmp_path / "a", scores)[0], run_evaluate(tmp_path / "b", moved)[0]
    assert first["digests"].pop("scores") != second["digests"].pop("scores")
    assert first == second


@pytest.mark.parametrize(
    ("drop", "cause"),
    [("train", "no training clip"), ("known", "known and unknown"), ("unknown", "known and unknown")],
)
def test_a_missing_part_is_an_error_that_names_the_file(tmp_path, drop, cause):
    scores = make_scores()
    test = scores.part == "test"
    keep = {"train": test, "known": ~(test & scores.known), "unknown": scores.known}[drop]
    fields = {name: value[keep] for name, value in scores._asdict().items() if isinstance(value, np.ndarray)}
    with pytest.raises(HcepError, match=cause) as caught:
        run_evaluate(tmp_path, scores._replace(**fields, features={}))
    assert caught.value.file == tmp_path / "scores.h5"


def test_theta_reads_no_unknown_clip(tmp_path):
    scores = make_scores()
    flipped = scores._replace(score=np.where(scores.known, scores.score, 1e3 - 7 * scores.score))
    first, second = run_evaluate(tmp_path / "a", scores)[2], run_evaluate(tmp_path / "b", flipped)[2]
    for before, after in zip(first, second, strict=True):
        same = ("acceptance", "threshold", "default", "test_tpr", "test_ccr")
        assert [before[name] for name in same] == [after[name] for name in same]
        assert float(before["test_fpr"]) < float(after["test_fpr"]) == 1


def test_thresholds_accept_the_wanted_share():
    train = np.random.default_rng(0).normal(size=997)
    for rate, theta in zip(ACCEPTANCE, choose_thresholds(train), strict=True):
        assert rate <= (train >= theta).mean() < rate + 1 / 997
    # .55 x 100 is 55 clips, though the binary product is a little above
    np.testing.assert_array_equal(choose_thresholds(np.arange(100.0), [0.55, 0.95, 1.0]), [45, 5, 0])
    np.testing.assert_array_equal(choose_thresholds([3.0], [0.01, 1.0]), [3, 3])


def test_threshold_table_by_hand():
    data = open_set(make_scores())
    row = threshold_table([0.0, 1.0], data, [0.5])[0]
    accepted, right = data.score >= 1.0, data.label == data.prediction
    assert row["threshold"] == 1.0
    assert row["test_tpr"] == pytest.approx(accepted[data.known].mean())
    assert row["test_ccr"] == pytest.approx((accepted & right)[data.known].mean())
    assert row["ccr_minus_fpr"] == pytest.approx(row["test_ccr"] - accepted[~data.known].mean())
    assert row["tpr_minus_fpr"] == pytest.approx(row["test_tpr"] - row["test_fpr"])
    assert row["default"] == "false"


@pytest.mark.parametrize(
    ("train", "rates", "cause"),
    [
        ([], [0.5], "no training clip"),
        ([np.nan], [0.5], "not finite"),
        ([1.0], [0.0], "lie in"),
        ([1.0], [1.5], "lie in"),
    ],
)
def test_bad_threshold_arguments_raise(train, rates, cause):
    with pytest.raises(HcepError, match=cause):
        choose_thresholds(train, rates)


def test_the_stage_does_not_import_torch():
    code = (
        "import sys, hcep.evaluation.evaluate, hcep.evaluation.aggregate, hcep.evaluation.versus_paper\n"
        "import hcep.evaluation.corpora, hcep.evaluation.tables, hcep.evaluation.posthoc\n"
        "sys.exit(any(name.split('.')[0] in ('torch', 'snakemake') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
