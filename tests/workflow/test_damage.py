"""Damage in numbers, over every kind of file of a finished benchmark: refused with a message, or without a meaning."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors import safe_open
from workspace import RUN, VERBS, differing

from hcep.cli import main
from hcep.errors import HcepError
from hcep.files import seal_beside
from hcep.stages import STAGES
from hcep.training.kept import KEPT
from hcep.verbs.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.faults]

FLIPS = 600
BLOCK = 512  # bytes, a sector


def content_of(path: Path) -> object:
    """Everything that a reader can learn from a file; numbers as text, in which NaN equals NaN."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            return file.metadata(), {name: repr(file.get_tensor(name).tolist()) for name in file.keys()}  # noqa: SIM118
    if path.suffix != ".h5":
        return path.read_bytes()
    with h5py.File(path) as file:
        found: dict[str, object] = {f"@{name}": str(value) for name, value in file.attrs.items()}
        file.visititems(
            lambda name, item: found.update(
                {name: repr(np.asarray(item[()]).tolist())} if isinstance(item, h5py.Dataset) else {}
            )
        )
        return found


def flip(content: bytes, random: np.random.Generator) -> bytes:
    """One bit, as of a disk or of memory."""
    place = int(random.integers(len(content)))
    return content[:place] + bytes([content[place] ^ 1 << int(random.integers(8))]) + content[place + 1 :]


def lose_a_sector(content: bytes, random: np.random.Generator) -> bytes:
    """Zeros in the place of a block."""
    place = int(random.integers(-(-len(content) // BLOCK))) * BLOCK
    return content[:place] + bytes(len(content[place : place + BLOCK])) + content[place + BLOCK :]


def swap_a_sector(content: bytes, random: np.random.Generator) -> bytes:
    """Bytes of somebody else's file in the place of a block."""
    place = int(random.integers(-(-len(content) // BLOCK))) * BLOCK
    return content[:place] + random.bytes(len(content[place : place + BLOCK])) + content[place + BLOCK :]


def cut(content: bytes, random: np.random.Generator) -> bytes:
    """The first part of a file, perhaps nothing."""
    return content[: int(random.integers(len(content)))]


def replace(content: bytes, random: np.random.Generator) -> bytes:
    """A file of the same length that is none of ours."""
    return random.bytes(len(content))


DAMAGES = (flip, lose_a_sector, swap_a_sector, cut, replace)
# a foreign sector among the names of an HDF5 file was seen to keep the HDF5 library busy without end
IN_HDF5 = (flip, cut, replace)


def sealed_files(root: Path) -> list[Path]:
    """Every file that carries a digest, or has one beside it."""
    found = sorted(path for name in ("resources", "results") for path in (root / name).rglob("*") if path.is_file())
    found = [path for path in found if KEPT not in path.parts]  # looked at by the run that takes them over
    return [
        path
        for path in found
        if path.suffix in (".h5", ".safetensors")
        or (path.suffix == ".json" and not path.name.startswith("."))
        or seal_beside(path).is_file()
    ]


def test_verify_finds_every_flipped_bit_that_means_anything(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished.root)
    random, files = np.random.default_rng(0), sealed_files(finished.root)
    kinds = Counter(path.suffix for path in files)
    assert len(files) > 40 and {".h5", ".safetensors", ".json", ".csv", ".tsv"} <= kinds.keys(), kinds
    refused = without_meaning = 0
    for number in range(FLIPS):
        path = files[number % len(files)]
        whole = path.read_bytes()
        wanted = content_of(path)
        path.write_bytes(flip(whole, random))
        try:
            verify([path])
        except HcepError:
            refused += 1
            told = capsys.readouterr().out
            assert f"  {path.relative_to(finished.root)}: " in told and "Repair of these" in told
        else:
            without_meaning += 1
            assert content_of(path) == wanted, f"flip {number} of {path.name} was not seen"
        path.write_bytes(whole)
    verify([Path("resources"), Path("results")])
    print(f"{FLIPS} flips in {len(files)} files: {refused} refused, {without_meaning} without a meaning")
    assert refused > FLIPS / 2


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "manifest"])
def test_no_stage_takes_a_damaged_file(finished, finished_once, commands, verb, monkeypatch, capsys):
    """Each damage of each input ends the stage with file and remedy, or the results are those of before."""
    monkeypatch.chdir(finished.root)
    words = commands[verb]
    random, outcome = np.random.default_rng(len(verb)), Counter()
    inputs = read_by(words)
    # a stage that reads no damaged file runs to its end, which takes time: of many files one damage each
    times = len(DAMAGES) if len(inputs) < 4 else 2 if len(inputs) < 12 else 1
    turns = {hdf5: itertools.cycle(IN_HDF5 if hdf5 else DAMAGES) for hdf5 in (True, False)}
    for path in inputs:
        whole, hdf5 = path.read_bytes(), path.suffix == ".h5"
        for damage in itertools.islice(turns[hdf5], times):
            broken = damage(whole, random)
            if broken == whole:  # zeros where zeros were
                continue
            path.write_bytes(broken)
            if verb == "run":  # or it would train and score nothing
                shutil.rmtree(finished.path(f"results/tiny/hcep/{RUN}/{KEPT}"))
            code, said = main(words), capsys.readouterr().err
            path.write_bytes(whole)
            place = f"{verb}, {damage.__name__} of {path}: {said}"
            assert "error of hcep itself" not in said and "--debug" not in said, place
            if code:
                assert code == 1 and f"hcep {verb}: " in said and "Remedy: " in said, place
                assert path.name in said or path.parent.name in said, place
            outcome["refused" if code else "the same results"] += 1
            # what is there has the bytes of before, or is known to be of another file, as metrics of their scores
            if differing(finished.root, finished_once, partly=True):
                with pytest.raises(HcepError, match="damaged"):
                    verify([Path("results")])
                assert "was made from another" in capsys.readouterr().out, place
            if differing(finished.root, finished_once):
                assert main(words) == 0 and differing(finished.root, finished_once) == [], place
    print(f"{verb}: {len(inputs)} inputs, {dict(outcome)}")
    assert outcome["refused"] or not inputs


def read_by(words: list[str]) -> list[Path]:
    """Files of other stages that a command reads: those that it names, and those in the folders that it names."""
    written = {f"--{argument.name}" for argument in STAGES[words[0]].arguments if argument.place.startswith("output")}
    written |= {"--runs"} if words[0] == "run" else set()
    shard = words[words.index("--shard") + 1] if "--shard" in words else "*-of-*"
    found: dict[Path, None] = {}
    option = ""
    for word in words[1:]:
        option = word if word.startswith("--") else option
        path = Path(word)
        if option in written or path.parts[0] not in ("resources", "results"):
            continue
        if path.is_dir():
            found |= dict.fromkeys(sorted(path.iterdir()))
        else:
            found[path] = None
        if path.name == "index.h5":
            found |= dict.fromkeys(sorted(path.parent.glob(f"*/{shard}.h5")))
    return [path for path in found if path.absolute() in sealed_files(Path.cwd())]
