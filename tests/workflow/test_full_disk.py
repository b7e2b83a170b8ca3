"""Every command of a benchmark on a disk without room: it says so, with file and size, and changes nothing."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from workspace import RUN, Workspace, copy_workspace, wait_for

from hcep.training.kept import KEPT

pytestmark = pytest.mark.faults

# full-size random encoders would take minutes; tests/test_files.py has their way of writing
LEFT_OUT = {"fetch_encoders"}
REFUSED = r"hcep \w+: (\S+): {} while writing it: (?:[\d,]+ bytes were to be written, )?[\d,]+ bytes are free in /\S+"


def commands(workspace: Workspace) -> dict[str, list[str]]:
    """The commands of the whole benchmark by verb, figures by their name too, without their log files."""
    text = workspace.snakemake("--forceall", "--dry-run", "--printshellcmds").text
    found: dict[str, list[str]] = {}
    for line in re.findall(r"\bhcep \w+ .* 2> .*", text):
        command = line.partition(" 2> ")[0]
        verb, name = re.match(r"hcep (\w+)(?: --name (\w+))?", command).groups()
        found.setdefault(f"figure {name}" if verb == "figure" else verb, []).append(command)
    return {name: some for name, some in found.items() if name not in LEFT_OUT}


def run(workspace: Workspace, command: str) -> subprocess.CompletedProcess[str]:
    """A command of the workflow, in the shell that it is written for."""
    # torch looks for a folder of its own, and first whether files for a moment can be written
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "TORCHINDUCTOR_CACHE_DIR": str(workspace.path("cache"))}
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(["bash", "-c", command], cwd=workspace.root, env=workspace.environment() | quiet, **options)


def snapshot(root: Path) -> dict[str, str]:
    """Every file of the benchmark, hidden ones included, with a digest of its content."""
    folders = ("results", "resources", "work")
    files = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def fill(folder: Path) -> Path:
    """Take all the room that there is."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return filler


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def check_refusals(workspace: Workspace, every: dict[str, list[str]], words: str, limit: str = "") -> None:
    """Run the first command of each kind, all of which have their output already."""
    assert {"manifest", "decode_frames", "decode_audio", "index_cache", "encode", "aggregate", "figure fig9"} <= {
        *every
    }
    before = snapshot(workspace.root)
    for name, (command, *_) in sorted(every.items()):
        done = run(workspace, limit + command)
        assert done.returncode == 1, f"{name}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr and "an error of hcep itself" not in done.stderr, done.stderr
        found = re.search(REFUSED.format(words), done.stderr)
        assert found and "and run again" in done.stderr, f"{name}: {done.stderr}"
        assert found[1].startswith(("results/tiny/", "resources/tiny/", "work/")), done.stderr
        assert snapshot(workspace.root) == before, f"{name} has left or changed something"


def test_every_command_says_that_the_disk_is_full_and_changes_nothing(finished_once, small_disk):
    workspace = copy_workspace(finished_once, small_disk / "here")
    every = commands(workspace)
    for kept in list(workspace.path("results").rglob(KEPT)):  # taking over copies would make room
        shutil.rmtree(kept)
    filler = fill(small_disk)
    check_refusals(workspace, every, "no space left")
    filler.unlink()
    assert workspace.snakemake().finished == []
    checked = run(workspace, "hcep verify results resources")
    assert checked.returncode == 0 and " 0 damaged" in checked.stdout


def test_every_command_says_that_a_file_may_not_be_so_large_and_changes_nothing(finished):
    # not one byte more in any file, and the process may not raise it again
    check_refusals(finished, commands(finished), "a file may not be so large", "ulimit -f 0; ")


def test_a_training_that_met_a_full_disk_goes_on_and_ends_with_the_same_weights(finished_once, small_disk):
    workspace = copy_workspace(finished_once, small_disk / "here")
    (command,) = (one for one in commands(workspace)["run"] if "--base hcep " in one)
    assert '"epochs": 8' in command
    command = command.replace('"epochs": 8', '"epochs": 60')  # long enough for what happens in between
    model = workspace.path(f"results/tiny/hcep/{RUN}/model.safetensors")
    assert run(workspace, command).returncode == 0
    unbroken = load_file(model)
    shutil.rmtree(model.parent)
    job = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=workspace.root, env=workspace.environment(), stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    wait_for(lambda: 0 if list(workspace.path("work").glob("*/state.pt")) else None, lambda: job.poll() is None)
    filler = fill(small_disk)
    _, said = job.communicate(timeout=120)
    assert job.returncode == 1
    refused = re.search(REFUSED.format("no space left"), said)
    assert refused and re.fullmatch(r"work/\w+/state\.pt", refused[1]), said
    assert [path.name for path in workspace.path("work").glob("*/*")] == ["state.pt"] and not model.exists()
    filler.unlink()
    done = run(workspace, command)
    assert done.returncode == 0 and re.search(r"goes on after epoch [1-5]?[0-9]\b", done.stderr), done.stderr
    found = load_file(model)
    assert all((unbroken[name] == found[name]).all() for name in unbroken.keys() | found.keys())
    assert not list(workspace.path("work").glob("*"))
