"""Vision towers with a place for prompts: images -> features.

Shapes: N images, S side in pixels, L tokens, P prompt tokens, W width of the tower (768), D feature dimension (512).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from open_clip.model import CLIP
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from hcep.encoders.clip_vit import ClipViT
from hcep.encoders.frozen import FrozenModule, compute_type, own_types
from hcep.errors import HcepError


class VisionSteps(Protocol):
    """What the forward pass needs of a vision tower: the steps between which prompts enter."""

    def tokens(self, images: Tensor) -> Tensor:
        """Tokens ``(N, L, W)`` of normalised images ``(N, 3, S, S)``, positions added."""

    def enter(self, x: Tensor) -> Tensor:
        """What the tower does with the tokens before its first block."""

    def block(self, x: Tensor, layer: int) -> Tensor:
        """Output of one block, for a block that is not the last."""

    def finish(self, x: Tensor, layer: int) -> Tensor:
        """Features ``(N, D)``, not normalised, after the blocks from `layer` to the last."""


class LibraryTower(VisionSteps, Protocol):
    """The steps of a tower by its library's own modules, and its sizes as `VisionEncoder` names them."""

    width: int
    dim: int
    size: int
    layers: int


# Families of towers, by the class that the library builds. To add a family, write such a class and enter it here.
FAMILIES: dict[type[nn.Module], Callable[[Any], LibraryTower]] = {VisionTransformer: ClipViT}


class VisionEncoder(FrozenModule):
    """Frozen vision tower.

    Parameters
    ----------
    clip : CLIP
        Model whose vision tower (``clip.visual``) is used.
    mean, std : sequence of float
        Mean and standard deviation of the three colours, for pixels between 0 and 1.

    Attributes
    ----------
    tower : nn.Module
        The library's module.
    width : int
        Size of a patch token, where prompts enter.
    dim : int
        Size of a feature.
    size : int
        Side of the input image in pixels.
    layers : int
        Number of transformer blocks, for deep prompts.

    Raises
    ------
    HcepError
        When the tower belongs to none of the `FAMILIES`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, clip: CLIP, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.tower = clip.visual
        family = FAMILIES.get(type(self.tower))
        if family is None:
            known = ", ".join(sorted(each.__name__ for each in FAMILIES))
            raise HcepError(
                f"vision towers of the class {type(self.tower).__name__} are not supported",
                remedy=f"choose a `clip` of open_clip whose vision tower is one of: {known}",
            )
        self.steps = family(self.tower)
        self.width, self.dim = self.steps.width, self.steps.dim
        self.size, self.layers = self.steps.size, self.steps.layers
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    def core(self) -> nn.Module:
        """The library's tower."""
        return self.tower

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 frames ``(..., S, S, 3)`` -> floats ``(..., 3, S, S)`` with the tower's mean and deviation."""
        x = frames.movedim(-1, -3).to(self.mean.dtype) / 255
        return (x - self.mean) / self.std

    def encode_frames(self, frames: Tensor, absent: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Features ``(N, D)`` of frames as they are stored; no gradient reaches the frames.

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
        if form is None:
            return self(self.normalise(frames).masked_fill(absent[:, None, None, None], 0.0), prompts)
        with own_types(frames):
            return features_of(form, form.stored_tokens(frames, absent), prompts)

    def forward(self, images: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Features ``(N, D)``, not normalised.

        Parameters
        ----------
        images : Tensor (N, 3, S, S)
            Normalised images.
        prompts : Tensor (P, W) or (layers, P, W), optional
            Tokens that enter behind the patches, after the positional embedding and before the tower's first norm,
            without a position of their own (VPT-shallow, Jia et al. 2022; paper eq. 3, second term). With a third axis
            the first blocks, as many as that axis is long, each get fresh tokens in place of the last ones (VPT-deep).
        """
        form = self.form(compute_type(images))
        if form is None:
            return features_of(self.steps, self.steps.tokens(images), prompts)
        with own_types(images):
            return features_of(form, form.tokens(images), prompts)


def features_of(steps: VisionSteps, x: Tensor, prompts: Tensor | None) -> Tensor:
    """The forward pass of every vision tower: features ``(N, D)`` of tokens ``(N, L, W)`` and of prompts.

    Parameters
    ----------
    steps : VisionSteps
        The tower, as its library has it or in its fast form.
    x : Tensor (N, L, W)
        What ``steps.tokens`` gave.
    prompts : Tensor, optional
        As in `VisionEncoder.forward`.
    """
    count = x.shape[1]
    first, *deeper = [None] if prompts is None else [prompts] if prompts.dim() == 2 else list(prompts)
    if first is not None:
        x = _joined(x, first)
    x = steps.enter(x)
    for layer, fresh in enumerate(deeper):
        x = _joined(steps.block(x, layer)[:, :count], fresh)
    return steps.finish(x, len(deeper))


def _joined(x: Tensor, prompts: Tensor) -> Tensor:
    """The same prompts ``(P, W)`` behind the tokens of every image."""
    return torch.cat([x, prompts.to(x.dtype).expand(len(x), -1, -1)], dim=1)
