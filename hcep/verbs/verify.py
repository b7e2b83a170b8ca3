"""Check what lies in folders of results and caches, and say how what is damaged is made again."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hcep.errors import HcepError
from hcep.evaluation.scores import read_scores
from hcep.files import check_table, seal_beside, sha256_file
from hcep.media.shards import ARRAYS, verify_shard
from hcep.progress import progress
from hcep.seal import SEAL, check_file, open_hdf5, read_sealed_json

# these have a seal, also where a damaged one no longer shows it
SEALED_JSON = ("metrics.json", "timing.json", "tuned.json", "encoder.json")


def verify(paths: Sequence[Path]) -> None:
    """Read every file below the paths and compare it with its digest, and each run's files with one another.

    Prints a line per damaged file, and the commands that make them again.

    Raises
    ------
    HcepError
        A path is missing, or a file is damaged.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise HcepError("there is no such file or folder", file=path)
        files += [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file())
    jobs = [(file, check) for file in files if (check := _check_of(file)) is not None]
    damaged: dict[Path, str] = {}
    for file, check in progress(jobs, len(jobs), "verify", "file"):
        try:
            check(file)
        except HcepError as error:
            damaged[file] = f"{error.row}: {error.cause}" if error.row else error.cause
    for file, cause in _strangers([file for file, _ in jobs if file not in damaged]):
        damaged.setdefault(file, cause)
    print(f"{len(jobs)} files with a digest, {len(damaged)} damaged; {len(files) - len(jobs)} others (figures, pages)")
    if not damaged:
        return
    for file, cause in sorted(damaged.items()):
        print(f"  {file}: {cause}")
    made = sorted({_target(file) for file in damaged})
    named = " ".join(shlex.quote(str(file)) for file in made)
    summaries = sorted(Path("results").glob("*/summary.csv"))
    behind = " ".join(shlex.quote(str(path)) for path in summaries if path not in made)
    print(f"To make them again, and what hangs on them (add the --configfile of your runs):\n  rm {named}")
    print(f"  snakemake --cores 2 {named} {behind}".rstrip())
    sys.stdout.flush()
    raise HcepError(f"{len(damaged)} of {len(jobs)} files are damaged", remedy="see the commands above")


def _check_of(file: Path) -> Callable[[Path], object] | None:
    """How a file is checked; None for one without a digest."""
    if file.suffix == ".h5":
        if file.parent.name in ARRAYS:
            return lambda path: verify_shard(path, path.parent.name)
        return _check_hdf5
    if file.name == "model.safetensors":
        return _check_model
    if file.suffix == ".safetensors" and (file.parent / "encoder.json").is_file():
        return _check_weights
    if file.suffix == ".json" and (file.name in SEALED_JSON or f'"{SEAL}"'.encode() in file.read_bytes()):
        return read_sealed_json
    return check_table if seal_beside(file).is_file() else None


def _check_hdf5(file: Path) -> None:
    with open_hdf5(file) as opened:
        check_file(opened, file)


def _check_model(file: Path) -> None:
    # torch is imported where there is a model to check
    from hcep.training.checkpoint import read_checkpoint

    read_checkpoint(file)


def _check_weights(file: Path) -> None:
    wanted = read_sealed_json(file.parent / "encoder.json")["sha256"].get(file.name)
    if wanted is not None and wanted != sha256_file(file):
        raise HcepError("its content does not match its digest in encoder.json", file=file)


def _strangers(files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Whole files that were not made from the ones beside them."""
    whole = set(files)
    for file in files:
        source = file.parent / {"scores.h5": "model.safetensors", "metrics.json": "scores.h5"}.get(file.name, "")
        if source in whole and _made_of(file) != sha256_file(source):
            yield file, f"was made from another {source.name}"


def _made_of(file: Path) -> str | None:
    """The digest of the file that scores or metrics were made from."""
    if file.suffix == ".json":
        return read_sealed_json(file)["digests"]["scores"]
    return read_scores(file, features=False).made_of.get("model")


def _target(file: Path) -> Path:
    """The file that is asked for by name: the weights of an encoder come with its description."""
    encoder = file.with_name("encoder.json")
    return encoder if file.suffix == ".safetensors" and encoder.is_file() else file
