"""What it costs to notice replaced clips: seconds for a release, one JSON line.

python benchmarks/clip_contents.py [--clips 8000] [--bytes 1000000] [--folder /tmp]

`first_s` digests every clip, `again_s` asks once more with the memory of the first time, `sampled_s` digests again
without it, and `whole_s` is SHA-256 of every byte, for comparison. The files have just been written, so that they are
read from memory: a disk adds its own time to all but `again_s`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hcep.planning.contents import Contents


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 3)


def whole(paths: list[str]) -> None:
    """Digest every byte."""
    for path in paths:
        with Path(path).open("rb") as handle:
            hashlib.file_digest(handle, "sha256")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8000)
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--folder", default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        paths = [str(folder / f"{number:05d}.mp4") for number in range(args.clips)]
        content = os.urandom(args.bytes)
        for path in paths:
            Path(path).write_bytes(content)
        memory = folder / "memory.json"
        row = {
            "benchmark": "clip_contents",
            "clips": args.clips,
            "bytes": args.bytes,
            "first_s": seconds(lambda: Contents(memory, keep=True).digests(paths)),
            "again_s": seconds(lambda: Contents(memory, keep=True).digests(paths)),
            "sampled_s": seconds(lambda: Contents(folder / "none.json", keep=False).digests(paths)),
            "whole_s": seconds(lambda: whole(paths)),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
