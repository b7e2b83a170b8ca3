"""CLIP's ViT with a place for prompts: images -> features.

Shapes: N images, S side in pixels, P prompt tokens, W width of the tower (768), D feature dimension (512).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from open_clip.model import CLIP
from torch import Tensor, nn


class VisionEncoder(nn.Module):
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
