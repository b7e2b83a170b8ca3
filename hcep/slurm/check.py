"""Whether a cluster with Slurm takes the jobs of a profile, asked before a night is lost to jobs that never start."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from hcep.errors import HcepError, shown

CLIENTS = ("sbatch", "squeue", "sinfo", "scontrol", "scancel")
MIN_JOB_AGE = 120  # seconds; below it squeue may forget a job before Snakemake has asked
SECONDS = 60  # for an answer of Slurm
# what a job on a node does: says what it has, and that it sees the same folder
ON_NODE = """
import json, platform, sys
from pathlib import Path
import hcep
folder = Path(sys.argv[1])
seen = (folder / "sent").read_text()
(folder / "new").write_text(json.dumps({"node": platform.node(), "hcep": hcep.__file__, "sent": seen}))
(folder / "new").rename(folder / "answer")
"""


class Finding(NamedTuple):
    """One answer: what is so, and what to do where that is an obstacle."""

    said: str
    remedy: str = ""


class Request(NamedTuple):
    """What jobs ask Slurm for: minutes, MB, processors, accelerators, partition and account ('' for the usual one)."""

    jobs: str
    runtime: int
    mem_mb: int
    threads: int
    gpu: int
    partition: str
    account: str

    def options(self) -> list[str]:
        """Options of `sbatch`."""
        found = [f"--time={self.runtime}", f"--mem={self.mem_mb}", f"--cpus-per-task={self.threads}", "--ntasks=1"]
        found += [f"--gpus={self.gpu}"] if self.gpu else []
        found += [f"--partition={self.partition}"] if self.partition else []
        return found + ([f"--account={self.account}"] if self.account else [])

    def __str__(self) -> str:
        more = [f"{self.gpu} GPU"] if self.gpu else []
        more += [f"partition {self.partition}"] if self.partition else []
        size = [f"{self.threads} processors" if self.threads > 1 else "1 processor", f"{self.mem_mb} MB"]
        return f"{self.jobs}: {', '.join([*size, f'{self.runtime} minutes', *more])}"


def check_cluster(profile: Path, wait: int) -> None:
    """Print one line a question, and what to do about each obstacle.

    Parameters
    ----------
    profile : path
        Folder of a profile of Snakemake, as ``profiles/slurm``.
    wait : int
        Seconds that a job of a moment may wait for a node.

    Raises
    ------
    HcepError
        The cluster does not take the profile as it is.
    """
    obstacles = 0
    for found in _findings(_read_profile(profile), wait):
        print(shown(f"{'STOP' if found.remedy else 'ok'}  {found.said}"))
        if found.remedy:
            obstacles += 1
            print(shown(f"      {found.remedy}"))
    if obstacles:
        remedy = "do what the lines below STOP say; docs/cluster.md says more"
        raise HcepError(f"{obstacles} obstacles to jobs of this profile", file=profile, remedy=remedy)


def _read_profile(folder: Path) -> dict[str, Any]:
    import yaml

    path = folder / "config.yaml"
    try:
        profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        remedy = "name the folder of a profile: `hcep check_cluster --profile profiles/slurm`"
        raise HcepError(f"cannot read the profile ({error})", file=path, remedy=remedy) from error
    if not isinstance(profile, dict) or profile.get("executor") != "slurm":
        raise HcepError("it is no profile for Slurm", file=path, remedy="name one that says `executor: slurm`")
    for key in ("default-resources", "set-resources", "set-threads"):
        if not isinstance(profile.setdefault(key, {}), dict):
            remedy = "write one `name: value` a line, as profiles/slurm/config.yaml does"
            raise HcepError(f"{key} is no table of names and values", file=path, row=key, remedy=remedy)
    return profile


def _findings(profile: dict[str, Any], wait: int) -> Iterator[Finding]:
    if lacking := [name for name in CLIENTS if not shutil.which(name)]:
        remedy = "start this on a login node of the cluster (some need `module load slurm` first)"
        yield Finding(f"no {', '.join(lacking)} on this machine", remedy)
        return
    if not find_spec("snakemake_executor_plugin_slurm"):
        remedy = "install it beside Snakemake: `pip install snakemake-executor-plugin-slurm`"
        yield Finding("the plugin that sends jobs of Snakemake to Slurm is missing", remedy)
        return
    code, said = _ask("sinfo", "--noheader", "--format=%P %l %c %m %G")
    if code:
        yield Finding(f"Slurm does not answer: {said}", "`scontrol ping` must say UP; ask the administrators")
        return
    partitions = [line.split() for line in said.splitlines()]
    yield Finding("partitions (time, processors, MB, accelerators): " + "; ".join(" ".join(row) for row in partitions))
    yield from _status_command(profile)
    try:
        requests = [_request(profile, rule) for rule in ("", *profile["set-resources"])]
        of_gpu = _request(profile, "run", gpu=1)
    except HcepError as error:
        yield Finding(error.cause, str(error.remedy))
        return
    if not requests[0].partition and not any(row[0].endswith("*") for row in partitions):
        remedy = "add `slurm_partition: NAME` to default-resources in a copy of the profile"
        yield Finding("no partition of this cluster is the usual one, and the profile names none", remedy)
    largest = max(requests, key=lambda request: (request.mem_mb, request.runtime))
    for request in dict.fromkeys((requests[0], largest)):
        yield _test_only(request)
    yield _gpu(of_gpu)
    yield from _on_a_node(requests[0], wait)


def _ask(*command: str) -> tuple[int, str]:
    """Exit code of a command, and what it said."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return 1, f"no answer to `{shlex.join(command)}` in {SECONDS} s"
    # a command that succeeds may warn on standard error, which is no part of its answer
    return answer.returncode, (answer.stderr if answer.returncode else answer.stdout).strip()


def _status_command(profile: dict[str, Any]) -> Iterator[Finding]:
    asked = profile.get("slurm-status-command", "auto")
    accounting = bool(shutil.which("sacct")) and not _ask("sacct", "--noheader", "--allocations")[0]
    if asked != "squeue" and not accounting:
        remedy = "set `slurm-status-command: squeue` in the profile, or Snakemake waits for ever"
        yield Finding("this cluster keeps no accounts, so `sacct` knows no job", remedy)
        return
    code, said = _ask("scontrol", "show", "config")
    age = re.search(r"^MinJobAge\s*=\s*(\d+)", said, re.MULTILINE)
    if asked == "squeue" and not code and age and int(age[1]) < MIN_JOB_AGE:
        remedy = "set `slurm-status-command: sacct`" if accounting else "ask the administrators for MinJobAge=300"
        yield Finding(f"`squeue` forgets a job {age[1]} s after its end (MinJobAge)", remedy)
        return
    yield Finding(f"the end of a job is learnt from {asked}; accounting is {'on' if accounting else 'off'}")


def _request(profile: dict[str, Any], rule: str, gpu: int = 0) -> Request:
    """The request of a rule, of its last attempt, which is the largest."""
    from snakemake.exceptions import WorkflowError
    from snakemake.resources import Resources

    given = profile["default-resources"] | profile["set-resources"].get(rule, {})
    values: dict[str, Any] = {}
    for name, text in given.items():
        try:
            # as Snakemake reads them: an expression of Python where it can be one
            resource = Resources.parse([f"{name}={text}"], allow_expressions=True)[name]
            last = int(profile.get("retries", 0)) + 1
            known = {"input": [], "attempt": last, "threads": 1, "rulename": rule, "async_run": None}
            found = resource.evaluate(None, **known)
            values[found.name] = found.value
        except (WorkflowError, ValueError, TypeError) as error:
            remedy = "correct it; a name that is also one of Python stands in two kinds of quotes, as \"'all'\""
            raise HcepError(f"`{name}: {text}` of the profile is no value ({error})", remedy=remedy) from error
    jobs = f"rule {rule}" if rule else "most jobs"
    threads = int(profile["set-threads"].get(rule, 1))
    partition, account = str(values.get("slurm_partition", "")), str(values.get("slurm_account", ""))
    request = Request(jobs, values.get("runtime", 0), values.get("mem_mb", 1000), threads, gpu, partition, account)
    if not partition and (table := profile.get("slurm-partition-config")):
        request = request._replace(partition=_chosen_partition(Path(table), request))
    return request


def _chosen_partition(table: Path, request: Request) -> str:
    """The partition that the plugin would choose for a request; '' where it would leave that to Slurm."""
    import logging
    from types import SimpleNamespace

    from snakemake.exceptions import WorkflowError
    from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file

    asked = {"mem_mb": request.mem_mb, "runtime": request.runtime, "gpu": request.gpu}
    job = SimpleNamespace(name=request.jobs, threads=request.threads, resources=asked)
    quiet = logging.Logger("partitions", logging.CRITICAL + 1)
    try:
        return get_best_partition(read_partition_file(table), job, quiet) or ""
    except (WorkflowError, KeyError, TypeError) as error:
        remedy = "write it as profiles/slurm/partitions.yaml"
        raise HcepError(f"the partitions in {table} cannot be read ({error})", remedy=remedy) from error


def _test_only(request: Request) -> Finding:
    code, said = _ask("sbatch", "--test-only", *request.options(), "--wrap=true")
    remedy = "lower what the profile asks for, or name another partition, in a copy of the profile"
    return Finding(f"{request}: {said}", remedy) if code else Finding(str(request))


def _gpu(request: Request) -> Finding:
    """Not an obstacle: methods on cached features need no accelerator."""
    found = _test_only(request._replace(jobs="a method with prompts, encoding and speech recognition"))
    if not found.remedy:
        return found
    more = "this cluster does not grant that; `training: device: cpu` in config/config.yaml asks for processors alone"
    return Finding(f"{found.said}. {more}")


def _on_a_node(request: Request, wait: int) -> Iterator[Finding]:
    token, folder = secrets.token_hex(8), Path(".snakemake/hcep") / f"check-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        (folder / "sent").write_text(token)
        command = shlex.join([sys.executable, "-c", ON_NODE, str(folder.absolute())])
        small = request._replace(runtime=5, mem_mb=min(request.mem_mb, 2000))
        code, said = _ask("sbatch", "--parsable", f"--output={folder}/log", *small.options(), f"--wrap={command}")
        if code:
            yield Finding(f"a job of a moment is refused: {said}", "see the lines above")
            return
        job = said.split(";")[0]
        yield _answer(folder, job, token, wait)
    finally:
        shutil.rmtree(folder)


def _answer(folder: Path, job: str, token: str, wait: int) -> Finding:
    """What the job on a node wrote, or why it did not."""
    start, answer, gone = time.monotonic(), folder / "answer", 0
    while not answer.exists():
        state = _ask("squeue", "--noheader", f"--jobs={job}", "--format=%T")[1]
        # after a job has ended its files may be seen late
        gone = 0 if state in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING") else gone + 1
        if gone > 10:
            log = folder / "log"
            told = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
            cause = told[-1] if told else "it left no file in this folder"
            remedy = f"every node must see {Path.cwd()} and {Path(sys.executable).parent} under these paths"
            return Finding(f"a job on a node failed: {cause}", remedy)
        if time.monotonic() - start > wait:
            _ask("scancel", job)
            waits = f"a job of a moment still waits after {wait} s ({state.lower() or 'unknown'})"
            remedy = "the queue is long, or no node is free: see `sinfo`; `hcep check_cluster --wait 3600` waits longer"
            return Finding(waits, remedy)
        time.sleep(1)
    found = json.loads(answer.read_text())
    if found["sent"] != token:
        return Finding(f"node {found['node']} sees other files", f"every node must see {Path.cwd()} under this path")
    place = f"node {found['node']} runs {found['hcep']} and sees this folder"
    return Finding(f"{place}, after {time.monotonic() - start:.0f} s")
