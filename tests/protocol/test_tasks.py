"""The tasks of the paper, each from a synthetic release of the official shape to its summary.csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from releases import cmu_mosei, crema_d, mafw, meld, ov_merd

pytestmark = pytest.mark.slow

SMALL = {"frames": 2, "size": 32, "samples": 4000, "shards": 1}
TRAINING = {"device": "cpu", "batch_size": 16, "epochs": 1, "lr": 0.005, "cosine_scale": 1}
RELEASES: dict[str, Callable[..., Any]] = {
    "mafw": mafw.make_release,
    "cmu_mosei": cmu_mosei.make_release,
    "ov_merd": ov_merd.make_release,
    "meld": meld.make_release,
    "crema_d": crema_d.make_release,
}
# task -> releases that it needs, its dataset entries, one level, methods
TASKS: dict[str, tuple[list[str], list[str], str, list[str]]] = {
    "mafw": (["mafw"], ["mafw"], "k8u2", ["hcep", "arpl_mm"]),
    "cmu_mosei": (["cmu_mosei"], ["cmu_mosei"], "k4u2", ["arpl_mm"]),
    "mafw_compound": (["mafw"], ["mafw_compound"], "k10u32", ["arpl_mm"]),
    "ov_merd": (["ov_merd"], ["ov_merd"], "k6u236", ["arpl_mm"]),
    "cross": (["mafw", "cmu_mosei"], ["mafw", "cmu_mosei"], "k6u4", ["hcep", "arpl_mm"]),
    "meld": (["meld"], ["meld"], "k5u2", ["arpl_mm"]),
    "crema_d": (["crema_d"], ["crema_d"], "k4u2", ["arpl_mm"]),
}
WITH_VALIDATION = {"cmu_mosei", "cross", "meld"}


def read_rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle, delimiter=delimiter))


def run_task(workspace, task: str) -> None:
    """Lay the releases under data/ as a user does, and ask for the summary."""
    releases, datasets, level, methods = TASKS[task]
    for name in releases:
        RELEASES[name](workspace.path(f"data/{name}"))
    changes = {
        "encoder": "tiny",
        "openness": [level],
        "splits": ["split1"],
        "seeds": [0],
        "methods": methods,
        "training": TRAINING,
    }
    config = {"datasets": dict.fromkeys(datasets, SMALL), "task_definitions": {task: changes}}
    workspace.snakemake(f"results/{task}/summary.csv", config=config)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_release_below_data_gives_a_summary(fresh, task):
    run_task(fresh, task)
    _, datasets, level, methods = TASKS[task]
    rows = read_rows(fresh.path(f"results/{task}/summary.csv"))
    assert {(row["method"], row["openness"]) for row in rows} == {(m, o) for m in methods for o in (level, "mean")}
    assert all(0 <= float(row[metric]) <= 100 for row in rows for metric in ("auroc", "oscr", "accuracy"))

    listed = {row["clip"] for name in datasets for row in read_rows(fresh.path(f"resources/{name}/manifest.tsv"), "\t")}
    checked = {row["clip"] for name in datasets for row in read_rows(fresh.path(f"resources/{name}/qc.tsv"), "\t")}
    assert listed == checked, "a clip was dropped"

    split = json.loads(fresh.path(f"results/{task}/splits/{level}/split1.json").read_text(encoding="utf-8"))
    learnt, tested = [*split["train"], *split["val"]], [*split["test_known"], *split["test_unknown"]]
    assert not set(learnt) & set(tested)
    assert not {split["groups"][clip] for clip in learnt} & {split["groups"][clip] for clip in tested}
    assert not {split["labels"][clip] for clip in learnt} & set(split["unknown"])
    left_out = {reason: sum(counts.values()) for reason, counts in split["left_out"].items()}
    assert len(learnt) + len(tested) + sum(left_out.values()) == len(listed)
    assert set(split["datasets"].values()) == set(datasets)
    assert bool(split["val"]) == (task in WITH_VALIDATION)
    if task == "cross":
        check_corpora(read_rows(fresh.path("results/cross/corpora.csv")))
    if task == "ov_merd":
        assert "disgust" in split["left_out_classes"], "the release has none, as the real one"
        assert {row["left_out"] for row in rows} == {";".join(split["left_out_classes"])}


def check_corpora(rows: list[dict[str, str]]) -> None:
    """Results with the known clips of each corpus alone, and how far the score tells the corpora apart."""
    pairs = {(method, corpus) for method in ("hcep", "arpl_mm") for corpus in ("mafw", "cmu_mosei")}
    assert {(row["method"], row["corpus"]) for row in rows} == pairs
    assert all(0 <= float(row[name]) <= 100 for row in rows for name in ("auroc", "oscr", "corpus_auroc"))
