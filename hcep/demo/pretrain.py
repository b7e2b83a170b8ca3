"""Pretraining of the demo's encoders by a rule of our own, on generated data only.

CLIP learns to match drawn faces with sentences on their geometry (symmetric InfoNCE, Radford et al. 2021), helped by a
linear readout of that geometry and by telling random words apart; wav2vec 2.0 learns to tell pitch, span, slope, rate,
effort, breath, tremor and pauses of synthetic voices (mean squared error on the mean of its last hidden states). No
emotion is a target, and speakers, sentences and clips are not the demo's.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from transformers import PreTrainedModel

from hcep.demo.describe import describe, vocabulary
from hcep.demo.face import Action
from hcep.demo.material import SIDE, make_face, make_voice
from hcep.demo.speaker import draw_speaker, pretraining_speaker_numbers
from hcep.demo.voice import Prosody
from hcep.encoders.audio import AudioEncoder
from hcep.encoders.fetch import CLIP_MEAN, CLIP_STD
from hcep.encoders.folder import build_audio, build_clip, save_encoders, unseen_tokens
from hcep.encoders.text import TextEncoder
from hcep.encoders.vision import VisionEncoder
from hcep.errors import HcepError
from hcep.progress import progress, say

COMMAND = "hcep pretrain_demo_encoders --output hcep/demo/weights"
WORD_SCALE = 10.0  # fixed logit scale of the loss on random words
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
}
DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop")
AUDIO_CONFIG |= dict.fromkeys(DROPOUTS, 0.0)

Arrays = dict[str, np.ndarray]


class Faces(NamedTuple):
    """Pictures uint8 ``(N, 64, 64, 3)`` with the speaker and the action of each."""

    pictures: Tensor
    speakers: list[int]
    actions: list[Action]


class Voices(NamedTuple):
    """Waveforms int16 ``(N, 16000)`` and their prosody ``(N, 8)``, each column with mean 0 and deviation 1."""

    waves: Tensor
    prosody: Tensor


def make_faces(count: int, seed: int) -> Faces:
    """`count` faces of as many speakers."""
    numbers = pretraining_speaker_numbers(seed, count)
    made = (make_face(number, seed) for number in progress(numbers, count, "draw", "face"))
    pictures, actions = zip(*made, strict=True)
    return Faces(torch.from_numpy(np.stack(pictures)), list(numbers), list(actions))


def make_voices(count: int, seed: int) -> Voices:
    """`count` voices of as many speakers."""
    numbers = pretraining_speaker_numbers(seed, count)
    made = (make_voice(number, seed) for number in progress(numbers, count, "speak", "voice"))
    waves, manners = zip(*made, strict=True)
    prosody = torch.tensor(manners, dtype=torch.float32)
    # pitch becomes absolute: a voice does not tell the base of its speaker
    prosody[:, 0] += 12 * torch.tensor([draw_speaker(number).base_f0 for number in numbers]).log2()
    return Voices(torch.from_numpy(np.stack(waves)), (prosody - prosody.mean(0)) / prosody.std(0))


def known_tokens(text: TextEncoder) -> Tensor:
    """Rows of the token table that pretraining may move: padding, marks, comma and the words of the descriptions."""
    return text.tokenize([", " + " ".join(part) for part in np.array_split(sorted(vocabulary()), 8)]).unique()


def random_words(text: TextEncoder, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two views ``(count, L)`` of token rows drawn from the whole vocabulary; each view leaves out about a third."""
    end = len(text.tokenizer.encoder) - 1
    views = torch.zeros((2, count, 12), dtype=torch.int64)
    for row in range(count):
        ids = rng.integers(256, end - 1, int(rng.integers(4, 10)))
        for view in views:
            kept = ids[rng.random(len(ids)) > 0.35]
            tokens = [end - 1, *(kept if len(kept) else ids[:1]), end]
            view[row, : len(tokens)] = torch.tensor(tokens)
    return views[0], views[1]


def train_clip(faces: Faces, *, seed: int, vision_steps: int, clip_steps: int, batch: int = 128) -> tuple[CLIP, Tensor]:
    """Geometry first, for the vision tower alone; then pictures against sentences, with geometry as a second loss.

    A layer that is thrown away reads the action parameters from a feature. It is common to both towers; of a sentence
    it is asked only what the sentence tells. Without it a contrastive loss on so few steps sees little but pose. A
    third loss matches two views of random words, so that the text tower does not go deaf to all other vocabulary; the
    vectors of those words stay as they are.

    Returns
    -------
    model : CLIP
        With every token row outside `seen` as it was drawn from `seed`.
    seen : int64 Tensor
        The token rows that were trained.
    """
    # modules draw their start values from torch's global generator, which goes back to where it was
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_clip(CLIP_CONFIG)
        readout = nn.Linear(CLIP_CONFIG["embed_dim"], len(Action._fields))
    with torch.no_grad():
        rows, width = model.token_embedding.weight.shape
        model.token_embedding.weight.copy_(unseen_tokens(rows, width, seed))
    text, vision = TextEncoder(model), VisionEncoder(model, CLIP_MEAN, CLIP_STD)
    rng = np.random.default_rng([seed, 13])
    train = len(faces.speakers) - HELD_OUT
    people = [draw_speaker(number) for number in faces.speakers]
    actions = torch.tensor(faces.actions, dtype=torch.float32)
    seen = known_tokens(text)
    moves = torch.zeros(rows, 1)
    moves[seen] = 1
    model.token_embedding.weight.register_hook(lambda gradient: gradient * moves)

    def look(rows: np.ndarray) -> Tensor:
        return vision(vision.normalise(faces.pictures[rows]))

    def geometry_loss(rows: np.ndarray) -> Tensor:
        return functional.mse_loss(readout(look(rows)), actions[rows])

    def match_loss(rows: np.ndarray) -> Tensor:
        sentences, told = zip(*(describe(people[k], faces.actions[k], rng) for k in rows), strict=True)
        pictures, words = look(rows), text(text.tokenize(sentences))
        errors = (readout(words) - actions[rows])[torch.from_numpy(np.stack(told))]
        geometry = functional.mse_loss(readout(pictures), actions[rows]) + errors.square().mean()
        one, other = (text(view) for view in random_words(text, len(rows), rng))
        deafness = info_nce(one, other, torch.tensor(WORD_SCALE).log())
        return info_nce(pictures, words, model.logit_scale) + 2 * geometry + 0.5 * deafness

    def draw() -> np.ndarray:
        return rng.choice(train, batch, replace=False)

    _fit("train vision", nn.ModuleList([model.visual, readout]), geometry_loss, draw, vision_steps, 3e-3)
    _fit("train clip", nn.ModuleList([model, readout]), match_loss, draw, clip_steps, 2e-3)
    model.eval()
    with torch.no_grad():
        rows = np.arange(train, len(people))
        pictures = look(rows)
        words = text(text.tokenize([describe(people[k], faces.actions[k], rng)[0] for k in rows]))
        say("vision: held-out R2: " + _explained(readout(pictures), actions[rows], Action._fields))
    say(_retrieval(pictures, words))
    return model, seen


def info_nce(pictures: Tensor, words: Tensor, log_scale: Tensor) -> Tensor:
    """Symmetric contrastive loss of features ``(B, D)`` that belong together row by row (Radford et al. 2021)."""
    logits = log_scale.clamp(max=4.6052).exp() * _cosines(pictures, words)  # at most 100, as CLIP
    target = torch.arange(len(logits))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def _cosines(pictures: Tensor, words: Tensor) -> Tensor:
    return functional.normalize(pictures, dim=1) @ functional.normalize(words, dim=1).T


def ranks(pictures: Tensor, words: Tensor) -> Tensor:
    """Place ``(B,)`` of the right sentence among all, 1 = nearest, for every picture."""
    similarity = _cosines(pictures, words)
    return (similarity >= similarity.diagonal()[:, None]).sum(1)


def _retrieval(pictures: Tensor, words: Tensor) -> str:
    rank = ranks(pictures, words)
    first, ten = ((rank <= place).float().mean() for place in (1, 10))
    seen, read = (features.norm(dim=1).mean() for features in (pictures, words))
    found = f"of {len(rank)} held-out sentences the right one is first {first:.1%}, in the first ten {ten:.1%}"
    return f"clip: {found}; feature norms: vision {seen:.2f}, text {read:.2f}"


def _explained(guess: Tensor, truth: Tensor, names: Sequence[str]) -> str:
    share = 1 - (guess - truth).square().mean(0) / truth.var(0, unbiased=False)
    return ", ".join(f"{name} {float(v):.2f}" for name, v in zip(names, share, strict=True))


def train_audio(voices: Voices, *, seed: int, steps: int, batch: int = 64) -> PreTrainedModel:
    """Regression of prosody on the pooled feature; the regression layer is thrown away."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        model = build_audio(AUDIO_CONFIG)
        readout = nn.Linear(model.config.hidden_size, voices.prosody.shape[1])
    encoder = AudioEncoder(model)
    rng = np.random.default_rng([seed, 14])
    train = len(voices.waves) - HELD_OUT

    def loss_of(rows: np.ndarray) -> Tensor:
        return functional.mse_loss(readout(encoder(encoder.normalise(voices.waves[rows]))), voices.prosody[rows])

    both = nn.ModuleList([model, readout])
    _fit("train audio", both, loss_of, lambda: rng.choice(train, batch, replace=False), steps, 2e-3)
    model.eval()
    with torch.no_grad():
        features = torch.cat([encoder(encoder.normalise(part)) for part in voices.waves[train:].split(64)])
        shares = _explained(readout(features), voices.prosody[train:], Prosody._fields)
    say(f"audio: held-out R2: {shares}; feature norm {float(features.norm(dim=1).mean()):.2f}")
    return model


def pretrain_demo_encoders(
    output: str | Path,
    *,
    seed: int = 0,
    faces: int = 16_000,
    vision_steps: int = 1_500,
    clip_steps: int = 800,
    voices: int = 6_000,
    audio_steps: int = 800,
    threads: int = 2,
) -> None:
    """Make the demo's encoders from nothing and write them as an encoder folder.

    Parameters
    ----------
    output : path
        Folder to fill (see `hcep.encoders.folder`).
    seed : int
        Same seed and library versions: same weights.
    faces, voices : int
        Size of the generated data, of which the last 512 of each are held out.
    vision_steps, clip_steps, audio_steps : int
        Optimiser steps.
    threads : int
        With 2 or more, CLIP and the audio encoder are trained side by side. Each takes one thread, always, so the
        result does not depend on it.

    Raises
    ------
    HcepError
        When a number is out of range.
    """
    steps = min(vision_steps, clip_steps, audio_steps, threads)
    if seed < 0 or steps < 1 or min(faces, voices) < HELD_OUT + 256:
        cause = f"seed, steps and threads must be positive, faces and voices at least {HELD_OUT + 256}"
        raise HcepError(cause, remedy="leave out the options: the defaults made the weights in the package")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(threads, 2), spawn, torch.set_num_threads, (1,)) as pool:
        clip_job = pool.submit(_clip_job, faces, seed, vision_steps, clip_steps)
        audio_job = pool.submit(_audio_job, voices, seed, audio_steps)
        (clip_state, seen), audio_state = clip_job.result(), audio_job.result()
    clip, audio = build_clip(CLIP_CONFIG), build_audio(AUDIO_CONFIG)
    for model, arrays in ((clip, clip_state), (audio, audio_state)):
        model.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    source = f"generated faces and voices, seed {seed}; made by `{COMMAND}`"
    info = {"name": "demo", "stand_in": True, "source": source, "token_seed": seed}
    info |= {"clip": CLIP_CONFIG, "audio": AUDIO_CONFIG, "mean": CLIP_MEAN, "std": CLIP_STD}
    save_encoders(output, clip, audio, info, seen_tokens=torch.from_numpy(seen))


def _clip_job(faces: int, seed: int, vision_steps: int, clip_steps: int) -> tuple[Arrays, np.ndarray]:
    model, seen = train_clip(make_faces(faces, seed), seed=seed, vision_steps=vision_steps, clip_steps=clip_steps)
    return _arrays(model), seen.numpy()


def _audio_job(voices: int, seed: int, steps: int) -> Arrays:
    return _arrays(train_audio(make_voices(voices, seed), seed=seed, steps=steps))


def _arrays(model: nn.Module) -> Arrays:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def _fit(
    what: str, model: nn.Module, loss_of: Callable[[Any], Tensor], draw: Callable[[], Any], steps: int, rate: float
) -> None:
    """AdamW with warm-up and cosine decay on batches that `draw` gives; prints the mean loss ten times."""
    # decay would also shrink the token rows that no sentence uses, which must stay as they were drawn
    named = [(p.dim() > 1 and "token_embedding" not in name, p) for name, p in model.named_parameters()]
    decayed, plain = [p for decay, p in named if decay], [p for decay, p in named if not decay]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    schedule = OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1, cycle_momentum=False)
    model.train()
    recent: list[float] = []
    start = time.monotonic()
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = loss_of(draw())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % max(steps // 10, 1) == 0:
            say(f"{what}: step {step}/{steps}, loss {np.mean(recent):.3f}, {time.monotonic() - start:.0f} s")
            recent.clear()
