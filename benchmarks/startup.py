"""What the command line and a training job cost before their work begins; JSON lines.

python benchmarks/startup.py [--rounds 5]

The job is HCEP at full size (random weights) on 64 clips of noise; what it prints itself is repeated here.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from synthetic import captions, write_shards
from train import settings_of

from hcep.encoders.fetch import fetch_encoders
from hcep.methods.method import Sizes
from hcep.protocol.make_split import Split
from hcep.seal import write_sealed_json

LABELS = ("anger", "fear")


def seconds(command: list[str], rounds: int) -> float:
    """Median wall time of a command."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def job(folder: Path) -> str:
    """Start a training job of no epoch and return the line in which it says what it waited for."""
    fetch_encoders(folder / "encoder", {"source": "random", "clip": "ViT-B-32-quickgelu"}, "random_full")
    names = write_shards(folder / "data", captions(64, 5, 30), Sizes(8, 224, 80_000, 512, 512, 768)).clips()
    labels = {name: LABELS[n % 2] for n, name in enumerate(names)}
    own, one = {name: name for name in names}, dict.fromkeys(names, "d")
    split = Split("t", "k2u1", "split1", LABELS, ("joy",), tuple(names), (), (), (), labels, own, one, ())
    write_sealed_json(folder / "split.json", split._asdict())
    settings = settings_of("fp32", "auto", 64) | {"epochs": 0}
    command: list[Any] = [
        sys.executable,
        "-m",
        "hcep.cli",
        "train",
        "--method",
        "hcep",
        "--base",
        "hcep",
        "--seed",
        "0",
    ]
    command += ["--split", folder / "split.json", "--index", folder / "data/index.h5", "--encoder", folder / "encoder"]
    command += ["--settings", json.dumps(settings), "--work", folder / "work"]
    command += ["--model", folder / "model.safetensors", "--history", folder / "history.csv"]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return next(line for line in done.stderr.splitlines() if "before the first step" in line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    bare = seconds(["-c", "pass"], rounds)
    text = seconds(["-m", "hcep.cli", "--help"], rounds)
    torch_alone = seconds(["-c", "import torch"], rounds)
    with tempfile.TemporaryDirectory() as folder:
        said = job(Path(folder))
    parts = {what.strip(): float(value) for what, value in re.findall(r"[:,]([^:,]+?) (\d+\.\d) s", said)}
    result = {"benchmark": "startup", "python_s": bare, "help_s": text, "import_torch_s": torch_alone, "job_s": parts}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
