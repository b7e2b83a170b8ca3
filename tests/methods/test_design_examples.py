"""The method of docs/add_method.md and the adapter of docs/add_dataset.md run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from small import CLASSES, SIZES, MemoryFeed, feature_batch, settings_for

from hcep import registry
from hcep.config.methods import METHODS, Head, Learning, Missing
from hcep.datasets.build import build_manifest
from hcep.datasets.manifest_file import read_manifest
from hcep.training.loop import Trainer

PAGES = [Path(__file__).parents[2] / "docs" / name for name in ("add_method.md", "add_dataset.md")]


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Makes an importable module of the example with this class; returns its name."""

    def make(name: str) -> str:
        whole = "".join(page.read_text() for page in PAGES)
        blocks = [dedent(text) for text in re.findall(r"^ *```python\n(.*?)^ *```", whole, re.DOTALL | re.M)]
        (block,) = (text for text in blocks if f"class {name}(" in text or f"class {name}:" in text)
        module = f"example_{name.lower()}"
        (tmp_path / f"{module}.py").write_text(block)
        monkeypatch.syspath_prepend(tmp_path)
        return f"{module}:{name}"

    return make


def test_the_method_learns_and_scores(example, monkeypatch, tmp_path):
    class Declared(Learning, Head, Missing):
        target = example("NearestMean")
        inputs = "features"

    monkeypatch.setitem(METHODS, "nearest_mean", Declared)
    settings = settings_for("nearest_mean", epochs=20, lr=0.05)
    torch.manual_seed(0)
    method = registry.load(Declared.target)(CLASSES, SIZES, None, settings)
    batch = feature_batch()
    rows = Trainer(method, MemoryFeed(batch), settings, 0, tmp_path / "work").run()
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    found = method.predict(batch)
    assert found.logits.argmax(1).tolist() == batch.label.tolist()
    assert torch.equal(found.score, found.logits.amax(1)) and set(found.features) == {
        "text",
        "vision",
        "audio",
        "fused",
    }


@pytest.mark.parametrize("text, kind", [("manifest", "none"), ("none", "none"), ("asr", "asr")])
def test_the_adapter_lists_a_release(example, monkeypatch, tmp_path, text, kind):
    monkeypatch.setitem(registry.DATASETS, "folders", example("Folders"))
    release = tmp_path / "release"
    for name in ("fear/anna_1.mp4", "fear/ben_1.mp4", "anger/anna_2.mp4"):
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        (release / name).write_bytes(b"x")
    options = {"text": text, "test_groups": ["ben"]}
    build_manifest("folders", release, "mine", options, tmp_path / "manifest.tsv")
    clips = read_manifest(tmp_path / "manifest.tsv")
    assert [(c.clip, c.label, c.group, c.fold, c.text_kind) for c in clips] == [
        ("anger/anna_2", "anger", "anna", "train", kind),
        ("fear/anna_1", "fear", "anna", "train", kind),
        ("fear/ben_1", "fear", "ben", "test", kind),
    ]
