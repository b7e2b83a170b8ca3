"""The first verb that a person with clips of their own types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.verbs.options import config_files


def init(dir: Path | None, output: Path | None, configfile: Sequence[Path], **given: Any) -> None:
    """Write a table of clips, a task and its splits, and say what was found and what to type next."""
    from hcep.own_data.start import Source, Wishes, start

    if dir is None:
        raise HcepError("no folder is given", remedy="name that of the clips, as `hcep init data/mine`")
    source = Source(dir, **{name: given.pop(name) for name in Source._fields if name != "folder"})
    base = [path for path in config_files(configfile) if path not in configfile]
    print(start(source, Wishes(**given), output, base, configfile), end="")
