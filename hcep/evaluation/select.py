"""Choosing an epoch by its test clips: what HESP did, kept as an explicit mode that every table marks."""

from __future__ import annotations

import numpy as np

from hcep.evaluation.metrics import OpenSet, open_set_metrics


def judge_on_test(score: np.ndarray, label: np.ndarray, prediction: np.ndarray, classes: int) -> dict[str, float]:
    """AUROC + OSCR of n test clips as ``selected``; all arrays ``(n,)``, label -1 = unknown, `classes` = K."""
    metrics = open_set_metrics(OpenSet(score, label >= 0, label, prediction, classes))
    total = metrics["auroc"] + metrics["oscr"]
    return {"test_auroc": metrics["auroc"], "test_oscr": metrics["oscr"], "selected": total}
