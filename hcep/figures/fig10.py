"""What a threshold from training scores does on test clips (section 4.4.6, Fig. 10 of the paper)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from hcep.evaluation.thresholds import DEFAULT_ACCEPTANCE
from hcep.figures.run_files import (
    RunFiles,
    read_run_files,
    read_thresholds,
    short_openness,
    sorted_openness,
    split_count,
)
from hcep.figures.style import (
    BLACK,
    GREEN,
    GREY,
    KNOWN,
    UNKNOWN,
    Drawing,
    Rows,
    describe,
    draw_spread,
    draw_text,
    finish,
    method_panels,
)

# column, name in the legend, look; a difference has the colour of the rate that it begins with, and no marker
LINES = (
    ("test_tpr", "TPR", {"color": KNOWN, "marker": "o"}),
    ("test_ccr", "CCR", {"color": GREEN, "marker": "^"}),
    ("test_fpr", "FPR", {"color": UNKNOWN, "marker": "s"}),
    ("tpr_minus_fpr", "TPR − FPR", {"color": KNOWN, "linestyle": (0, (5, 1.6))}),
    ("ccr_minus_fpr", "CCR − FPR", {"color": GREEN, "linestyle": (0, (1.2, 1.2))}),
)


def fig10_figure(runs: Sequence[str | Path], task: str = "") -> Drawing:
    """Rates on the test clips over the acceptance rate: a row per method, a column per openness.

    A line is the mean over splits and seeds, a band their range. Runs are folders with ``thresholds.csv`` and
    ``metrics.json``.

    Raises
    ------
    HcepError
        A file is missing or unreadable, or the runs of a panel have different acceptance rates.
    """
    read = read_run_files(runs)
    methods = list(dict.fromkeys(run.method for run in read))
    levels = sorted_openness(run.openness for run in read)
    figure, axes = method_panels(methods, list(map(short_openness, levels)), height=0.95, sharex=True, sharey=True)
    rows: Rows = []
    for ax, (method, level) in zip(axes.flat, itertools.product(methods, levels), strict=True):
        own = [run for run in read if (run.method, run.openness) == (method, level)]
        if own:
            rows += _draw_panel(ax, own)
        else:
            draw_text(ax, "no run")
    figure.supylabel("rate on test clips", fontsize="medium")
    title = describe("Rates of thresholds from training clips", task, split_count(read))
    finish(
        figure, title, stand_in=any(run.metrics["stand_in"] for run in read), x_label="share of training clips accepted"
    )
    return figure, rows


def _draw_panel(ax: Axes, runs: Sequence[RunFiles]) -> Rows:
    rates, tables = read_thresholds(runs, [column for column, _, _ in LINES])
    ax.axhline(0, color=BLACK, linewidth=0.5)
    if rates.min() <= DEFAULT_ACCEPTANCE <= rates.max():
        ax.axvline(DEFAULT_ACCEPTANCE, color=GREY, linestyle=":", label="default, 0.95")
    rows: Rows = []
    for column, name, look in LINES:
        values = tables[column]
        every = {"markevery": 3, "markersize": 2.2} if "marker" in look else {}
        draw_spread(ax, rates, values, label=name, alpha=0.1, **look | every)
        shared = {"method": runs[0].method, "openness": runs[0].openness, "rate": name}
        found = zip(rates.tolist(), *(f(values, axis=0).tolist() for f in (np.mean, np.min, np.max)), strict=True)
        rows += [shared | dict(zip(("acceptance", "mean", "min", "max"), cells, strict=True)) for cells in found]
    ax.set_xlim(rates.min(), 1)
    ax.set_xticks([0.5, 0.75, 1], [".5", ".75", "1"])
    return rows
