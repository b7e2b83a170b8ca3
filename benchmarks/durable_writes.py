"""What it costs that files are on the disk before they have their names: each kind with and without it, in turn."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from hcep.files import write_table
from hcep.media.shards import Row, write_shard
from hcep.training.checkpoint import save_checkpoint, save_state

SHAPE = (20, 224, 224, 3)


def shard(clips: int) -> Callable[[Path], None]:
    """A shard of frames as of a full-size dataset."""
    frames = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    names = [f"clip{number}" for number in range(clips)]

    def write(path: Path) -> None:
        rows = ((number, Row(frames)) for number in range(clips))
        write_shard(path, "frames", names, rows, {}, shape=SHAPE, dtype=np.uint8)

    return write


def kinds(clips: int) -> dict[str, Callable[[Path], None]]:
    """What is written, by the name of the file."""
    weights = {f"layer{number}": torch.randn(512, 1024) for number in range(4)}
    rows = [{"task": "mafw", "method": f"method{number}", "auroc": f"{number / 7:.6f}"} for number in range(60)]
    return {
        "shard.h5": shard(clips),
        "model.safetensors": lambda path: save_checkpoint(path, weights, {"method": "hcep"}),
        "state.pt": lambda path: save_state(
            path, {"method": weights, "momentum": {name: one + 1 for name, one in weights.items()}}
        ),
        "summary.csv": lambda path: write_table(path, list(rows[0]), rows),
    }


@contextmanager
def without_sync():
    """Leave it to the system when content reaches the disk."""
    fsync, os.fsync = os.fsync, lambda _: None
    try:
        yield
    finally:
        os.fsync = fsync


def seconds(write: Callable[[Path], None], path: Path) -> float:
    """How long it takes to write one file that is not there yet."""
    path.unlink(missing_ok=True)
    os.sync()  # nothing of what others have written is waited for
    start = time.perf_counter()
    write(path)
    return time.perf_counter() - start


def main() -> None:
    """One JSON line a kind: medians of the seconds, and the median of the ratio of both in a round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="on the disk to be measured; default: the system's for temporary files")
    parser.add_argument("--clips", type=int, default=50, help="of the shard, 3 MB each")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        for kind, write in kinds(args.clips).items():
            path = Path(name) / kind
            rounds = []
            for _ in range(args.rounds):
                with without_sync():
                    plain = seconds(write, path)
                rounds.append((seconds(write, path), plain))
            ratios = sorted(synced / plain for synced, plain in rounds)
            synced, plain = (statistics.median(column) for column in zip(*rounds, strict=True))
            line = {"benchmark": "durable_writes", "file": kind, "megabytes": round(path.stat().st_size / 1e6, 3)}
            line |= {"ms_synced": round(1e3 * synced, 1), "ms_not": round(1e3 * plain, 1), "rounds": args.rounds}
            line |= {"ratio": round(statistics.median(ratios), 2), "lowest": round(ratios[0], 2)}
            print(json.dumps(line | {"highest": round(ratios[-1], 2)}), flush=True)


if __name__ == "__main__":
    main()
