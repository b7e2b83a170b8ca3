"""Paired differences of every method to the references, over all openness levels, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hcep.figures.run_files import number, one_table, read_rows, splits_of
from hcep.figures.style import (
    BLACK,
    SMALL,
    Drawing,
    Rows,
    describe,
    finish,
    method_style,
    note_figure,
    panels,
)
from hcep.files import read_table

METRICS = (("auroc", "AUROC"), ("oscr", "OSCR"), ("accuracy", "accuracy"))
MEAN = "mean"
NUMBERS = ("difference", "lo", "hi", "p")
# inches of a row
ROW = 0.125


class Line(NamedTuple):
    """One row of the figure from top to bottom: a reference, or a method and its differences by metric."""

    label: str
    cells: dict[str, dict[str, float]]


def forest_figure(comparisons: Sequence[str | Path], task: str = "") -> Drawing:
    """A group of rows per reference, a row per method, and columns for AUROC, OSCR and accuracy.

    A mark is the mean difference, method minus reference, a whisker its interval; the mark is full where the interval
    excludes 0. One file is drawn: ``comparisons.csv``, in percentage points.

    Raises
    ------
    HcepError
        The table is missing, lacks a column, or holds a cell that is not a number.
    """
    file = one_table(comparisons, "comparisons.csv")
    title = "Paired differences, mean over openness levels"
    if file.is_file() and not read_table(file):
        # the header alone: a task without references, or with one method
        text = "No comparison: the task has no other method beside its references (setting `references`)."
        return note_figure(text, title, task)
    read = read_rows(file, ["method", "reference", "openness", "metric", "splits", "stand_in", *NUMBERS])
    means = [(at, row) for at, row in read if row["openness"] == MEAN]
    groups: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    rows: Rows = []
    for at, row in means:
        cells = {name: number(row, name, file, at) for name in NUMBERS}
        groups.setdefault(row["reference"], {}).setdefault(row["method"], {})[row["metric"]] = cells
        rows.append({name: row[name] for name in ("method", "reference", "metric")} | cells)
    lines = [
        line
        for reference, methods in groups.items()
        for line in (Line(f"minus {reference}", {}), *(Line(name, cells) for name, cells in methods.items()))
    ]
    figure, axes = panels(1, len(METRICS), height=ROW * len(lines) + 0.3, sharey=True)
    for ax, (metric, label) in zip(axes[0], METRICS, strict=True):
        _draw(ax, metric, lines)
        ax.set_title(label)
    axes[0, 0].set_yticks([-place for place in range(len(lines))], [line.label for line in lines])
    for text, line in zip(axes[0, 0].get_yticklabels(), lines, strict=True):
        text.set_fontweight("normal" if line.cells else "bold")
    axes[0, 0].set_ylim(0.6 - len(lines), 0.6)
    look: dict[str, Any] = {"color": BLACK, "marker": "o", "linestyle": ""}
    handles: dict[str, Any] = {
        "interval excludes 0": Line2D([], [], **look),
        "includes 0": Line2D([], [], markerfacecolor="white", **look),
    }
    stand_in = any(row["stand_in"] == "true" for _, row in means)
    x_label = "percentage points; right of the line: better than the reference"
    finish(figure, describe(title, task, splits_of(means)), stand_in=stand_in, x_label=x_label, handles=handles)
    return figure, rows


def _draw(ax: Axes, metric: str, lines: Sequence[Line]) -> None:
    ax.axvline(0, color=BLACK, linewidth=0.7)
    for place, line in enumerate(lines):
        if metric not in line.cells:
            continue
        cell, style = line.cells[metric], method_style(line.label)
        apart = cell["lo"] > 0 or cell["hi"] < 0
        ax.hlines(-place, cell["lo"], cell["hi"], color=style["color"], linewidth=0.9)
        look = {"color": style["color"], "marker": style["marker"], "markersize": 0.6 * SMALL}
        ax.plot(cell["difference"], -place, **look | ({} if apart else {"markerfacecolor": "white"}))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.08)
