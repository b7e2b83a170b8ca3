"""The bootstrap of one run and `aggregate` of many, beside another checkout; JSON lines.

python benchmarks/evaluation.py [--base CHECKOUT] [--rounds 3] [--test-clips 1611] [--replicates 2000] [--runs 176]

The scores are those of a method on cached features of MAFW's size, every clip a group of its own, as there. In every
round each side computes in a process of its own: the bootstrap of a first score, whose draws are new to the process,
and of nine more on the same clips, as `posthoc` and a series of runs ask for; and the tables of all runs (the content
of their scores.h5 is one file, so the disk is hardly read). Smallest seconds of the
rounds; what both sides computed is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hcep.evaluation.evaluate import summarise
from hcep.evaluation.replicates import digests, write_replicates
from hcep.evaluation.scores import Scores, write_scores
from hcep.files import write_table
from hcep.seal import write_sealed_json

HERE = Path(__file__).parents[1]
LABELS = [f"label{number}" for number in range(10)]
WIDTHS = {"text": 512, "vision": 512, "audio": 768, "fused": 512}
SPLITS, LEVELS = 4, (8, 6, 4, 2)
BOOTSTRAP = """
import hashlib, json, resource, sys, time
from hcep.evaluation.bootstrap import bootstrap
from hcep.evaluation.metrics import open_set
from hcep.evaluation.scores import group_keys, read_scores
run = read_scores(sys.argv[1], features=False)
data, groups, took, total = open_set(run), group_keys(run)[run.part == "test"], [], hashlib.sha256()
for number in range(10):
    start = time.perf_counter(), time.process_time()
    found = bootstrap(data._replace(score=data.score ** (2 * number + 1)), groups, replicates=int(sys.argv[2]))
    took.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    for name, values in sorted(found.values.items()):
        total.update(values.tobytes())
seconds = {}
for kind, own in zip(("s", "processor_s"), zip(*took)):
    seconds |= {f"first_{kind}": own[0], f"next_{kind}": min(own[1:]), f"ten_{kind}": sum(own)}
print(json.dumps({"seconds": seconds, "digest": total.hexdigest()}))
"""
AGGREGATE = """
import hashlib, json, sys, time
from pathlib import Path
from hcep.evaluation.aggregate import aggregate
folder = Path(sys.argv[1])
runs = sorted(path.parent for path in folder.glob("*/*/*/metrics.json"))
tables = [folder / f"{name}.csv" for name in ("runs", "summary", "comparisons")]
start = time.perf_counter(), time.process_time()
aggregate(runs, None, "t", *tables, references=["method0", "method1"])
seconds = {"aggregate_s": time.perf_counter() - start[0], "aggregate_processor_s": time.process_time() - start[1]}
total = hashlib.sha256(b"".join(path.read_bytes() for path in tables))
print(json.dumps({"seconds": seconds, "digest": total.hexdigest()}))
"""


def scores_of(known: int, trained: int, tested: int, method: str, split: int) -> Scores:
    """Scores of noise that know a little, for the first `known` labels."""
    rng = np.random.default_rng([known, split, int(method.removeprefix("method"))])
    label = np.concatenate([rng.integers(0, known, trained), np.arange(tested) % len(LABELS)])
    logits = rng.normal(size=(len(label), known))
    inside = label < known
    logits[inside, label[inside]] += 1
    return Scores(
        dataset=np.full(len(label), "d"),
        clip=np.array([f"{number:06d}" for number in range(len(label))]),
        part=np.array(["train"] * trained + ["test"] * tested),
        label=np.array(LABELS)[label],
        group=np.array([f"{number:06d}" for number in range(len(label))]),
        prediction=np.array(LABELS)[logits.argmax(axis=1)],
        flags=np.full(len(label), ""),
        known=label < known,
        logits=logits,
        score=logits.max(axis=1),
        features={},
        classes=tuple(LABELS[:known]),
        method=method,
        task="t",
        openness=f"k{known}u{len(LABELS) - known}",
        split=f"split{split}",
        seed=0,
        settings={},
        versions={},
        stand_in=True,
        text_kind="none",
    )


def write_runs(folder: Path, count: int, given: argparse.Namespace) -> Path:
    """Evaluated runs with a history each; returns the scores, with features, that lie in every run's folder."""
    scores = folder / "scores.h5"
    whole = scores_of(LEVELS[0], given.clips, given.test_clips, "method0", 0)
    rng = np.random.default_rng(0)
    features = {name: rng.standard_normal((len(whole.clip), width), np.float32) for name, width in WIDTHS.items()}
    write_scores(scores, whole._replace(features=features))
    rows = [{"epoch": str(epoch + 1), "lr": "0.01", "loss": "1.0"} for epoch in range(150)]
    places = [(level, split) for level in LEVELS for split in range(SPLITS)]
    for number in range(count):
        level, split = places[number % len(places)]
        run = scores_of(level, given.clips, given.test_clips, f"method{number // len(places)}", split)
        own = folder / run.method / run.openness / run.split
        own.mkdir(parents=True)
        metrics, values = summarise(run, replicates=given.replicates, confidence=0.95, seed=0)
        metrics["digests"] = digests(run, scores, values)
        (own / "scores.h5").hardlink_to(scores)
        write_replicates(own / "replicates.h5", metrics, values)
        write_sealed_json(own / "metrics.json", metrics)
        write_table(own / "history.csv", list(rows[0]), rows)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="another checkout, for instance of the build before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=5800, help="training clips")
    parser.add_argument("--test-clips", type=int, default=1611)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=176)
    given = parser.parse_args()
    checkouts = {"here": HERE} | ({"base": given.base.resolve()} if given.base else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scores = write_runs(folder, given.runs, given)
        jobs = {"bootstrap": [BOOTSTRAP, scores, given.replicates], "aggregate": [AGGREGATE, folder]}
        size = {
            "clips": given.clips,
            "test_clips": given.test_clips,
            "replicates": given.replicates,
            "runs": given.runs,
        }
        for what, (code, *arguments) in jobs.items():
            best: dict[str, dict[str, float]] = {}
            said = set()
            for place in [place for _ in range(given.rounds) for place in checkouts]:
                environment = os.environ | {"PYTHONPATH": str(checkouts[place])}
                command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
                answer = json.loads(done.stdout)
                said.add(answer["digest"])
                old = best.get(place, {})
                best[place] = {key: min(value, old.get(key, value)) for key, value in answer["seconds"].items()}
            line = {"benchmark": what, **size, **{key: round(value, 3) for key, value in best["here"].items()}}
            if given.base:
                line["base"] = {key: round(value, 3) for key, value in best["base"].items()}
                line["to_base"] = {key: round(value / best["base"][key], 2) for key, value in best["here"].items()}
                line["same_bits"] = len(said) == 1
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
