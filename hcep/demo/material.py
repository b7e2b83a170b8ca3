"""Faces and voices for pretraining, one from each speaker number."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from hcep.demo import voice
from hcep.demo.describe import draw_action
from hcep.demo.face import Action, draw_face
from hcep.demo.speaker import draw_speaker
from hcep.demo.voice import Prosody, speak

SIDE, SAMPLES = 64, 16_000  # the demo's input sizes


def make_face(number: int, seed: int) -> tuple[np.ndarray, Action]:
    """One pretraining face of speaker `number`, compressed and scaled as a decoded frame would be."""
    rng = np.random.default_rng([seed, 11, number])
    action = draw_action(rng)
    buffer = io.BytesIO()
    Image.fromarray(draw_face(draw_speaker(number), action)).save(buffer, "JPEG", quality=int(rng.integers(60, 96)))
    side = int(rng.integers(SIDE, SIDE + 3))
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
    picture = Image.open(buffer).resize((side, side), filters[int(rng.integers(2))])
    left, top = (int(v) for v in rng.integers(0, side - SIDE + 1, 2))
    return np.asarray(picture.crop((left, top, left + SIDE, top + SIDE))), action


def make_voice(number: int, seed: int) -> tuple[np.ndarray, Prosody]:
    """The middle second of one pretraining voice: random prosody, random syllables for words."""
    rng = np.random.default_rng([seed, 12, number])
    prosody = Prosody(*(float(v) for v in rng.uniform(voice.LOWER, voice.UPPER)))
    sentence = " ".join(
        "".join(rng.choice(list("bdfghklmnprstvwz")) + rng.choice(list("aeiou")) for _ in range(rng.integers(1, 4)))
        for _ in range(rng.integers(3, 8))
    )
    wave = speak(draw_speaker(number), sentence, prosody, rng)
    start = (len(wave) - SAMPLES) // 2
    return np.round(wave[start : start + SAMPLES] * 32767).astype(np.int16), prosody
