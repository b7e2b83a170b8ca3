"""What an adapter tells `hcep check` about a release beyond its clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

EXAMPLES = 5


class Fault(NamedTuple):
    """Something wrong with a release.

    `severity` is ``error`` when the release cannot be used as it is, ``warning`` when it can; `what` says what is wrong
    in words, `cases` how many there are, `examples` names a few of them, `remedy` says what to do.
    """

    severity: Literal["error", "warning"]
    what: str
    cases: int
    examples: Sequence[str] = ()
    remedy: str = ""


def warning(what: str, cases: Iterable[str], remedy: str = "", shown: int = EXAMPLES) -> list[Fault]:
    """No fault without a case, else one warning that counts the cases and names the first of them."""
    named = list(cases)
    return [Fault("warning", what, len(named), named[:shown], remedy)] if named else []


def counted(names: Iterable[str], known: Iterable[str]) -> dict[str, int]:
    """Known name -> how often it is among `names`; other names do not count."""
    count = Counter(names)
    return {name: count[name] for name in known}


class Survey(NamedTuple):
    """What was found in a release.

    `found` maps a part of the release to where it lies below the root; `counts` maps a section to name -> number, to be
    compared with the published numbers of the same section and name; `faults` lists what is wrong.
    """

    found: Mapping[str, str]
    counts: Mapping[str, Mapping[str, int]]
    faults: Sequence[Fault]
