"""What the three encoders have in common: frozen weights, and a second, faster form of them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hcep.encoders.fast.form import fast_form


class FrozenModule(nn.Module):
    """An encoder that keeps its frozen weights a second time, in the form and type that are fastest.

    The second form (`hcep.encoders.fast.form.fast_form`) is made on first use, and again after a weight was moved or
    written to. There is none for an architecture that `fast_form` does not know. It is not used either while a weight
    learns, as in the pretraining of the small encoders, nor while another tensor stands in a weight's place, as in
    `torch.func.functional_call`. In all these cases the library's own modules run.

    `kind` is the class of the library's module; it decides which fast form there is.
    """

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.kind = kind
        self._forms: dict[torch.dtype, Any] = {}
        self._places: list[tuple[dict[str, nn.Parameter | None], str, nn.Parameter]] = []
        self._stamps: list[tuple[int, int]] = []

    def form(self, dtype: torch.dtype) -> Any:
        """The second form in `dtype`, or None."""
        if not self._places:
            held_by = [part._parameters for part in self.modules()]
            self._places = [(held, name, v) for held in held_by for name, v in held.items() if v is not None]
        if any(held[name] is not value or value.requires_grad for held, name, value in self._places):
            self._places = []
            return None
        stamps = [(value._version, value.data_ptr()) for _, _, value in self._places]
        if stamps != self._stamps:
            self._forms, self._stamps = {}, stamps
        if dtype not in self._forms:
            with torch.no_grad():
                self._forms[dtype] = fast_form(self, dtype)
        return self._forms[dtype]


def compute_type(x: Tensor) -> torch.dtype:
    """The type to compute in: autocast's inside `torch.autocast`, float32 elsewhere."""
    return torch.get_autocast_dtype(x.device.type) if _autocast(x) else torch.float32


def own_types(x: Tensor) -> AbstractContextManager[Any]:
    """Context in which autocast leaves the types of the second form alone."""
    return torch.autocast(x.device.type, enabled=False) if _autocast(x) else nullcontext()


def _autocast(x: Tensor) -> bool:
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
