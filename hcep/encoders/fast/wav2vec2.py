"""The fast form of wav2vec 2.0 as transformers builds it.

Shapes: B waveforms, A samples at 16 kHz, T hidden states, D feature dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hcep.encoders.fast.blocks import Block, Linear, linear_of
from hcep.encoders.fast.conv_stack import ConvStack, conv_stack
from hcep.encoders.fast.long_conv import LongConv
from hcep.encoders.fast.norms import Norm, norm_of


class AudioForm(NamedTuple):
    """wav2vec 2.0: strided convolutions, norm, projection, positional convolution, norm and blocks."""

    convolutions: ConvStack
    first_norm: Norm
    project: Linear
    position: LongConv
    second_norm: Norm
    blocks: list[Block]

    def __call__(self, waveform: Tensor, read: Sequence[int], learned: slice | None = None) -> list[Tensor]:
        """Hidden states ``(B, T, D)`` of waveforms ``(B, A)``, those whose numbers are `read`.

        Gradients reach the samples `learned`, or all.
        """
        return self.encode(self.project(self.first_norm(self.convolutions(waveform, learned))), read)

    def encode(self, x: Tensor, read: Sequence[int]) -> list[Tensor]:
        """Hidden states of what the projection gives, ``(B, T, D)``, those whose numbers are `read`.

        0 is what enters the first block. Blocks behind the last one that is read do not run.
        """
        x = self.second_norm(x + functional.gelu(self.position(x)).to(x.dtype))
        states, same = {0: x} if 0 in read else {}, x
        for number, block in enumerate(self.blocks[: max(read)], 1):
            x, same = block.post_norm(x, same)
            if number in read:
                states[number] = x
        return [states[number] for number in read]


def audio_form(encoder: Any, dtype: torch.dtype) -> AudioForm | None:
    """The fast form of an `AudioEncoder` over wav2vec2-base and its like; None for wav2vec 2.0 of another build."""
    model, config = encoder.model, encoder.model.config
    if config.do_stable_layer_norm or config.add_adapter or config.hidden_act != "gelu":
        return None
    convolutions = conv_stack(model.feature_extractor, config, dtype)
    if convolutions is None:
        return None
    projection, position = model.feature_projection, model.encoder.pos_conv_embed.conv
    first, second = norm_of(projection.layer_norm, dtype), norm_of(model.encoder.layer_norm, dtype)
    project = linear_of(projection.projection, dtype)
    long_conv = LongConv(position.weight.float(), position.bias.float(), position.groups, {})
    blocks = [wav2vec_block(layer, dtype) for layer in model.encoder.layers]
    return AudioForm(convolutions, first, project, long_conv, second, blocks)


def wav2vec_block(module: Any, dtype: torch.dtype) -> Block:
    """One ``Wav2Vec2EncoderLayer``; the projections to queries, keys and values become one."""
    attention, feed = module.attention, module.feed_forward
    parts = [attention.q_proj, attention.k_proj, attention.v_proj]
    weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
    first, second = norm_of(module.layer_norm, dtype), norm_of(module.final_layer_norm, dtype)
    qkv, out = Linear(weight.to(dtype), bias.to(dtype)), linear_of(attention.out_proj, dtype)
    up, down = linear_of(feed.intermediate_dense, dtype), linear_of(feed.output_dense, dtype)
    return Block(attention.num_heads, first, second, qkv, out, up, down, functional.gelu)
