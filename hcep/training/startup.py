"""What a job costs before its work begins, for its log."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def process_seconds() -> float:
    """Seconds since this process was started (Linux), or since its clock began to count (elsewhere)."""
    stat = Path("/proc/self/stat")
    if not stat.is_file():
        return time.perf_counter()
    # the name before the bracket may hold anything; the 20th field behind it is the start in ticks since boot
    ticks = int(stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


class StartUp:
    """Splits the time before the first step into parts and prints them in one line.

    Parameters
    ----------
    name : str
        What the log calls the job.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.parts: list[tuple[str, float]] = []
        self._last = 0.0

    def done(self, what: str) -> None:
        """The time since the last call (at first: since the process began) was spent on `what`."""
        now = process_seconds()
        self.parts.append((what, now - self._last))
        self._last = now

    def say(self, what: str) -> None:
        """The last part was `what`; one line on standard error tells all of them."""
        self.done(what)
        parts = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in self.parts)
        print(f"{self.name}: {self._last:.1f} s before the first step: {parts}", file=sys.stderr, flush=True)
