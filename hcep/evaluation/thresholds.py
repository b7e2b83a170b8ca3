"""Operating thresholds from the training clips' own scores; no unknown clip is read (HCEP section 4.4.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hcep.errors import HcepError
from hcep.evaluation.metrics import Floats, OpenSet

ACCEPTANCE = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95, 0.99)
DEFAULT_ACCEPTANCE = 0.95
COLUMNS = (
    *("acceptance", "threshold", "default"),
    *("test_tpr", "test_ccr", "test_fpr", "tpr_minus_fpr", "ccr_minus_fpr"),
)


def choose_thresholds(train: ArrayLike, acceptance: Sequence[float] = ACCEPTANCE) -> Floats:
    """Largest training score that accepts at least the wanted share of the training clips, for each of the shares.

    `train` are the scores (n,) of known training clips, higher = more known; the shares lie in (0, 1].

    Raises
    ------
    HcepError
        No training clip, a score that is not finite, or a share out of range.
    """
    ordered = np.sort(np.asarray(train, dtype=np.float64))[::-1]
    if not len(ordered):
        raise HcepError("no training clip to choose a threshold from", remedy="score the training part too")
    if not np.isfinite(ordered).all():
        raise HcepError("a training score is not finite", remedy="look for a diverged training run")
    outside = [rate for rate in acceptance if not 0 < rate <= 1]
    if outside:
        raise HcepError(f"acceptance rates must lie in (0, 1], got {outside}")
    # 1e-9 less, since .55 x 100 is 55.00000000000001 in binary numbers and would be rounded up to 56
    needed = [max(1, math.ceil(rate * len(ordered) - 1e-9)) for rate in acceptance]
    return ordered[np.array(needed, dtype=np.intp) - 1]


def threshold_table(train: ArrayLike, test: OpenSet, acceptance: Sequence[float] = ACCEPTANCE) -> list[dict[str, Any]]:
    """Thresholds chosen on training scores (n,) and what they do on the test clips, one row per acceptance rate.

    The test clips are read only after the thresholds are fixed. The rows have the keys `COLUMNS`; rates are fractions,
    and `default` is ``true`` for an acceptance of 0.95.
    """
    rows = []
    known, correct = test.known, test.known & (test.label == test.prediction)
    for rate, theta in zip(acceptance, choose_thresholds(train, acceptance), strict=True):
        accepted = test.score >= theta
        tpr = float(accepted[known].mean())
        ccr = float((accepted & correct).sum() / known.sum())
        fpr = float(accepted[~known].mean())
        default = "true" if math.isclose(rate, DEFAULT_ACCEPTANCE) else "false"
        values = (float(rate), float(theta), default, tpr, ccr, fpr, tpr - fpr, ccr - fpr)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows
