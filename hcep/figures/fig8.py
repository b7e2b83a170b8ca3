"""Features of all test clips, by t-SNE (section 4.4.4, Fig. 8 of the paper)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hcep.errors import HcepError
from hcep.evaluation.scores import Scores
from hcep.figures.embedding import Picture, bare, numbers, picture, picture_rows, scatter, with_feature
from hcep.figures.one_split import alike, head, largest_classes, read_split
from hcep.figures.style import COLUMN, KNOWN, PALETTE, UNKNOWN, Drawing

COLUMNS = 2
# inches of a row of panels
ROW = 1.75
# more than the colours, so that a class that shares a colour has another shape
MARKERS = ("o", "s", "^", "D", "v", "p", "*", "<", ">", "h", "d")


def fig8_figure(runs: Sequence[str | Path], task: str = "") -> Drawing:
    """One panel per method: where t-SNE puts the test clips, known classes in colours, unknown clips as crosses.

    The feature is the fused one, or of a method on one modality that one's. Methods with the same numbers share a
    panel. Runs are folders with ``scores.h5``, one per method, of one openness level, split and seed.

    Raises
    ------
    HcepError
        A scores file is missing or unusable, the runs do not belong together, a side has no test clip, or no run has
        such a feature.
    """
    pictures, left_out = _pictures(read_split(runs, features=True))
    first = pictures[0].run
    rows = -(-len(pictures) // COLUMNS)
    styles = _class_styles(first)
    figure = Figure(figsize=(COLUMN, ROW * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for ax, shown in zip(panels, pictures, strict=False):
        label, known = shown.run.label[shown.drawn], shown.run.known[shown.drawn]
        scatter(ax, shown, ~known, name="unknown", size=9, color=UNKNOWN, marker="x", linewidths=0.8)
        for name, style in styles.items():
            scatter(ax, shown, label == name, name=name, size=10, edgecolors="white", linewidths=0.3, **style)
        bare(ax)
        alone = "" if shown.feature == "fused" else f" ({shown.feature})"
        ax.set_title(textwrap.fill(", ".join(shown.methods) + alone, 25), fontsize=7.5, pad=3)
        ax.set_xlabel(numbers(shown), labelpad=2)
    for ax in panels[len(pictures) :]:
        ax.remove()
    handles = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
    note = f"without fused features: {', '.join(left_out)}" if left_out else ""
    last = {name: handles[name] for name in (*styles, "unknown")}
    head(figure, first, "Fused features of the test clips by t-SNE", task, note, last)
    return figure, picture_rows(pictures)


def _pictures(runs: Sequence[Scores]) -> tuple[list[Picture], list[str]]:
    """A panel per method, and the methods without a feature that can be drawn."""
    able = [run for run in runs if _feature(run)]
    if not able:
        cause = f"no run of {runs[0].openness}, {runs[0].split} has fused features"
        raise HcepError(cause, remedy="name a method that joins modalities in the task, such as hcep or arpl_mm")
    # a side without test clips is told before anything is computed
    for known in (True, False):
        largest_classes(runs[0], known, 1)
    pictures = []
    for same in alike(able, [[_feature(run)] for run in able]):
        run, feature = same[0], _feature(same[0])
        clips = with_feature(run, feature, np.flatnonzero(run.part == "test"))
        names = tuple(other.method for other in same)
        pictures.append(picture(run, feature, clips, names, clustered=run.known[clips]))
    return pictures, [run.method for run in runs if not _feature(run)]


def _feature(run: Scores) -> str:
    """What a method decides on: its fused feature, or the only one that it has; '' where several are not joined."""
    if "fused" in run.features:
        return "fused"
    return next(iter(run.features)) if len(run.features) == 1 else ""


def _class_styles(run: Scores) -> dict[str, dict[str, Any]]:
    """Colour and shape of every known class with a test clip, by its place among all known classes."""
    colors = [KNOWN, *(color for color in PALETTE if color not in (KNOWN, UNKNOWN))]
    tested = set(run.label[run.part == "test"])
    return {
        name: {"color": colors[i % len(colors)], "marker": MARKERS[i % len(MARKERS)]}
        for i, name in enumerate(run.classes)
        if name in tested
    }
