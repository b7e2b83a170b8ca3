"""A method's own score beside the distance and the best other post-hoc scores, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes

from hcep.figures.run_files import number, one_table, read_rows, splits_of
from hcep.figures.style import GREY, PALETTE, Drawing, describe, finish, panels

METRICS: Final = (("auroc", "AUROC (%)"), ("oscr", "OSCR (%)"))
MEAN: Final = "mean"
OWN: Final = "own"
# the scores that every method is shown with, in the order of the rows
MAIN: Final[dict[str, dict[str, Any]]] = {
    OWN: {"color": PALETTE[0], "marker": "o", "label": "the method's own score"},
    "own+distance": {"color": PALETTE[1], "marker": "s", "label": "own + distance"},
    "max_logit+distance": {"color": PALETTE[3], "marker": "v", "label": "largest logit + distance"},
    "distance": {"color": PALETTE[2], "marker": "^", "label": "distance alone"},
}
OTHER: Final[dict[str, Any]] = {"color": GREY, "marker": "D", "label": "best others, by AUROC"}
OTHERS: Final = 3
# inches of a row
ROW: Final = 0.12


class Line(NamedTuple):
    """One row of the figure: its height, what stands left of it, and for a score its cells."""

    y: float
    label: str
    cells: Mapping[str, float]


def posthoc_figure(table: Sequence[str | Path], task: str = "") -> Drawing:
    """One group of rows per method, means over its openness levels: AUROC at the left, OSCR at the right.

    A whisker is the interval, a dotted line the method's own score. One file is drawn: ``posthoc.csv`` of a task, in
    percent.

    Raises
    ------
    HcepError
        The table is missing, empty, lacks a column, or holds a cell that is not a number.
    """
    file = one_table(table, "posthoc.csv")
    names = [f"{metric}{part}" for metric, _ in METRICS for part in ("", "_lo", "_hi")]
    rows = read_rows(file, ["method", "openness", "score", "splits", "stand_in", *names])
    found: dict[str, dict[str, dict[str, float]]] = {}
    for at, row in rows:
        # a score that is not defined has no cells
        if row["openness"] == MEAN and row["auroc"]:
            cells = {name: number(row, name, file, at) for name in names}
            found.setdefault(row["method"], {})[row["score"]] = cells
    lines = _lines(found)
    figure, axes = panels(1, len(METRICS), height=ROW * len(lines) + 0.3, sharey=True)
    for ax, (metric, label) in zip(axes[0], METRICS, strict=True):
        _draw(ax, metric, lines)
        ax.set_xlabel(label)
    left = axes[0, 0]
    left.set_yticks([line.y for line in lines], [line.label for line in lines])
    for text, line in zip(left.get_yticklabels(), lines, strict=True):
        text.set_fontweight("normal" if line.cells else "bold")
    left.set_ylim(lines[-1].y - 0.8, 0.8)
    title = describe("Scores of trained runs, mean over openness levels", task, splits_of(rows))
    finish(figure, title, stand_in=any(row["stand_in"] == "true" for _, row in rows))
    shown = ["method", "score", "feature", *names]
    return figure, [{name: row.get(name, "") for name in shown} for _, row in rows if row["openness"] == MEAN]


def _lines(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[Line]:
    """Rows from top to bottom; a method's name has a row of its own above its scores."""
    lines: list[Line] = []
    for method, scores in found.items():
        others = sorted((name for name in scores if name not in MAIN), key=lambda name: -scores[name]["auroc"])
        shown = [name for name in MAIN if name in scores] + others[:OTHERS]
        lines += [Line(-len(lines), method, {})]
        lines += [Line(-len(lines) - i, name, scores[name]) for i, name in enumerate(shown)]
    return lines


def _draw(ax: Axes, metric: str, lines: Sequence[Line]) -> None:
    for place, line in enumerate(lines):
        if not line.cells:
            continue
        style = MAIN.get(line.label, OTHER)
        ax.hlines(line.y, line.cells[f"{metric}_lo"], line.cells[f"{metric}_hi"], color=style["color"], linewidth=0.9)
        ax.plot(line.cells[metric], line.y, linestyle="", **style)
        if line.label == OWN:
            last = next((i for i in range(place, len(lines)) if not lines[i].cells), len(lines)) - 1
            ax.vlines(
                line.cells[metric], lines[last].y - 0.4, line.y, color=style["color"], linestyle=":", linewidth=0.8
            )
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
