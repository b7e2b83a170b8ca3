"""The sum of two tensors and its layer norm as one Triton kernel, and its backward pass as another.

The weights of the norm get no gradient. `norms.Norm` has the same arithmetic in plain torch, which is the definition.

Shapes: W width.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

# A product and the sum that takes it in become one instruction, whatever the default of Triton's release is.
FUSED: dict[str, Any] = {"enable_fp_fusion": True}


@triton.jit
def _norm_forward(
    x, y, total, normed, mean, spread, weight, bias, eps, width,
    ADD: tl.constexpr, KEEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    inside = place < width
    value = tl.load(x + row * width + place, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        value += tl.load(y + row * width + place, mask=inside, other=0.0).to(tl.float32)
        # The norm is taken of the sum as it is stored, that is, after it was rounded.
        value = value.to(total.dtype.element_ty).to(tl.float32)
        if KEEP:
            tl.store(total + row * width + place, value.to(total.dtype.element_ty), mask=inside)
    middle = tl.sum(value, axis=0) / width
    centred = tl.where(inside, value - middle, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / width + eps)
    gain = tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + place, mask=inside, other=0.0).to(tl.float32)
    result = centred * scale * gain + shift
    tl.store(normed + row * width + place, result.to(normed.dtype.element_ty), mask=inside)
    tl.store(mean + row, middle)
    tl.store(spread + row, scale)


@triton.jit
def _norm_backward(
    total, mean, spread, weight, one, two, beside, result, width,
    TWO: tl.constexpr, BESIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    inside = place < width
    gradient = tl.load(one + row * width + place, mask=inside, other=0.0).to(tl.float32)
    if TWO:
        gradient += tl.load(two + row * width + place, mask=inside, other=0.0).to(tl.float32)
    gradient *= tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(total + row * width + place, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(spread + row)
    unit = tl.where(inside, (value - tl.load(mean + row)) * scale, 0.0)
    along = tl.sum(gradient * unit, axis=0) / width
    level = tl.sum(gradient, axis=0) / width
    found = (gradient - unit * along - level) * scale
    if BESIDE:
        found += tl.load(beside + row * width + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(result + row * width + place, found.to(result.dtype.element_ty), mask=inside)


def norm_options(width: int) -> dict[str, Any]:
    """The constants and the compiler's options with which both kernels are called for a width."""
    return {"BLOCK": triton.next_power_of_2(width), "num_warps": 4 if width > 512 else 2, **FUSED}


class AddNorm(torch.autograd.Function):
    """The sum ``t = x + y`` (or x alone) and its layer norm n; the backward pass joins the gradients of both.

    The result is ``(t, n)``. With `twice` it is ``(n, n)``, for a tower that reads the norm in two places.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor | None, weight: Tensor, bias: Tensor, eps: float, twice: bool
    ) -> tuple[Tensor, Tensor]:
        """Sum and norm of `x` and `y`, both ``(..., W)``, with `weight` and `bias` ``(W,)``."""
        width = x.shape[-1]
        x = x.contiguous()
        y = None if y is None else y.contiguous()
        rows = x.numel() // width
        learns = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        normed = torch.empty_like(x)
        total = x if y is None else torch.empty_like(x) if learns or not twice else normed
        mean, spread = (torch.empty(rows, dtype=torch.float32, device=x.device) for _ in range(2))
        _norm_forward[(rows,)](
            x, x if y is None else y, total, normed, mean, spread, weight, bias, eps, width,
            ADD=y is not None, KEEP=total is not normed, **norm_options(width),
        )  # fmt: skip
        ctx.save_for_backward(total, mean, spread, weight)
        ctx.twice = twice
        ctx.set_materialize_grads(False)
        return (normed, normed.detach()) if twice else (total, normed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradient of the sum, which is that of x and that of y."""
        total, mean, spread, weight = ctx.saved_tensors
        given = [None if value is None else value.contiguous() for value in gradients]
        beside = None if ctx.twice else given.pop(0)
        one, two = (*(value for value in given if value is not None), None, None)[:2]
        both = ctx.needs_input_grad[1]
        if one is None:
            return beside, beside if both else None, None, None, None, None
        result = torch.empty_like(total)
        width = total.shape[-1]
        _norm_backward[(mean.numel(),)](
            total, mean, spread, weight, one, one if two is None else two, one if beside is None else beside, result,
            width, TWO=two is not None, BESIDE=beside is not None, **norm_options(width),
        )  # fmt: skip
        return result, result if both else None, None, None, None, None
