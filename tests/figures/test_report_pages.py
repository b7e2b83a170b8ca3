"""The pages that are made for the report alone: the overview, tables as they are, costs, figures of one method."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from reseal import reseal
from sample_scores import make_scores
from sample_summary import comparison_row, summary_row, write_results

from hcep.errors import HcepError
from hcep.evaluation.groups import groups_note
from hcep.evaluation.scores import write_scores
from hcep.figures.costs_page import write_costs_page
from hcep.figures.method_figures import draw_method_figures
from hcep.figures.overview import write_overview
from hcep.figures.table_page import write_table_page
from hcep.files import write_table
from hcep.seal import write_sealed_json

SPLIT = {
    **{"task": "t", "openness": "k2u1", "split": "split1", "known": ["anger", "joy"], "unknown": ["<fear>"]},
    **{"train": ["a", "b"], "val": [], "test_known": ["c", "d", "e"], "test_unknown": ["f"]},
    "labels": {"a": "anger", "b": "joy", "c": "joy", "d": "joy", "e": "anger", "f": "<fear>"},
    "groups": {"a": "1", "b": "1", "c": "2", "d": "2", "e": "3", "f": "3"},
    "datasets": dict.fromkeys("abcdef", "mine"),
    **{"left_out_classes": [], "remarks": []},
}


def text_of(path: Path) -> str:
    """What a reader sees of a page."""
    return " ".join(html.unescape(re.sub("<.*?>", " ", path.read_text(encoding="utf-8"))).split())


def overview_of(folder: Path, rows, comparisons=(), settings=({"lr": 0.1, "words": {"joy": "glad"}},)) -> str:
    write_results(folder, rows, list(comparisons))
    costs = [{"method": row["method"], "encoder": "small"} for row in rows]
    write_table(folder / "complexity.csv", ["method", "encoder"], costs)
    (folder / "forest.svg").write_text("<svg/>")
    write_sealed_json(folder / "split1.json", SPLIT)
    runs = [folder / f"run{number}" for number, _ in enumerate(settings)]
    for run, own in zip(runs, settings, strict=True):
        write_scores(run / "scores.h5", make_scores(n=20, settings=own))
    tables = (folder / f"{name}.csv" for name in ("summary", "comparisons", "complexity"))
    output = folder / "overview.html"
    write_overview(*tables, folder / "forest.svg", [folder / "split1.json"], runs, output, task="t")
    assert "data:image/svg+xml;base64,PHN2Zy8+" in "".join(output.read_text().split("\n"))
    assert max(map(len, output.read_text().split("\n"))) < 10_000
    return text_of(output)


def test_the_overview_says_who_leads_and_how_hcep_stands(tmp_path):
    rows = [summary_row(name, level, value) for level in ("k8u2", "mean") for name, value in (("hcep", 60), ("x", 50))]
    pairs = [
        comparison_row("hcep", reference, "mean", difference=f"{gap}", lo=f"{gap - 2}", hi=f"{gap + 2}")
        for reference, gap in (("x", 10), ("y", -5), ("z", 1))
    ]
    rows += [summary_row(name, "mean", 10) for name in "yz"]
    text = overview_of(tmp_path, rows, pairs)
    assert "The highest AUROC of 4 methods is 60.00 (hcep). The highest OSCR of 4 methods is 60.00 (hcep)." in text
    assert "hcep minus x: +10.00 points of AUROC [8.00, 12.00], better." in text
    assert "hcep minus y: -5.00 points of AUROC [-7.00, -3.00], worse." in text
    assert "hcep minus z: +1.00 points of AUROC [-1.00, 3.00], no clear difference." in text
    assert "stand-in" not in text


def test_the_overview_ranks_nobody_on_few_groups_and_warns_of_stand_ins(tmp_path):
    rows = [summary_row(name, "mean", 50, note=groups_note(2), stand_in="true") for name in ("hcep", "x")]
    rows += [summary_row("none", "mean") | dict.fromkeys(("auroc", "oscr", "accuracy"), "")]
    text = overview_of(tmp_path, rows, [comparison_row("hcep", "x", "mean")])
    assert "These numbers come from small stand-in encoders" in text
    assert "No method is ranked" in text and "highest" not in text and "points of AUROC" not in text
    assert "Without any number: none mean." in text


def test_the_overview_tells_the_protocol_that_was_used(tmp_path):
    rows = [summary_row("hcep", "mean", protocol="folds 1 and 2")]
    text = overview_of(
        tmp_path, rows, settings=({"lr": 0.1, "words": {"joy": "glad"}}, {"lr": 0.2, "losses": ["a", "b"]})
    )
    assert "Protocol: folds 1 and 2." in text and "Encoders, frozen: small." in text
    assert "Classes: 3 (<fear>, anger, joy)." in text
    # level, O(K:U), splits, training clips, known and unknown test clips, groups
    assert "k2u1 0.18 1 2 3 1 2" in text and "k2u1 split1 anger, joy" in text
    assert "lr 0.1 or 0.2" in text and "losses a, b" in text and "words 1 entries" in text
    assert "hcep 0.1.0 (2 runs)" in text


def test_an_overview_of_a_damaged_split_is_refused(tmp_path):
    overview_of(tmp_path, [summary_row("hcep", "mean")])
    (tmp_path / "split1.json").write_text("{")
    tables = (tmp_path / f"{name}.csv" for name in ("summary", "comparisons", "complexity"))
    with pytest.raises(HcepError, match=r"split1\.json"):
        write_overview(
            *tables, tmp_path / "forest.svg", [tmp_path / "split1.json"], [], tmp_path / "new.html", task="t"
        )
    assert not (tmp_path / "new.html").exists()


def test_a_table_page_has_every_cell_and_says_once_what_all_rows_share(tmp_path):
    table, output = tmp_path / "t.csv", tmp_path / "t.html"
    rows = [
        {"method": f"<{name}>", "openness": "k8u2", "auroc": "5.50", "paper": "", "stand_in": "true"} for name in "ab"
    ]
    write_table(table, list(rows[0]), rows)
    write_table_page(table, output, name="runs", task="mine")
    text, page = text_of(output), output.read_text()
    assert "All runs: mine Every run by itself, in percent. stand_in: true" in text
    assert "method openness auroc <a> k8u2 5.50 <b> k8u2 5.50 Without any entry: paper." in text
    assert page.count('<td class="n">5.50</td>') == 2 and "<th>stand_in" not in page
    write_table(table, list(rows[0]), [])
    write_table_page(table, output, name="table5")
    assert "table5 The table t.csv, whole and as it is. This table has no row" in text_of(output)


def run_with_times(folder: Path, method: str, speeds: list[float], seconds: float) -> Path:
    area = {"value": 0.5, "lo": 0.4, "hi": 0.6}
    identity = {"task": "t", "method": method, "openness": "k2u1", "split": "split1", "seed": 0, "n_train": 120}
    write_sealed_json(
        folder / "metrics.json", identity | {"classes": ["a"], "stand_in": False, "auroc": area, "oscr": area}
    )
    write_table(folder / "history.csv", ["samples_per_s"], [{"samples_per_s": speed} for speed in speeds])
    timing = {"clips": 80, "seconds": seconds, "memory_gb": 1.5, "device": "cpu"}
    write_sealed_json(folder / "timing.json", timing)
    return folder


def test_the_costs_page_has_counts_and_what_the_runs_took(tmp_path):
    columns = ["method", "known", "learnable_m", "paper_m", "frozen_m", "gflop_per_clip", "note"]
    write_table(tmp_path / "complexity.csv", columns, [dict(zip(columns, ("m", 8, 1.5, "", 3, 0.1, "x"), strict=True))])
    runs = [run_with_times(tmp_path / "1", "m", [40.0, 60.0], 0.5), run_with_times(tmp_path / "2", "none", [], 4)]
    write_costs_page(tmp_path / "complexity.csv", runs, tmp_path / "costs.html", task="t")
    text = text_of(tmp_path / "costs.html")
    # 120 / 40 + 120 / 60 seconds, so 240 clips in 5 s; 80 clips in half a second
    assert "m 1 2 5 48 160 1.50 cpu" in text and "none 1 20 1.50 cpu" in text
    assert "m 8 1.5 3 0.1" in text and "the paper's" not in text and "m: x." in text
    (tmp_path / "1" / "timing.json").write_text("{}")
    with pytest.raises(HcepError, match=r"no digest of its content.*score step"):
        write_costs_page(tmp_path / "complexity.csv", runs, tmp_path / "costs.html", task="t")
    reseal(tmp_path / "1" / "timing.json")
    with pytest.raises(HcepError, match=r"cannot be read as the times of a run.*score step"):
        write_costs_page(tmp_path / "complexity.csv", runs, tmp_path / "costs.html", task="t")


def test_figures_of_single_methods_leave_no_picture_of_one_that_has_gone(tmp_path):
    runs = []
    for method, level in (("hcep", "k3u2"), ("other", "k3u2"), ("other", "k3u1")):
        folder = tmp_path / "runs" / method / level
        write_scores(folder / "scores.h5", make_scores(n=20, method=method, openness=level))
        area = {"value": 0.5, "lo": 0.4, "hi": 0.6}
        identity = {"method": method, "openness": level, "split": "split1", "classes": ["anger", "joy", "fear"]}
        write_sealed_json(folder / "metrics.json", identity | {"stand_in": True, "auroc": area, "oscr": area})
        row = {"acceptance": 0.95, **dict.fromkeys(("test_tpr", "test_ccr", "test_fpr"), 0.5)}
        row |= dict.fromkeys(("tpr_minus_fpr", "ccr_minus_fpr"), 0)
        write_table(folder / "thresholds.csv", list(row), [row])
        runs.append(folder)
    output = tmp_path / "methods"
    for number in (3, 2):
        draw_method_figures(runs[:number], output, task="t")
        found = {str(path.relative_to(output)) for path in output.rglob("*.svg")}
        places = ["k3u2/hcep", "k3u2/other", "k3u1/other"][:number]
        assert found == {f"{figure}/{place}.svg" for figure in ("fig7", "fig10", "fig11") for place in places}
    assert "Decisions of other" in (output / "fig11/k3u2/other.svg").read_text()
