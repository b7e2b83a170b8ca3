"""The code whose digests are compared is the code that runs, or the start says that it is not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from workspace import REPOSITORY

import hcep
from hcep.errors import HcepError
from hcep.provenance import check_copies

PACKAGE = Path(hcep.__file__).parent


@pytest.fixture
def other(tmp_path) -> Path:
    """Another checkout, with the same package."""
    shutil.copytree(PACKAGE, tmp_path / "hcep", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    return tmp_path


def test_one_copy_or_equal_copies_are_used(other, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    check_copies(REPOSITORY, sys.executable)
    check_copies(other, sys.executable)
    check_copies(tmp_path / "nothing", sys.executable)  # as where the package is installed and the workflow deployed


def test_a_workflow_beside_another_copy_is_refused_with_both_paths(other, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    (other / "hcep/errors.py").write_text("# other\n")
    with pytest.raises(HcepError, match="two copies of the package differ") as caught:
        check_copies(other, sys.executable)
    said = str(caught.value)
    assert str(PACKAGE) in said and str(other / "hcep") in said and f"pip install --no-deps -e {other}" in said


def test_jobs_of_another_copy_are_refused_with_both_paths(other, monkeypatch):
    (other / "hcep/errors.py").write_text("# other\n")
    monkeypatch.setenv("PYTHONPATH", str(other))
    with pytest.raises(HcepError, match="two copies of the package differ") as caught:
        check_copies(REPOSITORY, sys.executable)
    assert str(PACKAGE) in str(caught.value) and str(other / "hcep") in str(caught.value)


@pytest.mark.slow
def test_a_run_stops_before_its_first_job(fresh, tmp_path):
    shutil.copytree(fresh.path("hcep"), tmp_path / "hcep")
    (tmp_path / "hcep/errors.py").write_text((tmp_path / "hcep/errors.py").read_text() + "\nMORE = 1\n")
    environment = fresh.environment
    fresh.environment = lambda: environment() | {"PYTHONPATH": str(tmp_path)}
    outcome = fresh.snakemake("-n", fails=True)
    assert "two copies of the package differ" in outcome.text and str(tmp_path / "hcep") in outcome.text
    assert str(fresh.path("hcep")) in outcome.text and not outcome.begun
