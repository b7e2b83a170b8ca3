"""A cache that another working folder made: Snakemake has no record of its settings here, its files have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hcep.config.entries import Dataset
from hcep.errors import HcepError
from hcep.seal import open_hdf5

# kind of shard -> name of a setting in it, and of the same in a dataset entry
NAMES = {
    "frames": {"frames": "frames", "size": "size", "frame_sampling": "frame_sampling"},
    "audio": {"samples": "samples", "window": "audio_window"},
    "text": {"source": "text", "model": "asr_model"},
}


def check_foreign(index: Path, entry: Dataset) -> None:
    """Compare the settings of a dataset entry with those that an index was made with.

    Raises
    ------
    HcepError
        They differ, or the index cannot be read.
    """
    with open_hdf5(index) as file:
        settings, shards = (json.loads(file.attrs.get(name, "{}")) for name in ("settings", "shards"))
    differ = list(_differences(settings, {kind: len(names) for kind, names in shards.items()}, entry))
    if differ:
        there = "; ".join(f"{name} {found!r} there, {wanted!r} here" for name, found, wanted in differ)
        cause = f"another working folder made this cache with other settings than this configuration's: {there}"
        remedy = (
            "set them as there in the dataset entry, or keep a cache of your own: a folder resources/ in place of the "
            "shared one"
        )
        raise HcepError(cause, file=index, remedy=remedy)


def _differences(
    settings: dict[str, dict[str, Any]], shards: dict[str, int], entry: Dataset
) -> Iterator[tuple[str, Any, Any]]:
    """Name, value in the index and value in the entry of each setting that differs and that both have."""
    for kind, names in NAMES.items():
        for stored, name in names.items():
            if stored not in settings.get(kind, {}):
                continue
            found, wanted = settings[kind][stored], getattr(entry, name)
            # of a model the index has the name alone
            same = found == (Path(wanted).name if name == "asr_model" and wanted else wanted)
            if not same:
                yield name, found, wanted
    if shards and set(shards.values()) != {entry.shards}:
        yield "shards", max(shards.values()), entry.shards
