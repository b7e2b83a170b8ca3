"""Clips on disk, runs on them, and the models that are exported from these runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sample_media import make_clip
from small import AUDIO, CLIP, INFO, settings_for

from hcep import registry
from hcep.config.methods import base_method
from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.encoders.folder import build_audio, build_clip, load_encoders, save_encoders
from hcep.encoders.info import read_info
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.scores import read_scores
from hcep.inference.clips import clip_of
from hcep.inference.export import export
from hcep.media.audio import decode_audio
from hcep.media.frames import decode_frames
from hcep.media.index import index_cache
from hcep.media.transcribe import transcribe
from hcep.protocol.make_split import make_split
from hcep.training.encode import encode
from hcep.training.run import Inputs
from hcep.training.score import score
from hcep.training.train import train

LABELS = ["anger", "fear", "happiness", "sadness"]
SPLITS = "k2u2:\n  split1: {known: [anger, happiness], unknown: [fear, sadness]}\n"
WORDS = ("stop it now", "", "we made it home", "no")
SHARD = "000-of-001"
METHODS = ("hcep", "arpl_mm", "distance_mm")


class Trained(NamedTuple):
    """A folder laid out as that of a workflow, its clips, and what the runs read."""

    root: Path
    clips: list[Clip]

    def run(self, method: str) -> Path:
        """Folder of a run."""
        return self.root / f"results/small/{method}/k2u2/split1/seed0"

    def model(self, method: str) -> Path:
        """The model that was exported from it."""
        return self.root / "models" / method

    def media(self, clip: str) -> Path:
        """The file of a clip."""
        return self.root / "raw" / next(one.video for one in self.clips if one.clip == clip)


def clips_of(folder: Path) -> list[Clip]:
    """Five clips a class, two of them to test; one has no words, one no sound."""
    clips = []
    for number, label in enumerate(LABELS):
        for take in range(5):
            name, sound = f"{label}_{take}", (number, take) != (0, 3)
            step, hertz = 3 + 5 * number + take, 200 + 150 * number + 10 * take
            make_clip(folder / f"{name}.mp4", seconds=0.8, fps=5, size="40x32", step=step, audio=sound, hertz=hertz)
            text = WORDS[(take + number) % 4]
            kind = "transcript" if text else "none"
            fold = "test" if take > 2 else "train"
            clips.append(
                Clip(name, "small", f"{name}.mp4", f"{name}.mp4", text=text, text_kind=kind, label=label, labels=label,
                     group=f"g{take}", fold=fold)
            )  # fmt: skip
    return clips


def make_cache(raw: Path, cache: Path, clips: list[Clip], **options: Any) -> None:
    """Manifest, shards and index of clips below `raw`; `options` of `decode_frames`."""
    manifest = cache / "manifest.tsv"
    write_manifest(manifest, clips)
    read = {kind: cache / kind / f"{SHARD}.h5" for kind in ("frames", "audio", "text")}
    decode_frames(manifest, raw, SHARD, read["frames"], frames=2, size=32, **options)
    decode_audio(manifest, raw, SHARD, read["audio"], samples=4000)
    transcribe(manifest, raw, SHARD, read["text"], source="manifest")
    index_cache(manifest, {kind: [path] for kind, path in read.items()}, cache / "index.h5", cache / "qc.tsv")


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    """Three runs on twenty clips, exported; not to be changed."""
    root = tmp_path_factory.mktemp("trained")
    clips, cache, encoder = clips_of(root / "raw"), root / "resources/small", root / "resources/encoders/small"
    make_cache(root / "raw", cache, clips)
    torch.manual_seed(0)
    save_encoders(encoder, build_clip(CLIP), build_audio(AUDIO), INFO | {"source": "random weights"})
    encoders, features = load_encoders(encoder), cache / f"features/small/{SHARD}.h5"
    encode(cache / "index.h5", SHARD, features, encoders, {"batch_size": 16, "precision": "fp32", "device": "cpu"})
    (root / "splits.yaml").write_text(SPLITS)
    split = root / "results/small/splits/k2u2/split1.json"
    make_split(
        cache / "manifest.tsv", root / "splits.yaml", "small", "k2u2", "split1", split, labels=LABELS,
        test_folds=["test"], val_fraction=0, val_seed=0,
    )  # fmt: skip
    found = Trained(root, clips)
    for method in METHODS:
        make_run(found, method, found.run(method))
        export(found.run(method), method, [cache / "index.h5"], encoder, found.model(method), with_encoder=True)
    return found


def make_run(trained: Trained, base: str, run: Path, **changes: Any) -> None:
    """Train, score and evaluate a base method on the clips."""
    cache, encoder = trained.root / "resources/small", trained.root / "resources/encoders/small"
    split, entry = trained.root / "results/small/splits/k2u2/split1.json", base_method(base)
    media = entry.inputs == "media"
    features = [] if media else [cache / f"features/small/{SHARD}.h5"]
    encoders = load_encoders(encoder) if media or entry.text_tower else None
    inputs = Inputs(split, [cache / "index.h5"], features, read_info(encoder), encoders)
    kind, settings = registry.load(entry.target), settings_for(base, **{"epochs": 2, "batch_size": 16} | changes)
    train(
        inputs, kind, settings, name=base, seed=0, code="c", model=run / "model.safetensors",
        history=run / "history.csv", work=None,
    )  # fmt: skip
    score(inputs, kind, run / "model.safetensors", run / "scores.h5", run / "timing.json")
    names = ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5")
    evaluate(run / "scores.h5", *(run / name for name in names), replicates=100)


def of_test(trained: Trained, run: Path) -> tuple[list[Clip], np.ndarray, np.ndarray, np.ndarray]:
    """The test clips of a run as files, and the scores, logits and predictions that it has stored of them."""
    scores = read_scores(run / "scores.h5", features=False)
    part, by_name = scores.part == "test", {clip.clip: clip for clip in trained.clips}
    own = [by_name[str(name)] for name in scores.clip[part]]
    files = [clip_of(trained.media(c.clip), name=c.clip, text=c.text, text_kind=c.text_kind) for c in own]
    return files, scores.score[part], scores.logits[part], scores.prediction[part]
