"""How far the prompts moved in training, and what gap they left between the positive and the negative points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcep.figures.histories import draw_history, read_histories
from hcep.figures.run_files import read_run_files, split_count
from hcep.figures.style import Drawing, Rows, describe, finish, method_panels, note_figure, series_styles

TITLE = "Movement of prompts over epochs"
HEADINGS = {"movement_": "movement, |now − start| / |start|", "gap_": "gap of points, |p − n| / |p|"}


def movement_figure(runs: Sequence[str | Path], task: str = "") -> Drawing:
    """A row per method with prompts: how far each prompt moved at the left, the gap between the points at the right.

    A line is the mean over a method's runs, a band their range. Runs are folders with ``history.csv`` and
    ``metrics.json``. Where no method has prompts, the figure says so.

    Raises
    ------
    HcepError
        A missing file, or a row that is not numbers.
    """
    read = read_run_files(runs)
    every = read_histories(read)
    names = sorted(
        {name for found in every.values() for run in found for name in run if name.startswith(tuple(HEADINGS))}
    )
    methods = [name for name, found in every.items() if any(run.keys() & set(names) for run in found)]
    if not methods:
        return note_figure("No method of this task has prompts that learn.", TITLE, task)
    kinds = [kind for kind in HEADINGS if any(name.startswith(kind) for name in names)]
    figure, axes = method_panels(methods, [HEADINGS[kind] for kind in kinds], sharey="col")
    looks = series_styles(names)
    labels = {name: name.removeprefix("movement_").replace("gap_", "gap: ") for name in names}
    rows: Rows = []
    for panel_row, method in zip(axes, methods, strict=True):
        for ax, kind in zip(panel_row, kinds, strict=True):
            own = {name: look for name, look in looks.items() if name.startswith(kind)}
            rows += draw_history(ax, method, every[method], own, labels)
            if kind == "movement_":
                # logarithmic, since pixel and waveform prompts move thousands of times less than the text prompt
                ax.set_yscale("symlog", linthresh=1e-4)
                ax.yaxis.set_major_formatter("{x:g}")
    for ax, kind in zip(axes[0], kinds, strict=True):
        # an axis begins a little below zero, so that a line that stays at zero is seen
        top = ax.get_ylim()[1]
        ax.set_ylim(-2e-5 if kind == "movement_" else -0.04 * top, top)
    title = describe(TITLE, task, split_count(read))
    finish(figure, title, stand_in=any(run.metrics["stand_in"] for run in read), x_label="epoch")
    return figure, rows
