"""What a threshold from training scores does on test clips (section 4.4.6, Fig. 10 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hcep.errors import HcepError
from hcep.figures.run_files import RunFiles, openness_title, read_numbers, read_run_files, sorted_openness, spread
from hcep.figures.style import GREY, PALETTE, draw_text, finish, panels

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

    A line is the mean over splits and seeds, a band their range.

    Parameters
    ----------
    runs : sequence of path
        Run folders with ``thresholds.csv`` and ``metrics.json``.
    title : str
        Above the figure, e.g. the task.

    Raises
    ------
    HcepError
        A file is missing or unreadable, or the runs of a panel have different acceptance rates.
    """
    read = read_run_files(runs)
    methods = list(dict.fromkeys(run.method for run in read))
    levels = sorted_openness(run.openness for run in read)
    figure, axes = panels(len(methods), len(levels), height=2.1, sharex=True, sharey=True)
    for row, method in enumerate(methods):
        for column, level in enumerate(levels):
            ax = axes[row, column]
            own = [run for run in read if (run.method, run.openness) == (method, level)]
            if own:
                _draw_panel(ax, own)
            else:
                draw_text(ax, "no run")
            if row == 0:
                ax.set_title(openness_title(level))
            if row == len(methods) - 1:
                ax.set_xlabel("share of training clips accepted")
            if column == 0:
                ax.set_ylabel(f"{method}\nrate on test clips")
    found = next(ax for ax in axes.flat if ax.lines)
    figure.legend(*found.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    finish(figure, title, stand_in=any(run.metrics["stand_in"] for run in read))
    return figure


def _draw_panel(ax: Axes, runs: Sequence[RunFiles]) -> None:
    tables = [read_numbers(run.folder / "thresholds.csv", ("acceptance", *(line[0] for line in LINES))) for run in runs]
    rates = tables[0]["acceptance"]
    for run, table in zip(runs, tables, strict=True):
        if not np.array_equal(table["acceptance"], rates):
            raise HcepError(
                f"other acceptance rates than {runs[0].folder}",
                file=run.folder / "thresholds.csv",
                remedy="evaluate all runs with the same acceptance rates",
            )
    ax.axhline(0, color="#4d4d4d", linewidth=0.8)
    if rates.min() <= DEFAULT_ACCEPTANCE <= rates.max():
        ax.axvline(DEFAULT_ACCEPTANCE, color=GREY, linestyle=":", linewidth=1.2, label="default, 0.95")
    for column, name, color, dashes in LINES:
        mean, low, high = spread([table[column] for table in tables])
        ax.plot(rates, mean, label=name, color=color, linestyle=dashes, marker="o" if len(rates) == 1 else None)
        if len(tables) > 1:
            ax.fill_between(rates, low, high, color=color, alpha=0.1, linewidth=0)
