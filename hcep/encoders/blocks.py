"""Transformer blocks over frozen weights: few passes over memory, and no work whose result nobody reads.

The arithmetic is that of open_clip's ``ResidualAttentionBlock`` and of transformers' ``Wav2Vec2EncoderLayer``. Weights
are rearranged and rounded once, not in every step; autograd keeps activations only, as no weight asks for a gradient.

Shapes: B sequences, L positions, W width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, Transformer
from torch import Tensor, nn
from torch.nn import functional

from hcep.encoders.operations import attention, fused_kernels, gelu, silu, split

QUICK = 1.702  # QuickGELU is x * sigmoid(1.702 x) = silu(1.702 x) / 1.702 (Hendrycks and Gimpel 2016, section 2)


class Linear(NamedTuple):
    """Weight ``(out, in)`` and bias ``(out,)`` of a linear map."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """``x W^T + b``."""
        return functional.linear(x, self.weight, self.bias)


class Norm(NamedTuple):
    """Weight, bias and epsilon of a layer norm."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise over the last axis; statistics are float32 whatever the type of `x`."""
        return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)

    def after(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The stream ``x + y`` (or x), and it normalised: what a pre-norm tower carries on."""
        if fused := fused_kernels(x):
            return fused.add_norm(x, y, self.weight, self.bias, self.eps, False)
        total = x if y is None else x + y
        return total, self(total)

    def twice(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """``x + y`` normalised, for the two places that read it in a post-norm tower."""
        if fused := fused_kernels(x):
            return fused.add_norm(x, y, self.weight, self.bias, self.eps, True)
        normed = self(x + y)
        return normed, normed


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
        """Self-attention ``(B, L, W)``."""
        return self.out(attention(self.qkv(x), self.heads, causal=causal))

    def feed(self, x: Tensor) -> Tensor:
        """The feed-forward part."""
        return self.down(self.activation(self.up(x)))

    def pre_norm(self, x: Tensor, normed: Tensor, following: Norm, *, causal: bool = False) -> tuple[Tensor, Tensor]:
        """The block as CLIP has it, norms before each part: from the stream and it normalised to the next block's."""
        x, normed = self.second.after(x, self.attend(normed, causal=causal))
        return following.after(x, self.feed(normed))

    def post_norm(self, x: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
        """The block as wav2vec 2.0 has it, norms after each sum; input and output twice, for the sum and the part."""
        x, same = self.first.twice(x, self.attend(same))
        return self.second.twice(x, self.feed(same))

    def pre_norm_at(self, x: Tensor, normed: Tensor, at: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Output ``(B, W)`` at one position of each sequence: what the last block is read at.

        Only keys and values of the others enter it, so queries, both output maps and the feed-forward part are
        computed for one position instead of L, forward and backward.

        Parameters
        ----------
        x, normed : Tensor (B, L, W)
            Input of the block, and it normalised.
        at : int64 Tensor (B,), optional
            Positions; the first of each when left out.
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


class FrozenModule(nn.Module):
    """A module that keeps its frozen weights a second time, in the form and type that are fastest.

    The second form is made on first use, and again after a weight was moved or written to. There is none for an
    architecture that it does not know, nor while a weight learns (as in the pretraining of the small encoders) or
    another tensor stands in its place (`torch.func.functional_call`): then the library's own modules run.
    """

    def __init__(self) -> None:
        super().__init__()
        self._forms: dict[torch.dtype, Any] = {}
        self._places: list[tuple[dict[str, nn.Parameter | None], str, nn.Parameter]] = []
        self._stamps: list[tuple[int, int]] = []

    def rearrange(self, dtype: torch.dtype) -> Any:
        """The weights in their second form; None for an architecture that has none."""
        raise NotImplementedError

    def form(self, dtype: torch.dtype) -> Any:
        """The second form in `dtype`, or None."""
        if not self._places:
            self._places = [
                (part._parameters, name, value)
                for part in self.modules()
                for name, value in part._parameters.items()
                if value is not None
            ]
        if any(held[name] is not value or value.requires_grad for held, name, value in self._places):
            self._places = []
            return None
        stamps = [(value._version, value.data_ptr()) for _, _, value in self._places]
        if stamps != self._stamps:
            self._forms, self._stamps = {}, stamps
        if dtype not in self._forms:
            with torch.no_grad():
                self._forms[dtype] = self.rearrange(dtype)
        return self._forms[dtype]


def compute_type(x: Tensor) -> torch.dtype:
    """The type to compute in: autocast's inside `torch.autocast`, float32 elsewhere."""
    return torch.get_autocast_dtype(x.device.type) if _autocast(x) else torch.float32


def own_types(x: Tensor) -> AbstractContextManager[Any]:
    """Context in which autocast leaves the types of the second form alone."""
    return torch.autocast(x.device.type, enabled=False) if _autocast(x) else nullcontext()


def _autocast(x: Tensor) -> bool:
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def linear_of(module: Any, dtype: torch.dtype, scale: float = 1.0, bias_scale: float = 1.0) -> Linear:
    """A linear layer's weight and bias, scaled in float32, then rounded."""
    weight = module.weight if scale == 1 else module.weight * scale
    bias = module.bias if bias_scale == 1 else module.bias * bias_scale
    return Linear(weight.to(dtype), bias.to(dtype))


def norm_of(module: nn.LayerNorm, dtype: torch.dtype) -> Norm:
    """A layer norm's weight and bias."""
    return Norm(module.weight.to(dtype), module.bias.to(dtype), module.eps)


def clip_blocks(transformer: Transformer, dtype: torch.dtype) -> list[Block] | None:
    """The blocks of one of open_clip's towers; None when they are not the plain ones."""
    blocks = []
    for module in transformer.resblocks:
        activation = getattr(getattr(module, "mlp", None), "gelu", None)
        plain = type(module) is ResidualAttentionBlock and isinstance(module.ls_1, nn.Identity)
        if not plain or type(activation) not in (QuickGELU, nn.GELU) or module.attn.in_proj_bias is None:
            return None
        quick = QUICK if type(activation) is QuickGELU else 1.0
        blocks.append(
            Block(
                module.attn.num_heads,
                norm_of(module.ln_1, dtype),
                norm_of(module.ln_2, dtype),
                Linear(module.attn.in_proj_weight.to(dtype), module.attn.in_proj_bias.to(dtype)),
                linear_of(module.attn.out_proj, dtype),
                # the factors of QuickGELU move into the maps around it: one pass over the widest activation, not three
                linear_of(module.mlp.c_fc, dtype, quick, quick),
                linear_of(module.mlp.c_proj, dtype, 1 / quick),
                silu if quick != 1 else gelu,
            )
        )
    return blocks


def wav2vec_block(module: Any, dtype: torch.dtype) -> Block:
    """One ``Wav2Vec2EncoderLayer``; its three projections become one."""
    parts = [module.attention.q_proj, module.attention.k_proj, module.attention.v_proj]
    weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
    return Block(
        module.attention.num_heads,
        norm_of(module.layer_norm, dtype),
        norm_of(module.final_layer_norm, dtype),
        Linear(weight.to(dtype), bias.to(dtype)),
        linear_of(module.attention.out_proj, dtype),
        linear_of(module.feed_forward.intermediate_dense, dtype),
        linear_of(module.feed_forward.output_dense, dtype),
        gelu,
    )
