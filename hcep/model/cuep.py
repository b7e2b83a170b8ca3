"""CUEP, class-level unimodal emotion-opposing prompting (paper section 3.4, eq. 4).

Shapes: K classes, S side in pixels, A samples, D feature dimension of each encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hcep.encoders.folder import Encoders
from hcep.model.method import Features


class OpposingFeatures(NamedTuple):
    """``F^+`` and ``F^-`` of eq. 4: one `Features` each, rows in class order."""

    positive: Features
    negative: Features


def class_sentences(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The fixed sentences of Fig. 3, positive and negative, in class order."""
    return [f"This video is {word}" for word in words], [f"This video is not {word}" for word in words]


class CUEP(nn.Module):
    """One learnable image and one learnable waveform per class and sign, N(0, 1) at the start, and two fixed sentences.

    Parameters
    ----------
    words : sequence of str
        The word of each class.
    side, samples : int
        Sizes of an image and a waveform as the encoders take them.
    pixel_normalisation : bool
        False feeds the image prompts as they are; True applies CLIP's mean and deviation first.
    """

    def __init__(self, words: Sequence[str], side: int, samples: int, *, pixel_normalisation: bool = False) -> None:
        super().__init__()
        count = len(words)
        self.sentences = class_sentences(words)
        self.pixel_normalisation = pixel_normalisation
        self.delta_v_pos = nn.Parameter(torch.randn(count, 3, side, side))
        self.delta_v_neg = nn.Parameter(torch.randn(count, 3, side, side))
        self.delta_a_pos = nn.Parameter(torch.randn(count, samples))
        self.delta_a_neg = nn.Parameter(torch.randn(count, samples))

    def text_features(self, encoders: Encoders, prompts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``F_T^+`` and ``F_T^-`` ``(K, D)``; constant unless text `prompts` enter the sentences."""
        device = self.delta_a_pos.device
        tokens = encoders.text.tokenize([*self.sentences[0], *self.sentences[1]]).to(device)
        positive, negative = encoders.text(tokens, prompts).float().chunk(2)
        return positive, negative

    def forward(self, encoders: Encoders, text: tuple[Tensor, Tensor]) -> OpposingFeatures:
        """Encode all prompts, images and waveforms of both signs in one pass each (eq. 4)."""
        images = torch.cat([self.delta_v_pos, self.delta_v_neg])
        if self.pixel_normalisation:
            images = (images - encoders.vision.mean) / encoders.vision.std
        vision = encoders.vision(images).float().chunk(2)
        audio = encoders.audio(torch.cat([self.delta_a_pos, self.delta_a_neg])).float().chunk(2)
        return OpposingFeatures(Features(text[0], vision[0], audio[0]), Features(text[1], vision[1], audio[1]))
