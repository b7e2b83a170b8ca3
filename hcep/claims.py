"""Who makes a run: a file in the folder of resume states that says it to a second job of the same run.

A main process that is killed leaves its jobs behind, and Snakemake, started again, sends the same ones beside them. The
file is locked as long as its process lives. Some file systems keep a lock from other machines, so it also names the job
of Slurm, and Slurm is asked whether that one is still there.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from hcep.errors import HcepError

FOLDER = "claims"
# what Slurm says of a job that it has forgotten, and the state of one whose processes are being ended
NO_SUCH_JOB, ENDING = "Invalid job id", "COMPLETING"
# what a file system says that has no locks
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def claimed(work: Path, run: Path) -> Iterator[None]:
    """Hold the claim on a run, the folder of its results, as long as this lasts.

    Raises
    ------
    HcepError
        Another process, or another job of Slurm, makes the run.
    """
    path = work / FOLDER / f"{str(run).replace('/', '.')}.json"
    file = _locked(path, "a+")
    try:
        _refuse_if_living(path, file.read())
        file.seek(0)
        file.truncate()
        who = {"run": str(run), "host": platform.node(), "process": os.getpid(), "slurm_job": _own_job()}
        file.write(json.dumps(who))
        file.flush()
        try:
            yield
        finally:
            path.unlink()
            with suppress(OSError):  # claims of other runs are in it
                path.parent.rmdir()
    finally:
        file.close()


def refuse_living(work: Path) -> None:
    """Raise an error if a job of an earlier start still makes a run."""
    for path in sorted((work / FOLDER).glob("*.json")):
        # its owner may have ended in this moment
        with suppress(FileNotFoundError), _locked(path, "r+") as file:
            _refuse_if_living(path, file.read())


def _own_job() -> str:
    return os.environ.get("SLURM_JOB_ID", "")


def _locked(path: Path, mode: str) -> IO[str]:
    """The open and locked file of a claim, which its owner may remove in between, and the folder with it."""
    while True:
        try:
            file = path.open(mode, encoding="utf-8")
        except FileNotFoundError:
            if mode == "r+":
                raise
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        file.seek(0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read()
            file.close()
            raise _refused(path, text, "") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                file.close()
                raise
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


def _refuse_if_living(path: Path, text: str) -> None:
    job = _read(text).get("slurm_job", "")
    if job and job != _own_job() and (state := _state(path, job)):
        raise _refused(path, text, state)


def _read(text: str) -> dict[str, str]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}  # killed before it was written


def _state(path: Path, job: str) -> str:
    """State of a job that waits or runs, or '' if it has ended."""
    command = ["squeue", "--noheader", f"--jobs={job}", "--format=%T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
        failed = answer.stderr.strip() if answer.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        failed = str(error)
    if not failed:
        state = answer.stdout.strip()
        return "" if state == ENDING else state
    if NO_SUCH_JOB in failed:
        return ""
    remedy = f"start where `squeue` works; if job {job} has ended, remove this file"
    raise HcepError(f"cannot ask Slurm whether its job {job} still makes this run ({failed})", file=path, remedy=remedy)


def _refused(path: Path, text: str, state: str) -> HcepError:
    who = _read(text)
    job, run = who.get("slurm_job", ""), who.get("run", path.stem)
    place = f"process {who.get('process', '?')} on {who.get('host', '?')}"
    if job:
        name, end = f"job {job} of Slurm ({state or place})", f"end it with `scancel {job}`"
    else:
        name, end = place, "end that process"
    cause = f"{name} still makes this run; Snakemake does not know it, as after a main process that was killed"
    return HcepError(cause, file=run, remedy=f"wait for it, or {end}, and start again")
