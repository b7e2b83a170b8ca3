"""Open-set multimodal emotion recognition; `hcep.load` opens an exported model, see `hcep.inference`."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`load`, looked up when it is asked for: it imports torch, which `import hcep` need not wait for."""
    if name == "load":
        from hcep.inference.model import load

        return load
    raise AttributeError(f"module 'hcep' has no attribute {name!r}")
