"""Work on a batch, recorded as a CUDA graph and replayed, so that the device gets thousands of kernels in one call.

A GPU computes a step of HCEP at full size in half the time in which a processor hands it the kernels one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_map

from hcep.methods.method import Batch
from hcep.progress import say
from hcep.training.memory import out_of_memory

TEXTS = 16  # texts are padded to a multiple of this length, because every length of a batch has a recording of its own


class Recording(NamedTuple):
    """A graph, the batch that it reads, and the tensors that it writes."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    result: Any


class Recorder:
    """Replays work on batches, from the second batch of a shape on.

    A recording needs a warm-up, so the caller runs the first batch of each shape itself. `padded_tokens` leaves few
    lengths of texts, and so few shapes. The log calls the job `name`; `recordings` maps the shapes of a batch to its
    recording, or to None where recording ran out of memory.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self._stream = torch.cuda.Stream(device)
        self.recordings: dict[tuple[torch.Size | None, ...], Recording | None] = {}
        self._seen = set(self.recordings)
        self._pool: Any = None

    @contextmanager
    def stream(self) -> Iterator[None]:
        """All work should run in here: CUDA cannot record the default stream, and gradients run where losses did."""
        default = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(default)
        with torch.cuda.stream(self._stream):
            yield
        default.wait_stream(self._stream)

    def replay(self, work: Callable[[Batch], Any], batch: Batch) -> Any:
        """What `work` makes of a batch, copied out of the recording; None where the caller has to run it unrecorded.

        That is so for the first batch of a shape, and for all of a shape whose recording ran out of memory.

        `work` makes tensors, in nested containers, of a batch on the device; it is the same in every call. It must not
        look at values of tensors, nor copy any from the main memory, and the `Batch.row` that it sees is that of the
        recorded batch. What it writes elsewhere (gradients, prompts) must lie at the same place whenever it runs. The
        recorder does not keep it: an object that owns both would be part of a cycle, and all recordings would stay on
        the device until Python looks for cycles.
        """
        recording = self._recording(work, batch)
        if recording is None:
            return None
        for place, value in zip(recording.batch[1:], batch[1:], strict=True):  # all but `row`
            if place is not None and value is not None:
                place.copy_(value)
        recording.graph.replay()
        return tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, recording.result)

    def warm_up_again(self) -> None:
        """From now on the work runs other kernels, so shapes without a recording run once more before they get one."""
        self._seen = set(self.recordings)

    def _recording(self, work: Callable[[Batch], Any], batch: Batch) -> Recording | None:
        shapes = tuple(None if value is None else value.shape for value in batch)
        if shapes not in self._seen:
            self._seen.add(shapes)
            return None
        if shapes not in self.recordings:
            try:
                self.recordings[shapes] = self._record(work, batch)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self.recordings[shapes] = None
                what = f"a step of {len(batch.row)} clips, which runs unrecorded, slower"
                say(f"{self.name}: no memory to record {what}; a `micro_batch` makes room")
        return self.recordings[shapes]

    def _record(self, work: Callable[[Batch], Any], batch: Batch) -> Recording:
        own = Batch(**{key: value.clone() for key, value in batch._asdict().items() if value is not None})
        if not any(self.recordings.values()):
            # all recordings share a pool of memory, which ends with the last of them
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # the reader's thread may copy and allocate meanwhile, which a stricter mode forbids
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            result = work(own)
        return Recording(graph, own, result)


def padded_tokens(batch: Batch) -> Batch:
    """The same batch, its texts filled up with zeros to a multiple of `TEXTS` tokens; no feature depends on them."""
    tokens = batch.tokens
    return batch if tokens is None else batch._replace(tokens=functional.pad(tokens, (0, -tokens.shape[1] % TEXTS)))
