"""SMEP, semantic-level multimodal emotion-aligning prompting (paper section 3.3, eq. 1-3).

Shapes: m text prompts, W_t token size (512), W_v patch-token size (768), A samples (80,000).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hcep.encoders.folder import Encoders
from hcep.model.features import Prompts

PROMPT_STD = 0.02  # CoOp's start value for context vectors without a word


class SMEP(nn.Module):
    """Learnable text prompts and their projections into the other modalities.

    Parameters
    ----------
    encoders : Encoders
        For the token vectors of the start words and the widths where prompts enter.
    samples : int
        Waveform length A; one audio prompt is A/10 samples (Table 1: 8,000 of 80,000).
    words : str
        Start words; "facial expression" is exactly two byte-pair tokens.
    tokens : int
        m. Fewer than the words give: the first m; more: the rest is drawn from N(0, 0.02^2).
    text_prompt : {"embedding", "mlp"}
        Reading of "MLP" in eq. 1: the token embedding itself, or a 512-512-512 network on top of it.
    vision_prompt : {"shallow", "deep"}
        Tokens before the first block only, or fresh ones, each with its own projection, before every block.
    """

    def __init__(
        self,
        encoders: Encoders,
        samples: int,
        *,
        words: str = "facial expression",
        tokens: int = 2,
        text_prompt: str = "embedding",
        vision_prompt: str = "shallow",
    ) -> None:
        super().__init__()
        width = encoders.text.width
        start = encoders.text.word_vectors(words)[:tokens]
        if len(start) < tokens:
            start = torch.cat([start, torch.randn(tokens - len(start), width) * PROMPT_STD])
        self.delta_t = nn.Parameter(start)
        self.mlp = (
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            if text_prompt == "mlp"
            else nn.Identity()
        )
        self.deep = vision_prompt == "deep"
        count = encoders.vision.layers if self.deep else 1
        self.n_v = nn.ModuleList(nn.Linear(width, encoders.vision.width) for _ in range(count))
        self.n_a = nn.Linear(width, samples // 10)

    def forward(self) -> Prompts:
        """``delta_T`` (m, W_t), ``delta_V`` (m, W_v) or (layers, m, W_v), ``delta_A`` (m, A/10): eq. 1 and 2."""
        delta_t = self.mlp(self.delta_t)
        delta_v = torch.stack([project(delta_t) for project in self.n_v])
        return Prompts(delta_t, delta_v if self.deep else delta_v[0], self.n_a(delta_t))

    def text_prompts(self) -> Tensor:
        """``delta_T`` alone."""
        return self.mlp(self.delta_t)
