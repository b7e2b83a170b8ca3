"""Independent pieces of work, side by side where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


def beside(device: torch.device, *works: Callable[[], Any]) -> list[Any]:
    """Results of `works`, none of which needs another's.

    While a CUDA graph is recorded each takes a stream of its own, forward and backward, so that the device fills the
    gaps of large kernels with small ones. Elsewhere they run one after the other: a device that is handed its kernels
    one by one has no two at a time.
    """
    if device.type != "cuda" or not torch.cuda.is_current_stream_capturing():
        return [work() for work in works]
    here = torch.cuda.current_stream(device)
    found = []
    for number, work in enumerate(works):
        stream = torch.cuda.Stream(device) if number else here
        if number:
            stream.wait_stream(here)
        with torch.cuda.stream(stream):
            found.append((stream, work()))
    for stream, result in found[1:]:
        here.wait_stream(stream)
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                value.record_stream(here)
    return [result for _, result in found]
