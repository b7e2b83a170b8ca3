"""Many runs of one method in one process: what was made of the same stays, and a run that diverges ends no other.

The runs train one after another and not as one stacked product: torch's product of one head of 1.7 million weights by a
batch of 64 runs at the speed of the core, that of 16 stacked heads has the same bits and is slower, and one head with
its momentum fits into the cache of the processor, where 16 do not (docs/performance.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hcep.encoders.info import made_by
from hcep.errors import HcepError
from hcep.files import sha256_file
from hcep.progress import say
from hcep.seal import read_sealed_json, write_sealed_json
from hcep.training.loop import Diverged
from hcep.training.run import Inputs, Shared

RECORD = "series.json"


def made_of(inputs: Inputs, **chosen: Any) -> dict[str, Any]:
    """All that decides what comes out of a run: what it reads, by digests, and what was chosen, the code included."""
    read = (inputs.shared or Shared.of(inputs)).made_of(inputs.split)
    return {**chosen, **read, "encoder": made_by(inputs.encoder)}


def is_made(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether a run's folder has its record, it says `wanted`, and every file is the one that it names."""
    file = folder / RECORD
    if not file.is_file():
        return False
    try:
        record = read_sealed_json(file)
    except HcepError as error:
        say(f"{error.file}: {error.cause}, so the run is made again")
        return False
    # as JSON has it: tuples are lists there
    same = record["made_of"] == json.loads(json.dumps(wanted))
    files = ((folder / name, digest) for name, digest in record["files"].items())
    return same and all(path.is_file() and sha256_file(path) == digest for path, digest in files)


def make_all(
    folders: Sequence[Path], wanted: Iterable[Mapping[str, Any]], make: Callable[[int], Sequence[str]]
) -> None:
    """Make the runs whose files are not there yet, each by its number, and leave a record in each folder.

    Parameters
    ----------
    folders, wanted
        Of every run its folder, and what it is made of (`made_of`).
    make : callable
        Makes the run of a number and returns the names of the files that it leaves in its folder.

    Raises
    ------
    HcepError
        Runs diverged, which are named; the others are made. Any other error ends the work at once, with what was made
        before it in place.
    """
    diverged: list[tuple[Path, Diverged]] = []
    for number, (folder, content) in enumerate(zip(folders, wanted, strict=True)):
        if is_made(folder, content):
            say(f"{folder}: its files are those of the same inputs, settings and code, and stay")
            continue
        # files of a run that is being made belong to no record
        (folder / RECORD).unlink(missing_ok=True)
        try:
            files = make(number)
        except Diverged as error:
            say(f"{folder}: {error.cause}")
            diverged.append((folder, error))
            continue
        found = {name: sha256_file(folder / name) for name in files}
        write_sealed_json(folder / RECORD, {"made_of": content, "files": found})
    if diverged:
        (place, first), *others = diverged
        cause = "".join([first.cause, *(f"; {folder}: {other.cause}" for folder, other in others)])
        kept = f"; the other {len(folders) - len(diverged)} of {len(folders)} runs are made and stay"
        raise HcepError(cause, file=place, remedy=f"{first.remedy}{kept}") from first
