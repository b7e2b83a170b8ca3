"""A working directory with the configuration, and `hcep init` typed in it; media are empty files, none is opened."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from workspace import REPOSITORY

from hcep.cli import main

Type = Callable[..., str]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The working directory."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def lay(place) -> Callable[[Iterable[str]], Path]:
    """Make empty files below data/mine."""

    def make(paths: Iterable[str]) -> Path:
        for path in paths:
            (place / "data/mine" / path).parent.mkdir(parents=True, exist_ok=True)
            (place / "data/mine" / path).touch()
        return Path("data/mine")

    return make


@pytest.fixture
def type_init(place, capsys) -> Type:
    """Run `hcep init`; returns what it printed, or with `fails` its message, after which nothing may be there."""

    def run(*options: object, fails: bool = False) -> str:
        before = sorted(place.rglob("*"))
        code = main(["init", *map(str, options), "--encoder", "demo", "--methods", "linear_msp"])
        said = capsys.readouterr()
        assert code == fails, said.err
        if fails:
            assert sorted(place.rglob("*")) == before and said.out == "" and "Remedy: " in said.err
        return said.err if fails else said.out

    return run
