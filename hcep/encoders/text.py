"""CLIP's text tower with a place for prompts: tokens -> features.

Shapes: B texts, L tokens (context length, 77), P prompt vectors, W width of the tower (512), D feature dimension (512).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hcep.encoders.frozen import FrozenModule, compute_type, own_types
from hcep.encoders.tokens import clip_tokenizer

if TYPE_CHECKING:
    import open_clip

    from hcep.encoders.plain.clip import CLIP


def without_padding(tokens: Tensor) -> Tensor:
    """Tokens ``(B, L)`` up to the longest text's end mark, which has the largest id.

    The features stay exactly the same: the tower is causal and read at the end mark, so it never sees what follows.
    """
    return tokens[:, : int(tokens.argmax(dim=1).max()) + 1] if len(tokens) else tokens


class TextEncoder(FrozenModule):
    """Frozen CLIP text tower.

    Attributes
    ----------
    width, dim : int
        Size of a token vector, where prompts enter, and of a feature.
    context : int
        Longest token sequence, prompts, start and end marks included.
    """

    mask: Tensor

    def __init__(self, clip: CLIP | open_clip.CLIP) -> None:
        super().__init__(type(clip.transformer))
        self.token_embedding = clip.token_embedding
        self.positional_embedding = clip.positional_embedding
        self.transformer = clip.transformer
        self.ln_final = clip.ln_final
        self.text_projection = clip.text_projection
        self.register_buffer("mask", clip.attn_mask, persistent=False)
        self.width: int = clip.token_embedding.weight.shape[1]
        self.dim: int = clip.text_projection.shape[1]
        self.context: int = clip.context_length

    @property
    def tokenizer(self) -> Any:
        """open_clip's tokeniser, read from its file when it is first asked for."""
        return clip_tokenizer()

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Byte-pair tokens ``(B, L)`` int64: start, words, end, zeros; a long text loses its last words only."""
        if not texts:
            return torch.zeros((0, self.context), dtype=torch.int64)
        return self.tokenizer(list(texts), self.context)

    def word_vectors(self, words: str) -> Tensor:
        """Token vectors ``(P, W)`` of words without start and end marks: the start value of a prompt (paper eq. 1)."""
        ids = torch.tensor(self.tokenizer.encode(words), device=self.token_embedding.weight.device)
        return self.token_embedding(ids).detach().clone()

    def forward(self, tokens: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Features ``(B, D)``, not normalised.

        The tokens ``(B, L)`` are those of `tokenize`. Prompts ``(P, W)`` or ``(B, P, W)`` enter after the start mark;
        positions are added to all, the end mark moves by P, and words that no longer fit are cut (paper eq. 3, first
        term).
        """
        count = 0 if prompts is None else prompts.shape[-2]
        if 2 + count > self.context:
            raise ValueError(f"{count} prompt vectors do not fit a context of {self.context} tokens")
        end = tokens.argmax(dim=-1)  # the end mark has the largest id; tokens are padded with zeros
        room = self.context - count
        end_id = tokens.gather(1, end[:, None])
        end = end.clamp(max=room - 1)
        tokens = tokens[:, :room].scatter(1, end[:, None], end_id)
        # On an accelerator, looking for the longest text would wait for the device. Whoever sends tokens there has cut
        # them before.
        tokens = without_padding(tokens) if tokens.device.type == "cpu" else tokens
        x = self.token_embedding(tokens)
        if prompts is not None:
            prompts = prompts.to(x.dtype).expand(len(x), -1, -1)
            x = torch.cat([x[:, :1], prompts, x[:, 1:]], dim=1)
        length = x.shape[1]
        x = x + self.positional_embedding[:length]
        form = self.form(compute_type(x))
        if form is not None:
            with own_types(x):
                return form(x, end + count)
        x = self.ln_final(self.transformer(x, attn_mask=self.mask[:length, :length]))
        return x[torch.arange(len(x), device=x.device), end + count] @ self.text_projection
