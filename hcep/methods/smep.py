"""SMEP, semantic-level multimodal emotion-aligning prompting (paper section 3.3, eq. 1-3).

Shapes: m prompts, W_t token size (512), W_v patch-token size (768), A samples (80,000).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hcep.encoders.folder import Encoders
from hcep.errors import HcepError
from hcep.methods.features import Prompts
from hcep.methods.parts import Part

PROMPT_STD = 0.02  # CoOp's start value for context vectors without a word


class SMEP(Part):
    """Learnable prompts of one modality, the guide, and their projections into the other two.

    Parameters
    ----------
    encoders : Encoders
        For the token vectors of the start words and the widths where prompts enter.
    samples : int
        Waveform length A; one audio prompt is A/10 samples (Table 1: 8,000 of 80,000).
    settings : dict
        ``prompt_words``: start words of learned text prompts; "facial expression" is exactly two byte-pair tokens.
        ``prompt_tokens``: m. Fewer than the words give: the first m; more: the rest is drawn from N(0, 0.02^2)
        (Fig. 4b).
        ``guide``: what is learned (Fig. 4a). ``text``: ``delta_T``, with ``N_V`` and ``N_A`` as in eq. 2. ``vision`` or
        ``audio``: ``delta_V`` or ``delta_A``, from N(0, 0.02^2), with a linear map to each of the other two. ``none``:
        all three, ``delta_T`` from the words, and no map.
        ``text_prompt``: reading of "MLP" in eq. 1: the token embedding itself, or a 512-512-512 network on top of it.
        ``vision_prompt``: tokens before the first block only, or fresh ones, each with its own projection, before every
        block.
        ``sample_prompts``: whether the prompts enter the clips; without, no loss reaches them.

    Raises
    ------
    HcepError
        For ``mlp`` or ``deep`` under another guide than text, which they are readings of.
    """

    group: ClassVar[Literal["semantic"]] = "semantic"

    def __init__(self, encoders: Encoders, samples: int, settings: dict[str, Any]) -> None:
        super().__init__()
        guide, tokens = settings["guide"], settings["prompt_tokens"]
        text_prompt, vision_prompt = settings["text_prompt"], settings["vision_prompt"]
        if guide != "text" and (text_prompt != "embedding" or vision_prompt != "shallow"):
            raise HcepError(
                f"text_prompt: {text_prompt} and vision_prompt: {vision_prompt} under guide: {guide}",
                remedy="only guide: text has text_prompt: mlp and vision_prompt: deep",
            )
        self.guide, self.used, self.deep = guide, settings["sample_prompts"], vision_prompt == "deep"
        text, vision, audio = encoders.text.width, encoders.vision.width, samples // 10
        if guide in ("text", "none"):
            self.delta_t = nn.Parameter(_word_prompts(encoders, settings["prompt_words"], tokens))
        if guide in ("vision", "none"):
            self.delta_v = nn.Parameter(torch.randn(tokens, vision) * PROMPT_STD)
        if guide in ("audio", "none"):
            self.delta_a = nn.Parameter(torch.randn(tokens, audio) * PROMPT_STD)
        self.mlp: nn.Module = nn.Identity()
        if text_prompt == "mlp":
            self.mlp = nn.Sequential(nn.Linear(text, text), nn.ReLU(), nn.Linear(text, text))
        width = {"text": text, "vision": vision, "audio": audio, "none": 0}[guide]
        if guide in ("vision", "audio"):
            self.n_t = nn.Linear(width, text)
        if guide in ("text", "audio"):
            maps = encoders.vision.layers if self.deep else 1
            self.n_v = nn.ModuleList(nn.Linear(width, vision) for _ in range(maps))
        if guide in ("text", "vision"):
            self.n_a = nn.Linear(width, audio)

    def forward(self) -> Prompts:
        """``delta_T`` (m, W_t), ``delta_V`` (m, W_v) or (layers, m, W_v), ``delta_A`` (m, A/10): eq. 1 and 2."""
        if self.guide == "none":
            return Prompts(self.delta_t, self.delta_v, self.delta_a)
        if self.guide == "vision":
            return Prompts(self.n_t(self.delta_v), self.delta_v, self.n_a(self.delta_v))
        if self.guide == "audio":
            return Prompts(self.n_t(self.delta_a), self.n_v[0](self.delta_a), self.delta_a)
        delta_t = self.mlp(self.delta_t)
        delta_v = torch.stack([project(delta_t) for project in self.n_v])
        return Prompts(delta_t, delta_v if self.deep else delta_v[0], self.n_a(delta_t))

    def reached(self) -> dict[str, Tensor]:
        """All parameters, if the prompts enter the clips."""
        return dict(self.named_parameters()) if self.used else {}

    def recorded(self) -> dict[str, Tensor]:
        """Prompts, and weights of the maps between them."""
        if not self.used:
            return {}
        prompts = dict(self.named_parameters(recurse=False))
        maps = {name: getattr(self, name).weight for name in ("n_t", "n_a") if hasattr(self, name)}
        to_vision = self.n_v if hasattr(self, "n_v") else ()
        return prompts | maps | {f"n_v{i or ''}": project.weight for i, project in enumerate(to_vision)}


def _word_prompts(encoders: Encoders, words: str, count: int) -> Tensor:
    """Start value ``(count, W_t)``: the words' token vectors, then draws from N(0, 0.02^2)."""
    start = encoders.text.word_vectors(words)[:count]
    if len(start) == count:
        return start
    return torch.cat([start, torch.randn(count - len(start), start.shape[1]) * PROMPT_STD])
