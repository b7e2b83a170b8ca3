"""Memory of a run: how many clips fit into one backward pass, how much is free, how much was taken."""

from __future__ import annotations

import copy
import resource
import sys

import psutil
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from hcep.methods.method import Batch, Method

MARGIN = 1.25  # of what autograd keeps: gradients and temporary results stand beside it at the peak
SHARE = 0.9  # of the free memory that a step may fill


def kept_bytes(method: Method, batch: Batch) -> int:
    """Bytes that autograd keeps from the forward to the backward pass of a batch's losses; weights do not count.

    Counted from shapes and types; what a fused kernel keeps for itself is missing, a few per cent. The method's state
    and the random numbers are as before afterwards.
    """
    sizes: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        # a leaf was there before the pass: a weight, a prompt, an input
        if not value.is_leaf:
            storage = value.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        # the graph keeps what this returns; if that knew the graph in turn, neither would ever be freed
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
    """Whether an error says that a device had no memory left; inside a recording that may be one of another type."""
    if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error):
        return True
    # ending a recording after such an error raises another one, with the first as its context
    return isinstance(error.__context__, RuntimeError) and out_of_memory(error.__context__)


def free_bytes(device: torch.device) -> int:
    """Memory that a run may still take: an accelerator's, else the available main memory."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return psutil.virtual_memory().available


def peak_memory_gb(device: torch.device) -> float:
    """Largest memory so far in GB: what tensors took on an accelerator, else the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    # psutil knows the present size on every system, but the largest one on Windows alone
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def fitting_size(size: int, fixed: int, per_clip: int, free: int) -> int:
    """The largest of size, size/2, size/4 ... clips whose backward pass fits into `free` bytes; 1 if none does.

    A pass keeps `fixed` bytes whatever the number of clips (class prompts), and `per_clip` bytes for every clip.
    """
    while size > 1 and MARGIN * (fixed + size * per_clip) > SHARE * free:
        size = halved(size)
    return size


def halved(size: int) -> int:
    """Half of the clips, rounded up, so that two parts hold the whole."""
    return -(-size // 2)


def measured_size(method: Method, batch: Batch, size: int) -> tuple[int, int, bool]:
    """Measure how many clips of an optimiser step of `size` fit into one backward pass of a method in training mode.

    The passes are over one and two clips of `batch`.

    Returns
    -------
    fitting : int
        Clips per backward pass.
    per_clip : int
        Bytes that autograd keeps for a clip.
    twice : bool
        Whether all `size` clips would fit twice over.
    """
    one, two = (kept_bytes(method, batch.split(count)[0]) for count in (1, 2))
    per_clip = max(0, two - one)
    free = free_bytes(batch.label.device)
    once, twice = (fitting_size(size, one - per_clip, per_clip, free // copies) for copies in (1, 2))
    return once, per_clip, twice == size
