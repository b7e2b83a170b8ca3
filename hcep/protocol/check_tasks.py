"""Whether the tasks of a dataset fit the labels and folds of its clips, told before anything is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hcep.datasets.manifest_file import read_manifest
from hcep.errors import HcepError, not_text, shown
from hcep.files import write_text
from hcep.protocol.near_misses import Names, near_misses, totals
from hcep.protocol.partition import Folds

USES = {"test": "tested", "val": "held out for validation", "train": "trained on", "": "left out"}


def check_tasks(manifest: str | Path, tasks: Mapping[str, Mapping[str, Any]], output: str | Path) -> None:
    """Write how each task takes the labels and folds of a dataset, as text to read.

    `tasks` maps a task to what it calls its classes and folds, see `Config.names_of_task`.

    Raises
    ------
    HcepError
        For the near misses of all these tasks, see `near_misses`; nothing is written then.
    """
    clips = Counter((clip.label, clip.fold) for clip in read_manifest(manifest))
    names = {task: read_names(task, settings) for task, settings in sorted(tasks.items())}
    missed = [(task, miss) for task, named in names.items() for miss in near_misses(clips, named)]
    if missed:
        causes = "; ".join(f"task {task}: {miss.cause}" for task, miss in missed)
        remedies = "; ".join(dict.fromkeys(miss.remedy for _, miss in missed))
        raise HcepError(causes, file=manifest, remedy=remedies)
    text = "\n".join(task_text(task, clips, named) for task, named in names.items())
    write_text(output, text or "no task of the config uses this dataset\n")


def read_names(task: str, settings: Mapping[str, Any]) -> Names:
    """The names of a task from its settings; what is no list of texts is an HcepError."""
    for key in ("labels", "other_labels", "test_folds", "train_folds", "val_folds"):
        listed = settings.get(key, [])
        if listed is None and key == "train_folds":  # every other fold
            continue
        if not isinstance(listed, list):
            raise HcepError(f"{key} of task {task} is {listed!r}", remedy="list the names: [anger, fear, ...]")
        for name in listed:
            if not isinstance(name, str):
                cause = f"{key} of task {task} lists {name!r}, which is not text"
                raise HcepError(cause, remedy=not_text(name))
    folds = Folds(settings["test_folds"], settings.get("train_folds"), settings.get("val_folds", ()))
    return Names(settings["labels"], folds, settings.get("other_labels", ()), settings.get("words"))


def task_text(task: str, clips: Mapping[tuple[str, str], int], names: Names) -> str:
    """How a task takes the labels and folds of its clips, and its near misses, as text to read.

    `clips` maps (label, fold) to the number of clips; '' stands where a clip has none.
    """
    labels, folds = totals(clips, 0), totals(clips, 1)
    sections: dict[str, list[tuple[str, str, int]]] = {
        "classes": [(label, "", labels[label]) for label in names.labels],
        "labels that are no class of the task (left out)": [
            (label or "(none)", "other_labels" if label in names.other_labels else "", count)
            for label, count in labels.items()
            if label not in names.labels
        ],
        "folds": [(fold or "(none)", USES[names.folds.part(fold)], count) for fold, count in folds.items()],
    }
    lines = [f"task {task}", *_lines(sections)]
    missed = near_misses(clips, names)
    if missed:
        lines.append("  errors: names that almost match")
    for miss in missed:
        lines += [f"    {miss.cause}", f"      remedy: {miss.remedy}"]
    return shown("\n".join(lines) + "\n")


def _lines(sections: Mapping[str, Sequence[tuple[str, str, int]]]) -> Iterator[str]:
    rows = [row for section in sections.values() for row in section]
    names, notes = (max(len(str(row[column])) for row in rows) for column in (0, 1))
    for title, section in sections.items():
        if section:
            yield f"  {title}"
        for name, note, count in section:
            yield f"    {name:{names}}  {note:{notes}}  {count:>7}"
