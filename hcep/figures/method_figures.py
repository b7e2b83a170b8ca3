"""The figures of single methods, one by one: what the report shows by figure, openness and method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcep.figures.fig7 import fig7_figure
from hcep.figures.fig10 import fig10_figure
from hcep.figures.fig11 import fig11_figure
from hcep.figures.run_files import read_run_files
from hcep.figures.style import figure_style, save_figure
from hcep.files import atomic_folder

# the figures that show one method at a time
FIGURES = {"fig7": fig7_figure, "fig10": fig10_figure, "fig11": fig11_figure}


def draw_method_figures(runs: Sequence[Path], output: Path, *, task: str) -> None:
    """Draw `FIGURES` for every openness and method of a task, as ``FIGURE/OPENNESS/METHOD.svg`` below a folder.

    The folder is made anew, so that no picture of a method stays that the task no longer has. Runs are folders with
    ``scores.h5``, ``thresholds.csv`` and ``metrics.json``.

    Raises
    ------
    HcepError
        A file is missing or unreadable.
    """
    read = read_run_files(runs)
    with atomic_folder(output) as folder:
        for level, method in dict.fromkeys((run.openness, run.method) for run in read):
            own = [run.folder for run in read if (run.openness, run.method) == (level, method)]
            for name, figure_of in FIGURES.items():
                with figure_style():
                    figure, _ = figure_of(own, task)
                    save_figure(figure, folder / name / level / f"{method}.svg")
