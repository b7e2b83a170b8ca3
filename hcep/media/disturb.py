"""Clips of the cache, disturbed on reading: noise, lost frames, blur, late sound, wrong words, a modality missing.

Nothing is written and no file is decoded again. What is drawn for a clip follows from its id, the kind of disturbance
and a seed, neither from the order of clips nor from the level: the frames and words that a low level spoils are among
those of a higher one, and noise is the same noise, louder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hcep.datasets.manifest_file import join_flags
from hcep.ffmpeg import RATE
from hcep.media.shards import ABSENT, SILENT
from hcep.media.store import Store

MISSING = "missing"
# kind of disturbance -> the part of a clip that it changes, and all parts that the clip must have
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "white_noise_db": ("audio", ("audio",)),
    "babble_db": ("audio", ("audio",)),
    "dropped_frames": ("frames", ("frames",)),
    "blur": ("frames", ("frames",)),
    "shift_ms": ("audio", ("audio", "frames")),
    "word_errors": ("text", ("text",)),
}
# modality, as settings name it -> the part of the cache
PARTS = {"text": "text", "vision": "frames", "audio": "audio"}
WITHOUT = {"text": "without words", "frames": "without video", "audio": "without sound"}
VOICES = 4

Int16 = NDArray[np.int16]
Uint8 = NDArray[np.uint8]
Floats = NDArray[np.float64]


class DisturbedStore(Store):
    """A store whose clips are disturbed in one way.

    Parameters
    ----------
    store : Store
        The clips as they are.
    kind : str
        One of `KINDS`, or ``missing``.
    level : float or str
        How strong; of ``missing`` the modality, ``text``, ``vision`` or ``audio``.
    trained : sequence of str
        Training clips, whose voices and words are drawn from.
    seed : int
        Of all draws.

    Attributes
    ----------
    part : str
        The part of a clip that is disturbed: ``frames``, ``audio`` or ``text``.
    changed : set of str
        Clips that were read so far, and whose content or flags differ from those of `store`.
    """

    def __init__(self, store: Store, kind: str, level: float | str, *, trained: Sequence[str], seed: int = 0) -> None:
        self.store, self.kind, self.level, self.trained, self.seed = store, kind, level, list(trained), seed
        self.digest, self.digests, self.faces = store.digest, store.digests, store.faces
        own = PARTS.get(str(level), "")
        self.part, self._needed = (own, (own,)) if kind == MISSING else KINDS[kind]
        self.changed: set[str] = set()

    def left_alone(self, clips: Sequence[str]) -> list[str]:
        """Why each clip cannot be disturbed so, '' where it can."""
        return [self._reason(clip, flags) for clip, flags in zip(clips, self.store.flags(clips), strict=True)]

    def _reason(self, clip: str, joined: str) -> str:
        flags = joined.split(";")
        lacking = [WITHOUT[part] for part in self._needed if ABSENT[part] in flags]
        if lacking:
            return lacking[0]
        if self.kind == MISSING:
            others = [flag for part, flag in ABSENT.items() if part != self.part and flag not in flags]
            return "" if others else "with no other modality"
        if self.part == "audio" and (SILENT in flags or not self.store.samples([clip])[0]):
            return "with silent sound"
        if self.kind == "babble_db" and not self._voices:
            return "without a training clip that can be heard"
        if self.kind == "word_errors" and len(self._vocabulary) < 2:
            return "without two words in the training clips"
        if self.kind == "dropped_frames" and self._frames < 2:
            return "of one frame"
        if self.kind == "shift_ms" and 2 * abs(self._late) > self.store.samples([clip])[0]:
            return "with sound shorter than twice the shift"
        return ""

    @property
    def _late(self) -> int:
        return round(float(self.level) * RATE / 1000)

    @cached_property
    def _frames(self) -> int:
        return self.store.frames(self.trained[:1]).shape[1]

    @cached_property
    def _voices(self) -> list[str]:
        """Training clips that can be heard."""
        deaf = {ABSENT["audio"], SILENT}
        flags = self.store.flags(self.trained)
        return sorted(clip for clip, own in zip(self.trained, flags, strict=True) if not deaf & {*own.split(";")})

    @cached_property
    def _vocabulary(self) -> list[str]:
        """Distinct words of the training clips."""
        return sorted({word for text in self.store.texts(self.trained) for word in text.split()})

    def _random(self, clip: str) -> np.random.Generator:
        key = hashlib.sha256(json.dumps([self.seed, self.kind, clip]).encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))

    def flags(self, clips: Sequence[str]) -> list[str]:
        flags = self.store.flags(clips)
        if self.kind == MISSING:
            lost = [not reason for reason in self.left_alone(clips)]
        elif self.part == "text":
            # a recogniser that hears no word leaves none
            lost = [old != new == "" for old, new in zip(self.store.texts(clips), self.texts(clips), strict=True)]
        else:
            return flags
        self.changed |= {clip for clip, gone in zip(clips, lost, strict=True) if gone}
        more = [ABSENT[self.part] if gone else "" for gone in lost]
        return [join_flags([*own.split(";"), flag]) for own, flag in zip(flags, more, strict=True)]

    def _read(self, kind: str, clips: Sequence[str]) -> np.ndarray:
        values = self.store._read(kind, clips)
        if kind != self.part:
            return values
        for place, (clip, reason) in enumerate(zip(clips, self.left_alone(clips), strict=True)):
            if not reason:
                self._replace(values, place, clip)
        return values

    def _replace(self, values: Any, place: int, clip: str) -> None:
        new = self._disturbed(values[place], clip)
        if not np.array_equal(new, values[place]):
            self.changed.add(clip)
            values[place] = new

    def _column(self, kind: str, column: str, clips: Sequence[str]) -> list[Any]:
        values = self.store._column(kind, column, clips)
        if kind != self.part or (column != "text" and self.kind != MISSING):
            return values
        empty: dict[str, Any] = {"text": "", "text_kind": "none", "samples": 0}
        for place, (clip, reason) in enumerate(zip(clips, self.left_alone(clips), strict=True)):
            if not reason and self.kind == MISSING:
                values[place] = empty.get(column, values[place])
            elif not reason:
                self._replace(values, place, clip)
        return values

    def _disturbed(self, value: Any, clip: str) -> Any:
        """One clip's frames, waveform or words."""
        if self.kind == MISSING:
            return np.zeros_like(value)
        level = float(self.level)
        if self.kind == "word_errors":
            return wrong_words(value, level, self._vocabulary, self._random(clip))
        if self.kind == "dropped_frames":
            return drop_frames(value, level, self._random(clip))
        if self.kind == "blur":
            return blur(value, level)
        own = self.store.samples([clip])[0]
        if self.kind == "shift_ms":
            sound = shift(value[:own], self._late)
        elif self.kind == "white_noise_db":
            sound = add_noise(value[:own], self._random(clip).normal(size=own), level)
        else:
            sound = add_noise(value[:own], self._babble(own, self._random(clip)), level)
        return np.concatenate([sound, value[own:]])

    def _babble(self, count: int, random: np.random.Generator) -> Floats:
        """Sum (count,) of the voices of some training clips, equally loud, each repeated to the length."""
        drawn = random.choice(self._voices, min(VOICES, len(self._voices)), replace=False).tolist()
        sounds = zip(self.store.waveforms(drawn), self.store.samples(drawn), strict=True)
        voices = [sound[:own].astype(np.float64) for sound, own in sounds if np.ptp(sound[:own])]
        return np.sum([np.resize(voice / voice.std(), count) for voice in voices], axis=0)


def add_noise(sound: Int16, noise: Floats, ratio: float) -> Int16:
    """Sound (n,) with noise (n,) at a signal-to-noise ratio in dB, 10 log10(var(sound) / var(noise)), over these n.

    A mixture that would not fit into 16 bits is made quieter as a whole, so that nothing is clipped. Where sound or
    noise does not vary there is no such ratio, and the sound stays as it is.
    """
    if not np.ptp(noise) or not np.ptp(sound):
        return sound
    own, noise = sound.astype(np.float64), noise - noise.mean()
    mixed = own + noise * np.sqrt(own.var() / noise.var() / 10 ** (ratio / 10))
    mixed *= min(1, np.iinfo(np.int16).max / np.abs(mixed).max())
    return np.rint(mixed).astype(np.int16)


def shift(sound: Int16, late: int) -> Int16:
    """Sound (n,) that is `late` samples late, early below 0; silence enters, and what leaves the n samples is lost."""
    moved = np.zeros_like(sound)
    if late >= 0:
        moved[late:] = sound[: len(sound) - late]
    else:
        moved[:late] = sound[-late:]
    return moved


def drop_frames(frames: Uint8, share: float, random: np.random.Generator) -> Uint8:
    """Frames (F, S, S, 3) of which round(share F) show the last one before them that was kept; the first one stays."""
    lost = 1 + random.permutation(len(frames) - 1)[: round(share * len(frames))]
    kept = np.where(np.isin(np.arange(len(frames)), lost), 0, np.arange(len(frames)))
    return frames[np.maximum.accumulate(kept)]


def blur(frames: Uint8, sigma: float) -> Uint8:
    """Frames (F, S, S, 3) under a Gaussian filter of `sigma` S pixels; at the rim the outermost pixels go on."""
    width = sigma * frames.shape[1]
    smooth = gaussian_filter(frames.astype(np.float32), (0, width, width, 0), mode="nearest")
    return np.rint(smooth).astype(np.uint8)


def wrong_words(text: str, rate: float, vocabulary: Sequence[str], random: np.random.Generator) -> str:
    """Words of which each is wrong with the chance `rate`, so that this is the expected word error rate.

    Half of the errors replace a word by another one of the vocabulary, a quarter lose it, and a quarter put a word of
    the vocabulary behind it. A text without an error keeps its spaces.
    """
    words: list[str] = []
    wrong = False
    for word in text.split():
        chance, kind, place = random.random(), random.random(), int(random.integers(len(vocabulary)))
        if chance >= rate:
            words.append(word)
            continue
        wrong = True
        if kind < 0.5:
            words.append(vocabulary[place] if vocabulary[place] != word else vocabulary[place - 1])
        elif kind < 0.75:
            words += [word, vocabulary[place]]
    return " ".join(words) if wrong else text
