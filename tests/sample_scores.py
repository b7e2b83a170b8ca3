"""Synthetic scores of one run, for the tests of the evaluation stage."""

from __future__ import annotations

from typing import Any

import numpy as np

from hcep.evaluation.scores import Scores


def make_scores(*, n: int = 60, clips: int = 0, shift: float = 1.0, model: int = 0, **fields: Any) -> Scores:
    """n training and 2n test clips; `clips` fixes the clips, `model` and `shift` what the model says about them."""
    sample, random = np.random.default_rng(clips), np.random.default_rng([clips, model, round(1000 * shift)])
    classes = ("anger", "joy", "fear")
    part = np.array(["train"] * n + ["test"] * (2 * n))
    known = np.array([True] * n + [True, False] * n)
    label = np.where(known, sample.choice(classes, 3 * n), sample.choice(["disgust", "shame"], 3 * n))
    group = np.array([f"speaker{index}" for index in sample.integers(0, 12, 3 * n)])
    prediction = np.where(known & (random.random(3 * n) < 0.6), label, random.choice(classes, 3 * n))
    values: dict[str, Any] = {
        "dataset": np.array(["corpus"] * (3 * n)),
        "clip": np.array([f"clip {index:04d} ä" for index in range(3 * n)]),
        "part": part,
        "label": label,
        "group": group,
        "prediction": prediction,
        "flags": np.array(["", "no_audio;no_text", ""] * n),
        "known": known,
        "logits": random.normal(size=(3 * n, 3)),
        # two decimals, so that scores tie
        "score": np.round(random.normal(size=3 * n) + shift * known, 2),
        "features": {"fused": random.normal(size=(3 * n, 4)).astype(np.float32)},
        "classes": classes,
        "method": "hcep",
        "task": "demo",
        "openness": "k3u2",
        "split": "split1",
        "seed": 1,
        "settings": {"selection": "last", "lr": 5e-4},
        "versions": {"hcep": "0.1.0"},
        "stand_in": True,
        "text_kind": "asr",
    }
    return Scores(**(values | fields))
