"""Features of frozen encoders without prompts, once per clip, for the methods that need no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import torch

from hcep.encoders.folder import Encoders
from hcep.files import atomic_path
from hcep.media.store import ClipStore
from hcep.methods.features import encode_media
from hcep.methods.method import Features
from hcep.progress import progress
from hcep.training.devices import choose_device, note_slow_precision
from hcep.training.feed import FEATURES, MediaFeed
from hcep.training.run import check_side


@torch.no_grad()
def encode(index: Path, shard: str, output: Path, encoders: Encoders, settings: dict[str, Any]) -> None:
    """Encode one shard: ``clip``, ``flags`` and float32 ``text``, ``vision``, ``audio`` ``(n, D)`` each.

    Parameters
    ----------
    settings : dict
        ``batch_size, precision, device``.
    """
    reservation = choose_device(settings["device"])
    device = reservation.device
    note_slow_precision(device, settings["precision"])
    for module in encoders.modules():
        module.to(device)
    store = ClipStore(index, index.parent)
    clips = store.clips(shard)
    feed = MediaFeed(store, clips, [-1] * len(clips), encoders.text.tokenize, device, 0)
    if clips:
        check_side(store.frames(clips[:1]).shape[2], encoders, index)
    dims = (encoders.text.dim, encoders.vision.dim, encoders.audio.dim)
    parts = [Features(*(torch.zeros((0, dim), device=device) for dim in dims))]
    batches = feed.batches(settings["batch_size"])
    with torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
        for batch in progress(batches, -(-len(clips) // settings["batch_size"]), f"encode {shard}", "batch"):
            parts.append(encode_media(encoders, batch))  # stays there: fetching it would wait for the device
    with atomic_path(output) as temporary, h5py.File(temporary, "w") as file:
        text = h5py.string_dtype()
        file.create_dataset("clip", data=clips, dtype=text, shape=(len(clips),))
        file.create_dataset("flags", data=store.flags(clips), dtype=text, shape=(len(clips),))
        for name, values in zip(FEATURES, zip(*parts, strict=True), strict=True):
            file.create_dataset(name, data=torch.cat(values).cpu().numpy())
        file.attrs["encoder"] = json.dumps(encoders.info["sha256"], sort_keys=True)
        file.attrs["index"] = store.digest
