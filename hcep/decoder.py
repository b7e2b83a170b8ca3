"""A decoder as a child process: with limits, in a group that ends with its parent; and whose fault it is when it fails.

What a clip holds may make a decoder fail, and the clip is then stored as failed. A machine that is short of memory,
busy or stuck must never be stored as a fault of the clip: that ends the job, which can be run again.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from hcep.container import MachineFault, MediaError

GIB = 2**30
# the clock may run so much longer than a clip's processor time: a busy machine is no fault of the clip
PATIENCE = 10
# a decoder that dies of these has stumbled over what it read; every other signal came from outside
CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE})
# of ffmpeg when it was asked to end (SIGTERM, SIGINT), once or again and again
ASKED = frozenset({255, 123})
NO_MEMORY = re.compile(rb"Cannot allocate memory|get_buffer\(\) failed")
# what the machine refuses, in the words of the C library
REFUSED = re.compile(
    rb"No space left on device|Disk quota exceeded|Too many open files|Stale file handle"
    rb"|Transport endpoint is not connected|Connection timed out|p?thread.*Resource temporarily unavailable"
)


class Limits(NamedTuple):
    """What one start of a decoder may use: seconds of processor time, and address space in GiB."""

    seconds: float = 60.0
    memory: float = 4.0


DEFAULT = Limits()


class Ended(NamedTuple):
    """How a child ended: exit status (below 0: the signal), processor time used, whether the clock ran out."""

    status: int
    seconds: float
    stopped: bool


def run_child(command: Sequence[str], limits: Limits, **streams: Any) -> Ended:
    """Run a command under limits and wait for it.

    The child leads a process group of its own, which is killed when this process ends, however it ends.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    limits : Limits
        The clock may run `PATIENCE` times the seconds.
    **streams
        Of `subprocess.Popen`.

    Raises
    ------
    OSError
        When the child cannot be started.
    MachineFault
        When this process itself may take less address space: a large clip could not be told from a small limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY and hard < limits.memory * GIB:
        cause = f"this job may take {hard / GIB:.1f} GiB of address space (`ulimit -v`), less than a decoder may"
        remedy = f"raise it, or lower `decoder_memory` of the dataset entry, which is {limits.memory:g}"
        raise MachineFault(cause, remedy=remedy)
    watch, held = os.pipe()
    try:
        passed = (*streams.pop("pass_fds", ()), watch)
        child = subprocess.Popen(command, process_group=0, pass_fds=passed, **streams)
        try:
            _bind(child.pid, watch, limits)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        return _wait(child, PATIENCE * limits.seconds)
    finally:
        os.close(watch)
        os.close(held)


def _bind(pid: int, watch: int, limits: Limits) -> None:
    """Set the limits of a child, and have the kernel kill its group when the other end of the pipe is closed."""
    # not by `preexec_fn`: it copies the page tables of this process, and is not safe beside threads
    if not hasattr(resource, "prlimit"):  # not Linux
        return
    wanted = {
        resource.RLIMIT_AS: round(limits.memory * GIB),
        # whole seconds; the kernel kills, since ffmpeg would write half an answer where it is merely asked to end
        resource.RLIMIT_CPU: int(limits.seconds) + 1,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(pid, kind, (most, most))
    fcntl.fcntl(watch, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(watch, fcntl.F_SETOWN, -pid)
    fcntl.fcntl(watch, fcntl.F_SETFL, fcntl.fcntl(watch, fcntl.F_GETFL) | os.O_ASYNC)


def _wait(child: subprocess.Popen[bytes], seconds: float) -> Ended:
    """Wait for a child without looking again and again; when the clock runs out its group is killed."""
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        os.killpg(child.pid, signal.SIGKILL)

    clock = threading.Timer(seconds, stop)
    clock.daemon = True
    clock.start()
    try:
        # until it has ended, but still there, so that its number belongs to nobody else
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    except BaseException:  # Ctrl-C
        os.killpg(child.pid, signal.SIGKILL)
        raise
    finally:
        clock.cancel()
        clock.join()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return Ended(child.returncode, used.ru_utime + used.ru_stime, stopped.is_set())


def blame(ended: Ended, said: bytes, limits: Limits, path: Path) -> None:
    """Return when nothing outside its content stopped the decoding of a file.

    An exit status of its own and a message about the content are for the caller to judge.

    Parameters
    ----------
    ended : Ended
        How the decoder ended.
    said : bytes
        Its standard error.
    limits : Limits
        What it ran under.
    path : path
        The file.

    Raises
    ------
    MediaError
        When the content needs more time or memory than the limits, or crashes the decoder.
    MachineFault
        When memory was refused while the machine has less than the limit, or the decoder was killed or hardly ran.
    """
    if NO_MEMORY.search(said):
        check_memory(limits, path)
        raise MediaError(f"needs more memory than the limit of {limits.memory:g} GiB", file=path)
    if refused := REFUSED.search(said):
        remedy = "mend what it names (disk, network file system, `ulimit -u`, `ulimit -n`) and run again"
        raise MachineFault(f"ffmpeg: {refused[0].decode()}", file=path, remedy=remedy)
    # a shell that starts ffmpeg tells the signal as 128 and its number
    number = ended.status - 128 if 128 < ended.status < 160 else -ended.status
    if number <= 0 and ended.status not in ASKED:
        return
    if ended.seconds >= limits.seconds:
        raise MediaError(f"decoding took longer than {limits.seconds:g} s of processor time", file=path)
    if ended.stopped:
        cause = f"ffmpeg got {ended.seconds:.1f} s of processor time in {PATIENCE * limits.seconds:g} s"
        remedy = "run again when the machine or its file system is less busy, or raise `timeout` of the dataset entry"
        raise MachineFault(cause, file=path, remedy=remedy)
    name = _name(number) if number > 0 else "SIGTERM or SIGINT"
    if number in CRASHES:
        raise MediaError(f"ffmpeg crashed ({name})", file=path)
    remedy = "run again, with more memory or fewer jobs at once if memory ran out (`dmesg` and the cluster's log tell)"
    raise MachineFault(f"ffmpeg was killed ({name}) after {ended.seconds:.1f} s", file=path, remedy=remedy)


def check_memory(limits: Limits, path: Path) -> None:
    """Refuse to blame a file for a want of memory while the machine itself has less than the limit."""
    free = psutil.virtual_memory().available
    if free < round(limits.memory * GIB):
        cause = f"memory ran out, and the machine has {free / GIB:.1f} GiB left"
        raise MachineFault(cause, file=path, remedy="run again with fewer jobs at once, or on a machine with more")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"
