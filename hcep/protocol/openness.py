"""Openness: how many classes are known, how many are not, and the one number that the paper makes of it."""

from __future__ import annotations

import math
import re

from hcep.errors import HcepError

# with one known class every clip is given that class: the accuracy is 100 and the score is the same for all clips
LEAST_KNOWN = 2


def parse_openness(name: str) -> tuple[int, int]:
    """Numbers of known and unknown classes of a name such as ``"k8u2"``.

    It is ``k<known>u<unknown>``, at least 2 and at least 1, without leading zeros (one setting, one folder name).

    Raises
    ------
    HcepError
        If `name` has another form, or names one known class.
    """
    found = re.fullmatch(r"k([1-9][0-9]*)u([1-9][0-9]*)", name)
    if found is None:
        remedy = "write k<known classes>u<unknown classes>, at least 2 known and 1 unknown, e.g. k8u2"
        raise HcepError(f"{name!r} is not an openness", remedy=remedy)
    known = int(found[1])
    check_known(known, f"openness {name}")
    return known, int(found[2])


def check_known(known: int, place: str) -> None:
    """Refuse fewer than two known classes; `place` says in the message what has so few."""
    if known < LEAST_KNOWN:
        cause = (
            f"{place} has {known} known {'class' if known == 1 else 'classes'}: with fewer than {LEAST_KNOWN} there is "
            "nothing to tell apart, every accuracy is 100 and every AUROC 50"
        )
        raise HcepError(cause, remedy=f"choose an openness with at least {LEAST_KNOWN} known classes, e.g. k2u1")


def openness_value(known: int, unknown: int) -> float:
    """Openness O = 1 - sqrt(K / (K + U)) of section 4.1.2, in [0, 1); higher = more of the test classes are unknown.

    Raises
    ------
    HcepError
        If there is no known class, or a negative number of unknown ones.
    """
    if known < 1 or unknown < 0:
        cause = "openness needs at least one known and no negative number of unknown classes"
        raise HcepError(f"{cause}, not {known}:{unknown}")
    return 1.0 - math.sqrt(known / (known + unknown))
