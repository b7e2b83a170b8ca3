"""wav2vec 2.0 (or HuBERT, WavLM) with a place for prompts: waveforms -> features.

Shapes: B waveforms, A samples at 16 kHz, P prompts of A/10 samples each, D feature dimension (768).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, Wav2Vec2Model

from hcep.encoders.blocks import (
    Block,
    FrozenModule,
    Linear,
    Norm,
    compute_type,
    linear_of,
    norm_of,
    own_types,
    wav2vec_block,
)
from hcep.encoders.conv_stack import ConvStack, conv_stack
from hcep.encoders.long_conv import LongConv
from hcep.encoders.operations import gelu


class AudioForm(NamedTuple):
    """wav2vec 2.0 after its convolutions: projection, positional convolution, norm and blocks."""

    convolutions: ConvStack
    enter: Norm
    project: Linear
    position: LongConv
    norm: Norm
    blocks: list[Block]

    def __call__(self, waveform: Tensor, learned: slice | None = None) -> Tensor:
        """Hidden states ``(B, T, D)``; gradients reach the samples `learned`, or all."""
        x = self.project(self.enter(self.convolutions(waveform, learned)))
        x = self.norm(x + gelu(self.position(x)).to(x.dtype))
        same = x
        for block in self.blocks:
            x, same = block.post_norm(x, same)
        return x


class AudioEncoder(FrozenModule):
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

    def normalise(self, waveform: Tensor, samples: Tensor | None = None) -> Tensor:
        """int16 waveforms ``(B, A)`` -> zero mean, unit variance over each clip's own `samples` ``(B,)``, then zeros.

        As wav2vec 2.0's feature extractor does it (`zero_mean_unit_var_norm` of transformers): padding is no part of
        the statistics and stays 0, and so does silence. Without `samples` the waveforms have no padding.
        """
        x = waveform.to(torch.float32) / 32768
        if samples is None:
            x = x - x.mean(dim=-1, keepdim=True)
            return x / torch.sqrt(x.var(dim=-1, keepdim=True, unbiased=False) + 1e-7)
        own = torch.arange(x.shape[-1], device=x.device) < samples.to(x.device).unsqueeze(-1)
        count = own.sum(dim=-1, keepdim=True).clamp(min=1)
        x = (x - (x * own).sum(dim=-1, keepdim=True) / count) * own
        return x / torch.sqrt(x.square().sum(dim=-1, keepdim=True) / count + 1e-7)

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
        learned = None
        if prompts is not None:
            stretch = prompts.to(x.dtype).reshape(1, -1).expand(len(x), -1)
            x = torch.cat([stretch, x] if place == "prepend" else [x, stretch], dim=1)
            if not waveform.requires_grad:
                start = 0 if place == "prepend" else waveform.shape[1]
                learned = slice(start, start + stretch.shape[1])
        hidden = self._hidden(x, learned)
        if pool == "clip" and prompts is not None:
            keep = self.frames(waveform.shape[1])
            hidden = hidden[:, -keep:] if place == "prepend" else hidden[:, :keep]
        return hidden.mean(dim=1, dtype=torch.float32)

    def rearrange(self, dtype: torch.dtype) -> AudioForm | None:
        """Second form of wav2vec2-base and its like; other models run as their library has them."""
        model, config = self.model, self.model.config
        if type(model) is not Wav2Vec2Model or config.do_stable_layer_norm or config.add_adapter:
            return None
        convolutions = conv_stack(model.feature_extractor, config, dtype)
        gelu = config.hidden_act == config.feat_extract_activation == "gelu"
        if convolutions is None or not gelu:
            return None
        encoder, project = model.encoder, model.feature_projection
        position = encoder.pos_conv_embed.conv
        return AudioForm(
            convolutions,
            norm_of(project.layer_norm, dtype),
            linear_of(project.projection, dtype),
            LongConv(position.weight.float(), linear_of(position, torch.float32).bias, position.groups, {}),
            norm_of(encoder.layer_norm, dtype),
            [wav2vec_block(layer, dtype) for layer in encoder.layers],
        )

    def _hidden(self, waveform: Tensor, learned: slice | None) -> Tensor:
        form = self.form(compute_type(waveform))
        if form is None:
            return self.model(waveform).last_hidden_state
        with own_types(waveform):
            return form(waveform.float(), learned)
