"""One run's scores -> metrics with intervals, curves and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.evaluation.bootstrap import CONFIDENCE, REPLICATES, bootstrap, interval
from hcep.evaluation.corpora import corpora_of, corpus_metrics
from hcep.evaluation.metrics import METRICS, open_set, open_set_curve, open_set_metrics
from hcep.evaluation.scores import Scores, group_keys, read_scores
from hcep.evaluation.thresholds import ACCEPTANCE, COLUMNS, threshold_table
from hcep.files import write_json, write_table

IDENTITY = ("task", "method", "openness", "split", "seed")


def evaluate(
    scores: str | Path,
    metrics: str | Path,
    curves: str | Path,
    thresholds: str | Path,
    *,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    acceptance: Sequence[float] = ACCEPTANCE,
) -> None:
    """Evaluate one run from its scores file.

    Parameters
    ----------
    scores : path
        ``scores.h5``.
    metrics, curves, thresholds : path
        Written: ``metrics.json`` (fractions, each metric with ``value``, ``lo``, ``hi``), ``curves.csv`` (columns
        ``threshold,tpr,ccr,fpr``, first row (0, 0) with threshold inf) and ``thresholds.csv``.
    replicates : int
        Bootstrap replicates.
    confidence : float
        Of the percentile intervals.
    seed : int
        Of the bootstrap draws.
    acceptance : sequence of float
        Shares of training clips that the thresholds accept.

    Raises
    ------
    HcepError
        The scores file is unusable, or the run has no known test, unknown test or training clip.
    """
    source = Path(scores)
    run = read_scores(source, features=False)
    try:
        result = summarise(run, replicates=replicates, confidence=confidence, seed=seed)
        test = open_set(run)
        rows = threshold_table(run.score[run.part == "train"], test, acceptance)
        inside = test.known
        correct = (test.label == test.prediction)[inside]
        curve = open_set_curve(test.score[inside], correct, test.score[~inside])
    except HcepError as error:
        raise HcepError(error.cause, file=source, row=error.row, remedy=error.remedy) from error
    write_json(metrics, result)
    points = zip(*(values.tolist() for values in curve), strict=True)
    write_table(curves, curve._fields, (dict(zip(curve._fields, point, strict=True)) for point in points))
    write_table(thresholds, COLUMNS, rows)


def summarise(run: Scores, *, replicates: int, confidence: float, seed: int) -> dict[str, Any]:
    """Content of metrics.json: identity, counts, and every metric as ``{"value", "lo", "hi"}`` (fractions).

    With known test clips of several corpora also ``n_known_<corpus>``, the metrics of `corpus_metrics`, and
    ``corpus_positive``, the corpus whose clips are the positive side of ``corpus_auroc``.
    """
    test = open_set(run)
    values = open_set_metrics(test)
    draws = bootstrap(test, group_keys(run)[run.part == "test"], replicates=replicates, seed=seed)
    result: dict[str, Any] = {name: getattr(run, name) for name in IDENTITY}
    result |= {
        "classes": list(run.classes),
        "left_out": list(run.left_out),
        "remarks": list(run.remarks),
        "corpora": list(corpora_of(run)),
        "n_known": int(test.known.sum()),
        "n_unknown": int((~test.known).sum()),
        "n_groups": draws.n_groups,
        "n_train": int((run.part == "train").sum()),
        "text_kind": run.text_kind,
        "stand_in": run.stand_in,
        "selection": str(run.settings.get("selection", "")),
        "replicates": replicates,
        "replicates_dropped": draws.dropped,
        "confidence": confidence,
        "bootstrap_seed": seed,
    }
    for name in METRICS:
        low, high = interval(draws.values[name], confidence)
        result[name] = {"value": values[name], "lo": low, "hi": high}
    extra = corpus_metrics(run, replicates=replicates, seed=seed)
    for name, (value, replicate_values) in extra.items():
        low, high = interval(replicate_values, confidence)
        result[name] = {"value": value, "lo": low, "hi": high}
    if extra:
        known = run.dataset[(run.part == "test") & run.known]
        result |= {f"n_known_{corpus}": int((known == corpus).sum()) for corpus in result["corpora"]}
        result["corpus_positive"] = result["corpora"][0]
    return result
