"""How files are written: whole or not at all, on the disk, with the rights of umask, also by two at a time."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sample_scores import make_scores

from hcep.errors import HcepError
from hcep.evaluation.scores import read_scores, write_scores
from hcep.figures.style import figure_style, save_figure
from hcep.files import (
    atomic_folder,
    atomic_path,
    discard,
    read_table,
    seal_beside,
    write_bytes,
    write_json,
    write_table,
    write_text,
)
from hcep.media.shards import Row, verify_shard, write_shard
from hcep.seal import new_hdf5, open_hdf5, write_sealed_json
from hcep.training.checkpoint import read_state, save_checkpoint, save_state


def write_folder(path):
    with atomic_folder(path) as folder:
        (folder / "content").write_bytes(bytes(200_000))


def write_figure(path):
    with figure_style():
        figure = Figure()
        figure.subplots().imshow(np.random.default_rng(0).random((300, 300, 3)))
        save_figure(figure, path)


def write_copy(path):
    with atomic_path(path, 200_000) as temporary:
        temporary.write_bytes(bytes(200_000))


def write_frames(path):
    rows = (Row(np.full((2, 100, 100, 3), number, np.uint8)) for number in range(4))
    write_shard(path, "frames", list("abcd"), enumerate(rows), {}, shape=(2, 100, 100, 3), dtype=np.uint8)


def write_words(path):
    rows = (Row(("word " * 10_000, "caption")) for _ in range(4))
    write_shard(path, "text", list("abcd"), enumerate(rows), {})


# every way in which a file comes to be, each with content of more than 100 kB
KINDS = {
    "page.html": lambda path: write_text(path, "a" * 200_000),
    "plain.json": lambda path: write_json(path, list(range(50_000))),
    "sealed.json": lambda path: write_sealed_json(path, {"a": list(range(50_000))}),
    "sealed.csv": lambda path: write_table(path, ["a"], [{"a": number} for number in range(50_000)]),
    "open.tsv": lambda path: write_table(path, ["a"], [{"a": number} for number in range(50_000)], seal=False),
    "frames.h5": write_frames,
    "words.h5": write_words,
    "scores.h5": lambda path: write_scores(path, make_scores(n=1000)),
    "model.safetensors": lambda path: save_checkpoint(path, {"a": torch.zeros(50_000)}, {}),
    "state.pt": lambda path: save_state(path, {"a": torch.zeros(50_000)}),
    "fig.svg": write_figure,
    "fig.pdf": write_figure,
    "fig.png": write_figure,
    "copy.bin": write_copy,
    "folder": write_folder,
}


@contextmanager
def largest_file(size):
    """Let no file of this process grow above `size` bytes; Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content(path):
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_files_have_the_rights_that_umask_gives(tmp_path, name, umask):
    before = os.umask(umask)
    try:
        KINDS[name](tmp_path / "new" / name)
    finally:
        os.umask(before)
    written = list(tmp_path.rglob("*"))
    assert tmp_path / "new" / name in written
    for path in written:
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        assert path.stat().st_mode & 0o777 == wanted, path


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_may_not_be_so_large_is_told_and_changes_nothing(tmp_path, name):
    path = tmp_path / name
    KINDS[name](path)
    before = content(tmp_path)
    with largest_file(100_000), pytest.raises(HcepError) as refused:
        KINDS[name](path)
    assert refused.value.file == path and "a file may not be so large" in refused.value.cause
    assert "raise `ulimit -f`" in refused.value.remedy
    if name != "folder":
        wanted = int(re.search(r"([\d,]+) bytes were to be written", refused.value.cause)[1].replace(",", ""))
        # before the last byte of an HDF5 file is known, its content is
        assert 100_000 < wanted <= path.stat().st_size
    assert re.search(rf"[\d,]+ bytes are free in {re.escape(str(tmp_path))}", refused.value.cause)
    assert content(tmp_path) == before


def test_what_hdf5_could_not_write_is_told_once(tmp_path):
    """HDF5 by itself tells it for each of its objects, and once more when the process ends."""
    script = """
import resource, sys
from pathlib import Path
from hcep.errors import HcepError
from hcep.seal import new_hdf5
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with new_hdf5(Path(sys.argv[1])) as file:
        for number in range(2000):
            file.create_dataset(f"group/{number}", data=[number])
except HcepError as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "many.h5")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"{tmp_path}/many.h5: a file may not be so large while writing it: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_other_refusals_are_told_whenever_they_come(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    for place, name in ((os, "fsync"), (os, "open"), (Path, "replace"), (Path, "write_bytes")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, refuse)
            with pytest.raises(HcepError, match=r"while writing it: 5 bytes were to be written, [\d,]+ bytes are free"):
                write_text(tmp_path / "a.txt", "words")
        assert not list(tmp_path.iterdir())


def test_other_errors_stay_what_they_are(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "words")
    with pytest.raises(FileExistsError):
        write_text(Path("/dev/null/a.txt"), "words")
    with pytest.raises(FileNotFoundError):
        write_text(Path("/proc/nothing/a.txt"), "words")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_content_is_on_the_disk_before_it_has_its_name_and_then_the_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace

    def note_sync(handle):
        done.append(("sync", re.sub(r"[0-9a-f]{8}", "#", Path(f"/proc/self/fd/{handle}").readlink().name)))
        fsync(handle)

    def note_name(path, target):
        replaced = replace(path, target)
        done.append(("name", replaced.name))
        return replaced

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_name)
    write_text(tmp_path / "one/two/a.txt", "words")
    # also the folders that are new
    assert done[:2] == [("sync", tmp_path.name), ("sync", "one")]
    assert done[2:] == [("sync", ".a.#.tmp.txt"), ("name", "a.txt"), ("sync", "two")]
    done.clear()
    write_table(tmp_path / "t.csv", ["a"], [{"a": 1}])
    assert done == [
        ("sync", ".t.#.tmp.csv"),
        ("sync", "..t.csv.#.tmp.sha256"),
        ("name", "t.csv"),
        ("name", ".t.csv.sha256"),
        ("sync", tmp_path.name),
    ]
    done.clear()
    with atomic_folder(tmp_path / "f") as folder:
        (folder / "b").write_text("words")
    assert done == [("sync", "b"), ("sync", ".f.#.tmp"), ("name", "f"), ("sync", tmp_path.name)]


def start(script, *arguments, **more):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, **more)


HALF = """
import sys, time
from pathlib import Path
from hcep.files import atomic_folder, atomic_path
path = Path(sys.argv[1])
with (atomic_path if path.suffix else atomic_folder)(path) as temporary:
    (temporary if path.suffix else temporary / "half").write_text("half")
    print(temporary.name, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("name", ["a.h5", "a"])
def test_what_a_killed_process_leaves_goes_with_the_next_write_and_what_is_being_written_stays(tmp_path, name):
    path = tmp_path / name
    write = write_frames if path.suffix else write_folder
    jobs = [start(HALF, path), start(HALF, path), start(HALF, tmp_path / f"b{path.suffix}")]
    try:
        killed, alive, of_another = (job.stdout.readline().decode().strip() for job in jobs)
        for job in (jobs[0], jobs[2]):
            job.send_signal(signal.SIGKILL)
            job.wait()
        write(path)
        found = {one.name for one in tmp_path.iterdir()}
        assert found == {name, alive, of_another} and killed not in found
    finally:
        for job in jobs:
            job.kill()
            job.wait()
    write(path)
    write(tmp_path / f"b{path.suffix}")
    assert {one.name for one in tmp_path.iterdir()} == {name, f"b{path.suffix}"}


WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_files import PAIRS
folder, number = Path(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[4])):
    for name, write in PAIRS.items():
        write(folder / name, number)
"""


def write_numbered_shard(path, number):
    rows = (Row(np.full((2, 8, 8, 3), number, np.uint8)) for _ in range(20))
    write_shard(path, "frames", [f"c{k}" for k in range(20)], enumerate(rows), {}, shape=(2, 8, 8, 3), dtype=np.uint8)


def write_numbered_folder(path, number):
    with atomic_folder(path) as folder:
        for name in ("a", "b"):
            (folder / name).write_text(str(number))


# each writes nothing but its number
PAIRS = {
    "summary.csv": lambda path, number: write_table(path, ["a"], [{"a": number}] * 50),
    "shard.h5": write_numbered_shard,
    "state.pt": lambda path, number: save_state(path, {"a": torch.full((100,), number)}),
    "scores.h5": lambda path, number: write_scores(path, make_scores(n=10, seed=number)),
    "folder": write_numbered_folder,
}


def numbers(folder):
    """What a reader finds; each must be whole and of one writer."""
    with h5py.File(folder / "shard.h5", locking=False) as file:
        frames = set(file["frames"][:].ravel().tolist())
    return {
        "summary.csv": {int(row["a"]) for row in read_table(folder / "summary.csv")},
        "shard.h5": frames if verify_shard(folder / "shard.h5", "frames") else set(),
        "state.pt": set(read_state(folder / "state.pt")["a"].tolist()),
        "scores.h5": {read_scores(folder / "scores.h5").seed},
    }


def race(folder, times):
    """Two processes that write the same files, each with content of its own, until both end; yields meanwhile."""
    jobs = [
        start(WRITER, Path(__file__).parent, folder, number, times, stdin=subprocess.PIPE, text=True)
        for number in (1, 2)
    ]
    try:
        for job in jobs:
            assert job.stdout.readline() == "ready\n"
        for job in jobs:
            job.stdin.write("\n")
            job.stdin.flush()
        while any(job.poll() is None for job in jobs):
            yield
        assert [job.returncode for job in jobs] == [0, 0]
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def check_race(folder, times):
    for name, write in PAIRS.items():
        write(folder / name, 1)
    looks = 0
    for _ in race(folder, times):
        for name, found in numbers(folder).items():
            assert len(found) == 1, f"{name} is of two writers"
        looks += 1
    found = numbers(folder) | {"folder": {int((folder / "folder" / name).read_text()) for name in ("a", "b")}}
    assert all(len(one) == 1 for one in found.values()), found
    assert seal_beside(folder / "summary.csv").is_file()
    assert {path.name for path in folder.iterdir()} == {*PAIRS, ".summary.csv.sha256"}
    return looks


@pytest.mark.slow
def test_two_processes_that_write_the_same_files_both_end_well(tmp_path):
    assert check_race(tmp_path, 10) > 0


@pytest.mark.faults
def test_two_processes_that_write_the_same_files_both_end_well_hundreds_of_times(tmp_path):
    assert check_race(tmp_path, 200) > 50


def test_a_state_is_discarded_without_disturbing_a_process_that_works_on_it(tmp_path):
    path = tmp_path / "work/state.pt"
    save_state(path, {"a": 1})
    job = start(HALF, path)
    try:
        alive = job.stdout.readline().decode().strip()
        discard(path)
        assert [one.name for one in path.parent.iterdir()] == [alive]
    finally:
        job.kill()
        job.wait()
    discard(path)
    assert not path.parent.exists()
    discard(path)


def test_a_table_with_the_digest_of_another_is_refused_and_what_helps_is_named(tmp_path):
    write_table(tmp_path / "a.csv", ["a"], [{"a": 1}])
    write_bytes(tmp_path / "a.csv", b"a\n2\n")
    with pytest.raises(HcepError, match=r"does not match its digest in \.a\.csv\.sha256.*delete it, make it again"):
        read_table(tmp_path / "a.csv")


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), new_hdf5(tmp_path / "a.h5") as file:
        file["a"] = [1 / 0]
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "a") as folder:
        (folder / "b").write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())
    with new_hdf5(tmp_path / "a.h5") as file:
        file["a"] = [1]
    with open_hdf5(tmp_path / "a.h5") as file:
        assert file["a"][:].tolist() == [1]
