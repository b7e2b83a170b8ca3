"""`hcep deploy` lays the whole workflow out, writes over nothing, and its version is compared at the start."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from workspace import REPOSITORY

from hcep.cli import main
from hcep.errors import HcepError
from hcep.provenance import DEPLOYED, check_copies
from hcep.verbs import deploy as verb

PARTS = ("Snakefile", "workflow", "config", "profiles")


def contents(root: Path) -> dict[str, bytes]:
    """Every file of the workflow's layout below a folder."""
    files = [path for part in PARTS for path in [root / part, *(root / part).rglob("*")] if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if "__pycache__" not in path.parts}


def test_the_layout_is_that_of_the_repository(tmp_path, capsys):
    target = tmp_path / "a folder" / "mine"
    assert main(["deploy", str(target)]) == 0
    made = contents(target)
    assert json.loads(made.pop(str(DEPLOYED))) == {"hcep": version("hcep")}
    assert made == contents(REPOSITORY) and {"Snakefile", "workflow/envs/hcep.yaml", "config/README.md"} <= made.keys()
    assert {path.name for path in target.iterdir()} == {*PARTS}
    said = capsys.readouterr().out
    assert f"hcep {version('hcep')}" in said and f"cd '{target}'" in said and "snakemake --cores 2" in said


def test_the_working_folder_itself_may_be_the_target(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", "."]) == 0
    assert Path("Snakefile").is_file() and "cd " not in capsys.readouterr().out


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["deploy", str(tmp_path)]) == 1
    assert "is not empty ('notes.txt' is there)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert main(["deploy", str(tmp_path / "notes.txt")]) == 1 and main(["deploy"]) == 1
    said = capsys.readouterr().err
    assert "is a file, and no folder" in said and "no folder is given" in said


def test_an_installation_without_the_workflow_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "LAYOUT", tmp_path / "layout")
    with pytest.raises(HcepError, match="lacks a part of the workflow"):
        verb.deploy(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_files_of_a_read_only_installation_can_be_edited(tmp_path, monkeypatch):
    layout = tmp_path / "layout"
    for part in PARTS[1:]:
        (layout / part).mkdir(parents=True)
        (layout / part / "one.yaml").write_text("a: 1\n")
        (layout / part / "one.yaml").chmod(0o444)
    (layout / "Snakefile").write_text("")
    monkeypatch.setattr(verb, "LAYOUT", layout)
    verb.deploy(tmp_path / "mine")
    assert all(path.stat().st_mode & 0o200 for path in (tmp_path / "mine").rglob("*"))


def test_a_workflow_of_another_version_is_refused(tmp_path):
    verb.deploy(tmp_path / "mine")
    check_copies(tmp_path / "mine", None)
    (tmp_path / "mine" / DEPLOYED).write_text('{"hcep": "0.0.1"}')
    with pytest.raises(HcepError, match=r"hcep 0\.0\.1 laid this workflow out, and hcep .* is installed"):
        check_copies(tmp_path / "mine", None)
