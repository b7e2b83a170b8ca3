"""What `hcep check_cluster` makes of answers that a real Slurm 22.05 gave; tests/cluster asks a real one."""

from __future__ import annotations

import pytest
import snakemake_executor_plugin_slurm  # noqa: F401 (it looks for Slurm's commands when it is imported)
import yaml

from hcep.errors import HcepError
from hcep.slurm import check
from hcep.slurm.check import check_cluster

SINFO = "low* 2-00:00:00 2 21000 (null)\nhigh 2-00:00:00 2 21000 (null)"
NO_GPU = "sbatch: error: Batch job submission failed: Requested node configuration is not available"


@pytest.fixture
def profile(tmp_path):
    """Write a profile for Slurm."""

    def write(**more):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"executor": "slurm", **more}))
        return tmp_path

    return write


@pytest.fixture
def answers(monkeypatch):
    """Answers by the first two words of a command; commands asked are in the list that it returns."""
    given = {
        "sinfo": (0, SINFO),
        "sacct": (1, "Slurm accounting storage is disabled"),
        "scontrol show": (0, "MinJobAge               = 300 sec"),
        "sbatch --test-only": (0, ""),
        "sbatch --parsable": (1, "sbatch: error: stop here"),
    }
    asked = []

    def ask(*command):
        asked.append(command)
        if "--gpus=1" in command:
            return 1, NO_GPU
        return next(answer for words, answer in given.items() if " ".join(command).startswith(words))

    monkeypatch.setattr(check, "_ask", ask)
    monkeypatch.setattr(check.shutil, "which", lambda name: f"/usr/bin/{name}")
    return given, asked


def stops(profile, capsys):
    """The lines after STOP, each with its remedy."""
    with pytest.raises(HcepError):
        check_cluster(profile, 1)
    lines = capsys.readouterr().out.splitlines()
    return [f"{line[6:]} -> {lines[at + 1].strip()}" for at, line in enumerate(lines) if line.startswith("STOP")]


def test_expressions_of_the_profile_are_asked_for_as_of_the_last_attempt(profile, answers, capsys):
    defaults = {"runtime": "120 * attempt", "mem_mb": "8000 * attempt"}
    rules = {"run": {"runtime": "24h", "mem_mb": "16000 * attempt"}}
    found = profile(
        **{"retries": 3, "slurm-status-command": "squeue", "default-resources": defaults, "set-resources": rules}
    )
    stops(found, capsys)
    tested = [command[2:] for command in answers[1] if "--test-only" in command]
    assert [command[:2] for command in tested] == [
        ("--time=480", "--mem=32000"),
        ("--time=1440", "--mem=64000"),
        ("--time=1440", "--mem=64000"),
    ]
    assert "--gpus=1" in tested[2]


def test_a_partition_file_names_the_partition(profile, answers, capsys, tmp_path):
    table = tmp_path / "partitions.yaml"
    limits = {"max_runtime": 600, "max_mem_mb": 9000, "max_threads": 4}
    gpu = limits | {"max_gpu": 1, "available_gpu_models": ["any"]}
    table.write_text(yaml.safe_dump({"partitions": {"small": limits, "fast": gpu}}))
    stops(profile(**{"slurm-partition-config": str(table), "default-resources": {"mem_mb": 8000}}), capsys)
    tested = [command for command in answers[1] if "--test-only" in command]
    assert "--partition=fast" in next(command for command in tested if "--gpus=1" in command)


@pytest.mark.parametrize(
    ("entries", "changed", "said"),
    [
        ({}, {}, "keeps no accounts, so `sacct` knows no job -> set `slurm-status-command: squeue`"),
        ({"slurm-status-command": "squeue"}, {"scontrol show": (0, "MinJobAge  = 5 sec")}, "forgets a job 5 s"),
        ({"default-resources": {"slurm_partition": "all"}}, {}, "`slurm_partition: all` of the profile is no value"),
        ({}, {"sinfo": (0, SINFO.replace("*", ""))}, "names none -> add `slurm_partition: NAME`"),
        ({}, {"sbatch --test-only": (1, "Memory specification can not be satisfied")}, "specification can not be"),
        ({}, {"sinfo": (1, "Unable to contact slurm controller")}, "Unable to contact slurm controller -> `scontrol"),
        ({"slurm-partition-config": "none.yaml"}, {}, "none.yaml cannot be read"),
        ({"set-resources": {"run": {"runtime": "1/0"}}}, {}, "`runtime: 1/0` of the profile is no value"),
        ({}, {}, "a job of a moment is refused: sbatch: error: stop here"),
    ],
)
def test_an_obstacle_is_told_with_its_remedy(profile, answers, capsys, entries, changed, said):
    answers[0].update(changed)
    assert any(said in line for line in stops(profile(**entries), capsys))


def test_no_gpu_is_no_obstacle_and_its_request_is_told(profile, answers, capsys):
    with pytest.raises(HcepError):
        check_cluster(profile(), 1)
    line = next(line for line in capsys.readouterr().out.splitlines() if "1 GPU" in line)
    assert line.startswith("ok") and NO_GPU in line and "training: device: cpu" in line


def test_another_machine_and_another_profile_are_refused(profile, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(check.shutil, "which", lambda name: None)
    assert "login node" in stops(profile(), capsys)[0]
    with pytest.raises(HcepError, match="no profile for Slurm"):
        check_cluster(profile(executor="local"), 1)
    with pytest.raises(HcepError, match="default-resources is no table"):
        check_cluster(profile(**{"default-resources": ["mem_mb=8000"]}), 1)
    with pytest.raises(HcepError, match="cannot read the profile"):
        check_cluster(tmp_path / "none", 1)
