"""Changes are seen by content: older clips, tables that were saved anew, clips that cannot be read, by real runs."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest
from workspace import read_outcome

from hcep.datasets.manifest_file import read_manifest
from hcep.files import read_table
from hcep.media.shards import shard_of

pytestmark = pytest.mark.slow

INDEX = "resources/tiny/index.h5"
# root without the right to read everything is an ordinary user to its own files
ORDINARY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


def remade(workspace, clip: str) -> list[str]:
    """Messages of the jobs that decode a clip anew, and of the index."""
    clips = {one.clip: one for one in read_manifest(workspace.path("resources/tiny/manifest.tsv"))}
    shard = shard_of(clips[clip], 2)
    decode = [f"{what} of tiny, shard {shard}" for what in ("decode frames", "decode sound")]
    return sorted([*decode, "index the cache of tiny"])


def save_anew(path: Path, *, encoding: str, line_end: str) -> None:
    """Write a table as another program may: columns and rows in another order, each cell in quotation marks."""
    rows = read_table(path, delimiter="\t")
    with path.open("w", encoding=encoding, newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0])[::-1], delimiter="\t", lineterminator=line_end, quoting=1)
        writer.writeheader()
        writer.writerows(rows[::-1])


def test_a_clip_replaced_by_an_older_one_is_decoded_and_a_touched_one_is_not(finished):
    old, clip = (finished.path(f"data/tiny/{name}.mp4") for name in ("fear_3", "fear_2"))
    os.utime(old, (1_500_000_000, 1_500_000_000))
    clip.touch()
    assert finished.snakemake(INDEX).begun == []
    shutil.copy2(old, clip)
    assert finished.snakemake(INDEX).finished == remade(finished, "fear_2")
    assert finished.snakemake("-n", INDEX).begun == []


def test_a_table_that_was_saved_anew_reruns_nothing(finished):
    table = finished.path("data/tiny/clips.tsv")
    before = table.read_bytes()
    save_anew(table, encoding="utf-8-sig", line_end="\r\n")
    assert table.read_bytes() != before
    outcome = finished.snakemake()
    assert outcome.begun == [] and "Nothing to be done" in outcome.text
    # the test of the test: another cell does
    table.write_bytes(table.read_bytes().replace(b'"clip 4 says fear"', b'"clip 4 said fear"'))
    assert "list the clips of tiny" in finished.snakemake("-n").begun


def test_a_clip_that_an_ordinary_user_may_not_read_is_its_own_failure(finished):
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root reads every file, and there is no setpriv to give that up")
    clip = finished.path("data/tiny/fear_1.mp4")
    lax = {"datasets": {"tiny": {"max_failures": 0.05}}}

    def run(*arguments: str):
        prefix = ORDINARY if os.geteuid() == 0 else []
        done = finished.run([*prefix, *finished.command(*arguments, INDEX, config=lax)])
        assert done.returncode == 0, done.stdout
        return read_outcome(done.returncode, done.stdout)

    def row() -> dict[str, str]:
        rows = read_table(finished.path("resources/tiny/qc.tsv"), delimiter="\t")
        return next(row for row in rows if row["clip"] == "fear_1")

    clip.chmod(0)
    assert run().finished == remade(finished, "fear_1")
    assert (row()["frames"], row()["audio"]) == ("failed", "failed")
    assert "cannot be read: Permission denied" in row()["reason"]
    assert run("-n").begun == []
    clip.chmod(0o644)
    assert run().finished == remade(finished, "fear_1")
    assert row()["frames"] == "ok" and row()["flags"] == ""
