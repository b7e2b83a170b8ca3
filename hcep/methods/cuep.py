"""CUEP, class-level unimodal emotion-opposing prompting (paper section 3.4, eq. 4).

Shapes: K classes, S side in pixels, A samples, P tokens of a prompt, W width of a tower, D feature dimension.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from hcep.encoders.folder import Encoders
from hcep.errors import HcepError
from hcep.methods.method import Features, Sizes
from hcep.methods.parts import Part
from hcep.methods.smep import PROMPT_STD


class OpposingFeatures(NamedTuple):
    """``F^+`` and ``F^-`` of eq. 4: one `Features` each, rows in class order; None for a sign that is not in use."""

    positive: Features | None
    negative: Features | None


class CUEP(Part):
    """One learnable prompt per class and sign for the vision and the audio tower, N(0, `std`^2) at the start.

    The third modality of eq. 4 is the class text (hcep.methods.class_text).

    Parameters
    ----------
    count : int
        Number of classes K.
    vision, audio : tuple of int
        Shapes of one prompt.
    std : float
        Of the start values.
    """

    def __init__(self, count: int, vision: tuple[int, ...], audio: tuple[int, ...], std: float = 1.0) -> None:
        super().__init__()
        self.delta_v_pos = nn.Parameter(std * torch.randn(count, *vision))
        self.delta_v_neg = nn.Parameter(std * torch.randn(count, *vision))
        self.delta_a_pos = nn.Parameter(std * torch.randn(count, *audio))
        self.delta_a_neg = nn.Parameter(std * torch.randn(count, *audio))

    def forward(self, encoders: Encoders, text: tuple[Tensor, Tensor]) -> OpposingFeatures:
        """Encode the prompts of the signs in use, each modality in one pass (eq. 4).

        `text` is the pair ``F_T^+`` and ``F_T^-``, each ``(K, D)``.
        """
        positive = text[0], self.delta_v_pos, self.delta_a_pos
        negative = text[1], self.delta_v_neg, self.delta_a_neg
        used = {sign: side for sign, side in (("pos", positive), ("neg", negative)) if sign in self.signs}
        if not used:
            return OpposingFeatures(None, None)
        words, seen, heard = zip(*used.values(), strict=True)
        vision = self.see(encoders, torch.cat(seen)).float().chunk(len(used))
        audio = self.hear(encoders, torch.cat(heard)).float().chunk(len(used))
        found = dict(zip(used, map(Features, words, vision, audio), strict=True))
        return OpposingFeatures(found.get("pos"), found.get("neg"))

    def see(self, encoders: Encoders, prompts: Tensor) -> Tensor:
        """Features ``(N, D)`` of N vision prompts."""
        raise NotImplementedError

    def hear(self, encoders: Encoders, prompts: Tensor) -> Tensor:
        """Features ``(N, D)`` of N audio prompts."""
        raise NotImplementedError


class MediaPrompts(CUEP):
    """`class_prompts: media`: an image ``(3, S, S)`` and a waveform ``(A,)``, as printed.

    `pixel_normalisation`: false feeds the images as they are; true applies CLIP's mean and deviation.
    """

    group: ClassVar[Literal["pixels"]] = "pixels"

    def __init__(self, count: int, sizes: Sizes, *, pixel_normalisation: bool) -> None:
        super().__init__(count, (3, sizes.side, sizes.side), (sizes.samples,))
        self.pixel_normalisation = pixel_normalisation

    def see(self, encoders: Encoders, prompts: Tensor) -> Tensor:
        """The images through the whole tower."""
        vision = encoders.vision
        return vision((prompts - vision.mean) / vision.std if self.pixel_normalisation else prompts)

    def hear(self, encoders: Encoders, prompts: Tensor) -> Tensor:
        """The waveforms through the whole tower."""
        return encoders.audio(prompts)


class TokenPrompts(CUEP):
    """`class_prompts: tokens`: P tokens ``(P, W)`` of each tower instead of media, of a token's size.

    Nothing else enters the vision tower but its class token, and nothing else the audio tower: a prompt is the whole
    input, as in eq. 4. An empty frame or silence around it would be most of what the tower reads.
    """

    group: ClassVar[Literal["tokens"]] = "tokens"

    def __init__(self, count: int, encoders: Encoders, tokens: int) -> None:
        super().__init__(count, (tokens, encoders.vision.width), (tokens, encoders.audio.dim), PROMPT_STD)

    def see(self, encoders: Encoders, prompts: Tensor) -> Tensor:
        """The tokens through the vision tower's blocks, in the place of patches."""
        return encoders.vision.encode_tokens(prompts)

    def hear(self, encoders: Encoders, prompts: Tensor) -> Tensor:
        """The tokens through the audio tower's blocks, in the place of what its convolutions make of sound."""
        return encoders.audio.encode_tokens(prompts)


def choose_prompts(count: int, sizes: Sizes, encoders: Encoders, settings: dict[str, Any]) -> CUEP:
    """The prompts of K classes that `class_prompts` names.

    Raises
    ------
    HcepError
        For settings of images and waveforms, or of other class texts, beside tokens.
    """
    if settings["class_prompts"] == "media":
        return MediaPrompts(count, sizes, pixel_normalisation=settings["pixel_normalisation"])
    wanted = {"pixel_normalisation": False, "prompt_step": "sgd", "class_text": "fixed", "class_text_prompted": False}
    for name, value in wanted.items():
        if settings[name] != value:
            raise HcepError(
                f"{name}: {settings[name]} with class_prompts: tokens",
                remedy=f"class tokens stand before fixed sentences and learn by SGD: leave {name} at its default",
            )
    return TokenPrompts(count, encoders, settings["class_tokens"])
