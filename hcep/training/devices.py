"""The device of a job: the CPU, or an accelerator that no other job of the machine has taken."""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple

import torch

from hcep.errors import HcepError
from hcep.progress import say
from hcep.training.slots import Slot, slot_folder, take_slot, visible_devices


class Reservation(NamedTuple):
    """Where a job runs, and the slot that it holds as long as this object lives; None where none is needed."""

    device: torch.device
    slot: Slot | None


def choose_device(name: str) -> Reservation:
    """The device of a job; float32 is computed there without rounding to TF32.

    Parameters
    ----------
    name : str
        ``auto`` is ``cuda`` when there is an accelerator, else ``cpu``. ``cuda`` takes a slot on the accelerator with
        the fewest jobs; ``cuda:1`` names one and takes no slot.

    Raises
    ------
    HcepError
        When ``cuda`` is asked for and absent, or every slot is taken.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not name.startswith("cuda"):
        return Reservation(torch.device(name), None)
    if not torch.cuda.is_available():
        raise HcepError("the setting device: cuda finds no CUDA device", remedy="use device: auto or device: cpu")
    slot = None
    if name == "cuda":
        slot = take_slot(visible_devices(torch.cuda.device_count(), os.environ), slot_folder())
        name = f"cuda:{slot.device}"
    device = torch.device(name)
    torch.cuda.set_device(device)
    # torch's default rounds convolutions to TF32
    torch.backends.cudnn.allow_tf32 = False
    return Reservation(device, slot)


@cache
def note_slow_precision(device: torch.device, precision: str) -> None:
    """Say in the log, once, that a device computes bf16 by float32, which is slower than float32 itself."""
    if device.type == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        card = torch.cuda.get_device_name(device)
        say(f"precision: bf16 is slow on {card}, which has no units for it; fp32 is faster there")
