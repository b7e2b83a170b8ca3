"""What the figures of training read: history.csv of every run, as columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from hcep.errors import HcepError
from hcep.figures.run_files import Floats, RunFiles, number
from hcep.figures.style import Rows, draw_spread
from hcep.files import read_table

History = dict[str, Floats]


def read_histories(runs: Sequence[RunFiles]) -> dict[str, list[History]]:
    """Histories of every method that has at least one epoch, in the order of the runs.

    Raises
    ------
    HcepError
        A missing file, or a row that is not numbers.
    """
    found: dict[str, list[History]] = {}
    for run in runs:
        history = _history(run.folder / "history.csv")
        if history:
            found.setdefault(run.method, []).append(history)
    return found


def draw_history(
    ax: Axes, method: str, histories: Sequence[History], looks: dict[str, dict[str, Any]], labels: dict[str, str]
) -> Rows:
    """A line per quantity over the epochs: the mean over a method's runs, with their range as a band."""
    rows: Rows = []
    for name in looks:
        own = [run for run in histories if name in run]
        if own:
            epochs, values = _over_runs(own, name)
            draw_spread(ax, epochs, values, label=labels[name], **looks[name])
            shared = {"method": method, "quantity": name}
            for epoch, column in zip(epochs.tolist(), values.T, strict=True):
                spread = {"mean": np.nanmean(column), "min": np.nanmin(column), "max": np.nanmax(column)}
                rows.append(shared | {"epoch": int(epoch)} | {key: float(value) for key, value in spread.items()})
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return rows


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
