"""Post-hoc open-set scores of a trained run, from its logits and features alone: no method is trained again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcep.config.methods import DistanceMM
from hcep.errors import HcepError
from hcep.evaluation.bootstrap import CONFIDENCE, REPLICATES, bootstrap, interval
from hcep.evaluation.detectors import FEATURE_SCORES, LOGIT_SCORES, Parts, max_logit
from hcep.evaluation.distance import Options, centre_and_scale, fit_distance
from hcep.evaluation.evaluate import facts
from hcep.evaluation.marks import marks_of, shown_columns
from hcep.evaluation.metrics import Floats, open_set, open_set_metrics
from hcep.evaluation.replicates import digests, write_replicates
from hcep.evaluation.scores import FEATURES, IDENTITY, Scores, group_keys, read_scores
from hcep.files import write_table

METRICS = ("auroc", "oscr", "fpr95")
OWN = "own"
# modality -> the flag of a clip that lacks it
ABSENT = {"text": "no_text", "vision": "no_video", "audio": "no_audio"}
DISTANCE_SCORES = ("distance", "own+distance", "max_logit+distance")
DECLARED = DistanceMM()
COLUMNS = (
    *(*IDENTITY, "score", "feature"),
    *(f"{name}{part}" for name in METRICS for part in ("", "_lo", "_hi")),
    *("note", "text_kind", "stand_in", "selection"),
)

# name, feature, (clips,) values or None where it is not defined, and note
Found = tuple[str, str, Floats | None, str]


def posthoc(
    scores: str | Path,
    output: str | Path,
    replicates_h5: str | Path,
    *,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    distance_power: float = DECLARED.distance_power,
    ridge: float = DECLARED.ridge,
    score_folds: int = DECLARED.score_folds,
) -> None:
    """Write the metrics of every post-hoc score of one run, beside the method's own score (row ``own``).

    What is fitted is fitted on the known training clips: distances to class means on the features of each modality
    (`hcep.evaluation.distance`), all else on the fused feature, or on the modalities joined where a method stores no
    fused one. Test clips decide nothing but whether a linear layer fits. OSCR takes the method's own predictions,
    whatever the score.

    ``own+distance`` and ``max_logit+distance`` are sums of two values, each less its mean and over its deviation:
    of -D over training groups that were held out, of the run's score and largest logit over its training clips, which
    the run has seen.

    Parameters
    ----------
    output : path
        ``posthoc.csv``: one row a score, in percent, with the intervals of the run's own bootstrap draws. A score that
        is not defined for the run has empty cells and says why in `note`.
    replicates_h5 : path
        ``posthoc.h5``: the replicates of every score and metric, as ``<score> <metric>``, for `posthoc_summary`.
    distance_power, ridge, score_folds
        See `Options` of `hcep.evaluation.distance`.

    Raises
    ------
    HcepError
        The scores file is unusable, a feature or a score is not finite, or a known class has no training clip.
    """
    source = Path(scores)
    run = read_scores(source)
    test = run.part == "test"
    groups = group_keys(run)[test]
    identity: dict[str, Any] = {name: getattr(run, name) for name in IDENTITY}
    identity |= {"text_kind": run.text_kind, "stand_in": "true" if run.stand_in else "false"}
    identity |= {"selection": run.settings.get("selection", ""), **marks_of(run)}
    rows, content, drawn = [], dict[str, Any](), dict[str, Floats]()
    for name, feature, values, note in _all_scores(run, source, Options(distance_power, ridge, None, score_folds)):
        row = identity | {"score": name, "feature": feature, "note": note}
        if values is not None:
            bad = ~np.isfinite(values)
            if bad.any():
                cause, place = f"post-hoc score {name} is not finite for {bad.sum()} clips", run.clip[bad.argmax()]
                raise HcepError(cause, file=source, row=f"clip {place}", remedy="look for a diverged run")
            data = open_set(run)._replace(score=values[test])
            draws = bootstrap(data, groups, replicates=replicates, seed=seed)
            if not content:
                content = facts(run, draws, replicates=replicates, confidence=confidence, seed=seed)
            found = open_set_metrics(data)
            for metric in METRICS:
                low, high = interval(draws.values[metric], confidence)
                shown = {"": found[metric], "_lo": low, "_hi": high}
                row |= {f"{metric}{part}": f"{100 * value:.4f}" for part, value in shown.items()}
                content[f"{name} {metric}"] = {"value": found[metric], "lo": low, "hi": high}
                drawn[f"{name} {metric}"] = draws.values[metric]
        rows.append(row)
    content["scores"] = [{key: row[key] for key in ("score", "feature", "note")} for row in rows]
    content["digests"] = digests(run, source, drawn)
    write_replicates(replicates_h5, content, drawn)
    write_table(output, shown_columns(COLUMNS, rows), rows)


def _all_scores(run: Scores, source: Path, options: Options) -> Iterator[Found]:
    """Every score, in the order of the table."""
    yield OWN, "", run.score, ""
    for name, of_logits in LOGIT_SCORES.items():
        yield name, "logits", of_logits(run.logits), ""
    feature, features = pooled_feature(run)
    if not len(features):
        for name in (*FEATURE_SCORES, *DISTANCE_SCORES):
            yield name, "", None, "no feature is stored"
        return
    for name, values in run.features.items():
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            cause, place = f"feature {name} is not finite, so no score can be fitted on it", run.clip[bad.argmax()]
            raise HcepError(cause, file=source, row=f"clip {place}", remedy="train the run again")
    train = run.part == "train"
    names = run.label[train].tolist()
    label = np.array([run.classes.index(name) for name in names], dtype=np.int64)
    absent = sorted(set(run.classes) - set(names))
    if absent:
        raise HcepError(f"no training clip of {absent[0]} to fit mahalanobis", file=source, remedy="score again")
    parts = Parts(run.logits, features, train, label)
    for name, of_features in FEATURE_SCORES.items():
        found, note = of_features(parts)
        yield name, feature, found, note
    yield from _distance_scores(run, train, label, options)


def _distance_scores(
    run: Scores, train: NDArray[np.bool_], label: NDArray[np.int64], options: Options
) -> Iterator[Found]:
    """The distance on the features of each modality, alone and added to what the run itself says."""
    features = {name: run.features[name] for name in ABSENT if name in run.features}
    if not features:
        yield from ((name, "", None, "no feature of a modality is stored") for name in DISTANCE_SCORES)
        return
    lacks = [set(text.split(";")) for text in run.flags.tolist()]
    missing = np.array([[ABSENT[name] in flags for name in features] for flags in lacks])
    trained = {name: values[train] for name, values in features.items()}
    groups, notes = group_keys(run)[train], list[str]()
    fitted = fit_distance(trained, missing[train], label, groups, len(run.classes), options, warn=notes.append)
    place, seen = "+".join(features), fitted.regression.there(missing).any(axis=1)
    if not fitted.regression.used.any():
        yield from ((name, place, None, "the features of all training clips are the same") for name in DISTANCE_SCORES)
        return
    near = fitted.measure(features, missing)[:, 0]
    scaled = (near - fitted.centre[0]) / fitted.scale[0]
    notes += [f"of {' and '.join(features)} alone"] * (len(features) < len(ABSENT))
    for name, own in zip(DISTANCE_SCORES, (None, run.score, max_logit(run.logits)), strict=True):
        values = near
        if own is not None:
            centre, scale = centre_and_scale(own[train & seen])
            values = (own - centre) / scale + scaled
        yield name, place, values, "; ".join(notes)


def pooled_feature(run: Scores) -> tuple[str, Floats]:
    """The fused feature, or the modalities' features side by side; name and (n, d) float64, (0, 0) without any."""
    names = ["fused"] if "fused" in run.features else [name for name in FEATURES if name in run.features]
    if not names:
        return "", np.zeros((0, 0))
    return "+".join(names), np.concatenate([run.features[name] for name in names], axis=1).astype(np.float64)
