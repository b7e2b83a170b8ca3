"""Who is train, known test and unknown test: a pure function of the manifest's rows and one class split.

The rules of the open-set protocol live here and nowhere else: unknown classes never reach training or validation, no
group (speaker, source video) is on both sides of train and test, and every labelled clip of a test fold is used exactly
once.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from hcep.datasets.manifest_file import Clip
from hcep.errors import HcepError, closest
from hcep.protocol.openness import check_known

UNLABELLED = "no label"
OUTSIDE = "label outside the split"
UNKNOWN_IN_TRAINING = "unknown class in a training fold"
UNUSED_FOLD = "fold neither trained nor tested on"
TOO_FEW = "class with too few training clips"


class Partition(NamedTuple):
    """Clip ids of each part, sorted; `labels`, `groups` and `datasets` cover all of them.

    `known` are the classes that can be trained; `left_out_classes` were to be known and have too few training clips.
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
    datasets: dict[str, str]
    left_out_classes: tuple[str, ...]
    left_out: dict[str, dict[str, int]]


class Folds(NamedTuple):
    """Names of the folds that are tested on, trained on (None = every other) and held out for validation."""

    test: Collection[str]
    train: Collection[str] | None = None
    val: Collection[str] = ()

    def part(self, fold: str) -> str:
        """``test``, ``val``, ``train`` or, for a fold that is not used, ``""``."""
        if fold in self.test:
            return "test"
        if fold in self.val:
            return "val"
        return "train" if self.train is None or fold in self.train else ""


def partition(
    clips: Sequence[Clip],
    known: Sequence[str],
    unknown: Sequence[str],
    folds: Folds,
    *,
    val_fraction: float = 0.0,
    val_seed: int = 0,
    min_train: int = 1,
) -> Partition:
    """Divide clips into train, validation, known test and unknown test.

    Parameters
    ----------
    clips : sequence of Clip
        Rows of one or more manifests, in any order. With several datasets, groups are told apart by dataset. An empty
        group means that the clip is its own group.
    known, unknown : sequence of str
        Class names; the position in `known` is the class id.
    folds : Folds
        Which folds are tested on, trained on and held out.
    val_fraction : float
        Share of each known class to hold out of train, in [0, 1); 0 = none. Whole groups are held out, so the shares
        are met as far as the groups allow, and no class is held out entirely.
    val_seed : int
        Which groups are held out.
    min_train : int
        A known class with fewer training clips is left out of the known classes, and its clips of every part. With 1 a
        class that cannot be trained is an error instead.

    Returns
    -------
    Partition

    Raises
    ------
    HcepError
        If a fold does not exist, a clip id repeats, a group has clips in both train and test, a known class has no
        clip in train or in test, fewer than two classes are known, no unknown clip is tested, or no group can be held
        out.
    """
    if not 0 <= val_fraction < 1:
        cause = f"the validation share is {val_fraction}, not in [0, 1)"
        raise HcepError(cause, remedy="choose e.g. 0.1, or 0 for none")
    _check_inputs(clips, known, unknown, folds)
    several = len({clip.dataset for clip in clips}) > 1
    groups = {clip.clip: (f"{clip.dataset}/" if several else "") + (clip.group or clip.clip) for clip in clips}
    label_of = {clip.clip: clip.label for clip in clips}
    trained = Counter(clip.label for clip in clips if folds.part(clip.fold) == "train")
    dropped = tuple(label for label in known if min_train > 1 and trained[label] < min_train)
    known = [label for label in known if label not in dropped]
    if dropped and len(known) < 2:
        cause = f"only {len(known)} of the known classes have {min_train} training clips"
        raise HcepError(cause, remedy="lower the task's min_train, or train on more folds")
    parts: dict[str, list[str]] = {"train": [], "val": [], "test_known": [], "test_unknown": []}
    left_out: dict[str, Counter[str]] = {}
    for clip in sorted(clips, key=lambda clip: clip.clip):
        part, reason = _place(clip, folds.part(clip.fold), known, unknown, dropped)
        if part:
            parts[part].append(clip.clip)
        else:
            left_out.setdefault(reason, Counter())[clip.label] += 1
    _check_groups(parts["train"] + parts["val"], parts["test_known"] + parts["test_unknown"], groups)
    tested = ", ".join(sorted(folds.test))
    for part, where in (("train", "outside"), ("test_known", "in")):
        present = {label_of[clip] for clip in parts[part]}
        for label in known:
            if label not in present:
                cause = f"known class {label!r} has no clip {where} the test fold(s) {tested}"
                remedy = "choose other test folds, or a split in which this class is not known"
                raise HcepError(cause, remedy=remedy)
    if not parts["test_unknown"]:
        remedy = "without unknown test clips nothing can be rejected: choose other test folds or another split"
        raise HcepError(f"no clip of the unknown classes {', '.join(unknown)} in fold(s) {tested}", remedy=remedy)
    val = held_out(parts["train"], label_of, groups, val_fraction, val_seed) if val_fraction else set()
    parts["val"] = sorted([*parts["val"], *val])
    parts["train"] = [clip for clip in parts["train"] if clip not in val]
    used = sorted(clip for part in parts.values() for clip in part)
    dataset_of = {clip.clip: clip.dataset for clip in clips}
    return Partition(
        known=tuple(known),
        unknown=tuple(unknown),
        **{part: tuple(members) for part, members in parts.items()},
        labels={clip: label_of[clip] for clip in used},
        groups={clip: groups[clip] for clip in used},
        datasets={clip: dataset_of[clip] for clip in used},
        left_out_classes=dropped,
        left_out={reason: dict(sorted(counts.items())) for reason, counts in sorted(left_out.items())},
    )


def _place(
    clip: Clip, part: str, known: Sequence[str], unknown: Sequence[str], dropped: Sequence[str]
) -> tuple[str, str]:
    """The part that a clip belongs to, or '' and the reason why it is in none."""
    if not clip.label:
        return "", UNLABELLED
    if clip.label not in (*known, *unknown, *dropped):
        return "", OUTSIDE
    if not part:
        return "", UNUSED_FOLD
    if clip.label in dropped:
        return "", TOO_FEW
    if clip.label in known:
        return ("test_known" if part == "test" else part), ""
    return ("test_unknown", "") if part == "test" else ("", UNKNOWN_IN_TRAINING)


def _check_inputs(clips: Sequence[Clip], known: Sequence[str], unknown: Sequence[str], folds: Folds) -> None:
    repeats = [name for name, count in Counter([*known, *unknown]).items() if count > 1]
    if repeats:
        raise HcepError(f"class {repeats[0]!r} is named twice among known and unknown")
    repeated = [clip for clip, count in Counter(clip.clip for clip in clips).items() if count > 1]
    if repeated:
        remedy = "clip ids must be unique over all manifests of a task: give one dataset's clips a prefix"
        raise HcepError(f"clip {min(repeated)!r} occurs more than once", remedy=remedy)
    check_known(len(known), "the split")
    present = sorted({clip.fold for clip in clips})
    if not folds.test:
        raise HcepError("no test fold is named", remedy=f"choose from {', '.join(present) or 'none'}")
    named = {"test": folds.test, "training": folds.train or (), "validation": folds.val}
    for kind, names in named.items():
        for fold in sorted(names):
            if fold not in present:
                remedy = f"the manifest's folds are {', '.join(filter(None, present)) or 'none: fill its column fold'}"
                if close := closest(fold, present):
                    remedy = f"did you mean {close!r}?"
                raise HcepError(f"no clip has the {kind} fold {fold!r}", remedy=remedy)
    uses = Counter(fold for names in named.values() for fold in set(names))
    for fold in sorted(fold for fold in uses if uses[fold] > 1):
        raise HcepError(f"fold {fold!r} is named for two parts", remedy="a fold is for test, training or validation")


def _check_groups(train: Iterable[str], test: Iterable[str], groups: Mapping[str, str]) -> None:
    trained: dict[str, str] = {}
    for clip in train:
        trained.setdefault(groups[clip], clip)
    for clip in test:
        group = groups[clip]
        if group in trained:
            sides = f"clip {trained[group]!r} would be trained on, clip {clip!r} tested"
            remedy = "give all clips of a group one fold, or correct the group column of the manifest"
            raise HcepError(f"group {group!r} is on both sides: {sides}", remedy=remedy)


def held_out(
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
        cause = f"no group can be held out for a validation share of {fraction}"
        raise HcepError(cause, remedy="raise the share, or set it to 0: the last epoch is used then")
    return chosen
