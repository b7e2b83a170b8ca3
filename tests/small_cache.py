"""A small cache on disk with features, a split and an encoder, and whole runs on it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from small import AUDIO, CLIP, INFO, settings_for

from hcep import registry
from hcep.config.methods import base_method
from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.encoders.folder import build_audio, build_clip, load_encoders, save_encoders
from hcep.encoders.info import read_info
from hcep.evaluation.scores import read_scores
from hcep.media.index import index_cache
from hcep.media.shards import Row, shard_names, shard_of, write_shard
from hcep.protocol.make_split import make_split
from hcep.training.encode import encode
from hcep.training.run import Inputs
from hcep.training.score import score
from hcep.training.train import train

LABELS = ["anger", "fear", "happiness", "sadness"]
SPLITS = "k2u2:\n  split1: {known: [anger, happiness], unknown: [fear, sadness]}\n"


def clip_of(label, number):
    fold = ("train", "train", "train", "test")[number % 4]
    name = f"{label}{number}"
    words = "" if number == 2 else f"somebody feels {label}"
    values = {"clip": name, "dataset": "d", "video": f"{name}.mp4", "audio": f"{name}.mp4", "start": None, "end": None}
    values |= {"text": words, "text_kind": "caption" if words else "none", "language": "en", "label": label}
    return Clip(**values, labels=label, group=f"g{label}{number}", fold=fold, flags="", box="")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """32 clips of four classes in two shards, an encoder, features and a split with held-out clips."""
    root = tmp_path_factory.mktemp("cache")
    clips = [clip_of(label, number) for label in LABELS for number in range(8)]
    write_manifest(root / "manifest.tsv", clips)
    rng = np.random.default_rng(0)
    shards = {"frames": [], "audio": [], "text": []}
    for name in shard_names(2):
        own = [clip for clip in clips if shard_of(clip, 2) == name]
        ids = [clip.clip for clip in own]
        tone = [LABELS.index(clip.label) for clip in own]
        frames = [rng.integers(0, 60, (2, 32, 32, 3)).astype(np.uint8) + np.uint8(60 * t) for t in tone]
        time = np.arange(4000) / 16000
        waves = [(8000 * np.sin(2 * np.pi * (150 + 200 * t) * time)).astype(np.int16) for t in tone]
        texts = [(clip.text, clip.text_kind) if clip.text else None for clip in own]
        for kind, values, shape, dtype in (
            ("frames", frames, (2, 32, 32, 3), np.uint8),
            ("audio", waves, (4000,), np.int16),
            ("text", texts, (), None),
        ):
            own = 4000 if kind == "audio" else 0
            rows = [Row(value, samples=own) if value is not None else Row(None, "absent: no words") for value in values]
            path = root / kind / f"{name}.h5"
            path.parent.mkdir(exist_ok=True)
            write_shard(path, kind, ids, enumerate(rows), {}, shape=shape, dtype=dtype)
            shards[kind].append(path)
    index_cache(root / "manifest.tsv", shards, root / "index.h5", root / "qc.tsv")
    torch.manual_seed(0)
    save_encoders(root / "encoder", build_clip(CLIP), build_audio(AUDIO), INFO)
    encoders = load_encoders(root / "encoder")
    settings = {"batch_size": 4, "precision": "fp32", "device": "cpu"}
    for name in shard_names(2):
        encode(root / "index.h5", name, root / "features" / f"{name}.h5", encoders, settings)
    (root / "splits.yaml").write_text(SPLITS)
    make_split(
        root / "manifest.tsv", root / "splits.yaml", "t", "k2u2", "split1", root / "split.json",
        labels=LABELS, test_folds=["test"], val_fraction=0.3, val_seed=0,
    )  # fmt: skip
    return root


def inputs_of(cache, base):
    media = base_method(base).inputs == "media"
    asked = media or base_method(base).text_tower
    features = [] if media else sorted((cache / "features").glob("*.h5"))
    encoders = load_encoders(cache / "encoder") if asked else None
    return Inputs(cache / "split.json", [cache / "index.h5"], features, read_info(cache / "encoder"), encoders)


def run(cache, folder, base="linear", seed=0, judge=None, **changes):
    inputs = inputs_of(cache, base)
    cls = registry.load(base_method(base).target)
    train(
        inputs, cls, settings_for(base, **changes), name=f"{base}_row", seed=seed, code="c",
        model=folder / "model.safetensors", history=folder / "history.csv", work=folder / "work", judge=judge,
    )  # fmt: skip
    score(inputs, cls, folder / "model.safetensors", folder / "scores.h5", folder / "timing.json")
    with (folder / "history.csv").open() as handle:
        return read_scores(folder / "scores.h5"), list(csv.DictReader(handle))
