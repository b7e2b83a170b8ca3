"""Batch -> one feature per modality, with or without prompts, and what stands in for an absent modality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from torch import Tensor

from hcep.methods.method import Batch, Features

if TYPE_CHECKING:
    from hcep.encoders.folder import Encoders


class Prompts(NamedTuple):
    """Prompts: text ``(P, W_t)``, vision ``(P, W_v)`` or ``(layers, P, W_v)``, audio ``(P, A/10)``."""

    text: Tensor | None = None
    vision: Tensor | None = None
    audio: Tensor | None = None


def encode_media(
    encoders: Encoders,
    batch: Batch,
    prompts: Prompts | None = None,
    audio_place: Literal["prepend", "append"] = "prepend",
    audio_pool: Literal["all", "clip"] = "all",
) -> Features:
    """Encode tokens, frames and waveforms of a batch (paper eq. 3).

    An absent modality is neutral input, never a dropped clip: no words leave the prompts alone, no video is zeros after
    CLIP's normalisation, no sound is zeros after the waveform's. The vision feature is the mean over frames of
    un-normalised CLIP features.
    """
    if batch.tokens is None or batch.frames is None or batch.waveform is None:
        raise ValueError("this batch holds cached features, not media")
    prompts = prompts or Prompts()
    text = encoders.text(batch.tokens, prompts.text).float()
    clips, count = batch.frames.shape[:2]
    absent = batch.missing[:, 1].repeat_interleave(count)
    vision = encoders.vision.encode_frames(batch.frames.flatten(0, 1), absent, prompts.vision)
    waveform = encoders.audio.normalise(batch.waveform, batch.samples)
    audio = encoders.audio(waveform, prompts.audio, audio_place, audio_pool).float()
    return Features(text, vision.float().view(clips, count, -1).mean(dim=1), audio)
