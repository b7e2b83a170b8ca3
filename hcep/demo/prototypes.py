"""What an emotion looks and sounds like in the demo: one point in action space and one in prosody space each.

The names are MAFW's. Neighbours share much of their face or voice (`CONFUSABLE`), so no modality suffices alone.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np

from hcep.demo.face import Action
from hcep.demo.voice import Prosody

# under None stands the neutral face and voice
FACES: dict[str | None, Action] = {
    None: Action(),
    "anger": Action(corner=-0.3, press=0.7, brow=-0.8, slant=-0.9, lids=0.3, wrinkle=0.2),
    "disgust": Action(corner=-0.4, open=0.15, brow=-0.5, slant=-0.4, lids=-0.4, wrinkle=0.9),
    "fear": Action(corner=-0.2, open=0.4, wide=0.6, brow=0.7, slant=0.6, lids=0.8),
    "happiness": Action(corner=0.9, open=0.15, wide=0.6, lids=-0.2, brow=0.1),
    "sadness": Action(corner=-0.7, slant=0.8, brow=0.1, lids=-0.3, gaze_y=0.4, nod=0.4),
    "surprise": Action(open=0.7, wide=-0.3, brow=0.9, lids=0.8),
    "contempt": Action(corner=0.1, skew=0.9, press=0.2, lids=-0.3, tilt=0.3, nod=-0.4),
    "anxiety": Action(corner=-0.2, press=0.6, brow=0.3, slant=0.5, lids=0.4, gaze_x=0.7),
    "helplessness": Action(corner=-0.4, open=0.1, brow=0.5, slant=0.7, tilt=0.6, gaze_y=-0.4),
    "disappointment": Action(corner=-0.5, press=0.5, brow=-0.2, slant=0.2, lids=-0.4, gaze_y=0.6, nod=0.5),
}
VOICES: dict[str | None, Prosody] = {
    None: Prosody(),
    "anger": Prosody(3, 4, -3, 5.4, 0.95, 0.05, 0.0, 0.02),
    "disgust": Prosody(-2, 3, -4, 4.0, 0.65, 0.25, 0.0, 0.06),
    "fear": Prosody(6, 2.5, 1, 5.8, 0.55, 0.45, 0.6, 0.02),
    "happiness": Prosody(4, 5, 1, 5.0, 0.70, 0.15, 0.0, 0.02),
    "sadness": Prosody(-2, 1, -3, 3.4, 0.20, 0.50, 0.2, 0.10),
    "surprise": Prosody(5, 6, 6, 4.6, 0.75, 0.25, 0.0, 0.03),
    "contempt": Prosody(-3, 1.5, -1, 3.8, 0.50, 0.05, 0.0, 0.08),
    "anxiety": Prosody(2, 2, 0, 6.0, 0.35, 0.30, 0.5, 0.06),
    "helplessness": Prosody(0, 1.5, -4, 3.2, 0.20, 0.75, 0.5, 0.12),
    "disappointment": Prosody(-2, 2, -6, 4.0, 0.30, 0.35, 0.0, 0.08),
}
CONFUSABLE: dict[str, tuple[str, ...]] = {
    "anger": ("disgust", "contempt"),
    "disgust": ("anger", "contempt"),
    "fear": ("anxiety", "surprise"),
    "happiness": ("surprise", "contempt"),
    "sadness": ("disappointment", "helplessness"),
    "surprise": ("fear", "happiness"),
    "contempt": ("disgust", "disappointment"),
    "anxiety": ("fear", "helplessness"),
    "helplessness": ("sadness", "anxiety"),
    "disappointment": ("sadness", "contempt"),
}
EMOTIONS = tuple(CONFUSABLE)


def load_transcripts() -> dict[str, Any]:
    """Sentence patterns: ``slots``, ``neutral``, ``emotions`` (name -> patterns) and ``shared`` (pattern, emotions)."""
    return json.loads(files("hcep.demo").joinpath("words/transcripts.json").read_text(encoding="utf-8"))


def write_sentence(emotion: str | None, words: dict[str, Any], rng: np.random.Generator) -> str:
    """A sentence that someone in that emotion might say; None gives one that says nothing of it.

    One in eight comes from the sentences that several emotions share.
    """
    shared = [entry["text"] for entry in words["shared"] if emotion in entry["emotions"]]
    own = words["neutral"] if emotion is None else words["emotions"][emotion]
    patterns = shared if shared and rng.random() < 0.125 else own
    sentence = str(rng.choice(patterns))
    for slot, values in words["slots"].items():
        sentence = sentence.replace("{" + slot + "}", str(rng.choice(values)))
    return sentence
