"""The runs of figures that show single clips: one a method, all of the same openness level, split and seed."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcep.errors import HcepError
from hcep.evaluation.scores import Scores, clip_keys, read_scores
from hcep.figures.run_files import check_any, openness_title
from hcep.figures.style import LETTERS, finish


def read_split(runs: Sequence[str | Path], *, features: bool) -> list[Scores]:
    """The scores of these run folders, in the order given.

    Raises
    ------
    HcepError
        No run, an unusable ``scores.h5``, two runs of one method, runs of another task, level, split or seed than the
        first, or of other test clips or classes.
    """
    check_any(runs)
    read: list[Scores] = []
    for folder in map(Path, runs):
        run = read_scores(folder / "scores.h5", features=features)
        first, remedy = (read or [run])[0], "name one run per method, all of one openness level, split and seed"
        for name in ("task", "openness", "split", "seed"):
            ours, theirs = getattr(run, name), getattr(first, name)
            if ours != theirs:
                cause = f"{name} is {ours}, but {theirs} in {runs[0]}"
                raise HcepError(cause, file=folder / "scores.h5", remedy=remedy)
        if run.method in [other.method for other in read]:
            raise HcepError(f"a second run of {run.method}", file=folder / "scores.h5", remedy=remedy)
        if _tested(run) != _tested(first):
            cause = f"the known classes or the test clips differ from those of {runs[0]}"
            raise HcepError(cause, file=folder / "scores.h5", remedy="score both runs on the same split")
        read.append(run)
    return read


def _tested(run: Scores) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    tested = run.part == "test"
    return run.classes, list(zip(clip_keys(run)[tested].tolist(), run.label[tested].tolist(), strict=True))


def head(
    figure: Figure, run: Scores, what: str, task: str, note: str = "", handles: Mapping[str, Any] | None = None
) -> None:
    """Title of a figure: what it shows, of which task, level, split and seed, and what is to be known of it."""
    # a line may not end inside an item
    items = (item.replace(" ", "\xa0") for item in (task, openness_title(run.openness), run.split, f"seed {run.seed}"))
    lines = (", ".join(filter(None, (what, *items))), note)
    text = "\n".join(textwrap.fill(line, LETTERS) for line in lines if line)
    finish(figure, text, stand_in=run.stand_in, handles=handles or {})


def largest_classes(run: Scores, known: bool, count: int) -> list[str]:
    """The known or the unknown classes with the most test clips, at most `count`; of equal ones, the first by name.

    Raises
    ------
    HcepError
        No test clip of a known, or of an unknown class.
    """
    names, clips = np.unique(run.label[(run.part == "test") & (run.known == known)], return_counts=True)
    if not len(names):
        cause = f"no test clip of {'a known' if known else 'an unknown'} class in {run.openness}, {run.split}"
        raise HcepError(cause, remedy="score the runs of this split again, or look at its folds and labels")
    return [str(name) for name in names[np.argsort(-clips, kind="stable")][:count]]


def alike(runs: Sequence[Scores], features: Sequence[Sequence[str]]) -> list[list[Scores]]:
    """Runs grouped by the content of these features of each: methods on one frozen encoder have the same numbers."""
    groups: dict[str, list[Scores]] = {}
    for run, names in zip(runs, features, strict=True):
        content = b"".join(name.encode() + run.features[name].tobytes() for name in names)
        groups.setdefault(hashlib.sha256(content).hexdigest(), []).append(run)
    return list(groups.values())


def identity(run: Scores) -> dict[str, object]:
    """The first cells of every row of a figure's table."""
    return {"task": run.task, "method": run.method, "openness": run.openness, "split": run.split, "seed": run.seed}


def clips_of(run: Scores, labels: Sequence[str]) -> NDArray[np.intp]:
    """Positions of the test clips of these classes."""
    return np.flatnonzero((run.part == "test") & np.isin(run.label, labels))
