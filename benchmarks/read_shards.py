"""One epoch in random order from shards through ClipStore, against numpy.memmap over the same bytes; JSON lines.

A clip is compared with its sum when a reader reads it first: `first` are readers that are new in each round.
`unchecked` is the same as `first` without that.

Usage: python benchmarks/read_shards.py [--rounds 5] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np

from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.media.index import index_cache
from hcep.media.shards import Row, shard_names, shard_of, write_shard
from hcep.media.store import ClipStore

BATCH, SHARDS, FRAMES = 64, 8, 8


def build(folder: Path, count: int, size: int) -> tuple[ClipStore, np.memmap]:
    """The same random clips as shards and as one flat file."""
    clips = [
        Clip(f"{n:05d}", "d", f"{n}.mp4", "", None, None, "", "none", "", "", "", "", "", "", "") for n in range(count)
    ]
    write_manifest(folder / "manifest.tsv", clips)
    shape = (FRAMES, size, size, 3)
    flat = np.memmap(folder / "flat.bin", np.uint8, "w+", shape=(count, *shape))
    rng = np.random.default_rng(0)
    for number in range(count):
        flat[number] = rng.integers(0, 256, shape, dtype=np.uint8)
    flat.flush()
    paths: dict[str, list[Path]] = {"frames": [], "audio": [], "text": []}
    for name in shard_names(SHARDS):
        numbers = [n for n, clip in enumerate(clips) if shard_of(clip, SHARDS) == name]
        names = [clips[n].clip for n in numbers]
        for kind in paths:
            paths[kind].append(folder / kind / f"{name}.h5")
        frames = ((row, Row(flat[n])) for row, n in enumerate(numbers))
        write_shard(paths["frames"][-1], "frames", names, frames, {}, shape=shape, dtype=np.uint8)
        silence = ((row, Row(np.zeros(16, np.int16))) for row in range(len(names)))
        write_shard(paths["audio"][-1], "audio", names, silence, {}, shape=(16,), dtype=np.int16)
        write_shard(paths["text"][-1], "text", names, ((row, Row(("x", "asr"))) for row in range(len(names))), {})
    index_cache(folder / "manifest.tsv", paths, folder / "index.h5", folder / "qc.tsv")
    return ClipStore(folder / "index.h5", folder), np.memmap(folder / "flat.bin", np.uint8, "r", shape=(count, *shape))


def clock(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(folder: Path, count: int, size: int, rounds: int) -> None:
    """Print clips a second of both, the median of several rounds in turns (files in the page cache)."""
    store, flat = build(folder, count, size)
    names = store.clips()
    batches = np.array_split(np.random.default_rng(1).permutation(count), range(BATCH, count, BATCH))
    for batch in batches[:2]:
        assert np.array_equal(store.frames([names[n] for n in batch]), flat[batch])

    def ours() -> None:
        for batch in batches:
            store.frames([names[n] for n in batch])

    def first() -> None:
        fresh = ClipStore(folder / "index.h5", folder)
        for batch in batches:
            fresh.frames([names[n] for n in batch])

    def unchecked() -> None:
        with patch("hcep.media.store.check_row", lambda *_: None):
            first()

    def theirs() -> None:
        for batch in batches:
            flat[batch]

    works = (ours, first, unchecked, theirs)
    for work in works:
        work()
    rows = [[clock(work) for work in works] for _ in range(rounds)]
    columns = list(zip(works, zip(*rows, strict=True), strict=True))
    result = {
        "benchmark": "read_shards",
        "clips": count,
        "frame_size": size,
        "rounds": rounds,
        **{f"{work.__name__}_clips_per_s": round(count / statistics.median(column)) for work, column in columns},
        "first_of_unchecked": round(statistics.median(c / b for _, b, c, _ in rows), 3),
        "ours_of_memmap": round(statistics.median(d / a for a, _, _, d in rows), 3),
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put the files (default: the temporary folder)")
    args = parser.parse_args()
    for count, size in ((2000, 64), (300, 224)):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            measure(Path(folder), count, size, args.rounds)


if __name__ == "__main__":
    main()
