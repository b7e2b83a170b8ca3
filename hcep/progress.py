"""Progress: a bar on a terminal, one line per 10 % in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from hcep.errors import shown

T = TypeVar("T")


def say(text: str) -> None:
    """Write a line to standard error at once, so that a log shows it when it happens; see `shown`."""
    print(shown(text), file=sys.stderr, flush=True)


def progress(items: Iterable[T], total: int, what: str, unit: str = "clip", *, done: int = 0) -> Iterator[T]:
    """Yield `items`, reporting to standard error.

    Parameters
    ----------
    items : iterable
        What is worked on, in order.
    total : int
        How many there are, those done before included.
    what : str
        The verb in front of the numbers, e.g. ``"decode_frames 007-of-064"``.
    unit : str
        Name of one item.
    done : int
        How many were done before, by a job that this one continues.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=what, unit=unit, initial=done)
        return
    start, shown = time.monotonic(), -1
    units = "batches" if unit == "batch" else f"{unit}s"
    for number, item in enumerate(items, 1):
        yield item
        count = done + number
        percent = count * 100 // max(total, 1)
        if percent // 10 > shown:
            shown = percent // 10
            rate = number / max(time.monotonic() - start, 1e-9)
            say(f"{what}: {count}/{total} {units} ({percent} %), {rate:.1f} {units}/s")
