"""Small random instances of the real encoder classes, and settings to go with them."""

from __future__ import annotations

from typing import Any

import torch

from hcep.config.methods import base_method
from hcep.encoders.fetch import CLIP_MEAN, CLIP_STD
from hcep.encoders.folder import Encoders, assemble, build_audio, build_clip, build_towers
from hcep.methods.method import Batch, Sizes
from hcep.training.complexity import build_shapes, parameters
from hcep.training.feed import Feed

CLIP = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"layers": 2, "width": 48, "head_width": 16, "patch_size": 16, "image_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
AUDIO = {
    "model_type": "wav2vec2",
    "hidden_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "group",
}
INFO = {"name": "small", "stand_in": True, "clip": CLIP, "audio": AUDIO, "mean": CLIP_MEAN, "std": CLIP_STD}
ROUNDING = 2.0**-8  # of bf16, which has eight significant bits
SIZES = Sizes(frames=3, side=32, samples=4000, text=32, vision=32, audio=40)
WORDS = {"anger": "angry", "fear": "fearful", "happiness": "happy"}
CLASSES = ("anger", "fear", "happiness")
SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 4,
    "micro_batch": 0,
    "lr": 0.005,
    "lr_step": 2,
    "lr_decay": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "precision": "fp32",
    "device": "cpu",
    "resident_gb": 1,
    "cuda_graphs": True,
    "selection": "last",
    "sample_prompts": True,
    "guide": "text",
    "prompt_words": "facial expression",
    "prompt_tokens": 2,
    "text_prompt": "embedding",
    "vision_prompt": "shallow",
    "audio_prompt": "prepend",
    "audio_pool": "all",
    "class_prompts": "media",
    "class_tokens": 4,
    "prompt_lr_tokens": 0.02,
    "class_text": "fixed",
    "class_text_prompted": False,
    "pixel_normalisation": False,
    "points": "prompted",
    "point_features": "head",
    "emo_features": "fused",
    "emo_points": "text",
    "cosine_scale": 1.0,
    "normalise_features": False,
    "losses": ["emo", "osr"],
    "loss_reduction": "mean",
    "prompts": "learned",
    "prompt_step": "sgd",
    "prompt_step_rms": 0.129,
    "prompt_lr_pixels": 0.01,
    "prompt_lr_semantic": 0.001,
    "inference": "osr",
    "score": "log_softmax",
    "rival_score": "official",
    "rival_optimiser": "official",
    "cpn_delta": 0.5,
    "swap_share": 0.5,
    "outlier_start": 1,
    "a2d_weight": 0.5,
    "outlier_weight": 0.5,
    "entropy_weight": 0.5,
    "negative_epochs": 1,
    "negative_lr": 0.1,
    "cssr_logits": "p",
    "cssr_depth": 10,
    "cssr_widen": 1,
    "augmentation": "official",
    "hesp_defects": False,
    "hesp_step_norm": 50,
    "fine_tune": True,
    "missing": "neutral",
    "head_dim": 0,
    "audio_layers_lr": 0.001,
    "logistic_c": 1.0,
    "distance_power": 0.25,
    "ridge": 0.01,
    "score_folds": 3,
    "lexicon": "all",
    "lexicon_scale": 100,
    "words": WORDS,
}


def settings_for(base: str, **changes: Any) -> dict[str, Any]:
    """What a run of this base method reads, and nothing else."""
    keys = base_method(base).model_fields
    return {key: value for key, value in (SETTINGS | changes).items() if key in keys}


def small_encoders(seed: int = 0) -> Encoders:
    """CLIP and wav2vec 2.0 of a few thousand weights, random, in the modules that a folder is loaded into."""
    torch.manual_seed(seed)
    libraries, own = (build_clip(CLIP), build_audio(AUDIO)), build_towers(INFO)
    for library, module in zip(libraries, own, strict=True):
        module.load_state_dict(library.state_dict())
    return assemble(*own, INFO)


def media_batch(encoders: Encoders, count: int = 5, seed: int = 0) -> Batch:
    """Random clips: the second lacks words, the third video, the fourth sound."""
    generator = torch.Generator().manual_seed(seed)
    texts = ["we won the game", "", "they shouted at me", "it was nothing", "the train leaves at nine"] * 4
    missing = torch.zeros(count, 3, dtype=torch.bool)
    frames = torch.randint(0, 256, (count, 3, 32, 32, 3), dtype=torch.uint8, generator=generator)
    waveform = (torch.randn(count, 4000, generator=generator) * 3000).to(torch.int16)
    for column, row in ((0, 1), (1, 2), (2, 3)):
        if row < count:
            missing[row, column] = True
    frames[missing[:, 1]] = 0
    waveform[missing[:, 2]] = 0
    label = torch.arange(count) % len(CLASSES)
    return Batch(torch.arange(count), label, missing, encoders.text.tokenize(texts[:count]), frames, waveform)


def feature_batch(count: int = 6, seed: int = 0) -> Batch:
    """Random cached features."""
    generator = torch.Generator().manual_seed(seed)
    widths = (SIZES.text, SIZES.vision, SIZES.audio)
    features = (torch.randn(count, width, generator=generator) for width in widths)
    missing = torch.zeros(count, 3, dtype=torch.bool)
    missing[0, 2] = True
    return Batch(torch.arange(count), torch.arange(count) % 3, missing, None, None, None, *features)


class MemoryFeed(Feed):
    """A feed over one batch that is already in memory."""

    def __init__(self, batch: Batch, device: torch.device | None = None) -> None:
        clips = [f"clip{i}" for i in batch.row]
        super().__init__(clips, batch.label.tolist(), batch.missing, device or torch.device("cpu"))
        self.whole = batch

    def content(self, positions):
        fields = ("tokens", "frames", "waveform", "text", "vision", "audio")
        values = {name: getattr(self.whole, name) for name in fields}
        return {name: value[positions] for name, value in values.items() if value is not None}


def note_images(monkeypatch, vision) -> list[int]:
    """From now on, how many images every pass of a vision encoder takes."""
    counts: list[int] = []

    def noting(own):
        def noted(images, *given):
            counts.append(len(images))
            return own(images, *given)

        return noted

    for name in ("forward", "encode_frames"):
        monkeypatch.setattr(vision, name, noting(getattr(vision, name)))
    return counts


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """|one - other| / |other|."""
    one, other = one.detach().double(), other.detach().double()
    return float((one - other).norm() / other.norm())


def count_learnable(method_class, classes, sizes, encoders, settings) -> int:
    """Learnable parameters of a method, built without memory for its tensors."""
    return parameters(build_shapes(method_class, classes, sizes, encoders, settings), learnable=True)
