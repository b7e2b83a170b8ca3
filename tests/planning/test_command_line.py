"""What Snakemake would leave out or misread on its command line in silence is told."""

from __future__ import annotations

import subprocess

import pytest
from workspace import BIN

from hcep.errors import HcepError
from hcep.planning.command_line import check_command_line

TARGET = "results/mine/splits/k2u1/split1.json"


@pytest.mark.parametrize(
    "words",
    [
        "-n --cores 2",
        "results/mine/summary.csv --configfile a.yaml b.yaml --cores 2",
        "--configfile=a.yaml --config tasks=[mine] -- results/mine/summary.csv",
        "--configfile my/results/a.yaml",
        "--configfile results/a.yaml work/b.yml",
        "--config x=1 --configfile",
    ],
)
def test_what_snakemake_reads_as_it_was_meant_passes(words):
    check_command_line(words.split())


@pytest.mark.parametrize(
    "words",
    [
        "--configfile a.yaml b.yaml --cores 2 --configfile c.yaml",
        "--configfile a.yaml b.yaml --configfiles=c.yaml",
        "--configfiles a.yaml b.yaml -n --configf c.yaml",
    ],
)
def test_a_second_configfile_is_refused(words):
    with pytest.raises(HcepError, match=r"given 2 times.* leaves out a.yaml, b.yaml") as error:
        check_command_line(words.split())
    assert error.value.remedy == "give it once: --configfile a.yaml b.yaml c.yaml"


@pytest.mark.parametrize("words", ["--configfile my.yaml {}", "-n --configfile {} --cores 1", "--configfile={}"])
def test_an_output_behind_configfile_is_refused(words):
    with pytest.raises(HcepError, match=rf"{TARGET} stands behind --configfile") as error:
        check_command_line(words.format(TARGET).split())
    assert error.value.remedy == f"write targets first: snakemake {TARGET} --configfile FILE"


@pytest.mark.slow
def test_snakemake_says_so_before_anything_runs(finished):
    split = "results/tiny/splits/k2u2/split1.json"
    for words, said in (
        ("-n --configfile tiny.yaml --cores 1 --configfile change.yaml", "--configfile is given 2 times"),
        (f"-n --configfile tiny.yaml {split}", f"{split} stands behind --configfile"),
    ):
        finished.path("change.yaml").write_text("tasks: [tiny]\n")
        done = subprocess.run(
            [str(BIN / "snakemake"), *words.split()],
            cwd=finished.root,
            env=finished.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 1 and f"command line: {said}" in done.stdout and "Remedy: " in done.stdout
        assert "Building DAG" not in done.stdout
