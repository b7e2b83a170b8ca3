"""`hcep verify` names what is damaged in a finished benchmark, and the commands that it prints make it again."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from workspace import BIN, REPOSITORY, RUN, runs_of

pytestmark = pytest.mark.slow

SHARD = "resources/tiny/frames/000-of-002.h5"
ENCODER = "resources/encoders/small"
MODEL = f"results/tiny/arpl_mm/{RUN}/model.safetensors"
THRESHOLDS = f"results/tiny/linear_msp/{RUN}/thresholds.csv"
COMPARISONS = "results/tiny/comparisons.csv"


def flip_a_bit(path: Path) -> None:
    """One bit of a file's numbers, as a disk damages it: its date and size stay."""
    dates = path.stat()
    content = bytearray(path.read_bytes())
    # of a table the last digit
    content[-2 if path.suffix == ".csv" else len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))


def test_what_verify_finds_is_made_again_by_the_commands_that_it_prints(fresh):
    # the package's encoder, whose weights the folder's copy of the package leaves out
    shutil.copytree(REPOSITORY / "hcep/demo/weights", fresh.path("hcep/demo/weights"))
    training = {"device": "cpu", "epochs": 2, "batch_size": 4}
    task = {"methods": ["arpl_mm", "linear_msp"], "encoder": "small", "training": training}
    config = {
        "datasets": {"tiny": {"size": 64, "samples": 16000}},
        "encoders": {"small": {"source": "package"}},
        "task_definitions": {"tiny": task},
    }
    files = "tiny.yaml change.yaml"
    fresh.snakemake("results/tiny/summary.csv", config=config)
    summary, shard = fresh.path("results/tiny/summary.csv").read_bytes(), fresh.path(SHARD).read_bytes()
    tables = {path: fresh.path(path).read_bytes() for path in (THRESHOLDS, COMPARISONS)}
    verify = [str(BIN / "hcep"), "verify", "results", "resources"]
    done = fresh.run(verify)
    assert done.returncode == 0 and " 0 damaged" in done.stdout, done.stdout

    for path in (SHARD, MODEL, f"{ENCODER}/clip.safetensors", THRESHOLDS, COMPARISONS):
        flip_a_bit(fresh.path(path))
    # Snakemake reads no content and finds everything as it should be
    assert "Nothing to be done" in fresh.snakemake("results/tiny/summary.csv", config=config).text
    done = fresh.run(verify)
    found = re.findall(r"^  (\S+): .*(?:digest)", done.stdout, re.MULTILINE)
    assert done.returncode == 1 and " 5 damaged" in done.stdout, done.stdout
    assert found == sorted([SHARD, MODEL, f"{ENCODER}/clip.safetensors", THRESHOLDS, COMPARISONS])

    remove, again = re.findall(r"^  ((?:rm|snakemake) .*)$", done.stdout, re.MULTILINE)
    for command in (remove, f"{again} --configfile {files}"):
        done = fresh.run(["bash", "-c", command])
        assert done.returncode == 0, done.stdout
    made = ["decode frames of tiny, shard 000-of-002", "fetch encoder small", "index the cache of tiny"]
    made += [*runs_of("arpl_mm", "linear_msp"), "summary of tiny"]
    assert all(re.search(rf"^Job \d+: {re.escape(message)}$", done.stdout, re.MULTILINE) for message in made)
    done = fresh.run(verify)
    assert done.returncode == 0 and " 0 damaged" in done.stdout, done.stdout
    assert fresh.path("results/tiny/summary.csv").read_bytes() == summary and fresh.path(SHARD).read_bytes() == shard
    assert {path: fresh.path(path).read_bytes() for path in tables} == tables
