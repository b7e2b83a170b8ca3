"""A cache that another working folder made: what Snakemake takes it to be made with, and what its files say."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hcep.config.entries import Dataset
from hcep.errors import HcepError
from hcep.seal import open_hdf5

# kind of shard -> name of a setting in a dataset entry, and of the same in a shard
NAMES = {
    "frames": {"frames": "frames", "size": "size", "frame_sampling": "frame_sampling"},
    "audio": {"samples": "samples", "audio_window": "window"},
    "text": {"text": "source", "asr_model": "model"},
}
OTHERS = "another working folder made this file with other settings than"


def check_shard_settings(shard: Path, kind: str, entry: Dataset, params: Sequence[str] | None) -> None:
    """Compare the settings in a shard with those that Snakemake takes it to be made with.

    Parameters
    ----------
    shard, kind
        The file, and what it holds.
    entry : Dataset
        Where Snakemake has no record of the file, it takes it for one of this configuration.
    params : sequence of str or None
        Parameters in its record, as Snakemake writes them; a difference between these and the configuration makes the
        stage again.

    Raises
    ------
    HcepError
        They differ.
    """
    try:
        with open_hdf5(shard) as file:
            found = json.loads(file.attrs.get("settings", "{}"))
    except HcepError:
        return  # the job that reads it tells what is wrong with it, and how to make it anew
    wanted = entry.model_dump() if params is None else _recorded(params)
    differ = [
        f"{name} {found[stored]!r} there, {wanted[name]!r} here"
        for name, stored in NAMES[kind].items()
        # a shard has the name of a model alone
        if stored in found and name in wanted and found[stored] != _named(name, wanted[name])
    ]
    if not differ:
        return
    if params is None:
        raise HcepError(f"{OTHERS} this configuration's: {'; '.join(differ)}", file=shard, remedy=_remedy())
    cache = shlex.quote(str(shard.parents[1]))
    forget = f"snakemake --cleanup-metadata {cache}/*.h5 {cache}/*/*.h5"
    cause = f"{OTHERS} the record of this folder says: {'; '.join(differ)}"
    raise HcepError(cause, file=shard, remedy=f"{_remedy()}; then `{forget}`, since the record is of a file of before")


def check_shard_count(index: Path, entry: Dataset) -> None:
    """Compare the number of shards in an index of which Snakemake has no record with that of a dataset entry.

    Raises
    ------
    HcepError
        They differ, or the index cannot be read.
    """
    with open_hdf5(index) as file:
        shards = json.loads(file.attrs.get("shards", "{}"))
    counts = {len(names) for names in shards.values()} - {entry.shards}
    if counts:
        told = f"shards {max(counts)} there, {entry.shards} here"
        raise HcepError(f"{OTHERS} this configuration's: {told}", file=index, remedy=_remedy())


def _remedy() -> str:
    own = "keep a cache of your own: a folder resources/ in place of the shared one"
    return f"set them as there in the dataset entry, or {own}"


def _named(name: str, value: Any) -> Any:
    return Path(value).name if name == "asr_model" and value else value


def _recorded(params: Sequence[str]) -> Mapping[str, Any]:
    """The settings among parameters: each is the representation of a value in Python, settings that of a JSON text."""
    settings: dict[str, Any] = {}
    for text in params:
        try:
            value = json.loads(ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError):
            continue  # a digest, a path
        settings |= value if isinstance(value, dict) else {}
    return settings
