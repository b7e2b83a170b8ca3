"""What must be told before anything long begins: a release that is missing."""

from __future__ import annotations

import pytest
from workspace import CONFIG

pytestmark = pytest.mark.slow
# HF_HUB_OFFLINE=1 stands in for a download that is never finished: should it start, its job is listed
FAR = {"source": "hub", "clip": "ViT-B-32-quickgelu", "pretrained": "openai", "audio": "facebook/wav2vec2-base"}
SECOND = CONFIG["datasets"]["tiny"] | {"root": "data/second"}
TASK = CONFIG["task_definitions"]["tiny"] | {"encoder": "far"}
ONE = {"encoders": {"far": FAR}, "datasets": {"tiny": {"root": "data/away"}}, "task_definitions": {"tiny": TASK}}
BOTH = {
    "encoders": {"far": FAR},
    "datasets": {"second": SECOND},
    "task_definitions": {"tiny": TASK | {"dataset": ["tiny", "second"]}},
}
TARGETS = ("results/tiny/summary.csv", "results/tiny/complexity.csv")


@pytest.mark.parametrize("cores", [1, 4])
@pytest.mark.parametrize(("config", "missing"), [(ONE, "tiny"), (BOTH, "second")])
def test_a_missing_release_is_told_before_the_encoder_is_fetched(fresh, config, missing, cores):
    outcome = fresh.snakemake(*TARGETS, config=config, cores=cores, fails=True)
    assert f"the release of dataset '{missing}' is missing. Remedy: " in outcome.text
    assert f"list the clips of {missing}" in outcome.begun
    assert not [message for message in outcome.begun if message.startswith("fetch encoder")]
    if cores == 1:
        # no hour of decoding the release that is there, either
        assert not [message for message in outcome.begun if message.startswith("decode")]


@pytest.mark.parametrize("config", [ONE, BOTH])
def test_a_dry_run_without_the_release_lists_the_runs(fresh, config):
    outcome = fresh.snakemake("-n", *TARGETS, config=config)
    assert {"list the clips of tiny", "summary of tiny", "run hcep on tiny k2u2 split1 seed 0"} <= set(outcome.begun)


def test_the_encoder_is_fetched_once_the_clips_are_listed(fresh):
    fresh.path("resources/encoders/tiny/encoder.json").unlink()
    assert "fetch encoder tiny" not in fresh.snakemake("-n", *TARGETS).begun
    fresh.snakemake("resources/tiny/manifest.tsv")
    assert fresh.snakemake("-n", *TARGETS).begun.count("fetch encoder tiny") == 1
