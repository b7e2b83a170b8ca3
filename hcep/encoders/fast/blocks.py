"""Transformer blocks over frozen weights: few passes over memory, and no work whose result nobody reads.

The arithmetic is that of open_clip's ``ResidualAttentionBlock`` and of transformers' ``Wav2Vec2EncoderLayer``. Weights
are rearranged and rounded once, not in every step. Autograd keeps activations only, because no weight asks for a
gradient.

Shapes: B sequences, L positions, W width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from hcep.encoders.fast.norms import Norm

SHORT = 64  # positions up to which torch's memory-efficient attention was the fastest on a GPU (docs/performance.md)


class Linear(NamedTuple):
    """Weight ``(out, in)`` and bias ``(out,)`` of a linear map."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """``x W^T + b``."""
        return functional.linear(x, self.weight, self.bias)


class Block(NamedTuple):
    """One transformer block: H, its two norms, the attention's and the feed-forward's maps, and the activation."""

    heads: int
    first: Norm
    second: Norm
    qkv: Linear
    out: Linear
    up: Linear
    down: Linear
    activation: Callable[[Tensor], Tensor]

    def attend(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """Self-attention ``(B, L, W)``; with `causal` a position does not see those behind it."""
        q, k, v = split(self.qkv(x), self.heads, 3)
        with _short_attention(x):
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def feed(self, x: Tensor) -> Tensor:
        """The feed-forward part."""
        return self.down(self.activation(self.up(x)))

    def pre_norm(self, x: Tensor, normed: Tensor, following: Norm, *, causal: bool = False) -> tuple[Tensor, Tensor]:
        """The block as CLIP has it, with a norm before each of its two parts.

        `x` is the input ``(B, L, W)``, and `normed` the first norm of it. `following` is the first norm of the next
        block, which is computed in one pass with this block's last sum. The result is the output of the block, and
        `following` of that output. With `causal` a position does not see those behind it.
        """
        x, normed = self.second.after(x, self.attend(normed, causal=causal))
        return following.after(x, self.feed(normed))

    def post_norm(self, x: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
        """The block as wav2vec 2.0 has it, with a norm after each of its two sums.

        Input and output stand there twice with the same values: the one is added to what a part gives, the other is
        read by that part. So the two gradients reach the norm apart, and its kernel adds them.
        """
        x, same = self.first.twice(x, self.attend(same))
        return self.second.twice(x, self.feed(same))

    def pre_norm_at(self, x: Tensor, normed: Tensor, at: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Output ``(B, W)`` at one position of each sequence, for the last block, of which no other position is read.

        Of the other positions only keys and values are needed. Queries, both output maps and the feed-forward part are
        therefore computed for one position instead of L, forward and backward.

        Parameters
        ----------
        x, normed : Tensor (B, L, W)
            As in `pre_norm`.
        at : int64 Tensor (B,), optional
            Positions; the first of each sequence when left out.
        mask : bool Tensor (B, 1, 1, L), optional
            True where a key may be seen.
        """

        def pick(values: Tensor) -> Tensor:
            return values[:, 0] if at is None else values[torch.arange(len(values), device=values.device), at]

        width = x.shape[-1]
        query = Linear(self.qkv.weight[:width], self.qkv.bias[:width])(pick(normed))
        k, v = split(Linear(self.qkv.weight[width:], self.qkv.bias[width:])(normed), self.heads, 2)
        (q,) = split(query[:, None], self.heads, 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = pick(x) + self.out(mixed.flatten(1))
        return y + self.feed(self.second(y))


def split(joined: Tensor, heads: int, count: int) -> list[Tensor]:
    """``(B, L, n W)`` -> n tensors ``(B, H, L, W / H)``."""
    parts = joined.unflatten(-1, (count, heads, joined.shape[-1] // (count * heads))).unbind(2)
    # The parts are unbound before they are transposed, so that autograd joins their gradients in one pass.
    return [part.transpose(1, 2) for part in parts]


def linear_of(module: Any, dtype: torch.dtype, scale: float = 1.0, bias_scale: float = 1.0) -> Linear:
    """A linear layer's weight and bias, scaled in float32 and then rounded to `dtype`."""
    weight = module.weight if scale == 1 else module.weight * scale
    bias = module.bias if bias_scale == 1 else module.bias * bias_scale
    return Linear(weight.to(dtype), bias.to(dtype))


def _short_attention(x: Tensor) -> AbstractContextManager[Any]:
    """Context in which torch takes the attention that is its fastest on a GPU for sequences as short as `x`."""
    short = x.is_cuda and x.shape[1] <= SHORT and x.dtype == torch.bfloat16
    # The memory-efficient attention has no bf16 on cards before Ampere and does not know every width of heads; there
    # torch falls back on plain products.
    return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]) if short else nullcontext()
