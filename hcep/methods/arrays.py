"""Clips and fitted numbers between torch, where methods live, and numpy, where `hcep.evaluation.distance` computes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from hcep.evaluation.distance import Bools, Features
from hcep.methods.method import Batch, Prediction, cached_features


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

    def count_products(self, batch: Batch) -> bool:
        """Whether `batch` has shapes only, as where operations are counted, which torch does not see done by numpy.

        If so, one product of every clip with every matrix stands for them.
        """
        if batch.missing.is_meta:
            for value in self.buffers():
                if value.ndim == 2:
                    torch.zeros(len(batch.row), value.shape[1], dtype=value.dtype, device="meta") @ value.T.to("meta")
        return batch.missing.is_meta

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


def blank_prediction(batch: Batch, classes: int) -> Prediction:
    """Shapes only, where operations are counted."""
    logits = torch.zeros(len(batch.row), classes, dtype=torch.float64, device="meta")
    return Prediction(logits, logits[:, 0], dict(cached_features(batch)._asdict()))
