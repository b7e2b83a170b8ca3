"""Verbs of one run: who is trained on and tested, tuning, training, scoring, evaluating."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from hcep import registry
from hcep.verbs.options import Arguments, Verb, add_paths, add_run_settings, add_settings, check_keys, settings_argument


def _draw_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "labels", type=str, nargs="+", help="classes in label-id order")
    add_paths(parser, "openness", type=str, nargs="+", metavar="kKuU", help="levels, as k8u2")
    parser.add_argument("--count", type=int, default=4, help="splits per level")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", required=True, help="task that the file is for")
    add_paths(parser, "output", help="config/splits/<task>.yaml to write")


def draw_splits(args: Arguments) -> None:
    """Draw distinct class splits for a task and write them to be committed."""
    from hcep.protocol.class_splits import write_class_splits

    with warnings.catch_warnings(record=True) as said:
        write_class_splits(args.output, args.labels, args.openness, count=args.count, seed=args.seed, task=args.task)
    for warning in said:
        print(f"draw_splits: {warning.message}", file=sys.stderr)


def _tasks_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "manifest", help="manifest.tsv of a dataset")
    parser.add_argument(
        "--settings",
        type=settings_argument,
        required=True,
        metavar="JSON",
        help="JSON text, or a file of it: task -> its labels and test_folds, and train_folds, val_folds, other_labels "
        "and words where it has them",
    )
    add_paths(parser, "output", help="text to write")


def check_tasks(args: Arguments) -> None:
    """Say which labels and folds of a dataset each task takes; names that almost match are an error."""
    from hcep.protocol.check_tasks import check_tasks as run

    optional = ("train_folds", "val_folds", "other_labels", "words")
    for settings in args.settings.values():
        check_keys(settings, ("labels", "test_folds"), optional)
    run(args.manifest, args.settings, args.output)


def _split_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("task", "openness", "split"):
        parser.add_argument(f"--{name}", required=True)
    add_paths(parser, "manifest", nargs="+", help="manifest.tsv of every dataset of the task")
    add_paths(parser, "classes", help="file of class splits")
    optional = ("train_folds", "val_folds", "val_fraction", "val_seed", "min_train", "other_labels", "words")
    add_settings(parser, "labels", "test_folds", optional=optional)
    add_paths(parser, "output", help="split JSON to write")


def make_split(args: Arguments) -> None:
    """Say which clips are training, known test and unknown test clips."""
    from hcep.protocol.make_split import make_split as run

    run(args.manifest, args.classes, args.task, args.openness, args.split, args.output, **args.settings)


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", required=True, help=f"base method: {', '.join(registry.METHODS)}")
    add_paths(parser, "split", help="split JSON")
    add_paths(parser, "index", nargs="+", help="index.h5 of every dataset of the task")
    parser.add_argument("--features", type=Path, nargs="*", default=[], help="feature shards, if it reads features")
    add_paths(parser, "encoder", help="encoder folder")


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", required=True, help="name in the results")
    parser.add_argument("--seed", type=int, required=True)
    _run_arguments(parser)
    add_run_settings(parser)
    parser.add_argument("--tuned", type=Path, nargs="*", default=[], help="tuned.json, laid over the settings")
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder of resume states")
    add_paths(parser, "model", help="model.safetensors to write")
    add_paths(parser, "history", help="history.csv to write")


def _method(args: Arguments) -> registry.MethodEntry:
    """The base method, after a check of the run's settings."""
    entry = registry.method(args.base)
    check_keys(args.settings, entry.readable)
    return entry


def _inputs(args: Arguments) -> Any:
    from hcep.encoders.info import read_info
    from hcep.training.run import Inputs

    encoders = None
    if registry.method(args.base).inputs == "media":
        from hcep.encoders.folder import load_encoders

        encoders = load_encoders(args.encoder)
    return Inputs(args.split, args.index, args.features, read_info(args.encoder), encoders)


def _tune_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", required=True, help="name in the results")
    parser.add_argument("--seed", type=int, required=True)
    _run_arguments(parser)
    add_run_settings(parser)
    parser.add_argument("--grid", type=settings_argument, required=True, metavar="JSON", help="setting -> values")
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder of resume states")
    add_paths(parser, "output", help="tuned.json to write")


def tune(args: Arguments) -> None:
    """Choose settings of one run from a grid, on held-out known training clips alone."""
    from hcep.provenance import code_digest
    from hcep.training.tune import tune as run

    entry = _method(args)
    run(
        _inputs(args),
        registry.load(entry.target),
        args.settings,
        args.grid,
        name=args.method,
        seed=args.seed,
        code=code_digest(["hcep.training.tune", registry.module_of(entry.target)]),
        output=args.output,
        work=args.work,
    )


def train(args: Arguments) -> None:
    """Train one run; started again after an interruption, it goes on where it stopped."""
    from hcep.provenance import code_digest
    from hcep.training.train import train as run

    entry = _method(args)
    modules = ["hcep.training.train", registry.module_of(entry.target)]
    judge = None
    if args.settings["selection"] == "best_on_test":
        from hcep.evaluation.select import judge_on_test

        judge = judge_on_test
        modules.append("hcep.evaluation.select")
    run(
        _inputs(args),
        registry.load(entry.target),
        args.settings,
        tuned=[json.loads(path.read_text(encoding="utf-8")) for path in args.tuned],
        name=args.method,
        seed=args.seed,
        code=code_digest(modules),
        model=args.model,
        history=args.history,
        work=args.work,
        judge=judge,
    )


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    _run_arguments(parser)
    add_paths(parser, "model", help="checkpoint")
    add_paths(parser, "output", help="scores.h5 to write")
    add_paths(parser, "timing", help="timing.json to write: seconds and memory of the test clips")


def score(args: Arguments) -> None:
    """Score the training and test clips of a run with its checkpoint."""
    from hcep.training.score import score as run

    entry = registry.method(args.base)
    run(_inputs(args), registry.load(entry.target), args.model, args.output, args.timing)


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "scores", help="scores.h5 of a run")
    add_settings(parser, "replicates", "confidence", "seed", "acceptance")
    add_paths(parser, "metrics", help="metrics.json to write")
    add_paths(parser, "curves", help="curves.csv to write")
    add_paths(parser, "thresholds", help="thresholds.csv to write")


def evaluate(args: Arguments) -> None:
    """AUROC, OSCR and the other metrics of a run with bootstrap intervals, its curves and thresholds."""
    from hcep.evaluation.evaluate import evaluate as run

    run(args.scores, args.metrics, args.curves, args.thresholds, **args.settings)


def _posthoc_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "scores", help="scores.h5 of a run")
    add_settings(parser, "replicates", "confidence", "seed", optional=("acceptance",))
    add_paths(parser, "output", help="posthoc.csv to write")


def posthoc(args: Arguments) -> None:
    """Other scores from a run's saved logits and features (energy, Mahalanobis, ViM, ...), without training."""
    from hcep.training.posthoc import posthoc as run

    run(args.scores, args.output, **{key: args.settings[key] for key in ("replicates", "confidence", "seed")})


VERBS: dict[str, Verb] = {
    "draw_splits": (_draw_arguments, draw_splits),
    "check_tasks": (_tasks_arguments, check_tasks),
    "make_split": (_split_arguments, make_split),
    "tune": (_tune_arguments, tune),
    "train": (_train_arguments, train),
    "score": (_score_arguments, score),
    "evaluate": (_evaluate_arguments, evaluate),
    "posthoc": (_posthoc_arguments, posthoc),
}
