"""Self-attention of frozen towers on a GPU: read from the joined projection, its gradients written back joined.

Triton kernels in the manner of FlashAttention-2 (Dao 2023, algorithms 1 and 2), for sequences of a few hundred
positions at most. Nothing is added up by several programs at once, so a gradient is the same in every run.

Shapes: B sequences, L positions, H heads, D width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from hcep.encoders.kernels import FUSED

LOG2E = tl.constexpr(1.4426950408889634)  # the device has powers of two


@triton.jit
def _tile(base, rows, columns, stride, length):
    """Rows of a matrix, zeros behind its end."""
    return tl.load(base + rows[:, None] * stride + columns[None, :], mask=rows[:, None] < length, other=0.0)


@triton.jit
def _weights(q, k, offset, rows, columns, length, scale, CAUSAL: tl.constexpr):
    """exp(q k - offset), zero where a key is not seen."""
    seen = columns[None, :] < length
    if CAUSAL:
        seen = seen & (columns[None, :] <= rows[:, None])
    return tl.where(seen, tl.exp2(tl.dot(q, tl.trans(k), input_precision="ieee") * scale - offset[:, None]), 0.0)


@triton.jit
def _level(gradient, out):
    """What the softmax takes off the gradients of its scores."""
    return tl.sum(gradient.to(tl.float32) * out.to(tl.float32), axis=1)


@triton.jit
def _forward(
    joined, out, total, length, heads, scale,
    CAUSAL: tl.constexpr, ONE: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # blocks of one head follow each other, so that its keys and values are still in the cache
    blocks = tl.cdiv(length, BLOCK)
    pair = (tl.program_id(0) // blocks).to(tl.int64)
    block = tl.program_id(0) % blocks
    width = heads * D
    stride = 3 * width
    place = tl.arange(0, D)
    base = joined + pair // heads * length * stride + pair % heads * D
    rows = block * BLOCK + tl.arange(0, BLOCK)
    q = _tile(base, rows, place, stride, length)
    top = tl.full((BLOCK,), float("-inf"), tl.float32)
    mass = tl.zeros((BLOCK,), tl.float32)
    mixed = tl.zeros((BLOCK, D), tl.float32)
    # a constant end lets the compiler drop the loop
    end = BLOCK if ONE else tl.minimum(length, (block + 1) * BLOCK) if CAUSAL else length
    for start in range(0, end, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        k = _tile(base + width, columns, place, stride, length)
        v = _tile(base + 2 * width, columns, place, stride, length)
        score = tl.dot(q, tl.trans(k), input_precision="ieee") * (scale * LOG2E)
        seen = columns[None, :] < length
        if CAUSAL:
            seen = seen & (columns[None, :] <= rows[:, None])
        score = tl.where(seen, score, float("-inf"))
        # every row sees the first key, so that no maximum stays at -inf
        higher = tl.maximum(top, tl.max(score, axis=1))
        weight = tl.exp2(score - higher[:, None])
        shrink = tl.exp2(top - higher)
        mass = mass * shrink + tl.sum(weight, axis=1)
        mixed = mixed * shrink[:, None] + tl.dot(weight.to(v.dtype), v, input_precision="ieee")
        top = higher
    inside = rows < length
    mixed = mixed / mass[:, None]
    target = out + pair // heads * length * width + pair % heads * D + rows[:, None] * width + place[None, :]
    tl.store(target, mixed.to(out.dtype.element_ty), mask=inside[:, None])
    tl.store(total + pair * length + rows, top + tl.log2(mass), mask=inside)


@triton.jit
def _key_gradients(
    joined, out, total, levels, gradient, result, length, heads, scale,
    CAUSAL: tl.constexpr, ONE: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # blocks of one head follow each other, so that its keys and values are still in the cache
    blocks = tl.cdiv(length, BLOCK)
    pair = (tl.program_id(0) // blocks).to(tl.int64)
    block = tl.program_id(0) % blocks
    width = heads * D
    stride = 3 * width
    place = tl.arange(0, D)
    base = joined + pair // heads * length * stride + pair % heads * D
    target = result + pair // heads * length * stride + pair % heads * D
    single = pair // heads * length * width + pair % heads * D
    columns = block * BLOCK + tl.arange(0, BLOCK)
    k = _tile(base + width, columns, place, stride, length)
    v = _tile(base + 2 * width, columns, place, stride, length)
    dk = tl.zeros((BLOCK, D), tl.float32)
    dv = tl.zeros((BLOCK, D), tl.float32)
    start = block * BLOCK if CAUSAL and not ONE else 0
    end = BLOCK if ONE else length
    for begin in range(start, end, BLOCK):
        rows = begin + tl.arange(0, BLOCK)
        q = _tile(base, rows, place, stride, length)
        given = _tile(gradient + single, rows, place, width, length)
        offset = tl.load(total + pair * length + rows, mask=rows < length, other=0.0)
        if ONE:
            level = _level(given, _tile(out + single, rows, place, width, length))
        else:
            level = tl.load(levels + pair * length + rows, mask=rows < length, other=0.0)
        weight = _weights(q, k, offset, rows, columns, length, scale * LOG2E, CAUSAL)
        dv += tl.dot(tl.trans(weight.to(given.dtype)), given, input_precision="ieee")
        steep = tl.dot(given, tl.trans(v), input_precision="ieee") - level[:, None]
        steep = (weight * steep * scale).to(q.dtype)
        dk += tl.dot(tl.trans(steep), q, input_precision="ieee")
        if ONE:
            dq = tl.dot(steep, k, input_precision="ieee")
            to = target + rows[:, None] * stride + place[None, :]
            tl.store(to, dq.to(result.dtype.element_ty), mask=rows[:, None] < length)
    to = target + columns[:, None] * stride + place[None, :]
    inside = columns[:, None] < length
    tl.store(to + width, dk.to(result.dtype.element_ty), mask=inside)
    tl.store(to + 2 * width, dv.to(result.dtype.element_ty), mask=inside)


@triton.jit
def _query_gradients(
    joined, out, total, levels, gradient, result, length, heads, scale,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # blocks of one head follow each other, so that its keys and values are still in the cache
    blocks = tl.cdiv(length, BLOCK)
    pair = (tl.program_id(0) // blocks).to(tl.int64)
    block = tl.program_id(0) % blocks
    width = heads * D
    stride = 3 * width
    place = tl.arange(0, D)
    base = joined + pair // heads * length * stride + pair % heads * D
    single = pair // heads * length * width + pair % heads * D
    rows = block * BLOCK + tl.arange(0, BLOCK)
    q = _tile(base, rows, place, stride, length)
    given = _tile(gradient + single, rows, place, width, length)
    offset = tl.load(total + pair * length + rows, mask=rows < length, other=0.0)
    level = _level(given, _tile(out + single, rows, place, width, length))
    tl.store(levels + pair * length + rows, level, mask=rows < length)
    dq = tl.zeros((BLOCK, D), tl.float32)
    end = tl.minimum(length, (block + 1) * BLOCK) if CAUSAL else length
    for start in range(0, end, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        k = _tile(base + width, columns, place, stride, length)
        v = _tile(base + 2 * width, columns, place, stride, length)
        weight = _weights(q, k, offset, rows, columns, length, scale * LOG2E, CAUSAL)
        steep = tl.dot(given, tl.trans(v), input_precision="ieee") - level[:, None]
        dq += tl.dot((weight * steep * scale).to(k.dtype), k, input_precision="ieee")
    to = result + pair // heads * length * stride + pair % heads * D + rows[:, None] * stride + place[None, :]
    tl.store(to, dq.to(result.dtype.element_ty), mask=rows[:, None] < length)


def fits(joined: Tensor, heads: int) -> bool:
    """Whether the kernels are made for these shapes, heads of 16, 32 or 64, and for the card."""
    # before Ampere cards have no products of bf16, and the compiler takes a minute to put them together
    able = not joined.is_cuda or torch.cuda.get_device_capability(joined.device) >= (8, 0)
    return able and joined.shape[-1] // (3 * heads) in (16, 32, 64)


def launches(length: int, width: int, causal: bool) -> dict[str, tuple[Any, dict[str, Any]]]:
    """The kernels for L positions and heads of a width, with their constants and options: of the forward pass, of the
    gradients of queries where one program does not make all gradients, and of those of keys and values."""
    block = 64 if length > 32 else 32
    one = length <= block
    shared = {"CAUSAL": causal, "D": width, "BLOCK": block, "num_warps": 4, **FUSED}
    found = {"forward": (_forward, shared | {"ONE": one, "num_stages": 1 if one else 2})}
    if not one:
        found["queries"] = (_query_gradients, shared | {"num_stages": 2})
    # more stages do not fit into registers
    return found | {"keys": (_key_gradients, shared | {"ONE": one, "num_stages": 1})}


class Attention(torch.autograd.Function):
    """Softmax attention from ``(B, L, 3 H D)``, queries before keys before values, to ``(B, L, H D)``."""

    @staticmethod
    def forward(ctx: Any, joined: Tensor, heads: int, causal: bool) -> Tensor:
        """`causal`: a position sees none behind it."""
        joined = joined.contiguous()
        count, length, width = *joined.shape[:2], joined.shape[2] // 3
        out = joined.new_empty(count, length, width)
        total = torch.empty(count * heads * length, dtype=torch.float32, device=joined.device)
        ctx.sizes = (length, heads, (width // heads) ** -0.5)
        ctx.launches = launches(length, width // heads, causal)
        kernel, options = ctx.launches.pop("forward")
        ctx.grid = (count * heads * triton.cdiv(length, options["BLOCK"]),)
        kernel[ctx.grid](joined, out, total, *ctx.sizes, **options)
        ctx.save_for_backward(joined, out, total)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of `joined`."""
        joined, out, total = ctx.saved_tensors
        result = torch.empty_like(joined)
        levels = torch.empty_like(total)
        given = (joined, out, total, levels, gradients[0].contiguous(), result, *ctx.sizes)
        for kernel, options in ctx.launches.values():
            kernel[ctx.grid](*given, **options)
        return result, None, None
