"""One accelerator per job: slots that jobs of one machine take by file locks, so that nobody has to hand devices out.

A slot is a place on a device. The first slots of all devices are taken before the second ones, so jobs spread over the
devices and share them evenly when there are more jobs. A lock ends with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Mapping, Sequence
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
    """Folder of the lock files: local to the machine, as the devices are, and to the user."""
    return Path(tempfile.gettempdir()) / f"hcep-devices-{os.getuid()}"


def take_slot(devices: Sequence[str], folder: Path) -> Slot:
    """Take the first free slot of `devices`, the names from `visible_devices`; `folder` is made if absent.

    Raises
    ------
    HcepError
        When every slot of every device is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(SLOTS):
        for number, name in enumerate(devices):
            handle = (folder / f"{name.replace('/', '_')}.{place}.lock").open("a+", encoding="utf-8")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                continue
            handle.truncate(0)
            handle.write(f"{os.getpid()}\n")  # for a person who wonders who holds it; the lock alone counts
            handle.flush()
            return Slot(number, place, handle)
    cause = f"{SLOTS} jobs already share each of the devices {', '.join(devices)}"
    raise HcepError(cause, file=folder, remedy="run fewer at a time: `--resources gpu=N`")
