"""The answer for one clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN = "unknown"
# what is to be known of a clip beside the flags of the cache: its words are of another kind than those that were
# trained with, or its frames show whole pictures where those of training showed faces
OTHER_TEXT, WHOLE_PICTURE = "other_text_kind", "whole_picture"


@dataclass(frozen=True)
class Answer:
    """What a model says of one clip.

    Attributes
    ----------
    clip, file : str
        Name of the clip (its file's, where it has none), and the file.
    start, end : float or None
        Part of the file in seconds; None: from its start, to its end.
    label : str
        A known class, ``unknown``, or '' for a clip that gave no answer.
    accepted : bool or None
        Whether the score reaches the threshold; None without an answer.
    score : float or None
        Higher = more known.
    threshold, acceptance : float
        What the score is compared with: this share of the known training clips reaches it.
    nearest : str
        Class of the largest logit, which is the label of an accepted clip.
    probabilities : dict of str to float
        Softmax of the logits, by class. It divides 1 among the known classes alone, so it is high for some unknown
        clips too, and it is not calibrated.
    modalities : tuple of str
        Which of text, vision and audio the method reads and the clip has.
    text, text_kind : str
        The words that were used.
    flags : tuple of str
        ``no_text``, ``no_video``, ``no_audio``, ``silent_audio``, ``other_text_kind`` (not of a kind that was trained
        with), ``whole_picture`` (the model was trained on faces).
    reason : str
        What is to be known of its media, or why there is no answer.
    """

    clip: str
    file: str
    start: float | None
    end: float | None
    label: str
    accepted: bool | None
    score: float | None
    threshold: float
    acceptance: float
    nearest: str
    probabilities: Mapping[str, float]
    modalities: tuple[str, ...]
    text: str
    text_kind: str
    flags: tuple[str, ...]
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return {**self.__dict__, "probabilities": dict(self.probabilities)}
