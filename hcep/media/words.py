"""Words of clips that nobody listens to: those of the manifest, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hcep.datasets.manifest_file import Clip, read_manifest
from hcep.errors import HcepError
from hcep.media.shards import Row, shard_names, shard_of, write_shard


def words(manifest: Path, outputs: Sequence[Path], source: Literal["manifest", "none"]) -> None:
    """Write the words of all clips of a dataset and where they come from.

    Parameters
    ----------
    manifest : path
        manifest.tsv of the dataset.
    outputs : sequence of path
        A shard file for each shard, ``000-of-064.h5`` and on.
    source : {"manifest", "none"}
        The manifest's text, or no text.

    Raises
    ------
    HcepError
        For a bad manifest or source, or when the files are not those of all shards.
    """
    names = shard_names(len(outputs))
    if [path.stem for path in outputs] != names:
        cause = f"{outputs[0].stem} ... {outputs[-1].stem} are not the {len(outputs)} shards of a dataset"
        raise HcepError(cause, file=outputs[0].parent, remedy=f"name all of them, {names[0]} ... {names[-1]}, in order")
    clips: dict[str, list[Clip]] = {name: [] for name in names}
    for clip in read_manifest(manifest):
        clips[shard_of(clip, len(names))].append(clip)
    for path in outputs:
        write_words(path, clips[path.stem], source)


def write_words(output: Path, clips: Sequence[Clip], source: Literal["manifest", "none"]) -> None:
    """Write one shard of words."""
    if source not in ("manifest", "none"):
        raise HcepError(f"unknown source of words {source!r}", remedy="use manifest, none or asr")
    none = Row(None, "absent: the dataset is used without words")
    rows = enumerate(_from_manifest(clip) if source == "manifest" else none for clip in clips)
    write_shard(output, "text", [clip.clip for clip in clips], rows, {"source": source})


def _from_manifest(clip: Clip) -> Row:
    if "no_text" in clip.flags.split(";") or clip.text_kind == "none" or not clip.text.strip():
        return Row(None, "absent: the manifest has no words")
    return Row((clip.text, clip.text_kind))
