"""What an encoder folder says of itself, readable without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.files import digest, write_json

CLIP_FILE, AUDIO_FILE, CONFIG_FILE = "clip.safetensors", "audio.safetensors", "encoder.json"


def read_info(folder: str | Path) -> dict[str, Any]:
    """The contents of ``encoder.json``; an HcepError where the folder holds no encoder."""
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise HcepError("no encoder here", file=path, remedy="run `hcep fetch_encoders --output <folder>` first")
    return json.loads(path.read_text(encoding="utf-8"))


def declare_encoder(name: str, output: Path, width: int, stand_in: bool) -> None:
    """Write the ``encoder.json`` (`output`) of an encoder whose features a user supplies.

    Results carry its name, which the features file must have as its attribute ``encoder``; every feature has the size
    `width`. With `stand_in` tables mark results on these features.
    """
    if width < 1:
        raise HcepError(f"encoder {name} has no width", file="config", remedy="set `width` to the size of its features")
    info = {"name": name, "stand_in": stand_in, "source": "import", "width": width}
    write_json(output, info | {"sha256": {"declared": digest([name, width])}})
