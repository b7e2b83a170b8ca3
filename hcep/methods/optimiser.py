"""SGD, Adam and AdamW for different parts of the parameters, behind the few calls that the training loop makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import unwrap
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor


class OptimiserGroup(NamedTuple):
    """Parameters that share a step rule: name, tensors, rule, learning rate at the start, weight decay, momentum.

    Momentum is SGD's. Adam adds the decay to the gradient, AdamW takes it off the weight; both have torch's betas.
    """

    name: str
    params: Sequence[Tensor]
    rule: Literal["sgd", "adam", "adamw"]
    lr: float
    weight_decay: float = 0.0
    momentum: float = 0.0

    @classmethod
    def sgd(cls, name: str, params: Sequence[Tensor], settings: dict[str, Any]) -> OptimiserGroup:
        """A group under the run's own SGD settings (``lr``, ``weight_decay``, ``momentum``)."""
        return cls(name, list(params), "sgd", settings["lr"], settings["weight_decay"], settings["momentum"])

    @classmethod
    def adamw(cls, params: Iterable[Tensor], settings: dict[str, Any]) -> list[OptimiserGroup]:
        """Two groups under AdamW: matrices with the run's decay, vectors without."""
        values, lr = list(params), settings["lr"]
        matrices, vectors = ([value for value in values if (value.dim() > 1) is wanted] for wanted in (True, False))
        return [
            cls("matrices", matrices, "adamw", lr, settings["weight_decay"]),
            cls("vectors", vectors, "adamw", lr),
        ]

    def options(self) -> dict[str, Any]:
        """The group as its torch optimiser takes it; only SGD knows a momentum."""
        options = {"params": self.params, "lr": self.lr, "weight_decay": self.weight_decay}
        return options | {"momentum": self.momentum} if self.rule == "sgd" else options


def _without_compiler(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """The same optimiser without the wrappers that tell torch's compiler how to treat it.

    They import the compiler, which takes as long as importing torch, and nothing here is compiled.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    own: dict[str, Any] = {name: unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), own | {"step": torch.no_grad()(unwrap(kind.step))})


RULES = {
    "sgd": _without_compiler(torch.optim.SGD),
    "adam": _without_compiler(torch.optim.Adam),
    "adamw": _without_compiler(torch.optim.AdamW),
}


class Optimiser:
    """One torch optimiser per rule in use; every group's rate follows one schedule factor."""

    def __init__(self, groups: Sequence[OptimiserGroup]) -> None:
        self.parts: list[torch.optim.Optimizer] = []
        for rule, build in RULES.items():
            options = [group.options() for group in groups if group.rule == rule and group.params]
            if options:
                self.parts.append(build(options, lr=0.0, fused=True))  # type: ignore[call-arg]
        for part in self.parts:
            for group in part.param_groups:
                group["start_lr"] = group["lr"]

    def set_factor(self, factor: float) -> None:
        """Set every group's rate to `factor` times its start value."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["start_lr"] * factor

    def step(self) -> None:
        """One step of every part."""
        for part in self.parts:
            part.step()

    def zero_grad(self, *, keep: bool = False) -> None:
        """Drop all gradients, or set them to zero where they lie."""
        for part in self.parts:
            part.zero_grad(set_to_none=not keep)

    def state_dict(self) -> list[dict[str, Any]]:
        """State of every part, tensors and plain numbers only."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Restore `state_dict`."""
        for part, values in zip(self.parts, state, strict=True):
            part.load_state_dict(values)
