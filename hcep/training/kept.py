"""What an earlier job made of a run and a later one may take over: links in a hidden folder beside the files.

The workflow removes the files of a job before it begins and after it fails, although the model may be whole and only
its evaluation has changed, or 15 of 16 runs are done. A link costs no space, and goes with the folder of the run.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from hcep.errors import HcepError
from hcep.files import atomic_path, seal_beside
from hcep.progress import say

KEPT = ".kept"
# what a file system says that has no links, or no more of them
NO_LINKS = {errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def keep(*paths: Path) -> None:
    """Remember these files, which are whole. Where that cannot be, as on a full disk, nothing is lost but time."""
    kept = [_kept(path) for path in paths]
    try:
        # those of before go first: a kill in between must not leave files of two trainings side by side
        for path in kept:
            path.unlink(missing_ok=True)
        for source, path in zip(paths, kept, strict=True):
            path.parent.mkdir(exist_ok=True)
            _lay(source, path)
    except OSError as error:
        say(f"{kept[0].parent}: cannot keep links ({error.strerror}); a later job would make the run again")


def take_over(*paths: Path, current: Callable[..., bool]) -> bool:
    """Put remembered files in their places, if all are there, whole, and `current`, which is asked with their paths.

    Their dates are then now: the workflow takes a file that is older than its inputs for one that was not made.
    """
    kept = [_kept(path) for path in paths]
    if not all(path.is_file() for path in kept):
        return False
    try:
        if not current(*kept):
            return False
        for source, path in zip(kept, paths, strict=True):
            _lay(source, path)
            path.touch()
    except (HcepError, OSError) as error:
        say(f"{error}; the run is made again")
        return False
    return True


def _kept(path: Path) -> Path:
    return path.parent / KEPT / path.name


def _lay(source: Path, target: Path) -> None:
    """Link a file and the digest beside it; copy them where the file system has no links."""
    for old, new in ((source, target), (seal_beside(source), seal_beside(target))):
        new.unlink(missing_ok=True)
        if not old.is_file():
            continue
        try:
            os.link(old, new)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            with atomic_path(new) as temporary:
                shutil.copyfile(old, temporary)
