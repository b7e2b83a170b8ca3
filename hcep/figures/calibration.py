"""Whether probabilities and thresholds mean what they say, on known test clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from hcep.evaluation.metrics import log_max_softmax
from hcep.evaluation.scores import read_scores
from hcep.figures.run_files import (
    Floats,
    RunFiles,
    openness_title,
    read_run_files,
    read_thresholds,
    sorted_openness,
    split_count,
)
from hcep.figures.style import GREY, Drawing, Rows, describe, finish, method_style, panels

BINS = 10
# a bin with fewer clips has no accuracy to speak of
FEWEST = 10


def calibration_figure(runs: Sequence[str | Path], task: str = "") -> Drawing:
    """A row per openness, a line per method: reliability at the left, coverage of the threshold at the right.

    Reliability: known test clips of all runs, in ten equal bins of the largest softmax probability of the logits, their
    mean probability against their accuracy (Guo et al., "On Calibration of Modern Neural Networks", 2017). Coverage:
    the share of training clips that a threshold was to accept against the share of known test clips that it accepts,
    mean over runs. Runs are folders with ``scores.h5``, ``thresholds.csv`` and ``metrics.json``.

    Raises
    ------
    HcepError
        A file is missing or unreadable, or the runs of a method have different acceptance rates.
    """
    read = read_run_files(runs)
    levels = sorted_openness(run.openness for run in read)
    methods = list(dict.fromkeys(run.method for run in read))
    figure, axes = panels(len(levels), 2, height=1.45)
    rows: Rows = []
    for (left, right), level in zip(axes, levels, strict=True):
        for method in methods:
            own = [run for run in read if (run.method, run.openness) == (method, level)]
            if own:
                rows += _draw_reliability(left, own) + _draw_coverage(right, own)
        for ax in (left, right):
            ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as it says")
            ax.set_ylim(0, 1.05)
        left.set(xlim=(0, 1.03), ylabel=f"{openness_title(level)}\naccuracy")
        right.set(ylabel="known test clips accepted", xlim=(0.48, 1.01))
    axes[0, 0].set_title("reliability of the known posterior")
    axes[0, 1].set_title("coverage of the threshold")
    axes[-1, 0].set_xlabel("largest probability")
    axes[-1, 1].set_xlabel("training clips accepted")
    title = describe("Calibration on known test clips", task, split_count(read))
    finish(figure, title, stand_in=any(run.metrics["stand_in"] for run in read))
    return figure, rows


def _draw_reliability(ax: Axes, runs: Sequence[RunFiles]) -> Rows:
    surety, right = (np.concatenate(parts) for parts in zip(*map(_known_clips, runs), strict=True))
    place = np.minimum((BINS * surety).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    full = np.maximum(counts, 1)
    means = np.bincount(place, surety, BINS) / full
    hits = np.bincount(place, right, BINS) / full
    shown = counts >= FEWEST
    style = method_style(runs[0].method)
    ax.plot(means[shown], hits[shown], label=runs[0].method.lstrip("_"), **style)
    error = float((counts * np.abs(hits - means)).sum() / counts.sum())
    shared = {"part": "reliability", "method": runs[0].method, "openness": runs[0].openness}
    return [
        shared | {"x": float(means[i]), "y": float(hits[i]), "clips": int(counts[i]), "calibration_error": error}
        for i in np.flatnonzero(counts)
    ]


def _known_clips(run: RunFiles) -> tuple[Floats, Floats]:
    """Largest probability of every known test clip, and whether its class is right, each (n,)."""
    scores = read_scores(run.folder / "scores.h5", features=False)
    kept = (scores.part == "test") & scores.known
    right = (scores.prediction == scores.label)[kept].astype(np.float64)
    return np.exp(log_max_softmax(scores.logits[kept])), right


def _draw_coverage(ax: Axes, runs: Sequence[RunFiles]) -> Rows:
    asked, tables = read_thresholds(runs, ["test_tpr"])
    found = tables["test_tpr"].mean(axis=0)
    ax.plot(asked, found, markevery=2, label=runs[0].method.lstrip("_"), **method_style(runs[0].method))
    shared = {"part": "coverage", "method": runs[0].method, "openness": runs[0].openness}
    return [shared | {"x": x, "y": y} for x, y in zip(asked.tolist(), found.tolist(), strict=True)]
