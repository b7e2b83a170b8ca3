"""How training went: losses and accuracy, one row per method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcep.figures.histories import draw_history, read_histories
from hcep.figures.run_files import read_run_files, split_count
from hcep.figures.style import Drawing, Rows, describe, finish, method_panels, note_figure, series_styles

TITLE = "Losses and accuracy over epochs"
# heading of a column, and which columns of history.csv belong to it
COLUMNS = (
    ("loss terms", lambda name: name.startswith("loss_")),
    ("accuracy", lambda name: name == "accuracy" or name.endswith("_accuracy")),
)


def training_figure(runs: Sequence[str | Path], task: str = "") -> Drawing:
    """The training histories: a row per method that has epochs, loss terms at the left, accuracy at the right.

    A line is the mean over a method's runs, a band their range. Runs are folders with ``history.csv`` and
    ``metrics.json``.

    Raises
    ------
    HcepError
        A missing file, or a row that is not numbers.
    """
    read = read_run_files(runs)
    every = read_histories(read)
    names = sorted({name for found in every.values() for run in found for name in run})
    shown = [[name for name in names if belongs(name)] for _, belongs in COLUMNS]
    recorded = {name for group in shown for name in group}
    methods = [name for name, found in every.items() if any(recorded & run.keys() for run in found)]
    if not methods:
        return note_figure("No method of this task has training epochs.", TITLE, task)
    figure, axes = method_panels(methods, [heading for heading, _ in COLUMNS])
    # a term has one look in all rows
    looks = series_styles([name for group in shown for name in group])
    labels = {name: name.removeprefix("loss_") for name in looks}
    rows: Rows = []
    for panel_row, method in zip(axes, methods, strict=True):
        for ax, group in zip(panel_row, shown, strict=True):
            rows += draw_history(ax, method, every[method], {name: looks[name] for name in group}, labels)
        panel_row[1].set_ylim(0, 1.02)
    title = describe(TITLE, task, split_count(read))
    finish(figure, title, stand_in=any(run.metrics["stand_in"] for run in read), x_label="epoch")
    return figure, rows
