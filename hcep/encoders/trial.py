"""Ways to compute the same thing: on a GPU the fastest there, tried once per process, if it agrees with the library's.

Which kernel is the fastest differs by card, length and library version, so it is measured where it runs, at a size that
fills the device whatever the batch: the choice depends on no batch size, and the last batch of an epoch needs no trial.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

Way = Callable[[Tensor], Tensor]
BOUND = 4 * 2**-8  # of the difference between two ways in bf16, relative: each rounds operands and results
MARGIN = 0.97  # of the library's time that another way may take: at a tie every run is to choose the same
VALUES = 2**24  # that a trial computes on: more than the device's cache holds, 0.3 GB with results and gradients
ROUNDS, CALLS = 3, 5
PAUSES = [5_000_000 * 2**power for power in range(5)]  # clock cycles that the device waits while calls are handed over


class Outcome(NamedTuple):
    """Which way is taken, and milliseconds of each; None for one that failed or differed from the first."""

    taken: int
    milliseconds: tuple[float | None, ...]


_outcomes: dict[tuple[Any, ...], Outcome] = {}


def outcomes() -> dict[tuple[Any, ...], Outcome]:
    """By name, shape of a unit, type, device and whether gradients were asked for."""
    return dict(_outcomes)


def fastest(name: str, ways: Sequence[Way], x: Tensor, unit: tuple[int, ...]) -> Way:
    """The way to take for `x`, a tensor on a GPU.

    Parameters
    ----------
    name : str
        What is computed.
    ways : sequence of callable
        The library's first. Each depends on its tensor alone and has a gradient.
    x : Tensor
        Only its type and device matter, which is the current one, and whether it asks for a gradient.
    unit : tuple of int
        Shape of what is tried, less the first axis, which a trial makes as long as its size allows.
    """
    learns = x.requires_grad and torch.is_grad_enabled()
    key = (name, unit, x.dtype, x.device, learns)
    outcome = _outcomes.get(key)
    if outcome is None:
        # nothing can be timed while a graph is recorded
        if not x.numel() or _recording():
            return ways[0]
        try:
            outcome = _outcomes[key] = _try(name, ways, x, unit, learns)
        except torch.OutOfMemoryError:
            return ways[0]  # the next call tries again
    return ways[outcome.taken]


def _recording() -> bool:
    return torch.cuda.is_current_stream_capturing()


def _try(name: str, ways: Sequence[Way], x: Tensor, unit: tuple[int, ...], learns: bool) -> Outcome:
    """Compare all ways with the first on random values, and time them, with the backward pass if there is one."""
    title = f"{name} of {unit}, {'both passes' if learns else 'forward'}"
    generator = torch.Generator(x.device).manual_seed(0)
    shape = (max(1, VALUES // math.prod(unit)), *unit)
    given, gradient = (torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype) for _ in range(2))
    given.requires_grad_(learns)

    def work(way: Way) -> list[Tensor]:
        y = way(given)
        if not learns:
            return [y]
        # attention's result is a third of what it is given
        return [y.detach(), *torch.autograd.grad(y, given, gradient.flatten()[: y.numel()].view(y.shape))]

    # whoever counts what a step keeps is not to count this; a result that knew its graph would outlive a failure
    with saved_tensors_hooks(lambda value: value.detach(), lambda value: value):
        exact = work(ways[0])
        able = [0]
        for number, way in enumerate(ways[1:], 1):
            try:
                errors = [_distance(one, other) for one, other in zip(work(way), exact, strict=True)]
            except torch.OutOfMemoryError:
                raise  # says nothing about the kernel
            except Exception as error:  # noqa: BLE001 - whatever ends a kernel or its compiler, the library is there
                print(f"{title}: a fused kernel failed and is not used ({error!r})", file=sys.stderr, flush=True)
                continue
            if all(error < BOUND for error in errors):
                able.append(number)
            else:
                print(
                    f"{title}: a fused kernel differs from the library's on this GPU (by {max(errors):.1e}) "
                    "and is not used",
                    file=sys.stderr,
                    flush=True,
                )
        del exact
        times = _milliseconds([partial(work, ways[number]) for number in able])
    found = dict(zip(able, times, strict=True))
    best = min(able, key=found.__getitem__)
    taken = best if found[best] < MARGIN * found[0] else 0
    if len(able) > 1:
        shown = ", ".join(f"{found[number]:.3f} ms" for number in able[1:])
        verdict = "taken" if taken else "not used"
        print(f"{title}: {found[0]:.3f} ms, as a fused kernel {shown}, which is {verdict}", file=sys.stderr, flush=True)
    return Outcome(taken, tuple(found.get(number) for number in range(len(ways))))


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest error of a row, relative to the other's row, or to its mean row where that is larger."""
    size = torch.linalg.vector_norm(other, dim=-1, dtype=torch.float32)
    error = torch.linalg.vector_norm(one - other, dim=-1, dtype=torch.float32)
    return float((error / size.clamp_min(float(size.square().mean().sqrt()))).max())


def _milliseconds(works: Sequence[Callable[[], Any]]) -> list[float]:
    """Time of the current device for one call of each, medians of rounds in turns."""
    found = [[_call_milliseconds(work) for work in works] for _ in range(ROUNDS)]
    return [statistics.median(times) for times in zip(*found, strict=True)]


def _call_milliseconds(work: Callable[[], Any]) -> float:
    for pause in PAUSES:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(pause)
        start.record()
        for _ in range(CALLS):
            work()
        end.record()
        # a device that began before it had all calls may have waited for the processor
        waited = start.query()
        end.synchronize()
        if not waited:
            break
    return start.elapsed_time(end) / CALLS
