"""Links in a release that lead out of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from hcep.datasets.manifest_file import Clip
from hcep.errors import HcepError

REMEDY = (
    "put the files there themselves; or, where the links are meant, as to another disk, set `follow_links: true` in "
    "the dataset entry"
)


def links_out(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Paths below the root that lead out of it over a link of their own or of a folder, and where to.

    The root itself may be a link.
    """
    home = os.path.realpath(root)
    real = cache(os.path.realpath)
    found = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        # of a hundred thousand files, a few folders are resolved, and the links
        place = os.path.join(real(os.path.join(home, folder)), name)  # noqa: PTH118
        place = os.path.realpath(place) if os.path.islink(place) else place  # noqa: PTH114
        if place != home and not place.startswith(home.rstrip("/") + "/"):
            found[path] = place
    return found


def clips_out(root: Path, clips: Sequence[Clip]) -> dict[str, str]:
    """`links_out` of the media of clips, and of what their frames are taken from."""
    names = {name for clip in clips for name in (clip.video, clip.audio, clip.faces)} - {""}
    return links_out(root, sorted(names))


def refuse_links(root: Path, clips: Sequence[Clip]) -> None:
    """Refuse clips whose media lie outside the release."""
    found = clips_out(root, clips)
    if found:
        path, place = next(iter(found.items()))
        cause = f"{len(found)} media files are links that leave it, the first is {path!r}, which leads to {place!r}"
        raise HcepError(cause, file=root, remedy=REMEDY)
