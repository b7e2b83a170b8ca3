"""A trained run on disturbed test clips: nothing changed gives the clean scores, and files of two runs are refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from reseal import reseal
from small_cache import inputs_of, run

from hcep import registry
from hcep.config.entries import Robustness
from hcep.config.methods import METHODS, base_method
from hcep.encoders.folder import load_encoders
from hcep.errors import HcepError
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.replicates import read_evaluated, read_robustness
from hcep.evaluation.robustness import COLUMNS, METRICS
from hcep.files import read_table
from hcep.media.disturb import DisturbedStore
from hcep.methods.method import MODALITIES
from hcep.training import robustness as module
from hcep.training.checkpoint import read_checkpoint, save_checkpoint
from hcep.training.robustness import robustness

BOOTSTRAP = {"replicates": 40, "confidence": 0.95, "seed": 0}
ZERO = {"dropped_frames": [0], "blur": [0], "shift_ms": [0], "word_errors": [0]}


class Made(NamedTuple):
    """robustness.csv, and what the method said at each level."""

    rows: list[dict[str, str]]
    said: dict[str, Any]


def disturb(cache: Path, folder: Path, base: str, levels: dict[str, Any], patch: pytest.MonkeyPatch, **changes) -> Made:
    """Disturb a run that lies in `folder`."""
    said: dict[str, Any] = {}
    inputs = replace(inputs_of(cache, base), **changes)
    wrapped = module.write_robustness

    def noting(run, source, outcomes, *rest, **more):
        kept = list(outcomes)
        said.update({f"{one.kind} {one.level}": one for one in kept})
        wrapped(run, source, kept, *rest, **more)

    patch.setattr(module, "write_robustness", noting)
    files = (folder / name for name in ("model.safetensors", "scores.h5", "robustness.csv", "robustness.h5"))
    encoders = load_encoders(cache / "encoder") if base_method(base).inputs == "features" else None
    target = registry.load(base_method(base).target)
    robustness(inputs, encoders, target, *files, levels, disturbance_seed=0, **BOOTSTRAP)
    return Made(read_table(folder / "robustness.csv"), said)


@pytest.mark.parametrize("base", sorted(METHODS))
def test_a_level_that_changes_nothing_gives_the_scores_of_the_run(cache, tmp_path, base, monkeypatch):
    scores, _ = run(cache, tmp_path, base, **({"epochs": 2} if "epochs" in base_method(base).model_fields else {}))
    test = scores.part == "test"
    made = disturb(cache, tmp_path, base, ZERO | {"missing": ["vision"]}, monkeypatch)
    for kind in ZERO:
        np.testing.assert_array_equal(made.said[f"{kind} 0"].score, scores.score[test])
        assert made.said[f"{kind} 0"].prediction.tolist() == scores.prediction[test].tolist()
        assert made.said[f"{kind} 0"].changed == 0
    # and one that does change something is not answered from a cache of the method
    gone = made.said["missing vision"]
    assert gone.changed == test.sum()
    # after two epochs a method may still say the same of every clip
    assert np.ptp(scores.score[test]) == 0 or (gone.score != scores.score[test]).any()


@pytest.mark.parametrize("base", ["hcep", "linear"])
def test_rows_have_intervals_on_the_runs_own_draws_and_the_difference_from_the_clean_clips(
    cache, tmp_path, base, monkeypatch
):
    run(cache, tmp_path, base)
    outputs = (tmp_path / name for name in ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5"))
    evaluate(tmp_path / "scores.h5", *outputs, **BOOTSTRAP)
    levels = {"white_noise_db": [20, -10], "blur": [0.2], "missing": list(MODALITIES)}
    made = disturb(cache, tmp_path, base, levels, monkeypatch)
    assert tuple(made.rows[0]) == COLUMNS
    assert [(row["kind"], row["level"]) for row in made.rows] == [
        ("clean", ""), ("white_noise_db", "20"), ("white_noise_db", "-10"), ("blur", "0.2"),
        ("missing", "text"), ("missing", "vision"), ("missing", "audio"),
    ]  # fmt: skip
    metrics, replicates = read_evaluated(tmp_path)
    content, drawn = read_robustness(tmp_path)
    assert content["digests"]["test_clips"] == metrics["digests"]["test_clips"]
    for name in METRICS:
        np.testing.assert_array_equal(drawn[f"clean {name}"], replicates[name])
        clean, blurred = made.rows[0], made.rows[3]
        assert float(clean[name]) == pytest.approx(100 * metrics[name]["value"], abs=1e-4)
        gap = float(blurred[name]) - float(clean[name])
        assert float(blurred[f"{name}_minus_clean"]) == pytest.approx(gap, abs=2e-4)
        draws = drawn[f"blur 0.2 {name}"] - replicates[name]
        ends = 100 * np.nanpercentile(draws, [2.5, 97.5])
        found = [float(blurred[f"{name}_minus_clean_{end}"]) for end in ("lo", "hi")]
        assert found == pytest.approx(ends, abs=1e-4)
    # every test clip has all modalities
    assert {row["clips"] for row in made.rows} == {"8"} and made.rows[4]["changed"] == "8"


def test_levels_do_not_depend_on_each_other(cache, tmp_path, monkeypatch):
    run(cache, tmp_path, "hcep", epochs=1, prompts="frozen")
    levels = {"white_noise_db": [0], "blur": [0.1], "word_errors": [1]}
    one = disturb(cache, tmp_path, "hcep", levels, monkeypatch)
    other = disturb(cache, tmp_path, "hcep", dict(reversed(levels.items())), monkeypatch)
    for name, outcome in one.said.items():
        np.testing.assert_array_equal(outcome.score, other.said[name].score)
    # frozen prompts keep the features of a clip by its number: a second feed must not get those of the first
    assert len({outcome.score.tobytes() for outcome in one.said.values()}) == 3


def test_methods_on_features_and_on_media_see_the_same_disturbed_clips(cache, tmp_path, monkeypatch):
    media, cached = tmp_path / "hcep", tmp_path / "linear"
    # with zeros for what is missing, the flags are looked at too
    run(cache, media, "hcep", sample_prompts=False, missing="zero_feature")
    run(cache, cached, "linear", missing="zero_feature")
    seen: dict[str, Any] = {}
    predict = module.Run.predict

    def noting(self, method, feed, *rest, **more):
        found = predict(self, method, feed, *rest, **more)
        seen.setdefault(self.method_class.inputs, []).append(found.features)
        return found

    monkeypatch.setattr(module.Run, "predict", noting)
    levels = {"white_noise_db": [0], "dropped_frames": [0.5], "word_errors": [0.5], "missing": list(MODALITIES)}
    disturb(cache, media, "hcep", levels, monkeypatch)
    disturb(cache, cached, "linear", levels, monkeypatch)
    inside, cached_features = seen["media"][-7:], seen["features"][-7:]
    for own, other in zip(inside, cached_features, strict=True):
        for name in MODALITIES:
            torch.testing.assert_close(own[name], other[name], atol=1e-4, rtol=1e-3)


def test_what_cannot_be_applied_has_no_numbers_and_says_why(cache, tmp_path, monkeypatch):
    run(cache, tmp_path)
    # no clip with words or sound
    monkeypatch.setattr(DisturbedStore, "left_alone", lambda self, clips: ["without words"] * len(clips))
    made = disturb(cache, tmp_path, "linear", {"word_errors": [0.5]}, monkeypatch)
    row = made.rows[1]
    assert row["auroc"] == row["oscr_lo"] == row["accuracy_minus_clean"] == "" and row["changed"] == "0"
    assert row["note"] == "not applied: 8 of 8 clips without words"
    # features that a user supplied: nothing can be encoded again
    names = ("model.safetensors", "scores.h5", "robustness.csv", "robustness.h5")
    target = registry.load(base_method("linear").target)
    files = [tmp_path / name for name in names]
    robustness(inputs_of(cache, "linear"), None, target, *files, {"blur": [0.1]}, disturbance_seed=0, **BOOTSTRAP)
    assert read_table(tmp_path / "robustness.csv")[1]["note"].startswith("not applied: the features were supplied")


def test_files_of_different_runs_are_refused(cache, tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"
    run(cache, one, seed=0)
    run(cache, other, seed=1)

    def refused(folder: Path, match: str, **changes) -> None:
        with pytest.raises(HcepError, match=match):
            disturb(cache, folder, "linear", {"blur": [0.1]}, monkeypatch, **changes)
        assert not (folder / "robustness.csv").exists() and not (folder / "robustness.h5").exists()

    mixed = tmp_path / "mixed"
    shutil.copytree(one, mixed)
    shutil.copy(other / "scores.h5", mixed)
    refused(mixed, "seed of the scores is not that of")
    info = inputs_of(cache, "linear").encoder
    refused(one, "other weights of small", encoder=info | {"sha256": {"x": "y"}})
    split = (cache / "split.json").read_text()
    (tmp_path / "classes.json").write_text(
        split.replace('"known": [\n  "anger",\n  "happiness"', '"known": [\n  "happiness",\n  "anger"')
    )
    reseal(tmp_path / "classes.json")
    refused(one, "trained on other classes", split=tmp_path / "classes.json")
    # the same seed and settings, other weights
    shutil.copy(one / "scores.h5", mixed)
    state, metadata = read_checkpoint(one / "model.safetensors")
    save_checkpoint(mixed / "model.safetensors", {name: value + 0.5 for name, value in state.items()}, metadata)
    refused(mixed, "gives other scores for")


def test_the_levels_of_the_configuration_are_those_that_are_drawn(cache, tmp_path, monkeypatch):
    run(cache, tmp_path)
    levels = Robustness().model_dump(exclude={"disturbance_seed"})
    made = disturb(cache, tmp_path, "linear", levels, monkeypatch)
    assert len(made.rows) == 1 + sum(map(len, levels.values()))
