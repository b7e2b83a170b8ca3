"""Another choice of audio layers encodes, trains and scores again, and decodes nothing."""

from __future__ import annotations

import csv
import shutil

import h5py
import pytest
from workspace import REPOSITORY, RUN, runs_of

pytestmark = pytest.mark.slow

SCORES = f"results/tiny/linear_msp/{RUN}/scores.h5"
TARGETS = (f"results/tiny/linear_msp/{RUN}/metrics.json", "results/tiny/summary.csv", "results/tiny/complexity.csv")
ENCODED = [f"encode tiny with small, shard {i:03}-of-002" for i in (0, 1)]
RUN_AGAIN = runs_of("linear_msp")


def test_another_choice_of_audio_layers_encodes_again_and_decodes_nothing(fresh):
    # the package's encoder, whose weights the folder's copy of the package leaves out
    shutil.copytree(REPOSITORY / "hcep/demo/weights", fresh.path("hcep/demo/weights"))
    task = {"methods": ["linear_msp"], "encoder": "small", "training": {"device": "cpu", "epochs": 2, "batch_size": 4}}

    def run(*arguments, layers=None, fails=False, **changes):
        entry = {"source": "package"} | ({"audio_layers": layers} if layers else {})
        sizes = {"datasets": {"tiny": {"size": 64, "samples": 16000}}}
        config = sizes | {"encoders": {"small": entry}, "task_definitions": {"tiny": task | changes}}
        return fresh.snakemake(*arguments, config=config, fails=fails)

    def learnable():
        with fresh.path("results/tiny/complexity.csv").open(newline="") as handle:
            return int(next(csv.DictReader(handle))["learnable"])

    def notes():
        with fresh.path("results/tiny/summary.csv").open(newline="") as handle:
            return ["audio layers: learned" in row["note"].split("; ") for row in csv.DictReader(handle)]

    run(*TARGETS)
    usual, decoded = fresh.path(SCORES).read_bytes(), fresh.dates("resources/tiny")
    assert notes() == [False, False] and run("-n", *TARGETS, layers="last").begun == []
    count, features = learnable(), {name for name in decoded if "features" in name}
    outcome = run(*TARGETS, layers="learned")
    made = ["fetch encoder small", *ENCODED, *RUN_AGAIN, "summary of tiny"]
    assert outcome.finished == sorted([*made, "parameters and operations of tiny's methods"])
    after = fresh.dates("resources/tiny")
    assert {name for name in decoded if after[name] != decoded[name]} == features
    assert fresh.path(SCORES).read_bytes() != usual and learnable() == count + 3 and notes() == [True, True]
    with h5py.File(fresh.path("resources/tiny/features/small/000-of-002.h5")) as file:
        assert file["audio"].shape[1:] == (3, 64)
    # what cannot be is said before anything runs
    outcome = run(*TARGETS, layers=[1, 3], fails=True)
    assert "encoders.small: audio_layers [1, 3]: the audio model has 2 layers" in outcome.text
    outcome = run(*TARGETS, layers="learned", methods=["linear_msp", "distance_mm"], fails=True)
    assert "distance_mm cannot learn their weights" in outcome.text and outcome.begun == []
