"""What an encoder folder says of itself, readable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.files import digest
from hcep.seal import read_sealed_json, write_sealed_json

CLIP_FILE, AUDIO_FILE, CONFIG_FILE = "clip.safetensors", "audio.safetensors", "encoder.json"


def read_info(folder: str | Path) -> dict[str, Any]:
    """The contents of ``encoder.json``; an HcepError where the folder holds no encoder."""
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise HcepError("no encoder here", file=path, remedy="run `hcep fetch_encoders --output <folder>` first")
    return read_sealed_json(path, "delete the folder and fetch it again")


def made_by(info: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the features: digests of the weights, and which hidden states of the audio model are read.

    The choice is left out where it is the last one, so that features made before there was a choice stay valid.
    """
    return info["sha256"] | {key: info[key] for key in ("audio_layers",) if key in info}


def check_layers(info: Mapping[str, Any]) -> None:
    """Refuse an ``encoder.json`` that names a layer which its audio model does not have."""
    hidden_states(info.get("audio_layers", "last"), info["audio"]["num_hidden_layers"])


def hidden_states(choice: str | list[int], blocks: int) -> tuple[int, ...]:
    """Numbers of the hidden states that `audio_layers` names, of an audio model with so many blocks.

    0 is what enters the first block, n the output of block n; `mean` and `learned` take all of them.

    Raises
    ------
    HcepError
        For a layer that the model does not have.
    """
    if isinstance(choice, str):
        return (blocks,) if choice == "last" else tuple(range(blocks + 1))
    if max(choice) > blocks:
        cause = f"audio_layers {choice}: the audio model has {blocks} layers and none of number {max(choice)}"
        raise HcepError(cause, remedy=f"choose from 1 to {blocks}, or 0 for what enters the first layer")
    return tuple(choice)


def declare_encoder(name: str, output: Path, width: int, stand_in: bool) -> None:
    """Write the ``encoder.json`` (`output`) of an encoder whose features a user supplies.

    Results carry its name, which the features file must have as its attribute ``encoder``; every feature has the size
    `width`. With `stand_in` tables mark results on these features.
    """
    if width < 1:
        raise HcepError(f"encoder {name} has no width", file="config", remedy="set `width` to the size of its features")
    info = {"name": name, "stand_in": stand_in, "source": "import", "width": width}
    write_sealed_json(output, info | {"sha256": {"declared": digest([name, width])}})
