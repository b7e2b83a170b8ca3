"""The fast forms of CLIP's two towers, ours or open_clip's.

Shapes: B texts, N images, L positions, S side of an image in pixels, p side of a patch, W width, D feature dimension.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.encoders.class_name import class_name
from hcep.encoders.fast.blocks import Block, Linear, linear_of
from hcep.encoders.fast.norms import Norm, norm_of
from hcep.encoders.plain.clip import QuickGELU, ResidualAttentionBlock

QUICK = 1.702  # QuickGELU is x * sigmoid(1.702 x) = silu(1.702 x) / 1.702 (Hendrycks and Gimpel 2016, section 2)
BLOCKS = (class_name(ResidualAttentionBlock), "open_clip.transformer.ResidualAttentionBlock")
QUICK_GELU = (class_name(QuickGELU), "open_clip.transformer.QuickGELU")


class TextForm(NamedTuple):
    """The text tower behind its embedding: blocks (the last one at the end mark alone), last norm and projection."""

    blocks: list[Block]
    last_norm: Norm
    project: Tensor
    dtype: torch.dtype

    def __call__(self, x: Tensor, end: Tensor) -> Tensor:
        """Features ``(B, D)`` of embedded tokens ``(B, L, W)``, read at the positions `end` of the end marks."""
        x = x.to(self.dtype)
        x, normed = self.blocks[0].first.after(x)
        for block, following in pairwise(self.blocks):
            x, normed = block.pre_norm(x, normed, following.first, causal=True)
        seen = torch.arange(x.shape[1], device=x.device) <= end[:, None]
        x = self.blocks[-1].pre_norm_at(x, normed, end, seen[:, None, None])
        return self.last_norm(x.float()) @ self.project


class VisionForm(NamedTuple):
    """The vision tower: patch filters, class token, positions, norms, blocks and projection.

    Attributes
    ----------
    patches : Tensor (W, 3, p, p)
        Filters for normalised images.
    pixels : Tensor (W, p p 3)
        Filters for stored pixels 0 .. 255, channels last. They divide by 255 and by the standard deviation.
    shift : Tensor (W,)
        What the subtraction of the mean adds to every patch when `pixels` are used.
    """

    patches: Tensor
    pixels: Tensor
    shift: Tensor
    start: Tensor
    positions: Tensor
    first_norm: Norm
    blocks: list[Block]
    last_norm: Norm
    project: Tensor

    def tokens(self, images: Tensor) -> Tensor:
        """Class token and patches ``(N, L, W)`` of normalised images ``(N, 3, S, S)``."""
        x = functional.conv2d(images.to(self.patches.dtype), self.patches, stride=self.patches.shape[-1])
        return self._place(x.flatten(2).transpose(1, 2))

    def stored_tokens(self, frames: Tensor, absent: Tensor) -> Tensor:
        """Class token and patches ``(N, L, W)`` of stored frames ``(N, S, S, 3)``, without a pass that normalises them.

        Frames that are `absent` ``(N,)`` count as zeros after the normalisation.
        """
        side = self.patches.shape[-1]
        rows = frames.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        # Whole numbers up to 256 are exact in bf16, so that nothing is lost before the product.
        rows = rows.to(self.pixels.dtype, memory_format=torch.contiguous_format).flatten(3).flatten(1, 2)
        x = functional.linear(rows, self.pixels, self.shift).masked_fill_(absent[:, None, None], 0.0)
        return self._place(x)

    def class_token(self) -> Tensor:
        """The class token ``(1, W)``, its position added."""
        return (self.start + self.positions[0])[None]

    def enter(self, x: Tensor) -> Tensor:
        """The norm before the first block."""
        return self.first_norm(x)

    def block(self, x: Tensor, layer: int) -> Tensor:
        """Output of one block, which is not the last."""
        block = self.blocks[layer]
        x, normed = block.first.after(x)
        x, normed = block.second.after(x, block.attend(normed))
        return x + block.feed(normed)

    def finish(self, x: Tensor, layer: int) -> Tensor:
        """Features ``(N, D)`` after the blocks from `layer` on; the last one is computed for the class token alone."""
        x, normed = self.blocks[layer].first.after(x)
        for block, following in pairwise(self.blocks[layer:]):
            x, normed = block.pre_norm(x, normed, following.first)
        x = self.blocks[-1].pre_norm_at(x, normed)
        return self.last_norm(x.float()) @ self.project

    def _place(self, x: Tensor) -> Tensor:
        """Put the class token before patches ``(N, L - 1, W)`` and add the positions."""
        return torch.cat([self.start.expand(len(x), 1, -1), x], dim=1) + self.positions


def text_form(encoder: Any, dtype: torch.dtype) -> TextForm | None:
    """The fast form of a `TextEncoder` over open_clip's text tower; None when its blocks are not the plain ones."""
    blocks, last = clip_blocks(encoder.transformer, dtype), norm_of(encoder.ln_final, torch.float32)
    return TextForm(blocks, last, encoder.text_projection, dtype) if blocks else None


def vision_form(encoder: Any, dtype: torch.dtype) -> VisionForm | None:
    """The fast form of a `VisionEncoder` over open_clip's ViT; None when its blocks or first norm are not plain."""
    tower = encoder.tower
    blocks = clip_blocks(tower.transformer, dtype)
    if blocks is None or not isinstance(tower.ln_pre, nn.LayerNorm):
        return None
    filters = tower.conv1.weight / (255 * encoder.std)
    pixels = filters.permute(0, 2, 3, 1).flatten(1).to(dtype)
    # The shift comes from the rounded filters, so that an image of the mean's colour is zero in bf16 too.
    mean = (255 * encoder.mean).flatten().repeat(pixels.shape[1] // 3)
    patches, shift = tower.conv1.weight.to(dtype), -(pixels.float() @ mean).to(dtype)
    start, places = tower.class_embedding.to(dtype), tower.positional_embedding.to(dtype)
    first, last = norm_of(tower.ln_pre, dtype), norm_of(tower.ln_post, torch.float32)
    return VisionForm(patches, pixels, shift, start, places, first, blocks, last, tower.proj)


def clip_blocks(transformer: Any, dtype: torch.dtype) -> list[Block] | None:
    """The blocks of one of CLIP's towers; None when they are not the plain ones."""
    blocks = []
    for module in transformer.resblocks:
        activation = getattr(getattr(module, "mlp", None), "gelu", None)
        plain = class_name(type(module)) in BLOCKS and isinstance(module.ls_1, nn.Identity)
        is_quick = class_name(type(activation)) in QUICK_GELU
        if not plain or not (is_quick or type(activation) is nn.GELU) or module.attn.in_proj_bias is None:
            return None
        attention = module.attn
        norms = norm_of(module.ln_1, dtype), norm_of(module.ln_2, dtype)
        qkv = Linear(attention.in_proj_weight.to(dtype), attention.in_proj_bias.to(dtype))
        out = linear_of(attention.out_proj, dtype)
        # The factors of QuickGELU move into the maps around it. So the widest activation of the block is passed over
        # once instead of three times.
        quick, gelu = (QUICK, functional.silu) if is_quick else (1.0, functional.gelu)
        up, down = linear_of(module.mlp.c_fc, dtype, quick, quick), linear_of(module.mlp.c_proj, dtype, 1 / quick)
        blocks.append(Block(attention.num_heads, *norms, qkv, out, up, down, gelu))
    return blocks
