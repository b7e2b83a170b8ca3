"""SIGTERM, which batch systems send some time before they kill: how a verb ends, and how a job of Slurm comes back."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# longer than the usual time between Slurm's SIGTERM and its SIGKILL (GraceTime of a partition, KillWait: 30 s)
WAIT_SECONDS = 300.0

# given what saves the work so far, ends it if SIGTERM has come
MayEnd = Callable[[Callable[[], None]], None]


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a verb in the way in which Ctrl-C does: what is half written is removed."""


def _end() -> None:
    # `timeout` sends it twice, and the second one must not disturb the removal of what is half written
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM."""
    before = signal.signal(signal.SIGTERM, lambda *_: _end())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def finishing() -> Iterator[MayEnd]:
    """Let work go on after SIGTERM to where it can be saved, and there raise `Terminated`."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    def may_end(save: Callable[[], None]) -> None:
        if asked:
            save()
            _end()

    # only the main thread may say what a signal does, and only it receives them
    if threading.current_thread() is not threading.main_thread():
        yield may_end
        return
    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield may_end
    finally:
        if signal.getsignal(signal.SIGTERM) is ask:
            signal.signal(signal.SIGTERM, before)
    if asked:
        _end()


def wait_for_slurm(verb: str) -> None:
    """In a job of Slurm, wait to be killed.

    Slurm queues a preempted job again if it still runs when its time of grace ends, and takes one that has ended by
    then for a failed one.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job:
        said = f"hcep {verb}: waits up to {WAIT_SECONDS:.0f} s for Slurm to end job {job} or to queue it again"
        print(said, file=sys.stderr, flush=True)
        time.sleep(WAIT_SECONDS)
