"""Classes by name, so that those of a library are recognised without importing it."""

from __future__ import annotations


def class_name(kind: type) -> str:
    """Where a class is defined and what it is called there."""
    return f"{kind.__module__}.{kind.__qualname__}"
