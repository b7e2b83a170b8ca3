"""Which clips are tested: folds that the data name, or a draw of whole speakers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hcep.datasets.spellings import normal
from hcep.errors import HcepError
from hcep.own_data.media_files import counted
from hcep.protocol.partition import held_out

USUAL = {
    "train": ("train", "training", "trainset", "trainingset", "trn"),
    "val": ("val", "valid", "validation", "dev", "development", "devset", "valset", "validationset"),
    "test": ("test", "testing", "testset", "tst"),
}
DRAWS = 50
Rows = Sequence[dict[str, str]]


class Chosen(NamedTuple):
    """The folds of a task, and what to tell about them."""

    test: list[str]
    val: list[str]
    told: list[str]


def fold_of(name: str) -> str:
    """``train``, ``val`` or ``test`` for a name that is usual for that fold, else ``""``."""
    return next((fold for fold, names in USUAL.items() if normal(name) in names), "")


def choose_folds(rows: Rows, share: float, seed: int, named: Sequence[str]) -> Chosen:
    """The folds of the rows, which are drawn and written into them where they have none.

    Parameters
    ----------
    rows : sequence of dict
        Rows of the clip table; the usual names of folds are written as ``train``, ``val``, ``test``.
    share : float
        Share of each label to test where folds are drawn, in (0, 1).
    seed : int
        Which groups those are.
    named : sequence of str
        Folds of the data to test; empty: those called test.

    Raises
    ------
    HcepError
        When some rows have a fold and others none, no fold is a test, a group is on both sides, or none can be drawn.
    """
    without = [row["clip"] for row in rows if not row["fold"]]
    if len(without) == len(rows):
        if named:
            raise HcepError("--test-folds names a fold, and the data have none", remedy="leave it out: one is drawn")
        return _drawn(rows, share, seed)
    if without:
        cause = f"{len(without)} of {len(rows)} clips have no fold, such as {without[0]!r}"
        raise HcepError(cause, remedy="fill them in, or leave the whole column out with --ignore: folds are drawn then")
    present = sorted({row["fold"] for row in rows})
    for fold in named:
        if fold not in present:
            raise HcepError(f"--test-folds {fold}: no clip has it", remedy=f"the folds are {', '.join(present)}")
    if not named:
        for row in rows:
            row["fold"] = fold_of(row["fold"]) or row["fold"]
    renamed = {fold: fold_of(fold) for fold in present if not named and fold_of(fold) not in ("", fold)}
    test = list(dict.fromkeys(named)) or ["test"]
    val = sorted({row["fold"] for row in rows if fold_of(row["fold"]) == "val"} - {*test})
    count = Counter(row["fold"] for row in rows)
    if not named and "test" not in count:
        remedy = "say which are tested, as --test-folds 1, or have folds drawn: --ignore the column, or * in --layout"
        raise HcepError(f"no fold is called test: {', '.join(present)}", remedy=remedy)
    _refuse_both_sides(rows, test)
    told = [f"folds of the data: {', '.join(f'{fold} ({count[fold]})' for fold in sorted(count))}"]
    told += [f"tested: {', '.join(test)}" + (f"; held out for validation: {', '.join(val)}" if val else "")]
    told += [f"written as: {', '.join(f'{old} -> {new}' for old, new in renamed.items())}"] if renamed else []
    return Chosen(test, val, told)


def _refuse_both_sides(rows: Rows, test: Sequence[str]) -> None:
    sides: dict[str, dict[bool, str]] = {}
    for row in rows:
        if row["group"] and row["label"]:
            sides.setdefault(row["group"], {})[row["fold"] in test] = row["clip"]
    both = sorted(group for group, clips in sides.items() if len(clips) == 2)
    if both:
        trained, tested = sides[both[0]][False], sides[both[0]][True]
        cause = f"{len(both)} speakers are trained on and tested, such as {both[0]!r}: clips {trained!r} and {tested!r}"
        remedy = (
            "correct the folds, or leave them out and have them drawn; where the folds are official and meant like "
        )
        raise HcepError(cause, remedy=f"{remedy}this, leave the speakers out (--ignore, or * in --layout)")


def _drawn(rows: Rows, share: float, seed: int) -> Chosen:
    """Whole groups, so that each label comes near the share on the side of the test and is on both sides."""
    labelled = [row for row in rows if row["label"]]
    label_of = {row["clip"]: row["label"] for row in labelled}
    groups = {row["clip"]: row["group"] or f"clip {row['clip']}" for row in labelled}
    # a label of one speaker cannot be on both sides, whatever the draw
    speakers = Counter(label for label, _ in {(label_of[clip], groups[clip]) for clip in label_of})
    hopeless = sum(count == 1 for count in speakers.values())
    best: set[str] = set()
    fewest, used = len(speakers) + 1, seed
    for draw in range(seed, seed + DRAWS):
        try:
            chosen = held_out(sorted(label_of), label_of, groups, share, draw)
        except HcepError as error:
            who = "speaker" if any(row["group"] for row in rows) else "clip"
            remedy = "raise --test-share, or give clips of more speakers: each label needs two of them"
            raise HcepError(f"no {who} can be kept for a test of {share:g}", remedy=remedy) from error
        lacking = len({*speakers} - {label_of[clip] for clip in chosen})
        if lacking < fewest:
            best, fewest, used = chosen, lacking, draw
        if fewest <= hopeless:
            break
    tested = {groups[clip] for clip in best}
    for row in rows:
        row["fold"] = "test" if groups.get(row["clip"], row["group"]) in tested else "train"
    test = len(best)
    told = [f"folds drawn with seed {used}: {len(label_of) - test} clips to train on, {test} to test"]
    if any(row["group"] for row in rows):
        told[0] += f", {len({*groups.values()}) - len(tested)} and {len(tested)} speakers, none in both"
    return Chosen(["test"], [], told)


def one_sided(rows: Rows, chosen: Chosen) -> Mapping[str, str]:
    """Label -> why it cannot be a class: without clips on one of the two sides it cannot be known."""
    part_of = dict.fromkeys(chosen.val, "val") | dict.fromkeys(chosen.test, "test")
    count = Counter((row["label"], part_of.get(row["fold"], "train")) for row in rows)
    told = {}
    for label in sorted({label for label, _ in count} - {""}):
        if not (count[label, "train"] and count[label, "test"]):
            speakers = len({row["group"] or row["clip"] for row in rows if row["label"] == label})
            sides = f"{counted(count[label, 'train'], 'clip')} to train on, {count[label, 'test']} to test"
            told[label] = f"{sides}, of {counted(speakers, 'speaker')}"
    return told
