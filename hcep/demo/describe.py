"""Sentences that describe a drawn face in plain geometry: what the brows, lids and lips do, who wears glasses.

They are the only text of the demo's pretraining. No emotion and no word for an emotional display (smile, frown) occurs.
"""

from __future__ import annotations

from itertools import chain

import numpy as np

from hcep.demo.face import LOWER, Action
from hcep.demo.speaker import BACKGROUNDS, HAIRS, SKINS, Speaker

FAINT, STRONG = 0.15, 0.5  # below the first a part counts as resting, above the second as far out

RESTING: dict[str, tuple[str, ...]] = {
    "corner": ("the mouth is level", "the corners of the mouth are straight"),
    "open": ("the mouth is closed", "the jaw is shut"),
    "press": ("the lips are loose", "the lips are full"),
    "wide": ("the mouth has its usual width",),
    "skew": ("the mouth is even on both sides",),
    "brow": ("the brows are at rest", "the brows are in the middle"),
    "slant": ("the brows are flat", "the brows lie straight"),
    "lids": ("the eyes are half open", "the lids are at rest"),
    "gaze_x": ("the eyes look ahead",),
    "gaze_y": ("the eyes look straight",),
    "wrinkle": ("the nose is smooth",),
    "tilt": ("the head is upright",),
    "nod": ("the head is level",),
}
POSITIVE: dict[str, tuple[str, ...]] = {
    "corner": ("the corners of the mouth are{} up", "the mouth bends{} upward at the ends"),
    "open": ("the mouth is{} open", "the jaw is{} down"),
    "press": ("the lips are{} pressed together", "the lips are{} thin"),
    "wide": ("the mouth is{} wide", "the mouth is{} stretched"),
    "skew": ("the right corner of the mouth is{} higher", "the mouth rises{} to the right"),
    "brow": ("the brows are{} high", "the brows are{} raised"),
    "slant": ("the inner ends of the brows are{} up", "the brows fall{} to the outside"),
    "lids": ("the eyes are{} wide", "the upper lids are{} raised"),
    "gaze_x": ("the eyes look{} to the right",),
    "gaze_y": ("the eyes look{} down",),
    "wrinkle": ("the nose is{} wrinkled", "there are lines{} on the nose"),
    "tilt": ("the head leans{} to the right",),
    "nod": ("the head is{} lowered",),
}
NEGATIVE: dict[str, tuple[str, ...]] = {
    "corner": ("the corners of the mouth are{} down", "the mouth bends{} downward at the ends"),
    "wide": ("the mouth is{} narrow", "the mouth is{} round"),
    "skew": ("the left corner of the mouth is{} higher", "the mouth rises{} to the left"),
    "brow": ("the brows are{} low", "the brows are{} lowered"),
    "slant": ("the inner ends of the brows are{} down", "the brows rise{} to the outside"),
    "lids": ("the eyes are{} narrow", "the upper lids hang{} down"),
    "gaze_x": ("the eyes look{} to the left",),
    "gaze_y": ("the eyes look{} up",),
    "tilt": ("the head leans{} to the left",),
    "nod": ("the head is{} raised",),
}
DEGREES = {"faint": (" slightly", " a little"), "strong": ("", " very much", " far")}
OPENINGS = ("", "a face where ", "a drawing in which ", "here ")


def draw_action(rng: np.random.Generator) -> Action:
    """A random action: every part on its own at rest (4 in 10) or anywhere in its range."""
    lower = np.array(LOWER)
    values = np.where(rng.random(len(lower)) < 0.4, rng.normal(0, 0.05, len(lower)), rng.uniform(lower, 1))
    return Action(*(float(v) for v in np.maximum(values, lower)))


def describe(speaker: Speaker, action: Action, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """Three to five facts about the face in random order; one sentence in three also names a trait of the speaker.

    Parts far from rest are told about twice as often as others. The second result, bool ``(13,)``, is which action
    parameters the sentence tells.
    """
    values = np.array(action)
    weights = 0.5 + np.minimum(np.abs(values), 0.5)
    chosen = rng.choice(len(values), size=int(rng.integers(3, 6)), replace=False, p=weights / weights.sum())
    facts = [_fact(Action._fields[k], float(values[k]), rng) for k in chosen]
    if rng.random() < 1 / 3:
        facts.insert(int(rng.integers(len(facts) + 1)), _trait(speaker, rng))
    told = np.zeros(len(values), bool)
    told[chosen] = True
    return str(rng.choice(OPENINGS)) + ", ".join(facts[:-1]) + " and " + facts[-1], told


def vocabulary() -> set[str]:
    """Every word that `describe` can write."""
    colours = (*SKINS, *HAIRS, *BACKGROUNDS, "the hair skin wall behind is with without a glasses beard long short and")
    groups = [group for table in (RESTING, POSITIVE, NEGATIVE, DEGREES) for group in table.values()]
    return set(" ".join(chain(colours, *groups, OPENINGS)).replace("{}", " ").split())


def _fact(part: str, value: float, rng: np.random.Generator) -> str:
    if abs(value) < FAINT:
        return str(rng.choice(RESTING[part]))
    pattern = str(rng.choice((POSITIVE if value > 0 else NEGATIVE)[part]))
    return pattern.format(rng.choice(DEGREES["strong" if abs(value) > STRONG else "faint"]))


def _trait(speaker: Speaker, rng: np.random.Generator) -> str:
    traits = [
        f"the hair is {speaker.hair}",
        f"the skin is {speaker.skin}",
        f"the wall behind is {speaker.background}",
        "with glasses" if speaker.glasses else "without glasses",
        "with a beard" if speaker.beard else "without a beard",
        "the hair is long" if speaker.long_hair else "the hair is short",
    ]
    return str(rng.choice(traits))
