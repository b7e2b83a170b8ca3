"""What the plans need of the program that runs them, and what they have in common."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hcep.dates import date_remedy, refuse_future
from hcep.errors import HcepError

Paths = TypeVar("Paths", bound=Iterable[str])
# values of the wildcards of a job, as attributes
Wildcards = Any


class Engine(NamedTuple):
    """What the workflow engine does for a plan.

    Attributes
    ----------
    manifest : callable
        From the name of a dataset to its manifest.tsv; where that is still to be made, it raises an exception that the
        engine catches, and the input function is asked again afterwards.
    ancient : callable
        Marks an input whose date is no reason to make the output again.
    is_main : bool
        False in the processes of jobs.
    local : callable
        Marks an input that lies on this machine or a mounted folder, whatever a storage provider holds.
    stores : bool
        Whether a storage provider holds what the rules make: it is nowhere here, and a job has copies of its inputs.
    recorded : callable
        From the path of a file to the parameters that it was made with in this working folder, as the engine keeps
        them; None where it knows nothing of the file.
    """

    manifest: Callable[[str], str]
    ancient: Callable[[str], Any]
    is_main: bool
    local: Callable[[str], Any] = str
    stores: bool = False
    recorded: Callable[[str], Sequence[str] | None] = lambda path: None


def settings_text(values: Mapping[str, Any]) -> str:
    """Settings of one stage, sorted, as the text that the command line takes and that the engine compares."""
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def parents(paths: Iterable[str]) -> list[str]:
    """Folders of these files, each once, in order: with a storage provider they are not those that the config names."""
    return list(dict.fromkeys(os.path.dirname(path) for path in paths))  # noqa: PTH120 - a path stays as it is written


def to_be_read(paths: Paths, output: str, engine: Engine) -> Paths:
    """These inputs of a file; refused where it is still to be made and Snakemake would delete it for their dates."""
    # a job of a cluster was looked at where it was sent from; the clock of its node may be another
    if engine.is_main and not Path(output).exists():
        refuse_future(paths)
    return paths


def explain_dates(logs: Iterable[str]) -> None:
    """Say what to do where Snakemake deleted the output of a job for the date of an input."""
    texts = [Path(path).read_text(encoding="utf-8", errors="replace") for path in logs if Path(path).is_file()]
    found = re.findall(r"has older modification time \(.*?\) than input (.*?) \(\d{4}-", "\n".join(texts))
    for path in dict.fromkeys(found):
        error = HcepError(
            "what was made from this file was deleted, because the file is dated in the future",
            file=path,
            remedy=date_remedy(path, time.time()),
        )
        print(error, file=sys.stderr)
