"""A release on disk -> manifest.tsv, by the adapter that knows the release's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hcep import registry
from hcep.datasets.links import refuse_links
from hcep.datasets.manifest_file import Clip, check_clips, join_flags, write_manifest
from hcep.errors import HcepError


def build_manifest(
    adapter: str, root: Path, dataset: str, settings: dict[str, Any], output: Path, *, follow_links: bool = False
) -> None:
    """List the clips of a release and write them to manifest.tsv, sorted by clip id.

    `adapter` is a name of the registry and reads its `settings`; `dataset` is the name of the dataset entry, written in
    every row. Without `follow_links` media must lie in the release, and not behind links that leave it.

    Raises
    ------
    HcepError
        When the root is missing, the adapter is unknown, the release is not as its layout says, or such a link is used.
    """
    kind = registry.load(registry.dataset(adapter))
    root = require_root(root, dataset)
    listed = list_clips(kind(root, settings))
    clips = [clip._replace(dataset=dataset, flags=known_flags(clip)) for clip in listed]
    clips.sort(key=lambda clip: clip.clip)
    check_clips(clips, output)
    if not follow_links:
        refuse_links(root, clips)
    write_manifest(output, clips)


def list_clips(reader: Any) -> list[Clip]:
    """The clips of an adapter, with the source of their faces where it knows of faces."""
    clips: list[Clip] = reader.clips()
    return reader.with_faces(clips) if hasattr(reader, "with_faces") else clips


def require_root(root: Path, dataset: str) -> Path:
    """The release's folder, which must be there."""
    if not Path(root).is_dir():
        raise HcepError(
            f"the release of dataset {dataset!r} is missing",
            file=Path(root).absolute(),
            remedy=f"get it, and set `root` of the dataset entry {dataset!r} in the config to its folder, "
            "absolute or from the working directory",
        )
    return Path(root)


def known_flags(clip: Clip) -> str:
    """Flags of a clip that follow from its row alone, together with those it has."""
    flags = set(clip.flags.split(";")) - {""}
    if not clip.video:
        flags.add("no_video")
    if not clip.audio:
        flags.add("no_audio")
    # a clip of kind asr has no words yet; whether it has any is found by transcribing it
    if clip.text_kind == "none" or (clip.text_kind != "asr" and not clip.text.strip()):
        flags.add("no_text")
    return join_flags(flags)
