"""The split file: one division of a task's clips, as every later stage reads it."""

from __future__ import annotations

import posixpath
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hcep.datasets.manifest_file import Clip, read_manifest
from hcep.errors import HcepError, shown
from hcep.protocol.class_splits import read_class_split
from hcep.protocol.near_misses import Names, check_names
from hcep.protocol.openness import LEAST_KNOWN, openness_value, parse_openness
from hcep.protocol.partition import Folds, Partition, partition
from hcep.seal import read_sealed_json, write_sealed_json

PARTS = ("train", "val", "test_known", "test_unknown")
AGAIN = "write it again with `hcep make_split`"


class Split(NamedTuple):
    """Content of a split file.

    `known` is in label-id order: class id k = position k. `train`, `val`, `test_known`, `test_unknown` hold clip ids,
    no id in two of them; `labels`, `groups` and `datasets` map each of those ids to its class name, its group and its
    dataset. `left_out_classes` were drawn as known and have too few training clips. `remarks` are what a reader of the
    results must know of the clips: unknown classes that are not tested, labels that are no class of the task, media
    files that are trained on and tested under two names.
    """

    task: str
    openness: str
    split: str
    known: tuple[str, ...]
    unknown: tuple[str, ...]
    train: tuple[str, ...]
    val: tuple[str, ...]
    test_known: tuple[str, ...]
    test_unknown: tuple[str, ...]
    labels: dict[str, str]
    groups: dict[str, str]
    datasets: dict[str, str]
    left_out_classes: tuple[str, ...]
    remarks: tuple[str, ...]


def make_split(
    manifest: str | Path | Sequence[str | Path],
    classes: str | Path,
    task: str,
    openness: str,
    split: str,
    output: str | Path,
    *,
    labels: Sequence[str],
    test_folds: Collection[str],
    train_folds: Collection[str] | None = None,
    val_folds: Collection[str] = (),
    val_fraction: float = 0.0,
    val_seed: int = 0,
    min_train: int = 1,
    other_labels: Collection[str] = (),
    words: Mapping[str, str] | None = None,
) -> Split:
    """Divide a task's clips and write the split file.

    Parameters
    ----------
    manifest : path or sequence of paths
        Manifest, or one per dataset where a task spans several.
    classes : path
        File of class splits, see `read_class_split`.
    task, openness, split : str
        e.g. ``"mafw"``, ``"k8u2"``, ``"split1"``.
    output : path
        JSON file to write. Beside the fields of `Split` it records the openness value, how train and test were divided,
        the number of clips per part and class, and how many clips were left out and why.
    labels : sequence of str
        Every class of the task, in its label order.
    test_folds, train_folds, val_folds
        As in `Folds`.
    val_fraction, val_seed, min_train
        As in `partition`.
    other_labels, words
        As in `Names`.

    Returns
    -------
    Split
        What was written.

    Raises
    ------
    HcepError
        From reading or dividing, see `read_class_split` and `partition`; and for labels and folds that are nearly those
        of the task, see `near_misses`.
    """
    chosen = read_class_split(classes, openness, split, labels)
    manifests = [manifest] if isinstance(manifest, str | Path) else list(manifest)
    clips = [clip for path in manifests for clip in read_manifest(path)]
    folds = Folds(test_folds, train_folds, val_folds)
    try:
        check_names(Counter((clip.label, clip.fold) for clip in clips), Names(labels, folds, other_labels, words))
        divided = partition(clips, *chosen, folds, val_fraction=val_fraction, val_seed=val_seed, min_train=min_train)
    except HcepError as error:
        # partition knows no files: say in which manifest to look
        named = ", ".join(map(str, manifests))
        raise HcepError(error.cause, file=named, row=f"{openness} {split}", remedy=error.remedy) from error
    shared = {field: value for field, value in divided._asdict().items() if field in Split._fields}
    remarks = tuple(_remarks(divided, clips, labels))
    for remark in remarks:
        print(shown(f"make_split {task} {openness} {split}: {remark}"), file=sys.stderr)
    result = Split(task, openness, split, **shared, remarks=remarks)
    counts = {}
    for part in PARTS:
        found = Counter(result.labels[clip] for clip in getattr(result, part))
        counts[part] = {label: found[label] for label in [*chosen.known, *chosen.unknown] if found[label]}
    content = result._asdict() | {
        "openness_value": openness_value(*parse_openness(openness)),
        "test_folds": sorted(test_folds),
        "train_folds": None if train_folds is None else sorted(train_folds),
        "val_folds": sorted(val_folds),
        "min_train": min_train,
        "val_fraction": val_fraction,
        "val_seed": val_seed,
        "counts": counts,
        "left_out": divided.left_out,
    }
    write_sealed_json(output, content)
    return result


def _remarks(divided: Partition, clips: Sequence[Clip], labels: Sequence[str]) -> Iterator[str]:
    tested = {divided.labels[clip] for clip in divided.test_unknown}
    for label in divided.unknown:
        if label not in tested:
            yield f"unknown class {label} has no test clip"
    for label, count in sorted(Counter(clip.label for clip in clips if clip.label).items()):
        if label not in labels:
            yield f"label {label} ({count} clips) is no class of the task"
    yield from _shared_files(divided, clips)


def _shared_files(divided: Partition, clips: Sequence[Clip]) -> Iterator[str]:
    """A remark when a media file is trained on (or held out) under one clip id and tested under another."""
    users: dict[tuple[str, str], str] = {}
    learnt, tested = {*divided.train, *divided.val}, {*divided.test_known, *divided.test_unknown}
    for clip in clips:
        if clip.clip in learnt:
            users |= dict.fromkeys(_files(clip), clip.clip)
    used = [(file, clip.clip) for clip in clips if clip.clip in tested for file in _files(clip)]
    shared = [(file[1], users[file], clip) for file, clip in used if file in users]
    if shared:
        count = len({clip for _, _, clip in shared})
        file, trained, other = min(shared)
        yield (
            f"{count} test {'clip is' if count == 1 else 'clips are'} of files that are trained on, "
            f"e.g. {file}: {trained} in training, {other} in test"
        )


def _files(clip: Clip) -> set[tuple[str, str]]:
    """Dataset and path of a clip's media, however the path is written."""
    return {(clip.dataset, posixpath.normpath(path)) for path in (clip.video, clip.audio) if path}


def read_split(path: str | Path) -> Split:
    """Read a split file and check that its parts are consistent.

    Raises
    ------
    HcepError
        If the file is missing or not JSON, a field is missing, fewer than two classes are known, a clip is in two parts
        or without label or group, or a part holds a class that has no place there.
    """
    path = Path(path)
    content = read_sealed_json(path, AGAIN)
    missing = [field for field in Split._fields if field not in content]
    if missing:
        raise HcepError(f"lacks {', '.join(missing)}", file=path, remedy=AGAIN)
    found = [content[field] for field in Split._fields]
    values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in found]
    result = Split(*values)
    _check(result, path)
    return result


def _check(split: Split, path: Path) -> None:
    def refuse(clip: str, cause: str) -> HcepError:
        return HcepError(cause, file=path, row=f"clip {clip!r}", remedy=AGAIN)

    if len(split.known) < LEAST_KNOWN:
        cause = f"has {len(split.known)} known classes, at least {LEAST_KNOWN} are needed"
        raise HcepError(cause, file=path, remedy=AGAIN)
    seen: set[str] = set()
    for part in PARTS:
        allowed = split.unknown if part == "test_unknown" else split.known
        for clip in getattr(split, part):
            if clip in seen:
                raise refuse(clip, "listed twice")
            seen.add(clip)
            if clip not in split.labels or clip not in split.groups:
                raise refuse(clip, "without label or group")
            if split.labels[clip] not in allowed:
                raise refuse(clip, f"class {split.labels[clip]!r} must not be in {part}")
    trained = {split.groups[clip] for clip in split.train + split.val}
    for clip in split.test_known + split.test_unknown:
        if split.groups[clip] in trained:
            raise refuse(clip, f"group {split.groups[clip]!r} is in training and in test")
