"""What `hcep init` tells: how the data were read, what may go wrong with them, and what to type next."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hcep.datasets.manifest_file import Clip
from hcep.errors import shown
from hcep.own_data.media_files import counted

FEW = 5


class Files(NamedTuple):
    """The three files that are written."""

    table: Path
    config: Path
    splits: Path


class Outcome(NamedTuple):
    """What was found and written: `task` is the entry of the task, `lacking` labels that cannot be classes, and why.

    `configs` are the files that were given beside config/config.yaml.
    """

    name: str
    folder: Path
    clips: Sequence[Clip]
    task: Mapping[str, Any]
    lacking: Mapping[str, str]
    told: Sequence[str]
    files: Files
    words: Mapping[str, str]
    configs: Sequence[Path]


def report_text(outcome: Outcome) -> str:
    """The outcome as text to read; it ends with the commands to type."""
    warned = [*_warnings(outcome)]
    lines = [f"{outcome.folder}: {counted(len(outcome.clips), 'clip')}", *(f"  {line}" for line in outcome.told), ""]
    lines += _counts(outcome.clips, outcome.task)
    if warned:
        lines += ["", "look at these", *(f"  {line}" for line in warned)]
    splits, task = counted(len(outcome.task["splits"]), "split"), outcome.task
    lines += ["", "written", f"  {outcome.files.table}  the clips: look at label, group and fold"]
    lines += [f"  {outcome.files.config}  data set and task {outcome.name}, methods {', '.join(task['methods'])}"]
    lines += [f"  {outcome.files.splits}  {', '.join(task['openness'])} with {splits} each: keep and commit it"]
    option = f"--configfile {shlex.join(map(str, [*outcome.configs, outcome.files.config]))}"
    lines += ["", "next", f"  hcep check {outcome.name} {option}"]
    lines += [f"  snakemake results/{outcome.name}/summary.csv --cores {os.cpu_count() or 1} {option}"]
    return shown("\n".join(lines) + "\n")


def _counts(clips: Sequence[Clip], task: Mapping[str, Any]) -> list[str]:
    """A table of labels: clips of each fold, and speakers."""
    folds = sorted({clip.fold for clip in clips}, key=lambda fold: (fold in task["test_folds"], fold))
    count = Counter((clip.label, clip.fold) for clip in clips)
    rows = [["label", *folds, "speakers"]]
    for label in sorted({clip.label for clip in clips}, key=lambda label: (label not in task["labels"], label)):
        known = {clip.group for clip in clips if clip.label == label and clip.group != clip.clip}
        rows.append([label or "(none)", *(str(count[label, fold]) for fold in folds), str(len(known) or "?")])
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in ([*zip(row, widths, strict=True)] for row in rows)
    ]


def _warnings(outcome: Outcome) -> Iterator[str]:
    clips, task = outcome.clips, outcome.task
    alone = [clip for clip in clips if clip.group == clip.clip]
    if len(alone) == len(clips):
        yield (
            "NO SPEAKERS ARE KNOWN: one person may be in training and in test, and results then look better than they "
            "are. Fill the column group of the table, or name the level of the speakers in --layout"
        )
    elif alone:
        yield f"without a speaker: {counted(len(alone), 'clip')}, such as {alone[0].clip}; each is a speaker of its own"
    tested = {clip.group for clip in clips if clip.fold in task["test_folds"] and clip.label in task["labels"]}
    if len(tested) == 1:
        yield "one speaker is tested, which gives no interval: raise --test-share, or give clips of more speakers"
    unlabelled = sum(not clip.label for clip in clips)
    if unlabelled:
        yield f"without a label: {counted(unlabelled, 'clip')}; kept in the table, in no split"
    for label, why in outcome.lacking.items():
        yield f"{label} is no class of the task (other_labels): {why}"
    parts = {*task["test_folds"], *task["val_folds"]}
    trained = Counter(clip.label for clip in clips if clip.fold not in parts)
    few = [f"{label} ({trained[label]})" for label in task["labels"] if trained[label] < FEW]
    if few:
        yield f"fewer than {FEW} clips to train on: {', '.join(few)}; --min-train N leaves such classes out"
    named = [clip.clip for clip in clips if clip.label and clip.text.strip().casefold() == clip.label.casefold()]
    if named:
        where = f"{counted(len(named), 'clip')}, such as {named[0]}"
        yield f"words that are the label: {where}; a method would read the answer"
    if not any(clip.text for clip in clips):
        yield "no clip has words; `text: asr` in the data set's entry has speech recognised"
    plain = [label for label in task["labels"] if label not in outcome.words]
    if plain:
        example = f"words: {{{plain[0]}: …}}"
        yield f'these stand for themselves in "This video is …": {", ".join(plain)}; `{example}` says it otherwise'
