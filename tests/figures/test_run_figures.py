"""Figures show what is in their files, are the same bytes on every run, and explain faulty input."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from reseal import change_json, reseal

from hcep import registry
from hcep.errors import HcepError
from hcep.evaluation.bootstrap import bootstrap
from hcep.evaluation.metrics import log_max_softmax, open_set, open_set_curve
from hcep.evaluation.scores import Scores, group_keys, read_scores, write_scores
from hcep.figures.fig7 import fig7_figure
from hcep.figures.fig9 import DRAWS, GRID, fig9_figure, run_rates
from hcep.figures.run_files import read_run_files
from hcep.figures.style import COLUMN, METHODS, SMALL, draw_figure, figure_style, method_style, series_styles
from hcep.files import read_table, write_table
from hcep.seal import write_sealed_json

THRESHOLDS = ["acceptance", "threshold", "default", "test_tpr", "test_ccr", "test_fpr"]
THRESHOLDS += ["tpr_minus_fpr", "ccr_minus_fpr"]
SUMMARY = ["method", "openness", "auroc", "auroc_lo", "auroc_hi", "oscr", "oscr_lo", "oscr_hi"]
SUMMARY += ["paper_auroc", "paper_oscr", "stand_in", "splits"]
COMPARISONS = ["method", "reference", "openness", "metric", "difference", "lo", "hi", "p", "splits", "stand_in"]
# figures of one split: test_clip_figures.py
OTHERS = ("posthoc", "robustness")  # drawn from tables of their own
FOR_A_TASK = [name for name, entry in registry.FIGURES.items() if name not in OTHERS and not entry.one_split]


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
    marks = {"classes": ["anger", "fear", "joy"], "stand_in": True, "bootstrap_seed": 0, "confidence": 0.9}
    write_sealed_json(folder / "metrics.json", {**identity, **marks, "auroc": area, "oscr": area})
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
def sources(runs: list[Path], tmp_path: Path) -> dict[str, list[Path]]:
    """What every figure is drawn from."""
    rows: list[tuple[Any, ...]] = [
        ("hcep", "k8u2", 80, 75, 85, 60, 55, 65, 80.12, 54.55, "true", 2),
        ("hcep", "mean", 81, 76, 86, 61, 56, 66, "", "", "true", 2),
        ("arpl_mm", "k8u2", 70, 65, 75, 50, "", "", "", "", "true", 2),
        ("arpl_mm", "mean", 71, 66, 76, 51, 46, 56, "", "", "true", 2),
    ]
    summary, comparisons = tmp_path / "summary.csv", tmp_path / "comparisons.csv"
    write_table(summary, SUMMARY, [dict(zip(SUMMARY, row, strict=True)) for row in rows])
    rows = [
        ("hcep", "arpl_mm", level, metric, gap, gap - 3, gap + 3, 0.1, 2, "true")
        for level, gap in (("k8u2", 9), ("mean", 4))
        for metric in ("auroc", "oscr", "accuracy")
    ]
    rows += [("arpl_mm", "hcep", "mean", "auroc", -2, -5, 1, 0.3, 2, "true")]
    write_table(comparisons, COMPARISONS, [dict(zip(COMPARISONS, row, strict=True)) for row in rows])
    return {"summary.csv": [summary], "comparisons.csv": [comparisons]} | dict.fromkeys(FOR_A_TASK, runs)


def draw(name: str, sources: Mapping[str, list[Path]], task: str = "demo") -> tuple[Figure, list[dict[str, Any]]]:
    entry = registry.FIGURES[name]
    with figure_style():
        figure, rows = registry.load(entry.target)(sources[entry.reads[0] if entry.of_task else name], task)
        FigureCanvasAgg(figure).draw()
    return figure, rows


def write(name: str, sources: Mapping[str, list[Path]], output: Path, task: str = "demo") -> None:
    entry = registry.FIGURES[name]
    draw_figure(registry.load(entry.target), sources[entry.reads[0] if entry.of_task else name], output, title=task)


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


@pytest.mark.parametrize("name", FOR_A_TASK)
def test_four_files_with_the_same_bytes_on_every_run(name, sources, tmp_path):
    first, second = tmp_path / "a" / "one.svg", tmp_path / "b" / "one.svg"
    write(name, sources, first)
    # another user's settings must not show
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        write(name, sources, second)
        assert matplotlib.rcParams["font.size"] == 20
    files = sorted(path.name for path in first.parent.iterdir())
    assert files == ["one.csv", "one.pdf", "one.png", "one.svg"]
    for file in files:
        assert (first.parent / file).read_bytes() == (second.parent / file).read_bytes(), file
    # TrueType fonts are in the PDF, and the picture's size is that of a printed column
    assert b"/FontFile2" in (first.parent / "one.pdf").read_bytes()
    assert int.from_bytes((first.parent / "one.png").read_bytes()[16:20], "big") == int(300 * COLUMN)
    assert read_table(first.parent / "one.csv")


def ticks_out_of_view(figure: Figure) -> set[Text]:
    """Labels of ticks that matplotlib keeps and does not draw."""
    found = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        hidden = (
            tick for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()) if not low <= tick.get_loc() <= high
        )
        found |= {label for tick in hidden for label in (tick.label1, tick.label2)}
        found |= {
            label for tick in axis.get_major_ticks() for label in (tick.label1, tick.label2) if not label.get_visible()
        }
    return found


@pytest.fixture
def crowd(sources, tmp_path) -> dict[str, list[Path]]:
    """Many methods of long names at four openness levels."""
    methods = ("hcep", "frozen_prompts_distance", "distance_lexicon_outside", "arpl_mm", "a_method_of_my_own")
    levels = ("k8u2", "k6u4", "k4u6", "k2u8")
    runs = [write_run(tmp_path / "crowd", method, level, "split1") for method in methods for level in levels]
    values = dict.fromkeys(SUMMARY, 60) | {"stand_in": "true", "splits": 24, "paper_auroc": "", "paper_oscr": ""}
    rows = [values | {"method": method, "openness": level} for method in methods for level in (*levels, "mean")]
    write_table(tmp_path / "crowd.csv", SUMMARY, rows)
    values = {"openness": "mean", "difference": 1, "lo": -40, "hi": 40, "p": 0.5, "splits": 24, "stand_in": "true"}
    rows = [
        values | {"method": method, "reference": other, "metric": metric}
        for other in methods[:2]
        for method in methods[2:]
        for metric in ("auroc", "oscr", "accuracy")
    ]
    write_table(tmp_path / "pairs.csv", COMPARISONS, rows)
    tables = {"summary.csv": [tmp_path / "crowd.csv"], "comparisons.csv": [tmp_path / "pairs.csv"]}
    return tables | dict.fromkeys(FOR_A_TASK, runs)


@pytest.mark.parametrize("case", ["sources", "crowd"])
@pytest.mark.parametrize("name", FOR_A_TASK)
def test_every_text_is_inside_large_enough_and_free_of_others(name, case, request):
    figure, _ = draw(name, request.getfixturevalue(case), "a_task_of_a_long_name")
    assert figure.get_figwidth() == COLUMN
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text not in ticks_out_of_view(figure)]
    assert min(text.get_fontsize() for text in texts) >= SMALL
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    for at, (text, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
        for other, its in boxes[at + 1 :]:
            wide = min(box.x1, its.x1) - max(box.x0, its.x0)
            high = min(box.y1, its.y1) - max(box.y0, its.y0)
            assert wide < 1 or high < 1, (text, other)


@pytest.mark.parametrize("name", FOR_A_TASK)
def test_title_mark_and_one_legend(name, sources):
    figure, rows = draw(name, sources)
    title = figure.get_suptitle().replace("\n", " ")
    assert ", demo, 2 splits" in title and "not comparable with published results" in title
    assert len(figure.legends) == (name != "fig11") and not any(ax.get_legend() for ax in figure.axes)
    assert all(ax.lines or ax.patches or ax.images for ax in figure.axes) and rows


def test_the_text_of_an_svg_is_text_without_date_and_request(sources, tmp_path):
    write("fig9", sources, tmp_path / "c.svg", "<script>alert(1)</script> & $x_1$")
    text = (tmp_path / "c.svg").read_text()
    assert "<dc:date>" not in text and "<script" not in text and "$x_1$" in text
    assert ">FPR: unknown accepted</text>" in text and "'DejaVu Sans', Verdana" in text
    assert not re.search(r'(?:href|src)="(?!#)', text)
    write("fig9", sources, tmp_path / "other.svg", "other")
    assert (tmp_path / "other.svg").read_text() != text


def test_other_endings_are_refused(sources, tmp_path):
    with pytest.raises(HcepError, match=r"cannot draw a \.png.*name it \.svg"):
        write("fig9", sources, tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize("name", FOR_A_TASK)
def test_no_source(name, tmp_path):
    figure_of = registry.load(registry.FIGURES[name].target)
    with pytest.raises(HcepError, match=r"no run to draw|is drawn, not 0"):
        figure_of([], "")
    with pytest.raises(HcepError, match=r"seed0\S*: (the file does not exist|is missing)"):
        figure_of([tmp_path / "hcep/k8u2/split1/seed0"], "")


def test_a_method_has_one_look_whatever_else_is_shown():
    looks = [*METHODS.values()]
    assert len(set(looks)) == len(looks)
    alone, again = method_style("my_method"), method_style("my_method")
    assert alone == again != method_style("other_method")
    strangers = [tuple(method_style(f"method {i}").values()) for i in range(40)]
    assert not set(strangers) & set(looks) and len(set(strangers)) > 35


def test_a_method_keeps_its_look_in_every_figure(sources):
    for name in ("fig9", "openness", "calibration"):
        figure, _ = draw(name, sources)
        for method in ("hcep", "arpl_mm"):
            found = next(drawn for drawn in figure.axes[0].lines if drawn.get_label() == method)
            assert found.get_color() == method_style(method)["color"]
            assert found.get_marker() == method_style(method)["marker"]


def test_neighbouring_terms_differ_in_colour_and_dashes():
    looks = list(series_styles([str(i) for i in range(28)]).values())
    assert len({(look["color"], str(look["linestyle"])) for look in looks}) == 28
    assert all(one["color"] != two["color"] for one, two in itertools.pairwise(looks))


# --- fig9 ----------------------------------------------------------------------------------------------------------


def test_curves_are_those_of_the_metrics(runs):
    figure, _ = draw("fig9", {"fig9": runs[:1]})
    curve = open_set_curve(open_set(read_scores(runs[0] / "scores.h5")))
    for ax, rate in zip(figure.axes[:2], (curve.tpr, curve.ccr), strict=True):
        x, y = line(ax, "hcep")
        assert np.array_equal(x, GRID)
        assert y == pytest.approx(np.interp(GRID, curve.fpr, rate))


def test_the_band_is_made_of_the_draws_of_the_bootstrap(runs):
    scores = read_scores(runs[0] / "scores.h5")
    groups = group_keys(scores)[scores.part == "test"]
    drawn = bootstrap(open_set(scores), groups, replicates=DRAWS, seed=0).values
    rates = run_rates(read_run_files(runs[:1])[0])
    assert rates.shape == (2, 1 + DRAWS, len(GRID))
    # the last point accepts everything: CCR there is the accuracy, in every draw
    assert rates[1, 1:, -1] == pytest.approx(drawn["accuracy"], nan_ok=True)
    areas = np.trapezoid(rates, GRID, axis=2)
    assert areas[0, 1:] == pytest.approx(drawn["auroc"], abs=0.02)
    assert areas[1, 1:] == pytest.approx(drawn["oscr"], abs=0.02)
    _, rows = draw("fig9", {"fig9": runs[:1]})
    row = next(row for row in rows if row["rate"] == "tpr" and row["fpr"] == GRID[30])
    assert [row["lo"], row["hi"]] == pytest.approx(np.percentile(rates[0, 1:, 30], [5, 95]))


def test_curves_average_splits(runs):
    figure, _ = draw("fig9", {"fig9": runs})
    single = [run_rates(run)[0, 0] for run in read_run_files(runs[:2])]
    assert figure.axes[0].get_ylabel() == "O(8:2) = 0.11"
    assert line(figure.axes[0], "hcep")[1] == pytest.approx(np.mean(single, axis=0))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hcep", "arpl_mm", "chance"]


def test_chance_of_ccr_is_one_in_k(runs):
    axes = draw("fig9", {"fig9": runs[:1]})[0].axes
    assert line(axes[0], "chance")[1].tolist() == [0, 1]
    assert line(axes[1], "chance")[1].tolist() == [0, pytest.approx(1 / 3)]


@pytest.mark.parametrize("change", [{"auroc": None}, {"classes": []}, {"stand_in": "no"}, {"openness": "k8"}])
def test_faulty_metrics_are_refused(change: Mapping[str, Any], runs: list[Path]) -> None:
    file = runs[0] / "metrics.json"
    change_json(file, **change)
    with pytest.raises(HcepError, match=r"metrics\.json|is not an openness"):
        fig9_figure(runs)


# --- fig7 ----------------------------------------------------------------------------------------------------------


def test_histograms_are_shares_of_the_test_clips(sources):
    figure, rows = draw("fig7", sources)
    with_log, raw = figure.axes[0], figure.axes[2]
    assert (with_log.texts[0].get_text(), raw.texts[0].get_text()) == ("hcep: largest probability", "arpl_mm: score")
    for ax in figure.axes:
        assert [patch.get_data().values.sum() for patch in ax.patches] == pytest.approx([100] * 4)
    outline = with_log.patches[1].get_data()
    both = [the_scores("hcep", "k8u2", split, log=True) for split in ("split1", "split2")]
    pooled = np.exp(np.concatenate([run.score[40:80] for run in both]))
    assert outline.values == pytest.approx(100 * np.histogram(pooled, outline.edges)[0] / 80)
    assert (outline.edges[0], outline.edges[-1]) == (0, 1)
    own = [row for row in rows if (row["method"], row["openness"], row["side"]) == ("hcep", "k8u2", "known classes")]
    assert [row["percent"] for row in own] == pytest.approx(outline.values) and own[0]["clips"] == 80


def test_equal_scores_are_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    scores = the_scores("m", "k8u2", "split1", log=False)
    write_scores(folder / "scores.h5", scores._replace(score=np.full(110, 2.5)))
    assert fig7_figure([folder])[0].axes[0].patches[1].get_data().values.max() == pytest.approx(100)


def test_panel_without_unknown_clips_is_refused(tmp_path: Path) -> None:
    scores = the_scores("m", "k8u2", "split1", log=False)
    kept = {
        name: value[:80]
        for name, value in scores._asdict().items()
        if isinstance(value, list | np.ndarray) and len(value) == 110
    }
    write_scores(tmp_path / "scores.h5", scores._replace(**kept))
    with pytest.raises(HcepError, match="no test clip of unknown classes in m, k8u2"):
        fig7_figure([tmp_path])


# --- fig10 ---------------------------------------------------------------------------------------------------------


def test_threshold_lines_are_the_files_values(sources):
    figure, rows = draw("fig10", sources)
    ax = figure.axes[0]
    assert line(ax, "FPR")[0].tolist() == [0.5, 0.95]
    assert line(ax, "FPR")[1] == pytest.approx([0.25, 0.4])  # mean of 0.2 and 0.3
    assert line(ax, "TPR")[1] == pytest.approx([0.5, 0.9])
    assert line(ax, "CCR − FPR")[1] == pytest.approx([0.3, 0.3])
    row = next(row for row in rows if row["rate"] == "FPR")
    assert [row[name] for name in ("acceptance", "mean", "min", "max")] == pytest.approx([0.5, 0.25, 0.2, 0.3])


@pytest.mark.parametrize("name", ["fig10", "calibration"])
def test_different_acceptance_rates_are_refused(name, runs, sources):
    edit(runs[1] / "thresholds.csv", lambda rows: rows[0].update(acceptance="0.6"))
    with pytest.raises(HcepError, match=r"split2.*thresholds\.csv: other acceptance rates"):
        draw(name, sources)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1].update(test_tpr="high"), r"thresholds.csv, row 3: test_tpr is 'high', no number"),
        (lambda rows: [row.pop("test_fpr") for row in rows], "row 1: no column test_fpr"),
        (list.clear, "has no row"),
    ],
)
def test_faulty_thresholds_are_explained(change, message, runs, sources):
    edit(runs[0] / "thresholds.csv", change)
    with pytest.raises(HcepError, match=message):
        draw("fig10", sources)


# --- fig11 ---------------------------------------------------------------------------------------------------------


def test_confusions_are_averages_over_splits(sources):
    figure, rows = draw("fig11", sources)
    runs = [the_scores("hcep", "k8u2", split, log=True) for split in ("split1", "split2")]
    shares, accepted = [], []
    for run in runs:
        prediction = np.array(run.prediction)[40:80]
        shares.append(100 * np.mean(prediction == "fear"))
        theta = np.sort(run.score[:40])[::-1][37]  # 38 of 40 training clips are accepted
        accepted.append(100 * np.mean((prediction == "fear") & (run.score[40:80] >= theta)))
        rejected = 100 * np.mean(run.score[80:] < theta)
    own = {
        (row["matrix"], row["true"], row["decision"]): row
        for row in rows
        if (row["method"], row["openness"]) == ("hcep", "k8u2")
    }
    assert own["closed", "anger", "fear"]["percent"] == pytest.approx(np.mean(shares))
    assert own["open", "anger", "fear"]["percent"] == pytest.approx(np.mean(accepted))
    assert own["closed", "anger", "fear"]["clips"] == 80 and own["open", "unknown", "unknown"]["clips"] == 60
    image = figure.axes[0].images[0].get_array()
    assert image[0, 1] == pytest.approx(np.mean(shares)) and np.isnan(np.asarray(image.filled(np.nan))[1]).all()
    assert rejected <= 100


# --- openness ------------------------------------------------------------------------------------------------------


def test_values_intervals_and_paper_are_the_tables(sources):
    auroc, oscr = draw("openness", sources)[0].axes
    assert line(auroc, "hcep")[1].tolist() == [80] and line(oscr, "arpl_mm")[1].tolist() == [50]
    whiskers = {tuple(part.get_segments()[0][:, 1]) for part in auroc.collections}
    assert whiskers == {(75, 85), (76, 86), (65, 75), (66, 76)}
    assert len(oscr.collections) == 3  # one interval is empty
    assert line(auroc, "paper")[1].tolist() == [80.12]
    assert line(oscr, "paper")[1].tolist() == [54.55]
    assert [tick.get_text() for tick in oscr.get_xticklabels()] == ["O(8:2)\n= 0.11", "mean"]


def test_empty_value_in_the_summary_is_refused(sources):
    edit(sources["summary.csv"][0], lambda rows: rows[2].update(oscr=""))
    with pytest.raises(HcepError, match=r"summary\.csv, row 4: oscr is '', no number"):
        draw("openness", sources)


# --- forest --------------------------------------------------------------------------------------------------------


def test_the_forest_has_the_mean_rows_and_fills_marks_apart_from_zero(sources):
    figure, rows = draw("forest", sources)
    auroc = figure.axes[0]
    assert [text.get_text() for text in auroc.get_yticklabels()] == ["minus arpl_mm", "hcep", "minus hcep", "arpl_mm"]
    marks = {mark.get_ydata()[0]: mark for mark in auroc.lines if len(mark.get_xdata()) == 1}
    assert {y: mark.get_xdata()[0] for y, mark in marks.items()} == {-1: 4, -3: -2}
    assert to_rgb(marks[-1].get_markerfacecolor()) != (1, 1, 1) == to_rgb(marks[-3].get_markerfacecolor())
    assert [rows[0][name] for name in ("method", "metric", "difference")] == ["hcep", "auroc", 4]


def test_a_task_without_comparisons_says_so(sources):
    sources["comparisons.csv"][0].write_text(",".join(COMPARISONS) + "\n")
    reseal(sources["comparisons.csv"][0])
    figure, rows = draw("forest", sources)
    assert "No comparison" in rows[0]["note"] and "demo" in figure.get_suptitle()


# --- histories -----------------------------------------------------------------------------------------------------


def test_training_lines_are_the_histories(sources):
    figure, rows = draw("training", sources)
    axes = figure.axes
    assert len(axes) == 2 * 2
    x, y = line(axes[0], "dce")
    assert x.tolist() == [1, 2, 4]
    assert y == pytest.approx([2.15, 1.15, 0.65])  # mean of shifts 0.1 and 0.2
    assert line(axes[1], "accuracy")[1] == pytest.approx([0, 0.5, 0.75])
    assert [row["mean"] for row in rows[:3]] == pytest.approx(y)


def test_movement_shows_the_methods_with_prompts_alone(sources):
    axes = draw("movement", sources)[0].axes
    assert len(axes) == 2 and axes[0].texts[0].get_text() == "hcep"
    assert line(axes[0], "text")[1] == pytest.approx([0.1, 0.2, 0.4])
    assert line(axes[1], "gap: fused")[1] == pytest.approx([0.3] * 3)


def test_a_task_without_prompts_or_epochs_says_so(runs, sources):
    _, rows = draw("movement", {"movement": runs[4:]})
    assert rows == [{"note": "No method of this task has prompts that learn."}]
    for run in runs[:4]:
        (run / "history.csv").write_text("\n")
        reseal(run / "history.csv")
    assert len(draw("training", sources)[0].axes) == 2
    _, rows = draw("training", {"training": runs[:4]})
    assert rows == [{"note": "No method of this task has training epochs."}]


def test_runs_of_different_length_and_empty_cells(runs):
    edit(runs[0] / "history.csv", lambda rows: rows.pop())
    edit(runs[1] / "history.csv", lambda rows: rows[0].update(accuracy=""))
    axes = draw("training", {"training": runs[:2]})[0].axes
    x, y = line(axes[0], "dce")
    assert (x.tolist(), y[-1]) == ([1, 2, 4], pytest.approx(0.7))
    assert line(axes[1], "accuracy")[1] == pytest.approx([0, 0.5, 0.75])


# --- calibration ---------------------------------------------------------------------------------------------------


def test_reliability_is_accuracy_in_bins_of_the_probability(sources):
    figure, rows = draw("calibration", sources)
    runs = [the_scores("hcep", "k8u2", split, log=True) for split in ("split1", "split2")]
    surety = np.exp(log_max_softmax(np.concatenate([run.logits[40:80] for run in runs])))
    right = np.concatenate([np.array(run.prediction)[40:80] == "anger" for run in runs])
    own = [row for row in rows if (row["part"], row["method"], row["openness"]) == ("reliability", "hcep", "k8u2")]
    assert sum(row["clips"] for row in own) == 80
    last = surety >= 0.9
    assert (own[-1]["x"], own[-1]["y"]) == pytest.approx((surety[last].mean(), right[last].mean()))
    error = sum(row["clips"] * abs(row["x"] - row["y"]) for row in own) / 80
    assert own[0]["calibration_error"] == pytest.approx(error)
    assert line(figure.axes[0], "hcep")[0].tolist() == [row["x"] for row in own if row["clips"] >= 10]
    assert line(figure.axes[1], "hcep")[1] == pytest.approx([0.5, 0.9])
