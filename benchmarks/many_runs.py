"""All runs of two methods on cached features, as jobs of their own in another checkout and together here; JSON lines.

python benchmarks/many_runs.py --base CHECKOUT [--clips 5800] [--epochs 150] [--splits 4] [--methods arpl_mm linear_msp]

The base trains, scores and evaluates every run in three processes, as its workflow does, two runs at a time; here
`hcep run` takes all runs of a method in one process, the methods side by side. Every process has one thread. The lines
have wall and processor seconds of both sides (a busy machine stretches the first), the largest memory of a process, and
whether the scores came out the same. Beside them stands what no form of these jobs can save: `products_s`, processor
seconds of the matrix products of all steps, timed alone on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import yaml
from synthetic import captions, write_shards

from hcep.config.entries import Evaluation
from hcep.config.whole import Config
from hcep.encoders.fetch import fetch_encoders
from hcep.encoders.info import made_by, read_info
from hcep.methods.method import MODALITIES, Sizes
from hcep.protocol.make_split import Split
from hcep.seal import seal_file, write_sealed_json

HERE = Path(__file__).parents[1]
LABELS = tuple(f"label{number}" for number in range(10))
LEVELS = (8, 6, 4, 2)
WIDTHS = {"text": 512, "vision": 512, "audio": 768}
TEST_SHARE = 1611 / 5800
EVALUATION = json.dumps(
    {name: getattr(Evaluation(), name) for name in ("replicates", "confidence", "seed", "acceptance")}
)
Costs = dict[str, float]


def write_data(folder: Path, trained: int, splits: int) -> tuple[list[str], list[Path], list[int]]:
    """Index, encoder, features and splits; the options that name the first three, the split files, their clips."""
    count = trained + round(TEST_SHARE * trained)
    store = write_shards(folder / "data", captions(count, 3, 3), Sizes(1, 4, 8, *WIDTHS.values()))
    fetch_encoders(folder / "encoder", {"source": "package"}, "benchmark")
    rng, names = np.random.default_rng(0), sorted(store.clips())
    label = {name: int(name) % len(LABELS) for name in names}
    means = {name: rng.standard_normal((len(LABELS), width), np.float32) for name, width in WIDTHS.items()}
    shards = sorted({path.stem for path in (folder / "data/text").glob("*.h5")})
    for shard in shards:
        own = store.clips(shard)
        with h5py.File(folder / f"{shard}.h5", "w") as file:
            file.create_dataset("clip", data=own, dtype=h5py.string_dtype())
            file.create_dataset("flags", data=[""] * len(own), dtype=h5py.string_dtype())
            for name in MODALITIES:
                noise = 6 * rng.standard_normal((len(own), WIDTHS[name]), np.float32)
                file.create_dataset(name, data=noise + means[name][[label[clip] for clip in own]])
            file.attrs["encoder"] = json.dumps(made_by(read_info(folder / "encoder")), sort_keys=True)
            file.attrs["index"] = store.digest
            seal_file(file)
    files, sizes = [], []
    labels = {name: LABELS[label[name]] for name in names}
    for level in LEVELS:
        for number in range(splits):
            known = tuple(LABELS[(number * 3 + place) % len(LABELS)] for place in range(level))
            inside = [name for name in names if labels[name] in known]
            train, test = ([n for n in inside if (int(n) < trained) is part] for part in (True, False))
            unknown = [name for name in names if labels[name] not in known and int(name) >= trained]
            place = f"k{level}u{len(LABELS) - level}", f"split{number + 1}"
            others = tuple(name for name in LABELS if name not in known)
            own, one = {name: name for name in names}, dict.fromkeys(names, "d")
            split = Split(
                "t", *place, known, others, tuple(train), (), tuple(test), tuple(unknown), labels, own, one, (), ()
            )
            files.append(folder / f"{place[0]}_{place[1]}.json")
            write_sealed_json(files[-1], split._asdict())
            sizes.append(len(train))
    features = [str(folder / f"{shard}.h5") for shard in shards]
    return (
        ["--index", str(folder / "data/index.h5"), "--features", *features, "--encoder", str(folder / "encoder")],
        files,
        sizes,
    )


def job(commands: Sequence[Sequence[str]], checkout: Path) -> Costs:
    """Run commands of hcep one after another: processor seconds and the largest memory of one, in MB."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    found = {"processor_s": 0.0, "memory_mb": 0.0}
    for command in commands:
        words = [sys.executable, "-P", "-m", "hcep.cli", *command]
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
            if status:
                log.seek(0)
                raise SystemExit(f"{' '.join(words)}:\n{log.read().decode()[-3000:]}")
        found["processor_s"] += used.ru_utime + used.ru_stime
        found["memory_mb"] = max(found["memory_mb"], used.ru_maxrss / 1024)
    return found


def side(jobs: Sequence[Sequence[Sequence[str]]], checkout: Path) -> Costs:
    """All jobs, two at a time."""
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda commands: job(commands, checkout), jobs))
    memory = max(one["memory_mb"] for one in found)
    return {
        "wall_s": time.perf_counter() - start,
        "processor_s": sum(one["processor_s"] for one in found),
        "memory_mb": memory,
    }


def products(batch: int, rounds: int = 40) -> float:
    """Processor seconds of the matrix products of one step of a fusion head, the median of some rounds."""
    torch.set_num_threads(1)
    dim = WIDTHS["text"]
    maps = [(torch.randn(batch, width), torch.randn(dim, width)) for width in (*WIDTHS.values(), 3 * dim)]
    out, took = torch.randn(batch, dim), []
    for _ in range(rounds):
        start = time.process_time()
        for x, weight in maps:
            torch.mm(x, weight.T)
            torch.mm(out.T, x)
        torch.mm(out, maps[-1][1])  # of the inputs only those of the last map have a gradient
        took.append(time.process_time() - start)
    return float(np.median(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="another checkout, for instance of the build before")
    parser.add_argument("--clips", type=int, default=5800, help="training clips of all classes")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--splits", type=int, default=4, help="of each of the 4 levels")
    parser.add_argument("--methods", nargs="+", default=["arpl_mm", "linear_msp"])
    given = parser.parse_args()
    config = Config.read(yaml.safe_load((HERE / "config/config.yaml").read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read, splits, sizes = write_data(folder, given.clips, given.splits)
        alone: list[Any] = []
        together: list[Any] = []
        steps = 0
        for method in given.methods:
            base = config.method(method).base
            settings = config.run_settings("mafw", method) | {"epochs": given.epochs}
            steps += sum(-(-size // settings["batch_size"]) * given.epochs for size in sizes)
            chosen = ["--method", method, "--base", base, *read, "--settings", json.dumps(settings)]
            folders = [folder / side / method / split.stem for side in ("base", "here") for split in splits]
            for split, run in zip(splits, folders, strict=False):
                files = {n: str(run / n) for n in ("model.safetensors", "history.csv", "scores.h5", "timing.json")}
                own = ["--split", str(split)]
                train = ["train", *chosen, *own, "--seed", "0", "--work", str(folder / "work")]
                train += ["--model", files["model.safetensors"], "--history", files["history.csv"]]
                score = ["score", "--base", base, *read, *own, "--model", files["model.safetensors"]]
                score += ["--output", files["scores.h5"], "--timing", files["timing.json"]]
                evaluate = ["evaluate", "--scores", files["scores.h5"], "--settings", EVALUATION]
                evaluate += ["--metrics", str(run / "metrics.json"), "--replicates-h5", str(run / "replicates.h5")]
                evaluate += ["--curves", str(run / "curves.csv"), "--thresholds", str(run / "thresholds.csv")]
                alone.append([train, score, evaluate])
            own = [*map(str, splits)], ["0"] * len(splits), [*map(str, folders[len(splits) :])]
            names = zip(("--split", "--seeds", "--runs"), own, strict=True)
            lists = [word for option, values in names for word in (option, *values)]
            together.append([["run", *chosen, *lists, "--evaluation", EVALUATION, "--posthoc", "{}"]])
        found = {"base": side(alone, given.base.resolve()), "here": side(together, HERE)}
        same = all(same_scores(folder / "base", path) for path in (folder / "here").glob("*/*/scores.h5"))
        line: dict[str, Any] = {"benchmark": "many_runs", "methods": given.methods, "runs": len(alone)}
        line |= {"clips": given.clips, "epochs": given.epochs, "steps": steps, "same_scores": same}
        line |= {place: {key: round(value, 1) for key, value in costs.items()} for place, costs in found.items()}
        line["times_faster"] = {
            key: round(found["base"][key] / found["here"][key], 2) for key in ("wall_s", "processor_s")
        }
        line["products_s"] = round(steps * products(settings["batch_size"]), 1)
        print(json.dumps(line), flush=True)


def same_scores(other: Path, path: Path) -> bool:
    """Whether the same run of the other side has the same logits and scores, to the last bit."""
    with h5py.File(path) as here, h5py.File(other.joinpath(*path.parts[-3:])) as there:
        return all(np.array_equal(here[name][()], there[name][()]) for name in ("logits", "score"))


if __name__ == "__main__":
    main()
