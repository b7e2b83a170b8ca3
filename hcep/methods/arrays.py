"""Clips and fitted numbers between torch, where methods live, and numpy, where `hcep.evaluation.distance` computes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from hcep.evaluation.distance import Bools, Features
from hcep.methods.method import Batch, cached_features


class Arrays(nn.Module):
    """Numpy arrays as buffers, so that a checkpoint keeps them and they move with their method.

    `state` gives the names, shapes and types.
    """

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        for name, value in state.items():
            self.register_buffer(name, torch.from_numpy(value))

    def keep(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over the values of `state`."""
        for name, value in state.items():
            self.get_buffer(name).copy_(torch.from_numpy(value))

    def state(self) -> dict[str, NDArray[Any]]:
        """The values, on the CPU."""
        return {name: value.cpu().numpy() for name, value in self.named_buffers()}


def joined(batches: Iterable[Batch]) -> Batch:
    """All clips of several batches as one, on the CPU."""
    parts = [{key: value.cpu() for key, value in batch._asdict().items() if value is not None} for batch in batches]
    return Batch(**{key: torch.cat([part[key] for part in parts]) for key in parts[0]})


def clip_arrays(clips: Batch) -> tuple[Features, Bools]:
    """The cached features by modality, and bool ``(B, 3)`` which of them are missing."""
    features = cached_features(clips)._asdict()
    return {name: value.cpu().numpy() for name, value in features.items()}, clips.missing.cpu().numpy()
