"""One run's scores -> metrics with intervals, bootstrap replicates, curves and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hcep.errors import HcepError
from hcep.evaluation.bootstrap import CONFIDENCE, REPLICATES, Replicates, bootstrap, interval
from hcep.evaluation.corpora import corpora_of, corpus_metrics
from hcep.evaluation.marks import marks_of
from hcep.evaluation.metrics import Floats, open_set, open_set_curve, open_set_metrics
from hcep.evaluation.replicates import digests, write_replicates
from hcep.evaluation.scores import IDENTITY, Scores, group_keys, read_scores
from hcep.evaluation.thresholds import ACCEPTANCE, COLUMNS, threshold_table
from hcep.files import write_table
from hcep.seal import write_sealed_json


def evaluate(
    scores: str | Path,
    metrics: str | Path,
    curves: str | Path,
    thresholds: str | Path,
    replicates_h5: str | Path,
    *,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    acceptance: Sequence[float] = ACCEPTANCE,
) -> None:
    """Evaluate one run from its scores file.

    Parameters
    ----------
    metrics, curves, thresholds, replicates_h5 : path
        Files to write: ``metrics.json`` (fractions, each metric with ``value``, ``lo``, ``hi``), ``curves.csv``
        (columns ``threshold,tpr,ccr,fpr``, the first row is (0, 0) with threshold inf), ``thresholds.csv``, and
        ``replicates.h5`` (every metric's bootstrap replicates, which `aggregate` averages and compares).
    replicates, confidence, seed
        Of the bootstrap: how many draws, the confidence of the percentile intervals, and the seed of the draws.
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
        result, values = summarise(run, replicates=replicates, confidence=confidence, seed=seed)
        test = open_set(run)
        rows = threshold_table(run.score[run.part == "train"], test, acceptance)
    except HcepError as error:
        raise HcepError(error.cause, file=source, row=error.row, remedy=error.remedy) from error
    result["digests"] = digests(run, source, values)
    curve = open_set_curve(test)
    points = np.column_stack(curve).tolist()
    write_table(curves, curve._fields, [dict(zip(curve._fields, point, strict=True)) for point in points])
    write_table(thresholds, COLUMNS, rows)
    write_replicates(replicates_h5, result, values)
    write_sealed_json(metrics, result)


def summarise(
    run: Scores, *, replicates: int, confidence: float, seed: int
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Content of metrics.json but for its digests, and the replicates of every metric.

    The content is the run's identity, counts, and every metric as ``{"value", "lo", "hi"}`` (fractions). With known
    test clips of several corpora it also has ``n_known_<corpus>``, the metrics of `corpus_metrics`, and
    ``corpus_positive``, the corpus whose clips are the positive side of ``corpus_auroc``.
    """
    test = open_set(run)
    values = open_set_metrics(test)
    draws = bootstrap(test, group_keys(run)[run.part == "test"], replicates=replicates, seed=seed)
    extra = corpus_metrics(run, replicates=replicates, seed=seed)
    values |= {name: metric.value for name, metric in extra.items()}
    drawn = draws.values | {name: metric.replicates for name, metric in extra.items()}
    result = facts(run, draws, replicates=replicates, confidence=confidence, seed=seed)
    for name, value in values.items():
        low, high = interval(drawn[name], confidence)
        result[name] = {"value": value, "lo": low, "hi": high}
    if extra:
        known = run.dataset[(run.part == "test") & run.known]
        result |= {f"n_known_{corpus}": int((known == corpus).sum()) for corpus in result["corpora"]}
        result["corpus_positive"] = result["corpora"][0]
    return result, drawn


def facts(run: Scores, draws: Replicates, *, replicates: int, confidence: float, seed: int) -> dict[str, Any]:
    """What a table must know of a run beside its metrics: identity, counts, marks and the bootstrap's settings."""
    test = run.part == "test"
    result: dict[str, Any] = {name: getattr(run, name) for name in IDENTITY}
    result |= {name: list(getattr(run, name)) for name in ("classes", "left_out", "remarks")}
    return result | {
        "corpora": list(corpora_of(run)),
        "n_known": int((test & run.known).sum()),
        "n_unknown": int((test & ~run.known).sum()),
        "n_groups": draws.n_groups,
        "n_train": int((run.part == "train").sum()),
        "text_kind": run.text_kind,
        **marks_of(run),
        "stand_in": run.stand_in,
        "selection": str(run.settings.get("selection", "")),
        "epoch": run.settings.get("epoch"),
        "replicates": replicates,
        "replicates_dropped": draws.dropped,
        "confidence": confidence,
        "bootstrap_seed": seed,
    }
