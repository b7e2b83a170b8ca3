"""Who is train, known test and unknown test: a pure function of the manifest's rows and one class split.

The rules of the open-set protocol live here and nowhere else: unknown classes never reach training or validation, no
group (speaker, source video) is on both sides of train and test, and every labelled clip of a test fold is used exactly
once.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from hcep.datasets.manifest_file import Clip
from hcep.errors import HcepError

UNLABELLED = "no label"
OUTSIDE = "label outside the split"
UNKNOWN_IN_TRAINING = "unknown class in a training fold"


class Partition(NamedTuple):
    """Clip ids of each part, sorted; `labels` and `groups` cover all of them.

    `left_out` counts what is in no part: reason -> label -> clips.
    """

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    train: tuple[str, ...]
    val: tuple[str, ...]
    test_known: tuple[str, ...]
    test_unknown: tuple[str, ...]
    labels: dict[str, str]
    groups: dict[str, str]
    left_out: dict[str, dict[str, int]]


def partition(
    clips: Sequence[Clip],
    known: Sequence[str],
    unknown: Sequence[str],
    *,
    test_folds: Collection[str],
    val_fraction: float = 0.0,
    val_seed: int = 0,
) -> Partition:
    """Divide clips into train, validation, known test and unknown test.

    Parameters
    ----------
    clips : sequence of Clip
        Rows of one or more manifests, in any order. With several datasets, groups are told apart by dataset. An empty
        group means that the clip is its own group.
    known, unknown : sequence of str
        Class names; the position in `known` is the class id.
    test_folds : collection of str
        Names of the folds that are tested on; every other fold is for training.
    val_fraction : float
        Share of each known class to hold out of train, in [0, 1); 0 = none. Whole groups are held out, so the shares
        are met as far as the groups allow, and no class is held out entirely.
    val_seed : int
        Which groups are held out.

    Returns
    -------
    Partition

    Raises
    ------
    HcepError
        If a test fold does not exist, a clip id repeats, a group has clips in both train and test, a known class has no
        clip in train or in test, no unknown clip is tested, or no group can be held out.
    """
    if not 0 <= val_fraction < 1:
        raise HcepError(
            f"the validation share is {val_fraction}, not in [0, 1)", remedy="choose e.g. 0.1, or 0 for none"
        )
    _check_inputs(clips, known, unknown, test_folds)
    several = len({clip.dataset for clip in clips}) > 1
    groups = {clip.clip: _group(clip, several) for clip in clips}
    label_of = {clip.clip: clip.label for clip in clips}
    parts: dict[str, list[str]] = {"train": [], "test_known": [], "test_unknown": []}
    left_out: dict[str, Counter[str]] = {OUTSIDE: Counter(), UNKNOWN_IN_TRAINING: Counter(), UNLABELLED: Counter()}
    for clip in sorted(clips, key=lambda clip: clip.clip):
        tested = clip.fold in test_folds
        if clip.label in known:
            parts["test_known" if tested else "train"].append(clip.clip)
        elif clip.label in unknown and tested:
            parts["test_unknown"].append(clip.clip)
        else:
            reason = UNKNOWN_IN_TRAINING if clip.label in unknown else OUTSIDE if clip.label else UNLABELLED
            left_out[reason][clip.label] += 1
    _check_groups(parts["train"], parts["test_known"] + parts["test_unknown"], groups)
    for part in ("train", "test_known"):
        _check_classes(parts[part], part, known, label_of, test_folds)
    if not parts["test_unknown"]:
        raise HcepError(
            f"no clip of the unknown classes {', '.join(unknown)} in fold(s) {', '.join(sorted(test_folds))}",
            remedy="without unknown test clips nothing can be rejected: choose other test folds or another split",
        )
    val = _held_out(parts["train"], label_of, groups, val_fraction, val_seed) if val_fraction else set()
    parts["val"] = [clip for clip in parts["train"] if clip in val]
    parts["train"] = [clip for clip in parts["train"] if clip not in val]
    used = sorted(clip for part in parts.values() for clip in part)
    return Partition(
        known=tuple(known),
        unknown=tuple(unknown),
        train=tuple(parts["train"]),
        val=tuple(parts["val"]),
        test_known=tuple(parts["test_known"]),
        test_unknown=tuple(parts["test_unknown"]),
        labels={clip: label_of[clip] for clip in used},
        groups={clip: groups[clip] for clip in used},
        left_out={reason: dict(sorted(counts.items())) for reason, counts in left_out.items() if counts},
    )


def _check_inputs(
    clips: Sequence[Clip], known: Sequence[str], unknown: Sequence[str], test_folds: Collection[str]
) -> None:
    repeats = [name for name, count in Counter([*known, *unknown]).items() if count > 1]
    if repeats:
        raise HcepError(f"class {repeats[0]!r} is named twice among known and unknown")
    repeated = [clip for clip, count in Counter(clip.clip for clip in clips).items() if count > 1]
    if repeated:
        raise HcepError(
            f"clip {min(repeated)!r} occurs more than once",
            remedy="clip ids must be unique over all manifests of a task: give one dataset's clips a prefix",
        )
    folds = sorted({clip.fold for clip in clips})
    for fold in sorted(test_folds):
        if fold not in folds:
            close = difflib.get_close_matches(fold, folds, n=1)
            raise HcepError(
                f"no clip has the test fold {fold!r}",
                remedy=f"did you mean {close[0]!r}?"
                if close
                else f"the manifest's folds are {', '.join(folds) or 'none'}",
            )
    if not test_folds:
        raise HcepError("no test fold is named", remedy=f"choose from {', '.join(folds) or 'none'}")


def _group(clip: Clip, several_datasets: bool) -> str:
    group = clip.group or clip.clip
    return f"{clip.dataset}/{group}" if several_datasets else group


def _check_groups(train: Iterable[str], test: Iterable[str], groups: Mapping[str, str]) -> None:
    trained: dict[str, str] = {}
    for clip in train:
        trained.setdefault(groups[clip], clip)
    for clip in test:
        other = trained.get(groups[clip])
        if other is not None:
            raise HcepError(
                f"group {groups[clip]!r} is on both sides: clip {other!r} would be trained on, clip {clip!r} tested",
                remedy="give all clips of a group one fold, or correct the group column of the manifest",
            )


def _check_classes(
    part: Iterable[str], name: str, known: Sequence[str], label_of: Mapping[str, str], test_folds: Collection[str]
) -> None:
    present = {label_of[clip] for clip in part}
    for label in known:
        if label not in present:
            where = "outside" if name == "train" else "in"
            raise HcepError(
                f"known class {label!r} has no clip {where} the test fold(s) {', '.join(sorted(test_folds))}",
                remedy="choose other test folds, or a split in which this class is not known",
            )


def _held_out(
    train: Sequence[str], label_of: Mapping[str, str], groups: Mapping[str, str], fraction: float, seed: int
) -> set[str]:
    """Whole groups in an order fixed by `seed`, each taken if it brings the held-out shares closer to `fraction`."""
    members: dict[str, list[str]] = defaultdict(list)
    for clip in train:
        members[groups[clip]].append(clip)
    total = Counter(label_of[clip] for clip in train)
    held: Counter[str] = Counter()
    chosen: set[str] = set()
    for group in sorted(members, key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest()):
        sizes = Counter(label_of[clip] for clip in members[group])
        gain = sum(
            abs(held[label] / total[label] - fraction) - abs((held[label] + size) / total[label] - fraction)
            for label, size in sizes.items()
        )
        # a class that is held out entirely could not be learnt; the tolerance keeps ties out whatever the rounding
        if gain > 1e-12 and all(held[label] + size < total[label] for label, size in sizes.items()):
            held += sizes
            chosen.update(members[group])
    if not chosen:
        raise HcepError(
            f"no group can be held out for a validation share of {fraction}",
            remedy="raise the share, or set it to 0: the last epoch is used then",
        )
    return chosen
