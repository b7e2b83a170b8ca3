"""Choosing an epoch by its test clips: what HESP did, kept as an explicit mode that every table marks."""

from __future__ import annotations

import numpy as np

from hcep.evaluation.metrics import OpenSet, open_set_metrics


def judge_on_test(score: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """AUROC + OSCR of the test clips as ``selected``; label is -1 for unknown clips, scores and labels are ``(n,)``."""
    classes = int(label.max()) + 1
    metrics = open_set_metrics(OpenSet(score, label >= 0, label, prediction, classes))
    return {"test_auroc": metrics["auroc"], "test_oscr": metrics["oscr"], "selected": metrics["auroc"] + metrics["oscr"]}
