"""What all micro-batches of a step need, such as the features of the class prompts: computed once a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Shared:
    """A cut in the graph: micro-batches see leaves, whose summed gradients then take the way back once.

    With one part there is nothing to share, and no cut.
    """

    def __init__(self) -> None:
        self._several = False
        self._held: Any = None
        self._cuts: list[tuple[Tensor, Tensor]] = []

    def begin(self, parts: int) -> None:
        """Forget the last step; the coming one takes its batch in `parts`."""
        self._several, self._held, self._cuts = parts > 1, None, []

    def __call__(self, make: Callable[[], T]) -> T:
        """What `make` returns, nested tuples of tensors and None; in a step of several parts, made for the first."""
        if not (self._several and torch.is_grad_enabled()):
            return make()
        if self._held is None:
            self._held = self._cut(make())
        return self._held

    def backward(self) -> None:
        """Send the gradients that the parts have left on their way."""
        cuts = [(value, leaf.grad) for value, leaf in self._cuts if leaf.grad is not None]
        self.begin(1)
        if cuts:
            values, gradients = zip(*cuts, strict=True)
            torch.autograd.backward(values, gradients)

    def _cut(self, value: Any) -> Any:
        if isinstance(value, tuple):
            parts = [self._cut(part) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        if value is None or not value.requires_grad:
            return value
        leaf = value.detach().requires_grad_()
        self._cuts.append((value, leaf))
        return leaf
