"""What an encoder folder says of itself, readable without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hcep.errors import HcepError

CLIP_FILE, AUDIO_FILE, CONFIG_FILE = "clip.safetensors", "audio.safetensors", "encoder.json"


def read_info(folder: str | Path) -> dict[str, Any]:
    """The contents of ``encoder.json``.

    Raises
    ------
    HcepError
        When the folder holds no encoder.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise HcepError("no encoder here", file=path, remedy="run `hcep fetch_encoders --output <folder>` first")
    return json.loads(path.read_text(encoding="utf-8"))
