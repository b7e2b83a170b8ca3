"""Features of frozen encoders without prompts, once per clip, for the methods that need no more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from hcep.encoders.folder import Encoders
from hcep.encoders.info import made_by
from hcep.media.store import ClipStore
from hcep.methods.features import encode_media
from hcep.methods.method import MODALITIES, Features
from hcep.progress import progress
from hcep.seal import new_hdf5
from hcep.training.devices import choose_device, note_slow_precision
from hcep.training.feed import MediaFeed
from hcep.training.run import check_side


@torch.no_grad()
def encode(index: Path, shard: str, output: Path, encoders: Encoders, settings: dict[str, Any]) -> None:
    """Encode the n clips of one shard.

    Parameters
    ----------
    index : path
        ``index.h5``; the shards lie beside it.
    shard : str
        Its name, such as ``007-of-064``.
    output : path
        HDF5 file to write, see `write_features`.
    encoders : Encoders
        Moved to the device that `settings` (``batch_size, precision, device``) name.

    Raises
    ------
    HcepError
        The clips' frames have another size than the encoder takes.
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
    sound = (encoders.audio.states, encoders.audio.dim) if encoders.audio.states else (encoders.audio.dim,)
    shapes = ((encoders.text.dim,), (encoders.vision.dim,), sound)
    parts = [Features(*(torch.zeros((0, *shape), device=device) for shape in shapes))]
    batches = feed.batches(settings["batch_size"])
    with torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
        for batch in progress(batches, -(-len(clips) // settings["batch_size"]), f"encode {shard}", "batch"):
            parts.append(encode_media(encoders, batch))  # they stay on the device: fetching them would wait for it
    joined = (torch.cat(values).cpu().numpy() for values in zip(*parts, strict=True))
    write_features(output, store, clips, dict(zip(MODALITIES, joined, strict=True)), encoders.info)


def write_features(
    output: Path, store: ClipStore, clips: Sequence[str], features: Mapping[str, np.ndarray], info: Mapping[str, Any]
) -> None:
    """Write the features of n clips.

    Parameters
    ----------
    output : path
        HDF5: ``clip`` and ``flags`` (n,), float32 ``text``, ``vision`` and ``audio`` (n, D) with D of each encoder;
        attributes ``encoder`` (digests of its weights, as JSON) and ``index`` (digest). With ``audio_layers: learned``
        ``audio`` is (n, L, D), and ``encoder`` names every choice of layers but the last.
    store, clips
        The cache, and which of its clips.
    features : mapping
        Modality -> float32 (n, D), or (n, L, D).
    info : mapping
        ``encoder.json``.
    """
    with new_hdf5(output) as file:
        for name, texts in (("clip", clips), ("flags", store.flags(clips))):
            file.create_dataset(name, data=texts, dtype=h5py.string_dtype(), shape=(len(clips),))
        for name in MODALITIES:
            file.create_dataset(name, data=features[name])
        file.attrs["encoder"] = json.dumps(made_by(info), sort_keys=True)
        file.attrs["index"] = store.digest
