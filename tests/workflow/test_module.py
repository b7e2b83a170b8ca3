"""Another workflow takes hcep in as a module: its rules under other names, its files beside those of the other one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from workspace import BIN, Workspace, read_outcome

from hcep.config.whole import read_configs

pytestmark = pytest.mark.slow
SPLIT = "results/tiny/splits/k2u2/split1.json"
OTHER = """
configfile: "other.yaml"


module hcep:
    snakefile:
        "{snakefile}"
    config:
        config["emotion"]
    {more}


use rule * from hcep as hcep_*


rule take:
    default_target: True
    input:
        "{split}",
    output:
        "taken.json",
    shell:
        "cp {{input}} {{output}}"
"""


class Other:
    """A workflow in a folder of its own, with the clips and the configuration of the tiny benchmark."""

    def __init__(self, folder: Path, hcep: Workspace) -> None:
        self.folder, self.hcep = folder, hcep
        folder.mkdir()
        shutil.copytree(hcep.path("config"), folder / "config")
        for name in ("data", "resources/encoders"):
            shutil.copytree(hcep.path(name), folder / name)
        # a key of its own beside what hcep gets
        emotion = read_configs([hcep.path("config/config.yaml"), hcep.path("tiny.yaml")])
        (folder / "other.yaml").write_text(yaml.safe_dump({"samples": 3, "emotion": emotion}))
        self.write(str(hcep.path("workflow/Snakefile")))

    def write(self, snakefile: str, more: str = "") -> None:
        """The Snakefile."""
        (self.folder / "Snakefile").write_text(OTHER.format(snakefile=snakefile, more=more, split=SPLIT))

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Snakemake in this folder."""
        return self.hcep.run([str(BIN / "snakemake"), *arguments, "--cores", "1"], self.folder)


@pytest.fixture
def other(fresh, tmp_path) -> Other:
    return Other(tmp_path / "other", fresh)


def test_its_rules_make_what_the_other_workflow_asks_for(other):
    done = other.start()
    outcome = read_outcome(done.returncode, done.stdout)
    assert done.returncode == 0, done.stdout
    assert {"list the clips of tiny", "split split1 of tiny k2u2"} <= {*outcome.finished}
    assert (other.folder / "taken.json").read_bytes() == (other.folder / SPLIT).read_bytes()
    # nothing is written where hcep lies, and a second start has nothing to do
    assert not other.hcep.path("results").exists() and not other.hcep.path(".snakemake").exists()
    assert "Nothing to be done" in other.start().stdout


def test_all_its_targets_are_there_under_the_new_names(other):
    targets = {"hcep_all", "hcep_runs_tiny", "hcep_posthoc_tiny", "hcep_fig7", "take"}
    assert targets <= {*other.start("--list").stdout.split()}
    whole = other.start("hcep_all", "-n").stdout
    assert "summary of tiny" in whole and "runs of arpl_mm on tiny" in whole and "run hcep on tiny k2u2" in whole


def test_it_may_come_from_a_repository(other, tmp_path):
    repository = tmp_path / "repository"
    shutil.copytree(other.hcep.path("workflow"), repository / "workflow")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "a release"], ["tag", "v1"]):
        person = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *person, *words], cwd=repository, check=True)
    other.write(f"git+file://{repository}/workflow/Snakefile@v1")
    done = other.start(SPLIT)
    assert done.returncode == 0 and (other.folder / SPLIT).is_file(), done.stdout
    shutil.rmtree(other.folder / "config")
    said = other.start("-n").stdout
    assert "config/paper_results.csv: there is no such file in the working folder" in said
    assert "copy the folder config/ of the workflow's release there" in said


@pytest.mark.parametrize("more", ['prefix: "sub"', 'replace_prefix: {"results/": "sub/"}'])
def test_another_place_for_its_files_is_refused(other, more):
    other.write(str(other.hcep.path("workflow/Snakefile")), more)
    done = other.start("-n")
    assert done.returncode and "module: prefix and replace_prefix move the inputs and outputs" in done.stdout
    assert "Building DAG" not in done.stdout


def test_without_the_configs_folder_it_says_what_to_copy(other):
    shutil.rmtree(other.folder / "config")
    said = other.start("-n").stdout
    assert f"`cp -r {other.hcep.root}/config {other.folder}`" in said and "--directory" not in said
