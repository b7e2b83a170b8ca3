"""Closed-set and open-set confusion matrices, averaged over splits (section 4.4.7, Fig. 11 of the paper)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from hcep.evaluation.scores import read_scores
from hcep.evaluation.thresholds import DEFAULT_ACCEPTANCE, choose_thresholds
from hcep.figures.run_files import openness_title, read_run_files, sorted_openness, split_count
from hcep.figures.style import Drawing, Rows, describe, finish, panels

REJECTED = "unknown"
KINDS = ("closed", "open")
# inches of a row of cells, and of what stands above and below a matrix
ROW, AROUND = 0.115, 0.55
# letters of a class's name beside a matrix
LETTERS = 4
# cells from this share on are dark, and their number is white
DARK = 55


class Matrix(NamedTuple):
    """Per true class and decision the percent of that class's clips in each split where both can occur, and counts."""

    percent: dict[tuple[str, str], list[float]]
    clips: Counter[str]


def fig11_figure(runs: Sequence[str | Path], task: str = "") -> Drawing:
    """Confusion matrices of the task's first method, a row per openness; the CSV has those of all methods.

    A cell is the percent of a true class's test clips that got a decision, averaged over the runs in which both classes
    are known. In the open-set matrix a clip below the default threshold, chosen on training clips, is rejected. Runs
    are folders with ``scores.h5`` and ``metrics.json``.

    Raises
    ------
    HcepError
        A file is missing or unreadable.
    """
    read = read_run_files(runs)
    methods = list(dict.fromkeys(run.method for run in read))
    levels = sorted_openness(run.openness for run in read)
    # a class that was never known at a level has no row there
    names = {
        level: sorted({name for run in read if run.openness == level for name in run.metrics["classes"]})
        for level in levels
    }
    heights = [ROW * (len(names[level]) + 1) + AROUND for level in levels]
    figure, axes = panels(len(levels), len(KINDS), height=float(np.mean(heights)), height_ratios=heights, sharey="row")
    rows: Rows = []
    for method in methods:
        for panel_row, level in zip(axes, levels, strict=True):
            own = [run.folder for run in read if (run.method, run.openness) == (method, level)]
            for ax, kind, matrix in zip(panel_row, KINDS, _matrices(own), strict=True):
                if method == methods[0]:
                    _draw(ax, matrix, names[level], kind)
                    ax.set_title(f"{openness_title(level)}, {kind} set")
                for (truth, decision), values in sorted(matrix.percent.items()):
                    row = {"method": method, "openness": level, "matrix": kind, "true": truth, "decision": decision}
                    counts = {"runs": len(values), "clips": matrix.clips[truth]}
                    rows.append(row | {"percent": float(np.mean(values))} | counts)
    figure.supylabel("true class (test clips)", fontsize="medium")
    title = describe(f"Decisions of {methods[0]}, % of a class", task, split_count(read))
    finish(figure, title, stand_in=any(run.metrics["stand_in"] for run in read))
    return figure, rows


def _matrices(folders: Sequence[Path]) -> tuple[Matrix, Matrix]:
    closed, opened = (Matrix(defaultdict(list), Counter()) for _ in KINDS)
    for folder in folders:
        scores = read_scores(folder / "scores.h5", features=False)
        test, classes = scores.part == "test", list(scores.classes)
        theta = choose_thresholds(scores.score[~test], [DEFAULT_ACCEPTANCE])[0]
        truth = np.where(scores.known, scores.label, REJECTED)[test]
        decided = np.where(scores.score >= theta, scores.prediction, REJECTED)[test]
        _add(closed, truth, scores.prediction[test], classes, classes)
        _add(opened, truth, decided, [*classes, REJECTED], [*classes, REJECTED])
    return closed, opened


def _add(matrix: Matrix, truth: np.ndarray, decided: np.ndarray, names: list[str], decisions: list[str]) -> None:
    for name in names:
        own = decided[truth == name]
        matrix.clips[name] += len(own)
        if len(own):
            for decision in decisions:
                matrix.percent[name, decision].append(100 * float((own == decision).mean()))


def _draw(ax: Axes, matrix: Matrix, names: Sequence[str], kind: str) -> None:
    shown = [*names, REJECTED] if kind == "open" else names
    table = np.array([[np.mean(matrix.percent.get((row, column), np.nan)) for column in shown] for row in shown])
    ax.imshow(table, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        # a zero says nothing that the empty cell does not say
        if value >= 0.5:
            color = "white" if value > DARK else "black"
            ax.text(column, row, f"{value:.0f}", ha="center", va="center_baseline", color=color)
    for row, column in np.argwhere(np.isnan(table)):
        ax.plot(column, row, marker=".", markersize=1, color="#999999")
    short = _short_names(shown)
    ax.set_yticks(range(len(shown)), [f"{short[name]} ({matrix.clips[name]})" for name in shown])
    ax.set_xticks(range(len(shown)), list(short.values()), rotation=90)
    ax.grid(visible=False)
    ax.tick_params(length=0)


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Names cut to their first letters, as many as tell them apart, with a dot for what is left out."""
    short = {}
    for name in names:
        others = [other for other in names if other != name]
        fits = (n for n in range(LETTERS, len(name)) if not any(other[:n] == name[:n] for other in others))
        length = next(fits, len(name))
        short[name] = name if length + 1 >= len(name) else f"{name[:length]}."
    return short
