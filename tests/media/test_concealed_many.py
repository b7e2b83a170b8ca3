"""Hundreds of clips with flipped bits: what is told of each, twice the same, and against a whole decoding by ffmpeg.

`pytest -m faults -s tests/media/test_concealed_many.py` prints the table of outcomes.
"""

from __future__ import annotations

import csv
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from sample_media import flip_bits, run_ffmpeg, write_list

from hcep.datasets.build import build_manifest
from hcep.ffmpeg import ffmpeg_executable
from hcep.media.audio import decode_audio
from hcep.media.frames import decode_frames
from hcep.media.index import index_cache
from hcep.media.transcribe import transcribe

pytestmark = pytest.mark.faults

PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=15:d=4")
SOUND = ("-f", "lavfi", "-i", "anoisesrc=r=44100:d=4:a=0.3:seed=1")
# file -> how it is coded; those with a codec of pictures have both
FILES = {
    "h264.mp4": ("-c:v", "libx264", "-g", "30", "-c:a", "aac"),
    "h264.mkv": ("-c:v", "libx264", "-g", "30", "-c:a", "ac3"),
    "h264.ts": ("-c:v", "libx264", "-g", "30", "-c:a", "aac"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-c:a", "mp3"),
    "xvid.avi": ("-c:v", "mpeg4", "-vtag", "xvid", "-bf", "2", "-c:a", "mp3"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-c:a", "pcm_s16le"),
    "vp8.webm": ("-c:v", "libvpx", "-b:v", "300k", "-c:a", "libvorbis"),
    "wmv.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "aac.m4a": ("-c:a", "aac"),
    "mp3.mp3": ("-c:a", "mp3"),
    "opus.opus": ("-c:a", "libopus"),
    "flac.flac": ("-c:a", "flac"),
    "pcm.wav": ("-c:a", "pcm_s16le"),
}
EACH = 18
FLIPS = (1, 3, 10, 30)
# all frames are taken, so that a whole decoding by ffmpeg has no error that is not the clip's
FRAMES, SAMPLES = 60, 64_000
SHARD = "000-of-001"
# parts of damaged pictures that ffmpeg 9.0.2 gives of these differ from run to run (docs/reliability.md)
STALE = ("mjpeg.avi", "vp8.webm")
PARTS = {"frames": ("frames", "0:V:0"), "audio": ("waveform", "0:a:0")}


class Cache(NamedTuple):
    """One cache of all clips: qc.tsv by clip, and the arrays of its shards by kind and clip."""

    qc: dict[str, dict[str, str]]
    arrays: dict[str, dict[str, np.ndarray]]


def build(root: Path, folder: Path, threads: int) -> Cache:
    shards = {kind: [folder / kind / f"{SHARD}.h5"] for kind in ("frames", "audio", "text")}
    paths = {kind: files[0] for kind, files in shards.items()}
    manifest = folder / "manifest.tsv"
    build_manifest("manifest", root, "d", {}, manifest)
    decode_frames(manifest, root, SHARD, paths["frames"], frames=FRAMES, size=32, threads=threads)
    decode_audio(manifest, root, SHARD, paths["audio"], samples=SAMPLES, threads=threads)
    transcribe(manifest, root, SHARD, paths["text"], source="manifest")
    index_cache(manifest, shards, folder / "index.h5", folder / "qc.tsv", max_failures=1)
    with (folder / "qc.tsv").open(encoding="utf-8", newline="") as handle:
        qc = {row["clip"]: row for row in csv.DictReader(handle, delimiter="\t")}
    arrays = {}
    for kind, (name, _) in PARTS.items():
        with h5py.File(paths[kind]) as file:
            arrays[kind] = dict(zip(file["clip"].asstr()[:], file[name][:], strict=True))
    return Cache(qc, arrays)


@pytest.fixture(scope="module")
def caches(tmp_path_factory) -> tuple[Path, list[Cache]]:
    """The release, and its cache made three times: one file at a time, two, and one again."""
    root = tmp_path_factory.mktemp("release")
    rows = []
    for name, coded in FILES.items():
        # the same bytes each time, so that the same bits are flipped
        run_ffmpeg(*(PICTURE if "-c:v" in coded else ()), *SOUND, *coded, "-bitexact", "-threads", "1", root / name)
        spare = (root / name).stat().st_size // 20
        for seed in range(EACH):
            flip_bits(root / name, root / f"{seed}-{name}", seed, FLIPS[seed % len(FLIPS)], spare=spare)
        names = [name, *(f"{seed}-{name}" for seed in range(EACH))]
        rows += [{"clip": clip, "video": clip, "label": "x", "text": "x"} for clip in names]
    write_list(root / "clips.tsv", rows)
    return root, [build(root, tmp_path_factory.mktemp("cache"), threads) for threads in (1, 2, 1)]


def told(row: dict[str, str], kind: str) -> int | str:
    """How many errors are told of a part, or that it is failed or absent."""
    if row[kind] in ("failed", "absent"):
        return row[kind]
    part = {"frames": "picture", "audio": "sound"}[kind]
    found = re.search(rf"(\d+) concealed errors? in the {part}", row["reason"])
    return int(found[1]) if found else 0


def test_every_run_tells_the_same_and_holds_the_same(caches):
    _, (first, *others) = caches
    for other in others:
        assert other.qc == first.qc
        for kind, arrays in first.arrays.items():
            for clip, array in arrays.items():
                same = np.array_equal(array, other.arrays[kind][clip])
                assert same or (kind == "frames" and clip.endswith(STALE) and clip not in FILES), clip


def test_every_clip_is_whole_or_tells_why(caches):
    _, (cache, *_) = caches
    assert len(cache.qc) - len(FILES) >= 200
    table: dict[str, Counter[str]] = {kind: Counter() for kind in (*PARTS, "clips")}
    for clip, row in cache.qc.items():
        outcomes = set()
        for kind in PARTS:
            found = told(row, kind)
            if clip in FILES:
                assert row["reason"] in ("", "frames absent: has no video stream"), row
            elif found == "failed":
                assert f"{kind} failed: " in row["reason"] and not cache.arrays[kind][clip].any()
                outcomes.add((0, "failed", kind))
            elif found != "absent":
                whole = np.array_equal(cache.arrays[kind][clip], cache.arrays[kind][clip.partition("-")[2]])
                place = 1 if found else 3 if whole else 2
                outcomes.add((place, ("errors counted", "nothing told", "nothing told, as whole")[place - 1], kind))
        for _, outcome, kind in outcomes:
            table[kind][outcome] += 1
        # the worst of its parts
        table["clips"].update([outcome for _, outcome, _ in sorted(outcomes)[:1]])
    for kind, counts in table.items():
        print(f"\n{kind}: {counts.total()} mutated, {dict(counts)}")
        assert {"failed", "errors counted", "nothing told, as whole"} <= set(counts)


def says_something(path: Path, stream: str) -> bool:
    """Whether ffmpeg reports an error in decoding all of a stream."""
    command = [ffmpeg_executable(), "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1", "-i", str(path)]
    done = subprocess.run([*command, "-map", stream, "-f", "null", "-"], capture_output=True, timeout=60)
    # what it writes to may complain of time stamps
    return any(line.strip() and not line.startswith(b"[null @") for line in done.stderr.splitlines())


def test_errors_are_told_of_the_clips_of_which_ffmpeg_reports_any(caches):
    root, (cache, *_) = caches
    differ, agree = [], 0
    for clip, row in cache.qc.items():
        for kind, (_, stream) in PARTS.items():
            found = told(row, kind)
            if isinstance(found, int):
                same = bool(found) == says_something(root / clip, stream)
                agree += same
                differ += [] if same else [(clip, kind, row["reason"])]
    assert agree >= 200 and not differ
