"""How many clips fit into one backward pass: measured before the first step, halved when memory runs out after all."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from hcep.methods.method import Batch, Method

MARGIN = 1.25  # of what autograd keeps: gradients and temporary results stand beside it at the peak
SHARE = 0.9  # of the free memory that a step may fill


def kept_bytes(method: Method, batch: Batch) -> int:
    """Bytes that autograd keeps from the forward to the backward pass of a batch's losses; weights do not count.

    Counted from shapes and types; what a fused kernel makes for itself alone is missing, a few per cent. State and
    random numbers of the method are as before afterwards.
    """
    sizes: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        # a leaf was there before the pass: a weight, a prompt, an input
        if not value.is_leaf:
            storage = value.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        # a value that knew its graph would keep the graph, and the graph it, for good
        return value.detach()

    device = batch.label.device
    state = copy.deepcopy(method.state_dict())
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), saved_tensors_hooks(note, lambda value: value):
        terms = method.loss(batch)
    del terms  # until here the graph was alive and no address used twice
    method.load_state_dict(state)
    return sum(sizes.values())


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no memory left, which inside a recording may be an error of another kind."""
    if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error):
        return True
    # what ends a recording may complain in its place
    return isinstance(error.__context__, RuntimeError) and out_of_memory(error.__context__)


def free_bytes(device: torch.device) -> int | None:
    """Memory that a run may still take on a device; None where the system does not say."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return available_memory(Path("/proc/meminfo"))


def available_memory(meminfo: Path) -> int | None:
    """What Linux calls available main memory; None on other systems."""
    if not meminfo.is_file():
        return None
    lines = meminfo.read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def fitting_size(batch: int, fixed: int, per_clip: int, free: int | None) -> int:
    """The largest of batch, batch/2, batch/4 ... whose backward pass fits; 1 if none does.

    Parameters
    ----------
    batch : int
        Clips of an optimiser step.
    fixed, per_clip : int
        Bytes kept whatever the number of clips (class prompts), and for every clip.
    free : int or None
        Bytes that may be taken; None for no limit.
    """
    size = batch
    while free is not None and size > 1 and MARGIN * (fixed + size * per_clip) > SHARE * free:
        size = halved(size)
    return size


def halved(size: int) -> int:
    """Half of the clips, rounded up, so that two parts hold the whole."""
    return -(-size // 2)


def measured_size(method: Method, batch: Batch, size: int) -> tuple[int, int, bool]:
    """Clips per backward pass that fit, bytes kept per clip, and whether all `size` clips would fit twice over.

    Measured by passes over one and two clips of `batch`.
    """
    if len(batch.row) < 2 or size < 2:
        return size, 0, True
    one, two = (kept_bytes(method, batch.split(count)[0]) for count in (1, 2))
    per_clip = max(0, two - one)
    free = free_bytes(batch.label.device)
    once, twice = (
        fitting_size(size, one - per_clip, per_clip, None if free is None else free // copies) for copies in (1, 2)
    )
    return once, per_clip, twice == size
