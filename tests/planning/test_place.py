"""Where the workflow lies and where it is started: what works, and what is told at once."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from workspace import BIN, Workspace

pytestmark = pytest.mark.slow
SPLIT = "results/tiny/splits/k2u2/split1.json"


def start(workspace: Workspace, folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start Snakemake in a folder of choice, with the package of the workspace."""
    return workspace.run([str(BIN / "snakemake"), *arguments, "--cores", "1"], folder)


@pytest.mark.parametrize("name", ["{x}", "a{", "}b"])
@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_braces_above_the_workflow_are_told_with_cause_and_remedy(laid_out, tmp_path, name, snakefile):
    root = tmp_path / name / "checkout"
    shutil.copytree(laid_out, root)
    outcome = Workspace(root).snakemake("-n", "-s", snakefile, fails=True)
    assert f"{root}: the workflow lies below a folder with {{ or }} in its name" in outcome.text
    assert "Remedy: rename that folder" in outcome.text and "Building DAG" not in outcome.text


def test_other_characters_above_the_workflow_do_no_harm(laid_out, tmp_path):
    root = tmp_path / "a b'c\"d%s$HOME&;*?[e]\\`#ü\n" / "check out"
    shutil.copytree(laid_out, root)
    done = Workspace(root).snakemake(SPLIT).finished
    assert {"list the clips of tiny", "split split1 of tiny k2u2"} <= {*done} and (root / SPLIT).is_file()


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_another_folder_without_the_configuration_is_told_what_to_do(fresh, tmp_path, snakefile):
    folder = tmp_path / "another folder"
    folder.mkdir()
    path = str(fresh.path(snakefile))
    for given in ((), ("--configfile", str(fresh.path("tiny.yaml")))):
        done = start(fresh, folder, SPLIT, "-s", path, *given)
        assert done.returncode and f"no such file in the working folder {folder}" in done.stdout
        assert {entry.name for entry in folder.iterdir()} <= {".snakemake"}
    # both remedies do what they say
    option = re.search(r"`(--directory .*?)`", done.stdout)[1].split()
    done = start(fresh, folder, SPLIT, "-s", path, *option, *given)
    assert done.returncode == 0 and fresh.path(SPLIT).is_file() and not (folder / "results").exists()
    copy = f"cp -r {fresh.root}/config '{folder}'"
    assert f"`{copy}`" in start(fresh, folder, SPLIT, "-s", path).stdout
    subprocess.run(copy, shell=True, check=True)
    shutil.copytree(fresh.path("data"), folder / "data")
    assert start(fresh, folder, SPLIT, "-s", path, *given).returncode == 0 and (folder / SPLIT).is_file()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"datasets": {"tiny": {"root": "{x}/tiny"}}}, "datasets.tiny"),
        ({"datasets": {"tiny": {"options": {"file": "a{0}.tsv"}}}}, "datasets.tiny"),
        ({"datasets": {"tiny": {"features_files": {"imagebind": "/a{b}c.h5"}}}}, "datasets.tiny"),
        ({"task_definitions": {"tiny": {"class_splits": "{x}.yaml"}}}, "task_definitions.tiny.class_splits"),
    ],
)
def test_braces_in_a_path_of_the_config_are_told_with_cause_and_remedy(fresh, change, key):
    outcome = fresh.snakemake("-n", config=change, fails=True)
    assert re.search(rf"config, {re.escape(key)}: the path '.*' has {{ and }} in it, .*Remedy: rename it", outcome.text)


def test_other_characters_in_the_path_of_a_release_do_no_harm(fresh):
    root = "a b'c\"d%s$HOME&;*?[e]\\`#ü\n{/tiny"
    fresh.path(root).parent.mkdir()
    fresh.path("data/tiny").rename(fresh.path(root))
    index = "resources/tiny/index.h5"
    config = {"datasets": {"tiny": {"root": root}}}
    fresh.snakemake(index, config=config)
    assert not fresh.snakemake("-n", index, config=config).begun
