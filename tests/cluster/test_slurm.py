"""The shipped profile on a real Slurm of one node: the local bytes, also after every kind of interruption.

`make test-cluster` starts that Slurm, runs these tests and removes it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from workspace import BIN, REPOSITORY, RUN, Workspace, copy_workspace, differing, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("HCEP_SLURM" not in os.environ, reason="no Slurm was started: make test-cluster"),
]

MODEL = f"results/tiny/hcep/{RUN}/model.safetensors"
LOG = f"logs/run/tiny/hcep/{RUN}.log"
LONG = {"task_definitions": {"tiny": {"training": {"epochs": 500, "lr_step": 200}}}}


class OnSlurm(Workspace):
    """A workspace whose jobs Slurm starts."""

    def command(self, *arguments: str, config=None, cores: int = 2) -> list[str]:
        """As for jobs of this machine, with the profile in place of a number of cores."""
        local = super().command(*arguments, config=config)
        at = local.index("--cores")
        return [*local[:at], "--workflow-profile", "profiles/slurm", *local[at + 2 :]]


def slurm(*command: str) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def jobs_of(workspace: Workspace, state: str = "RUNNING") -> list[str]:
    """Jobs of a workspace in this state."""
    rows = (line.split("|") for line in slurm("squeue", "--noheader", "--format=%i|%T|%Z").splitlines())
    return [job for job, found, folder in rows if found == state and Path(folder) == workspace.root]


@pytest.fixture(scope="module")
def long_run(finished_once, tmp_path_factory) -> tuple[Path, Path]:
    """A workspace in which the run of HCEP, made long enough to be interrupted, is to be made, and one where it is."""
    begun = copy_workspace(finished_once, tmp_path_factory.mktemp("long") / "begun")
    shutil.rmtree(begun.path(MODEL).parent)
    for name in ("logs", "work"):
        shutil.rmtree(begun.path(name), ignore_errors=True)
    done = copy_workspace(begun.root, begun.root.with_name("done"))
    done.snakemake(MODEL, config=LONG)
    return begun.root, done.root


@pytest.fixture
def started(long_run, tmp_path):
    """The long run on Slurm, in the middle of its training; what a test leaves behind is ended."""
    workspace = OnSlurm(copy_workspace(long_run[0], tmp_path / "long").root)
    with running(workspace, MODEL) as process:
        job = in_training(workspace, process)
        yield workspace, process, job
    for job in (*jobs_of(workspace), *jobs_of(workspace, "PENDING")):
        subprocess.run(["scancel", job], check=False)


@contextmanager
def running(workspace: Workspace, *targets: str):
    with workspace.path("said.log").open("w") as said:
        process = workspace.start(workspace.command(*targets, config=LONG), said)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def in_training(workspace: Workspace, process: subprocess.Popen) -> str:
    """The job of the run, once it has done some epochs."""

    def some_epochs() -> int | None:
        found = jobs_of(workspace)
        return int(found[0]) if found and list(workspace.path("work").glob("*/state.pt")) else None

    return str(until(some_epochs, process))


def until(moment: Callable[[], int | None], process: subprocess.Popen) -> int:
    """`wait_for`, asking Slurm less often than a file system."""

    def asked() -> int | None:
        time.sleep(0.5)
        return moment()

    return wait_for(asked, lambda: process.poll() is None)


def ended(workspace: Workspace, process: subprocess.Popen) -> str:
    """What Snakemake said, after its successful end."""
    code, said = process.wait(timeout=300), workspace.path("said.log").read_text()
    assert code == 0, said
    return said


def same_model(workspace: Workspace, long_run: tuple[Path, Path]) -> bool:
    return workspace.path(MODEL).read_bytes() == (long_run[1] / MODEL).read_bytes()


def test_all_of_the_tiny_benchmark_gives_the_local_bytes(laid_out, finished_once, tmp_path):
    workspace = OnSlurm(copy_workspace(laid_out, tmp_path / "fresh").root)
    said = workspace.snakemake(config={"training": {"device": "cpu"}}).text
    assert len(re.findall(r"has been submitted with SLURM jobid", said)) > 5
    assert differing(workspace.root, finished_once) == []
    assert not workspace.path("work/claims").exists()


def test_a_cancelled_job_is_sent_again_and_goes_on(started, long_run):
    workspace, process, job = started
    slurm("scancel", job)
    said = ended(workspace, process)
    assert "Trying to restart job" in said and len(re.findall("with SLURM jobid", said)) == 2
    assert "goes on after epoch" in workspace.path(LOG).read_text()
    assert same_model(workspace, long_run)


def test_a_job_that_is_queued_again_goes_on(started, long_run):
    workspace, process, job = started
    slurm("scontrol", "requeue", job)
    said = ended(workspace, process)
    assert "Trying to restart job" not in said and len(re.findall("with SLURM jobid", said)) == 1
    assert "goes on after epoch" in workspace.path(LOG).read_text()
    assert same_model(workspace, long_run)


def test_a_preempted_job_saves_its_step_and_slurm_queues_it_again(started, long_run):
    workspace, process, job = started
    urgent = slurm("sbatch", "--parsable", "-p", "high", "--exclusive", "--output=/dev/null", "--wrap=sleep 5")
    until(lambda: 0 if "waits up to" in workspace.path(LOG).read_text() else None, process)
    state = next(workspace.path("work").glob("*/state.pt"))
    saved = state.stat().st_mtime_ns
    until(lambda: None if job in jobs_of(workspace) else 0, process)
    assert state.stat().st_mtime_ns == saved  # nothing was done in the time of grace
    said = ended(workspace, process)
    assert "Trying to restart job" not in said and len(re.findall("with SLURM jobid", said)) == 1
    assert re.search(r"goes on after epoch \d+", workspace.path(LOG).read_text())
    assert same_model(workspace, long_run)
    assert f"JobId={urgent} " in slurm("scontrol", "show", "job", urgent)


def test_a_job_left_by_a_killed_main_process_is_not_made_twice(started, long_run):
    workspace, process, job = started
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert json.loads(next(workspace.path("work/claims").iterdir()).read_text())["slurm_job"] == job
    workspace.snakemake("--unlock", config=LONG)
    refused = workspace.snakemake(MODEL, config=LONG, fails=True).text
    assert f"scancel {job}" in refused and "with SLURM jobid" not in refused and "Traceback" not in refused
    slurm("scancel", job)
    with running(workspace, MODEL) as again:
        # the first refusals, while the processes of the job end, cost no attempt: nothing was sent
        ended(workspace, again)
    assert "goes on after epoch" in workspace.path(LOG).read_text()
    assert same_model(workspace, long_run)


def test_check_cluster_finds_no_obstacle_and_names_what_a_gpu_would_be_asked_for(finished_once):
    done = Workspace(finished_once).run([str(BIN / "hcep"), "check_cluster"])
    assert done.returncode == 0, done.stdout
    assert "STOP" not in done.stdout and "sees this folder" in done.stdout
    assert re.search(r"with prompts.*1 GPU.*does not grant that.*device: cpu", done.stdout)


def test_check_cluster_says_what_no_node_has(finished_once, tmp_path):
    profile = yaml.safe_load((REPOSITORY / "profiles/slurm/config.yaml").read_text())
    profile["set-resources"]["run"]["mem_mb"] = 900_000_000
    profile["slurm-status-command"] = "sacct"
    profile["default-resources"]["slurm_partition"] = "high"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile))
    done = Workspace(finished_once).run([str(BIN / "hcep"), "check_cluster", "--profile", str(tmp_path)])
    assert done.returncode == 1
    assert len(re.findall("^STOP", done.stdout, re.MULTILINE)) == 2, done.stdout
    assert "900000000 MB" in done.stdout and "slurm-status-command: squeue" in done.stdout


@pytest.mark.slow
def test_the_demo_gives_the_local_bytes(tmp_path):
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    for kind in ("local", "slurm"):
        for name in filter(None, tracked.stdout.split("\0")):
            target = tmp_path / kind / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target, follow_symlinks=False)  # some are links to folders
    cpu = ["--config", "training={device: cpu}"]
    for kind, how in (("local", ["--cores", "2"]), ("slurm", ["--workflow-profile", "profiles/slurm"])):
        done = Workspace(tmp_path / kind).run([str(BIN / "snakemake"), *how, *cpu])
        assert done.returncode == 0, done.stdout
    for name in ("summary.csv", "comparisons.csv", "runs.csv", "corpora.csv"):
        one, other = (tmp_path / kind / "results/demo" / name for kind in ("local", "slurm"))
        assert one.read_bytes() == other.read_bytes(), name
