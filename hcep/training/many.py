"""Many runs of one method in one process: one that diverges ends no other.

The runs train one after another and not as one stacked product: torch's product of one head of 1.7 million weights by a
batch of 64 runs at the speed of the core, that of 16 stacked heads has the same bits and is slower, and one head with
its momentum fits into the cache of the processor, where 16 do not (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hcep.errors import HcepError
from hcep.progress import say
from hcep.training.loop import Diverged


def make_all(folders: Sequence[Path], make: Callable[[int], None]) -> None:
    """Make the runs of these folders by their numbers.

    Raises
    ------
    HcepError
        Runs diverged, and are named by their folders; all others are made. Any other error ends the work at once.
    """
    diverged: list[tuple[Path, Diverged]] = []
    for number, folder in enumerate(folders):
        try:
            make(number)
        except Diverged as error:
            say(f"{folder}: {error.cause}")
            diverged.append((folder, error))
    if diverged:
        (place, first), *others = diverged
        if len(folders) == 1:
            raise first
        cause = "; ".join([first.cause, *(f"{folder}: {other.cause}" for folder, other in others)])
        kept = f"the other {len(folders) - len(diverged)} of {len(folders)} runs are kept"
        raise HcepError(cause, file=place, remedy=f"{first.remedy}; {kept}") from first
