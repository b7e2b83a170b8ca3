"""Dates of input files: what is made from a file dated in the future looks older than it, and Snakemake deletes it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hcep.errors import HcepError

# clocks of a file server and of its clients differ a little, and a job takes longer than that
SLACK = 10.0


def refuse_future(paths: Iterable[str | Path]) -> None:
    """Refuse files that are dated in the future; files that are not there, or in a folder that may not be entered, are
    passed over.

    A link counts by its own date, as it does where Snakemake compares the dates of inputs and outputs.

    Parameters
    ----------
    paths : paths
        Files that something is about to be made from.

    Raises
    ------
    HcepError
        For the file with the latest date.
    """
    now = time.time()
    late = []
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            late.append((os.lstat(path).st_mtime, str(path)))
    late = [(date, path) for date, path in late if date > now + SLACK]
    if not late:
        return
    date, path = max(late)
    others = f" ({len(late)} such files here)" if len(late) > 1 else ""
    why = "what is made from it now would look older than it, and Snakemake would delete it"
    cause = f"the file is dated {_words(date)}, in the future{others}: {why}"
    raise HcepError(cause, file=path, remedy=date_remedy(path, now))


def date_remedy(path: str, now: float) -> str:
    """What to do about a file that is dated in the future."""
    folder = shlex.quote(str(Path(path).parent))
    return (
        f"if this machine's clock ({_words(now)}) is right, `touch -h {shlex.quote(path)}` dates the file now, and "
        f"`find {folder} -newermt now -exec touch -h {{}} +` all such files of its folder; of a release that you may "
        "not write to, make a copy (`cp -r`, which dates it now) or links (`cp -rs`) and set `root` to "
        "that (with `follow_links: true` for links)"
    )


def _words(date: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(date))
