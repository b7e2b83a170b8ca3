"""The paper's tables with our numbers beside: every cell, what is missing and why, the headline, and Fig. 4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hcep.errors import HcepError
from hcep.evaluation.aggregate import SUMMARY_COLUMNS
from hcep.evaluation.headline import relative_gains
from hcep.evaluation.table_inputs import SUMMARY_KEYS
from hcep.evaluation.tables import COLUMNS, write_paper_table
from hcep.evaluation.versus_paper import read_printed
from hcep.figures.fig4 import fig4_figure
from hcep.figures.style import draw_figure
from hcep.files import read_table, write_table

CONFIG = Path(__file__).parents[2] / "config"
PAPER = CONFIG / "paper_results.csv"
TABLES = yaml.safe_load((CONFIG / "tables.yaml").read_text())["tables"]
SUMMARY = (*SUMMARY_KEYS, *(f"{name}{part}" for name in ("auroc", "oscr") for part in ("", "_lo", "_hi")))
LEVELS = ("k8u2", "k6u4", "k4u6", "k2u8", "mean")
SMALL = {
    "caption": "Table 2. Small.",
    "columns": {"O(8:2)": "mafw/k8u2", "Mean": "mafw/mean"},
    "rows": [{"name": "CPN*", "method": "cpn_mm"}, {"name": "Ours", "method": "hcep"}],
}


def summary_row(method: str, openness: str, auroc: float, oscr: float, *, task: str = "mafw", **fields: str) -> dict:
    row: dict[str, Any] = {"task": task, "method": method, "openness": openness, "stand_in": "false"}
    row |= {"text_kind": "caption", "selection": "last", "left_out": "", "note": ""}
    for name, value in (("auroc", auroc), ("oscr", oscr)):
        row |= {name: f"{value:.2f}", f"{name}_lo": f"{value - 2:.2f}", f"{name}_hi": f"{value + 3:.2f}"}
    return row | fields


def write_summary(folder: Path, rows: list[dict], name: str = "summary.csv") -> Path:
    write_table(folder / name, SUMMARY, rows)
    return folder / name


def make(folder: Path, definition, summaries, name: str = "table2", **options):
    """The table as cells by (row, column, metric) and as lines of Markdown."""
    paths = folder / f"{name}.csv", folder / f"{name}.md"
    write_paper_table(name, definition, summaries, PAPER, *paths, **options)
    rows = read_table(paths[0])
    assert not rows or tuple(rows[0]) == COLUMNS
    return {(row["row"], row["column"], row["metric"]): row for row in rows}, paths[1].read_text().splitlines()


@pytest.fixture
def full(tmp_path):
    """HCEP at the paper's four levels and their mean, 1 point above the paper each (AUROC) and at 50 (OSCR)."""
    printed = read_printed(PAPER)
    rows = [
        summary_row("hcep", level, printed["table2", "mafw", "hcep", level, "auroc"] + 1, 50, note="movement_text 0.02")
        for level in LEVELS
    ]
    return write_summary(tmp_path, rows)


def test_the_columns_that_are_read_are_columns_of_the_summary():
    assert set(SUMMARY) <= set(SUMMARY_COLUMNS)


def test_cells_hold_ours_the_papers_and_the_difference(full, tmp_path):
    cells, lines = make(tmp_path, SMALL, [full])
    wanted = {"ours": "81.12", "lo": "79.12", "hi": "84.12", "paper": "80.12", "difference": "1.00", "status": ""}
    cell = cells["Ours", "O(8:2)", "auroc"]
    assert {name: cell[name] for name in wanted} == wanted
    assert (cell["table"], cell["method"], cell["task"], cell["openness"]) == ("table2", "hcep", "mafw", "k8u2")
    wanted = {"ours": "50.00", "lo": "48.00", "hi": "53.00", "paper": "62.87", "difference": "-12.87", "status": ""}
    assert {name: cells["Ours", "Mean", "oscr"][name] for name in wanted} == wanted
    wanted = {"ours": "", "lo": "", "paper": "46.34", "difference": "", "status": "not run", "stand_in": ""}
    assert {name: cells["CPN*", "O(8:2)", "oscr"][name] for name in wanted} == wanted
    assert lines[2:6] == [
        "| Method | AUROC O(8:2) | AUROC Mean | OSCR O(8:2) | OSCR Mean |",
        "| --- | --- | --- | --- | --- |",
        "| CPN\\* | not run / 63.95 / – | not run / 68.34 / – | not run / 46.34 / – | not run / 56.14 / – |",
        "| Ours | 81.12 [79.12, 84.12] / 80.12 / +1.00 | 78.72 [76.72, 81.72] / 77.72 / +1.00 |"
        " 50.00 [48.00, 53.00] / 54.55 / -4.55 | 50.00 [48.00, 53.00] / 62.87 / -12.87 |",
    ]
    assert lines[0].startswith("**Table 2. Small.** Each cell: ours [interval] / the paper's number / the difference")
    assert lines[0].endswith("Words: caption.") and "not comparable" not in lines[0]
    assert "- Ours, Mean: movement\\_text 0.02." in lines[6:]


def test_a_mean_over_other_levels_has_no_difference(tmp_path):
    rows = [summary_row("hcep", level, 70, 40) for level in ("k8u2", "k2u8", "mean")]
    cells, lines = make(tmp_path, SMALL, [write_summary(tmp_path, rows)])
    cell = cells["Ours", "Mean", "auroc"]
    assert (cell["ours"], cell["paper"], cell["difference"]) == ("70.00", "77.72", "")
    assert cell["status"] == "our mean is over k8u2, k2u8, the paper's over k8u2, k6u4, k4u6, k2u8: no difference"
    assert cells["Ours", "O(8:2)", "auroc"]["difference"] == "-10.12"
    assert f"- Mean: {cell['status']}." in lines


def test_another_task_and_its_stand_in_encoders_are_in_the_caption(tmp_path):
    rows = [summary_row("hcep", "k8u2", 70, 40, task="demo", stand_in="true", text_kind="none;asr")]
    cells, lines = make(tmp_path, SMALL, [write_summary(tmp_path, rows)], stand_in_for={"mafw": "demo"})
    cell = cells["Ours", "O(8:2)", "auroc"]
    assert (cell["task"], cell["paper_task"], cell["stand_in"], cell["paper"]) == ("demo", "mafw", "true", "80.12")
    assert "Task demo stands in for mafw." in lines[0]
    assert "Stand-in encoders or composite data (demo): not comparable with published results." in lines[0]
    assert lines[0].endswith("Words: none, asr.")
    # without the replacement, the demo's rows are nobody's
    cells, lines = make(tmp_path, SMALL, [tmp_path / "summary.csv"])
    assert {cell["status"] for cell in cells.values()} == {"not run"} and "Stand-in" not in lines[0]


def test_marks_of_runs(tmp_path):
    rows = [summary_row("hcep", "k8u2", 70, 40, selection="best_on_test", left_out="envy;pride")]
    cells, lines = make(tmp_path, SMALL, [write_summary(tmp_path, rows)])
    assert "Epoch selected on test clips: Ours." in lines[0]
    assert "- Ours, O(8:2): left out of the known classes, too few training clips: envy, pride." in lines
    assert cells["Ours", "O(8:2)", "oscr"]["left_out"] == "envy;pride"


def test_a_reason_takes_the_place_of_not_run(full, tmp_path):
    cells, _ = make(tmp_path, SMALL, [full], absent={"cpn_mm": "features not found", "hcep": "unused"})
    assert cells["CPN*", "Mean", "auroc"]["status"] == "features not found"
    assert cells["Ours", "Mean", "auroc"]["status"] == ""


def test_table_8_stands_levels_below_each_other_with_costs(full, tmp_path):
    rows = [
        {"method": "hcep", "known": 8, "learnable_m": "9.8934", "frozen_m": "245.649", "gflop_per_clip": "160.736"},
        {"method": "arpl", "known": 8, "learnable_m": "1"},
        {"method": "hesp", "known": 8, "learnable_m": "1.9054", "note": "the paper counts 0.3026 M parameters twice"},
    ]
    write_table(tmp_path / "complexity.csv", (*rows[0], "note"), rows)
    cells, lines = make(tmp_path, TABLES["table8"], [full], "table8", complexity=tmp_path / "complexity.csv")
    cell = cells["HCEP (Ours)", "O(8:2)", "params_m"]
    assert (cell["ours"], cell["lo"], cell["paper"], cell["difference"]) == ("9.89", "", "9.91", "-0.02")
    assert cells["HCEP (Ours)", "O(8:2)", "inference_s"]["status"] == "not measured"
    shown = {metric: cells["HCEP (Ours)", "O(8:2)", metric] for metric in ("frozen_m", "gflop", "memory_gb")}
    assert [(cell["ours"], cell["status"], cell["paper"]) for cell in shown.values()] == [
        ("245.65", "", ""),
        ("160.74", "", ""),
        ("", "not measured", ""),
    ]
    assert cells["HCEP (Ours)", "O(6:4)", "params_m"]["status"] == "not run"
    assert cells["HESP", "O(2:8)", "auroc"]["paper"] == "70.89"
    assert lines[2] == (
        "| Openness | Type | Method | AUROC | OSCR | Params (M) | Inference time (s) |"
        " Frozen params (M) | GFLOP per clip | Peak memory (GB) |"
    )
    assert lines[4] == (
        "| O(8:2) | Unimodal | ARPL | not run / 54.91 / – | not run / 12.62 / – | 1.00 / 1.00 / +0.00 |"
        " not measured / 26.83 / – | not measured / – / – | not measured / – / – | not measured / – / – |"
    )
    assert len(lines[4:]) >= 4 * len(TABLES["table8"]["rows"])
    cell = cells["HESP", "O(8:2)", "params_m"]
    assert (cell["ours"], cell["paper"], cell["difference"]) == ("1.91", "2.21", "-0.30")
    assert "- HESP, O(8:2): the paper counts 0.3026 M parameters twice." in lines


def test_table_4_keeps_a_tasks_metrics_together(tmp_path):
    rows = [summary_row("hcep", "k6u4", 77, 52, task="cross"), summary_row("hcep", "mean", 77, 52, task="cross")]
    cells, lines = make(tmp_path, TABLES["table4"], [write_summary(tmp_path, rows)], "table4")
    assert lines[2].startswith("| Type | Method | AUROC 32 compound emotions | OSCR 32 compound emotions | AUROC 236")
    assert cells["Ours", "cross datasets", "auroc"]["difference"] == "-0.54"
    assert cells["Ours", "236 open-world emotions", "oscr"]["paper"] == "37.53"


def test_every_printed_number_has_a_cell(tmp_path):
    shown = set()
    for name, definition in TABLES.items():
        cells, _ = make(tmp_path, definition, [], name)
        shown |= {(cell["paper"], cell["metric"], cell["paper_task"], cell["openness"]) for cell in cells.values()}
        assert {cell["ours"] for cell in cells.values()} == {""}
    for (source, task, method, openness, metric), value in read_printed(PAPER).items():
        if source != "abstract":
            assert (f"{value:.2f}", metric, task, openness) in shown, (source, method)


def test_hcep_stands_beside_its_control_in_every_table():
    for name in ("table2", "table3", "table4", "table5", "table6", "table7", "table8"):
        assert {"hcep", "frozen_prompts"} <= {row["method"] for row in TABLES[name]["rows"]}


def test_relative_gains_by_hand():
    # (60 + 30) / (50 + 20) - 1, and the mean of 1.2 and 1.5 less 1
    assert relative_gains([(60, 50), (30, 20)]) == pytest.approx((100 * 2 / 7, 35.0), abs=1e-12)


def test_the_papers_headline_by_both_definitions(tmp_path):
    cells, lines = make(tmp_path, TABLES["headline"], [], "headline")
    last = {key[0][11:]: {} for key in cells if key[0].startswith("all tasks")}
    for (row, _, metric), cell in cells.items():
        if row.startswith("all tasks"):
            last[row[11:]][metric[14:]] = float(cell["paper"])
    assert last == {
        "ratio of the means": {"auroc": 16.79, "oscr": 28.49},
        "mean of the ratios": {"auroc": 16.70, "oscr": 29.29},
    }
    printed = read_printed(PAPER)
    for metric in ("auroc", "oscr"):
        key = ("abstract", "all", "hcep", "mean", f"relative_gain_{metric}")
        assert printed[key] == last["ratio of the means"][metric]
    assert lines[2] == "| Task | AUROC gain (%) | OSCR gain (%) |"
    assert lines[4] == "| mafw | not run / 18.98 / – | not run / 25.26 / – |"


def headline_summaries(folder: Path, tasks: dict[str, tuple[float, float]], levels: dict[str, tuple[str, ...]]):
    files = []
    for task, (ours, baseline) in tasks.items():
        rows = [
            summary_row(method, level, value, value / 2, task=task)
            for method, value in (("hcep", ours), ("arpl_mm", baseline))
            for level in (*levels[task], "mean")
        ]
        files.append(write_summary(folder, rows, f"{task}.csv"))
    return files


def test_our_headline_and_what_it_lacks(tmp_path):
    levels = {
        "mafw": LEVELS[:4],
        "cmu_mosei": ("k5u1", "k4u2", "k3u3", "k2u4"),
        "mafw_compound": ("k10u32",),
        "ov_merd": ("k6u236",),
        "cross": ("k6u4",),
    }
    tasks = {"mafw": (75, 60), "cmu_mosei": (66, 60), "mafw_compound": (60, 50), "ov_merd": (55, 50), "cross": (80, 64)}
    files = headline_summaries(tmp_path, tasks, levels)
    cells, _ = make(tmp_path, TABLES["headline"], files, "headline")
    place = ("gain (%)", "relative_gain_auroc")
    assert (cells["mafw", *place]["ours"], cells["mafw", *place]["difference"]) == ("25.00", "6.02")
    # 336 / 284 - 1, and the mean of 1.25, 1.1, 1.2, 1.1, 1.25 less 1
    assert cells["all tasks: ratio of the means", *place]["ours"] == "18.31"
    assert cells["all tasks: ratio of the means", *place]["difference"] == "1.52"
    assert cells["all tasks: mean of the ratios", *place]["ours"] == "18.00"
    assert cells["all tasks: mean of the ratios", *place]["difference"] == "1.30"
    cells, _ = make(tmp_path, TABLES["headline"], files[:3], "headline")
    cell = cells["all tasks: ratio of the means", *place]
    assert (cell["ours"], cell["paper"], cell["status"]) == ("", "16.79", "not run: ov_merd, cross")
    assert cells["cross", *place]["status"] == "not run" and cells["mafw", *place]["ours"] == "25.00"


def test_a_headline_over_other_levels_says_so(tmp_path):
    files = headline_summaries(tmp_path, {"demo": (75, 60)}, {"demo": ("k8u2",)})
    cells, lines = make(tmp_path, TABLES["headline"], files, "headline", stand_in_for={"mafw": "demo"})
    cell = cells["mafw", "gain (%)", "relative_gain_auroc"]
    assert (cell["task"], cell["ours"], cell["paper"], cell["difference"]) == ("demo", "25.00", "18.98", "")
    assert "no difference" in cell["status"] and "Task demo stands in for mafw." in lines[0]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"columns": {"O(8:2)": "mafw"}}, r"tables\.table2\.columns\.O\(8:2\): 'mafw' is no place"),
        ({"columns": {"O(8:2)": "mafw/8:2"}}, "not an openness"),
        ({"columns": ["mafw/k8u2"]}, r"table2\.columns: \['mafw/k8u2'\] is not of type 'object'"),
        ({"rows": [{"name": "Ours"}]}, r"table2\.rows\.0: 'method' is missing"),
        ({"rows": [{"name": "Ours", "method": "hcep", "colour": "red"}]}, r"table2\.rows\.0: 'colour' was unexpected"),
        ({"rows": SMALL["rows"] * 2}, r"table2\.rows: row 'CPN\*' is listed twice"),
        ({"style": "long"}, "table2: 'style' was unexpected"),
    ],
)
def test_faulty_definitions_are_named(tmp_path, change, cause):
    with pytest.raises(HcepError, match=cause):
        make(tmp_path, SMALL | change, [])
    assert list(tmp_path.iterdir()) == []


def test_faulty_files_are_named(full, tmp_path):
    with pytest.raises(HcepError, match="row 2: mafw hcep k8u2 is also in"):
        make(tmp_path, SMALL, [full, full])
    with pytest.raises(HcepError, match="does not exist"):
        make(tmp_path, SMALL, [tmp_path / "absent.csv"])
    write_table(tmp_path / "bare.csv", ("task", "method"), [{"task": "mafw", "method": "hcep"}])
    with pytest.raises(HcepError, match="column openness is missing"):
        make(tmp_path, SMALL, [tmp_path / "bare.csv"])
    rows = [summary_row("hcep", "k8u2", 70, 40) | {"oscr": "high"}]
    with pytest.raises(HcepError, match="mafw hcep k8u2: no number for oscr"):
        make(tmp_path, SMALL, [write_summary(tmp_path, rows, "odd.csv")])


@pytest.fixture
def fig4(tmp_path):
    values = {"guided_visual": 60, "guided_none": 70, "hcep": 75, "tokens_m1": 72, "tokens_m8": 71}
    rows = [
        summary_row(method, level, value, value - 20, stand_in="true")
        for method, value in values.items()
        for level in LEVELS
    ]
    make(tmp_path, TABLES["fig4"], [write_summary(tmp_path, rows)], "fig4")
    return tmp_path / "fig4.csv"


def test_fig4_shows_the_table(fig4):
    figure, _ = fig4_figure([fig4], "demo")
    left, right = figure.axes
    heights = [[bar.get_height() for bar in bars] for bars in left.containers]
    assert heights == [[60, 70, 75], [40, 50, 55]]
    # Audio is the second of four settings and was not run
    assert [round(bar.get_x() + bar.get_width() / 2, 2) for bar in left.containers[0]] == [-0.19, 1.81, 2.81]
    assert [text.get_text() for text in left.get_xticklabels()] == ["Visual", "Audio\nnot run", "w/o", "SMEP"]
    lines = {line.get_label(): line for line in right.lines}
    np.testing.assert_array_equal(lines["AUROC"].get_ydata(), [72, 75, np.nan, 71, np.nan])
    np.testing.assert_array_equal(lines["OSCR"].get_ydata(), [52, 55, np.nan, 51, np.nan])
    assert [text.get_text() for text in right.get_xticklabels()][2] == "4\nnot run"
    diamonds = [tuple(line.get_ydata()) for line in right.lines if line.get_label() == "paper's value"]
    assert diamonds == [(77.04,), (58.14,)]
    whiskers = {tuple(path.vertices[:, 1]) for collection in right.collections for path in collection.get_paths()}
    assert {(70.0, 75.0), (73.0, 78.0), (69.0, 74.0)} <= whiskers
    assert "not comparable with published results" in figure.get_suptitle()


def test_fig4_is_the_same_bytes_and_draws_what_was_not_run(fig4, tmp_path):
    for name in ("a.svg", "b.svg"):
        draw_figure(fig4_figure, [fig4], tmp_path / name, title="demo")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    make(tmp_path, TABLES["fig4"], [], "empty")
    before = (tmp_path / "empty.csv").read_bytes()
    draw_figure(fig4_figure, [tmp_path / "empty.csv"], tmp_path / "empty.svg")
    # the data of this figure are the table of that name, which stays
    assert (tmp_path / "empty.csv").read_bytes() == before
    assert (tmp_path / "empty.svg").stat().st_size > 1000


def test_fig4_explains_faulty_input(fig4, tmp_path):
    rows = read_table(fig4)
    write_table(tmp_path / "odd.csv", list(rows[0]), [row | {"ours": "high"} for row in rows])
    with pytest.raises(HcepError, match="row 2: ours is 'high', no number"):
        draw_figure(fig4_figure, [tmp_path / "odd.csv"], tmp_path / "x.svg")
    write_table(tmp_path / "half.csv", list(rows[0]), [row for row in rows if row["section"] == "a"])
    with pytest.raises(HcepError, match="no row of section b"):
        draw_figure(fig4_figure, [tmp_path / "half.csv"], tmp_path / "x.svg")
    with pytest.raises(HcepError, match="is drawn, not 2"):
        draw_figure(fig4_figure, [fig4, fig4], tmp_path / "x.svg")


def test_the_caption_says_which_audio_layers_were_read_by_whom(tmp_path):
    mean, both = "audio layers: mean", "12 test groups; audio layers: [6, 12]; movement_text 0.02"
    rows = [summary_row("cpn_mm", level, 60, 50, note=mean) for level in LEVELS[:1]]
    rows += [summary_row("hcep", level, 70, 60, note=both) for level in LEVELS]
    _, lines = make(tmp_path, SMALL, [write_summary(tmp_path, rows)])
    caption = next(line for line in lines if "Each cell: ours" in line)
    assert "Audio layers: mean (CPN\\*). Audio layers: [6, 12] (Ours)." in caption
    _, lines = make(tmp_path, SMALL, [write_summary(tmp_path, [summary_row("hcep", "k8u2", 70, 60)])])
    assert not any("udio layers" in line for line in lines)
