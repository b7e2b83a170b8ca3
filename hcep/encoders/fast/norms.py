"""Layer norms of frozen towers together with the sum before them.

On a GPU the sum and its norm are one Triton kernel (`norm_kernels`), which took 5.0 ms of a training step where torch's
kernels took 8.8 ms (docs/performance.md). Everywhere else the same is written in plain torch, which is the definition.

Shapes: W width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.progress import say


class Norm(NamedTuple):
    """Weight, bias and epsilon of a layer norm."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise over the last axis; mean and variance are float32 whatever the type of `x`."""
        return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)

    def after(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The sum ``x + y`` (or `x` alone) and the norm of that sum, the two things that a pre-norm block hands on."""
        if fused := fused_norm(x):
            return fused(x, y, self.weight, self.bias, self.eps, False)
        total = x if y is None else x + y
        return total, self(total)

    def twice(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The norm of ``x + y``, two times, because a post-norm block reads it in two places."""
        if fused := fused_norm(x):
            return fused(x, y, self.weight, self.bias, self.eps, True)
        normed = self(x + y)
        return normed, normed


def norm_of(module: nn.LayerNorm, dtype: torch.dtype) -> Norm:
    """A layer norm's weight and bias in another type."""
    return Norm(module.weight.to(dtype), module.bias.to(dtype), module.eps)


def fused_norm(x: Tensor) -> Callable[..., Any] | None:
    """The fused kernel for a tensor on a GPU; None where plain torch is to do the work."""
    return triton_norm(x.device) if x.is_cuda else None


@cache
def triton_norm(device: torch.device) -> Callable[..., Any] | None:
    """The fused kernel if it runs on the device; otherwise None, and the log says what is missing."""
    try:
        from hcep.encoders.fast.norm_kernels import AddNorm

        x = torch.ones(2, 16, device=device)
        AddNorm.apply(x, x, x[0], x[0], 1e-5, False)
    except Exception as error:  # noqa: BLE001 - whatever stops Triton or its compilers, plain torch does the same
        needs = "a C compiler (CC, gcc or clang) and Python's headers"
        say(f"the encoders run unfused on this GPU, slower: Triton, which needs {needs}, does not run ({error!r})")
        return None
    return AddNorm.apply
