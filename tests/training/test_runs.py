"""train, score and encode on a small cache: checkpoints, epoch selection, reuse of features, mismatches named."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from reseal import change_json, reseal
from small import AUDIO, CLIP, INFO, settings_for
from small_cache import LABELS, inputs_of, run

from hcep import registry
from hcep.config.methods import METHODS, base_method
from hcep.encoders.folder import build_audio, build_clip, load_encoders, save_encoders
from hcep.encoders.info import read_info
from hcep.errors import HcepError
from hcep.evaluation.runs import _kept_history
from hcep.evaluation.scores import read_scores
from hcep.evaluation.select import judge_on_test
from hcep.files import write_table
from hcep.media.store import ClipStore
from hcep.methods.method import MODALITIES
from hcep.protocol.make_split import make_split, read_split
from hcep.training import loop
from hcep.training.checkpoint import read_checkpoint, save_state
from hcep.training.encode import encode
from hcep.training.feed import FeatureFeed, MediaFeed
from hcep.training.run import Inputs, Run
from hcep.training.score import score
from hcep.training.train import train
from hcep.training.tune import tune, with_validation


@pytest.mark.parametrize("base", sorted(METHODS))
def test_every_method_trains_and_scores_every_clip_of_its_split(cache, tmp_path, base):
    scores, rows = run(cache, tmp_path, base)
    split = json.loads((cache / "split.json").read_text())
    assert scores.clip.tolist() == split["train"] + split["test_known"] + split["test_unknown"]
    assert (scores.part == "train").sum() == len(split["train"])
    assert scores.known.tolist() == [label in split["known"] for label in scores.label]
    wanted = (
        {"text", "vision", "audio", "fused"}
        if registry.load(base_method(base).target).towers == MODALITIES
        else {"vision"}
    )
    assert set(scores.features) == wanted and scores.stand_in
    assert scores.classes == ("anger", "happiness") and scores.text_kind == "caption"
    assert scores.method == f"{base}_row"
    if "epochs" in base_method(base).model_fields:
        assert scores.settings["lr"] == 0.005 and len(rows) == 3 and "val_accuracy" in rows[0]
    else:
        assert "lr" not in scores.settings and rows == []
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").iterdir())


def test_the_checkpoint_says_what_it_was_made_with(cache, tmp_path):
    run(cache, tmp_path)
    _, metadata = read_checkpoint(tmp_path / "model.safetensors")
    assert metadata["classes"] == ["anger", "happiness"] and metadata["encoder"]["name"] == "small"
    assert metadata["settings"] == settings_for("linear") and "torch" in metadata["versions"] and metadata["epoch"] == 3


def test_features_are_the_encoders_own_and_media_methods_see_the_same(cache):
    media, features = inputs_of(cache, "hcep"), inputs_of(cache, "linear")
    from hcep.methods.features import encode_media

    one = Run(media, registry.load("hcep.methods.hcep:HCEP"), settings_for("hcep"), 0)
    two = Run(features, registry.load("hcep.methods.linear:Linear"), settings_for("linear"), 0)
    clips = ["fear3", "anger2", "sadness7"]
    rows = torch.arange(3)
    with torch.no_grad():
        direct = encode_media(media.encoders, one.feed(clips).batch(rows))
    cached = two.feed(clips).batch(rows)
    for name in ("text", "vision", "audio"):
        torch.testing.assert_close(getattr(cached, name), getattr(direct, name), atol=1e-5, rtol=1e-4)
    assert cached.missing.tolist() == [[False] * 3, [True, False, False], [False] * 3]
    assert cached.label.tolist() == [-1, 0, -1]


def test_clips_on_disk_and_in_memory_train_alike(cache, tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    kept, _ = run(cache, tmp_path / "a", "hcep", epochs=1, resident_gb=1)
    read, _ = run(cache, tmp_path / "b", "hcep", epochs=1, resident_gb=0)
    np.testing.assert_array_equal(kept.logits, read.logits)


def test_movement_in_the_tables_is_of_the_epoch_that_was_kept(tmp_path):
    write_table(
        tmp_path / "history.csv", ["epoch", "movement_x"], [{"epoch": e, "movement_x": e / 10} for e in (1, 2, 3)]
    )
    assert _kept_history(tmp_path / "history.csv", 2) == {"movement_x": "0.2"}
    assert _kept_history(tmp_path / "history.csv", None) == {"movement_x": "0.3"}
    assert _kept_history(tmp_path / "none.csv", 2) == {}


def test_an_empty_shard_is_encoded_to_no_rows(cache, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClipStore, "clips", lambda self, shard=None: [])
        settings = {"batch_size": 4, "precision": "fp32", "device": "cpu"}
        encode(cache / "index.h5", "000-of-002", tmp_path / "f.h5", load_encoders(cache / "encoder"), settings)
    with h5py.File(tmp_path / "f.h5") as file:
        assert {name: file[name].shape for name in file} == {
            "clip": (0,), "flags": (0,), "text": (0, 32), "vision": (0, 32), "audio": (0, 40),
        }  # fmt: skip


def test_selection_by_held_out_known_clips(cache, tmp_path):
    _, rows = run(cache, tmp_path, selection="val_known", epochs=5)
    best = max(rows, key=lambda row: float(row["val_accuracy"]))
    _, metadata = read_checkpoint(tmp_path / "model.safetensors")
    assert metadata["epoch"] == int(float(best["epoch"]))
    assert not any(key.startswith("test_") for key in rows[0])


def test_selection_on_test_is_recorded_as_such(cache, tmp_path):
    scores, rows = run(cache, tmp_path, selection="best_on_test", judge=judge_on_test)
    assert scores.settings["selection"] == "best_on_test" and {"test_auroc", "test_oscr"} <= set(rows[0])


def test_selection_without_held_out_clips_is_refused(cache, tmp_path):
    other = tmp_path / "split.json"
    split = json.loads((cache / other.name).read_text())
    shutil.copy(cache / other.name, other)
    change_json(other, val=[], train=split["train"] + split["val"])
    inputs = inputs_of(cache, "linear")
    inputs = Inputs(other, inputs.index, inputs.features, inputs.encoder, None)
    with pytest.raises(HcepError, match=r"split\.json: selection: val_known needs held-out clips.*val_fraction"):
        train(
            inputs, registry.load("hcep.methods.linear:Linear"), settings_for("linear", selection="val_known"),
            name="x", seed=0, code="c", model=tmp_path / "m", history=tmp_path / "h", work=tmp_path / "w",
        )  # fmt: skip


def test_a_checkpoint_of_other_classes_or_encoders_is_refused(cache, tmp_path):
    run(cache, tmp_path)
    cls, inputs = registry.load("hcep.methods.linear:Linear"), inputs_of(cache, "linear")
    other = Inputs(inputs.split, inputs.index, inputs.features, inputs.encoder | {"sha256": {"x": "y"}}, None)
    with pytest.raises(HcepError, match="other weights of small"):
        score(other, cls, tmp_path / "model.safetensors", tmp_path / "s.h5", tmp_path / "t.json")
    text = (cache / "splits.yaml").read_text().replace("anger, happiness", "anger, fear")
    (tmp_path / "splits.yaml").write_text(text.replace("fear, sadness", "happiness, sadness"))
    make_split(
        cache / "manifest.tsv", tmp_path / "splits.yaml", "t", "k2u2", "split1", tmp_path / "split.json",
        labels=LABELS, test_folds=["test"],
    )  # fmt: skip
    moved = Inputs(tmp_path / "split.json", inputs.index, inputs.features, inputs.encoder, None)
    with pytest.raises(HcepError, match="other classes"):
        score(moved, cls, tmp_path / "model.safetensors", tmp_path / "s.h5", tmp_path / "t.json")


def test_features_of_an_older_index_are_refused_by_the_first_missing_clip(cache, tmp_path):
    short = tmp_path / "000-of-001.h5"
    with h5py.File(cache / "features" / "000-of-002.h5") as source, h5py.File(short, "w") as target:
        for name in source:
            target.create_dataset(name, data=source[name][:1])
        target.attrs.update(source.attrs)
    reseal(short)
    inputs = inputs_of(cache, "linear")
    with pytest.raises(HcepError, match=r"clips of the split have no features, first .*hcep encode"):
        train(
            Inputs(inputs.split, inputs.index, [short], inputs.encoder, None),
            registry.load("hcep.methods.linear:Linear"), settings_for("linear"),
            name="x", seed=0, code="c", model=tmp_path / "m", history=tmp_path / "h", work=tmp_path / "w",
        )  # fmt: skip


@pytest.mark.parametrize("attribute", ["encoder", "index"])
def test_features_of_another_encoder_or_index_are_refused(cache, tmp_path, attribute):
    other = tmp_path / "000-of-002.h5"
    shutil.copy(cache / "features" / other.name, other)
    with h5py.File(other, "a") as file:
        file.attrs[attribute] = "another"
    reseal(other)
    inputs = inputs_of(cache, "linear")
    with pytest.raises(HcepError, match=rf"000-of-002\.h5: was made with another {attribute}.*hcep encode"):
        train(
            Inputs(inputs.split, inputs.index, [other], inputs.encoder, None),
            registry.load("hcep.methods.linear:Linear"),
            settings_for("linear"),
            name="x",
            seed=0,
            code="c",
            model=tmp_path / "m",
            history=tmp_path / "h",
            work=tmp_path / "w",
        )


def test_a_cache_of_another_frame_size_is_refused(cache, tmp_path):
    info = INFO | {"clip": CLIP | {"vision_cfg": CLIP["vision_cfg"] | {"image_size": 64}}}
    save_encoders(tmp_path, build_clip(info["clip"]), build_audio(AUDIO), info)
    inputs = Inputs(cache / "split.json", [cache / "index.h5"], [], read_info(tmp_path), load_encoders(tmp_path))
    with pytest.raises(HcepError, match=r"frames are 32 x 32, encoder small takes 64.*`size`"):
        train(
            inputs, registry.load("hcep.methods.hcep:HCEP"), settings_for("hcep"), name="x", seed=0, code="c",
            model=tmp_path / "m", history=tmp_path / "h", work=tmp_path / "w",
        )  # fmt: skip


def run_tune(cache, folder, grid, base="linear", split="split.json", **changes):
    inputs = inputs_of(cache, base)
    inputs = Inputs(cache / split, inputs.index, inputs.features, inputs.encoder, inputs.encoders)
    tune(
        inputs, registry.load(base_method(base).target), settings_for(base, **changes), grid,
        name=f"{base}_tuned", seed=0, code="c", output=folder / "tuned.json", work=folder / "work",
    )  # fmt: skip
    return json.loads((folder / "tuned.json").read_text())


def test_tuning_keeps_the_point_that_is_best_on_held_out_known_clips(cache, tmp_path):
    # with a rate of nothing the classifier stays at its random start; with a good one it learns the two tones
    found = run_tune(cache, tmp_path, {"lr": [1e-12, 0.05]}, epochs=20, lr_step=20)
    assert found["chosen"] == {"lr": 0.05} and found["held_out"] == len(read_split(cache / "split.json").val)
    assert [row["lr"] for row in found["grid"]] == [1e-12, 0.05]
    assert found["grid"][1]["val_accuracy"] > found["grid"][0]["val_accuracy"]
    assert not list((tmp_path / "work").iterdir())


def test_the_first_of_equal_points_wins_and_a_diverged_one_loses(cache, tmp_path, capsys):
    found = run_tune(cache, tmp_path, {"lr": [1e30, 1e-12, 1e-13]})
    assert "is nan" in found["grid"][0]["diverged"] or "is inf" in found["grid"][0]["diverged"]
    assert found["chosen"] == {"lr": 1e-12}
    held_out = len(read_split(cache / "split.json").val)
    said = capsys.readouterr().err
    assert f"of {held_out} held-out clips; 2 points are equal, the first was taken" in said
    assert 'tune linear_tuned: chose {"lr": 1e-12}, right on ' in said
    with pytest.raises(HcepError, match="every point of the grid diverged"):
        run_tune(cache, tmp_path / "all", {"lr": [1e30, 1e31]})
    with pytest.raises(HcepError, match=r"linear_tuned: its grid names `device`.*leave it out of `tune`"):
        run_tune(cache, tmp_path / "devices", {"device": ["cpu", "auto"]})


def test_tuning_reads_no_test_clip_and_no_unknown_class(cache, tmp_path, monkeypatch):
    split = read_split(cache / "split.json")
    seen: set[str] = set()
    monkeypatch.setattr(FeatureFeed, "__init__", spy(FeatureFeed.__init__, seen))
    run_tune(cache, tmp_path, {"lr": [0.01, 0.02]})
    assert seen == {*split.train, *split.val}


def test_the_rate_of_class_tokens_is_tuned_on_known_clips_alone_and_goes_into_the_checkpoint(
    cache, tmp_path, monkeypatch
):
    split, seen = read_split(cache / "split.json"), set()
    inputs, cls = inputs_of(cache, "hcep"), registry.load(base_method("hcep").target)
    with monkeypatch.context() as patch:
        patch.setattr(MediaFeed, "__init__", spy(MediaFeed.__init__, seen))
        found = run_tune(cache, tmp_path, {"prompt_lr_tokens": [0.002, 0.1]}, "hcep", class_prompts="tokens", epochs=2)
    assert seen == {*split.train, *split.val} and found["held_out"] == len(split.val)
    best = max(found["grid"], key=lambda row: row["val_accuracy"])
    assert found["chosen"] == {"prompt_lr_tokens": best["prompt_lr_tokens"]}
    # a run at another rate than the default, its checkpoint, and scores from that alone
    choice, model = {"chosen": {"prompt_lr_tokens": 0.1}, "grid": []}, tmp_path / "model.safetensors"
    moved = {}
    for name, tuned in (("default", []), ("chosen", [choice])):
        train(
            inputs, cls, settings_for("hcep", class_prompts="tokens"), tuned=tuned, name="hcep_tokens", seed=0,
            code="c", model=model, history=tmp_path / "history.csv", work=tmp_path / "work",
        )  # fmt: skip
        with (tmp_path / "history.csv").open() as handle:
            moved[name] = float(list(csv.DictReader(handle))[-1]["movement_delta_a_neg"])
    assert moved["chosen"] > 2 * moved["default"] > 0
    values, metadata = read_checkpoint(model)
    assert metadata["settings"]["prompt_lr_tokens"] == 0.1 and metadata["tuned"] == [choice]
    assert values["cuep.delta_v_pos"].shape == (2, 4, 48) and values["texts.tokens_neg"].shape == (2, 4, 32)
    scored = [score(inputs, cls, model, tmp_path / f"{n}.h5", tmp_path / "t.json") for n in "ab"]
    one, other = (read_scores(tmp_path / f"{n}.h5") for n in "ab")
    assert scored == [None, None] and np.isfinite(one.score).all()
    np.testing.assert_array_equal(one.score, other.score)


def test_everything_that_decides_a_result_names_its_resume_state(cache, tmp_path, monkeypatch):
    cls, inputs = registry.load("hcep.methods.linear:Linear"), inputs_of(cache, "linear")

    def name_of(changed=inputs, seed=0, job=("train", "linear", "c"), device="cpu", **settings):
        run = Run(changed, cls, settings_for("linear", **settings), seed)
        run.device = torch.device(device)
        return run.folder(tmp_path, *job).name

    for name, source in (("split.json", "split.json"), ("index.h5", "index.h5"), ("other.h5", "index.h5")):
        shutil.copy(cache / source, tmp_path / name)
    names = [name_of(), name_of(seed=1), name_of(lr=0.1), name_of(device="cuda")]
    names += [name_of(job=job) for job in (("tune", "linear", "c"), ("train", "x", "c"), ("train", "linear", "d"))]
    with (tmp_path / "split.json").open("a") as file:
        file.write(" ")
    with h5py.File(tmp_path / "other.h5", "a") as file:
        file.attrs["digest"] = "other"
    reseal(tmp_path / "other.h5")
    for changes in (
        {"split": tmp_path / "split.json"},
        {"index": [tmp_path / "other.h5"]},
        {"features": inputs.features[:1]},
        {"encoder": inputs.encoder | {"sha256": {"clip": "other"}}},
    ):
        names.append(name_of(replace(inputs, **changes)))
    assert len(set(names)) == len(names) == 11
    # the same files elsewhere are the same data
    assert name_of(replace(inputs, index=[tmp_path / "index.h5"])) == names[0] == name_of()


class Interrupted(BaseException):
    """A power cut."""


def test_an_interrupted_tune_goes_on_over_the_same_features_and_begins_anew_over_others(
    cache, tmp_path, monkeypatch, capsys
):
    inputs = inputs_of(cache, "linear")
    shutil.copytree(cache / "features", tmp_path / "features")
    features = sorted((tmp_path / "features").glob("*.h5"))
    inputs = Inputs(inputs.split, inputs.index, features, inputs.encoder, None)

    def tuned(folder):
        tune(
            inputs, registry.load("hcep.methods.linear:Linear"), settings_for("linear", epochs=3), {"lr": [0.01, 0.02]},
            name="x", seed=0, code="c", output=tmp_path / "tuned.json", work=folder,
        )  # fmt: skip
        return capsys.readouterr().err, (tmp_path / "tuned.json").read_bytes()

    def interrupted(path, state):
        save_state(path, state)
        raise Interrupted

    for folder in ("same", "changed"):
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(loop, "save_state", interrupted)
            tuned(tmp_path / folder)
    assert "goes on after epoch 1" in tuned(tmp_path / "same")[0]
    for path in features:
        with h5py.File(path, "a") as file:
            file["text"][:] = -2 * file["text"][:]
        reseal(path)
    said, found = tuned(tmp_path / "changed")
    assert "goes on" not in said, "a state of other features is continued"
    assert found == tuned(tmp_path / "fresh")[1]


def spy(real, seen):
    def look(self, shards, clips, *arguments):
        seen.update(clips)
        real(self, shards, clips, *arguments)

    return look


def test_without_held_out_clips_whole_groups_of_training_clips_are_held_out(cache):
    split = read_split(cache / "split.json")
    own = split._replace(train=tuple(sorted(split.train + split.val)), val=())
    found = with_validation(own, 0)
    assert with_validation(split, 0) == split
    assert set(found.train) | set(found.val) == set(own.train) and not set(found.train) & set(found.val)
    assert 0 < len(found.val) <= 0.5 * len(own.train)
    assert not {own.groups[clip] for clip in found.train} & {own.groups[clip] for clip in found.val}


def test_where_no_group_can_be_held_out_to_tune_the_remedy_is_the_tasks(cache):
    split = read_split(cache / "split.json")
    one = split._replace(train=split.train + split.val, val=(), groups=dict.fromkeys(split.groups, "anna"))
    with pytest.raises(HcepError, match=r"no group of training clips can be held out.*val_folds or val_fraction"):
        with_validation(one, 0)


def test_the_choice_goes_over_the_settings_and_into_the_checkpoint(cache, tmp_path):
    inputs, choice = inputs_of(cache, "linear"), {"chosen": {"lr": 0.0125}, "grid": []}
    train(
        inputs, registry.load(base_method("linear").target), settings_for("linear"), tuned=[choice],
        name="linear_tuned", seed=0, code="c", model=tmp_path / "model.safetensors",
        history=tmp_path / "history.csv", work=tmp_path / "work",
    )  # fmt: skip
    _, metadata = read_checkpoint(tmp_path / "model.safetensors")
    assert metadata["settings"]["lr"] == 0.0125 and metadata["tuned"] == [choice]
    with (tmp_path / "history.csv").open() as handle:
        assert float(next(csv.DictReader(handle))["lr"]) == 0.0125
