"""A whole training run on cached features: seconds per epoch and for the paper's 150; JSON lines.

python benchmarks/cached_features.py [--clips 5800] [--epochs 3] [--device cpu] [--threads 1]

As many clips as MAFW trains on and features of the full encoders' widths, written as `hcep encode` writes them. The
clock runs over reading them, the epochs and their resume states; one thread, as Snakemake gives a job.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch
import yaml
from train import NAMES, ROOT, device_name

from hcep import registry
from hcep.config.whole import Config
from hcep.methods.method import MODALITIES, Sizes
from hcep.seal import seal_file
from hcep.training.feed import FeatureFeed, FeatureTable
from hcep.training.loop import Trainer

METHODS = ("arpl_mm", "linear_msp", "cpn_mm", "lpl_mm", "cssr_mm", "momke")
KNOWN = 8
SIZES = Sizes(0, 0, 0, 512, 512, 768)
PAPER_EPOCHS = 150


def write_features(path: Path, count: int) -> list[str]:
    """One shard of noise; returns the clips' ids."""
    rng = np.random.default_rng(0)
    clips = [f"{number:06d}" for number in range(count)]
    with h5py.File(path, "w") as file:
        file.create_dataset("clip", data=clips, dtype=h5py.string_dtype())
        file.create_dataset("flags", data=[""] * count, dtype=h5py.string_dtype())
        for name, width in zip(MODALITIES, (SIZES.text, SIZES.vision, SIZES.audio), strict=True):
            file.create_dataset(name, data=rng.standard_normal((count, width), dtype=np.float32))
        seal_file(file)
    return clips


def measure(method: str, path: Path, clips: list[str], args: argparse.Namespace) -> dict[str, object]:
    """One method: seconds to read the features, of an epoch, and of the paper's epochs with the reading."""
    device = torch.device(args.device)
    start = time.perf_counter()
    labels = [number % KNOWN for number in range(len(clips))]
    feed = FeatureFeed(FeatureTable([path]), clips, labels, device, {})
    reading = time.perf_counter() - start
    config = Config.read(yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8")))
    settings = config.run_settings("mafw", method) | {"epochs": args.epochs}
    torch.manual_seed(0)
    built = registry.load(config.base(method).target)(NAMES[:KNOWN], SIZES, None, settings).to(device)
    start = time.perf_counter()
    Trainer(built, feed, settings, 0, path.parent / f"work_{method}", name=method).run()
    epoch = (time.perf_counter() - start) / args.epochs
    return {
        "benchmark": "cached_features",
        "method": method,
        "device": device_name(device),
        "clips": len(clips),
        "reading_s": reading,
        "epoch_s": epoch,
        "samples_per_s": len(clips) / epoch,
        "run_s": reading + PAPER_EPOCHS * epoch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=5800)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "000-of-001.h5"
        clips = write_features(path, args.clips)
        for method in args.methods:
            print(json.dumps(measure(method, path, clips, args)), flush=True)


if __name__ == "__main__":
    main()
