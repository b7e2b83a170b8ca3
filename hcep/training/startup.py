"""What a job costs before its work begins, for its log."""

from __future__ import annotations

import time

import psutil

from hcep.progress import say


def process_seconds() -> float:
    """Seconds since this process was started."""
    started = psutil.Process().create_time()
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return time.time() - started
    # Linux tells the boot time in whole seconds; it is part of `started`, and without it the age is exact
    return time.clock_gettime(time.CLOCK_BOOTTIME) - (started - psutil.boot_time())


class StartUp:
    """Splits the time before the first step into parts, for one line of the log, which calls the job `name`."""

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
        say(f"{self.name}: {self._last:.1f} s before the first step: {parts}")
