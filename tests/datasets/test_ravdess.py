"""Real takes of RAVDESS through the whole workflow, with the small encoders of the package."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from workspace import REPOSITORY

from hcep.evaluation.scores import read_scores

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("HCEP_RAVDESS" not in os.environ, reason="HCEP_RAVDESS (folder of real takes) is not set"),
]
LEVELS = ("k5u2", "k3u4")


def read_rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter=delimiter))


def test_real_takes_go_from_the_release_to_a_summary(fresh):
    entry = {"root": os.environ["HCEP_RAVDESS"], "size": 64, "samples": 16000, "shards": 2}
    task = {
        "encoder": "demo",
        "splits": ["split1"],
        "methods": ["hcep", "arpl_mm"],
        "training": {"device": "cpu", "batch_size": 16, "epochs": 2, "lr": 0.005, "cosine_scale": 1},
    }
    config = {"tasks": ["ravdess"], "datasets": {"ravdess": entry}, "task_definitions": {"ravdess": task}}
    # the workspace's copy of the package leaves them out
    shutil.copytree(REPOSITORY / "hcep/demo/weights", fresh.path("hcep/demo/weights"))
    fresh.snakemake("results/ravdess/summary.csv", config=config)

    takes = sorted(path.stem for path in Path(os.environ["HCEP_RAVDESS"]).rglob("01-01-*.mp4"))
    quality = {row["clip"]: row for row in read_rows(fresh.path("resources/ravdess/qc.tsv"), "\t")}
    assert sorted(quality) == takes, "no take is dropped"
    assert all(row["frames"] == row["audio"] == "ok" and row["text"] == "absent" for row in quality.values())

    rows = read_rows(fresh.path("results/ravdess/summary.csv"))
    wanted = {(method, level) for method in ("hcep", "arpl_mm") for level in (*LEVELS, "mean")}
    assert {(row["method"], row["openness"]) for row in rows} == wanted
    assert all(0 <= float(row["auroc"]) <= 100 for row in rows)
    assert all((row["stand_in"], row["text_kind"]) == ("true", "none") for row in rows)

    for level in LEVELS:
        split = json.loads(fresh.path(f"results/ravdess/splits/{level}/split1.json").read_text())
        sides = [{split["groups"][clip] for clip in split[part]} for part in ("train", "test_known", "test_unknown")]
        assert not sides[0] & (sides[1] | sides[2]), "a take or speaker on both sides"
        scores = read_scores(fresh.path(f"results/ravdess/hcep/{level}/split1/seed0/scores.h5"))
        assert set(scores.label[~scores.known]) == set(split["unknown"])
        assert not set(scores.label[scores.part == "train"]) & set(split["unknown"])
