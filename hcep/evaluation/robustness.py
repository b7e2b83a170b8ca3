"""Metrics of one run's test clips under disturbances, beside those of the clips as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcep.errors import HcepError
from hcep.evaluation.bootstrap import bootstrap, interval
from hcep.evaluation.evaluate import facts
from hcep.evaluation.marks import marks_of, shown_columns
from hcep.evaluation.metrics import Floats, open_set, open_set_metrics
from hcep.evaluation.replicates import digests, write_replicates
from hcep.evaluation.scores import IDENTITY, Scores, group_keys
from hcep.files import write_table

METRICS = ("auroc", "oscr", "accuracy")
CLEAN = "clean"
MINUS = "_minus_clean"
COLUMNS = (
    *(*IDENTITY, "kind", "level", "clips", "changed"),
    *(f"{name}{part}{end}" for name in METRICS for part in ("", MINUS) for end in ("", "_lo", "_hi")),
    *("note", "text_kind", "stand_in", "selection"),
)


class Outcome(NamedTuple):
    """What a run says of its n test clips under one disturbance.

    Attributes
    ----------
    kind, level : str
        ``clean`` and '' for the clips as they are.
    changed : int
        Clips whose content or flags differ from the clean ones.
    note : str
        Which clips were left alone, and why.
    score : (n,) float64 or None
        None where no clip can be disturbed so.
    prediction : (n,) str or None
        Names of known classes.
    """

    kind: str
    level: str
    changed: int
    note: str
    score: Floats | None = None
    prediction: NDArray[np.str_] | None = None

    def named(self, metric: str) -> str:
        """What its replicates of a metric are called in robustness.h5."""
        return metric_name(self.kind, self.level, metric)


def metric_name(kind: str, level: str, metric: str) -> str:
    """``<kind> <level> <metric>``, or ``clean <metric>``."""
    return " ".join(part for part in (kind, level, metric) if part)


def write_robustness(
    run: Scores,
    source: Path,
    outcomes: Iterable[Outcome],
    output: Path,
    replicates_h5: Path,
    *,
    replicates: int,
    confidence: float,
    seed: int,
) -> None:
    """Write the metrics of a run's test clips, clean and under every disturbance.

    Parameters
    ----------
    run, source
        The run's scores.h5 and its path: who is tested, and the clean scores.
    outcomes : iterable of Outcome
        Scores of its test clips, in the order of scores.h5.
    output : path
        ``robustness.csv``: one row a level, in percent, with intervals on the run's own bootstrap draws, and the
        differences from the clean clips on the same draws. A disturbance of no clip has empty cells, and `note` says
        why.
    replicates_h5 : path
        ``robustness.h5``: the replicates of every level and metric, as ``<kind> <level> <metric>``, for
        `robustness_summary`.

    Raises
    ------
    HcepError
        A score is not finite.
    """
    test = run.part == "test"
    groups, clips = group_keys(run)[test], run.clip[test]
    identity: dict[str, Any] = {name: getattr(run, name) for name in IDENTITY}
    identity |= {"text_kind": run.text_kind, "stand_in": "true" if run.stand_in else "false"}
    identity |= {"selection": run.settings.get("selection", ""), **marks_of(run)}
    rows, content, drawn = [], dict[str, Any](), dict[str, Floats]()
    clean = Outcome(CLEAN, "", 0, "", run.score[test], run.prediction[test])
    for outcome in (clean, *outcomes):
        shown = {"kind": outcome.kind, "level": outcome.level, "changed": outcome.changed, "note": outcome.note}
        row = identity | shown | {"clips": len(clips)}
        rows.append(row)
        if outcome.score is None or outcome.prediction is None:
            continue
        bad = ~np.isfinite(outcome.score)
        if bad.any():
            cause = f"the score under {outcome.kind} {outcome.level} is not finite for {bad.sum()} clips"
            raise HcepError(cause, file=source, row=f"clip {clips[bad.argmax()]}", remedy="look for a diverged run")
        place = {name: number for number, name in enumerate(run.classes)}
        ids = np.array([place[name] for name in outcome.prediction.tolist()], dtype=np.intp)
        data = open_set(run)._replace(score=outcome.score, prediction=ids)
        draws = bootstrap(data, groups, replicates=replicates, seed=seed)
        if not content:
            content = facts(run, draws, replicates=replicates, confidence=confidence, seed=seed)
        found = open_set_metrics(data)
        for metric in METRICS:
            name, reference = outcome.named(metric), clean.named(metric)
            drawn[name] = draws.values[metric]
            low, high = interval(drawn[name], confidence)
            content[name] = {"value": found[metric], "lo": low, "hi": high}
            row |= _percent(metric, found[metric], drawn[name], confidence)
            if outcome is not clean:
                gap, gaps = found[metric] - content[reference]["value"], drawn[name] - drawn[reference]
                row |= _percent(f"{metric}{MINUS}", gap, gaps, confidence)
    content["levels"] = [{key: row[key] for key in ("kind", "level", "clips", "changed", "note")} for row in rows]
    content["digests"] = digests(run, source, drawn)
    write_replicates(replicates_h5, content, drawn)
    write_table(output, shown_columns(COLUMNS, rows), rows)


def _percent(column: str, value: float, draws: Floats, confidence: float) -> dict[str, str]:
    """A value with the ends of its interval, in percent."""
    low, high = interval(draws, confidence)
    cells = {"": value, "_lo": low, "_hi": high}
    # adding 0.0 turns -0.0 into 0.0
    return {f"{column}{end}": f"{round(100 * cell, 4) + 0.0:.4f}" for end, cell in cells.items()}
