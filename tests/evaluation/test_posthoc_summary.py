"""Post-hoc scores of several runs -> posthoc.csv of a task, its page and its figure."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from reseal import reseal
from sample_scores import make_scores

from hcep.errors import HcepError
from hcep.evaluation import bootstrap as bootstrap_module
from hcep.evaluation.aggregate import aggregate
from hcep.evaluation.bootstrap import paired_p
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.posthoc import METRICS, posthoc
from hcep.evaluation.posthoc_summary import COLUMNS, posthoc_summary
from hcep.evaluation.replicates import read_posthoc
from hcep.evaluation.scores import write_scores
from hcep.figures.posthoc import posthoc_figure
from hcep.figures.posthoc_page import write_posthoc_page
from hcep.figures.style import draw_figure, figure_style
from hcep.files import read_table, write_table

LEVELS, SPLITS, METHODS = ("k3u2", "k2u3"), ("split1", "split2"), ("hcep", "arpl_mm")
OUTPUTS = ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5")


def make_run(folder, **fields):
    """A run with a feature of one modality, and its post-hoc scores."""
    scores = make_scores(n=20, **fields)
    random = np.random.default_rng([len(folder.parts[-3]), fields["clips"]])
    far = random.normal(size=(60, 3)) + 3 * ~scores.known[:, None] * (random.random((60, 1)) < 0.6)
    write_scores(folder / "scores.h5", scores._replace(features={"vision": far.astype(np.float32)}))
    posthoc(folder / "scores.h5", folder / "posthoc.csv", folder / "posthoc.h5", replicates=40)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Run folders of two methods, levels and splits; runs of one level and split share their test clips."""
    root, folders = tmp_path_factory.mktemp("grid"), []
    for method in METHODS:
        for level in LEVELS:
            for split in SPLITS:
                folder = root / method / level / split
                clips = 2 * LEVELS.index(level) + SPLITS.index(split)
                identity = {"method": method, "openness": level, "split": split, "seed": 0}
                make_run(folder, clips=clips, model=METHODS.index(method), **identity)
                folders.append(folder)
    return folders


@pytest.fixture(scope="module")
def table(grid, tmp_path_factory):
    """posthoc.csv of the task."""
    path = tmp_path_factory.mktemp("table") / "posthoc.csv"
    posthoc_summary(grid, "demo", path)
    return path


def row_of(table, method, openness, score):
    return next(
        row for row in read_table(table) if (row["method"], row["openness"], row["score"]) == (method, openness, score)
    )


def test_rows_are_means_and_paired_differences_of_the_runs(grid, table):
    rows = read_table(table)
    assert tuple(rows[0]) == COLUMNS and len(rows) == 2 * 3 * 20
    assert [row["openness"] for row in rows[:60]] == [name for name in (*LEVELS, "mean") for _ in range(20)]
    files = [read_posthoc(folder) for folder in grid[:2]]
    for score in ("own", "distance", "own+distance", "mahalanobis"):
        row = row_of(table, "hcep", "k3u2", score)
        assert (row["splits"], row["seeds"], row["known"], row["stand_in"]) == ("2", "1", "3", "true")
        for metric in METRICS:
            values = np.array([100 * found[f"{score} {metric}"]["value"] for found, _ in files])
            draws = np.mean([drawn[f"{score} {metric}"] for _, drawn in files], axis=0)
            assert float(row[metric]) == pytest.approx(values.mean(), abs=0.006)
            assert float(row[f"{metric}_sd"]) == pytest.approx(values.std(ddof=1), abs=0.006)
            low, high = 100 * np.percentile(draws, [2.5, 97.5])
            assert [float(row[f"{metric}_{end}"]) for end in ("lo", "hi")] == pytest.approx([low, high], abs=0.006)
            if score == "own":
                assert row[f"{metric}_minus_own"] == row[f"{metric}_p"] == ""
                continue
            own = [100 * found[f"own {metric}"]["value"] for found, _ in files]
            gaps = draws - np.mean([drawn[f"own {metric}"] for _, drawn in files], axis=0)
            assert float(row[f"{metric}_minus_own"]) == pytest.approx((values - own).mean(), abs=0.006)
            low, high = 100 * np.percentile(gaps, [2.5, 97.5])
            found = [float(row[f"{metric}_minus_own_{end}"]) for end in ("lo", "hi")]
            assert found == pytest.approx([low, high], abs=0.006)
            assert float(row[f"{metric}_p"]) == pytest.approx(paired_p(gaps), abs=1e-4)
    levels = [float(row_of(table, "hcep", name, "distance")["auroc"]) for name in LEVELS]
    assert float(row_of(table, "hcep", "mean", "distance")["auroc"]) == pytest.approx(np.mean(levels), abs=0.011)


def test_the_own_row_is_the_row_of_the_summary(grid, table, tmp_path):
    for folder in grid:
        evaluate(folder / "scores.h5", *(folder / name for name in OUTPUTS), replicates=40)
    outputs = [tmp_path / name for name in ("runs.csv", "summary.csv", "comparisons.csv")]
    aggregate(grid, None, "demo", *outputs)
    for row in read_table(tmp_path / "summary.csv"):
        own = row_of(table, row["method"], row["openness"], "own")
        names = [f"{metric}{part}" for metric in METRICS for part in ("", "_sd", "_lo", "_hi")]
        assert {name: own[name] for name in names} == {name: row[name] for name in names}


def test_notes_say_what_is_missing_and_where(grid, tmp_path):
    folders = []
    for folder in grid[:4]:
        copy = tmp_path / folder.parent.name / folder.name
        fields = {"method": "hcep", "openness": folder.parent.name, "split": folder.name, "seed": 0}
        # no feature in one of the four runs
        features = {} if not folders else {"vision": np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)}
        copy.mkdir(parents=True)
        write_scores(copy / "scores.h5", make_scores(n=20, clips=len(folders), features=features, **fields))
        posthoc(copy / "scores.h5", copy / "posthoc.csv", copy / "posthoc.h5", replicates=20)
        folders.append(copy)
    posthoc_summary(folders, "demo", tmp_path / "posthoc.csv")
    undefined = row_of(tmp_path / "posthoc.csv", "hcep", "k3u2", "distance")
    assert undefined["auroc"] == undefined["oscr_minus_own"] == ""
    assert undefined["note"].startswith("not defined in 1 of 2 runs; no feature is stored; of vision alone")
    row_note = row_of(tmp_path / "posthoc.csv", "hcep", "k2u3", "distance")["note"]
    assert row_note.startswith("of vision alone; stand-in encoders") and "test groups: intervals" in row_note
    assert "not defined in 1 of 4 runs" in row_of(tmp_path / "posthoc.csv", "hcep", "mean", "distance")["note"]
    # the page and the figure show what there is
    write_posthoc_page(tmp_path / "posthoc.csv", tmp_path / "posthoc.html", task="demo")
    assert "not defined in 1 of 2 runs" in (tmp_path / "posthoc.html").read_text()
    with figure_style():
        labels = [text.get_text() for text in posthoc_figure([tmp_path / "posthoc.csv"])[0].axes[0].get_yticklabels()]
    assert labels[:2] == ["hcep", "own"] and "distance" not in labels


def test_nothing_is_drawn_here(grid, tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap_module, "group_draws", None)
    posthoc_summary(grid, "demo", tmp_path / "posthoc.csv")


def test_stale_foreign_and_unlike_runs_are_refused(grid, tmp_path):
    output = tmp_path / "posthoc.csv"
    with pytest.raises(HcepError, match="the run is of task 'demo', expected 'other'") as caught:
        posthoc_summary(grid, "other", output)
    assert caught.value.file == grid[0] / "posthoc.h5"
    with pytest.raises(HcepError, match="arpl_mm has no run k3u2/split2/seed0"):
        posthoc_summary([*grid[:5], *grid[6:]], "demo", output)
    run = tmp_path / "hcep" / "k3u2" / "split1"
    make_run(run, clips=0, method="hcep", openness="k3u2", split="split1", seed=0)
    with h5py.File(run / "posthoc.h5", "r+") as handle:
        handle["replicates/own auroc"][0] += 0.1
    with pytest.raises(HcepError, match=r"replicates/own auroc does not match its digest.*run the posthoc step"):
        posthoc_summary([run], "demo", output)
    reseal(run / "posthoc.h5")
    with pytest.raises(HcepError, match="the replicates are not those that were written"):
        posthoc_summary([run], "demo", output)
    posthoc(run / "scores.h5", run / "posthoc.csv", run / "posthoc.h5", replicates=20)
    with pytest.raises(HcepError, match="replicates is 20, but 40") as caught:
        posthoc_summary([grid[4], run], "demo", output)
    assert caught.value.file == run / "posthoc.h5"
    write_scores(run / "scores.h5", make_scores(n=20, clips=1))
    with pytest.raises(HcepError, match="the scores were replaced") as caught:
        posthoc_summary([run], "demo", output)
    assert caught.value.remedy == "run the posthoc step of this run again"
    (run / "posthoc.h5").unlink()
    with pytest.raises(HcepError, match=r"posthoc\.h5: is missing.*run the posthoc step"):
        posthoc_summary([run], "demo", output)
    assert not output.exists()


def test_the_page_has_own_beside_own_plus_distance(table, tmp_path):
    write_posthoc_page(table, tmp_path / "posthoc.html", task="demo <1>")
    text = (tmp_path / "posthoc.html").read_text()
    assert "demo &lt;1&gt;" in text and "<script" not in text
    short = text[: text.index("All scores")]
    both = row_of(table, "arpl_mm", "mean", "own+distance")
    line = next(row for row in re.findall("<tr>.*?</tr>", short) if "<td>mean</td><td>arpl_mm</td>" in row)
    cells = re.findall("<td.*?>(.*?)</td>", line)
    assert cells[3] == f"{both['auroc']} [{both['auroc_lo']}, {both['auroc_hi']}]"
    gap = [both[f"auroc_minus_own{part}"] for part in ("", "_lo", "_hi")]
    assert cells[4:6] == [f"{gap[0]} [{gap[1]}, {gap[2]}]", both["auroc_p"]]
    # one row per level and method in the short table, and one per score in the long one
    assert len(re.findall("<tr>", short)) == 1 + 6 and len(re.findall("<tr>", text)) == 2 + 6 + 120


def test_what_all_rows_share_is_said_once_on_the_page(table, tmp_path):
    rows = [
        row | {"note": "stand-in; of all" + f"; own of {row['score']}" * (row["score"] == "knn")}
        for row in read_table(table)
    ]
    write_table(tmp_path / "noted.csv", COLUMNS, rows)
    write_posthoc_page(tmp_path / "noted.csv", tmp_path / "posthoc.html", task="demo")
    text = (tmp_path / "posthoc.html").read_text()
    assert text.count("of all") == 1 and "All rows: of all." in text and "stand-in;" not in text
    assert text.count('<td class="reason">own of knn</td>') == 6


def test_the_figure_shows_the_means_and_the_best_others(table):
    with figure_style():
        figure, drawn_rows = posthoc_figure([table], "demo")
        FigureCanvasAgg(figure).draw()
    left, right = figure.axes
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels[:5] == ["hcep", "own", "own+distance", "max_logit+distance", "distance"] and labels[8] == "arpl_mm"
    rows = [row for row in read_table(table) if (row["method"], row["openness"]) == ("hcep", "mean")]
    others = sorted(
        (row for row in rows if row["auroc"] and row["score"] not in labels[:5]), key=lambda row: -float(row["auroc"])
    )
    assert labels[5:8] == [row["score"] for row in others[:3]]
    for ax, metric in ((left, "auroc"), (right, "oscr")):
        drawn = {float(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in ax.lines}
        for score, y in (("own", -1), ("own+distance", -2), ("distance", -4)):
            assert drawn[y] == pytest.approx(float(row_of(table, "hcep", "mean", score)[metric]))
    assert len(drawn_rows) == sum(row["openness"] == "mean" for row in read_table(table))
    # nothing is cut: every label lies inside the picture
    box = figure.bbox
    for text in (*left.get_yticklabels(), figure._suptitle, *figure.legends[0].get_texts()):
        found = text.get_window_extent()
        assert box.x0 <= found.x0 and found.x1 <= box.x1 and box.y0 <= found.y0 and found.y1 <= box.y1


def test_faulty_tables_are_refused_and_the_bytes_repeat(table, tmp_path):
    for name in ("one.svg", "two.svg"):
        draw_figure(posthoc_figure, [table], tmp_path / name, title="demo")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    rows = read_table(table)
    next(row for row in rows if row["openness"] == "mean")["oscr_lo"] = "low"
    write_table(tmp_path / "faulty.csv", COLUMNS, rows)
    with pytest.raises(HcepError, match="oscr_lo is 'low', no number"):
        draw_figure(posthoc_figure, [tmp_path / "faulty.csv"], tmp_path / "faulty.svg")
    write_table(tmp_path / "short.csv", COLUMNS[:9], [{name: row[name] for name in COLUMNS[:9]} for row in rows])
    with pytest.raises(HcepError, match="no column"):
        write_posthoc_page(tmp_path / "short.csv", tmp_path / "page.html", task="demo")
