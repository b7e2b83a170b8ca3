"""Pretraining of the demo's encoders by a rule of our own, on generated data only.

CLIP learns to match drawn faces with sentences on their geometry (symmetric InfoNCE, Radford et al. 2021); wav2vec 2.0
learns to tell pitch, span, slope, rate, effort, breath, tremor and pauses of synthetic voices (mean squared error on
the mean of its last hidden states). No emotion is a target, and speakers, sentences and clips are not the demo's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from hcep.demo.describe import describe
from hcep.demo.face import Action
from hcep.demo.material import SIDE, make_all, make_face, make_voice
from hcep.demo.speaker import draw_speaker, pretraining_speaker_numbers
from hcep.demo.voice import Prosody
from hcep.encoders.audio import AudioEncoder
from hcep.encoders.folder import build_audio, build_clip, save_encoders, unseen_tokens
from hcep.encoders.text import TextEncoder
from hcep.encoders.vision import VisionEncoder
from hcep.errors import HcepError

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's pixels
COMMAND = "hcep pretrain_demo_encoders --output hcep/demo/weights"
HELD_OUT = 512  # faces and voices that training does not see, for the printed measures

CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": SIDE, "layers": 3, "width": 96, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}
AUDIO_CONFIG: dict[str, Any] = {
    "model_type": "wav2vec2",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "conv_dim": [32] * 7,
    "num_feat_extract_layers": 7,
    "feat_extract_norm": "group",
    "do_stable_layer_norm": False,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "apply_spec_augment": False,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "layerdrop": 0.0,
}


class Faces(NamedTuple):
    """Pictures uint8 ``(N, 64, 64, 3)`` with the speaker and the action of each."""

    pictures: Tensor
    speakers: list[int]
    actions: list[Action]


class Voices(NamedTuple):
    """Waveforms int16 ``(N, 16000)`` and their prosody ``(N, 8)``, each column with mean 0 and deviation 1."""

    waves: Tensor
    prosody: Tensor


def make_faces(count: int, seed: int, workers: int) -> Faces:
    """`count` faces of as many speakers."""
    numbers = pretraining_speaker_numbers(seed, count)
    made = make_all(partial(make_face, seed=seed), numbers, workers, "draw faces")
    return Faces(torch.from_numpy(np.stack([m[0] for m in made])), list(numbers), [m[1] for m in made])


def make_voices(count: int, seed: int, workers: int) -> Voices:
    """`count` voices of as many speakers."""
    numbers = pretraining_speaker_numbers(seed, count)
    made = make_all(partial(make_voice, seed=seed), numbers, workers, "speak")
    prosody = torch.tensor([m[1] for m in made], dtype=torch.float32)
    # pitch becomes absolute: a voice does not tell the base of its speaker
    prosody[:, 0] += 12 * torch.tensor([draw_speaker(number).base_f0 for number in numbers]).log2()
    scaled = (prosody - prosody.mean(0)) / prosody.std(0)
    return Voices(torch.from_numpy(np.stack([m[0] for m in made])), scaled)


def train_clip(faces: Faces, *, seed: int, steps: int, batch: int = 128) -> tuple[CLIP, Tensor]:
    """Contrastive pretraining.

    Returns
    -------
    model : CLIP
        With every token row that no sentence used as it was drawn from `seed`.
    seen : int64 Tensor
        The token rows that were trained.
    """
    with _seeded(seed):
        model = build_clip(CLIP_CONFIG)
    with torch.no_grad():
        model.token_embedding.weight.copy_(unseen_tokens(*model.token_embedding.weight.shape, seed))
    text, vision = TextEncoder(model), VisionEncoder(model, MEAN, STD)
    rng = np.random.default_rng([seed, 13])
    train = len(faces.speakers) - HELD_OUT
    people = [draw_speaker(number) for number in faces.speakers]
    seen = torch.zeros(model.token_embedding.weight.shape[0], dtype=torch.bool)

    def loss_of(rows: np.ndarray) -> Tensor:
        tokens = text.tokenize([describe(people[k], faces.actions[k], rng) for k in rows])
        seen[tokens.unique()] = True
        a = functional.normalize(vision(vision.normalise(faces.pictures[rows])), dim=1)
        b = functional.normalize(text(tokens), dim=1)
        logits = model.logit_scale.clamp(max=4.6052).exp() * a @ b.T
        target = torch.arange(len(rows))
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2

    _fit(model, loss_of, (rng.choice(train, batch, replace=False) for _ in range(steps)), steps, "train clip")
    model.eval()
    with torch.no_grad():
        rows = np.arange(train, len(people))
        pictures = vision(vision.normalise(faces.pictures[rows]))
        sentences = text(text.tokenize([describe(people[k], faces.actions[k], rng) for k in rows]))
        similarity = functional.normalize(pictures, dim=1) @ functional.normalize(sentences, dim=1).T
        rank = (similarity >= similarity.diagonal()[:, None]).sum(1)
        _say(
            f"clip: of {HELD_OUT} held-out sentences the right one is first {float((rank == 1).float().mean()):.1%}, "
            f"in the first ten {float((rank <= 10).float().mean()):.1%}; feature norms: "
            f"vision {float(pictures.norm(dim=1).mean()):.2f}, text {float(sentences.norm(dim=1).mean()):.2f}"
        )
    seen[0] = True  # padding
    return model, seen.nonzero().flatten()


def train_audio(voices: Voices, *, seed: int, steps: int, batch: int = 64) -> PreTrainedModel:
    """Regression of prosody on the pooled feature; the regression layer is thrown away."""
    with _seeded(seed + 1):
        model = build_audio(AUDIO_CONFIG)
        readout = nn.Linear(model.config.hidden_size, voices.prosody.shape[1])
    encoder = AudioEncoder(model)
    rng = np.random.default_rng([seed, 14])
    train = len(voices.waves) - HELD_OUT

    def loss_of(rows: np.ndarray) -> Tensor:
        return functional.mse_loss(readout(encoder(encoder.normalise(voices.waves[rows]))), voices.prosody[rows])

    both = nn.ModuleList([model, readout])
    _fit(both, loss_of, (rng.choice(train, batch, replace=False) for _ in range(steps)), steps, "train audio")
    model.eval()
    with torch.no_grad():
        features = torch.cat([encoder(encoder.normalise(part)) for part in voices.waves[train:].split(64)])
        truth = voices.prosody[train:]
        r2 = 1 - (readout(features) - truth).square().mean(0) / truth.var(0, unbiased=False)
    shares = ", ".join(f"{name} {float(v):.2f}" for name, v in zip(Prosody._fields, r2, strict=True))
    _say(f"audio: held-out R2: {shares}; feature norm {float(features.norm(dim=1).mean()):.2f}")
    return model


def pretrain_demo_encoders(
    output: str | Path,
    *,
    seed: int = 0,
    faces: int = 20_000,
    clip_steps: int = 1_200,
    voices: int = 8_000,
    audio_steps: int = 1_200,
    threads: int = 2,
) -> None:
    """Make the demo's encoders from nothing and write them as an encoder folder.

    Parameters
    ----------
    output : path
        Folder to fill (see `hcep.encoders.folder`).
    seed : int
        Same seed, thread count and library versions: same weights.
    faces, voices : int
        Size of the generated data, of which the last 512 of each are held out.
    clip_steps, audio_steps : int
        Optimiser steps.
    threads : int
        Torch threads and drawing processes.

    Raises
    ------
    HcepError
        When a number is out of range.
    """
    if seed < 0 or min(clip_steps, audio_steps, threads) < 1 or min(faces, voices) < HELD_OUT + 256:
        cause = f"seed, steps and threads must be positive, faces and voices at least {HELD_OUT + 256}"
        raise HcepError(cause, remedy="leave out the options: the defaults made the weights in the package")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        clip, seen = train_clip(make_faces(faces, seed, threads), seed=seed, steps=clip_steps)
        audio = train_audio(make_voices(voices, seed, threads), seed=seed, steps=audio_steps)
    finally:
        torch.set_num_threads(before)
    info = {
        "name": "demo",
        "stand_in": True,
        "source": f"generated faces and voices, seed {seed}; made by `{COMMAND}`",
        "token_seed": seed,
        "clip": CLIP_CONFIG,
        "audio": AUDIO_CONFIG,
        "mean": list(MEAN),
        "std": list(STD),
    }
    save_encoders(output, clip, audio, info, seen_tokens=seen)


def _fit(model: nn.Module, loss_of: Callable[[Any], Tensor], batches: Iterator[Any], steps: int, what: str) -> None:
    """AdamW with warm-up and cosine decay; prints the mean loss ten times."""
    # decay would also shrink the token rows that no sentence uses, which must stay as they were drawn
    named = [(p.dim() > 1 and "token_embedding" not in name, p) for name, p in model.named_parameters()]
    decayed, plain = [p for decay, p in named if decay], [p for decay, p in named if not decay]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-3, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    model.train()
    recent: list[float] = []
    start = time.monotonic()
    for step, rows in enumerate(batches, 1):
        optimizer.zero_grad()
        loss = loss_of(rows)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % max(steps // 10, 1) == 0:
            _say(f"{what}: step {step}/{steps}, loss {np.mean(recent):.3f}, {time.monotonic() - start:.0f} s")
            recent.clear()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, from which modules draw their start values, and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
