"""wav2vec 2.0 (or HuBERT, WavLM) with a place for prompts: waveforms -> features.

Shapes: B waveforms, A samples at 16 kHz, P prompts of A/10 samples each, D feature dimension (768).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class AudioEncoder(nn.Module):
    """Frozen waveform encoder; a feature is the mean of the last hidden states over time.

    Attributes
    ----------
    dim : int
        Size of a feature.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.dim: int = model.config.hidden_size

    def normalise(self, waveform: Tensor) -> Tensor:
        """int16 waveforms ``(B, A)`` -> zero mean, unit variance (as wav2vec2-base expects); silence stays 0."""
        x = waveform.to(torch.float32) / 32768
        x = x - x.mean(dim=-1, keepdim=True)
        return x / torch.sqrt(x.var(dim=-1, keepdim=True, unbiased=False) + 1e-7)

    def frames(self, samples: int) -> int:
        """Number of hidden states that `samples` give."""
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def forward(
        self,
        waveform: Tensor,
        prompts: Tensor | None = None,
        place: Literal["prepend", "append"] = "prepend",
        pool: Literal["all", "clip"] = "all",
    ) -> Tensor:
        """Features ``(B, D)``.

        Parameters
        ----------
        waveform : Tensor (B, A)
            Normalised waveform, all of one length: the group norm of the first layer runs over the whole of it.
        prompts : Tensor (P, A/10), optional
            Joined to one stretch of samples before (or after) the waveform (paper eq. 3, third term; Table 1).
        place : {"prepend", "append"}
            Side on which the prompts stand.
        pool : {"all", "clip"}
            Average over all hidden states, or over the last (first, when appended) ones that the bare clip would give.
        """
        x = waveform
        if prompts is not None:
            stretch = prompts.to(x.dtype).reshape(1, -1).expand(len(x), -1)
            x = torch.cat([stretch, x] if place == "prepend" else [x, stretch], dim=1)
        hidden = self.model(x).last_hidden_state
        if pool == "clip" and prompts is not None:
            keep = self.frames(waveform.shape[1])
            hidden = hidden[:, -keep:] if place == "prepend" else hidden[:, :keep]
        return hidden.mean(dim=1)
