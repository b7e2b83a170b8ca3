"""The small configuration in .test/ that the workflow catalog runs: `snakemake --directory .test --cores 2`."""

from __future__ import annotations

import csv
import shutil

import pytest
import yaml
from workspace import BIN, REPOSITORY, Workspace, read_outcome

from hcep.config.whole import read_config

CONFIG = REPOSITORY / ".test/config"


def test_its_configuration_is_whole_and_small():
    config = read_config([CONFIG / "config.yaml", CONFIG / "tables.yaml"])
    assert config.tasks == ["small"] and not config.tables
    # what it shares with the usual one is a link, not a copy
    assert {path.name for path in CONFIG.iterdir() if path.is_symlink()} == {"splits", "paper_results.csv"}
    usual = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())["datasets"]["demo_small"]
    assert yaml.safe_load((CONFIG / "config.yaml").read_text())["datasets"] == {"demo_small": usual}


@pytest.mark.slow
def test_it_runs_to_its_report(tmp_path):
    shutil.copytree(CONFIG, tmp_path / ".test/config")
    here = Workspace(REPOSITORY)
    start = [str(BIN / "snakemake"), "-s", str(REPOSITORY / "Snakefile"), "--directory", str(tmp_path / ".test")]
    done = here.run([*start, "--cores", "2"], tmp_path)
    assert done.returncode == 0, done.stdout
    assert "summary of small" in read_outcome(0, done.stdout).finished
    with (tmp_path / ".test/results/small/summary.csv").open(newline="") as handle:
        rows = {(row["method"], row["openness"]) for row in csv.DictReader(handle)}
    assert rows == {(method, level) for method in ("arpl_mm", "distance_mm") for level in ("k8u2", "mean")}
    assert "Nothing to be done" in here.run([*start, "--cores", "2"], tmp_path).stdout
    report = REPOSITORY / "workflow/report"
    looks = ["--report-stylesheet", str(report / "report.css"), "--report-metadata", str(report / "metadata.yaml")]
    done = here.run([*start, "--report", "report.zip", *looks], tmp_path)
    assert done.returncode == 0 and (tmp_path / ".test/report.zip").stat().st_size > 100_000, done.stdout
