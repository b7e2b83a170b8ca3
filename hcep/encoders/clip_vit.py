"""CLIP's vision transformer, taken apart into the steps between which prompts enter.

Shapes: N images, S side in pixels, L tokens, W width of the tower, D feature dimension.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ClipViT:
    """The steps of `hcep.encoders.vision.VisionSteps` by the tower's own modules, ours or open_clip's."""

    def __init__(self, tower: Any) -> None:
        self.tower = tower
        self.width: int = tower.class_embedding.shape[0]
        self.dim: int = tower.output_dim
        self.size: int = tower.image_size[0]
        self.layers: int = len(tower.transformer.resblocks)

    def tokens(self, images: Tensor) -> Tensor:
        """Class token and patches ``(N, L, W)`` of normalised images ``(N, 3, S, S)``, positions added."""
        x = self.tower.conv1(images).flatten(2).transpose(1, 2)
        start = self.tower.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        return torch.cat([start, x], dim=1) + self.tower.positional_embedding.to(x.dtype)

    def class_token(self) -> Tensor:
        """The class token ``(1, W)``, its position added."""
        return (self.tower.class_embedding + self.tower.positional_embedding[0])[None]

    def enter(self, x: Tensor) -> Tensor:
        """The norm before the first block."""
        return self.tower.ln_pre(x)

    def block(self, x: Tensor, layer: int) -> Tensor:
        """Output of one block."""
        return self.tower.transformer.resblocks[layer](x)

    def finish(self, x: Tensor, layer: int) -> Tensor:
        """Features ``(N, D)`` after the blocks from `layer` on, read at the class token."""
        for number in range(layer, self.layers):
            x = self.block(x, number)
        return self.tower.ln_post(x[:, 0]) @ self.tower.proj
