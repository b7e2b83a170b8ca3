"""The learning rate (or any setting) of a `<method>_tuned` run, chosen on known training clips alone."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.methods.method import Method
from hcep.progress import say
from hcep.protocol.make_split import Split
from hcep.protocol.partition import held_out
from hcep.seal import write_sealed_json
from hcep.training.loop import Diverged, Trainer
from hcep.training.run import Inputs, Run

# where the split holds nothing out: as large a share as is common, of the training clips of this run
FRACTION = 0.2


def tune(
    inputs: Inputs,
    method_class: type[Method],
    settings: dict[str, Any],
    grid: Mapping[str, Sequence[Any]],
    *,
    name: str,
    seed: int,
    code: str,
    output: Path,
    work: Path,
) -> None:
    """Train once per point of the grid and keep the one with the highest accuracy on held-out known clips.

    Held out are the split's validation clips, or else whole groups of its training clips. No test clip and no clip of
    an unknown class is read. The first of equal points wins; one whose loss is not finite counts as diverged and loses.

    Parameters
    ----------
    grid : mapping
        Setting -> values to try; every combination is trained.
    name, seed, code, work
        As in `train`.
    output : path
        JSON: ``chosen`` (setting -> value), ``grid`` (one entry per point with ``val_accuracy`` or ``diverged``),
        ``held_out`` (number of clips).

    Raises
    ------
    HcepError
        When every point diverges, or the grid has several devices.
    """
    if "device" in grid:
        cause = "its grid names `device`, but all points run on the same one"
        raise HcepError(cause, file=name, remedy="leave it out of `tune`")
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    rows: list[dict[str, Any]] = []
    whole = Run(inputs, method_class, settings, seed)
    whole.split = with_validation(whole.split, seed)
    for number, point in enumerate(points, 1):
        run = whole.with_settings(settings | point | {"selection": "last"})
        title = f"tune {name} {number}/{len(points)} {json.dumps(point)}"
        try:
            rows.append({**point, "val_accuracy": _accuracy(run, run.folder(work, "tune", name, code), title)})
        except Diverged as error:
            say(f"{title}: {error.cause}")
            rows.append({**point, "diverged": error.cause})
    tried = [row for row in rows if "val_accuracy" in row]
    if not tried:
        raise HcepError("every point of the grid diverged", file=name, remedy="add smaller rates to its `tune`")
    held = len(whole.split.val)
    best = max(tried, key=lambda row: row["val_accuracy"])
    chosen, accuracy = {key: best[key] for key in grid}, best["val_accuracy"]
    equal = sum(row["val_accuracy"] == accuracy for row in tried)
    more = f"; {equal} points are equal, the first was taken" if equal > 1 else ""
    say(f"tune {name}: chose {json.dumps(chosen)}, right on {accuracy:.1%} of {held} held-out clips{more}")
    write_sealed_json(output, {"chosen": chosen, "grid": rows, "held_out": held})
    whole.forget()


def with_validation(split: Split, seed: int) -> Split:
    """The split with validation clips: its own, or whole groups taken out of its training clips."""
    if split.val:
        return split
    try:
        val = held_out(split.train, split.labels, split.groups, FRACTION, seed)
    except HcepError as error:
        remedy = "give the task val_folds or val_fraction, or its training clips more groups"
        raise HcepError("no group of training clips can be held out to tune on", remedy=remedy) from error
    train = tuple(clip for clip in split.train if clip not in val)
    return split._replace(train=train, val=tuple(sorted(val)))


def _accuracy(run: Run, folder: Path, title: str) -> float:
    """Accuracy on the validation clips after the last epoch."""
    feed = run.feed(run.split.train)
    method = run.build(feed)
    Trainer(method, feed, run.settings, run.seed, folder, name=title).run()
    return run.accuracy(method, run.feed(run.split.val))
