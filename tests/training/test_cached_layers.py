"""Features of other audio layers through encode, train and score: their shape, their mark, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from small import AUDIO, CLIP, INFO, settings_for
from small_cache import inputs_of

from hcep import registry
from hcep.config.methods import base_method
from hcep.encoders.folder import build_audio, build_clip, load_encoders, save_encoders
from hcep.encoders.info import read_info
from hcep.errors import HcepError
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.scores import read_scores
from hcep.media.store import ClipStore
from hcep.training.checkpoint import read_checkpoint
from hcep.training.encode import encode
from hcep.training.run import Run
from hcep.training.score import score
from hcep.training.train import train

ENCODING = {"batch_size": 4, "precision": "fp32", "device": "cpu"}
EVALUATION = {"replicates": 100, "confidence": 0.95, "seed": 0, "acceptance": [0.95]}


@pytest.fixture(scope="module")
def layered(cache, tmp_path_factory):
    """By choice: inputs with the encoder of the cache, but for the audio layers that it reads."""
    root, found = tmp_path_factory.mktemp("layered"), {}
    for name, choice in (("last", None), ("mean", "mean"), ("one", [1]), ("learned", "learned")):
        folder = root / name
        torch.manual_seed(0)
        info = INFO | ({"audio_layers": choice} if choice else {})
        save_encoders(folder / "encoder", build_clip(CLIP), build_audio(AUDIO), info)
        encoders = load_encoders(folder / "encoder")
        for shard in ("000-of-002", "001-of-002"):
            encode(cache / "index.h5", shard, folder / f"{shard}.h5", encoders, ENCODING)
        shards = sorted(folder.glob("*.h5"))
        found[name] = replace(inputs_of(cache, "linear"), features=shards, encoder=read_info(folder / "encoder"))
    return found


def read(inputs, name):
    return np.concatenate([h5py.File(path)[name][()] for path in inputs.features])


def trained(inputs, folder, base="linear", **changes):
    cls = registry.load(base_method(base).target)
    train(
        inputs, cls, settings_for(base, **changes), name=f"{base}_row", seed=0, code="c",
        model=folder / "model.safetensors", history=folder / "history.csv", work=folder / "work",
    )  # fmt: skip
    score(inputs, cls, folder / "model.safetensors", folder / "scores.h5", folder / "timing.json")
    return read_scores(folder / "scores.h5")


def test_every_layers_feature_is_cached_and_the_others_are_their_means(cache, layered):
    learned = read(layered["learned"], "audio")
    assert learned.shape == (32, 3, 40) and learned.dtype == np.float32
    np.testing.assert_allclose(read(layered["mean"], "audio"), learned.mean(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(read(layered["one"], "audio"), learned[:, 1])
    np.testing.assert_array_equal(read(layered["last"], "audio"), learned[:, 2])
    for name, inputs in layered.items():
        np.testing.assert_array_equal(read(inputs, "vision"), read(layered["last"], "vision"), err_msg=name)
    # the features of the usual choice are those that were made before there was one
    with h5py.File(cache / "features/000-of-002.h5") as old, h5py.File(layered["last"].features[0]) as new:
        assert dict(old.attrs) == dict(new.attrs) and all((old[key][()] == new[key][()]).all() for key in old)
        assert json.loads(old.attrs["encoder"]).keys() == {"clip.safetensors", "audio.safetensors"}


def test_an_empty_shard_has_the_layers_too(cache, tmp_path, monkeypatch, layered):
    monkeypatch.setattr(ClipStore, "clips", lambda self, shard=None: [])
    encoders = load_encoders(layered["learned"].features[0].parent / "encoder")
    encode(cache / "index.h5", "000-of-002", tmp_path / "f.h5", encoders, ENCODING)
    with h5py.File(tmp_path / "f.h5") as file:
        assert file["audio"].shape == (0, 3, 40) and file["vision"].shape == (0, 32)


@pytest.mark.parametrize("name", ["last", "mean", "one", "learned"])
def test_a_run_says_which_layers_were_read(layered, tmp_path, name):
    choice = layered[name].encoder.get("audio_layers")
    scores = trained(layered[name], tmp_path)
    assert scores.features["audio"].shape[1] == 40 and np.isfinite(scores.score).all()
    assert scores.remarks == {"last": (), "one": ("audio layers: [1]",)}.get(name, (f"audio layers: {name}",))
    names = ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5")
    evaluate(tmp_path / "scores.h5", *(tmp_path / file for file in names), **EVALUATION)
    assert json.loads((tmp_path / "metrics.json").read_text())["remarks"] == list(scores.remarks)
    state, metadata = read_checkpoint(tmp_path / "model.safetensors")
    assert ("audio_layers" in state) is (name == "learned")
    assert metadata["encoder"]["sha256"].get("audio_layers") == choice


def test_what_was_made_with_other_layers_is_refused(layered, tmp_path):
    linear = registry.load(base_method("linear").target)
    mixed = replace(layered["mean"], features=layered["learned"].features)
    with pytest.raises(HcepError, match="was made with another encoder than this run's"):
        trained(mixed, tmp_path)
    trained(layered["mean"], tmp_path)
    with pytest.raises(HcepError, match="was trained with other weights of small, or on other audio layers"):
        score(layered["one"], linear, tmp_path / "model.safetensors", tmp_path / "s.h5", tmp_path / "t.json")
    # and no run goes on with the state of another choice
    folders = {Run(one, linear, settings_for("linear"), 0).folder(tmp_path, "train") for one in layered.values()}
    assert len(folders) == len(layered)


@pytest.mark.parametrize("base", ["logistic", "distance_mm"])
def test_a_fitted_method_takes_a_mean_and_refuses_to_learn(layered, tmp_path, base):
    assert trained(layered["mean"], tmp_path, base).remarks == ("audio layers: mean",)
    with pytest.raises(HcepError, match="cannot learn weights of the audio layers"):
        trained(layered["learned"], tmp_path, base)


def test_a_method_with_prompts_reads_them_in_its_own_loop(layered, tmp_path):
    folder = layered["one"].features[0].parent / "encoder"
    inputs = replace(layered["one"], features=[], encoders=load_encoders(folder))
    scores = trained(inputs, tmp_path, "hcep", prompts="frozen", sample_prompts=False, epochs=1)
    clips = np.concatenate([h5py.File(path)["clip"].asstr()[()] for path in layered["one"].features])
    cached = dict(zip(clips, read(layered["one"], "audio"), strict=True))
    assert scores.remarks == ("audio layers: [1]",)
    wanted = np.stack([cached[clip] for clip in scores.clip])
    np.testing.assert_allclose(scores.features["audio"], wanted, rtol=1e-4, atol=1e-5)
    # a method on frames alone reads no sound, and is not marked
    (tmp_path / "hesp").mkdir()
    assert trained(inputs, tmp_path / "hesp", "hesp", epochs=1).remarks == ()
