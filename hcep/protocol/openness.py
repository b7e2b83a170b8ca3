"""Openness: how many classes are known, how many are not, and the one number that the paper makes of it."""

from __future__ import annotations

import math
import re

from hcep.errors import HcepError


def parse_openness(name: str) -> tuple[int, int]:
    """Read a name such as ``"k8u2"``.

    Parameters
    ----------
    name : str
        ``k<known>u<unknown>``, both at least 1, without leading zeros (one setting, one folder name).

    Returns
    -------
    known, unknown : int
        Numbers of classes.

    Raises
    ------
    HcepError
        If `name` has another form.
    """
    found = re.fullmatch(r"k([1-9][0-9]*)u([1-9][0-9]*)", name)
    if found is None:
        raise HcepError(
            f"{name!r} is not an openness",
            remedy="write k<known classes>u<unknown classes>, both at least 1, e.g. k8u2",
        )
    return int(found[1]), int(found[2])


def openness_value(known: int, unknown: int) -> float:
    """Openness O = 1 - sqrt(K / (K + U)) of section 4.1.2, in [0, 1); higher = more of the test classes are unknown.

    Raises
    ------
    HcepError
        If there is no known class, or a negative number of unknown ones.
    """
    if known < 1 or unknown < 0:
        raise HcepError(
            f"openness needs at least one known and no negative number of unknown classes, not {known}:{unknown}"
        )
    return 1.0 - math.sqrt(known / (known + unknown))
