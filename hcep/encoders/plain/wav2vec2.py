"""wav2vec 2.0 as plain torch modules, with the names of weights and the arithmetic of transformers' in eval mode.

Baevski et al. 2020. Importing transformers takes longer than importing torch, and this model needs nothing of it.

Shapes: B waveforms, A samples at 16 kHz, C channels, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from hcep.encoders.plain.start_values import NoStartValues


class Config(NamedTuple):
    """The settings of transformers' configuration that eval mode reads; the values are those of wav2vec2-base."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    feat_extract_norm: str = "group"
    feat_extract_activation: str = "gelu"
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    do_stable_layer_norm: bool = False
    mask_time_prob: float = 0.05
    mask_feature_prob: float = 0.0
    add_adapter: bool = False


class Output(NamedTuple):
    """What the model and its encoder give: hidden states ``(B, T, D)`` behind the last block."""

    last_hidden_state: Tensor


def plain_audio(config: Mapping[str, Any]) -> Wav2Vec2Model | None:
    """wav2vec 2.0 of transformers' configuration, its weights still to be filled; None for anything else."""
    own = Config(**{key: config[key] for key in Config._fields if key in config})
    usual = own.hidden_act == own.feat_extract_activation == "gelu" and own.feat_extract_norm in ("group", "layer")
    other = own.add_adapter or config.get("adapter_attn_dim") or any("attn_implementation" in key for key in config)
    if config["model_type"] != "wav2vec2" or not usual or other:
        return None
    if own.hidden_size % own.num_attention_heads:
        raise ValueError(f"hidden_size {own.hidden_size} is no multiple of {own.num_attention_heads} attention heads")
    with NoStartValues():
        return Wav2Vec2Model(own)


class ConvLayer(nn.Module):
    """A strided convolution, a norm (over time for each channel, over channels, or none) and GELU: ``(B, C, T)``."""

    def __init__(self, config: Config, number: int, entering: int) -> None:
        super().__init__()
        leaving, kernel, stride = (each[number] for each in (config.conv_dim, config.conv_kernel, config.conv_stride))
        self.conv = nn.Conv1d(entering, leaving, kernel, stride=stride, bias=config.conv_bias)
        self.layer_norm: nn.Module | None = None
        if config.feat_extract_norm == "layer":
            self.layer_norm = nn.LayerNorm(leaving)
        elif number == 0:
            self.layer_norm = nn.GroupNorm(leaving, leaving)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T)`` of the layer before -> fewer positions."""
        x = self.conv(x)
        if isinstance(self.layer_norm, nn.LayerNorm):
            x = self.layer_norm(x.transpose(-2, -1)).transpose(-2, -1)
        elif self.layer_norm is not None:
            x = self.layer_norm(x)
        return functional.gelu(x)


class FeatureExtractor(nn.Module):
    """The convolutions at the entrance."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        sizes = len(config.conv_dim), len(config.conv_kernel), len(config.conv_stride)
        if len(set(sizes)) != 1:
            raise ValueError(f"conv_dim, conv_kernel and conv_stride differ in length: {sizes}")
        entering = (1, *config.conv_dim[:-1])
        self.conv_layers = nn.ModuleList(ConvLayer(config, number, size) for number, size in enumerate(entering))

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, C, T)`` of normalised waveforms ``(B, A)``."""
        x = waveform[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class FeatureProjection(nn.Module):
    """From channels to the width of the blocks."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.conv_dim[-1], eps=config.layer_norm_eps)
        self.projection = nn.Linear(config.conv_dim[-1], config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, C)`` -> ``(B, T, D)``."""
        return self.projection(self.layer_norm(x))


class PositionalConv(nn.Module):
    """A long convolution over positions, which gives them their order."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, kernel = config.hidden_size, config.num_conv_pos_embeddings
        groups = config.num_conv_pos_embedding_groups
        self.conv = weight_norm(nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups), dim=2)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape ``(B, T, D)``."""
        length = x.shape[1]  # a kernel of even length gives one position more
        return functional.gelu(self.conv(x.transpose(1, 2))[:, :, :length]).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape ``(B, T, D)``."""
        parts = (part(x).unflatten(-1, (self.num_heads, -1)) for part in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = (part.transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear maps with GELU between them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output_dense = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape ``(B, T, D)``."""
        return self.output_dense(functional.gelu(self.intermediate_dense(x)))


class EncoderLayer(nn.Module):
    """One block, with a norm after each of its two sums, or (``do_stable_layer_norm``) before each of its two parts."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.stable = config.do_stable_layer_norm
        self.attention = Attention(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape ``(B, T, D)``."""
        if self.stable:
            x = x + self.attention(self.layer_norm(x))
            return x + self.feed_forward(self.final_layer_norm(x))
        x = self.layer_norm(x + self.attention(x))
        return self.final_layer_norm(x + self.feed_forward(x))


class Encoder(nn.Module):
    """What stands behind the projection: the positional convolution, the blocks, and a norm before or behind them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.stable = config.do_stable_layer_norm
        self.pos_conv_embed = PositionalConv(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor) -> Output:
        """Hidden states of what the projection gives, ``(B, T, D)``."""
        x = x + self.pos_conv_embed(x)
        x = x if self.stable else self.layer_norm(x)
        for layer in self.layers:
            x = layer(x)
        return Output(self.layer_norm(x) if self.stable else x)


class Wav2Vec2Model(nn.Module):
    """The whole model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        if config.mask_time_prob > 0 or config.mask_feature_prob > 0:
            # stands for masked positions in pretraining; nothing here reads it, but files hold it
            self.masked_spec_embed = nn.Parameter(torch.empty(config.hidden_size))
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = Encoder(config)

    def forward(self, waveform: Tensor) -> Output:
        """Hidden states of normalised waveforms ``(B, A)``."""
        return self.encoder(self.feature_projection(self.feature_extractor(waveform).transpose(1, 2)))
