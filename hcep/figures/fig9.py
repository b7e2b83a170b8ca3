"""TPR-FPR and CCR-FPR curves at every openness, with bootstrap bands (section 4.4.5, Fig. 9 of the paper)."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hcep.evaluation.bootstrap import CHUNK_CELLS, SIDES, group_draws
from hcep.evaluation.metrics import Counts, Ranking, open_set
from hcep.evaluation.scores import group_keys, read_scores
from hcep.figures.run_files import Floats, RunFiles, openness_title, read_run_files, sorted_openness, split_count
from hcep.figures.style import GREY, Drawing, Rows, describe, finish, method_style, panels

RATES = (("tpr", "AUROC: TPR, known accepted"), ("ccr", "OSCR: CCR, and right class"))
# common false positive rates at which the curves of several runs are averaged
GRID = np.linspace(0.0, 1.0, 101)
# draws of a band; the first of those that the run's intervals are made of
DRAWS = 500
# markers on a curve stand this many points of the grid apart
APART = 20


def fig9_figure(runs: Sequence[str | Path], task: str = "") -> Drawing:
    """The curves of all runs: a row per openness, TPR at the left, CCR at the right, a line per method.

    A line is the mean over splits at equal FPR, after the seeds of every split were averaged; a band holds, at every
    FPR, the share `confidence` of the means over bootstrap draws of groups of test clips. Runs are folders with
    ``scores.h5`` and ``metrics.json``.

    Raises
    ------
    HcepError
        A file is missing or unreadable.
    """
    read = read_run_files(runs)
    levels = sorted_openness(run.openness for run in read)
    methods = list(dict.fromkeys(run.method for run in read))
    figure, axes = panels(len(levels), len(RATES), height=1.45, sharex=True, sharey=True)
    rows: Rows = []
    for panel_row, level in zip(axes, levels, strict=True):
        here = [run for run in read if run.openness == level]
        for place, method in enumerate(methods):
            own = [run for run in here if run.method == method]
            if own:
                for ax, (rate, _), found in zip(panel_row, RATES, _mean_rates(own), strict=True):
                    rows += _draw(ax, found, method, own, rate, APART * place // len(methods))
        # the right class by chance is one of K
        known = len(here[0].metrics["classes"])
        for ax, height in zip(panel_row, (1.0, 1 / known), strict=True):
            ax.plot([0, 1], [0, height], color=GREY, linestyle=":", label="chance")
            ax.set(xlim=(0, 1), ylim=(0, 1.02))
            ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        panel_row[0].set_ylabel(openness_title(level))
    for ax, (_, text) in zip(axes[0], RATES, strict=True):
        ax.set_title(text)
    for ax in axes[-1]:
        ax.set_xlabel("FPR: unknown accepted")
    title = describe("AUROC and OSCR over thresholds", task, split_count(read))
    finish(figure, title, stand_in=any(run.metrics["stand_in"] for run in read))
    return figure, rows


def _draw(ax: Any, found: Floats, method: str, runs: Sequence[RunFiles], rate: str, first: int) -> Rows:
    tail = 50 * (1 - runs[0].metrics["confidence"])
    low, high = np.nanpercentile(found[1:], [tail, 100 - tail], axis=0)
    style = method_style(method)
    # matplotlib leaves a label that starts with an underscore out of the legend
    ax.plot(GRID, found[0], label=method.lstrip("_"), markevery=(first, APART), **style)
    ax.fill_between(GRID, low, high, color=style["color"], alpha=0.1, linewidth=0)
    shared = {"openness": runs[0].openness, "method": method, "rate": rate}
    columns = zip(GRID.tolist(), found[0].tolist(), low.tolist(), high.tolist(), strict=True)
    return [shared | dict(zip(("fpr", "value", "lo", "hi"), values, strict=True)) for values in columns]


def _mean_rates(runs: Sequence[RunFiles]) -> Floats:
    """TPR and CCR at `GRID`, (2, 1 + DRAWS, G): of the clips as they are, then of every draw; splits weigh the same."""
    by_split: dict[str, list[Floats]] = defaultdict(list)
    for run in runs:
        by_split[run.split].append(run_rates(run))
    return np.mean([np.mean(seeds, axis=0) for seeds in by_split.values()], axis=0)


def run_rates(run: RunFiles) -> Floats:
    """TPR and CCR of one run at `GRID`, (2, 1 + DRAWS, G); NaN for a draw without known or unknown clips."""
    scores = read_scores(run.folder / "scores.h5", features=False)
    names, index = np.unique(group_keys(scores)[scores.part == "test"], return_inverse=True)
    ranking = Ranking(open_set(scores), index, len(names))
    chunk = max(1, CHUNK_CELLS // max(len(index), len(names)))
    seed = run.metrics["bootstrap_seed"]
    draws = (group_draws(names.tolist(), side, DRAWS, seed, chunk) for side in SIDES)
    as_they_are = np.ones((1, len(names)))
    weights = itertools.chain([(as_they_are, as_they_are)], zip(*draws, strict=True))
    return np.concatenate([_at_grid(ranking.counts(known, unknown)) for known, unknown in weights], axis=1)


def _at_grid(counts: Counts) -> Floats:
    """Curves of r weightings, counts (r, T), at `GRID`: (2, r, G); where a curve is vertical, its upper end."""
    known, correct, unknown = (np.pad(side, ((0, 0), (1, 0))) for side in counts)
    total = unknown[:, -1:]
    wanted = GRID * total
    # one search for all rows: counts are whole numbers, and shifted rows follow each other in one sorted list
    shift = (total.max() + 1) * np.arange(len(total))[:, None]
    flat = (unknown + shift).ravel()
    first = unknown.shape[1] * np.arange(len(total))[:, None]
    right = np.searchsorted(flat, np.floor(wanted + 1e-9) + shift, side="right") - first
    left, right = right - 1, np.minimum(right, unknown.shape[1] - 1)
    before, after = (np.take_along_axis(unknown, place, axis=1) for place in (left, right))
    step = after - before
    part = np.divide(wanted - before, step, out=np.zeros_like(wanted), where=step > 0)
    rates = []
    for hits in (known, correct):
        low, high = (np.take_along_axis(hits, place, axis=1) for place in (left, right))
        rates.append(low + part * (high - low))
    # a side without weight has no rate
    usable = (total > 0) & (known[:, -1:] > 0)
    return np.divide(rates, known[:, -1:], out=np.full((2, *wanted.shape), np.nan), where=usable)
