"""Checkpoints (safetensors with metadata) and resume state (plain tensors, read with ``weights_only``)."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hcep.errors import HcepError
from hcep.files import atomic_path

PACKAGES = ("hcep", "torch", "open_clip_torch", "transformers", "numpy", "h5py")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def save_checkpoint(path: Path, state: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write a method's state with metadata (``classes``, ``method``, ``settings``, ``versions``, ``encoder``, ...)."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with atomic_path(path) as temporary:
        # one key: several would come out in another order in every process, and the same run as another file
        save_file(tensors, temporary, {"hcep": json.dumps(metadata, sort_keys=True)})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and metadata of a checkpoint; an HcepError where the file is missing or is no safetensors file."""
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {})["hcep"])
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (not a dict)
    except (OSError, KeyError, SafetensorError) as error:
        cause = f"cannot be read as a checkpoint ({error})"
        raise HcepError(cause, file=path, remedy="run `hcep train` again") from error


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write resume state: tensors, numbers, strings and containers of them."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def read_state(path: Path) -> dict[str, Any] | None:
    """Resume state, or None when there is none; nothing but tensors and plain values is ever unpickled."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None
