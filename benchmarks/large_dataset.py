"""Dry runs of a dataset of many clips, here and in another checkout, in turns; JSON lines.

python benchmarks/large_dataset.py CHECKOUT [--clips N ...] [--sides there here]

Each side has a folder of its own with the same manifest and a small file for every clip, 1,000 a folder. A line has for
one side and one number of clips: seconds of the first dry run (which looks into every file) and of the next one (which
looks at sizes and dates), the peak of its memory, and the number of jobs. The target is everything behind the manifest:
shards, index, features, and one run of two methods.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from whole_runs import copy_of

from hcep.datasets.manifest_file import Clip, write_manifest

HERE = Path(__file__).parents[1]
LABELS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "contempt", "anxiety", "helplessness"]
LABELS.append("disappointment")
CLIPS_A_SHARD = 1000
LIMIT = 999  # shards of a dataset


def clip(number: int) -> Clip:
    """A clip with a line of words."""
    name, label = f"v{number:07d}", LABELS[number % 10]
    path = f"video/{number // 1000:04d}/{name}.mp4"
    fold, text = "test" if number % 5 == 0 else "train", f"these are the words of clip {number}"
    return Clip(
        name, "large", path, path, text=text, text_kind="transcript", label=label, group=f"g{number // 20}", fold=fold
    )


def lay_out(checkout: Path, folder: Path, release: Path, manifest: Path, clips: int) -> None:
    """A working folder with the workflow of a checkout."""
    copy_of(checkout, folder)
    shards = min(LIMIT, max(2, clips // CLIPS_A_SHARD))
    task = {
        "dataset": "large",
        "encoder": "clip_wav2vec2",
        "labels": LABELS,
        "openness": ["k8u2"],
        "splits": ["split1"],
        "class_splits": "config/splits/mafw.yaml",
        "methods": ["hcep", "linear_msp"],
    }
    overlay = {
        "tasks": ["large"],
        "datasets": {"large": {"adapter": "manifest", "root": str(release), "shards": shards}},
        "task_definitions": {"large": task},
    }
    (folder / "large.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    for path in (manifest, manifest.with_name(".manifest.tsv.sha256")):
        target = folder / "resources/large" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    (folder / "resources/large/tasks.txt").write_text("large\n", encoding="utf-8")


def dry_run(folder: Path) -> dict[str, float]:
    """Wall and processor seconds and peak memory of a dry run, and how many jobs it plans."""
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    command = f"{snakemake} -n results/large/summary.csv --cores 1 --quiet rules --configfile large.yaml".split()
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    start, log = time.perf_counter(), folder / "log"
    with log.open("w") as handle:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=handle, stderr=handle)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = status
    text = log.read_text(encoding="utf-8")
    if status:
        raise SystemExit(f"{folder}:\n{text[-3000:]}")
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "gigabytes": round(used.ru_maxrss / 1e6, 2),
        "jobs": int(re.findall(r"^total\s+(\d+)", text, re.MULTILINE)[-1]),
    }


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="the other checkout")
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--sides", nargs="+", choices=["there", "here"], default=["there", "here"])
    options = parser.parse_args()
    for count in options.clips:
        with tempfile.TemporaryDirectory() as name:
            place, start = Path(name), time.perf_counter()
            for folder in range(-(-count // 1000)):
                (place / f"release/video/{folder:04d}").mkdir(parents=True)
            for number in range(count):
                (place / "release" / clip(number).video).write_bytes(b"%d" % number)
            files = time.perf_counter() - start
            write_manifest(place / "manifest.tsv", map(clip, range(count)))
            print(json.dumps({"clips": count, "making_files_s": round(files, 1)}), flush=True)
            for side in options.sides:
                folder = place / side
                folder.mkdir()
                checkout = HERE if side == "here" else options.checkout
                lay_out(checkout, folder, place / "release", place / "manifest.tsv", count)
                for time_of in ("first", "next"):
                    print(json.dumps({"clips": count, "side": side, "dry_run": time_of, **dry_run(folder)}), flush=True)


if __name__ == "__main__":
    main()
