"""Who speaks: the looks of a drawn face and the build of a synthetic voice, drawn from a number.

Demo speakers and pretraining speakers come from two number ranges that never meet, so the pretrained encoders have
seen no speaker of the demo.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PRETRAINING_START = 1_000_000_000  # speaker numbers from here on belong to pretraining
SPEAKERS_PER_SEED = 1_000

Colour = tuple[int, int, int]

SKINS: dict[str, Colour] = {
    "pale": (247, 218, 196), "tan": (219, 172, 130), "brown": (160, 110, 75), "dark": (98, 66, 46),
}  # fmt: skip
HAIRS: dict[str, Colour] = {
    "black": (28, 24, 24), "brown": (92, 58, 34), "yellow": (214, 178, 96), "red": (160, 70, 34),
    "grey": (150, 150, 152),
}  # fmt: skip
BACKGROUNDS: dict[str, Colour] = {
    "white": (232, 232, 228), "blue": (92, 124, 176), "green": (104, 146, 104), "grey": (122, 122, 126),
    "orange": (206, 150, 92), "purple": (132, 100, 152),
}  # fmt: skip


class Speaker(NamedTuple):
    """Looks (lengths relative to the head) and voice (Hz, factors) of one speaker."""

    number: int
    skin: str
    hair: str
    background: str
    shade: Colour  # offsets of the three colours above, so that two pale faces still differ
    face_width: float
    face_length: float
    eye_distance: float
    eye_size: float
    mouth_width: float
    brow_thickness: float
    rest_corner: float  # resting mouth corners, a trait that is not an expression
    rest_brow: float
    fringe: float
    long_hair: bool
    glasses: bool
    beard: bool
    base_f0: float
    tract: float  # factor on all formants: short tracts above 1
    expressiveness: float  # how strongly this speaker moves away from neutral


def draw_speaker(number: int) -> Speaker:
    """The speaker of that number; the same on every machine."""
    rng = np.random.default_rng([number, 0x5BEA4E5])
    high = bool(rng.random() < 0.5)
    red, green, blue = rng.integers(-14, 15, 3).tolist()
    return Speaker(
        number=number,
        skin=str(rng.choice(list(SKINS))),
        hair=str(rng.choice(list(HAIRS))),
        background=str(rng.choice(list(BACKGROUNDS))),
        shade=(red, green, blue),
        face_width=rng.uniform(0.54, 0.66),
        face_length=rng.uniform(0.70, 0.80),
        eye_distance=rng.uniform(0.22, 0.28),
        eye_size=rng.uniform(0.85, 1.15),
        mouth_width=rng.uniform(0.85, 1.15),
        brow_thickness=rng.uniform(0.030, 0.055),
        rest_corner=rng.normal(0, 0.10),
        rest_brow=rng.normal(0, 0.10),
        fringe=rng.uniform(0.0, 1.0),
        long_hair=bool(rng.random() < 0.5),
        glasses=bool(rng.random() < 0.2),
        beard=bool(not high and rng.random() < 0.35),
        base_f0=rng.uniform(175, 225) if high else rng.uniform(95, 135),
        tract=rng.uniform(1.05, 1.20) if high else rng.uniform(0.90, 1.04),
        expressiveness=rng.uniform(0.8, 1.1),
    )


def demo_speaker_numbers(seed: int, count: int) -> range:
    """Numbers of the demo's speakers under `seed` (at most 1,000 of them, far below the pretraining range)."""
    start = (seed % 100_000) * SPEAKERS_PER_SEED
    return range(start, start + min(count, SPEAKERS_PER_SEED))


def pretraining_speaker_numbers(seed: int, count: int) -> range:
    """Numbers of the pretraining's speakers under `seed`, all at or above `PRETRAINING_START`."""
    start = PRETRAINING_START + (seed % 100_000) * 10 * SPEAKERS_PER_SEED
    return range(start, start + count)
