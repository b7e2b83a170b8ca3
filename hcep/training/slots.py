"""One accelerator per job: slots that jobs of one machine take by file locks, so that nobody has to hand devices out.

A slot is a place on a device. The first slots of all devices are taken before the second ones, so jobs spread over the
devices and share them evenly when there are more jobs. A lock ends with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from hcep.errors import HcepError

SLOTS = 16  # jobs that may share one device


class Slot(NamedTuple):
    """A place on a device: its index among the visible ones, which slot, and the open file that holds the lock."""

    device: int
    place: int
    lock: IO[str]


def visible_devices(count: int, environment: Mapping[str, str]) -> list[str]:
    """Names of the visible accelerators that mean the same device in every process of the machine.

    ``CUDA_VISIBLE_DEVICES`` renumbers devices: number 0 of one job may be number 1 of another. Its own entries (numbers
    or UUIDs) do not change; without it the numbers are the machine's.
    """
    given = environment.get("CUDA_VISIBLE_DEVICES")
    names = [part.strip() for part in given.split(",")] if given else []
    return names[:count] if len(names) >= count else [str(number) for number in range(count)]


def slot_folder() -> Path:
    """Folder of the lock files, local to the machine as the devices are: below the user's runtime folder or in /tmp."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # after `su` it is that of another user
    if runtime.startswith("/") and not _flaw(runtime):
        return Path(runtime, "hcep-slots")
    return Path(tempfile.gettempdir(), f"hcep-slots-{os.getuid()}")


def _flaw(folder: str | Path | int) -> str:
    """Why others may change what lies in a folder (a path, or an open one), or '' where they may not."""
    try:
        status = os.fstat(folder) if isinstance(folder, int) else Path(folder).lstat()
    except OSError as error:
        return str(error.strerror)
    if not stat.S_ISDIR(status.st_mode):
        return "it is a link" if stat.S_ISLNK(status.st_mode) else "it is no folder"
    if status.st_uid != os.getuid():
        return f"it belongs to user {status.st_uid}"
    return "others may enter it" if stat.S_IMODE(status.st_mode) & 0o077 else ""


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Make a folder that is private, if absent, and open it.

    Others can put a link or a folder of their own in this place of /tmp before us: what is opened is looked at, and
    what is done in it goes by the open folder, not by its name.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise _refused(folder, _flaw(folder) or str(error.strerror)) from error
    try:
        if flaw := _flaw(handle):
            raise _refused(folder, flaw)
        yield handle
    finally:
        os.close(handle)


def _refused(folder: Path, flaw: str) -> HcepError:
    remedy = "remove it, or name a folder of your own with mode 0700 in XDG_RUNTIME_DIR (or TMPDIR)"
    return HcepError(f"cannot hold the locks of devices: {flaw}", file=folder, remedy=remedy)


def _lock_file(name: str, handle: int, folder: Path) -> IO[str]:
    """Open a lock file in the open folder; a link, or what is no plain file, is an error."""
    try:
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=handle)
    except OSError as error:
        raise _refused(folder, f"{name} in it cannot be opened ({error.strerror})") from error
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(file)
        raise _refused(folder, f"{name} in it is no file of its own")
    return os.fdopen(file, "r+", encoding="utf-8")


def take_slot(devices: Sequence[str], folder: Path) -> Slot:
    """Take the first free slot of `devices`, the names from `visible_devices`; `folder` is made if absent.

    Raises
    ------
    HcepError
        When every slot of every device is taken, or others than this user could change the folder.
    """
    with _opened(folder) as handle:
        for place in range(SLOTS):
            for number, name in enumerate(devices):
                lock = _lock_file(f"{name.replace('/', '_')}.{place}.lock", handle, folder)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.close()
                    continue
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n")  # for a person who wonders who holds it; the lock alone counts
                lock.flush()
                return Slot(number, place, lock)
    cause = f"{SLOTS} jobs already share each of the devices {', '.join(devices)}"
    raise HcepError(cause, file=folder, remedy="run fewer at a time: `--resources gpu=N`")
