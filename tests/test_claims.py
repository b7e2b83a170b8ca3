"""A second job never makes a run beside a living one, and a dead one is no obstacle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hcep.claims import FOLDER, claimed, refuse_living
from hcep.errors import HcepError

RUN = Path("results/tiny/hcep/k2u1/split1/seed0")
HOLDER = """
import sys, time
from pathlib import Path
from hcep.claims import claimed
with claimed(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path, RUN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A `squeue` that answers what the test says."""

    def answers(text, code=0):
        program = tmp_path / "bin" / "squeue"
        program.parent.mkdir(exist_ok=True)
        stream = 2 if code else 1
        program.write_text(f"#!/bin/sh\n[ \"$2\" = --jobs=7 ] || exit 9\nprintf '{text}' >&{stream}\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return answers


def claim_of_job(work, job="7"):
    path = work / FOLDER / "results.tiny.hcep.k2u1.split1.seed0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"run": str(RUN), "host": "node3", "process": 12, "slurm_job": job}))
    return path


def test_a_run_in_the_making_is_refused_until_its_process_has_gone(tmp_path, holder):
    for refused in (lambda: claimed(tmp_path, RUN).__enter__(), lambda: refuse_living(tmp_path)):
        with pytest.raises(HcepError) as found:
            refused()
        assert f"process {holder.pid} on " in found.value.cause and found.value.file == str(RUN)
        assert "end that process" in found.value.remedy
    with claimed(tmp_path, RUN.with_name("seed1")):  # another run
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    refuse_living(tmp_path)
    with claimed(tmp_path, RUN):
        assert json.loads(next((tmp_path / FOLDER).iterdir()).read_text())["process"] == os.getpid()
    assert not (tmp_path / FOLDER).exists()


def test_a_run_that_fails_leaves_no_claim(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path, RUN):
        raise KeyboardInterrupt
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "SUSPENDED"])
def test_a_job_that_slurm_still_has_is_refused(tmp_path, slurm, state):
    claim_of_job(tmp_path)
    slurm(f"{state}\\n")
    for refused in (lambda: claimed(tmp_path, RUN).__enter__(), lambda: refuse_living(tmp_path)):
        with pytest.raises(HcepError, match=rf"job 7 of Slurm \({state}\) still makes this run.*") as found:
            refused()
        assert "`scancel 7`" in found.value.remedy


@pytest.mark.parametrize(
    "answer",
    [("",), ("COMPLETING\\n",), ("slurm_load_jobs error: Invalid job id specified\\n", 1)],
    ids=["ended", "ending", "forgotten"],
)
def test_a_job_that_has_ended_is_no_obstacle(tmp_path, slurm, answer):
    claim_of_job(tmp_path)
    slurm(*answer)
    refuse_living(tmp_path)
    with claimed(tmp_path, RUN):
        pass


def test_a_job_that_slurm_queued_again_finds_its_own_claim(tmp_path, monkeypatch):
    claim_of_job(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("PATH", "")  # nobody is asked
    with claimed(tmp_path, RUN):
        pass


def test_a_job_that_nobody_can_ask_about_is_refused(tmp_path, slurm, monkeypatch):
    path = claim_of_job(tmp_path)
    slurm("slurm_load_jobs error: Unable to contact slurm controller (connect failure)\\n", 1)
    with pytest.raises(HcepError, match="Unable to contact") as found:
        refuse_living(tmp_path)
    assert found.value.file == path and "remove this file" in found.value.remedy
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HcepError, match="No such file"):
        refuse_living(tmp_path)


def test_a_claim_that_was_not_written_whole_is_no_obstacle(tmp_path):
    claim_of_job(tmp_path).write_text('{"run": "res')
    with claimed(tmp_path, RUN):
        pass
