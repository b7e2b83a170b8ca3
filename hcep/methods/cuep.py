"""CUEP, class-level unimodal emotion-opposing prompting (paper section 3.4, eq. 4).

Shapes: K classes, S side in pixels, A samples, W token size, D feature dimension of each encoder.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hcep.encoders.folder import Encoders
from hcep.encoders.text import without_padding
from hcep.methods.method import Features
from hcep.methods.smep import PROMPT_STD

SIGNS = ("pos", "neg")
CLASS_TOKENS = 16  # learned tokens of a class text, CoOp's and HESP's number


class OpposingFeatures(NamedTuple):
    """``F^+`` and ``F^-`` of eq. 4: one `Features` each, rows in class order; None for a sign that is not in use."""

    positive: Features | None
    negative: Features | None


def class_sentences(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The fixed sentences of Fig. 3, positive and negative, in class order."""
    return [f"This video is {word}" for word in words], [f"This video is not {word}" for word in words]


class CUEP(nn.Module):
    """One learnable image and one learnable waveform per class and sign, N(0, 1) at the start, and two class texts.

    Parameters
    ----------
    words : sequence of str
        The word of each class.
    side, samples : int
        Sizes of an image and a waveform as the encoders take them.
    token_width : int
        Size W of a token vector.
    class_text : {"fixed", "tokens_label", "tokens_no_label"}
        Table 6, bottom half. ``fixed``: the two sentences. ``tokens_label``: 16 learned tokens per sign, shared by the
        classes, before the class's word. ``tokens_no_label``: 16 learned tokens per class and sign, and no word. Both
        start from N(0, 0.02^2).
    pixel_normalisation : bool
        False feeds the image prompts as they are; True applies CLIP's mean and deviation first.
    """

    def __init__(
        self,
        words: Sequence[str],
        side: int,
        samples: int,
        token_width: int,
        *,
        class_text: str = "fixed",
        pixel_normalisation: bool = False,
    ) -> None:
        super().__init__()
        count = len(words)
        self.words = list(words)
        self.sentences = class_sentences(words)
        self.class_text = class_text
        self.pixel_normalisation = pixel_normalisation
        self._known_tokens: Tensor | None = None
        self.delta_v_pos = nn.Parameter(torch.randn(count, 3, side, side))
        self.delta_v_neg = nn.Parameter(torch.randn(count, 3, side, side))
        self.delta_a_pos = nn.Parameter(torch.randn(count, samples))
        self.delta_a_neg = nn.Parameter(torch.randn(count, samples))
        if class_text != "fixed":
            shape = (CLASS_TOKENS, token_width) if class_text == "tokens_label" else (count, CLASS_TOKENS, token_width)
            self.tokens_pos = nn.Parameter(torch.randn(shape) * PROMPT_STD)
            self.tokens_neg = nn.Parameter(torch.randn(shape) * PROMPT_STD)

    def text_features(self, encoders: Encoders, prompts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``F_T^+`` and ``F_T^-`` ``(K, D)``; constant if fixed, unless text `prompts` enter the sentences."""
        if self.class_text == "fixed":
            sentences = [*self.sentences[0], *self.sentences[1]]
            tokens = self._tokens(encoders, sentences)
            positive, negative = encoders.text(tokens, prompts).float().chunk(2)
            return positive, negative
        # the encoder puts prompts between the start mark and the words: [start, t_1 .. t_16, word, end]
        words = self.words if self.class_text == "tokens_label" else [""] * len(self.words)
        tokens = self._tokens(encoders, words)
        return encoders.text(tokens, self.tokens_pos).float(), encoders.text(tokens, self.tokens_neg).float()

    def _tokens(self, encoders: Encoders, texts: list[str]) -> Tensor:
        """Tokens on the prompts' device, made once: they are always the same."""
        device = self.delta_a_pos.device
        if self._known_tokens is None or self._known_tokens.device != device:
            self._known_tokens = without_padding(encoders.text.tokenize(texts)).to(device)
        return self._known_tokens

    def forward(
        self, encoders: Encoders, text: tuple[Tensor, Tensor], signs: Collection[str] = SIGNS
    ) -> OpposingFeatures:
        """Encode the prompts of these signs, images and waveforms in one pass each (eq. 4)."""
        used = [sign for sign in SIGNS if sign in signs]
        if not used:
            return OpposingFeatures(None, None)
        images = torch.cat([self.get_parameter(f"delta_v_{sign}") for sign in used])
        if self.pixel_normalisation:
            images = (images - encoders.vision.mean) / encoders.vision.std
        vision = encoders.vision(images).float().chunk(len(used))
        waveforms = torch.cat([self.get_parameter(f"delta_a_{sign}") for sign in used])
        audio = encoders.audio(waveforms).float().chunk(len(used))
        words = [value for sign, value in zip(SIGNS, text, strict=True) if sign in used]
        sides = dict(zip(used, map(Features, words, vision, audio), strict=True))
        return OpposingFeatures(sides.get("pos"), sides.get("neg"))
