"""The summary as text: nothing is cut at any width, Markdown and LaTeX hold every number, and LaTeX compiles."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from sample_summary import comparison_row, summary_row, write_results

from hcep.evaluation.groups import groups_note
from hcep.figures.summary_table import comparison_table, read_summary, summary_table
from hcep.figures.summary_text import latex_text, list_text, markdown_text, terminal_text

ENGINE = next(filter(None, map(shutil.which, ("pdflatex", "lualatex", "xelatex", "tectonic"))), None)
LEVELS = ("k8u2", "k6u4", "k4u6", "k2u8", "mean")
METHODS = {"hcep": 50, "arpl_mm": 60, "frozen_prompts_distance": 55}
FACTS = ["Words: none & asr; 100% of_them {as} $1 #2 ~ ^ \\ <x>."]


@pytest.fixture
def table(tmp_path):
    rows = [summary_row(name, level, value) for level in LEVELS for name, value in METHODS.items()]
    rows[0] |= {"note": groups_note(3), "stand_in": "true"}
    return summary_table(read_summary(write_results(tmp_path, rows, []) / "summary.csv"))


@pytest.fixture
def pairs():
    rows = [summary_row(name, level) for level in LEVELS for name in METHODS]
    return comparison_table([comparison_row("hcep", "arpl_mm", level, difference="-1.50") for level in LEVELS], rows)


@pytest.fixture
def paper(tmp_path, table):
    """AUROC and OSCR alone, as in the paper."""
    return summary_table(read_summary(tmp_path / "summary.csv"), ("auroc", "oscr"))


def at_width(monkeypatch, table, width):
    monkeypatch.setenv("COLUMNS", str(width))
    return terminal_text("t", table, FACTS)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 160, 200])
def test_no_line_is_wider_than_the_terminal_and_no_digit_is_cut(monkeypatch, table, width):
    text = at_width(monkeypatch, table, width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text and "\x1b" not in text
    shown = [metric for metric in table.metrics if re.search(rf"(?m)^ ?openness.*{metric.heading}", text)]
    assert shown and shown == list(table.metrics[: len(shown)])
    # every value and interval of the columns that are shown is whole, and the others are named
    assert text.count("± 1.00") == len(table.lines) * len(shown)
    assert text.count("[58.00, 62.00]") == len(LEVELS) * len(shown) and text.count("3 test groups") == len(shown)
    left = " ".join(metric.name for metric in table.metrics[len(shown) :])
    assert (f"--metrics {left}" in " ".join(text.split())) == bool(left)
    assert len(shown) == {40: 1, 60: 1, 80: 2}.get(width, 5)


def test_marks_are_signs_without_styles_and_styles_without_colour(monkeypatch, table):
    plain = at_width(monkeypatch, table, 200)
    assert plain.count("60.00* ±") == 5 * 4 and plain.count("55.00+ ±") == 4 * 5 + 4
    assert "*: the best of an openness and column; +: the second best." in plain
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    styled = at_width(monkeypatch, table, 200)
    assert styled.count("\x1b[1m60.00\x1b[0m") == 5 * 4 and styled.count("\x1b[4m55.00\x1b[0m") == 4 * 5 + 4
    # bold, faint, underlined, and their end, but no colour
    assert set(re.findall("\x1b\\[([0-9;]*)m", styled)) <= {"0", "1", "2", "4"}


def test_a_file_gets_every_column_whatever_the_width_of_a_terminal(monkeypatch, table):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert "FPR95 ↓" in terminal_text("t", table, FACTS) and "Too narrow" not in terminal_text("t", table, FACTS)


def test_the_papers_numbers_are_no_columns_to_choose(monkeypatch, tmp_path):
    rows = [summary_row("frozen_prompts_distance", paper_auroc="61.20", paper_oscr="41.30")]
    found = summary_table(read_summary(write_results(tmp_path, rows, []) / "summary.csv"), ("auroc", "oscr"))
    assert "Too narrow for paper's OSCR: widen the terminal\n" in at_width(monkeypatch, found, 84)
    assert "Too narrow for OSCR, paper's AUROC, paper's OSCR" in at_width(monkeypatch, found, 60)
    assert "41.30" in at_width(monkeypatch, found, 120)


def test_a_list_keeps_its_names_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = list_text(["method", "what it is"], [["frozen_prompts_distance", "one two three four five six seven eight"]])
    assert (
        text.splitlines()[1].startswith("frozen_prompts_distance  one two") and max(map(len, text.splitlines())) <= 60
    )
    assert "eight" in text


def test_markdown_has_a_row_per_line(table):
    text = markdown_text("t", table, FACTS)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(table.lines) and len({line.count(" | ") for line in rows[2:]}) == 1
    assert rows[0] == "| openness | method | AUROC ↑ | OSCR ↑ | accuracy ↑ | macro F1 ↑ | FPR95 ↓ |"
    assert rows[2].startswith("| k8u2 | hcep † | *50.00* ± 1.00 3 test groups |")
    assert rows[3].startswith(r"| k8u2 | arpl\_mm | **60.00** ± 1.00 [58.00, 62.00] |")
    assert "<u>55.00</u>" in rows[4] and r"of\_them" in text and r"\<x>" in text
    assert "- † stand-in encoders" in text


def test_latex_has_the_layout_of_the_paper(table):
    text = latex_text("t", table, FACTS, label="tab:t")
    assert r"\multicolumn{5}{c}{AUROC $\uparrow$}" in text and r"\cmidrule(lr){2-6}\cmidrule(lr){7-11}" in text
    assert "method & O(8:2) & O(6:4) & O(4:6) & O(2:8) & Mean & O(8:2)" in text
    assert r"arpl\_mm & \textbf{60.00} & " in text and r"{\scriptsize $\pm$ 1.00}" in text
    assert r"none \& asr; 100\% of\_them \{as\} \$1 \#2 \textasciitilde{} \textasciicircum{} \textbackslash{}" in text
    # the row with few groups, and the same method's other rows, are lines of their own
    assert r"hcep$^{\dagger}$ & \textit{50.00} &  &  &  &  & " in text.replace(" $^", "$^")


def test_latex_of_comparisons_is_a_list(pairs):
    text = latex_text("t", pairs, FACTS, label="tab:t")
    assert r"k8u2 & hcep & arpl\_mm & \textbf{$-$1.50} {\scriptsize [0.10, 2.90] p 0.0300} \\" in text
    assert text.count(r"\addlinespace") == len(LEVELS) - 1


@pytest.mark.skipif(ENGINE is None, reason="no LaTeX engine on PATH (pdflatex, lualatex, xelatex, tectonic)")
@pytest.mark.parametrize("which", ["paper", "pairs"])
def test_latex_compiles(which, request, tmp_path):
    text = latex_text("t", request.getfixturevalue(which), FACTS, label="tab:t")
    preamble = (
        "\\documentclass{article}\n\\usepackage[margin=2cm]{geometry}\n\\usepackage{booktabs}\n\\begin{document}\n"
    )
    (tmp_path / "t.tex").write_text(f"{preamble}{text}\\end{{document}}\n", encoding="utf-8")
    quiet = [] if ENGINE.endswith("tectonic") else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([ENGINE, *quiet, "t.tex"], cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "t.pdf").stat().st_size > 5000
    log = (tmp_path / "t.log").read_text(errors="replace") if (tmp_path / "t.log").is_file() else done.stdout
    assert "Overfull" not in log and "Missing character" not in log
