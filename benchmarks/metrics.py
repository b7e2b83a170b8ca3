"""Time the open-set metrics and the group bootstrap on synthetic scores; prints one JSON line per measurement.

python benchmarks/metrics.py [--clips N] [--test-clips N] [--groups G] [--replicates R]
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable

import numpy as np

from hcep.evaluation.bootstrap import bootstrap
from hcep.evaluation.metrics import OpenSet, open_set_metrics


def synthetic(clips: int, classes: int = 8, seed: int = 0) -> OpenSet:
    """Binormal scores, half of the clips known, 60 % of those classified correctly."""
    random = np.random.default_rng(seed)
    known = random.random(clips) < 0.5
    label = np.where(known, random.integers(0, classes, clips), -1)
    guess = random.integers(0, classes, clips)
    prediction = np.where(known & (random.random(clips) < 0.6), label, guess)
    return OpenSet(random.normal(size=clips) + known, known, label, prediction, classes)


def measure(name: str, size: dict[str, int], work: Callable[[], object]) -> None:
    """Run once and print seconds and peak resident memory of the process so far."""
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"benchmark": name, **size, "seconds": round(seconds, 3), "peak_mb": round(peak)}), flush=True)


def main() -> None:
    """Measure both stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--test-clips", type=int, default=2_000)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=2_000)
    arguments = parser.parse_args()
    small = synthetic(arguments.test_clips)
    groups = np.random.default_rng(1).integers(0, arguments.groups, arguments.test_clips).astype(str)
    size = {"clips": arguments.test_clips, "groups": arguments.groups, "replicates": arguments.replicates}
    measure("bootstrap", size, lambda: bootstrap(small, groups, replicates=arguments.replicates))
    large = synthetic(arguments.clips)
    measure("metrics", {"clips": arguments.clips}, lambda: open_set_metrics(large))


if __name__ == "__main__":
    main()
