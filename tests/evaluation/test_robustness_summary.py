"""Disturbed test clips of several runs -> robustness.csv of a task, its page and its figure."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
from reseal import reseal
from sample_scores import make_scores

from hcep.errors import HcepError
from hcep.evaluation.aggregate import aggregate
from hcep.evaluation.bootstrap import paired_p
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.replicates import read_robustness
from hcep.evaluation.robustness import METRICS, Outcome, write_robustness
from hcep.evaluation.robustness_summary import COLUMNS, robustness_summary
from hcep.evaluation.scores import write_scores
from hcep.figures.robustness import robustness_figure
from hcep.figures.robustness_page import write_robustness_page
from hcep.figures.style import draw_figure, figure_style
from hcep.files import read_table, write_table

LEVELS, SPLITS, METHODS = ("k3u2", "k2u3"), ("split1", "split2"), ("hcep", "arpl_mm")
BOOTSTRAP = {"replicates": 40, "confidence": 0.95, "seed": 0}


def make_run(folder, *, words=True, **fields):
    """A run, and what it says of its clips with more and more random scores; words only where wanted."""
    scores = make_scores(n=20, **fields)
    write_scores(folder / "scores.h5", scores)
    test, random = scores.part == "test", np.random.default_rng(fields["clips"])
    outcomes = [
        Outcome("blur", level, 30 + place, "10 of 40 clips without video",
                scores.score[test] + random.normal(scale=place, size=40), scores.prediction[test][::-1])
        for place, level in enumerate(("0.01", "0.1"))
    ]  # fmt: skip
    more = (scores.score[test], scores.prediction[test]) if words else ()
    outcomes.append(Outcome("word_errors", "0.3", 4 * words, "" if words else "not applied: 40 of 40 clips", *more))
    outcomes.append(Outcome("missing", "audio", 40, "", -scores.score[test], scores.prediction[test]))
    files = (folder / "robustness.csv", folder / "robustness.h5")
    write_robustness(scores, folder / "scores.h5", outcomes, *files, **BOOTSTRAP)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Run folders of two methods, levels and splits; one run of arpl_mm has no words."""
    root, folders = tmp_path_factory.mktemp("grid"), []
    for method in METHODS:
        for level in LEVELS:
            for split in SPLITS:
                folder = root / method / level / split
                clips = 2 * LEVELS.index(level) + SPLITS.index(split)
                identity = {"method": method, "openness": level, "split": split, "seed": 0}
                make_run(folder, words=folder.parts[-3:] != ("arpl_mm", "k2u3", "split2"),
                         clips=clips, model=METHODS.index(method), **identity)  # fmt: skip
                folders.append(folder)
    return folders


@pytest.fixture(scope="module")
def table(grid, tmp_path_factory):
    """robustness.csv of the task."""
    path = tmp_path_factory.mktemp("table") / "robustness.csv"
    robustness_summary(grid, "demo", path)
    return path


def row_of(table, method, openness, kind, level):
    place = (method, openness, kind, level)
    return next(
        row for row in read_table(table) if tuple(row[k] for k in ("method", "openness", "kind", "level")) == place
    )


def test_rows_are_means_and_paired_differences_of_the_runs(grid, table):
    rows = read_table(table)
    assert tuple(rows[0]) == COLUMNS and len(rows) == 2 * 3 * 5
    assert [(row["kind"], row["level"]) for row in rows[:5]] == [
        ("clean", ""), ("blur", "0.01"), ("blur", "0.1"), ("word_errors", "0.3"), ("missing", "audio"),
    ]  # fmt: skip
    files = [read_robustness(folder) for folder in grid[:2]]
    row = row_of(table, "hcep", "k3u2", "blur", "0.1")
    assert (row["splits"], row["seeds"], row["clips"], row["changed"]) == ("2", "1", "80", "62")
    assert "10 of 40 clips without video" in row["note"]
    for metric in METRICS:
        values, clean = (
            np.array([100 * found[f"{name} {metric}"]["value"] for found, _ in files]) for name in ("blur 0.1", "clean")
        )
        draws, before = (
            np.mean([drawn[f"{name} {metric}"] for _, drawn in files], axis=0) for name in ("blur 0.1", "clean")
        )
        assert float(row[metric]) == pytest.approx(values.mean(), abs=0.006)
        assert float(row[f"{metric}_sd"]) == pytest.approx(values.std(ddof=1), abs=0.006)
        ends = [float(row[f"{metric}_{end}"]) for end in ("lo", "hi")]
        assert ends == pytest.approx(100 * np.percentile(draws, [2.5, 97.5]), abs=0.006)
        assert float(row[f"{metric}_minus_clean"]) == pytest.approx((values - clean).mean(), abs=0.006)
        ends = [float(row[f"{metric}_minus_clean_{end}"]) for end in ("lo", "hi")]
        assert ends == pytest.approx(100 * np.percentile(draws - before, [2.5, 97.5]), abs=0.006)
        assert float(row[f"{metric}_p"]) == pytest.approx(paired_p(draws - before), abs=1e-4)
    same = row_of(table, "hcep", "k3u2", "word_errors", "0.3")
    assert same["auroc_minus_clean"] == same["auroc_minus_clean_hi"] == "0.00" and same["auroc_p"] == "1.0000"
    levels = [float(row_of(table, "hcep", name, "blur", "0.1")["oscr"]) for name in LEVELS]
    assert float(row_of(table, "hcep", "mean", "blur", "0.1")["oscr"]) == pytest.approx(np.mean(levels), abs=0.011)


def test_the_clean_rows_are_those_of_the_summary(grid, table, tmp_path):
    for folder in grid:
        outputs = (folder / name for name in ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5"))
        evaluate(folder / "scores.h5", *outputs, **BOOTSTRAP)
    aggregate(grid, None, "demo", *(tmp_path / name for name in ("runs.csv", "summary.csv", "comparisons.csv")))
    for row in read_table(tmp_path / "summary.csv"):
        clean = row_of(table, row["method"], row["openness"], "clean", "")
        names = [f"{metric}{part}" for metric in METRICS for part in ("", "_sd", "_lo", "_hi")]
        assert {name: clean[name] for name in names} == {name: row[name] for name in names}


def test_a_level_that_some_run_lacks_has_no_mean_and_says_so(table, tmp_path):
    for openness, count in (("k2u3", "1 of 2"), ("mean", "1 of 4")):
        row = row_of(table, "arpl_mm", openness, "word_errors", "0.3")
        assert row["auroc"] == row["auroc_minus_clean"] == "" and f"not applied in {count} runs" in row["note"]
    assert row_of(table, "arpl_mm", "k3u2", "word_errors", "0.3")["auroc"]
    write_robustness_page(table, tmp_path / "page.html", task="demo <1>")
    text = (tmp_path / "page.html").read_text()
    assert "not applied in 1 of 4 runs" in text and "demo &lt;1&gt;" in text and "<1>" not in text
    assert "62 of 80" in text and "Means over the openness levels" in text and "not comparable" in text


def test_stale_and_foreign_files_are_refused(grid, tmp_path):
    output = tmp_path / "robustness.csv"
    with pytest.raises(HcepError, match="the run is of task 'demo'") as caught:
        robustness_summary(grid, "other", output)
    assert caught.value.file == grid[0] / "robustness.h5"
    with pytest.raises(HcepError, match="method hcep has no run"):
        robustness_summary(grid[1:], "demo", output)
    copy = tmp_path / "run"
    shutil.copytree(grid[0], copy)
    write_scores(copy / "scores.h5", make_scores(n=20, clips=9, openness="k3u2"))
    with pytest.raises(HcepError, match=r"scores\.h5: the scores were replaced"):
        robustness_summary([copy], "demo", output)
    shutil.copy(grid[0] / "scores.h5", copy)
    with h5py.File(copy / "robustness.h5", "r+") as handle:
        handle["replicates/blur 0.1 auroc"][0] = 0.5
    with pytest.raises(HcepError, match="does not match its digest"):
        robustness_summary([copy], "demo", output)
    reseal(copy / "robustness.h5")
    with pytest.raises(HcepError, match="not those that were written") as caught:
        robustness_summary([copy], "demo", output)
    assert caught.value.remedy == "run the robustness step of this run again"
    (copy / "robustness.h5").unlink()
    with pytest.raises(HcepError, match="is missing"):
        robustness_summary([copy], "demo", output)
    assert not output.exists()


def test_a_score_that_is_not_finite_is_refused_with_the_clip(tmp_path):
    scores = make_scores(n=20)
    write_scores(tmp_path / "scores.h5", scores)
    test = scores.part == "test"
    score = scores.score[test].copy()
    score[3] = np.nan
    outcomes = [Outcome("blur", "0.1", 40, "", score, scores.prediction[test])]
    with pytest.raises(HcepError, match=r"under blur 0\.1 is not finite for 1 clips") as caught:
        write_robustness(scores, tmp_path / "scores.h5", outcomes, tmp_path / "r.csv", tmp_path / "r.h5", **BOOTSTRAP)
    assert scores.clip[test][3] in caught.value.row and not (tmp_path / "r.csv").exists()


def test_the_figure_has_a_row_of_panels_per_kind_from_clean_to_strong(table, tmp_path):
    with figure_style():
        figure, rows = robustness_figure([table], "demo")
    # words are drawn for the method that has them
    titles = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert titles == {
        "Blur, sigma over the frame's side",
        "Word error rate",
        "Modality missing",
        "AUROC (%)",
        "OSCR (%)",
    }
    left = figure.axes[0]
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["clean", "0.01", "0.1"]
    lines = {line.get_label(): line for line in left.get_lines()}
    drawn = lines["hcep"].get_ydata().tolist()
    assert drawn == [float(row_of(table, "hcep", "mean", kind, level)["auroc"]) for kind, level in
                     (("clean", ""), ("blur", "0.01"), ("blur", "0.1"))]  # fmt: skip
    assert lines["hcep"].get_color() != lines["arpl_mm"].get_color()
    words = {line.get_label(): line for line in figure.axes[2].get_lines()}
    assert len(words["arpl_mm"].get_ydata()) == 1 and len(words["hcep"].get_ydata()) == 2
    missing = {line.get_label(): line for line in figure.axes[4].get_lines()}
    assert missing["hcep"].get_linestyle() == "None"
    assert {row["kind"] for row in rows} == {"clean", "blur", "word_errors", "missing"} and len(rows) == 10
    draw_figure(robustness_figure, [table], tmp_path / "robustness.svg", title="demo")
    text = (tmp_path / "robustness.svg").read_text()
    assert "not comparable with published results" in text and "Disturbed test clips" in text


def test_a_task_without_any_disturbance_has_a_figure_that_says_so(table, tmp_path):
    rows = [row | ({"auroc": ""} if row["kind"] != "clean" else {}) for row in read_table(table)]
    write_table(tmp_path / "robustness.csv", list(rows[0]), rows)
    with figure_style():
        _, data = robustness_figure([tmp_path / "robustness.csv"], "demo")
    assert data == [{"note": "No disturbance could be applied: see robustness.csv"}]
