"""CUEP, class-level unimodal emotion-opposing prompting (paper section 3.4, eq. 4).

Shapes: K classes, S side in pixels, A samples, D feature dimension of each encoder.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from hcep.encoders.folder import Encoders
from hcep.methods.method import Features
from hcep.methods.parts import NEITHER, Part


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
    side, samples : int
        Sizes of an image and a waveform as the encoders take them.
    pixel_normalisation : bool
        False feeds the image prompts as they are; True applies CLIP's mean and deviation first.

    Attributes
    ----------
    signs : set of {"pos", "neg"}
        The images and waveforms that a loss reads; the others are neither learned nor encoded.
    """

    group: ClassVar[Literal["pixels"]] = "pixels"

    def __init__(self, count: int, side: int, samples: int, *, pixel_normalisation: bool = False) -> None:
        super().__init__()
        self.signs = NEITHER
        self.pixel_normalisation = pixel_normalisation
        self.delta_v_pos = nn.Parameter(torch.randn(count, 3, side, side))
        self.delta_v_neg = nn.Parameter(torch.randn(count, 3, side, side))
        self.delta_a_pos = nn.Parameter(torch.randn(count, samples))
        self.delta_a_neg = nn.Parameter(torch.randn(count, samples))

    def reached(self) -> dict[str, Tensor]:
        """The images, then the waveforms, of the signs in use."""
        names = {"delta_v_pos": "pos", "delta_v_neg": "neg", "delta_a_pos": "pos", "delta_a_neg": "neg"}
        return {name: self.get_parameter(name) for name, sign in names.items() if sign in self.signs}

    def forward(self, encoders: Encoders, text: tuple[Tensor, Tensor]) -> OpposingFeatures:
        """Encode the prompts of the signs in use, images and waveforms in one pass each (eq. 4).

        Parameters
        ----------
        encoders : Encoders
        text : pair of Tensor (K, D)
            ``F_T^+`` and ``F_T^-``.
        """
        positive, negative = text
        sides = {
            "pos": (positive, self.delta_v_pos, self.delta_a_pos),
            "neg": (negative, self.delta_v_neg, self.delta_a_neg),
        }
        used = {sign: side for sign, side in sides.items() if sign in self.signs}
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
