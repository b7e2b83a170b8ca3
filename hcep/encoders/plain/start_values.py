"""Modules whose weights come from a file, made without drawing start values for them."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

DRAWN = (Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_)


class NoStartValues(TorchFunctionMode):
    """Inside, new modules get memory that nothing was written to, on torch's default device.

    Drawing start values of full-size towers takes longer than reading their weights, and would move torch's generator.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Whatever is asked for, but for what writes start values."""
        return args[0] if func in DRAWN else func(*args, **(kwargs or {}))
