"""docs/faces.md: its example is run, with videos that are generated, and gives what the page says."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from sample_media import read_frames, run_ffmpeg

from hcep.config.entries import Dataset
from hcep.datasets.build import build_manifest
from hcep.datasets.check import check_release, report_text
from hcep.datasets.corpus import FACELESS
from hcep.media.audio import decode_audio
from hcep.media.frames import decode_frames
from hcep.media.index import index_cache
from hcep.media.store import ClipStore
from hcep.media.transcribe import transcribe
from hcep.probe import probe

PAGE = Path(__file__).parents[2] / "docs/faces.md"
SHARD = "000-of-001"


@pytest.fixture(scope="module")
def blocks() -> dict[str, str]:
    """The page's blocks by their language, each of which is there once."""
    found = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == len(dict(found)) == 4
    return dict(found)


def test_the_example_gives_what_the_page_says(blocks, tmp_path):
    root = tmp_path / "data/mine"
    root.mkdir(parents=True)
    (root / "clips.tsv").write_text(blocks["tsv"])
    (root / "boxes.csv").write_text(blocks["csv"])
    for name, seconds in (("interview", 6), ("ben", 2)):
        coded = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-c:a", "aac", "-shortest")
        picture = ("-f", "lavfi", "-i", f"testsrc2=s=128x96:r=25:d={seconds}")
        run_ffmpeg(*picture, "-f", "lavfi", "-i", f"sine=d={seconds}", *coded, root / f"{name}.mp4")
    ((name, content),) = yaml.safe_load(blocks["yaml"])["datasets"].items()
    entry = Dataset.model_validate(content)
    assert entry.root == "data/mine" and entry.shards == 1

    check = check_release(entry.adapter, root, name, {**entry.options, "text": entry.text})
    (fault,) = [fault for fault in check.faults if fault.what == FACELESS]
    assert list(fault.examples) == ["ben_1"] and "face boxes" in report_text(check)

    manifest = tmp_path / "manifest.tsv"
    build_manifest(entry.adapter, root, name, {**entry.options, "text": entry.text}, manifest)
    paths = {kind: tmp_path / kind / f"{SHARD}.h5" for kind in ("frames", "audio", "text")}
    decode_frames(manifest, root, SHARD, paths["frames"], frames=entry.frames, size=entry.size)
    decode_audio(manifest, root, SHARD, paths["audio"], samples=entry.samples)
    transcribe(manifest, root, SHARD, paths["text"], source=entry.text)
    index_cache(manifest, {kind: [path] for kind, path in paths.items()}, tmp_path / "index.h5", tmp_path / "qc.tsv")
    with (tmp_path / "qc.tsv").open(newline="") as handle:
        qc = {row["clip"]: row for row in csv.DictReader(handle, delimiter="\t")}
    for line in blocks["text"].splitlines():
        clip, _, reason = line.partition(": ")
        assert reason in qc[clip]["reason"].split("; ")

    # the frames and the boxes that the page names, each cut by itself
    media = probe(root / "interview.mp4")
    taken = [(3, 40), (11, 40), (19, 44), (27, 44), (35, 44), (43, 44), (51, 44), (59, 44)]
    expected = [read_frames(root / "interview.mp4", media, [n], size=64, box=(x, 12, 48, 48))[0] for n, x in taken]
    store = ClipStore(tmp_path / "index.h5", tmp_path)
    assert np.array_equal(store.frames(["anna_1"])[0], expected)
    assert not store.frames(["ben_1"]).any() and store.flags(["ben_1"]) == ["no_video;no_text"]
