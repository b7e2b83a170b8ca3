"""Which classes are known: drawn once at random, written to a file, committed, and the same for every method.

Section 4.1.2 of the paper averages over random draws that it does not publish. Ours live in `config/splits/`; a file
maps openness -> split -> known and unknown class names, and `draw_class_splits` with the seed of its header gives it
again.
"""

from __future__ import annotations

import hashlib
import math
import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hcep.errors import HcepError, closest, not_text
from hcep.files import write_text
from hcep.protocol.openness import check_known, parse_openness
from hcep.yaml_file import read_yaml

# key of a split whose one unknown class stands for that many names: open vocabularies cannot be listed in advance
STANDS_FOR = "unknown_stands_for"


class ClassSplit(NamedTuple):
    """One division of the classes, each side in the task's label order; position in `known` is the class id."""

    known: tuple[str, ...]
    unknown: tuple[str, ...]


def draw_class_splits(labels: Sequence[str], known: int, unknown: int, count: int, seed: int) -> list[ClassSplit]:
    """Draw distinct random divisions of the classes.

    Classes are ordered by a hash of (seed, openness, draw, name), so that the result depends neither on the order of
    `labels` nor on the version of a random generator.

    Parameters
    ----------
    labels : sequence of str
        Every class of the task, in its label order.
    known, unknown : int
        Classes on each side. Together they may be fewer than `labels`: the others take no part.
    count : int
        Divisions wanted. Where fewer exist (one, if every class is known), all of them are returned with a warning.
    seed : int
        Another seed gives another draw.

    Returns
    -------
    list of ClassSplit
        Distinct, at most `count`.

    Raises
    ------
    HcepError
        If labels repeat, or are fewer than `known` + `unknown`, or fewer than two classes are known.
    """
    if len(set(labels)) != len(labels):
        raise HcepError(f"label {_first_repeat(labels)!r} is listed twice", remedy="list every class once")
    if unknown < 0 or count < 1:
        raise HcepError(f"cannot draw {count} splits of {known} known and {unknown} unknown classes")
    check_known(known, "a split")
    if known + unknown > len(labels):
        cause = f"{known} known and {unknown} unknown classes need {known + unknown} labels"
        raise HcepError(f"{cause}, the task has {len(labels)}", remedy="choose a smaller openness")
    possible = math.comb(len(labels), known) * math.comb(len(labels) - known, unknown)
    if possible < count:
        warnings.warn(
            f"only {possible} distinct split(s) of {len(labels)} classes into {known} known and {unknown} unknown "
            f"exist, {count} were asked for",
            stacklevel=2,
        )
    splits: list[ClassSplit] = []
    draw = 0
    while len(splits) < min(count, possible):
        draw += 1
        start = f"{seed}/k{known}u{unknown}/{draw}"
        order = sorted(labels, key=lambda label: hashlib.sha256(f"{start}/{label}".encode()).digest())
        candidate = _in_order(order[:known], order[known : known + unknown], labels)
        if candidate not in splits:
            splits.append(candidate)
    return splits


def write_class_splits(
    path: str | Path, labels: Sequence[str], opennesses: Iterable[str], *, count: int = 4, seed: int = 0, task: str
) -> dict[str, dict[str, ClassSplit]]:
    """Draw the splits of a task at levels such as ``"k8u2"`` and write them, as in ``config/splits/mafw.yaml``.

    The header has the command that draws this file again, with the name of the task; for the rest see
    `draw_class_splits`.

    Returns
    -------
    dict
        openness -> split name -> ClassSplit, as written.

    Raises
    ------
    HcepError
        As `draw_class_splits`, and where the file holds a split that would change or vanish.
    """
    drawn = {
        openness: {
            f"split{number}": split
            for number, split in enumerate(draw_class_splits(labels, *parse_openness(openness), count, seed), 1)
        }
        for openness in opennesses
    }
    lines = [
        "# Known and unknown classes of every split, drawn at random once, the same for every method. Drawn again by",
        f"#   hcep draw_splits --task {task} --openness {' '.join(drawn)} --count {count} --seed {seed} \\",
        f"#     --labels {shlex.join(labels)} \\",
        "#     --output THIS_FILE",
        "# To use splits of your own, edit a copy and name it in the task's `class_splits`.",
    ]
    for openness, splits in drawn.items():
        lines.append(f"{openness}:")
        for name, split in splits.items():
            lines.append(f"  {name}:")
            lines += [f"    {side}: {_flow(names)}" for side, names in zip(split._fields, split, strict=True)]
    text = "\n".join(lines) + "\n"
    _check_kept(Path(path), drawn)
    write_text(path, text)
    return drawn


def _check_kept(path: Path, drawn: Mapping[str, Mapping[str, ClassSplit]]) -> None:
    """Refuse to write over a file of whose splits one would change or vanish."""
    for openness, splits in (_load(path) if path.is_file() else {}).items():
        if not isinstance(splits, dict):
            raise HcepError("holds no split", file=path, row=openness, remedy="mend the file, or remove it first")
        for name, sides in splits.items():
            split = drawn.get(openness, {}).get(name)
            # both list a side in label order
            if split is None or sides != {side: list(names) for side, names in split._asdict().items()}:
                cause = "is there already and would not be drawn like this, and every result of the task depends on it"
                remedy = "write another file and name it in the task's class_splits, or remove this one first"
                raise HcepError(cause, file=path, row=f"{openness}.{name}", remedy=remedy)


def read_class_splits(path: str | Path, openness: str, labels: Sequence[str]) -> dict[str, ClassSplit]:
    """Read and check the splits of one openness, such as ``"k8u2"``, from a file that was drawn or written by hand.

    Parameters
    ----------
    labels : sequence of str
        Every class of the task, in its label order.

    Returns
    -------
    dict
        split name -> ClassSplit, both sides in label order whatever their order in the file.

    Raises
    ------
    HcepError
        If the file or the openness is missing, a class name is not one of `labels`, is used twice or on both sides, a
        side has another number of classes than the openness says, or two splits are the same.
    """
    path = Path(path)
    return _level(_load(path), openness, labels, path)


def read_class_split(path: str | Path, openness: str, split: str, labels: Sequence[str]) -> ClassSplit:
    """Read one split, as `read_class_splits` does; one that the file has not is an HcepError, too."""
    return _chosen(read_class_splits(path, openness, labels), openness, split, path)


def check_class_splits(
    path: str | Path, opennesses: Iterable[str], splits: Iterable[str], labels: Sequence[str]
) -> None:
    """Read all these levels and splits once; the first error of `read_class_split` is raised."""
    path = Path(path)
    content, splits = _load(path), list(splits)
    for openness in opennesses:
        found = _level(content, openness, labels, path)
        for split in splits:
            _chosen(found, openness, split, path)


def _chosen(splits: Mapping[str, ClassSplit], openness: str, split: str, path: str | Path) -> ClassSplit:
    if split not in splits:
        remedy = "ask for one of those, or add it to the file"
        raise HcepError(f"no {split}, only {', '.join(splits)}", file=path, row=openness, remedy=remedy)
    return splits[split]


def _level(content: Mapping[str, Any], openness: str, labels: Sequence[str], path: Path) -> dict[str, ClassSplit]:
    counts = dict(zip(ClassSplit._fields, parse_openness(openness), strict=True))
    if openness not in content:
        remedy = f"add {openness} (`hcep draw_splits` with all levels keeps the others), or ask for one of those"
        if sum(counts.values()) > len(labels):
            needed = f"{openness} needs {sum(counts.values())} classes"
            remedy = f"ask for one of those: {needed}, the task has {len(labels)}"
        cause = f"no splits for {openness}, only for {', '.join(map(str, content)) or 'nothing'}"
        raise HcepError(cause, file=path, remedy=remedy)
    entry = content[openness]
    if not isinstance(entry, dict) or not entry:
        raise HcepError("holds no split", file=path, row=openness, remedy="write `split1: {known: […], unknown: […]}`")
    splits: dict[str, ClassSplit] = {}
    for name, sides in entry.items():
        refused = partial(HcepError, file=path, row=f"{openness}.{name}")
        split = _in_order(*_checked_sides(sides, counts, labels, refused), labels)
        for other, earlier in splits.items():
            if earlier == split:
                remedy = "splits must differ, or an average over them counts one twice"
                raise refused(f"the same classes as {openness}.{other}", remedy=remedy)
        splits[str(name)] = split
    return splits


def _checked_sides(
    sides: Any, counts: Mapping[str, int], labels: Sequence[str], refused: Callable[..., HcepError]
) -> tuple[list[str], list[str]]:
    """The two sides of a split, or the error that `refused` makes of what is wrong."""
    if not isinstance(sides, dict) or set(sides) - {STANDS_FOR} != set(counts):
        raise refused(f"needs the keys known and unknown, and may have {STANDS_FOR}")
    if STANDS_FOR in sides:
        if sides[STANDS_FOR] != counts["unknown"]:
            raise refused(f"{STANDS_FOR} is {sides[STANDS_FOR]!r}, the openness says {counts['unknown']}")
        counts = {**counts, "unknown": 1}
    for side, count in counts.items():
        names = sides[side]
        if not isinstance(names, list):
            raise refused(f"{side} is not a list of class names")
        for name in names:
            if not isinstance(name, str):
                raise refused(f"{name!r} is not text", remedy=not_text(name))
            if name not in labels:
                guess = closest(name, labels)
                remedy = f"did you mean {guess!r}?" if guess else f"choose from {', '.join(labels)}"
                raise refused(f"{name!r} is not a class of the task", remedy=remedy)
        if len(set(names)) != len(names):
            raise refused(f"{side} lists {_first_repeat(names)!r} twice")
        if len(names) != count:
            remedy = "list as many classes as the openness names, or rename it"
            raise refused(f"{side} has {len(names)} classes, the openness says {count}", remedy=remedy)
    both = sorted(set(sides["known"]) & set(sides["unknown"]))
    if both:
        raise refused(f"{', '.join(both)} on both sides", remedy="keep each class on one side")
    return sides["known"], sides["unknown"]


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise HcepError("no such file of class splits", file=path, remedy="write it with `hcep draw_splits`") from error
    if not isinstance(content, dict):
        raise HcepError("not a mapping of openness to splits", file=path, remedy="see config/splits/mafw.yaml")
    return content


def _in_order(known: Iterable[str], unknown: Iterable[str], labels: Sequence[str]) -> ClassSplit:
    return ClassSplit(tuple(sorted(known, key=labels.index)), tuple(sorted(unknown, key=labels.index)))


def _first_repeat(names: Sequence[str]) -> str:
    return next(name for place, name in enumerate(names) if name in names[:place])


def _flow(names: Sequence[str]) -> str:
    return yaml.safe_dump(list(names), default_flow_style=True, width=10_000, allow_unicode=True).strip()
