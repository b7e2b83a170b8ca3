"""CLIP's ViT with a place for prompts: images -> features.

Shapes: N images, S side in pixels, p side of a patch, P prompt tokens, W width of the tower (768), D feature dimension
(512).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional

from hcep.encoders.blocks import Block, FrozenModule, Norm, clip_blocks, compute_type, norm_of, own_types


class VisionForm(NamedTuple):
    """The vision tower: patch filters, class token, positions, norms, blocks and projection.

    Attributes
    ----------
    patches : Tensor (W, 3, p, p)
        Filters for normalised images.
    pixels : Tensor (W, p p 3)
        The same for stored pixels 0 .. 255, channels last: division by 255 and by the deviation are in the filters.
    shift : Tensor (W,)
        What subtracting the mean then adds to every patch.
    """

    patches: Tensor
    pixels: Tensor
    shift: Tensor
    start: Tensor
    positions: Tensor
    enter: Norm
    blocks: list[Block]
    leave: Norm
    project: Tensor

    def images(self, images: Tensor, prompts: Tensor | None) -> Tensor:
        """Features ``(N, D)`` of normalised images ``(N, 3, S, S)``."""
        x = functional.conv2d(images.to(self.patches.dtype), self.patches, stride=self.patches.shape[-1])
        return self.features(x.flatten(2).transpose(1, 2), prompts)

    def frames(self, frames: Tensor, absent: Tensor, prompts: Tensor | None) -> Tensor:
        """Features ``(N, D)`` of stored frames ``(N, S, S, 3)``; zeros after normalisation where `absent` ``(N,)``."""
        side = self.patches.shape[-1]
        rows = frames.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        # whole numbers up to 256 are exact in bf16
        rows = rows.to(self.pixels.dtype, memory_format=torch.contiguous_format).flatten(3).flatten(1, 2)
        x = functional.linear(rows, self.pixels, self.shift).masked_fill_(absent[:, None, None], 0.0)
        return self.features(x, prompts)

    def features(self, x: Tensor, prompts: Tensor | None) -> Tensor:
        """Features ``(N, D)`` of patches ``(N, L, W)``."""
        x = x + self.positions[1:]
        x = torch.cat([(self.start + self.positions[0]).expand(len(x), 1, -1), x], dim=1)
        count = x.shape[1]
        layers = [] if prompts is None else [prompts] if prompts.dim() == 2 else list(prompts)
        for layer, block in enumerate(self.blocks):
            if layer < len(layers):
                x = torch.cat([x[:, :count], layers[layer].to(x.dtype).expand(len(x), -1, -1)], dim=1)
            if layer == 0:
                x = self.enter(x)
            if layer == 0 or layer < len(layers):
                x, normed = block.first.after(x)
            if layer < len(self.blocks) - 1:
                x, normed = block.pre_norm(x, normed, self.blocks[layer + 1].first)
        x = self.blocks[-1].pre_norm_at(x, normed)
        return self.leave(x.float()) @ self.project


class VisionEncoder(FrozenModule):
    """Frozen CLIP vision transformer.

    Attributes
    ----------
    width : int
        Size of a patch token, where prompts enter.
    dim : int
        Size of a feature.
    size : int
        Side of the input image in pixels.
    layers : int
        Number of transformer blocks, for deep prompts.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, clip: CLIP, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.tower = clip.visual
        self.width: int = self.tower.class_embedding.shape[0]
        self.dim: int = self.tower.output_dim
        self.size: int = self.tower.image_size[0]
        self.layers: int = len(self.tower.transformer.resblocks)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 frames ``(..., S, S, 3)`` -> floats ``(..., 3, S, S)`` with CLIP's mean and deviation."""
        x = frames.movedim(-1, -3).to(self.mean.dtype) / 255
        return (x - self.mean) / self.std

    def encode_frames(self, frames: Tensor, absent: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Features ``(N, D)`` of frames as they are stored; no gradient reaches them.

        Parameters
        ----------
        frames : uint8 Tensor (N, S, S, 3)
            Stored frames.
        absent : bool Tensor (N,)
            Frames for which zeros after the normalisation stand in.
        prompts : Tensor, optional
            As in `forward`.
        """
        form = self.form(compute_type(frames))
        if form is not None:
            with own_types(frames):
                return form.frames(frames, absent, prompts)
        return self(self.normalise(frames).masked_fill(absent[:, None, None, None], 0.0), prompts)

    def forward(self, images: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Features ``(N, D)``, not normalised.

        Parameters
        ----------
        images : Tensor (N, 3, S, S)
            Normalised images.
        prompts : Tensor (P, W) or (layers, P, W), optional
            Tokens that enter after the positional embedding and before ``ln_pre``, without a position of their own
            (VPT-shallow, Jia et al. 2022; paper eq. 3, second term). A third axis gives fresh tokens to every block
            (VPT-deep).
        """
        form = self.form(compute_type(images))
        if form is not None:
            with own_types(images):
                return form.images(images, prompts)
        tower = self.tower
        x = tower.conv1(images).flatten(2).transpose(1, 2)
        start = tower.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = torch.cat([start, x], dim=1) + tower.positional_embedding.to(x.dtype)
        if prompts is None:
            x = tower.transformer(tower.ln_pre(x))
        elif prompts.dim() == 2:
            x = torch.cat([x, prompts.to(x.dtype).expand(len(x), -1, -1)], dim=1)
            x = tower.transformer(tower.ln_pre(x))
        else:
            patches = x.shape[1]
            x = torch.cat([x, prompts[0].to(x.dtype).expand(len(x), -1, -1)], dim=1)
            x = tower.ln_pre(x)
            for layer, block in enumerate(tower.transformer.resblocks):
                if layer:
                    x = torch.cat([x[:, :patches], prompts[layer].to(x.dtype).expand(len(x), -1, -1)], dim=1)
                x = block(x)
        pooled = tower.ln_post(x[:, 0])
        return pooled @ tower.proj

    def rearrange(self, dtype: torch.dtype) -> VisionForm | None:
        """Second form of CLIP's ViT."""
        tower = self.tower
        blocks = clip_blocks(tower.transformer, dtype)
        if blocks is None or not isinstance(tower.ln_pre, nn.LayerNorm):
            return None
        filters = tower.conv1.weight / (255 * self.std)
        pixels = filters.permute(0, 2, 3, 1).flatten(1).to(dtype)
        # from the rounded filters, so that an image of the mean's colour is zero in bf16 too
        mean = (255 * self.mean).flatten().repeat(pixels.shape[1] // 3)
        return VisionForm(
            tower.conv1.weight.to(dtype),
            pixels,
            -(pixels.float() @ mean).to(dtype),
            tower.class_embedding.to(dtype),
            tower.positional_embedding.to(dtype),
            norm_of(tower.ln_pre, dtype),
            blocks,
            norm_of(tower.ln_post, torch.float32),
            tower.proj,
        )
