"""A table of clips, a task and its splits from a folder of media; nothing is decoded, and nothing written over."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from hcep import registry
from hcep.config.whole import read_config, read_configs
from hcep.datasets.manifest import Manifest
from hcep.datasets.manifest_file import COLUMNS, TEXT_KINDS, Clip
from hcep.errors import HcepError
from hcep.files import write_table, write_text, writing
from hcep.own_data.folders import read_folders
from hcep.own_data.folds import Chosen, choose_folds, one_sided
from hcep.own_data.labels import name_labels, pairs, usual_levels
from hcep.own_data.lists import read_list
from hcep.own_data.media_files import HIDDEN, Media, find_media
from hcep.own_data.report import Files, Outcome, report_text
from hcep.planning.checks import check_config
from hcep.protocol.class_splits import read_class_split, write_class_splits
from hcep.protocol.near_misses import Names, check_names
from hcep.protocol.partition import Folds, partition

# of the encoders that come with the package: their frames and seconds, and runs as short as the demo's
SMALL = {"size": 64, "samples": 16000}
SHORT = {"device": "cpu", "batch_size": 16, "epochs": 10, "lr": 0.005, "lr_step": 20, "cosine_scale": 1}
CLIPS_PER_SHARD, MOST_SHARDS = 50, 64


class Source(NamedTuple):
    """Where the clips lie, and how their labels are to be read; see the options of `hcep init`."""

    folder: Path
    table: Path | None
    layout: str | None
    column: Sequence[str]
    ignore: Sequence[str]
    label_names: Sequence[str]
    text_kind: str | None


class Wishes(NamedTuple):
    """What is asked of the task; see the options of `hcep init`."""

    name: str
    openness: Sequence[str]
    splits: int
    seed: int
    test_share: float
    test_folds: Sequence[str]
    min_train: int
    encoder: str
    methods: Sequence[str]


def start(source: Source, wishes: Wishes, output: Path | None, base: Sequence[Path], configs: Sequence[Path]) -> str:
    """Write ``clips.tsv``, ``NAME.yaml`` and ``NAME_splits.yaml`` into `output`; returns what was found, as text.

    Parameters
    ----------
    source : Source
        The media, where nothing is written, and their labels.
    wishes : Wishes
        Name, folds, levels, encoder and methods of the task.
    output : path or None
        Folder to write; ``config/NAME`` when not given.
    base, configs : sequence of path
        The configuration that is always read, and the files over it that the next commands must name too.

    Raises
    ------
    HcepError
        Where a file is there already, or anything in the data is not certain; nothing is written then.
    """
    output = output or Path("config") / wishes.name
    files = Files(*(output / name for name in _names(wishes.name)))
    below = read_configs([*base, *configs])
    _check_options(source, wishes)
    _check_place(source.folder, files, below, wishes.name)
    media = find_media(source.folder)
    if source.table is None:
        reading = read_folders(source.folder, media, source.layout, source.text_kind or "transcript")
    else:
        columns = pairs("--column", source.column)
        reading = read_list(source.folder, media, source.table, columns, source.ignore, source.text_kind)
    labels = name_labels(reading.rows, pairs("--label-names", source.label_names))
    folds = choose_folds(reading.rows, wishes.test_share, wishes.seed, wishes.test_folds)
    lacking = one_sided(reading.rows, folds)
    classes = [label for label in labels if label not in lacking]
    if len(classes) < 3:
        cause = f"{len(classes)} of {len(labels)} labels have clips to train on and to test, three are needed"
        remedy = "; ".join(f"{label}: {why}" for label, why in lacking.items())
        remedy = f"give these more clips, of several speakers, or --test-share another value ({remedy})"
        raise HcepError(cause, file=source.table or source.folder, remedy=remedy)
    levels = list(dict.fromkeys(wishes.openness)) or usual_levels(len(classes))
    with tempfile.TemporaryDirectory() as place, writing(place):
        drafts = Files(*(Path(place) / name for name in _names(wishes.name)))
        _write_table(drafts.table, reading.rows)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            numbers = {"count": wishes.splits, "seed": wishes.seed}
            drawn = write_class_splits(drafts.splits, classes, levels, **numbers, task=wishes.name)
        # a level with few classes has few splits, and a task has the same splits at all levels
        splits = [*min(drawn.values(), key=len)]
        task = _task(files, wishes, folds, classes, [*lacking]) | {"openness": levels, "splits": splits}
        entries = _entries(source.folder, files, wishes, below.get("encoders", {}), task, len(reading.rows))
        clips = _checked(source.folder, drafts, below, entries, wishes.name)
        write_text(files.table, drafts.table.read_text(encoding="utf-8"))
        write_text(files.splits, drafts.splits.read_text(encoding="utf-8"))
        header = f"# Written by `hcep init`, to be laid over config/config.yaml: --configfile {files.config}\n"
        write_text(files.config, header + _yaml(entries))
    told = [
        *reading.told,
        *_left_out(media, clips, words=source.table is None),
        *folds.told,
        *(str(one.message) for one in said),
    ]
    return report_text(
        Outcome(wishes.name, source.folder, clips, task, lacking, told, files, below.get("words", {}), configs)
    )


def _names(name: str) -> tuple[str, str, str]:
    return "clips.tsv", f"{name}.yaml", f"{name}_splits.yaml"


def _yaml(entries: dict[str, Any]) -> str:
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def _check_options(source: Source, wishes: Wishes) -> None:
    """Refuse options that say nothing together, and values that they may not have."""
    if source.table is not None and source.layout is not None:
        raise HcepError("--table and --layout are given", remedy="a table says the labels itself: choose one of them")
    if source.table is None and (source.column or source.ignore):
        raise HcepError("--column and --ignore are for a table", remedy="name it with --table")
    if source.text_kind not in (None, *TEXT_KINDS):
        raise HcepError(f"--text-kind is {source.text_kind!r}", remedy=f"use one of {', '.join(TEXT_KINDS)}")
    if not 0 < wishes.test_share < 1:
        raise HcepError(f"--test-share is {wishes.test_share:g}", remedy="choose a share between 0 and 1, e.g. 0.3")
    if not re.fullmatch("[a-z0-9_]+", wishes.name):
        raise HcepError(f"--name {wishes.name!r} has other signs than a-z, 0-9 and _", remedy="choose e.g. my_clips")


def _check_place(folder: Path, files: Files, below: dict[str, Any], name: str) -> None:
    """Refuse a name that is taken, and files that are there or would lie among the media."""
    for section in ("datasets", "task_definitions"):
        if name in below.get(section, {}):
            cause = f"{name!r} is in the {section} of the configuration already"
            raise HcepError(cause, remedy="choose another --name")
    for path in files:
        if path.resolve().is_relative_to(folder.resolve()):
            cause = f"would be written into the folder of the media, {folder}"
            remedy = "choose an --output outside of it, or give the folder of the clips alone"
            raise HcepError(cause, file=path, remedy=remedy)
        if path.exists() or path.is_symlink():
            raise HcepError("is there already", file=path, remedy="choose another --name or --output, or move it away")


def _write_table(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """The clip table, with the columns that are used; the labels of a clip only where they are more than its label."""
    for row in rows:
        row["labels"] = "" if row["labels"] == row["label"] else row["labels"]
    always = ("clip", "video", "label", "group", "fold")
    shown = [name for name in COLUMNS if name in always or any(row.get(name) for row in rows)]
    cells = [{name: row.get(name, "") for name in shown} for row in rows]
    write_table(path, shown, cells, delimiter="\t", seal=False)


def _task(files: Files, wishes: Wishes, folds: Chosen, classes: list[str], others: list[str]) -> dict[str, Any]:
    """The entry of the task without its levels."""
    return {
        "dataset": wishes.name,
        "encoder": wishes.encoder,
        "labels": classes,
        "other_labels": others,
        "class_splits": str(files.splits),
        "test_folds": folds.test,
        "val_folds": folds.val,
        "min_train": wishes.min_train,
        "methods": list(wishes.methods),
    }


def _entries(
    folder: Path, files: Files, wishes: Wishes, encoders: dict[str, Any], task: dict[str, Any], clips: int
) -> dict[str, Any]:
    """What is laid over the configuration; settings of the task that have their default are left out."""
    small = registry.pick("encoder", wishes.encoder, encoders).get("source") == "package"
    dataset = {
        "adapter": "manifest",
        "root": str(folder),
        "options": {"file": _from_root(folder, files.table)},
        **(SMALL if small else {}),
        "shards": min(MOST_SHARDS, 1 + clips // CLIPS_PER_SHARD),
    }
    usual = {"other_labels": [], "val_folds": [], "min_train": 1}
    chosen = {name: value for name, value in task.items() if usual.get(name) != value}
    definition = {**chosen, **({"training": SHORT} if small else {})}
    return {"tasks": [wishes.name], "datasets": {wishes.name: dataset}, "task_definitions": {wishes.name: definition}}


def _from_root(folder: Path, table: Path) -> str:
    """The table as the adapter finds it: from a relative root by a relative path, where no link is in between."""
    path = os.path.relpath(table, folder)
    straight = not folder.is_absolute() and (folder / path).resolve() == table.resolve()
    return path if straight else str(table.resolve())


def _checked(folder: Path, drafts: Files, below: dict[str, Any], entries: dict[str, Any], name: str) -> list[Clip]:
    """The clips as the adapter reads them, after every check that a run would make before it decodes."""
    clips = Manifest(folder, {"file": str(drafts.table.resolve())}).clips()
    # the draft of the splits stands in for the file that is not there yet
    draft = {"task_definitions": {name: {"class_splits": str(drafts.splits)}}}
    paths = [drafts.config.with_name(f"{place}.yaml") for place in ("below", "entries", "draft")]
    for path, content in zip(paths, (below, entries, draft), strict=True):
        path.write_text(_yaml(content), encoding="utf-8")
    config = read_config(paths)
    check_config(config)
    task = config.task(name)
    folds = Folds(task.test_folds, task.train_folds, task.val_folds)
    names = Names(task.labels, folds, task.other_labels, config.words)
    check_names(Counter((clip.label, clip.fold) for clip in clips), names)
    for level in task.openness:
        for split in task.splits:
            sides = read_class_split(drafts.splits, level, split, task.labels)
            try:
                partition(clips, *sides, folds, min_train=task.min_train)
            except HcepError as error:
                remedy = f"{error.remedy}; or choose another --openness, --seed or --min-train"
                raise HcepError(f"{level} {split}: {error.cause}", remedy=remedy) from error
    return clips


def _left_out(media: Media, clips: Sequence[Clip], *, words: bool) -> list[str]:
    """What lies in the folder and is not used; `words`: the texts that are called as a clip are."""
    used = {path for clip in clips for path in (clip.video, clip.audio)} - {""}
    named = {str(PurePosixPath(path).with_suffix("")) for path in used} if words else set()
    rest = {
        "media that are no clip of the table": [path for path in [*media.video, *media.sound] if path not in used],
        "texts": [path for path in media.text if str(PurePosixPath(path).with_suffix("")) not in named],
        "tables (--table reads one)": media.tables,
    }
    # files that lie too deep or too high are told by the layout
    rest = {reason: paths for reason, paths in rest.items() if not (words and reason.startswith("media"))}
    told = []
    for reason, paths in (media.left_out | rest).items():
        shown = "" if reason == HIDDEN else f": {', '.join(paths[:3])}{', …' if len(paths) > 3 else ''}"
        told += [f"left out, {reason}: {len(paths)}{shown}"] if paths else []
    return told
