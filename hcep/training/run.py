"""One run, method x openness x split x seed: its data, its device, its resume state, its method and its predictions."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hcep.encoders.info import made_by
from hcep.errors import HcepError
from hcep.files import digest, discard, sha256_file
from hcep.media.store import Store, open_stores
from hcep.methods.audio_layers import build_method
from hcep.methods.method import Batch, Method, Prediction, Sizes, cached_features
from hcep.progress import progress
from hcep.protocol.make_split import Split, read_split
from hcep.training.checkpoint import STATE_FILE
from hcep.training.devices import choose_device, note_slow_precision
from hcep.training.feed import FeatureFeed, FeatureTable, Feed, MediaFeed


class Shared(NamedTuple):
    """The cached features and the cache of a task's datasets."""

    table: FeatureTable
    store: Store

    @classmethod
    def of(cls, inputs: Inputs) -> Shared:
        """What these inputs name."""
        return cls(FeatureTable(inputs.features), open_stores(inputs.index))

    def made_of(self, split: Path) -> dict[str, str]:
        """Digests of what a run reads beside its encoder: the index, the split, and cached features."""
        return {"index": self.store.digest, "split": sha256_file(split), "features": self.table.digest}


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
    encoder, encoders : dict, hcep.encoders.folder.Encoders or None
        Contents of ``encoder.json``, and the loaded encoders, None for methods that ask none.
    shared : Shared or None
        What other runs of this process read too.
    """

    split: Path
    index: Sequence[Path]
    features: Sequence[Path]
    encoder: dict[str, Any]
    encoders: Any
    shared: Shared | None = None

    def sharing(self) -> Inputs:
        """The same, from which several runs of one process read what they share once."""
        return replace(self, shared=Shared.of(self))


def check_side(side: int, encoders: Any, index: Path) -> None:
    """Refuse frames of another size than the encoder takes."""
    if side != encoders.vision.size:
        cause = f"frames are {side} x {side}, encoder {encoders.info['name']} takes {encoders.vision.size}"
        raise HcepError(cause, file=index, remedy="set the dataset entry's `size` to the encoder's")


class Run:
    """What `train`, `tune` and `score` share of one run.

    Parameters
    ----------
    inputs, method_class
        Where the run reads from, and its method.
    settings : dict
        What the loop and the method read.
    seed : int
        Of the method's start values and of the order of clips.

    Attributes
    ----------
    device : torch.device
        Where the run takes place; a slot on it is held as long as this object lives.
    split : Split
        Who is trained on and who is tested.
    table, store : FeatureTable, ClipStore or JoinedStore
        The cached features, and the cache of the task's datasets.
    """

    def __init__(self, inputs: Inputs, method_class: type[Method], settings: dict[str, Any], seed: int) -> None:
        self.inputs, self.method_class, self.settings, self.seed = inputs, method_class, settings, seed
        # methods on cached features train in seconds, so they leave an accelerator to the jobs that need one
        auto = settings["device"] == "auto" and method_class.inputs == "features"
        self._reservation = choose_device("cpu" if auto else settings["device"])
        self.device = self._reservation.device
        self.split: Split = read_split(inputs.split)
        self.table, self.store = inputs.shared or Shared.of(inputs)
        self._numbered = 0
        self._folders: list[Path] = []

    def with_settings(self, settings: dict[str, Any]) -> Run:
        """A run with other settings on the same data and device; `forget` of either removes the states of both."""
        other = copy.copy(self)
        other.settings, other._numbered = settings, 0
        return other

    def made_of(self) -> dict[str, str]:
        """Digests of what the run reads: the index, the split, cached features, and what encoder.json says."""
        # by another name an encoder is the same
        encoder = {key: value for key, value in self.inputs.encoder.items() if key not in ("name", "source")}
        return Shared(self.table, self.store).made_of(self.inputs.split) | {"encoder": digest(encoder)}

    def folder(self, work: Path, *job: str) -> Path:
        """Folder of the resume state of a job, below `work`.

        Its name is a digest of everything that decides the result, so that a state is never continued under other
        conditions: `job` (its kind, the method's name in the results, the digest of the code), seed, settings, kind of
        device, index, split, features and encoder weights.
        """
        read = [self.made_of(), made_by(self.inputs.encoder)]
        found = work / digest([job, self.seed, self.settings, self.device.type, read])
        self._folders.append(found)
        return found

    def forget(self) -> None:
        """Remove the resume states, once the results are written."""
        for folder in self._folders:
            discard(folder / STATE_FILE)

    def feed(self, clips: Sequence[str]) -> Feed:
        """Clips with their class ids and their groups, numbered on from the clips of this run's feeds before."""
        place = {name: i for i, name in enumerate(self.split.known)}
        labels = [place.get(self.split.labels[clip], -1) for clip in clips]
        feed: Feed
        if self.method_class.inputs == "features":
            encoder = json.dumps(made_by(self.inputs.encoder), sort_keys=True)
            made_with = {"encoder": [encoder], "index": self.store.digests}
            feed = FeatureFeed(self.table, clips, labels, self.device, made_with)
        else:
            tokenize, resident = self.inputs.encoders.text.tokenize, int(self.settings["resident_gb"] * 1e9)
            feed = MediaFeed(self.store, clips, labels, tokenize, self.device, resident)
        number = {name: i for i, name in enumerate(sorted(set(self.split.groups.values())))}
        feed.groups = torch.tensor([number[self.split.groups[clip]] for clip in clips], dtype=torch.int64)
        feed.first = self._numbered
        self._numbered += len(clips)
        return feed

    def build(self, feed: Feed) -> Method:
        """The method at its start values, which depend on the seed alone; `feed` shows the sizes of its inputs."""
        sample = feed.batch(torch.zeros(1, dtype=torch.int64))
        torch.manual_seed(self.seed)
        sizes, encoders = self._sizes(sample), self.inputs.encoders
        method = build_method(self.method_class, self.split.known, sizes, encoders, self.settings)
        if self.inputs.encoders is not None:
            note_slow_precision(self.device, self.settings["precision"])
            for module in self.inputs.encoders.modules():
                module.to(self.device)
        return method.to(self.device)

    def _sizes(self, sample: Batch) -> Sizes:
        encoders = self.inputs.encoders
        if self.method_class.inputs == "features":
            text, vision, audio = cached_features(sample)
            layers = audio.shape[1] if audio.dim() == 3 else 0
            return Sizes(0, 0, 0, text.shape[1], vision.shape[1], audio.shape[-1], layers)
        assert sample.frames is not None and sample.waveform is not None
        frames, side = sample.frames.shape[1:3]
        check_side(side, encoders, self.inputs.index[0])
        dims = encoders.text.dim, encoders.vision.dim, encoders.audio.dim
        return Sizes(frames, side, sample.waveform.shape[1], *dims, encoders.audio.states)

    def predict(self, method: Method, feed: Feed, positions: range | None = None, title: str = "") -> Prediction:
        """Logits, score and features of clips, on the CPU; the method is put into evaluation mode.

        Parameters
        ----------
        positions : range, optional
            Which clips of the feed, at least one; default: all.
        title : str
            What the log calls this; nothing is logged without it.
        """
        method.eval()
        order, size = torch.tensor(positions or range(len(feed))), self.settings["batch_size"]
        batches = feed.batches(size, order)
        shown = progress(batches, -(-len(order) // size), title, "batch") if title else batches
        # fetched at the end: after every batch an accelerator would wait for the next one to be asked for
        return on_cpu([method.predict(batch) for batch in shown])

    def accuracy(self, method: Method, feed: Feed) -> float:
        """Share of a feed's clips whose largest logit is that of their class."""
        return int((self.predict(method, feed).logits.argmax(1) == feed.labels).sum()) / len(feed)


def on_cpu(parts: Sequence[Prediction]) -> Prediction:
    """The predictions of several batches as one, on the CPU."""
    return Prediction(
        torch.cat([part.logits.cpu() for part in parts]),
        torch.cat([part.score.cpu() for part in parts]),
        {name: torch.cat([part.features[name].cpu() for part in parts]) for name in parts[0].features},
    )
