"""Many runs of one method in one process: one that fails ends no other.

The runs train one after another and not as one stacked product: torch's product of one head of 1.7 million weights by a
batch of 64 runs at the speed of the core, that of 16 stacked heads has the same bits and is slower, and one head with
its momentum fits into the cache of the processor, where 16 do not (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hcep.errors import HcepError
from hcep.progress import say


def make_all(folders: Sequence[Path], make: Callable[[int], None]) -> None:
    """Make the runs of these folders by their numbers.

    Raises
    ------
    HcepError
        Runs failed, as one whose loss diverged, and are named by their folders; all others are made. An error of hcep
        itself ends the work at once.
    """
    failed: list[tuple[Path, HcepError]] = []
    for number, folder in enumerate(folders):
        try:
            make(number)
        except HcepError as error:
            say(f"{folder}: {error.cause}")
            failed.append((folder, error))
    if failed:
        (place, first), *others = failed
        if len(folders) == 1:
            raise first
        cause = "; ".join([first.cause, *(f"{folder}: {other.cause}" for folder, other in others)])
        made = f"the other {len(folders) - len(failed)} of {len(folders)} runs are made; the next start takes them over"
        raise HcepError(cause, file=place, remedy="; ".join(filter(None, (first.remedy, made)))) from first
