"""The clips of a run as batches on the device: media from the shards, or features that `encode` cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hcep.errors import HcepError
from hcep.files import digest, sha256_file
from hcep.media.store import Store
from hcep.methods.method import MODALITIES, Batch
from hcep.seal import check_file, open_hdf5

MISSING_FLAGS = ("no_text", "no_video", "no_audio")  # in the order of MODALITIES
READ_AT_ONCE = 256  # clips, when media move to an accelerator
DEVICE_SHARE = 4  # media may take one part in so many of an accelerator's free memory


def missing_mask(flags: Sequence[str]) -> Tensor:
    """bool ``(n, 3)``: which of text, vision, audio each clip lacks, from its ``;``-joined flags."""
    rows = [[flag in text.split(";") for flag in MISSING_FLAGS] for text in flags]
    return torch.tensor(rows, dtype=torch.bool).view(-1, 3)


class Feed:
    """Clips with labels; subclasses say how a batch is filled.

    Parameters
    ----------
    clips, labels : sequence
        Clip ids and class ids, -1 for unknown.
    missing : bool Tensor (n, 3)
        Absent modalities.
    device : torch.device
        Where batches go.

    Attributes
    ----------
    first : int
        Number of the first clip, from which the others count on: `Batch.row`. No two clips that a method meets may have
        the same number, so `Run.feed` sets another one for each of its feeds.
    groups : int64 Tensor (n,) or None
        Number of each clip's group, which `Run.feed` sets: `Batch.group`.
    """

    first = 0
    groups: Tensor | None = None

    def __init__(self, clips: Sequence[str], labels: Sequence[int], missing: Tensor, device: torch.device) -> None:
        self.clips, self.device = list(clips), device
        self.labels = torch.tensor(list(labels), dtype=torch.int64)
        self.missing = missing
        # batches are copied to an accelerator beside the step that runs there
        self.copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.clips)

    def content(self, positions: Tensor) -> dict[str, Tensor]:
        """The fields of `Batch` beside row, label, missing and group, for the clips at these positions."""
        raise NotImplementedError

    def batch(self, positions: Tensor) -> Batch:
        """The clips at these positions, on the device."""
        fields = self.content(positions)
        if self.groups is not None:
            fields["group"] = self.groups[positions]
        return Batch(positions + self.first, self.labels[positions], self.missing[positions], **fields).to(self.device)

    def _ahead(self, positions: Tensor) -> tuple[Batch, torch.cuda.Event | None]:
        """Called in the reader's thread: a batch, and the event after its copies to an accelerator."""
        if self.copies is None:
            return self.batch(positions), None
        with torch.cuda.stream(self.copies):
            return self.batch(positions), self.copies.record_event()

    def _arrived(self, batch: Batch, copied: torch.cuda.Event | None) -> Batch:
        """Make the device wait until a batch is there; this thread goes on at once."""
        if copied is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(copied)
            for value in batch:
                if value is not None and value.is_cuda:
                    value.record_stream(stream)
        return batch

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Batch]:
        """All clips in batches of `size` (the last one smaller), the next one read while the current one is used."""
        order = torch.arange(len(self)) if order is None else order
        parts = order.split(size) if len(order) else ()
        with ThreadPoolExecutor(1) as reader:
            jobs = (reader.submit(self._ahead, part) for part in parts)
            # a pair is whole once its second job has started; a job that does nothing stands behind the last one
            for job, _ in pairwise(chain(jobs, [Future()])):
                yield self._arrived(*job.result())


class MediaFeed(Feed):
    """Tokens, frames and waveforms from the shards; kept in memory when they fit.

    Parameters
    ----------
    store : Store
        The cache of the task's datasets.
    tokenize : callable
        Texts to tokens ``(n, L)``.
    resident_bytes : int
        Media up to this size are read once and kept; with 0 every batch is read from the shards. Media that fill up to
        a quarter of an accelerator's free memory are kept there, whatever this number is, unless it is 0.
    """

    def __init__(
        self,
        store: Store,
        clips: Sequence[str],
        labels: Sequence[int],
        tokenize: Callable[[Sequence[str]], Tensor],
        device: torch.device,
        resident_bytes: int,
    ) -> None:
        super().__init__(clips, labels, missing_mask(store.flags(clips)), device)
        self.store = store
        self.samples = torch.from_numpy(store.samples(clips))
        tokens = tokenize(store.texts(clips))
        # the end mark is the token with the largest id; what follows it is padding
        self.lengths = tokens.argmax(dim=1) + 1
        self.tokens = tokens[:, : int(self.lengths.max())].clone() if clips else tokens
        self.resident: tuple[Tensor, Tensor] | None = None
        if clips and resident_bytes:
            size = sum(value.nbytes for value in self._read(clips[:1])) * len(clips)
            if size <= _device_room(device):
                self.resident = self._on_device()
            elif size <= resident_bytes:
                self.resident = self._read(clips)

    def _read(self, clips: Sequence[str]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.store.frames(clips)), torch.from_numpy(self.store.waveforms(clips))

    def _on_device(self) -> tuple[Tensor, Tensor]:
        count, first = len(self.clips), self._read(self.clips[:1])
        frames, waveforms = (torch.empty((count, *v.shape[1:]), dtype=v.dtype, device=self.device) for v in first)
        for start in range(0, count, READ_AT_ONCE):
            part = slice(start, start + READ_AT_ONCE)
            frames[part], waveforms[part] = self._read(self.clips[part])
        return frames, waveforms

    def content(self, positions: Tensor) -> dict[str, Tensor]:
        """``tokens`` up to the longest text, ``frames``, ``waveform`` and its ``samples`` of these positions."""
        if self.resident is None:
            frames, waveform = self._read([self.clips[int(i)] for i in positions])
        else:
            frames, waveform = (value[positions.to(value.device)] for value in self.resident)
        if self.copies is not None and frames.device.type == "cpu":
            # only from pinned memory do copies run beside the step
            frames, waveform = frames.pin_memory(), waveform.pin_memory()
        longest = int(self.lengths[positions].max()) if len(positions) else 0
        media = {"tokens": self.tokens[positions, :longest], "frames": frames, "waveform": waveform}
        return media | {"samples": self.samples[positions]}


def _device_room(device: torch.device) -> int:
    """Bytes that media may take on an accelerator."""
    return torch.cuda.mem_get_info(device)[0] // DEVICE_SHARE if device.type == "cuda" else 0


class FeatureTable:
    """Features of all clips in files of `hcep encode`; read when first needed, once for all runs that share it."""

    def __init__(self, shards: Sequence[Path]) -> None:
        self.shards = list(shards)

    @cached_property
    def digest(self) -> str:
        """Digest of the files."""
        return digest([sha256_file(path) for path in self.shards])

    @cached_property
    def _content(self) -> tuple[list[dict[str, str]], dict[str, int], list[str], dict[str, Tensor]]:
        """Attributes of every shard, the row of every clip, flags, and the features of each modality ``(n, D)``."""
        attributes, clips, flags = list[dict[str, str]](), list[str](), list[str]()
        columns: dict[str, list[np.ndarray]] = {name: [] for name in MODALITIES}
        for path in self.shards:
            with open_hdf5(path) as file:
                check_file(file, path)
                attributes.append(dict(file.attrs))
                names = file["clip"].asstr()[()].tolist()
                clips += names
                flags += file["flags"].asstr()[()].tolist()
                # a shard without a clip may not know the shape of what it lacks
                for name in MODALITIES if names else ():
                    columns[name].append(file[name][()])
        values = {name: torch.from_numpy(np.concatenate(parts)) for name, parts in columns.items() if parts}
        return attributes, {clip: row for row, clip in enumerate(clips)}, flags, values

    def of(self, clips: Sequence[str], made_with: Mapping[str, Sequence[str]]) -> tuple[list[str], dict[str, Tensor]]:
        """Flags of clips, and copies of their features of each modality ``(n, D)``.

        Raises
        ------
        HcepError
            A file has an attribute that is not among the allowed ones of `made_with`, or a clip is in none of them.
        """
        attributes, rows, flags, values = self._content
        for path, found in zip(self.shards, attributes, strict=True):
            for key, allowed in made_with.items():
                if found.get(key) not in allowed:
                    cause = f"was made with another {key} than this run's"
                    raise HcepError(cause, file=path, remedy="run `hcep encode` again")
        lost = [clip for clip in clips if clip not in rows]
        if lost:
            raise HcepError(
                f"{len(lost)} clips of the split have no features, first {lost[0]!r}",
                file=self.shards[0].parent if self.shards else None,
                remedy="run `hcep encode` for every shard of the current index",
            )
        places = torch.tensor([rows[clip] for clip in clips], dtype=torch.int64)
        if not clips:
            return [], {name: torch.zeros(0, 1) for name in MODALITIES}
        return [flags[rows[clip]] for clip in clips], {name: values[name][places] for name in MODALITIES}


class FeatureFeed(Feed):
    """Features of all clips, in memory.

    Parameters
    ----------
    table : FeatureTable
        Where they are read.
    made_with : dict
        Allowed values of the attributes of its files: ``encoder`` (digests of its weights, as JSON) and ``index``
        (digests).

    Raises
    ------
    HcepError
        A file was made with another encoder or index, or a clip is in none of them.
    """

    def __init__(
        self,
        table: FeatureTable,
        clips: Sequence[str],
        labels: Sequence[int],
        device: torch.device,
        made_with: Mapping[str, Sequence[str]],
    ) -> None:
        flags, self.features = table.of(clips, made_with)
        super().__init__(clips, labels, missing_mask(flags), device)

    def content(self, positions: Tensor) -> dict[str, Tensor]:
        """``text, vision, audio`` of these positions."""
        return {name: value[positions] for name, value in self.features.items()}

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Batch]:
        """All clips in batches of `size`; on the CPU in this thread: asking another takes longer than reading."""
        if self.device.type != "cpu":
            yield from super().batches(size, order)
            return
        order = torch.arange(len(self)) if order is None else order
        yield from map(self.batch, order.split(size) if len(order) else ())
