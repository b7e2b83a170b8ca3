"""CLIP's two towers as plain torch modules, with the names of weights and the arithmetic of open_clip's.

Radford et al. 2021; a vision transformer (Dosovitskiy et al. 2021) and a causal text transformer with a norm before
each part. Importing open_clip takes longer than importing torch, and these towers need nothing of it.

Shapes: B texts, N images, S side in pixels, L tokens, W width of a tower, D feature dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hcep.encoders.plain.start_values import NoStartValues

# what the towers here can be told, with open_clip's values for what a configuration leaves out
VISION = {"image_size": 224, "patch_size": 16, "layers": 12, "width": 768, "head_width": 64, "mlp_ratio": 4.0}
TEXT = {"context_length": 77, "vocab_size": 49408, "layers": 12, "width": 512, "heads": 8, "mlp_ratio": 4.0}


def plain_clip(config: Mapping[str, Any]) -> CLIP | None:
    """CLIP of open_clip's model configuration, its weights still to be filled; None where it asks for anything else."""
    vision, text = VISION | config["vision_cfg"], TEXT | config["text_cfg"]
    whole = all(type(vision[key]) is int for key in ("image_size", "patch_size", "layers"))
    if set(vision) != set(VISION) or set(text) != set(TEXT) or not whole:
        return None
    quick = config.get("quick_gelu", False)
    with NoStartValues():
        return CLIP(config["embed_dim"], vision, text, quick=quick)


class LayerNorm(nn.LayerNorm):
    """A layer norm that keeps the type of its input where autocast would give float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis."""
        return super().forward(x).to(x.dtype)


class QuickGELU(nn.Module):
    """``x sigmoid(1.702 x)``, which stands for the Gaussian error unit (Hendrycks and Gimpel 2016, section 2)."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x * torch.sigmoid(1.702 * x)


class ResidualAttentionBlock(nn.Module):
    """One transformer block with a norm before each part."""

    def __init__(self, width: int, heads: int, hidden: int, *, quick: bool) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ls_1 = nn.Identity()  # where some of open_clip's models scale; readers of blocks expect both
        self.ln_2 = LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, hidden))
        self.mlp.add_module("gelu", QuickGELU() if quick else nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(hidden, width))
        self.ls_2 = nn.Identity()

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Output ``(B, L, W)``; `attn_mask` ``(L, L)`` is added to the logits of the attention."""
        normed, mask = self.ln_1(x), None if attn_mask is None else attn_mask.to(x.dtype)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A tower's blocks."""

    def __init__(self, width: int, layers: int, heads: int, mlp_ratio: float, *, quick: bool) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(width, heads, hidden, quick=quick) for _ in range(layers))

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Output ``(B, L, W)`` of the last block."""
        for block in self.resblocks:
            x = block(x, attn_mask=attn_mask)
        return x


class VisionTransformer(nn.Module):
    """The vision tower; `hcep.encoders.clip_vit.ClipViT` runs its steps."""

    def __init__(self, dim: int, config: Mapping[str, Any], *, quick: bool) -> None:
        super().__init__()
        width, side, patch = config["width"], config["image_size"], config["patch_size"]
        self.image_size, self.output_dim = (side, side), dim
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((side // patch) ** 2 + 1, width))
        self.proj = nn.Parameter(torch.empty(width, dim))
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.ln_pre = LayerNorm(width)
        heads = width // config["head_width"]
        self.transformer = Transformer(width, config["layers"], heads, config["mlp_ratio"], quick=quick)
        self.ln_post = LayerNorm(width)


class CLIP(nn.Module):
    """Both towers; the text tower's parts stand at the top, as in open_clip's files."""

    def __init__(self, dim: int, vision: Mapping[str, Any], text: Mapping[str, Any], *, quick: bool) -> None:
        super().__init__()
        width = text["width"]
        self.context_length: int = text["context_length"]
        self.positional_embedding = nn.Parameter(torch.empty(self.context_length, width))
        self.text_projection = nn.Parameter(torch.empty(width, dim))
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.visual = VisionTransformer(dim, vision, quick=quick)
        self.transformer = Transformer(width, text["layers"], text["heads"], text["mlp_ratio"], quick=quick)
        self.token_embedding = nn.Embedding(text["vocab_size"], width)
        self.ln_final = LayerNorm(width)

    @property
    def attn_mask(self) -> Tensor:
        """What hides the tokens behind each one, ``(context, context)``: 0 where a token sees, minus infinity."""
        side, device = self.context_length, self.positional_embedding.device
        return torch.full((side, side), float("-inf"), device=device).triu_(1)
