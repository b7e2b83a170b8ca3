"""What frozen towers do between their matrix products, on a GPU: few passes over memory instead of many.

Triton kernels with their backward passes; weights get no gradient. The same arithmetic in plain torch stands where
they are called (`blocks.Norm`, `conv_stack.first_layer`), for other devices and as the definition.

Shapes: N rows, W width; B clips, T positions, C channels, k kernel, s stride.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS, PART = 64, 128  # positions and channels per product
SPAN = 1024  # positions per program of the backward pass


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
        # what is normalised is the sum as it is stored
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
    ONE: tl.constexpr, TWO: tl.constexpr, BESIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    inside = place < width
    found = tl.zeros((BLOCK,), dtype=tl.float32)
    if ONE:
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


def _warps(width: int) -> dict[str, int]:
    return {"BLOCK": triton.next_power_of_2(width), "num_warps": 4 if width > 512 else 2}


class AddNorm(torch.autograd.Function):
    """``t = x + y`` (or x alone) and its layer norm n; the gradients of both are joined in one pass.

    Gives ``(t, n)``, or with `twice` ``(n, n)``, for the two places where a residual tower reads its stream.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor | None, weight: Tensor, bias: Tensor, eps: float, twice: bool
    ) -> tuple[Tensor, Tensor]:
        """`x` and `y` are ``(..., W)``, `weight` and `bias` ``(W,)``."""
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
            ADD=y is not None, KEEP=total is not normed, **_warps(width),
        )  # fmt: skip
        ctx.save_for_backward(total, mean, spread, weight)
        ctx.twice = twice
        ctx.set_materialize_grads(False)
        return (normed, normed.detach()) if twice else (total, normed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """One gradient serves x and y."""
        total, mean, spread, weight = ctx.saved_tensors
        given = [None if value is None else value.contiguous() for value in gradients]
        beside = None if ctx.twice else given.pop(0)
        one, two = (*(value for value in given if value is not None), None, None)[:2]
        if one is None:
            return beside, beside, None, None, None, None
        result = torch.empty_like(total)
        width = total.shape[-1]
        _norm_backward[(mean.numel(),)](
            total, mean, spread, weight, one, one if two is None else two, one if beside is None else beside, result,
            width, ONE=True, TWO=two is not None, BESIDE=beside is not None, **_warps(width),
        )  # fmt: skip
        return result, result if ctx.needs_input_grad[1] else None, None, None, None, None


@triton.jit
def _windows(wave, row, inside, clip, needed, kernel, stride, WIDE: tl.constexpr):
    """Windows of the waveform ``(ROWS, WIDE)``: k samples, a one for the bias, zeros."""
    tap = tl.arange(0, WIDE)
    place = wave + clip * needed + row[:, None] * stride + tap[None, :]
    value = tl.load(place, mask=inside[:, None] & (tap < kernel)[None, :], other=0.0)
    return tl.where((tap == kernel)[None, :], 1.0, value)


@triton.jit
def _first_forward(
    wave, weight, result, needed, rows, kernel, stride,
    CHANNELS: tl.constexpr, PART: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    clip = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(2) * PART + tl.arange(0, PART)
    tap = tl.arange(0, WIDE)
    windows = _windows(wave, row, row < rows, clip, needed, kernel, stride, WIDE)
    filters = tl.load(weight + clip * WIDE * CHANNELS + tap[:, None] * CHANNELS + channel[None, :])
    z = tl.dot(windows.to(filters.dtype), filters, input_precision="ieee")
    value = 0.5 * z * (1.0 + tl.erf(z * 0.7071067811865476))
    place = result + (clip * rows + row[:, None]) * CHANNELS + channel[None, :]
    tl.store(place, value.to(result.dtype.element_ty), mask=(row < rows)[:, None])


@triton.jit
def _first_backward(
    wave, weight, gradient, to_windows, to_weight, needed, rows, kernel, stride,
    CHANNELS: tl.constexpr, PART: tl.constexpr, ROWS: tl.constexpr, SPAN: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    clip = tl.program_id(0).to(tl.int64)
    span = tl.program_id(1)
    part = tl.program_id(2)
    channel = part * PART + tl.arange(0, PART)
    tap = tl.arange(0, WIDE)
    filters = tl.load(weight + clip * WIDE * CHANNELS + tap[:, None] * CHANNELS + channel[None, :])
    filters_back = tl.load(weight + clip * WIDE * CHANNELS + tap[None, :] * CHANNELS + channel[:, None])
    summed = tl.zeros((PART, WIDE), dtype=tl.float32)
    for start in range(0, SPAN, ROWS):
        row = span * SPAN + start + tl.arange(0, ROWS)
        inside = row < rows
        windows = _windows(wave, row, inside, clip, needed, kernel, stride, WIDE).to(filters.dtype)
        z = tl.dot(windows, filters, input_precision="ieee")
        place = gradient + (clip * rows + row[:, None]) * CHANNELS + channel[None, :]
        given = tl.load(place, mask=inside[:, None], other=0.0).to(tl.float32)
        density = 0.3989422804014327 * tl.exp(-0.5 * z * z)
        back = (given * (0.5 * (1.0 + tl.erf(z * 0.7071067811865476)) + z * density)).to(filters.dtype)
        # the wide side first: matrix units take 64 rows at a time
        summed += tl.dot(tl.trans(back), windows, input_precision="ieee")
        to_row = tl.dot(back, filters_back, input_precision="ieee")
        place = to_windows + ((part * tl.num_programs(0) + clip) * rows + row[:, None]) * WIDE + tap[None, :]
        tl.store(place, to_row, mask=inside[:, None])
    place = to_weight + (clip * tl.num_programs(1) + span) * WIDE * CHANNELS
    tl.store(place + channel[:, None] * WIDE + tap[None, :], summed)


class FirstLayer(torch.autograd.Function):
    """``gelu(z)``, ``z = windows @ weight``; windows are made where they are used, and z again on the way back."""

    @staticmethod
    def forward(ctx: Any, wave: Tensor, weight: Tensor, rows: int, kernel: int, stride: int) -> Tensor:
        """`wave` float32 ``(B, (T - 1) s + k)``, `weight` ``(B, 16, C)``: k taps, the bias, zeros."""
        wave, weight = wave.contiguous(), weight.contiguous()
        clips, wide, channels = weight.shape
        result = torch.empty((clips, rows, channels), dtype=weight.dtype, device=wave.device)
        part = min(channels, PART)
        _first_forward[(clips, triton.cdiv(rows, ROWS), channels // part)](
            wave, weight, result, wave.shape[1], rows, kernel, stride,
            CHANNELS=channels, PART=part, ROWS=ROWS, WIDE=wide,
        )  # fmt: skip
        ctx.save_for_backward(wave, weight)
        ctx.sizes = rows, kernel, stride
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the waveform, to which every window adds its own, and of the clips' weights."""
        wave, weight = ctx.saved_tensors
        rows, kernel, stride = ctx.sizes
        clips, wide, channels = weight.shape
        spans, part = triton.cdiv(rows, SPAN), min(channels, PART)
        parts = channels // part
        to_windows = torch.empty((parts, clips, rows, wide), dtype=torch.float32, device=wave.device)
        to_weight = torch.empty((clips, spans, channels, wide), dtype=torch.float32, device=wave.device)
        _first_backward[(clips, spans, parts)](
            wave, weight, gradients[0].contiguous(), to_windows, to_weight, wave.shape[1], rows, kernel, stride,
            CHANNELS=channels, PART=part, ROWS=ROWS, SPAN=SPAN, WIDE=wide,
        )  # fmt: skip
        to_windows = to_windows.sum(dim=0)
        # taps that lie a stride apart meet the same samples: a sum of shifted columns, in a fixed order
        result = torch.zeros((clips, rows + kernel // stride, stride), dtype=torch.float32, device=wave.device)
        for first in range(0, kernel, stride):
            count, shift = min(stride, kernel - first), first // stride
            result[:, shift : shift + rows, :count] += to_windows[:, :, first : first + count]
        return result.flatten(1)[:, : wave.shape[1]], to_weight.sum(dim=1).mT.to(weight.dtype), None, None, None
