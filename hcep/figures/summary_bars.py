"""AUROC and OSCR of every method at every openness, with intervals, beside the paper's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hcep.figures.run_files import number, one_table, openness_title, read_rows, sorted_openness
from hcep.figures.style import GREY, HATCHES, PALETTE, draw_paper, draw_whisker, finish, panels

METRICS = (("auroc", "AUROC (%)"), ("oscr", "OSCR (%)"))
MEAN = "mean"

Cell = Mapping[str, float]


def summary_bars_figure(summary: Sequence[str | Path], title: str = "") -> Figure:
    """One group of bars per openness, one bar per method, AUROC above OSCR.

    A diamond is the paper's value, a whisker the interval. One file is drawn: ``summary.csv``, in percent.

    Raises
    ------
    HcepError
        The table is missing, empty, lacks a column, or holds a cell that is not a number.
    """
    file = one_table(summary, "summary.csv")
    names = [f"{metric}{part}" for metric, _ in METRICS for part in ("", "_lo", "_hi")]
    rows = read_rows(file, ["method", "openness", *names])
    methods = list(dict.fromkeys(row["method"] for _, row in rows))
    present = dict.fromkeys(row["openness"] for _, row in rows)
    levels = sorted_openness(name for name in present if name != MEAN) + [MEAN] * (MEAN in present)
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for line, row in rows:
        # an interval or a paper value may be empty, our own value may not
        wanted = [name for name in [*names, "paper_auroc", "paper_oscr"] if row.get(name) or name in ("auroc", "oscr")]
        cells[row["method"], row["openness"]] = {name: number(row, name, file, line) for name in wanted}
    width = max(1.15 + 0.2 * len(methods), 1.5) * len(levels)
    figure, axes = panels(len(METRICS), 1, width=width, height=2.5, sharex=True)
    for ax, (metric, label) in zip(axes[:, 0], METRICS, strict=True):
        _draw_bars(ax, metric, cells, methods, levels)
        ax.set_ylabel(label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    finish(figure, title, stand_in=any(row.get("stand_in") == "true" for _, row in rows))
    return figure


def _draw_bars(
    ax: Axes, metric: str, cells: Mapping[tuple[str, str], Cell], methods: Sequence[str], levels: Sequence[str]
) -> None:
    bar = min(0.8 / len(methods), 0.3)
    printed: list[tuple[float, float]] = []
    for place, method in enumerate(methods):
        at = {level: index + (place - (len(methods) - 1) / 2) * bar for index, level in enumerate(levels)}
        own = {at[level]: cells[method, level] for level in levels if (method, level) in cells}
        heights = [cell[metric] for cell in own.values()]
        hatch = HATCHES[place // len(PALETTE) % len(HATCHES)]
        color = PALETTE[place % len(PALETTE)]
        ax.bar(list(own), heights, 0.9 * bar, color=color, hatch=hatch, edgecolor="white", linewidth=0, label=method)
        for x, cell in own.items():
            if f"{metric}_lo" in cell and f"{metric}_hi" in cell:
                draw_whisker(ax, x, cell[f"{metric}_lo"], cell[f"{metric}_hi"])
        printed += [(x + 0.24 * bar, cell[f"paper_{metric}"]) for x, cell in own.items() if f"paper_{metric}" in cell]
    draw_paper(ax, printed, 4.0)
    if metric == "auroc":
        ax.axhline(50, color=GREY, linestyle=":", linewidth=1.2, label="chance")
    ax.set_xticks(range(len(levels)), [level if level == MEAN else openness_title(level) for level in levels])
    ax.grid(axis="x", visible=False)
    ax.set_ylim(0, 100)
    ax.set_xlim(-0.5, len(levels) - 0.5)
