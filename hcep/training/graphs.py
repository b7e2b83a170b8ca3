"""Work on a batch recorded as a CUDA graph and replayed: the device gets its thousands of kernels in one call.

A step of HCEP at full size takes a GPU half the time that a processor needs to hand it the kernels one by one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_map

from hcep.encoders.operations import TEXTS
from hcep.methods.method import Batch
from hcep.training.memory import out_of_memory


class Recording(NamedTuple):
    """A graph, the batch that it reads, and the tensors that it writes."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    result: Any


class Recorder:
    """Replays work on a batch, from the second batch of a shape on.

    The caller runs the first one itself, which is the warm-up that a recording needs. Few lengths of texts
    (`padded_tokens`) make few shapes.

    Parameters
    ----------
    name : str
        What the log calls the job.
    device : torch.device
        Where batches lie.

    Attributes
    ----------
    recordings : dict
        By the shapes of the batch; None where recording ran out of memory.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self._stream = torch.cuda.Stream(device)
        self.recordings: dict[tuple[torch.Size | None, ...], Recording | None] = {}
        self._seen: set[tuple[torch.Size | None, ...]] = set()
        self._pool: Any = None

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Where everything should run: the default stream cannot be recorded, and gradients remember theirs."""
        default = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(default)
        with torch.cuda.stream(self._stream):
            yield
        default.wait_stream(self._stream)

    def replay(self, work: Callable[[Batch], Any], batch: Batch) -> Any:
        """What `work` makes of a batch, in tensors of its own; None for a batch that has to run unrecorded.

        That is the first of its shape, and any where recording ran out of memory.

        Parameters
        ----------
        work : callable
            From a batch to tensors, in nested containers; the same in every call. It must not look at values of
            tensors, nor copy any from the main memory, and `Batch.row` is that of the recorded batch. What it writes
            elsewhere (gradients, prompts) must lie at the same place whenever it runs. It is not kept: whoever owns
            both the work and the recorder would keep all recordings on the device until Python looks for cycles.
        batch : Batch
            On the device.
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
        """Shapes without a recording run once more before they get one: from now on the work runs other kernels."""
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
                print(
                    f"{self.name}: no memory to record a step of {len(batch.row)} clips, which runs unrecorded, "
                    "slower; a `micro_batch` makes room",
                    file=sys.stderr,
                    flush=True,
                )
        return self.recordings[shapes]

    def _record(self, work: Callable[[Batch], Any], batch: Batch) -> Recording:
        own = Batch(**{key: value.clone() for key, value in batch._asdict().items() if value is not None})
        if not any(self.recordings.values()):
            # a pool that no recording holds may be gone
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # the reader's thread may copy and allocate meanwhile, which a stricter mode forbids
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            result = work(own)
        return Recording(graph, own, result)


def padded_tokens(batch: Batch) -> Batch:
    """The same batch with zeros behind its texts, which no feature sees, up to a multiple of `TEXTS`."""
    if batch.tokens is None:
        return batch
    return batch._replace(tokens=functional.pad(batch.tokens, (0, -batch.tokens.shape[1] % TEXTS)))
