"""Counts and ceilings: bytes that a piece of work moves, and the rates that a device reaches at best."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FREE = ("empty", "detach", "alias", "unsafe_view", "lift")


class Traffic(TorchDispatchMode):
    """Bytes of all inputs and outputs of every operation that computes: what is moved when nothing stays in a cache.

    Attributes
    ----------
    bytes : int
        So far.
    operations : int
        How many.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count what it read and wrote."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view and not any(word in str(func) for word in FREE):
            tensors = [value for value in tree_leaves((args, kwargs, result)) if isinstance(value, Tensor)]
            self.bytes += sum(value.numel() * value.element_size() for value in tensors)
            self.operations += 1
        return result


def wait(device: torch.device) -> None:
    """Wait until a device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clock(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds that `work` takes on a device."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Largest measured rate of a square matrix product, FLOP/s."""
    best = 0.0
    for size in (4096, 8192, 16_384) if device.type == "cuda" else (1024, 2048):
        one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        best = max(best, *(2 * size**3 / clock(partial(torch.matmul, one, other), device) for _ in range(5)))
    return best


def copy_peak(device: torch.device) -> float:
    """Largest measured rate of a copy, bytes read and written per second."""
    source = torch.zeros(2**30 if device.type == "cuda" else 2**27, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    return max(2 * source.nbytes / clock(partial(target.copy_, source), device) for _ in range(5))
