"""What the command line, a training job and a first answer cost before their work begins; JSON lines.

python benchmarks/startup.py [--rounds 5] [--other CHECKOUT] [--predict MODEL CLIP]

Every round runs all commands one after another, here and, with `--other`, in another checkout of this repository by the
same interpreter; medians of wall time and of processor time are printed, and ratios to `import torch` and to the other
checkout. The jobs are HCEP on 64 clips of noise, with the demo's encoders and at full size (random weights), until the
first step, as they say themselves. `--predict` adds the first answer of a model that `hcep export` wrote, for one file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from synthetic import captions, write_shards
from train import settings_of

from hcep.encoders.fetch import fetch_encoders
from hcep.methods.method import Sizes
from hcep.protocol.make_split import Split
from hcep.seal import write_sealed_json

LABELS = ("anger", "fear")
HERE = Path(__file__).parents[1]
# source of the encoder, then side, samples and feature sizes of its clips
JOBS: dict[str, tuple[dict[str, str], Sizes]] = {
    "demo": ({"source": "package"}, Sizes(8, 64, 16_000, 64, 64, 64)),
    "full_size": ({"source": "random", "clip": "ViT-B-32-quickgelu"}, Sizes(8, 224, 80_000, 512, 512, 768)),
}
Times = dict[str, list[float]]


def run(command: list[str], checkout: Path) -> tuple[float, float, str]:
    """Wall seconds and processor seconds of a command of Python, and what it said."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    before, start = os.times(), time.perf_counter()
    # -P: the package is that of the checkout, not that of the working folder
    done = subprocess.run([sys.executable, "-P", *command], check=True, capture_output=True, text=True, env=environment)
    wall, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, used, done.stderr


def job(folder: Path, encoder: dict[str, str], sizes: Sizes) -> list[str]:
    """Write what a training job of no epoch reads, and return its command."""
    fetch_encoders(folder / "encoder", dict(encoder), "benchmark")
    names = write_shards(folder / "data", captions(64, 5, 30), sizes).clips()
    labels = {name: LABELS[n % 2] for n, name in enumerate(names)}
    own, one = {name: name for name in names}, dict.fromkeys(names, "d")
    split = Split("t", "k2u1", "split1", LABELS, ("joy",), tuple(names), (), (), (), labels, own, one, (), ())
    write_sealed_json(folder / "split.json", split._asdict())
    settings = settings_of("fp32", "cpu", 64) | {"epochs": 0}
    command: list[Any] = ["-m", "hcep.cli", "train", "--method", "hcep", "--base", "hcep", "--seed", "0"]
    command += ["--split", folder / "split.json", "--index", folder / "data/index.h5", "--encoder", folder / "encoder"]
    command += ["--settings", json.dumps(settings), "--work", folder / "work"]
    command += ["--model", folder / "model.safetensors", "--history", folder / "history.csv"]
    return [str(part) for part in command]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", type=Path, help="another checkout, for instance of the build before")
    parser.add_argument("--predict", nargs=2, metavar=("MODEL", "CLIP"), default=())
    given = parser.parse_args()
    checkouts = {"here": HERE} | ({"other": given.other.resolve()} if given.other else {})
    commands = {
        "python": ["-c", "pass"],
        "import_torch": ["-c", "import torch"],
        "help": ["-m", "hcep.cli", "--help"],
        "import_folder": ["-c", "import hcep.encoders.folder"],
    }
    if given.predict:
        commands["first_answer"] = ["-m", "hcep.cli", "predict", *given.predict, "--device", "cpu"]
    wall: dict[str, Times] = {place: defaultdict(list) for place in checkouts}
    used: dict[str, Times] = {place: defaultdict(list) for place in checkouts}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load = f"from hcep.encoders.folder import load_encoders; load_encoders({str(folder / 'demo/encoder')!r})"
        commands["load_demo_encoders"] = ["-c", load]
        for kind, (encoder, sizes) in JOBS.items():
            (folder / kind).mkdir()
            commands[f"train_{kind}"] = job(folder / kind, encoder, sizes)
        for number in range(given.rounds + 1):  # the first round warms up
            for what, command in commands.items():
                for place, checkout in checkouts.items():
                    took, processor, said = run(command, checkout)
                    if first := re.search(r": (\d+\.\d) s before the first step", said):
                        took = float(first[1])
                    if number:
                        wall[place][what].append(took)
                        used[place][what].append(processor)
    for place in checkouts:
        for kind, times in (("wall", wall), ("processor", used)):
            middle = {what: statistics.median(values) for what, values in times[place].items()}
            to_torch = {what: round(value / middle["import_torch"], 2) for what, value in middle.items()}
            line: dict[str, Any] = {"benchmark": "startup", "checkout": place, "time": kind, "rounds": given.rounds}
            line |= {"seconds": {what: round(value, 2) for what, value in middle.items()}, "to_import_torch": to_torch}
            if place == "here" and given.other:
                other = {what: statistics.median(values) for what, values in times["other"].items()}
                line["to_other"] = {what: round(value / other[what], 2) for what, value in middle.items()}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
