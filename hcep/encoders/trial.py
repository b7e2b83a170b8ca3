"""Ways to compute the same thing: on a GPU the fastest there, tried once per shape, if it agrees with the library's.

Which kernel is the fastest differs by card, shape and library version, so it is measured where it runs. A trial takes
some milliseconds and falls into the first steps of a run.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

Way = Callable[[Tensor], Tensor]
BOUND = 4 * 2**-8  # of the difference between two ways in bf16, relative: each rounds operands and results
ROUNDS, CALLS = 3, 5
VALUES = 2**25  # that a trial computes on at most, so that it needs no memory worth counting
PAUSE = 5_000_000  # clock cycles that the device waits, so that a processor hands over all calls before the first runs


class Outcome(NamedTuple):
    """Which way was taken, and milliseconds of each; None for one that gave another result than the first."""

    taken: int
    milliseconds: tuple[float | None, ...]


_outcomes: dict[tuple[Any, ...], Outcome] = {}
_libraries_only = False


def outcomes() -> dict[tuple[Any, ...], Outcome]:
    """By name, shape, type, device and whether gradients were asked for."""
    return dict(_outcomes)


@contextmanager
def libraries_only() -> Iterator[None]:
    """The first way is taken meanwhile: a counter of operations knows the library's."""
    global _libraries_only
    before, _libraries_only = _libraries_only, True
    try:
        yield
    finally:
        _libraries_only = before


def fastest(name: str, ways: Sequence[Way], x: Tensor) -> Way:
    """The way to take for `x`, a tensor on a GPU.

    Parameters
    ----------
    name : str
        What is computed.
    ways : sequence of callable
        The library's first. Each depends on its tensor alone and has a gradient.
    x : Tensor
        Only its shape, type and device matter, and whether it asks for a gradient.
    """
    learns = x.requires_grad and torch.is_grad_enabled()
    key = (name, tuple(x.shape), x.dtype, x.device, learns)
    outcome = _outcomes.get(key)
    if outcome is None:
        # nothing can be timed while a graph is recorded
        if _libraries_only or not x.numel() or _recording():
            return ways[0]
        outcome = _outcomes[key] = _try(name, ways, x, learns)
    return ways[0 if _libraries_only else outcome.taken]


def _recording() -> bool:
    return torch.cuda.is_current_stream_capturing()


def _try(name: str, ways: Sequence[Way], x: Tensor, learns: bool) -> Outcome:
    """Compare all ways with the first on random values, and time them, with the backward pass if there is one."""
    generator = torch.Generator(x.device).manual_seed(0)
    shape = (max(1, min(len(x), VALUES * len(x) // x.numel())), *x.shape[1:])
    given, gradient = (torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype) for _ in range(2))
    given.requires_grad_(learns)

    def work(way: Way) -> list[Tensor]:
        y = way(given)
        if not learns:
            return [y]
        # attention's result is a third of what it is given
        return [y.detach(), *torch.autograd.grad(y, given, gradient.flatten()[: y.numel()].view(y.shape))]

    milliseconds: list[float | None] = []
    # whoever counts what a step keeps is not to count this
    with saved_tensors_hooks(lambda value: value, lambda value: value):
        exact = work(ways[0])
        for way in ways:
            errors = [_distance(one, other) for one, other in zip(work(way), exact, strict=True)]
            if all(error < BOUND for error in errors):
                milliseconds.append(_milliseconds(lambda way=way: work(way), x.device))  # type: ignore[misc]
            else:
                milliseconds.append(None)
                print(
                    f"{name}, {tuple(x.shape)}: a fused kernel differs from the library's on this GPU "
                    f"(by {max(errors):.1e}) and is not used",
                    file=sys.stderr,
                    flush=True,
                )
    times = [float("inf") if value is None else value for value in milliseconds]
    return Outcome(times.index(min(times)), tuple(milliseconds))


def _distance(one: Tensor, other: Tensor) -> float:
    one, other = one.float(), other.float()
    return float((one - other).norm() / other.norm())


def _milliseconds(work: Callable[[], Any], device: torch.device) -> float:
    """Time of the device for one call, the median of several rounds."""
    found = []
    with torch.cuda.device(device):
        for _ in range(ROUNDS):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(PAUSE)
            start.record()
            for _ in range(CALLS):
                work()
            end.record()
            end.synchronize()
            found.append(start.elapsed_time(end) / CALLS)
    return statistics.median(found)
