"""A known and an unknown class in the features of every modality, by t-SNE (section 4.4.2, Fig. 6 of the paper)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hcep.errors import HcepError
from hcep.evaluation.scores import Scores
from hcep.figures.embedding import LEAST, Picture, bare, numbers, picture, picture_rows, scatter, with_feature
from hcep.figures.one_split import alike, clips_of, head, largest_classes, read_split
from hcep.figures.style import COLUMN, KNOWN, UNKNOWN, Drawing

MODALITIES = ("text", "vision", "audio")
# inches of a row of panels, and of each line of its heading
ROW, LINE = 1.35, 0.13


def fig6_figure(runs: Sequence[str | Path], task: str = "") -> Drawing:
    """One row per method, one column per modality: where t-SNE puts the clips of a known and of an unknown class.

    They are the known and the unknown class with the most test clips; of equal ones, the first by name. Clips without
    the modality are left out, and so is a modality that almost no clip has. Methods whose features of these clips are
    the same numbers, as all on one frozen encoder, share a row. Runs are folders with ``scores.h5``, one per method, of
    one openness level, split and seed.

    Raises
    ------
    HcepError
        A scores file is missing or unusable, the runs do not belong together, a side has no test clip, or no method
        stores the features of every modality.
    """
    rows, left_out = _rows(read_split(runs, features=True))
    first = rows[0][0].run
    pair = [largest_classes(first, known, 1)[0] for known in (True, False)]
    headings = [textwrap.wrap(", ".join(row[0].methods), 46) for row in rows]
    heights = [ROW + LINE * len(heading) for heading in headings]
    figure = Figure(figsize=(COLUMN, sum(heights)), layout="constrained")
    blocks = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for block, row, heading in zip(blocks, rows, headings, strict=True):
        block.suptitle("\n".join(heading), fontsize=7.5, fontweight="bold", x=0.02, ha="left")
        for ax, shown in zip(block.subplots(1, len(row), squeeze=False)[0], row, strict=True):
            known = shown.run.known[shown.drawn]
            scatter(ax, shown, known, name=f"{pair[0]} (known)", size=9, color=KNOWN, marker="o", linewidths=0)
            scatter(ax, shown, ~known, name=f"{pair[1]} (unknown)", size=11, color=UNKNOWN, marker="x", linewidths=1)
            bare(ax)
            ax.set_title(shown.feature, fontsize=7.5, pad=3)
            ax.set_xlabel(numbers(shown).replace(", ", "\n"), labelpad=2)
    points, names = blocks[0].axes[0].get_legend_handles_labels()
    note = f"without features of every modality: {', '.join(left_out)}" if left_out else ""
    handles = dict(zip(names, points, strict=True))
    head(figure, first, "Features of a known and an unknown class by t-SNE", task, note, handles)
    return figure, picture_rows([shown for row in rows for shown in row])


def _rows(runs: Sequence[Scores]) -> tuple[list[list[Picture]], list[str]]:
    """Panels of every row, and the methods without the features of a modality that others have."""
    first = runs[0]
    pair = [largest_classes(first, known, 1)[0] for known in (True, False)]
    clips = {name: with_feature(first, name, clips_of(first, pair)) for name in MODALITIES}
    shown = [name for name in MODALITIES if _enough(first, clips[name])]
    able = [run for run in runs if shown and all(name in run.features for name in shown)]
    if not able:
        what = ", ".join(shown) or f"at least {LEAST} test clips of {pair[0]} and {pair[1]}"
        cause = f"no run of {first.openness}, {first.split} has features of {what}"
        raise HcepError(cause, remedy="name a method on all modalities in the task, such as hcep or arpl_mm")
    rows = []
    for same in alike(able, [shown] * len(able)):
        row, names = [], tuple(run.method for run in same)
        for name in shown:
            own = with_feature(same[0], name, clips_of(same[0], pair))
            row.append(picture(same[0], name, own, names, clustered=np.ones(len(own), bool)))
        rows.append(row)
    drawn = [run.method for run in able]
    return rows, [run.method for run in runs if run.method not in drawn]


def _enough(run: Scores, clips: np.ndarray) -> bool:
    return len(clips) >= LEAST and len(set(run.known[clips])) == 2
