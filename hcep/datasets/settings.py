"""Settings of a dataset adapter: defaults filled in, mistyped names refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hcep.errors import HcepError, closest


def nearest(name: str, known: Iterable[str]) -> str:
    """Sentence ' (did you mean X?)' for the known name closest to `name`, or ''."""
    near = closest(name, known)
    return f" (did you mean {near!r}?)" if near else ""


def fill(adapter: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return `defaults` overridden by `settings`; a setting that the adapter does not have is an HcepError."""
    for name in settings:
        if name not in defaults:
            cause = f"the {adapter} adapter has no setting {name!r}{nearest(name, defaults)}"
            raise HcepError(cause, remedy=f"its settings are {', '.join(sorted(defaults))}")
    return {**defaults, **settings}


def choose(adapter: str, name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raise an HcepError if `value` is not one of `allowed`; 1 is not True."""
    if not any(value == one and isinstance(value, type(one)) for one in allowed):
        cause = f"setting {name!r} of the {adapter} adapter is {value!r}"
        raise HcepError(cause, remedy=f"use one of {', '.join(map(str, allowed))}")
