"""Time and memory of dry runs over a dataset of MAFW's size: 10,045 clips, 64 shards, 4 levels x 4 splits.

python benchmarks/dry_run.py [--clips N]    one JSON line for 4 methods (targets: under 15 s and 1 GB) and one for
all methods of the `mafw` task (target: under 20 s)
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
LABELS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "contempt", "anxiety", "helplessness"]
LABELS.append("disappointment")
METHODS = ["hcep", "frozen_prompts", "arpl_mm", "linear_msp"]


def workspace(folder: Path, clips: int, methods: list[str]) -> None:
    """A working directory with a release of empty files: a dry run reads names and dates only."""
    for name in ("Snakefile", "workflow", "config", "profiles"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "release" / "video").mkdir(parents=True)
    rows = ["clip\tvideo\tlabel\tfold"]
    for i in range(clips):
        (folder / "release" / "video" / f"{i:05d}.mp4").touch()
        rows.append(f"{i:05d}\tvideo/{i:05d}.mp4\t{LABELS[i % 10]}\t{'test' if i % 5 == 0 else 'train'}")
    (folder / "release" / "clips.tsv").write_text("\n".join(rows) + "\n")
    task = {
        "dataset": "large",
        "encoder": "clip_wav2vec2",
        "labels": LABELS,
        "openness": ["k8u2", "k6u4", "k4u6", "k2u8"],
        "class_splits": "config/splits/mafw.yaml",
        "methods": methods,
    }
    overlay = {
        "tasks": ["large"],
        "datasets": {"large": {"adapter": "manifest", "root": "release", "shards": 64}},
        "task_definitions": {"large": task},
    }
    (folder / "large.yaml").write_text(yaml.safe_dump(overlay))


def measure(clips: int, methods: list[str]) -> dict[str, object]:
    """Make the manifest for real, then time the dry run of everything behind it."""
    snakemake = [str(Path(sys.executable).with_name("snakemake"))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace(folder, clips, methods)
        quiet = {"cwd": folder, "check": True, "capture_output": True, "text": True}
        start = time.perf_counter()
        command = [*snakemake, "--cores", "1", "resources/large/manifest.tsv", "--configfile", "large.yaml"]
        subprocess.run(command, **quiet)
        manifest = time.perf_counter() - start
        start = time.perf_counter()
        done = subprocess.run([*snakemake, "-n", "--quiet", "rules", "--configfile", "large.yaml"], **quiet)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    jobs = [line.split()[-1] for line in (done.stdout + done.stderr).splitlines() if line.startswith("total")]
    return {
        "benchmark": "dry_run",
        "clips": clips,
        "methods": len(methods),
        "jobs": int(jobs[0]) if jobs else None,
        "manifest_s": round(manifest, 1),
        "dry_run_s": round(seconds, 1),
        "peak_gb": round(peak / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=10_045)
    clips = parser.parse_args().clips
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    for methods in (METHODS, config["task_definitions"]["mafw"]["methods"]):
        print(json.dumps(measure(clips, methods)), flush=True)


if __name__ == "__main__":
    main()
