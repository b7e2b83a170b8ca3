"""Prompt settings in SMEP (Fig. 4 of the paper): what guides the prompts, and how many tokens they have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from hcep.errors import HcepError
from hcep.figures.run_files import number, one_table, read_rows
from hcep.figures.style import PALETTE, Drawing, describe, draw_paper, draw_whisker, finish, panels

METRICS = (("auroc", "AUROC", PALETTE[0]), ("oscr", "OSCR", PALETTE[1]))
NEEDED = ("section", "row", "metric", "ours", "lo", "hi", "paper", "stand_in")
BARS, TOKENS = "a", "b"
# the bars of a setting's two metrics stand this far to the left and right of its tick
APART = 0.19

# row of the table -> metric -> column -> value
Points = dict[str, dict[str, dict[str, float]]]


def fig4_figure(table: Sequence[str | Path], task: str = "") -> Drawing:
    """Bars for the settings of section ``a`` and lines over the numbers of tokens of section ``b``.

    A diamond is the paper's value, a whisker the interval. One file is drawn: ``fig4.csv``, written by
    `hcep.evaluation.tables.write_paper_table`.

    Raises
    ------
    HcepError
        The table is missing, lacks a column or a section, or holds a cell that is not a number.
    """
    file = one_table(table, "fig4.csv")
    rows = read_rows(file, NEEDED)
    sections = {name: _points(file, [item for item in rows if item[1]["section"] == name]) for name in (BARS, TOKENS)}
    for name, points in sections.items():
        if not points:
            raise HcepError(f"no row of section {name}", file=file, remedy="write the table again")
    figure, axes = panels(2, 1, height=1.75)
    left, right = axes[:, 0]
    _draw_bars(left, sections[BARS])
    _draw_lines(right, sections[TOKENS])
    left.set(title="(a) what guides the prompts", ylabel="mean over opennesses (%)")
    right.set(title="(b) number of tokens", xlabel="tokens m", ylabel="mean over opennesses (%)")
    title = describe("Prompt settings in SMEP", task)
    finish(figure, title, stand_in=any(row["stand_in"] == "true" for _, row in rows))
    return figure, [row for _, row in rows]


def _points(file: Path, rows: Sequence[tuple[int, dict[str, str]]]) -> Points:
    points: Points = {}
    for line, row in rows:
        values = {name: number(row, name, file, line) for name in ("ours", "lo", "hi", "paper") if row[name]}
        points.setdefault(row["row"], {})[row["metric"]] = values
    return points


def _draw_bars(ax: Axes, points: Points) -> None:
    for (metric, label, color), shift in zip(METRICS, (-APART, APART), strict=True):
        places = [(x + shift, found.get(metric, {})) for x, found in enumerate(points.values())]
        ours = [(x, cell) for x, cell in places if "ours" in cell]
        ax.bar([x for x, _ in ours], [cell["ours"] for _, cell in ours], 1.8 * APART, color=color, label=label)
        for x, cell in ours:
            if "lo" in cell and "hi" in cell:
                draw_whisker(ax, x, cell["lo"], cell["hi"])
        draw_paper(ax, [(x + 0.4 * APART, cell["paper"]) for x, cell in places if "paper" in cell], 3.2)
    _label_settings(ax, points)
    ax.set_ylim(0, 100)


def _draw_lines(ax: Axes, points: Points) -> None:
    for (metric, label, color), marker in zip(METRICS, ("o", "s"), strict=True):
        cells = [found.get(metric, {}) for found in points.values()]
        # the line is interrupted where a setting was not run
        ours = [cell.get("ours", float("nan")) for cell in cells]
        ax.plot(range(len(cells)), ours, color=color, marker=marker, label=label)
        for x, cell in enumerate(cells):
            if "lo" in cell and "hi" in cell:
                ax.vlines(x, cell["lo"], cell["hi"], color=color, linewidth=1.2)
        draw_paper(ax, [(x + 0.12, cell["paper"]) for x, cell in enumerate(cells) if "paper" in cell], 3.2)
    _label_settings(ax, points)


def _label_settings(ax: Axes, points: Points) -> None:
    ran = [any("ours" in cell for cell in found.values()) for found in points.values()]
    names = [name if own else f"{name}\nnot run" for name, own in zip(points, ran, strict=True)]
    ax.set_xticks(range(len(points)), names)
    ax.set_xlim(-0.5, len(points) - 0.5)
    ax.grid(axis="x", visible=False)
