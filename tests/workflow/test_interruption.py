"""Power cuts: a killed job, and Snakemake killed with all its jobs, cost no more than the step that was under way."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress

import h5py
import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file
from workspace import RUN, runs_of

pytestmark = pytest.mark.slow

SHARD = "resources/tiny/frames/000-of-002.h5"
MODEL = f"results/tiny/hcep/{RUN}/model.safetensors"


def writer_of(workspace, folder: str):
    """Number of the process that has a half-written shard below a folder open."""
    wanted = str(workspace.path(folder))

    def look() -> int | None:
        if not list(workspace.path(folder).glob(".*.tmp.h5")):
            return None
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if any(file.path.startswith(wanted) for file in process.open_files()):
                    return process.pid
        return None

    return look


def content(path) -> dict[str, object]:
    """Everything in a shard."""
    with h5py.File(path) as file:
        return {name: data[:] for name, data in file.items()} | dict(file.attrs)


def test_a_job_killed_half_way_is_tried_again_and_makes_the_same_shard(finished_once, fresh):
    log = fresh.kill_during(writer_of(fresh, "resources/tiny/frames"), SHARD)
    assert "Error in rule decode_frames" in log and "Trying to restart job" in log
    assert fresh.snakemake(SHARD).finished == []
    wanted, found = content(finished_once / SHARD), content(fresh.path(SHARD))
    assert wanted.keys() == found.keys()
    assert all(np.array_equal(wanted[name], found[name]) for name in wanted)
    assert not list(fresh.path("resources/tiny/frames").glob(".*")), "the killed job's half-written file stays"


def test_training_killed_with_snakemake_goes_on_and_ends_with_the_same_weights(finished):
    unbroken = load_file(finished.path(MODEL))
    shutil.rmtree(finished.path(MODEL).parent)

    def epoch_is_saved() -> int | None:
        return 0 if list(finished.path("work").glob("*/state.pt")) else None

    finished.kill_during(epoch_is_saved, MODEL)
    assert not finished.path(MODEL).exists() and list(finished.path("work").glob("*/state.pt"))
    locked = finished.snakemake(MODEL, fails=True)
    assert "--unlock" in locked.text, "what to do after Snakemake was killed"
    finished.snakemake("--unlock")
    outcome = finished.snakemake(MODEL)
    assert outcome.finished == runs_of("hcep")
    said = finished.path(f"logs/run/tiny/hcep/{RUN}.log").read_text()
    assert re.search(r"goes on after epoch [1-7]\b", said), said
    found = load_file(finished.path(MODEL))
    assert unbroken.keys() == found.keys()
    assert all(np.array_equal(unbroken[name], found[name]) for name in unbroken)
    assert len(finished.path(f"results/tiny/hcep/{RUN}/history.csv").read_text().splitlines()) == 9
    assert not list(finished.path("work").glob("*")), "the resume state stays"
