"""Distributions of the test clips' scores, known beside unknown (section 4.4.3, Fig. 7 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hcep.errors import HcepError
from hcep.evaluation.scores import Scores, read_scores
from hcep.figures.run_files import Floats, check_any, openness_title, sorted_openness
from hcep.figures.style import KNOWN, UNKNOWN, draw_text, finish, label_panels, panels

BINS = 30


def score_histogram_figure(runs: Sequence[str | Path], title: str = "") -> Figure:
    """Distributions of the scores: a row per method, a column per openness.

    The test clips of all splits and seeds are pooled. The bars of each side sum to 100 %, so that the sides compare
    whatever their sizes. Where all scores of a method are at most 0, they are log probabilities and their exponentials
    are shown. Runs are folders with ``scores.h5``.

    Raises
    ------
    HcepError
        A scores file is missing or unusable, or a panel has no known or no unknown test clip.
    """
    check_any(runs)
    read = [read_scores(Path(run) / "scores.h5", features=False) for run in runs]
    methods = list(dict.fromkeys(run.method for run in read))
    levels = sorted_openness(run.openness for run in read)
    figure, axes = panels(len(methods), len(levels), height=1.9)
    for panel_row, method in zip(axes, methods, strict=True):
        own = [run for run in read if run.method == method]
        probability = all((run.score <= 0).all() for run in own)
        edges = _edges(own, probability)
        for ax, level in zip(panel_row, levels, strict=True):
            _draw_panel(ax, [run for run in own if run.openness == level], edges, probability)
            ax.set_xlabel("max. probability (exp of score)" if probability else "score")
    label_panels(axes, list(map(openness_title, levels)), [f"{method}\n% of clips" for method in methods])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    finish(figure, title, stand_in=any(run.stand_in for run in read))
    return figure


def _edges(runs: Sequence[Scores], probability: bool) -> Floats:
    if probability:
        return np.linspace(0.0, 1.0, BINS + 1)
    shown = np.concatenate([run.score[run.part == "test"] for run in runs])
    low, high = float(shown.min()), float(shown.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def _draw_panel(ax: Axes, runs: Sequence[Scores], edges: Floats, probability: bool) -> None:
    if not runs:
        draw_text(ax, "no run")
        return
    for known, color, name in ((True, KNOWN, "known classes"), (False, UNKNOWN, "unknown classes")):
        values = np.concatenate([run.score[(run.part == "test") & (run.known == known)] for run in runs])
        if not len(values):
            cause = f"no test clip of {name} in {runs[0].method}, {runs[0].openness}"
            raise HcepError(cause, remedy="score this run's split again")
        counts, _ = np.histogram(np.exp(values) if probability else values, edges)
        # the outline is drawn apart from the fill, so that both sides are seen where they overlap, also without colour
        shares = 100 * counts / len(values)
        ax.stairs(shares, edges, fill=True, color=color, alpha=0.28)
        ax.stairs(shares, edges, color=color, linewidth=1.4, linestyle="-" if known else "--", label=name)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
