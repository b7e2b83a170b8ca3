"""What a threshold from training scores does on test clips (section 4.4.6, Fig. 10 of the paper)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hcep.errors import HcepError
from hcep.figures.run_files import RunFiles, openness_title, read_numbers, read_run_files, sorted_openness
from hcep.figures.style import GREY, PALETTE, draw_spread, draw_text, finish, label_panels, panels

# column, name in the legend, colour, line; a difference is a dashed line in the colour of the rate that it begins with
LINES = (
    ("test_tpr", "TPR", PALETTE[0], "-"),
    ("test_ccr", "CCR", PALETTE[2], "-"),
    ("test_fpr", "FPR", PALETTE[1], "-"),
    ("tpr_minus_fpr", "TPR − FPR", PALETTE[0], "--"),
    ("ccr_minus_fpr", "CCR − FPR", PALETTE[2], "--"),
)
DEFAULT_ACCEPTANCE = 0.95


def thresholds_figure(runs: Sequence[str | Path], title: str = "") -> Figure:
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
    figure, axes = panels(len(methods), len(levels), height=2.1, sharex=True, sharey=True)
    for ax, (method, level) in zip(axes.flat, itertools.product(methods, levels), strict=True):
        own = [run for run in read if (run.method, run.openness) == (method, level)]
        if own:
            _draw_panel(ax, own)
        else:
            draw_text(ax, "no run")
    for ax in axes[-1]:
        ax.set_xlabel("share of training clips accepted")
    label_panels(axes, list(map(openness_title, levels)), [f"{method}\nrate on test clips" for method in methods])
    found = next(ax for ax in axes.flat if ax.lines)
    figure.legend(*found.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    finish(figure, title, stand_in=any(run.metrics["stand_in"] for run in read))
    return figure


def _draw_panel(ax: Axes, runs: Sequence[RunFiles]) -> None:
    tables = [read_numbers(run.folder / "thresholds.csv", ("acceptance", *(line[0] for line in LINES))) for run in runs]
    rates = tables[0]["acceptance"]
    for run, table in zip(runs, tables, strict=True):
        if not np.array_equal(table["acceptance"], rates):
            cause, remedy = f"other acceptance rates than {runs[0].folder}", "evaluate all runs with the same rates"
            raise HcepError(cause, file=run.folder / "thresholds.csv", remedy=remedy)
    ax.axhline(0, color="#4d4d4d", linewidth=0.8)
    if rates.min() <= DEFAULT_ACCEPTANCE <= rates.max():
        ax.axvline(DEFAULT_ACCEPTANCE, color=GREY, linestyle=":", linewidth=1.2, label="default, 0.95")
    for column, name, color, dashes in LINES:
        rows = [table[column] for table in tables]
        draw_spread(ax, rates, rows, label=name, alpha=0.1, color=color, linestyle=dashes)
