"""Many runs in one process: each as if it ran alone, none made twice, and one that diverges leaves the others."""

from __future__ import annotations

import csv
import shutil

import pytest
import torch
from small import settings_for
from small_cache import LABELS

from hcep.config.methods import METHODS, base_method
from hcep.errors import HcepError
from hcep.evaluation.replicates import read_evaluated
from hcep.protocol.make_split import make_split, read_split
from hcep.seal import open_hdf5
from hcep.training import feed
from hcep.training.feed import FeatureTable
from hcep.verbs import runs as verbs

ON_FEATURES = sorted(name for name, entry in METHODS.items() if entry.inputs == "features")
CLOCK = ("samples_per_s", "memory_gb")
PLACES = [("k2u2", "split1", 0), ("k3u1", "split1", 5), ("k2u2", "split2", 1)]
CLASS_SPLITS = """
k2u2:
  split1: {known: [anger, happiness], unknown: [fear, sadness]}
  split2: {known: [sadness, fear], unknown: [anger, happiness]}
k3u1:
  split1: {known: [anger, happiness, sadness], unknown: [fear]}
"""
EVALUATION = {"replicates": 100, "confidence": 0.9, "seed": 0, "acceptance": [0.9]}


@pytest.fixture(scope="module")
def splits(cache):
    """The split files of three runs: two or three known classes, other numbers of clips, all with held-out ones."""
    (cache / "many.yaml").write_text(CLASS_SPLITS)
    options = {"labels": LABELS, "test_folds": ["test"], "val_fraction": 0.3, "val_seed": 0}
    files = [cache / f"{openness}_{split}.json" for openness, split, _ in PLACES]
    for file, (openness, split, _) in zip(files, PLACES, strict=True):
        make_split(cache / "manifest.tsv", cache / "many.yaml", "t", openness, split, file, **options)
    assert len({len(read_split(file).train) for file in files}) > 1
    return files


def read_from(cache):
    features = sorted((cache / "features").glob("*.h5"))
    return {"index": [cache / "index.h5"], "features": features, "encoder": cache / "encoder"}


def folders_of(folder):
    return [folder / "-".join(map(str, place)) for place in PLACES]


def series(cache, splits, folder, base="linear", **settings):
    """All three runs; returns their folders."""
    folders = folders_of(folder)
    given = {"evaluation": EVALUATION, "posthoc": {}, "tuned": [], "trained": [], "work": folder / "work"}
    seeds = [seed for *_, seed in PLACES]
    verbs.run("row", splits, seeds, folders, base, settings_for(base, **settings), **given, **read_from(cache))
    return folders


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def history(folder):
    with (folder / "history.csv").open() as handle:
        return [{key: value for key, value in row.items() if key not in CLOCK} for row in csv.DictReader(handle)]


@pytest.mark.parametrize("base", ON_FEATURES)
def test_each_run_is_what_it_is_alone(cache, splits, tmp_path, base):
    choice = {"selection": "val_known"} if "selection" in base_method(base).model_fields else {}
    together = series(cache, splits, tmp_path / "together", base, **choice)
    learns = "epochs" in base_method(base).model_fields
    for file, (_, _, seed), folder in zip(splits, PLACES, together, strict=True):
        alone = tmp_path / "alone" / folder.name
        one, own = {"split": file, **read_from(cache)}, settings_for(base, **choice)
        model, scores = alone / "model.safetensors", alone / "scores.h5"
        files = {"model": model, "history": alone / "history.csv", "work": tmp_path / "work"}
        verbs.train(base, own, method="row", seed=seed, tuned=[], **files, **one)
        verbs.score(base, model, scores, alone / "timing.json", **one)
        # tensors, epoch that was kept, settings, digests of what was read: the files have nothing else
        for name in ("model.safetensors", "scores.h5"):
            assert (folder / name).read_bytes() == (alone / name).read_bytes()
        assert read_evaluated(folder)[0]["n_known"] > 0
        assert history(folder) == history(alone)
        assert len(history(folder)) == (3 if learns else 0)


def test_features_are_read_once_for_all_runs(cache, splits, tmp_path, monkeypatch):
    opened = []

    def spy(path, *arguments):
        opened.append(path.name)
        return open_hdf5(path, *arguments)

    monkeypatch.setattr(feed, "open_hdf5", spy)
    series(cache, splits, tmp_path)
    assert opened == ["000-of-002.h5", "001-of-002.h5"]


def done_before(capsys):
    """Whether the training of each run was taken over."""
    said = capsys.readouterr().err
    return [f"train row {openness} {split} seed{seed}: was done before" in said for openness, split, seed in PLACES]


def test_another_run_leaves_those_that_are_made(cache, splits, tmp_path, capsys):
    folders = series(cache, splits, tmp_path)
    before = [content(folder) for folder in folders]
    shutil.rmtree(folders[1])
    capsys.readouterr()
    series(cache, splits, tmp_path)
    assert done_before(capsys) == [True, False, True]
    for folder, was in zip(folders, before, strict=True):
        for name in ("model.safetensors", "scores.h5", "metrics.json", "replicates.h5"):
            assert content(folder)[name] == was[name]


def test_a_run_that_diverges_leaves_the_others(cache, splits, tmp_path, monkeypatch, capsys):
    folders = series(cache, splits, tmp_path / "good")
    real = FeatureTable.of

    def broken(self, clips, made_with):
        flags, values = real(self, clips, made_with)
        # the split with three known classes alone trains on these
        if list(clips) == list(read_split(splits[1]).train):
            values["text"][0] = torch.nan
        return flags, values

    monkeypatch.setattr(FeatureTable, "of", broken)
    with pytest.raises(HcepError) as raised:
        series(cache, splits, tmp_path / "bad")
    bad = folders_of(tmp_path / "bad")[1]
    text = str(raised.value)
    assert text.startswith(f"{bad}: loss_cls is nan in epoch 1, step ")
    assert "lower `lr`" in text and text.endswith("the other 2 of 3 runs are made; the next start takes them over")
    assert not bad.exists()
    for i in (0, 2):
        made = tmp_path / "bad" / folders[i].name
        assert (made / "scores.h5").read_bytes() == (folders[i] / "scores.h5").read_bytes()
    monkeypatch.undo()
    capsys.readouterr()
    series(cache, splits, tmp_path / "bad")
    assert done_before(capsys) == [True, False, True]
    assert (bad / "scores.h5").read_bytes() == (folders[1] / "scores.h5").read_bytes()
