"""Checkpoints (safetensors with metadata) and resume state (plain tensors, read with ``weights_only``)."""

from __future__ import annotations

import hashlib
import io
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hcep.errors import HcepError
from hcep.files import remake, write_bytes
from hcep.progress import say

# of a resume state: this word, the digest of what follows in hexadecimal, a line end
HEAD = b"hcep "
STATE_FILE = "state.pt"
PACKAGES = ("hcep", "torch", "open_clip_torch", "transformers", "numpy", "h5py")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def save_checkpoint(path: Path, state: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write a method's state with metadata (``classes``, ``method``, ``settings``, ``versions``, ``encoder``, ...)."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    metadata = {**metadata, "digest": _digest_of(tensors, metadata)}
    # one key: several would come out in another order in every process, and the same run as another file
    write_bytes(path, save(tensors, {"hcep": json.dumps(metadata, sort_keys=True)}))


def _digest_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    total = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        total.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and metadata of a checkpoint.

    Raises
    ------
    HcepError
        The file is missing, no safetensors file, or its content does not match its digest.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {})["hcep"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            wanted = metadata.pop("digest")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        cause = f"cannot be read as a checkpoint ({error})"
        raise HcepError(cause, file=path, remedy=remake(path)) from error
    if _digest_of(state, metadata) != wanted:
        raise HcepError("its content does not match its digest", file=path, remedy=remake(path))
    return state, metadata


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write resume state: tensors, numbers, strings and containers of them, behind a digest of it all."""
    content = io.BytesIO()
    torch.save(state, content)
    head = HEAD + hashlib.sha256(content.getbuffer()).hexdigest().encode() + b"\n"
    write_bytes(path, head + content.getbuffer())


def read_state(path: Path) -> dict[str, Any] | None:
    """Resume state, or None when there is none; nothing but tensors and plain values is ever unpickled.

    A state that does not match its digest is told of and left alone: training then begins anew, which costs time and
    nothing else.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head, content = file.readline(), file.read()
    if head != HEAD + hashlib.sha256(content).hexdigest().encode() + b"\n":
        say(f"{path}: the state does not match its digest, so training begins with the first epoch")
        return None
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
