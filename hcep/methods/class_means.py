"""Mean of the training clips of each class."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def class_means(values: Tensor, label: Tensor, count: int) -> Tensor:
    """Means ``(K, D)`` of the rows of `values` ``(n, D)`` by `label` ``(n,)``; zeros for a class without rows."""
    member = functional.one_hot(label, count).to(values.dtype)
    return member.T @ values / member.sum(dim=0).clamp_min(1)[:, None]
