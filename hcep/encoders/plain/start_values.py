"""Modules whose weights come from a file, made without drawing start values for them."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

WRITTEN = (Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_)


class NoStartValues(TorchFunctionMode):
    """Inside, new modules get memory that nothing was written to, on torch's default device.

    Drawing start values of full-size towers takes longer than reading their weights, and would move torch's generator.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Whatever is asked for, but for what writes start values."""
        given = kwargs or {}
        if func in WRITTEN:
            return args[0]
        # some functions of torch.nn.init come here themselves; what they call would not
        return given["tensor"] if getattr(func, "__module__", "") == "torch.nn.init" else func(*args, **given)
