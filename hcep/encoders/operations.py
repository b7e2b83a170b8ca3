"""What stands between the matrix products of a frozen tower: the plain definition, and a GPU's kernels for it.

Shapes: B sequences, L positions, W width, H heads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from hcep.encoders.trial import Way, fastest

COARSE = torch.bfloat16  # the type of the fused activations and attention, which round as it does
TEXTS = 16  # texts are padded to a multiple of this, or taken for it, where every length has a cost of its own
SHORT = 64  # positions up to which the memory-efficient attention is the library's fastest (docs/performance.md)


class Kernels(NamedTuple):
    """The fused kernels, as autograd functions."""

    add_norm: Callable[..., Any]
    activation: Callable[..., Any]
    attention: Callable[..., Any]
    attention_fits: Callable[[Tensor, int], bool]


@cache
def triton_kernels(device: torch.device) -> Kernels | None:
    """The fused kernels, if one of them runs on the device."""
    try:
        from hcep.encoders import attention, kernels

        found = Kernels(kernels.AddNorm.apply, kernels.Activation.apply, attention.Attention.apply, attention.fits)
        x = torch.ones(2, 16, device=device)
        found.add_norm(x, x, x[0], x[0], 1e-5, False)
    except Exception as error:  # noqa: BLE001 - whatever ends Triton or its compilers, plain torch does the same
        print(
            "the encoders run unfused on this GPU, slower: Triton, which needs a C compiler (CC, gcc or clang) and "
            f"Python's headers, does not run ({error!r})",
            file=sys.stderr,
            flush=True,
        )
        return None
    return found


def fused_kernels(x: Tensor) -> Kernels | None:
    """The fused kernels for a tensor's device, or None: then plain torch does the same."""
    return triton_kernels(x.device) if x.is_cuda else None


def gelu(x: Tensor) -> Tensor:
    """``x`` times the normal distribution function at x (Hendrycks and Gimpel 2016)."""
    return _activation(x, functional.gelu, silu=False)


def silu(x: Tensor) -> Tensor:
    """``x`` times the logistic function at x."""
    return _activation(x, functional.silu, silu=True)


def _activation(x: Tensor, plain: Callable[[Tensor], Tensor], *, silu: bool) -> Tensor:
    fused = fused_kernels(x) if x.dtype == COARSE else None
    if fused is None:
        return plain(x)
    return fastest(plain.__name__, [plain, lambda value: fused.activation(value, silu)], x, (1024,))(x)


def attention(joined: Tensor, heads: int, *, causal: bool) -> Tensor:
    """Self-attention ``(B, L, W)`` of queries, keys and values that lie beside each other ``(B, L, 3 W)``."""
    plain = partial(plain_attention, heads=heads, causal=causal)
    fused = fused_kernels(joined) if joined.dtype == COARSE else None
    if fused is None or not fused.attention_fits(joined, heads):
        return plain(joined)
    ways: list[Way] = [plain, lambda value: fused.attention(value, heads, causal)]
    length, width = joined.shape[1:]
    if not causal:
        return fastest("attention", ways, joined, (length, width))(joined)
    # texts have as many lengths as the longest of a batch
    return fastest("causal attention", ways, joined, (-(-length // TEXTS) * TEXTS, width))(joined)


def plain_attention(joined: Tensor, heads: int, *, causal: bool) -> Tensor:
    """The library's attention, in the form that is its fastest."""
    q, k, v = split(joined, heads, 3)
    with _short_attention(joined):
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return mixed.transpose(1, 2).flatten(2)


def split(joined: Tensor, heads: int, count: int) -> list[Tensor]:
    """``(B, L, n W)`` -> n times ``(B, H, L, W / H)``."""
    parts = joined.unflatten(-1, (count, heads, joined.shape[-1] // (count * heads))).unbind(2)
    # unbound before it is transposed, so that the gradients are joined in one pass, in the order of `joined`
    return [part.transpose(1, 2) for part in parts]


def _short_attention(x: Tensor) -> AbstractContextManager[Any]:
    short = x.is_cuda and x.shape[1] <= SHORT and x.dtype == torch.bfloat16
    # which has no bf16 before Ampere, and no odd widths of heads
    return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]) if short else nullcontext()
