"""CUEP, class-level unimodal emotion-opposing prompting (paper section 3.4, eq. 4).

Shapes: K classes, S side in pixels, A samples, D feature dimension of each encoder.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from hcep.encoders.folder import Encoders
from hcep.methods.method import Features, Sizes
from hcep.methods.parts import Part


class OpposingFeatures(NamedTuple):
    """``F^+`` and ``F^-`` of eq. 4: one `Features` each, rows in class order; None for a sign that is not in use."""

    positive: Features | None
    negative: Features | None


class CUEP(Part):
    """One learnable image and one learnable waveform per class and sign, N(0, 1) at the start.

    The third modality of eq. 4 is the class text (hcep.methods.class_text).

    Parameters
    ----------
    count : int
        Number of classes K.
    sizes : Sizes
        Of an image and a waveform as the encoders take them.
    settings : dict
        ``pixel_normalisation``: false feeds the image prompts as they are; true applies CLIP's mean and deviation.
    """

    group: ClassVar[Literal["pixels"]] = "pixels"

    def __init__(self, count: int, sizes: Sizes, settings: dict[str, Any]) -> None:
        super().__init__()
        self.pixel_normalisation = settings["pixel_normalisation"]
        self.delta_v_pos = nn.Parameter(torch.randn(count, 3, sizes.side, sizes.side))
        self.delta_v_neg = nn.Parameter(torch.randn(count, 3, sizes.side, sizes.side))
        self.delta_a_pos = nn.Parameter(torch.randn(count, sizes.samples))
        self.delta_a_neg = nn.Parameter(torch.randn(count, sizes.samples))

    def forward(self, encoders: Encoders, text: tuple[Tensor, Tensor]) -> OpposingFeatures:
        """Encode the prompts of the signs in use, images and waveforms in one pass each (eq. 4).

        `text` is the pair ``F_T^+`` and ``F_T^-``, each ``(K, D)``.
        """
        positive = text[0], self.delta_v_pos, self.delta_a_pos
        negative = text[1], self.delta_v_neg, self.delta_a_neg
        used = {sign: side for sign, side in (("pos", positive), ("neg", negative)) if sign in self.signs}
        if not used:
            return OpposingFeatures(None, None)
        words, images, waveforms = zip(*used.values(), strict=True)
        pixels = torch.cat(images)
        if self.pixel_normalisation:
            pixels = (pixels - encoders.vision.mean) / encoders.vision.std
        vision = encoders.vision(pixels).float().chunk(len(used))
        audio = encoders.audio(torch.cat(waveforms)).float().chunk(len(used))
        found = dict(zip(used, map(Features, words, vision, audio), strict=True))
        return OpposingFeatures(found.get("pos"), found.get("neg"))
