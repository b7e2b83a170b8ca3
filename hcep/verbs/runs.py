"""Verbs of one run: the draw of classes, tuning, training, scoring."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hcep import registry
from hcep.config.methods import base_method
from hcep.provenance import stage_digest
from hcep.seal import read_sealed_json
from hcep.stages import STAGES
from hcep.verbs.options import check_model, check_settings

# what `series` leaves of a run, in the order in which it hands the files out
FILES = (
    *("model.safetensors", "scores.h5", "history.csv", "timing.json"),
    *("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5", "posthoc.csv", "posthoc.h5"),
)


def draw_splits(labels: Sequence[str], openness: Sequence[str], count: int, seed: int, task: str, output: Path) -> None:
    """Draw distinct class splits for a task and write them to be committed."""
    from hcep.protocol.class_splits import write_class_splits

    with warnings.catch_warnings(record=True) as said:
        write_class_splits(output, labels, openness, count=count, seed=seed, task=task)
    for warning in said:
        print(f"draw_splits: {warning.message}", file=sys.stderr)


def _inputs(base: str, split: Path, index: Sequence[Path], features: Sequence[Path], encoder: Path) -> Any:
    from hcep.encoders.info import read_info
    from hcep.training.run import Inputs

    encoders, entry = None, base_method(base)
    if entry.inputs == "media" or entry.text_tower:
        from hcep.encoders.folder import load_encoders

        encoders = load_encoders(encoder)
    return Inputs(split, index, features, read_info(encoder), encoders)


def tune(
    method: str,
    seed: int,
    base: str,
    settings: dict[str, Any],
    grid: dict[str, Any],
    work: Path,
    output: Path,
    **files: Any,
) -> None:
    """Choose settings of one run from a grid."""
    from hcep.training.tune import tune as run

    entry = base_method(base)
    check_model(settings, entry, list(entry.model_fields))
    run(
        _inputs(base, **files),
        registry.load(entry.target),
        settings,
        grid,
        name=method,
        seed=seed,
        code=stage_digest("tune", entry.target),
        output=output,
        work=work,
    )


def train(
    method: str,
    seed: int,
    base: str,
    settings: dict[str, Any],
    tuned: Sequence[Path],
    work: Path | None,
    model: Path,
    history: Path,
    **files: Any,
) -> None:
    """Train one run."""
    from hcep.training.train import train as run

    entry = base_method(base)
    check_model(settings, entry, list(entry.model_fields))
    judge, judging = _judge(settings)
    run(
        _inputs(base, **files),
        registry.load(entry.target),
        settings,
        tuned=[read_sealed_json(path) for path in tuned],
        name=method,
        seed=seed,
        code=stage_digest("train", entry.target, *judging),
        model=model,
        history=history,
        work=work,
        judge=judge,
    )


def _judge(settings: dict[str, Any]) -> tuple[Any, list[str]]:
    """What chooses an epoch on test clips, and its module; nothing where that is not asked for."""
    if settings["selection"] != "best_on_test":
        return None, []
    from hcep.evaluation.select import judge_on_test

    return judge_on_test, ["hcep.evaluation.select"]


def score(base: str, model: Path, output: Path, timing: Path, **files: Any) -> None:
    """Score the training and test clips of a run with its checkpoint."""
    from hcep.training.score import score as run

    run(_inputs(base, **files), registry.load(base_method(base).target), model, output, timing)


def robustness(
    base: str,
    encoder: Path,
    model: Path,
    scores: Path,
    output: Path,
    replicates_h5: Path,
    replicates: int,
    confidence: float,
    seed: int,
    split: Path,
    index: Sequence[Path],
    features: Sequence[Path],
    **levels: Any,
) -> None:
    """Score disturbed test clips of a run with its checkpoint."""
    from hcep.config.entries import Robustness
    from hcep.encoders.folder import load_encoders
    from hcep.training.robustness import robustness as run

    entry, chosen = base_method(base), Robustness(**levels).model_dump()
    inputs = _inputs(base, split, index, features, encoder)
    # a second copy, since those of a method may be on another device
    again = entry.inputs == "features" and inputs.encoder["source"] != "import"
    run(
        inputs,
        load_encoders(encoder) if again else None,
        registry.load(entry.target),
        model,
        scores,
        output,
        replicates_h5,
        disturbance_seed=chosen.pop("disturbance_seed"),
        levels=chosen,
        replicates=replicates,
        confidence=confidence,
        seed=seed,
    )


def series(
    method: str,
    split: Sequence[Path],
    seeds: Sequence[int],
    runs: Sequence[Path],
    base: str,
    settings: dict[str, Any],
    evaluation: dict[str, Any],
    posthoc: dict[str, Any],
    **files: Any,
) -> None:
    """Train, score and evaluate the runs that are not made yet, with post-hoc scores; no resume state is kept."""
    from hcep.evaluation.evaluate import evaluate
    from hcep.evaluation.posthoc import posthoc as other_scores
    from hcep.training.many import made_of, make_all
    from hcep.training.score import score as score_run
    from hcep.training.train import train as train_run

    entry = base_method(base)
    check_model(settings, entry, list(entry.model_fields))
    for verb, own in (("evaluate", evaluation), ("posthoc", posthoc)):
        keys = STAGES[verb].keys
        assert keys is not None
        check_settings(own, keys)
    judge, judging = _judge(settings)
    code, target = stage_digest("series", entry.target, *judging), registry.load(entry.target)
    shared = _inputs(base, split=split[0], **files).sharing()
    inputs = [replace(shared, split=place) for place in split]
    chosen = {"method": method, "settings": settings, "evaluation": evaluation, "posthoc": posthoc, "code": code}

    def make(number: int) -> list[str]:
        run, own, seed = runs[number], inputs[number], seeds[number]
        model, scores, *rest = (run / name for name in FILES)
        history, timing, *evaluated, posthoc_csv, posthoc_h5 = rest
        names: dict[str, Any] = {"name": method, "seed": seed, "code": code, "judge": judge}
        train_run(own, target, settings, model=model, history=history, work=None, **names)
        score_run(own, target, model, scores, timing)
        evaluate(scores, *evaluated, **evaluation)
        other_scores(scores, posthoc_csv, posthoc_h5, **posthoc)
        return list(FILES)

    wanted = (made_of(one, seed=seed, **chosen) for one, seed in zip(inputs, seeds, strict=True))
    make_all(runs, wanted, make)
