"""Verbs of one run: the draw of classes, tuning, training, scoring."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hcep import registry
from hcep.claims import claimed
from hcep.config.methods import SCORING, base_method
from hcep.errors import shown
from hcep.provenance import stage_digest
from hcep.seal import read_sealed_json
from hcep.stages import STAGES
from hcep.verbs.options import check_model, check_settings


def draw_splits(labels: Sequence[str], openness: Sequence[str], count: int, seed: int, task: str, output: Path) -> None:
    """Draw distinct class splits for a task and write them to be committed."""
    from hcep.protocol.class_splits import write_class_splits

    with warnings.catch_warnings(record=True) as said:
        write_class_splits(output, labels, openness, count=count, seed=seed, task=task)
    for warning in said:
        print(shown(f"draw_splits: {warning.message}"), file=sys.stderr)


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
    _check(settings, base)
    with claimed(work, output):
        run(
            _inputs(base, **files),
            registry.load(entry.target),
            settings,
            grid,
            name=method,
            seed=seed,
            code=stage_digest("tune", *entry.code()),
            output=output,
            work=work,
        )


def train(
    base: str,
    settings: dict[str, Any],
    split: Path,
    index: Sequence[Path],
    features: Sequence[Path],
    encoder: Path,
    **options: Any,
) -> None:
    """Train one run; the other options are those of `_train`."""
    _check(settings, base)
    _train(_inputs(base, split, index, features, encoder), base, settings, **options)


def _check(settings: dict[str, Any], base: str) -> None:
    """Refuse settings that the method does not read, before anything is loaded."""
    entry = base_method(base)
    check_model(settings, entry, list(entry.model_fields))


def _train(
    inputs: Any,
    base: str,
    settings: dict[str, Any],
    *,
    method: str,
    seed: int,
    tuned: Sequence[Path],
    work: Path | None,
    model: Path,
    history: Path,
    trained: Sequence[Path] = (),
    reuse: bool = False,
) -> None:
    from hcep.training.train import Trained
    from hcep.training.train import train as run

    entry = base_method(base)
    code, judge = entry.code(), None
    if settings["selection"] == "best_on_test":
        from hcep.evaluation.select import judge_on_test

        judge = judge_on_test
        code.append("hcep.evaluation.select")
    run(
        inputs,
        registry.load(entry.target),
        settings,
        tuned=[read_sealed_json(path) for path in tuned],
        name=method,
        seed=seed,
        code=stage_digest("train", *code),
        model=model,
        history=history,
        work=work,
        judge=judge,
        trained=Trained(trained[0], trained[1], SCORING) if trained else None,
        reuse=reuse,
    )


def score(base: str, model: Path, output: Path, timing: Path, **files: Any) -> None:
    """Score the training and test clips of a run with its checkpoint."""
    _score(_inputs(base, **files), base, model, output, timing)


def _score(inputs: Any, base: str, model: Path, output: Path, timing: Path, *, reuse: bool = False) -> None:
    from hcep.training.score import score as run

    entry = base_method(base)
    code = stage_digest("score", *entry.code())
    run(inputs, registry.load(entry.target), model, output, timing, code=code, reuse=reuse)


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


def run(
    method: str,
    split: Sequence[Path],
    seeds: Sequence[int],
    runs: Sequence[Path],
    base: str,
    settings: dict[str, Any],
    tuned: Sequence[Path],
    trained: Sequence[Path],
    evaluation: dict[str, Any],
    posthoc: dict[str, Any],
    work: Path,
    **files: Any,
) -> None:
    """Train, score and evaluate runs of one method one after another; what is current is taken over."""
    from hcep.evaluation.evaluate import evaluate
    from hcep.training.many import make_all

    _check(settings, base)
    for verb, own in {"evaluate": evaluation, **({"posthoc": posthoc} if posthoc else {})}.items():
        keys = STAGES[verb].keys
        assert keys is not None
        check_settings(own, keys)
    # a run on cached features takes seconds, and keeps no state to go on from
    states = None if base_method(base).inputs == "features" else work
    shared = _inputs(base, split[0], **files).sharing()

    def make(number: int) -> None:
        folder, own = runs[number], replace(shared, split=split[number])
        model, scores = folder / "model.safetensors", folder / "scores.h5"
        _train(
            own,
            base,
            settings,
            method=method,
            seed=seeds[number],
            tuned=tuned,
            work=states,
            model=model,
            history=folder / "history.csv",
            trained=trained,
            reuse=True,
        )
        _score(own, base, model, scores, folder / "timing.json", reuse=True)
        tables = (folder / name for name in ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5"))
        evaluate(scores, *tables, **evaluation)
        if posthoc:
            from hcep.evaluation.posthoc import posthoc as other_scores

            other_scores(scores, folder / "posthoc.csv", folder / "posthoc.h5", **posthoc)

    with claimed(work, runs[0]):
        make_all(runs, make)
