"""One run, method x openness x split x seed: its data, its device, and how its method is built."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hcep.errors import HcepError
from hcep.media.store import open_stores
from hcep.methods.method import Batch, Method, Sizes
from hcep.protocol.make_split import Split, read_split
from hcep.training.devices import choose_device, note_slow_precision
from hcep.training.features_file import FeaturesFileFeed
from hcep.training.feed import FeatureFeed, Feed, MediaFeed, missing_mask


@dataclass(frozen=True)
class Inputs:
    """Where a run reads from.

    Attributes
    ----------
    split : path
        Split JSON.
    index : sequence of path
        ``index.h5`` of every dataset of the task; the shards lie beside each.
    features : sequence of path
        Feature shards, empty for methods on media.
    encoder : dict
        Contents of ``encoder.json``.
    encoders : hcep.encoders.folder.Encoders or None
        Loaded encoders, None for methods on cached features.
    """

    split: Path
    index: Sequence[Path]
    features: Sequence[Path]
    encoder: dict[str, Any]
    encoders: Any


def check_side(side: int, encoders: Any, index: Path) -> None:
    """Refuse frames of another size than the encoder takes."""
    if side != encoders.vision.size:
        raise HcepError(
            f"frames are {side} x {side}, encoder {encoders.info['name']} takes {encoders.vision.size}",
            file=index,
            remedy="set the dataset entry's `size` to the encoder's",
        )


class Run:
    """What training and scoring of a run share: data, device, and how its method is built."""

    def __init__(self, inputs: Inputs, method_class: type[Method], settings: dict[str, Any], seed: int) -> None:
        self.inputs, self.method_class, self.settings, self.seed = inputs, method_class, settings, seed
        # cached features train in seconds: an accelerator that no job has reserved is left alone
        auto = settings["device"] == "auto" and inputs.encoders is None
        self.reservation = choose_device("cpu" if auto else settings["device"])
        self.device = self.reservation.device
        if inputs.encoders is not None:
            note_slow_precision(self.device, settings["precision"])
        self.split: Split = read_split(inputs.split)
        self.store = open_stores(inputs.index)

    def feed(self, clips: Sequence[str]) -> Feed:
        """The clips of one part with their class ids."""
        place = {name: i for i, name in enumerate(self.split.known)}
        labels = [place.get(self.split.labels[clip], -1) for clip in clips]
        if supplied := self.method_class.features_of:
            missing, width = missing_mask(self.store.flags(clips)), self.method_class.features_width
            files = self.inputs.features
            return FeaturesFileFeed(files, clips, labels, missing, self.device, encoder=supplied, width=width)
        if self.inputs.encoders is None:
            encoder = json.dumps(self.inputs.encoder["sha256"], sort_keys=True)
            made_with = {"encoder": [encoder], "index": self.store.digests}
            return FeatureFeed(self.inputs.features, clips, labels, self.device, made_with)
        resident = int(self.settings["resident_gb"] * 1e9)
        return MediaFeed(self.store, clips, labels, self.inputs.encoders.text.tokenize, self.device, resident)

    def build(self, feed: Feed) -> Method:
        """The method at its start values, which depend on the seed alone."""
        sample = feed.batch(torch.zeros(1, dtype=torch.int64))
        torch.manual_seed(self.seed)
        method = self.method_class(self.split.known, self._sizes(sample), self.inputs.encoders, self.settings)
        if self.inputs.encoders is not None:
            for module in self.inputs.encoders.modules():
                module.to(self.device)
        return method.to(self.device)

    def _sizes(self, sample: Batch) -> Sizes:
        encoders = self.inputs.encoders
        if encoders is None:
            widths = (int(value.shape[1]) for value in (sample.text, sample.vision, sample.audio) if value is not None)
            return Sizes(0, 0, 0, *widths)
        assert sample.frames is not None and sample.waveform is not None
        frames, side = sample.frames.shape[1:3]
        check_side(side, encoders, self.inputs.index[0])
        samples = int(sample.waveform.shape[1])
        return Sizes(int(frames), int(side), samples, encoders.text.dim, encoders.vision.dim, encoders.audio.dim)
