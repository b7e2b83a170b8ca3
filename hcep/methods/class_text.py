"""The texts of the classes, which give ``F_T^+`` and ``F_T^-`` of eq. 4 (paper Fig. 3; Table 6, bottom half).

Shapes: K classes, W token size, D feature dimension of the text encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hcep.encoders.text import without_padding
from hcep.errors import HcepError
from hcep.methods.parts import Part
from hcep.methods.smep import PROMPT_STD

if TYPE_CHECKING:
    from hcep.encoders.folder import Encoders

CLASS_TOKENS = 16  # learned tokens of a class text, CoOp's and HESP's number


class ClassText(Part):
    """`class_text: fixed`: "This video is <word>" and "This video is not <word>"; nothing here learns."""

    group: ClassVar[Literal["semantic", "tokens"]] = "semantic"
    learns: ClassVar[bool] = False

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.sentences = [f"This video is {word}" for word in words], [f"This video is not {word}" for word in words]
        self._known_tokens: Tensor | None = None

    def forward(self, encoders: Encoders, prompts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``F_T^+`` and ``F_T^-`` ``(K, D)`` in class order; `prompts` enter the sentences if given: text
        prompts ``(m, W)``, or as many of each sentence, positive ones first, ``(2 K, P, W)``.
        """
        tokens = self._tokens(encoders, [*self.sentences[0], *self.sentences[1]])
        positive, negative = encoders.text(tokens, prompts).float().chunk(2)
        return positive, negative

    def _tokens(self, encoders: Encoders, texts: list[str]) -> Tensor:
        """Tokens on the encoder's device, made once: they are always the same."""
        device = encoders.text.positional_embedding.device
        if self._known_tokens is None or self._known_tokens.device != device:
            with torch.device("cpu"):  # the length is read off the tokens, also where only shapes are counted
                tokens = without_padding(encoders.text.tokenize(texts))
            self._known_tokens = tokens.to(device)
        return self._known_tokens


class LearnedText(ClassText):
    """16 learned tokens per sign instead of a sentence, N(0, 0.02^2) at the start.

    `class_text: tokens_label` (`with_word`): shared by the classes, before the class's word. `tokens_no_label`: each
    class has its own, and no word follows.
    """

    learns: ClassVar[bool] = True

    def __init__(self, words: Sequence[str], token_width: int, *, with_word: bool) -> None:
        super().__init__(words)
        self.words = list(words) if with_word else [""] * len(words)
        shape = (CLASS_TOKENS, token_width) if with_word else (len(words), CLASS_TOKENS, token_width)
        self.tokens_pos = nn.Parameter(torch.randn(shape) * PROMPT_STD)
        self.tokens_neg = nn.Parameter(torch.randn(shape) * PROMPT_STD)

    def forward(self, encoders: Encoders, prompts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As for fixed sentences; there are no other `prompts` than the learned tokens."""
        # the encoder puts prompts between the start mark and the words: [start, t_1 .. t_16, word, end]
        tokens = self._tokens(encoders, self.words)
        return encoders.text(tokens, self.tokens_pos).float(), encoders.text(tokens, self.tokens_neg).float()


class PromptedText(ClassText):
    """`class_prompts: tokens`: P learned tokens per class and sign before that class's sentence, N(0, 0.02^2)."""

    group: ClassVar[Literal["semantic", "tokens"]] = "tokens"
    learns: ClassVar[bool] = True

    def __init__(self, words: Sequence[str], token_width: int, count: int) -> None:
        super().__init__(words)
        self.tokens_pos = nn.Parameter(torch.randn(len(words), count, token_width) * PROMPT_STD)
        self.tokens_neg = nn.Parameter(torch.randn(len(words), count, token_width) * PROMPT_STD)

    def forward(self, encoders: Encoders, prompts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As for fixed sentences; there are no other `prompts` than the learned tokens."""
        return super().forward(encoders, torch.cat([self.tokens_pos, self.tokens_neg]))


def choose_text(words: Sequence[str], token_width: int, settings: dict[str, Any]) -> ClassText:
    """The texts that `class_text` and `class_prompts` name.

    Raises
    ------
    HcepError
        For `class_text_prompted` where there is no sentence for the sample prompts to enter, or no such prompt.
    """
    kind = settings["class_text"]
    if settings["class_text_prompted"] and (kind != "fixed" or not settings["sample_prompts"]):
        raise HcepError(
            "class_text_prompted without fixed sentences or without the prompts that would enter them",
            remedy="it goes with class_text: fixed and sample_prompts: true only",
        )
    if settings["class_prompts"] == "tokens":
        return PromptedText(words, token_width, settings["class_tokens"])
    return ClassText(words) if kind == "fixed" else LearnedText(words, token_width, with_word=kind == "tokens_label")
