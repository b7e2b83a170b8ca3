"""Open-VCLIP: CLIP's vision tower fine-tuned on clips, with attention to neighbouring frames and averaged weights.

Weng, Yang, Li, Wu, Jiang: "Open-VCLIP: Transforming CLIP to an Open-vocabulary Video Model via Interpolated Weight
Optimization", ICML 2023; constants from the authors' repository (wengzejia1/Open-VCLIP@047a817:
``slowfast/models/torch_utils/functional.py``, ``tools/train_net.py``, ``weight_average_tool.py``, the ViT-B/32 script).

Shapes: B clips, F frames, L tokens of a frame, W width of the tower, K classes, m feature dimension.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from hcep.errors import HcepError
from hcep.methods.frames import absent_images, frames_of, uniform, zoom_and_flip
from hcep.methods.method import Batch, Method, Prediction, Sizes, accuracy
from hcep.methods.optimiser import OptimiserGroup

# the 28 sentences of the release, as it combines them; "a example" is its spelling
SUBJECTS = ("photo", "video", "example", "demonstration")
ACTS = ("", "a person", *(f"a person {verb}" for verb in ("using", "doing", "during", "performing", "practicing")))
MIXTURE = 0.6  # largest share of CLIP's weights in an interpolated step
MIXTURE_WEIGHT = 0.5
FIRST_AVERAGED = 2  # epoch
PATCHING_RATIO = 0.5  # share of CLIP's weights in the final ones
CLIP_NORM = 1.0
JITTER = 256 / 224  # longest side of a frame before the crop


def sentences(word: str) -> list[str]:
    """The 28 sentences for a class word."""
    return [" ".join(f"a {subject} of {act} {word}.".split()) for subject in SUBJECTS for act in ACTS]


def temporal_attention(attention: nn.MultiheadAttention, tokens: Tensor, frames: int) -> Tensor:
    """Self-attention of tokens ``(B F, L, W)`` in which a frame sees the next, the previous and its own tokens.

    It uses the projections of the block's `attention` and has no parameters of its own. Before the first and after the
    last frame of a clip there are zero keys and values, which take their share of the softmax, as in the release.
    """
    width, heads = tokens.shape[-1], attention.num_heads
    joint = functional.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = joint.unflatten(0, (-1, frames)).chunk(3, dim=-1)

    def view(part: Tensor) -> Tensor:
        nothing = torch.zeros_like(part[:, :1])
        following = torch.cat([part[:, 1:], nothing], dim=1)
        preceding = torch.cat([nothing, part[:, :-1]], dim=1)
        return torch.cat([following, preceding, part], dim=2)

    def split(part: Tensor) -> Tensor:
        return part.flatten(0, 1).unflatten(2, (heads, width // heads)).transpose(1, 2)

    mixed = functional.scaled_dot_product_attention(split(query), split(view(key)), split(view(value)))
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


class VideoTower(nn.Module):
    """A copy of CLIP's vision tower whose blocks attend to neighbouring frames."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = copy.deepcopy(tower)

    def forward(self, images: Tensor, frames: int) -> Tensor:
        """Features ``(B F, m)``, not normalised, of images ``(B F, 3, S, S)``."""
        tower: Any = self.tower
        x = tower.conv1(images).flatten(2).transpose(1, 2)
        start = tower.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = tower.ln_pre(torch.cat([start, x], dim=1) + tower.positional_embedding.to(x.dtype))
        for block in tower.transformer.resblocks:
            x = x + block.ls_1(temporal_attention(block.attn, block.ln_1(x), frames))
            x = x + block.ls_2(block.mlp(block.ln_2(x)))
        return tower.ln_post(x[:, 0]) @ tower.proj


class OpenVclip(Method):
    """Open-VCLIP; the whole vision tower learns, 87,849,216 parameters at full size.

    Logits: mean over frames of ``s cos(frame, class)`` against the fixed mean text feature of 28 sentences per class.
    The release scores no unknowns; the score is the maximum softmax probability, or the largest logit (`score`).

    Training: cross-entropy at the weights, and half the cross-entropy at weights drawn between these and CLIP's, whose
    gradient is applied unscaled; a batch in parts (`micro_batch`) draws for each part. Gradients are cut to norm 1;
    AdamW, decay 0.01 except on biases and norms. After training the weights are half CLIP's and half the mean over the
    ends of the epochs from the second on.

    Recipe, the row ``open_vclip``: lr 3.33e-6, batch 64, 22 epochs. The loop's steps stand for the release's warm-up of
    two epochs and its cosine: the rate falls to a fifth for the second half (a cosine's halves average 0.82 and 0.18 of
    its start). CLIP's scale s stays fixed; in the release it learns at that rate, which moves it by some percent.
    Augmentation: mirroring and a crop of 224 from 224 to 256 pixels, alike in all frames.

    `fine_tune: false`, the row ``open_vclip_zs`` with ``epochs: 0``, is a cheap stand-in for Open-VCLIP: CLIP without
    training, frame by frame, with the same sentences and score.

    A checkpoint holds the final weights and their running mean, 0.7 GB at full size. `cosine_scale` is s.
    """

    inputs: ClassVar[Literal["media", "features"]] = "media"
    towers: ClassVar[tuple[str, ...]] = ("vision",)
    splittable: ClassVar[bool] = False

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.class_features = nn.Buffer(torch.zeros(len(self.classes), sizes.text))
        self.averaged = nn.Buffer(torch.zeros((), dtype=torch.int64))
        self.learns = settings["fine_tune"]
        if self.learns:
            self.tower = VideoTower(encoders.vision.tower).requires_grad_(True)
            self.mean_tower = VideoTower(encoders.vision.tower).requires_grad_(False)
        self._steps_per_epoch = 0

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """The tower by AdamW, without decay on vectors; an HcepError when zero-shot CLIP is to be trained."""
        if not self.learns and settings["epochs"]:
            raise HcepError("zero-shot CLIP has nothing to learn", remedy="set epochs: 0 beside fine_tune: false")
        return OptimiserGroup.adamw((value for value in self.parameters() if value.requires_grad), settings)

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Encode the sentences of the classes, and count the steps of an epoch."""
        text = self.encoders.text
        for place, word in enumerate(self.words):
            tokens = text.tokenize(sentences(word)).to(self.class_features.device)
            with self.encoding():
                features = text(tokens).float()
            self.class_features[place] = functional.normalize(features, dim=-1).mean(dim=0)
        self.class_features.copy_(functional.normalize(self.class_features, dim=-1))
        if self.settings["fine_tune"]:
            self._steps_per_epoch = sum(1 for _ in batches)

    def images(self, batch: Batch) -> Tensor:
        """Normalised frames ``(B F, 3, S, S)``; a clip without video is zeros."""
        vision = self.encoders.vision
        clips = frames_of(batch).movedim(-1, -3).float() / 255
        if self.training and self.settings["augmentation"] == "official":
            share = 1 / uniform(len(clips), 1.0, JITTER, clips.device)
            clips = zoom_and_flip(clips, share, share)
        return ((clips.flatten(0, 1) - vision.mean) / vision.std).masked_fill(absent_images(batch), 0.0)

    def logits(self, frames: Tensor) -> Tensor:
        """Mean over frames of the scaled cosines ``(B, K)`` of frame features ``(B, F, m)``."""
        cosines = functional.normalize(frames, dim=-1) @ self.class_features.to(frames.dtype).T
        return self.settings["cosine_scale"] * cosines.mean(dim=1)

    def frame_features(self, images: Tensor, frames: int, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Features of every frame ``(B, F, m)``, with `weights` in place of the tower's own if given."""
        with self.encoding():
            if self.learns:
                features = functional_call(self.tower, weights or {}, (images, frames))
            else:
                features = self.encoders.vision(images)
        return features.float().unflatten(0, (-1, frames))

    def interpolated(self, share: float) -> dict[str, Tensor]:
        """Weights with a `share` of CLIP's; their gradient reaches the tower's own weights unscaled."""
        pairs = zip(self.tower.named_parameters(), self.encoders.vision.tower.parameters(), strict=True)
        return {name: value + share * (start - value).detach() for (name, value), start in pairs}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` at the weights, ``loss_interpolated`` at weights on the way back to CLIP's."""
        images, frames = self.images(batch), frames_of(batch).shape[1]
        logits = self.logits(self.frame_features(images, frames))
        terms = {"loss_cls": functional.cross_entropy(logits, batch.label), "accuracy": accuracy(logits, batch.label)}
        if self.learns:
            weights = self.interpolated(MIXTURE * float(torch.rand(())))
            between = self.logits(self.frame_features(images, frames, weights))
            terms["loss_interpolated"] = MIXTURE_WEIGHT * functional.cross_entropy(between, batch.label)
        return terms

    def before_step(self) -> None:
        """Cut the gradient to norm 1."""
        nn.utils.clip_grad_norm_(self.tower.parameters(), CLIP_NORM)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """At the end of an epoch, from the second on, take the weights into the mean."""
        if not self._steps_per_epoch:
            return
        epoch, left = divmod(step + 1, self._steps_per_epoch)
        if left == 0 and FIRST_AVERAGED <= epoch <= self.settings["epochs"]:
            self.averaged.add_(1)
            for mean, now in zip(self.mean_tower.parameters(), self.tower.parameters(), strict=True):
                mean.add_((now - mean) / self.averaged)

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Set the weights to half CLIP's and half the mean, or half the last ones after a single epoch."""
        if not self.learns:
            return
        if not self.averaged:
            self.mean_tower.load_state_dict(self.tower.state_dict())
            self.averaged.fill_(1)
        clip = self.encoders.vision.tower.parameters()
        for value, mean, start in zip(self.tower.parameters(), self.mean_tower.parameters(), clip, strict=True):
            value.copy_(PATCHING_RATIO * start + (1 - PATCHING_RATIO) * mean)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Logits, their log max-softmax or maximum, and the mean of the frames' features."""
        frames = self.frame_features(self.images(batch), frames_of(batch).shape[1])
        logits = self.logits(frames.double())
        return Prediction(logits, self.usual_score(logits), {"vision": frames.mean(dim=1)})

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """``movement_tower`` = |now - CLIP's| / |CLIP's| over all weights of the tower."""
        if not self.learns:
            return {}
        pairs = list(zip(self.tower.parameters(), self.encoders.vision.tower.parameters(), strict=True))
        moved = sum((now - start).square().sum() for now, start in pairs)
        return {"movement_tower": float((moved / sum(start.square().sum() for _, start in pairs)) ** 0.5)}
