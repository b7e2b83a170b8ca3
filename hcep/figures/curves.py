"""TPR-FPR and CCR-FPR curves, one column per openness (section 4.4.5, Fig. 9 of the paper)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hcep.errors import HcepError
from hcep.figures.run_files import Floats, RunFiles, openness_title, read_numbers, read_run_files, sorted_openness
from hcep.figures.style import GREY, draw_spread, finish, label_panels, legend_below, panels, series_styles

ROWS = (("tpr", "auroc", "TPR: known accepted"), ("ccr", "oscr", "CCR: known accepted\nand right class"))
# common false positive rates at which the curves of several runs are averaged
GRID = np.linspace(0.0, 1.0, 401)


def curves_figure(runs: Sequence[str | Path], title: str = "") -> Figure:
    """The curves of all runs: a column per openness, TPR above, CCR below, a line per method.

    A line is the mean over splits at equal FPR, after the seeds of every split were averaged; a band is the range over
    splits. The number in the legend is the mean area in metrics.json, in percent. Runs are folders with ``curves.csv``
    and ``metrics.json``.

    Raises
    ------
    HcepError
        A file is missing or unreadable, or a curve is not one.
    """
    read = read_run_files(runs)
    levels = sorted_openness(run.openness for run in read)
    styles = series_styles(list(dict.fromkeys(run.method for run in read)))
    figure, axes = panels(len(ROWS), len(levels), legend_lines=len(styles) + 2, sharex=True, sharey=True)
    for column, level in enumerate(levels):
        here = [run for run in read if run.openness == level]
        known = len(here[0].metrics["classes"])
        for ax, (rate, area, _) in zip(axes[:, column], ROWS, strict=True):
            for method, style in styles.items():
                own = [run for run in here if run.method == method]
                if own:
                    _draw_method(ax, own, method, rate, area, style)
            chance = 1.0 if rate == "tpr" else 1 / known
            ax.plot([0, 1], [0, chance], color=GREY, linestyle=":", linewidth=1.2, label="chance")
            ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="FPR: unknown accepted")
            ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
            ax.tick_params(labelbottom=True)
            legend_below(ax, title=f"{area.upper()} (%)")
    label_panels(axes, list(map(openness_title, levels)), [label for _, _, label in ROWS])
    finish(figure, title, stand_in=any(run.metrics["stand_in"] for run in read))
    return figure


def _draw_method(ax: Axes, runs: Sequence[RunFiles], method: str, rate: str, area: str, style: dict[str, Any]) -> None:
    by_split: dict[str, list[Floats]] = defaultdict(list)
    for run in runs:
        by_split[run.split].append(_at_grid(run.folder / "curves.csv", rate))
    # every split has the same weight in the area, as it has in the line
    areas = [np.mean([run.metrics[area]["value"] for run in runs if run.split == split]) for split in by_split]
    # matplotlib leaves a label that starts with an underscore out of the legend
    label = f"{method.lstrip('_')}  {100 * float(np.mean(areas)):.1f}"
    draw_spread(ax, GRID, [np.mean(seeds, axis=0) for seeds in by_split.values()], label=label, **style)


def _at_grid(file: Path, rate: str) -> Floats:
    values = read_numbers(file, ("threshold", rate, "fpr"))
    fpr, hits = values["fpr"], values[rate]
    finite = bool(np.isfinite(fpr).all() and np.isfinite(hits).all())
    rising = bool((np.diff(fpr) >= 0).all() and (np.diff(hits) >= 0).all())
    if not (finite and rising and fpr[0] == 0 and abs(fpr[-1] - 1) < 1e-9 and hits[0] >= 0 and hits[-1] < 1 + 1e-9):
        remedy = "run the evaluate step of this run again"
        raise HcepError(f"{rate} over fpr is not a curve from 0 to 1", file=file, remedy=remedy)
    # at a false positive rate where the curve is vertical, interp takes the upper end
    return np.interp(GRID, fpr, hits)
