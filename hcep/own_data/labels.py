"""Names of the classes as the data have them: none a number, none twice in two spellings, one in a cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from hcep.errors import HcepError
from hcep.own_data.media_files import counted
from hcep.protocol.near_misses import near_label
from hcep.protocol.openness import LEAST_KNOWN

NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
SEVERAL = re.compile(r"[;|,/+&]")


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """``OLD=NEW`` words of an option as a mapping."""
    found: dict[str, str] = {}
    for text in given:
        one, sign, other = text.partition("=")
        if not (one and sign and other) or one in found:
            cause = f"{option} {text} names {one} twice" if one in found else f"{option} {text} has no two sides"
            raise HcepError(cause, remedy=f"write {option} with words such as old=new")
        found[one] = other
    return found


def name_labels(rows: Sequence[dict[str, str]], names: Mapping[str, str]) -> list[str]:
    """Give labels their new names, in the rows, and return all of them in order.

    `names` maps a label to its new name; one that is mapped to itself is meant as it is.

    Raises
    ------
    HcepError
        For a label to rename that no clip has, one that is a number or names several, and two that are nearly the same.
    """
    here = Counter(row["label"] for row in rows if row["label"])
    for old in names:
        if old not in here:
            cause = f"--label-names {old}=…: no clip has this label"
            raise HcepError(cause, remedy=f"the labels are {', '.join(sorted(here))}")
    for row in rows:
        row["label"] = names.get(row["label"], row["label"])
        row["labels"] = ";".join(names.get(one.strip(), one.strip()) for one in row.get("labels", "").split(";"))
    labels = sorted({row["label"] for row in rows} - {""})
    meant = {*names.values()}
    numbers = [label for label in labels if NUMBER.fullmatch(label)]
    if numbers:
        examples = " ".join(f"{number}=NAME" for number in sorted(numbers, key=lambda one: (len(one), one)))
        cause = f"labels are numbers: {', '.join(numbers)}"
        raise HcepError(cause, remedy=f"methods read the names of classes: say them, as --label-names {examples}")
    several = next((label for label in labels if SEVERAL.search(label) and label not in meant), None)
    if several is not None:
        count = sum(row["label"] == several for row in rows)
        cause = f"label {several!r} ({counted(count, 'clip')}) seems to name several"
        remedy = (
            f"a clip has one label: choose one in the table, or, if it is a name, say --label-names '{several}=NAME'"
        )
        raise HcepError(cause, remedy=remedy)
    for label in labels:
        near = near_label(label, [other for other in labels if other != label])
        if near is not None and not {label, near} <= meant:
            remedy = f"say --label-names '{label}={near}' for one class, '{label}={label}' '{near}={near}' for two"
            raise HcepError(f"labels {label!r} and {near!r} are nearly the same", remedy=remedy)
    if len(labels) <= LEAST_KNOWN:
        cause = f"the clips have {counted(len(labels), 'label')}: {', '.join(labels) or 'none'}"
        remedy = f"at least {LEAST_KNOWN} known classes and one unknown class are needed, so three labels"
        raise HcepError(cause, remedy=remedy)
    return labels


def usual_levels(count: int) -> list[str]:
    """Two levels of openness for a number of classes: two thirds known, and as many unknown (``k4u2`` and ``k2u4``)."""
    known = max(LEAST_KNOWN, round(2 * count / 3))
    return [f"k{many}u{count - many}" for many in dict.fromkeys((known, max(LEAST_KNOWN, count - known)))]
