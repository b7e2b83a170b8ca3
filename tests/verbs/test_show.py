"""`hcep show` and `hcep list`: what they print, and what they say to a folder or a name that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_summary import comparison_row, summary_row, write_results

from hcep.cli import main
from hcep.config.methods import METHODS
from hcep.config.whole import read_config
from hcep.files import read_table, write_table
from hcep.registry import FIGURES

ROOT = Path(__file__).parents[2]
LEVELS = ("k8u2", "mean")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """results/mine with two methods, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    rows = [summary_row(name, level, value) for level in LEVELS for name, value in (("hcep", 50), ("arpl_mm", 60))]
    pairs = [comparison_row("hcep", "arpl_mm", level, metric=name) for level in LEVELS for name in ("auroc", "oscr")]
    return write_results(Path("results/mine"), rows, pairs)


def said(capsys, *arguments, code=0):
    assert main([*map(str, arguments)]) == code
    out, err = capsys.readouterr()
    return err if code else out


@pytest.mark.parametrize("place", ["results/mine", "results/mine/", "results/mine/summary.csv"])
def test_the_summary_is_printed(results, capsys, place):
    text = said(capsys, "show", place)
    assert text.startswith("t: summary\n") and "60.00* ± 1.00" in text and "FPR95 ↓" in text


def test_other_forms_and_columns(results, capsys):
    assert "| k8u2 | hcep | <u>50.00</u> ± 1.00 [48.00, 52.00] |" in said(capsys, "show", results, "--markdown")
    latex = said(capsys, "show", results, "--latex")
    assert r"\toprule" in latex and "OSCR" in latex and "accuracy" not in latex and r"\label{tab:t}" in latex
    chosen = said(capsys, "show", results, "--metrics", "fpr95", "aupr_known")
    assert "FPR95 ↓" in chosen and "AUPR known ↑" in chosen and "AUROC" not in chosen
    pairs = said(capsys, "show", results, "--comparisons")
    assert pairs.startswith("t: paired comparisons\n") and pairs.count("+1.50* p 0.0300") == 4 and "minus" in pairs
    alone = said(capsys, "show", results, "--comparisons", "--metrics", "oscr", "--markdown")
    assert "OSCR" in alone and "AUROC" not in alone and alone.count("+1.50") == 2


def test_what_cannot_be_shown_is_explained(results, capsys):
    assert "choose one of them" in said(capsys, "show", results, "--latex", "--markdown", code=1)
    assert "did you mean 'fpr95'?" in said(capsys, "show", results, "--metrics", "fpr59", code=1)
    assert "no metric 'fpr95'" in said(capsys, "show", results, "--comparisons", "--metrics", "fpr95", code=1)
    assert "here are results/mine" in said(capsys, "show", code=1)
    assert "there is no such folder. Remedy: did you mean results/mine? or make it: `snakemake" in said(
        capsys, "show", "results/mien", code=1
    )
    assert "did you mean results/mine?" in said(capsys, "show", "mine", code=1)
    Path("results/mine/hcep/k8u2").mkdir(parents=True)
    assert "k8u2: has no summary.csv. Remedy: did you mean results/mine?" in said(
        capsys, "show", "results/mine/hcep/k8u2", code=1
    )
    assert "results: has no summary.csv. Remedy: name one of results/mine" in said(capsys, "show", "results", code=1)
    Path("elsewhere").mkdir()
    text = said(capsys, "show", "elsewhere", code=1)
    assert "has no summary.csv. Remedy: name the folder of a task; here are results/mine" in text
    text = said(capsys, "show", "results/zebra", code=1)
    assert "Remedy: make it: `snakemake --cores 2 results/zebra/summary.csv`" in text


def test_a_summary_of_another_version_is_refused_with_the_command_that_makes_it_anew(results, capsys):
    rows = read_table(results / "summary.csv")
    write_table(
        results / "summary.csv",
        [name for name in rows[0] if name != "oscr_sd"],
        [{name: row[name] for name in row if name != "oscr_sd"} for row in rows],
    )
    text = said(capsys, "show", results, code=1)
    assert "no column oscr_sd" in text and "`snakemake --cores 2 results/mine/summary.csv`" in text
    # columns that are not asked for may be missing
    assert "AUROC" in said(capsys, "show", results, "--metrics", "auroc")


def test_comparisons_that_are_not_there_are_explained(results, capsys):
    write_results(results, [summary_row("hcep")], [])
    assert "name one in the task's `references`" in said(capsys, "show", results, "--comparisons", code=1)
    (results / "comparisons.csv").unlink()
    assert "comparisons.csv: the file does not exist" in said(capsys, "show", results, "--comparisons", code=1)


def test_a_reader_that_had_enough_gets_no_message(results):
    command = f"{sys.executable} -m hcep.cli show results/mine | true; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert run.returncode == 1 and run.stderr == ""


def test_a_terminal_without_the_signs_still_gets_the_digits(results):
    command = [sys.executable, "-m", "hcep.cli", "show", "results/mine"]
    more = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | more)
    assert run.returncode == 0 and "60.00* ? 1.00" in run.stdout and "[58.00, 62.00]" in run.stdout


def test_the_configuration_is_listed(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("COLUMNS", raising=False)
    config = read_config([Path("config/config.yaml")])
    for what, names in (("methods", config.methods), ("datasets", config.datasets), ("tasks", config.task_definitions)):
        lines = said(capsys, "list", what).splitlines()
        assert [line.split()[0] for line in lines[1:]] == list(names), what
    lines = said(capsys, "list", "methods").splitlines()
    frozen = next(line for line in lines if line.startswith("frozen_prompts "))
    assert frozen.split(maxsplit=3)[1:3] == ["hcep", "media"] and frozen.endswith("ablations: prompts frozen")
    assert any("lr chosen from [0.0005, 0.005, 0.05]" in line for line in lines)


def test_every_base_method_says_what_it_is():
    assert all(len((base.__doc__ or "").strip()) > 10 for base in METHODS.values())


def test_figures_are_listed_with_what_they_show(capsys, monkeypatch):
    # where a width is set, long lines are broken
    monkeypatch.setenv("COLUMNS", "200")
    lines = said(capsys, "list", "figures").splitlines()
    assert {line.split()[0] for line in lines} >= {*FIGURES, "fig4"} and all(len(line) > 50 for line in lines[1:])


def test_other_config_files_are_honoured(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("mine.yaml").write_text(
        "methods: {own: {base: linear, lr: 0.5}}\ndatasets: {a: {adapter: manifest, root: .}}\n"
    )
    assert "own" in said(capsys, "list", "methods", "--config", "mine.yaml")
    assert said(capsys, "list", "datasets", "--config", "mine.yaml").splitlines()[1].split()[:3] == [
        "a",
        "manifest",
        "yes",
    ]
    assert "run from the folder that holds config/config.yaml" in said(capsys, "list", "tasks", code=1)
    assert "did you mean 'methods'?" in said(capsys, "list", "method", code=1)
    assert "methods, datasets, tasks, figures" in said(capsys, "list", code=1)
    Path("mine.yaml").write_text("methods: {own: {base: linear, learning_rate: 0.5}}\n")
    assert "learning_rate" in said(capsys, "list", "methods", "--config", "mine.yaml", code=1)


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    name, version = capsys.readouterr().out.split()
    assert stop.value.code == 0 and name == "hcep" and version[0].isdigit()
