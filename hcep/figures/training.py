"""How training went: losses, accuracy, and how far the prompts moved, one column per method."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hcep.errors import HcepError
from hcep.figures.run_files import Floats, check_any, number
from hcep.figures.style import draw_spread, draw_text, finish, label_panels, legend_below, panels, series_styles
from hcep.files import read_table

# for every row of panels, its y label and which columns of history.csv belong to it
ROWS = {
    "loss": ("loss terms (mean per clip)", lambda name: name.startswith("loss_")),
    "accuracy": ("accuracy", lambda name: name == "accuracy" or name.endswith("_accuracy")),
    "movement": ("prompt movement\n|now − start| / |start|", lambda name: name.startswith("movement_")),
    "gap": ("gap between positive and\nnegative points, |p − n| / |p|", lambda name: name.startswith("gap_")),
}

History = dict[str, Floats]


def training_figure(runs: Sequence[str | Path], title: str = "") -> Figure:
    """The training histories: a column per method, a row for each kind of quantity that was recorded.

    A line is the mean over a method's runs, a band their range. Runs are folders
    ``…/{method}/{openness}/{split}/seed{seed}`` with ``history.csv``.

    Raises
    ------
    HcepError
        A folder of another form, a missing file, a row that is not numbers, or no epoch at all.
    """
    check_any(runs)
    methods: dict[str, list[History]] = {}
    for folder in map(Path, runs):
        if len(folder.parts) < 4 or not re.fullmatch("seed[0-9]+", folder.name):
            raise HcepError("not a run folder", file=folder, remedy="name it …/{method}/{openness}/{split}/seed{seed}")
        methods.setdefault(folder.parts[-4], []).append(_history(folder / "history.csv"))
    columns = {method: [run for run in histories if run] for method, histories in methods.items()}
    names = dict.fromkeys(name for histories in columns.values() for run in histories for name in run)
    rows = {row: [name for name in names if ROWS[row][1](name)] for row in ROWS}
    rows = {row: found for row, found in rows.items() if found}
    if not rows:
        cause, file = "no run has a history of losses or accuracy", Path(runs[0]) / "history.csv"
        raise HcepError(cause, file=file, remedy="train for at least one epoch")
    lines = math.ceil(max(map(len, rows.values())) / 2)
    figure, axes = panels(len(rows), len(columns), height=2.3, legend_lines=lines)
    for panel_row, (kind, found) in zip(axes, rows.items(), strict=True):
        # the same term has the same colour in every column
        styles = series_styles(found)
        for ax, histories in zip(panel_row, columns.values(), strict=True):
            _draw_panel(ax, histories, styles, kind)
    label_panels(axes, list(columns), [ROWS[kind][0] for kind in rows])
    finish(figure, title)
    return figure


def _draw_panel(ax: Axes, histories: Sequence[History], styles: Mapping[str, dict[str, Any]], kind: str) -> None:
    recorded = {name: [run for run in histories if name in run] for name in styles}
    for name, own in recorded.items():
        if own:
            draw_spread(ax, *_over_runs(own, name), label=name.removeprefix(f"{kind}_"), **styles[name])
    if not any(recorded.values()):
        draw_text(ax, "not recorded" if histories else "no training epochs", color="#595959")
        ax.set_axis_off()
        return
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    if kind == "accuracy":
        ax.set_ylim(0, 1.02)
    elif kind == "movement":
        # logarithmic, since pixel and waveform prompts move thousands of times less than the text prompt
        ax.set_yscale("symlog", linthresh=1e-4)
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter("{x:g}")
    elif kind == "gap":
        # the axis begins a little below zero, so that a line that stays at zero is seen
        top = ax.get_ylim()[1]
        ax.set_ylim(-0.04 * top, top)
    legend_below(ax, columns=2)


def _over_runs(histories: Sequence[History], name: str) -> tuple[Floats, Floats]:
    """Epochs that a run has, and the runs' values, (runs, epochs); NaN where a run lacks that epoch."""
    epochs = np.unique(np.concatenate([run["epoch"] for run in histories]))
    values = np.full((len(histories), len(epochs)), np.nan)
    for row, run in zip(values, histories, strict=True):
        row[np.searchsorted(epochs, run["epoch"])] = run[name]
    kept = ~np.isnan(values).all(axis=0)
    return epochs[kept], values[:, kept]


def _history(file: Path) -> History:
    """Columns that have a number; a cell may be empty (a quantity that is not measured every epoch)."""
    try:
        rows = read_table(file)
    except FileNotFoundError as error:
        raise HcepError("the file does not exist", file=file, remedy="run the train step of this run") from error
    if not rows:
        return {}
    if "epoch" not in rows[0]:
        raise HcepError("no column epoch", file=file, row=1, remedy="run the train step of this run again")
    if any(None in row or None in row.values() for row in rows):
        raise HcepError("rows and header have different numbers of cells", file=file)
    filled = [name for name in rows[0] if any(row[name] for row in rows)]
    return {
        name: np.array([number(row, name, file, line) if row[name] else np.nan for line, row in enumerate(rows, 2)])
        for name in filled
    }
