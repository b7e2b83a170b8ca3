"""Vision towers with a place for prompts: images -> features.

Shapes: N images, S side in pixels, L tokens, P prompt tokens, W width of the tower (768), D feature dimension (512).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from hcep.encoders.class_name import class_name
from hcep.encoders.clip_vit import ClipViT
from hcep.encoders.frozen import FrozenModule, compute_type, own_types
from hcep.encoders.plain.clip import VisionTransformer
from hcep.errors import HcepError

if TYPE_CHECKING:
    import open_clip

    from hcep.encoders.plain.clip import CLIP


class VisionSteps(Protocol):
    """What the forward pass needs of a vision tower: the steps between which prompts enter."""

    def tokens(self, images: Tensor) -> Tensor:
        """Tokens ``(N, L, W)`` of normalised images ``(N, 3, S, S)``, positions added."""

    def class_token(self) -> Tensor:
        """The token ``(1, W)`` at which features are read, its position added; no rows for a tower without one."""

    def enter(self, x: Tensor) -> Tensor:
        """What the tower does with the tokens before its first block."""

    def block(self, x: Tensor, layer: int) -> Tensor:
        """Output of one block, for a block that is not the last."""

    def finish(self, x: Tensor, layer: int) -> Tensor:
        """Features ``(N, D)``, not normalised, after the blocks from `layer` to the last."""


# Families of towers, by the name of the tower's class, ours and that of the library, which is imported only where ours
# does not do. To add a family, write a class with the `VisionSteps` by the library's own modules and with `width`,
# `dim`, `size` and `layers` as `VisionEncoder` has them, and enter it here.
FAMILIES: dict[str, type] = {
    class_name(VisionTransformer): ClipViT,
    "open_clip.transformer.VisionTransformer": ClipViT,
}


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
    width, dim : int
        Size of a patch token, where prompts enter, and of a feature.
    size, layers : int
        Side of the input image in pixels; number of transformer blocks, for deep prompts.

    Raises
    ------
    HcepError
        When the tower belongs to none of the `FAMILIES`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, clip: CLIP | open_clip.CLIP, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(type(clip.visual))
        self.tower: Any = clip.visual
        family = FAMILIES.get(class_name(type(self.tower)))
        if family is None:
            known = ", ".join(sorted({each.rpartition(".")[2] for each in FAMILIES}))
            cause = f"vision towers of the class {type(self.tower).__name__} are not supported"
            raise HcepError(cause, remedy=f"choose a `clip` of open_clip whose vision tower is one of: {known}")
        self.steps = steps = family(self.tower)
        self.width, self.dim, self.size, self.layers = steps.width, steps.dim, steps.size, steps.layers
        for name, colours in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(colours).view(3, 1, 1), persistent=False)

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 frames ``(..., S, S, 3)`` -> floats ``(..., 3, S, S)`` with the tower's mean and deviation."""
        x = frames.movedim(-1, -3).to(self.mean.dtype) / 255
        return (x - self.mean) / self.std

    def encode_frames(self, frames: Tensor, absent: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Features ``(N, D)`` of uint8 frames ``(N, S, S, 3)`` as they are stored; no gradient reaches the frames.

        For `absent` frames, bool ``(N,)``, zeros after the normalisation stand in. Prompts are as in `forward`.
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

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Features ``(N, D)`` of sequences of tokens ``(N, P, W)`` in the place of an image's patches.

        They enter as the prompts of `forward` do, behind the class token and without a position; so their number may be
        any, and their order says nothing.
        """
        form = self.form(compute_type(tokens))
        steps = self.steps if form is None else form
        with nullcontext() if form is None else own_types(tokens):
            first = steps.class_token().expand(len(tokens), -1, -1)
            return features_of(steps, torch.cat([first, tokens.to(first.dtype)], dim=1), None)


def features_of(steps: VisionSteps, x: Tensor, prompts: Tensor | None) -> Tensor:
    """The forward pass of every vision tower, as its library has it or in its fast form.

    Features ``(N, D)`` of the tokens ``(N, L, W)`` that ``steps.tokens`` gave, and of prompts as in
    `VisionEncoder.forward`.
    """

    def joined(tokens: Tensor, own: Tensor) -> Tensor:
        """The same prompts ``(P, W)`` behind the tokens of every image."""
        return torch.cat([tokens, own.to(tokens.dtype).expand(len(tokens), -1, -1)], dim=1)

    count = x.shape[1]
    first, *deeper = [None] if prompts is None else [prompts] if prompts.dim() == 2 else list(prompts)
    x = steps.enter(x if first is None else joined(x, first))
    for layer, fresh in enumerate(deeper):
        x = joined(steps.block(x, layer)[:, :count], fresh)
    return steps.finish(x, len(deeper))
