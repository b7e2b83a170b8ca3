"""HCEP as one would write it first: eager float32, whole tokens, everything encoded in every step, clips decoded anew.

Nothing is careless: weights are frozen, clips are decoded by worker processes, attention is the libraries' own. It
shares no code with `hcep.methods` and runs the towers through the libraries' modules alone, so it serves two ends: the
benchmark's other side, and the tests' second opinion on features and gradients. The paper's values throughout: K
classes, two text prompts, shallow vision prompts, audio prompts before the waveform, losses of eq. 5 and 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from hcep.encoders.folder import Encoders


class Clips(NamedTuple):
    """Tokens ``(B, 77)``, normalised frames ``(B, F, 3, S, S)``, normalised sound ``(B, A)``, labels ``(B,)``."""

    tokens: Tensor
    frames: Tensor
    sound: Tensor
    label: Tensor

    def to(self, device: torch.device) -> Clips:
        """The same on a device."""
        return Clips(*(value.to(device) for value in self))


class PlainHCEP(nn.Module):
    """The method; parameters have the names of `hcep.methods.hcep.HCEP`'s, so that one can load the other's."""

    def __init__(self, words: Sequence[str], encoders: Encoders, side: int, samples: int, start: str) -> None:
        super().__init__()
        count, text, vision, audio = len(words), encoders.text, encoders.vision, encoders.audio
        self.towers: list[Any] = [encoders.text, encoders.vision, encoders.audio]
        self.smep: Any = nn.Module()
        self.smep.delta_t = nn.Parameter(text.word_vectors(start))
        self.smep.n_v = nn.ModuleList([nn.Linear(text.width, vision.width)])
        self.smep.n_a = nn.Linear(text.width, samples // 10)
        self.cuep: Any = nn.Module()
        for sign in ("pos", "neg"):
            setattr(self.cuep, f"delta_v_{sign}", nn.Parameter(torch.randn(count, 3, side, side)))
            setattr(self.cuep, f"delta_a_{sign}", nn.Parameter(torch.randn(count, samples)))
        self.head: Any = nn.Module()
        self.head.text = nn.Linear(text.dim, text.dim)
        self.head.vision = nn.Linear(vision.dim, text.dim)
        self.head.audio = nn.Linear(audio.dim, text.dim)
        self.head.fuse = nn.Linear(3 * text.dim, text.dim)
        self.sentences = [f"This video is {word}" for word in words] + [f"This video is not {word}" for word in words]

    def encode_text(self, tokens: Tensor, prompts: Tensor | None) -> Tensor:
        """Features of tokens padded to the context length, prompts after the start mark."""
        tower = self.towers[0]
        count = 0 if prompts is None else len(prompts)
        end = tokens.argmax(dim=1) + count
        x = tower.token_embedding(tokens)
        if prompts is not None:
            x = torch.cat([x[:, :1], prompts.expand(len(x), -1, -1), x[:, 1:-count]], dim=1)
        x = tower.transformer(x + tower.positional_embedding, attn_mask=tower.mask)
        return tower.ln_final(x)[torch.arange(len(x)), end] @ tower.text_projection

    def encode_vision(self, images: Tensor, prompts: Tensor | None) -> Tensor:
        """Features of images, prompts behind the patches."""
        tower = self.towers[1].tower
        x = tower.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([tower.class_embedding.expand(len(x), 1, -1), x], dim=1) + tower.positional_embedding
        if prompts is not None:
            x = torch.cat([x, prompts.expand(len(x), -1, -1)], dim=1)
        return tower.ln_post(tower.transformer(tower.ln_pre(x)))[:, 0] @ tower.proj

    def encode_audio(self, sound: Tensor, prompts: Tensor | None) -> Tensor:
        """Features of waveforms, prompts before them."""
        if prompts is not None:
            sound = torch.cat([prompts.reshape(1, -1).expand(len(sound), -1), sound], dim=1)
        return self.towers[2].model(sound).last_hidden_state.mean(dim=1)

    def features(self, clips: Clips) -> tuple[Tensor, Tensor, Tensor]:
        """Text, vision and audio features of clips with their prompts."""
        text = self.smep.delta_t
        frames = self.encode_vision(clips.frames.flatten(0, 1), self.smep.n_v[0](text))
        return (
            self.encode_text(clips.tokens, text),
            frames.view(len(clips.frames), clips.frames.shape[1], -1).mean(dim=1),
            self.encode_audio(clips.sound, self.smep.n_a(text)),
        )

    def fused(self, text: Tensor, vision: Tensor, audio: Tensor) -> Tensor:
        """The head's output."""
        return self.head.fuse(torch.cat([self.head.text(text), self.head.vision(vision), self.head.audio(audio)], 1))

    def classes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positive sentences' features, and the positive and negative point of every class."""
        device = self.smep.delta_t.device
        text = self.encode_text(self.towers[0].tokenize(self.sentences).to(device), None).chunk(2)
        points = []
        for sign, sentences in zip(("pos", "neg"), text, strict=True):
            vision = self.encode_vision(getattr(self.cuep, f"delta_v_{sign}"), None)
            audio = self.encode_audio(getattr(self.cuep, f"delta_a_{sign}"), None)
            points.append(self.fused(sentences, vision, audio))
        return text[0], points[0], points[1]

    def logits(self, clips: Clips) -> tuple[Tensor, Tensor]:
        """Logits of eq. 5 (scale 100) and of eq. 8."""
        fused = self.fused(*self.features(clips))
        sentences, positive, negative = self.classes()
        cosine = functional.normalize(fused, dim=1) @ functional.normalize(sentences, dim=1).T
        size = fused.shape[1]
        far, near = (((fused[:, None] - p) ** 2).sum(2) / size - fused @ p.T for p in (negative, positive))
        return 100 * cosine, far - near

    def forward(self, clips: Clips) -> Tensor:
        """Sum of both losses."""
        cosine, distance = self.logits(clips)
        return functional.cross_entropy(cosine, clips.label) + functional.cross_entropy(distance, clips.label)


class DecodedClips(Dataset[Clips]):
    """Clips of a folder, decoded whenever they are asked for."""

    def __init__(self, paths: Sequence[Path], texts: Tensor, labels: Sequence[int], encoders: Encoders, sizes: Any):
        self.paths, self.texts, self.labels = list(paths), texts, list(labels)
        self.mean, self.std = encoders.vision.mean.cpu(), encoders.vision.std.cpu()
        self.frames, self.side, self.samples = sizes.frames, sizes.side, sizes.samples

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Clips:
        path = str(self.paths[number])
        with av.open(path) as file:
            pictures = [frame.reformat(self.side, self.side, "rgb24").to_ndarray() for frame in file.decode(video=0)]
        chosen = np.linspace(0, len(pictures) - 1, self.frames).round().astype(int)
        frames = torch.from_numpy(np.stack([pictures[i] for i in chosen])).permute(0, 3, 1, 2).float() / 255
        with av.open(path) as file:
            resampler = av.AudioResampler("flt", "mono", 16_000)
            pieces = [part.to_ndarray()[0] for frame in file.decode(audio=0) for part in resampler.resample(frame)]
        sound = torch.from_numpy(np.concatenate(pieces))[: self.samples]
        sound = functional.pad(sound, (0, self.samples - len(sound)))
        sound = (sound - sound.mean()) / torch.sqrt(sound.var(unbiased=False) + 1e-7)
        return Clips(self.texts[number], (frames - self.mean) / self.std, sound, torch.tensor(self.labels[number]))


def loader(clips: DecodedClips, batch: int, workers: int = 4) -> DataLoader[Clips]:
    """Shuffled batches from `workers` processes."""
    return DataLoader(clips, batch, shuffle=True, num_workers=workers, pin_memory=torch.cuda.is_available())
