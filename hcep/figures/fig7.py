"""Distributions of the test clips' scores, known beside unknown (section 4.4.3, Fig. 7 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from hcep.errors import HcepError
from hcep.evaluation.scores import Scores, read_scores
from hcep.figures.run_files import Floats, check_any, short_openness, sorted_openness
from hcep.figures.style import KNOWN, UNKNOWN, Drawing, Rows, describe, draw_text, finish, method_panels

BINS = 30
SIDES = ((True, KNOWN, "known classes"), (False, UNKNOWN, "unknown classes"))


def fig7_figure(runs: Sequence[str | Path], task: str = "") -> Drawing:
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
    scales = {name: all((run.score <= 0).all() for run in read if run.method == name) for name in methods}
    titles = [f"{name}: {'largest probability' if scales[name] else 'score'}" for name in methods]
    figure, axes = method_panels(titles, list(map(short_openness, levels)))
    rows: Rows = []
    for panel_row, method in zip(axes, methods, strict=True):
        own = [run for run in read if run.method == method]
        edges = _edges(own, scales[method])
        for ax, level in zip(panel_row, levels, strict=True):
            rows += _draw_panel(ax, [run for run in own if run.openness == level], edges, scales[method])
    figure.supylabel("% of clips of a side", fontsize="medium")
    title = describe("Scores of known and unknown test clips", task, len({run.split for run in read}))
    finish(figure, title, stand_in=any(run.stand_in for run in read))
    return figure, rows


def _edges(runs: Sequence[Scores], probability: bool) -> Floats:
    if probability:
        return np.linspace(0.0, 1.0, BINS + 1)
    shown = np.concatenate([run.score[run.part == "test"] for run in runs])
    low, high = float(shown.min()), float(shown.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def _draw_panel(ax: Axes, runs: Sequence[Scores], edges: Floats, probability: bool) -> Rows:
    if not runs:
        draw_text(ax, "no run")
        return []
    rows: Rows = []
    for known, color, name in SIDES:
        values = np.concatenate([run.score[(run.part == "test") & (run.known == known)] for run in runs])
        if not len(values):
            cause = f"no test clip of {name} in {runs[0].method}, {runs[0].openness}"
            raise HcepError(cause, remedy="score this run's split again")
        counts, _ = np.histogram(np.exp(values) if probability else values, edges)
        # filled against hatched, so that both sides are seen where they overlap, also without colour
        shares = 100 * counts / len(values)
        look: dict[str, Any] = (
            {"color": color, "alpha": 0.35} if known else {"facecolor": "none", "edgecolor": color, "hatch": "/////"}
        )
        ax.stairs(shares, edges, fill=True, linewidth=0, **look)
        ax.stairs(shares, edges, color=color, linewidth=0.9, linestyle="-" if known else "--", label=name)
        shared = {"method": runs[0].method, "openness": runs[0].openness, "side": name, "clips": len(values)}
        shared["scale"] = "probability" if probability else "score"
        columns = zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True)
        rows += [shared | dict(zip(("from", "to", "percent"), found, strict=True)) for found in columns]
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=3))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    return rows
