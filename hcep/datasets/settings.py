"""Settings of a dataset adapter: defaults filled in, mistyped names refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from hcep.errors import HcepError


def nearest(name: str, known: Iterable[str]) -> str:
    """Sentence ' (did you mean X?)' for the known name closest to `name`, or ''."""
    folded = {other.casefold(): other for other in known}
    match = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f" (did you mean {folded[match[0]]!r}?)" if match else ""


def fill(adapter: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return `defaults` overridden by `settings`; a setting that the adapter does not have is an HcepError."""
    for name in settings:
        if name not in defaults:
            raise HcepError(
                f"the {adapter} adapter has no setting {name!r}{nearest(name, defaults)}",
                remedy=f"its settings are {', '.join(sorted(defaults))}",
            )
    return {**defaults, **settings}


def choose(adapter: str, name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Return `value` if it is one of `allowed`, else raise an HcepError."""
    allowed = list(allowed)
    if value not in allowed:
        raise HcepError(
            f"setting {name!r} of the {adapter} adapter is {value!r}",
            remedy=f"use one of {', '.join(str(item) for item in allowed)}",
        )
    return value
