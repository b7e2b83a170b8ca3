"""AUROC and OSCR of every method over openness, with intervals, beside the paper's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from hcep.figures.run_files import number, one_table, openness_title, read_rows, sorted_openness, splits_of
from hcep.figures.style import GREY, Drawing, Rows, describe, draw_paper, finish, method_style, panels
from hcep.protocol.openness import openness_value, parse_openness

METRICS = (("auroc", "AUROC (%)"), ("oscr", "OSCR (%)"))
MEAN = "mean"

Cell = Mapping[str, float]


def openness_figure(summary: Sequence[str | Path], task: str = "") -> Drawing:
    """AUROC above OSCR over the openness, a line per method, and the means over all levels at the right.

    A whisker is the interval, a diamond the paper's value. One file is drawn: ``summary.csv``, in percent.

    Raises
    ------
    HcepError
        The table is missing, empty, lacks a column, or holds a cell that is not a number.
    """
    file = one_table(summary, "summary.csv")
    names = [f"{metric}{part}" for metric, _ in METRICS for part in ("", "_lo", "_hi")]
    read = read_rows(file, ["method", "openness", "splits", "stand_in", *names])
    methods = list(dict.fromkeys(row["method"] for _, row in read))
    present = dict.fromkeys(row["openness"] for _, row in read)
    levels = sorted_openness(name for name in present if name != MEAN)
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for line, row in read:
        # an interval or a paper value may be empty, our own value may not
        wanted = [name for name in [*names, "paper_auroc", "paper_oscr"] if row.get(name) or name in ("auroc", "oscr")]
        cells[row["method"], row["openness"]] = {name: number(row, name, file, line) for name in wanted}
    # levels of equal openness are told apart by their place
    places = {level: float(place) for place, level in enumerate([*levels, MEAN][: len(present)])}
    figure, axes = panels(len(METRICS), 1, height=1.75, sharex=True)
    for ax, (metric, label) in zip(axes[:, 0], METRICS, strict=True):
        _draw(ax, metric, cells, methods, places)
        ax.set_ylabel(label)
    ticks = [level if level == MEAN else openness_title(level).replace(" = ", "\n= ") for level in places]
    axes[-1, 0].set_xticks(list(places.values()), ticks)
    title = describe("AUROC and OSCR over openness", task, splits_of(read))
    finish(figure, title, stand_in=any(row["stand_in"] == "true" for _, row in read))
    rows: Rows = [
        {"method": method, "openness": level, "openness_value": _value(level), **cell}
        for (method, level), cell in cells.items()
    ]
    return figure, rows


def _value(level: str) -> float | str:
    return "" if level == MEAN else openness_value(*parse_openness(level))


def _draw(
    ax: Axes,
    metric: str,
    cells: Mapping[tuple[str, str], Cell],
    methods: Sequence[str],
    places: Mapping[str, float],
) -> None:
    printed: list[tuple[float, float]] = []
    # methods stand beside each other at every level, so that no whisker hides another
    apart = min(0.8 / len(methods), 0.12)
    for place, method in enumerate(methods):
        shift = (place - (len(methods) - 1) / 2) * apart
        own = {places[level] + shift: cells[method, level] for level in places if (method, level) in cells}
        style = method_style(method)
        for x, cell in own.items():
            if f"{metric}_lo" in cell and f"{metric}_hi" in cell:
                ax.vlines(x, cell[f"{metric}_lo"], cell[f"{metric}_hi"], color=style["color"], linewidth=0.7)
        # the mean is no further point on the way from level to level
        levels = [x for level, x in places.items() if level != MEAN]
        inner = {x: cell[metric] for x, cell in own.items() if round(x - shift) in levels}
        outer = {x: cell[metric] for x, cell in own.items() if x not in inner}
        ax.plot(list(inner), list(inner.values()), **style | {"linewidth": 0.6}, label=method.lstrip("_"))
        ax.plot(list(outer), list(outer.values()), **style | {"linestyle": ""})
        printed += [(x + 0.35 * apart, cell[f"paper_{metric}"]) for x, cell in own.items() if f"paper_{metric}" in cell]
    draw_paper(ax, printed, 3.2)
    if MEAN in places:
        ax.axvline(places[MEAN] - 0.5, color="#4d4d4d", linewidth=0.5)
    if metric == "auroc":
        ax.axhline(50, color=GREY, linestyle=":", label="chance (AUROC)")
    ends = np.array(list(places.values()))
    ax.set_xlim(ends.min() - 0.5, ends.max() + 0.5)
    ax.grid(axis="x", visible=False)
    # room for every value, and never a magnified difference
    low, high = ax.get_ylim()
    ax.set_ylim(max(0, min(low, 40)), min(100, max(high, 80)))
