"""Check what lies in folders of results and caches, and say how what is damaged is made again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hcep.errors import HcepError, shown
from hcep.evaluation.scores import read_scores
from hcep.files import check_table, seal_beside, sha256_file
from hcep.media.shards import ARRAYS, verify_shard
from hcep.progress import progress
from hcep.seal import SEAL, check_file, open_hdf5, read_sealed_json
from hcep.training.kept import KEPT

# what has a seal is known by its name: a damaged one may no longer show it
SHARD = re.compile(r"\d{3}-of-\d{3}\.h5")
SEALED_HDF5 = ("index.h5", "scores.h5", "replicates.h5", "posthoc.h5", "unknowns.h5", "robustness.h5")
SEALED_JSON = ("metrics.json", "timing.json", "tuned.json", "unknowns.json", "encoder.json")
# file of a run -> the one beside it that it was made from
SOURCES = {"scores.h5": "model.safetensors", "metrics.json": "scores.h5"}


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
    # hidden are the digests of tables, links to files of runs, and what a killed job left half-written
    visible = [file for file in files if not file.name.startswith(".") and KEPT not in file.parts]
    files = list(dict.fromkeys(map(_from_here, visible)))
    jobs = [(file, check) for file in files if (check := _check_of(file)) is not None]
    damaged: dict[Path, str] = {}
    for file, check in progress(jobs, len(jobs), "verify", "file"):
        if cause := _fault(file, check):
            damaged[file] = cause
    for file in [file for file, _ in jobs if file.name in SOURCES]:
        source = file.with_name(SOURCES[file.name])
        if not {file, source} & damaged.keys() and source.is_file() and (cause := _fault(file, _check_source)):
            damaged[file] = cause
            if source.suffix == ".safetensors":
                # either may be the stranger, and scoring a model of another run would hide that
                damaged[source] = f"{file.name} beside it was not made from it"
    print(f"{len(jobs)} files with a digest, {len(damaged)} damaged; {len(files) - len(jobs)} others (figures, pages)")
    if damaged:
        _tell(damaged)
        raise HcepError(f"{len(damaged)} of {len(jobs)} files are damaged", remedy="see the commands above")


def _from_here(file: Path) -> Path:
    """A file of this working folder by the name that the workflow has for it."""
    whole, here = file.absolute(), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole


def _fault(file: Path, check: Callable[[Path], object]) -> str:
    """What is wrong with a file, '' if nothing."""
    try:
        check(file)
    except HcepError as error:
        return f"{error.row}: {error.cause}" if error.row else error.cause
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _tell(damaged: Mapping[Path, str]) -> None:
    for file, cause in sorted(damaged.items()):
        print(shown(f"  {file}: {cause}"))
    made = sorted({_target(file) for file in damaged})
    # what hangs on a file of one task is that task's; on a cache or an encoder, it may be every task's
    tasks = {file.parts[1] if file.parts[0] == "results" else "*" for file in made}
    summaries = {path for task in tasks for path in Path("results").glob(f"{task}/summary.csv")}
    named, behind = (shlex.join(map(str, paths)) for paths in (made, sorted(summaries - {*made})))
    print("Repair of these, and of the summaries that hang on them (add the --configfile of your runs):")
    print(f"  rm {named}")
    print(f"  snakemake --cores 2 {named} {behind}".rstrip())
    print("What else was made of them is then older than they are: your usual `snakemake` makes it again.", flush=True)


def _check_of(file: Path) -> Callable[[Path], object] | None:
    """How a file is checked; None for one without a digest, and for one that somebody put there."""
    if SHARD.fullmatch(file.name) and file.parent.name in ARRAYS:
        return lambda path: verify_shard(path, path.parent.name)
    if SHARD.fullmatch(file.name) or file.name in SEALED_HDF5:
        return _check_hdf5
    # beside a config.json it is a model of transformers
    if file.name == "model.safetensors" and not file.with_name("config.json").is_file():
        return _check_model
    if file.suffix == ".safetensors" and file.with_name("encoder.json").is_file():
        return _check_weights
    split = file.suffix == ".json" and ("splits" in file.parts[:-1] or f'"{SEAL}"'.encode() in file.read_bytes())
    if split or file.name in SEALED_JSON:
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


def _check_source(file: Path) -> None:
    """Whether whole scores or metrics were made from the file that is beside them."""
    source = file.with_name(SOURCES[file.name])
    if file.suffix == ".json":
        found = read_sealed_json(file)["digests"]["scores"]
    else:
        found = read_scores(file, features=False).made_of["model"]
    if found != sha256_file(source):
        raise HcepError(f"was made from another {source.name}", file=file)


def _target(file: Path) -> Path:
    """The file that is asked for by name: the weights of an encoder come with its description."""
    encoder = file.with_name("encoder.json")
    return encoder if file.suffix == ".safetensors" and encoder.is_file() else file
