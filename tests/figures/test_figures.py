"""Figures show what is in their files, are the same bytes on every run, and explain faulty input."""

from __future__ import annotations

import csv
import html.parser
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hcep.errors import HcepError
from hcep.evaluation.scores import Scores, write_scores
from hcep.figures.curves import GRID, curves_figure
from hcep.figures.qc_page import write_qc_page
from hcep.figures.score_histogram import score_histogram_figure
from hcep.figures.style import PALETTE, draw_figure, figure_style, series_styles
from hcep.figures.summary_bars import summary_bars_figure
from hcep.figures.thresholds import thresholds_figure
from hcep.figures.training import training_figure
from hcep.files import write_json, write_table

THRESHOLDS = ["acceptance", "threshold", "default", "test_tpr", "test_ccr", "test_fpr"]
THRESHOLDS += ["tpr_minus_fpr", "ccr_minus_fpr"]
SUMMARY = ["method", "openness", "auroc", "auroc_lo", "auroc_hi", "oscr", "oscr_lo", "oscr_hi"]
SUMMARY += ["paper_auroc", "paper_oscr", "stand_in"]
QC = ["clip", "dataset", "label", "fold", "flags", "reason", "frames", "audio", "text", "seconds"]


def the_scores(method: str, openness: str, split: str, log: bool) -> Scores:
    """40 training, 40 known test and 30 unknown test clips; log probabilities, or scores of both signs."""
    classes = ("anger", "fear", "joy")
    known = np.r_[np.ones(80, bool), np.zeros(30, bool)]
    rng = np.random.default_rng([len(method), len(split), int(openness[1])])
    logits = rng.normal(size=(110, 3)) + np.where(known[:, None], [2.0, 0, 0], 0)
    score = -rng.exponential(size=110) - 0.5 * ~known if log else rng.normal(size=110) + known
    return Scores(
        dataset=["demo"] * 110,
        clip=[f"clip {i}" for i in range(110)],
        part=["train"] * 40 + ["test"] * 70,
        label=["anger"] * 80 + ["boredom"] * 30,
        group=[f"g{i % 9}" for i in range(110)],
        prediction=[classes[i] for i in logits.argmax(1)],
        flags=[""] * 110,
        known=known,
        logits=logits,
        score=score,
        features={},
        classes=classes,
        method=method,
        task="demo",
        openness=openness,
        split=split,
        seed=0,
        settings={},
        versions={},
        stand_in=True,
        text_kind="caption",
    )


def write_run(root: Path, method: str, openness: str, split: str, seed: int = 0, *, shift: float = 0.0) -> Path:
    folder = root / method / openness / split / f"seed{seed}"
    area = {"value": 0.7 + shift, "lo": 0.6, "hi": 0.8}
    identity = {"task": "demo", "method": method, "openness": openness, "split": split, "seed": seed}
    marks = {"classes": ["anger", "fear", "joy"], "stand_in": True}
    write_json(folder / "metrics.json", {**identity, **marks, "auroc": area, "oscr": area})
    points = [("inf", 0, 0, 0), (2, 0.5 + shift, 0.4 + shift, 0), (1, 0.75, 0.7, 0.5), (0, 1, 0.8, 1)]
    columns = ("threshold", "tpr", "ccr", "fpr")
    write_table(folder / "curves.csv", columns, [dict(zip(columns, point, strict=True)) for point in points])
    rates = [(0.5, 3, "false", 0.5, 0.4, 0.1 + shift, 0.4, 0.3), (0.95, 2, "true", 0.9, 0.7, 0.4, 0.5, 0.3)]
    write_table(folder / "thresholds.csv", THRESHOLDS, [dict(zip(THRESHOLDS, rate, strict=True)) for rate in rates])
    history = [
        {"epoch": e, "lr": 0.1, "loss": 3 / e, "loss_dce": 2 / e + shift, "accuracy": 1 - 1 / e} for e in (1, 2, 4)
    ]
    if method == "hcep":
        history = [row | {"movement_text": row["epoch"] / 10, "gap_fused": 0.3} for row in history]
    write_table(folder / "history.csv", list(history[0]), history)
    write_scores(folder / "scores.h5", the_scores(method, openness, split, log=method == "hcep"))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "runs", method, openness, f"split{split}", shift=0.1 * split)
        for method in ("hcep", "arpl_mm")
        for openness in ("k8u2", "k4u6")
        for split in (1, 2)
    ]


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    path = tmp_path / "summary.csv"
    rows = [
        ("hcep", "k8u2", 80, 75, 85, 60, 55, 65, 80.12, 54.55, "true"),
        ("hcep", "mean", 81, 76, 86, 61, 56, 66, "", "", "true"),
        ("arpl_mm", "k8u2", 70, 65, 75, 50, "", "", "", "", "true"),
        ("arpl_mm", "mean", 71, 66, 76, 51, 46, 56, "", "", "true"),
    ]
    write_table(path, SUMMARY, [dict(zip(SUMMARY, row, strict=True)) for row in rows])
    return path


DRAW: dict[str, Callable[..., None]] = {
    "curves": partial(draw_figure, curves_figure),
    "scores": partial(draw_figure, score_histogram_figure),
    "training": partial(draw_figure, training_figure),
    "thresholds": partial(draw_figure, thresholds_figure),
    "summary_bars": partial(draw_figure, summary_bars_figure),
}


def line(ax: Axes, name: str) -> tuple[np.ndarray, np.ndarray]:
    found = next(drawn for drawn in ax.lines if str(drawn.get_label()).startswith(name))
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def edit(path: Path, change: Callable[[list[dict[str, str]]], Any]) -> None:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    change(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_table(path, columns, rows)


# --- all figures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DRAW))
@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_same_bytes_on_every_run(name: str, ending: str, runs: list[Path], summary: Path, tmp_path: Path) -> None:
    sources: Sequence[Path] = [summary] if name == "summary_bars" else runs
    first, second = tmp_path / "a" / f"one.{ending}", tmp_path / "b" / f"two.{ending}"
    DRAW[name](sources, first, title="demo")
    # another user's settings must not show
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        DRAW[name](sources, second, title="demo")
        assert matplotlib.rcParams["font.size"] == 20
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_svg_holds_no_date_and_no_request(runs: list[Path], tmp_path: Path) -> None:
    draw_figure(curves_figure, runs, tmp_path / "c.svg", title="<script>alert(1)</script> & $x_1$")
    text = (tmp_path / "c.svg").read_text()
    assert "<dc:date>" not in text and "<script" not in text
    assert not re.search(r'(?:href|src)="(?!#)', text)
    draw_figure(curves_figure, runs, tmp_path / "other.svg", title="other")
    assert (tmp_path / "other.svg").read_text() != text


def test_other_endings_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(HcepError, match=r"cannot draw a \.bmp.*name it \.svg"):
        draw_figure(curves_figure, runs, tmp_path / "c.bmp")
    assert not (tmp_path / "c.bmp").exists()


@pytest.mark.parametrize("name", sorted(DRAW))
def test_no_source(name: str, tmp_path: Path) -> None:
    with pytest.raises(HcepError, match=r"no run to draw|one summary\.csv is drawn, not 0"):
        DRAW[name]([], tmp_path / "c.svg")


@pytest.mark.parametrize("name", sorted(DRAW))
def test_missing_source_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(HcepError, match=r"seed0.*does not exist"):
        DRAW[name]([tmp_path / "hcep" / "k8u2" / "split1" / "seed0"], tmp_path / "c.svg")


def test_series_stay_apart_after_the_last_colour() -> None:
    names = [f"m{i}" for i in range(2 * len(PALETTE))]
    assert len({(style["color"], str(style["linestyle"])) for style in series_styles(names).values()}) == len(names)


def test_warning_of_stand_ins_stays_inside_the_figure(runs: list[Path], tmp_path: Path) -> None:
    with figure_style():
        figure = score_histogram_figure(runs[:1], "a task")
        figure.savefig(tmp_path / "h.png")
        title = figure.get_suptitle()
        assert "stand-in" in title and title.startswith("a task")
        box = figure._suptitle.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width


# --- curves --------------------------------------------------------------------------------------------------------


def test_curves_are_the_files_values(runs: list[Path]) -> None:
    figure = curves_figure(runs[:1])
    assert len(figure.axes) == 2
    for ax, ends, start in ((figure.axes[0], 1.0, 0.6), (figure.axes[1], 0.8, 0.5)):
        x, y = line(ax, "hcep")
        assert np.array_equal(x, GRID)
        assert y[0] == pytest.approx(start)  # upper end of the vertical start
        assert y[-1] == pytest.approx(ends)
    tpr = line(figure.axes[0], "hcep")[1]
    assert tpr[np.searchsorted(GRID, 0.5)] == pytest.approx(0.75)
    assert tpr[np.searchsorted(GRID, 0.25)] == pytest.approx((0.6 + 0.75) / 2)


def test_curves_average_splits_and_show_their_range(runs: list[Path]) -> None:
    ax = curves_figure(runs).axes[0]
    assert ax.get_title() == "O(8:2) = 0.11"
    assert line(ax, "hcep")[1][0] == pytest.approx((0.6 + 0.7) / 2)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[np.isclose(band[:, 0], 0), 1].min() == pytest.approx(0.6)
    assert band[np.isclose(band[:, 0], 0), 1].max() == pytest.approx(0.7)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["hcep  85.0", "arpl_mm  85.0", "chance"]


def test_chance_of_ccr_is_one_in_k(runs: list[Path]) -> None:
    axes = curves_figure(runs[:1]).axes
    assert line(axes[0], "chance")[1].tolist() == [0, 1]
    assert line(axes[1], "chance")[1].tolist() == [0, pytest.approx(1 / 3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1].update(tpr="high"), r"curves.csv, row 3: tpr is 'high', no number"),
        (lambda rows: rows[3].update(fpr="0.2"), "not a curve from 0 to 1"),
        (lambda rows: rows[1].update(tpr="nan"), "not a curve from 0 to 1"),
        (lambda rows: rows[2].update(fpr="nan"), "not a curve from 0 to 1"),
        (lambda rows: rows[2].update(ccr="0.1"), "ccr over fpr is not a curve from 0 to 1"),
        (lambda rows: [row.pop("tpr") for row in rows], "row 1: no column tpr"),
        (list.clear, "has no row"),
    ],
)
def test_faulty_curves_are_explained(change: Callable[..., Any], message: str, runs: list[Path]) -> None:
    edit(runs[0] / "curves.csv", change)
    with pytest.raises(HcepError, match=message):
        curves_figure(runs)


@pytest.mark.parametrize("change", [{"auroc": None}, {"classes": []}, {"stand_in": "no"}, {"openness": "k8"}])
def test_faulty_metrics_are_refused(change: Mapping[str, Any], runs: list[Path]) -> None:
    file = runs[0] / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(HcepError, match=r"metrics\.json|is not an openness"):
        curves_figure(runs)


# --- score histogram -----------------------------------------------------------------------------------------------


def test_histograms_are_shares_of_the_test_clips(runs: list[Path]) -> None:
    figure = score_histogram_figure(runs)
    with_log, raw = figure.axes[0], figure.axes[2]
    assert "probability" in with_log.get_xlabel() and raw.get_xlabel() == "score"
    for ax in figure.axes:
        assert [patch.get_data().values.sum() for patch in ax.patches] == pytest.approx([100] * 4)
    outline = with_log.patches[1].get_data()
    both = [the_scores("hcep", "k8u2", split, log=True) for split in ("split1", "split2")]
    pooled = np.exp(np.concatenate([run.score[40:80] for run in both]))
    assert outline.values == pytest.approx(100 * np.histogram(pooled, outline.edges)[0] / 80)
    assert (outline.edges[0], outline.edges[-1]) == (0, 1)


def test_equal_scores_are_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    scores = the_scores("m", "k8u2", "split1", log=False)
    write_scores(folder / "scores.h5", scores._replace(score=np.full(110, 2.5)))
    assert score_histogram_figure([folder]).axes[0].patches[1].get_data().values.max() == pytest.approx(100)


def test_panel_without_unknown_clips_is_refused(tmp_path: Path) -> None:
    scores = the_scores("m", "k8u2", "split1", log=False)
    kept = {
        name: value[:80]
        for name, value in scores._asdict().items()
        if isinstance(value, list | np.ndarray) and len(value) == 110
    }
    write_scores(tmp_path / "scores.h5", scores._replace(**kept))
    with pytest.raises(HcepError, match="no test clip of unknown classes in m, k8u2"):
        score_histogram_figure([tmp_path])


# --- summary bars --------------------------------------------------------------------------------------------------


def test_bars_intervals_and_paper_are_the_tables(summary: Path) -> None:
    auroc, oscr = summary_bars_figure([summary]).axes
    assert [bar.get_height() for bar in auroc.patches] == [80, 81, 70, 71]
    assert [bar.get_height() for bar in oscr.patches] == [60, 61, 50, 51]
    whiskers = [tuple(part.get_segments()[0][:, 1]) for part in auroc.collections]
    assert set(whiskers) == {(75, 85), (76, 86), (65, 75), (66, 76)}
    assert len({tuple(part.get_segments()[0][:, 1]) for part in oscr.collections}) == 3  # one interval is empty
    assert line(auroc, "paper")[1].tolist() == [80.12]
    assert line(oscr, "paper")[1].tolist() == [54.55]
    assert [tick.get_text() for tick in oscr.get_xticklabels()] == ["O(8:2) = 0.11", "mean"]


def test_empty_value_in_the_summary_is_refused(summary: Path) -> None:
    edit(summary, lambda rows: rows[2].update(oscr=""))
    with pytest.raises(HcepError, match=r"summary\.csv, row 4: oscr is '', no number"):
        summary_bars_figure([summary])


# --- training ------------------------------------------------------------------------------------------------------


def test_training_lines_are_the_histories(runs: list[Path]) -> None:
    axes = training_figure(runs).axes
    assert len(axes) == 4 * 2
    x, y = line(axes[0], "dce")
    assert x.tolist() == [1, 2, 4]
    assert y == pytest.approx([2.15, 1.15, 0.65])  # mean of shifts 0.1 and 0.2
    assert line(axes[2], "accuracy")[1] == pytest.approx([0, 0.5, 0.75])
    assert line(axes[4], "text")[1] == pytest.approx([0.1, 0.2, 0.4])
    assert line(axes[6], "fused")[1] == pytest.approx([0.3] * 3)
    assert [text.get_text() for text in axes[5].texts] == ["not recorded"]


def test_runs_of_different_length_and_empty_cells(runs: list[Path]) -> None:
    edit(runs[0] / "history.csv", lambda rows: rows.pop())
    edit(runs[1] / "history.csv", lambda rows: rows[0].update(accuracy=""))
    axes = training_figure(runs[:2]).axes
    x, y = line(axes[0], "dce")
    assert (x.tolist(), y[-1]) == ([1, 2, 4], pytest.approx(0.7))
    assert line(axes[1], "accuracy")[1] == pytest.approx([0, 0.5, 0.75])


def test_training_without_epochs(runs: list[Path]) -> None:
    for run in runs[:4]:
        (run / "history.csv").write_text("\n")
    assert [text.get_text() for text in training_figure(runs).axes[0].texts] == ["no training epochs"]
    with pytest.raises(HcepError, match="no run has a history"):
        training_figure(runs[:4])


def test_folder_of_another_form(tmp_path: Path) -> None:
    with pytest.raises(HcepError, match="not a run folder"):
        training_figure([tmp_path / "hcep" / "best"])


# --- thresholds ----------------------------------------------------------------------------------------------------


def test_threshold_lines_are_the_files_values(runs: list[Path]) -> None:
    ax = thresholds_figure(runs).axes[0]
    assert line(ax, "FPR")[0].tolist() == [0.5, 0.95]
    assert line(ax, "FPR")[1] == pytest.approx([0.25, 0.4])  # mean of 0.2 and 0.3
    assert line(ax, "TPR")[1] == pytest.approx([0.5, 0.9])
    assert line(ax, "CCR − FPR")[1] == pytest.approx([0.3, 0.3])


def test_different_acceptance_rates_are_refused(runs: list[Path]) -> None:
    edit(runs[1] / "thresholds.csv", lambda rows: rows[0].update(acceptance="0.6"))
    with pytest.raises(HcepError, match=r"split2.*thresholds\.csv: other acceptance rates"):
        thresholds_figure(runs)


# --- quality control page ------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Tags, attributes and table cells of a page, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: list[list[list[str]]] = []
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        self.cell = tag in ("td", "th")
        if self.cell:
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.cell = False


def qc_page(tmp_path: Path, rows: Sequence[Sequence[Any]], title: str = "QC") -> tuple[str, Page]:
    write_table(tmp_path / "qc.tsv", QC, [dict(zip(QC, row, strict=True)) for row in rows], delimiter="\t")
    write_qc_page([tmp_path / "qc.tsv"], tmp_path / "qc.html", title=title)
    text = (tmp_path / "qc.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_qc_page_counts(tmp_path: Path) -> None:
    broken, silent = "frames failed: moov atom not found", "audio absent: no stream"
    rows = [
        ("a", "demo", "anger", "10", "", "", "ok", "ok", "ok", 1),
        ("b", "demo", "anger", "2", "no_audio", silent, "ok", "absent", "ok", 2),
        ("n", "demo", "fear", "2", "", "text note: cut", "ok", "ok", "note", 4),
        ("c", "demo", "fear", "2", "no_audio;no_video", broken, "failed", "failed", "ok", 3),
        ("d", "demo", "", "2", "no_video", broken, "failed", "ok", "ok", ""),
    ]
    text, page = qc_page(tmp_path, rows)
    parts, flags, classes, reasons, listed = page.tables
    assert parts == [
        ["part", "ok", "note", "absent", "failed"],
        ["frames", "3", "0", "0", "2"],
        ["audio", "3", "0", "1", "1"],
        ["text", "4", "1", "0", "0"],
    ]
    assert flags[1:] == [["no_audio", "2", "40.00 %"], ["no_video", "2", "40.00 %"]]
    assert classes == [
        ["class", "fold 2", "fold 10", "clips", "with a flag", "with a failed part"],
        ["(no label)", "1", "0", "1", "1", "1"],
        ["anger", "1", "1", "2", "1", "0"],
        ["fear", "2", "0", "2", "1", "1"],
        ["all", "4", "1", "5", "3", "2"],
    ]
    assert reasons[1:] == [[broken, "2", "40.00 %"], [silent, "1", "20.00 %"], ["text note: cut", "1", "20.00 %"]]
    assert [row[0] for row in listed] == ["clip", "c", "d", "n"]
    assert "5 clips, 2 with a part that failed (40.00 %)" in text


def test_qc_page_of_a_clean_corpus(tmp_path: Path) -> None:
    text, page = qc_page(tmp_path, [("a", "demo", "anger", "1", "", "", "ok", "ok", "ok", 1)])
    assert len(page.tables) == 2 and text.count("<p>None") == 3


def test_absent_parts_alone_are_counted_not_listed(tmp_path: Path) -> None:
    rows = [(f"c{i}", "demo", "fear", "1", "no_text", "text absent: none", "ok", "ok", "absent", 1) for i in range(9)]
    text, page = qc_page(tmp_path, rows)
    assert page.tables[3][1:] == [["text absent: none", "9", "100.00 %"]]
    assert len(page.tables) == 4 and text.endswith("<p>None.</p>\n</body>\n</html>\n")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    evil = "</td><script>alert('x')</script><img src=\"http://a.b/c\" onerror=x>\n&amp;\t'"
    rows = [(evil, evil, evil, evil, f"{evil};no_audio", evil, "failed", evil, "ok", evil)]
    text, page = qc_page(tmp_path, rows, title=evil)
    assert page.tables[-1][1][0] == evil
    assert not {"script", "img", "iframe", "link", "object", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert "default-src 'none'" in text
    assert page.tags.count("table") == 5


def test_long_qc_page_says_what_it_leaves_out(tmp_path: Path) -> None:
    rows = [(f"c{i}", "d", "fear", "1", "", f"reason {i % 60}", "failed", "ok", "ok", "") for i in range(2100)]
    text, page = qc_page(tmp_path, rows)
    assert "And 100 more: see the table qc.tsv" in text and "And 10 more reasons" in text
    assert len(page.tables[-1]) == 2001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip\tdataset\n", "has no row"),
        ("clip\tdataset\na\tb\n", "no column label, fold, flags, reason, frames, audio, text"),
        ("\t".join(QC) + "\na\tb\n", "row 2: not as many cells"),
    ],
)
def test_faulty_qc_tables(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "qc.tsv").write_text(text)
    with pytest.raises(HcepError, match=message):
        write_qc_page([tmp_path / "qc.tsv"], tmp_path / "qc.html")
