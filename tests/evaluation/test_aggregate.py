"""Runs -> runs.csv, summary.csv, comparisons.csv, versus_paper.csv."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from reseal import reseal
from sample_scores import make_scores

from hcep.config.entries import Task
from hcep.errors import HcepError
from hcep.evaluation import bootstrap as bootstrap_module
from hcep.evaluation import metrics as metrics_module
from hcep.evaluation import runs as runs_module
from hcep.evaluation.aggregate import COMPARISON_COLUMNS, SUMMARY_COLUMNS, aggregate
from hcep.evaluation.bootstrap import bootstrap, paired_p
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.metrics import METRICS, open_set
from hcep.evaluation.scores import group_keys, read_scores, write_scores
from hcep.evaluation.versus_paper import COLUMNS, of_task, read_printed, versus_paper
from hcep.files import read_table, write_table
from hcep.seal import read_sealed_json, write_sealed_json

PAPER = Path(__file__).parents[2] / "config" / "paper_results.csv"
LEVELS = ("k2u8", "k8u2")
SPLITS = ("split1", "split2")
METHODS = {"hcep": 1.2, "frozen_prompts": 1.0, "arpl_mm": 0.4}
REPLICATES = 60
OUTPUTS = ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5")


def make_run(folder, *, history=None, clips=0, **fields):
    """An evaluated run in `folder`; `clips` fixes the test clips, so runs of one split share them."""
    scores = make_scores(n=30, clips=clips, **fields)
    write_scores(folder / "scores.h5", scores)
    paths = [folder / name for name in OUTPUTS]
    evaluate(folder / "scores.h5", *paths, replicates=REPLICATES, seed=0)
    if history is not None:
        write_table(folder / "history.csv", list(history[0]), history)
    return scores


def make_grid(root, *, task="mafw", methods=METHODS, levels=LEVELS, seeds=(1, 2), **fields):
    folders = []
    for method, shift in methods.items():
        for level in levels:
            for split in SPLITS:
                for seed in seeds:
                    folder = root / method / level / split / f"seed{seed}"
                    history = None
                    if method == "hcep":
                        history = [{"epoch": 0, "movement_text": 0, "gap_audio": 0.1, "loss": 2}]
                        history += [{"epoch": 1, "movement_text": seed / 100, "gap_audio": 0.2, "loss": 1}]
                    identity = {"method": method, "task": task, "openness": level, "split": split, "seed": seed}
                    clips = 10 * LEVELS.index(level) + SPLITS.index(split)
                    make_run(folder, history=history, clips=clips, shift=shift, model=seed, **identity, **fields)
                    folders.append(folder)
    return folders


def tables(root, folders, *, paper=PAPER, task="mafw", **options):
    paths = [root / name for name in ("runs.csv", "summary.csv", "comparisons.csv")]
    options.setdefault("references", Task.model_fields["references"].default)
    aggregate(folders, paper, task, *paths, **options)
    return [read_table(path) for path in paths]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    root = tmp_path_factory.mktemp("grid")
    folders = make_grid(root)
    return root, folders, tables(root, folders)


def metrics_of(folder):
    return read_sealed_json(folder / "metrics.json")


def test_runs_have_a_row_each(grid):
    _, folders, (runs, _, _) = grid
    assert len(runs) == len(folders) == 24
    row, metrics = runs[0], metrics_of(folders[0])
    assert [row[name] for name in ("task", "method", "openness", "split", "seed")] == [
        *("mafw", "hcep", "k2u8", "split1", "1")
    ]
    assert (row["known"], row["unknown"], row["n_known"], row["n_unknown"]) == ("2", "8", "30", "30")
    for name in METRICS:
        for part, key in (("", "value"), ("_lo", "lo"), ("_hi", "hi")):
            assert float(row[name + part]) == pytest.approx(100 * metrics[name][key], abs=1e-4)
    assert (row["stand_in"], row["text_kind"], row["selection"]) == ("true", "asr", "last")
    assert (row["movement_text"], row["gap_audio"]) == ("0.01", "0.2")
    assert "loss" not in row
    assert runs[-1]["movement_text"] == ""


def test_summary_means_and_spreads(grid):
    _, folders, (_, summary, _) = grid
    assert tuple(summary[0]) == SUMMARY_COLUMNS
    # methods as they first appeared, openness rising, then the mean
    order = [(row["method"], row["openness"]) for row in summary]
    assert order == [(method, level) for method in METHODS for level in ("k8u2", "k2u8", "mean")]
    level_means, split_means = [], []
    for level, row in (("k8u2", summary[0]), ("k2u8", summary[1])):
        own = [metrics_of(f) for f in folders if f.parts[-4:-2] == ("hcep", level)]
        values = np.array([m["oscr"]["value"] for m in own]).reshape(2, 2)
        level_means.append(values.mean())
        split_means.append(values.mean(axis=1))
        assert float(row["oscr"]) == pytest.approx(100 * values.mean(), abs=0.006)
        assert float(row["oscr_sd"]) == pytest.approx(100 * values.mean(axis=1).std(ddof=1), abs=0.006)
        assert float(row["oscr_lo"]) < float(row["oscr"]) < float(row["oscr_hi"])
        assert (row["splits"], row["seeds"]) == ("2", "2")
    assert float(summary[2]["oscr"]) == pytest.approx(100 * np.mean(level_means), abs=0.006)
    assert float(summary[2]["oscr_sd"]) == pytest.approx(100 * np.mean(split_means, axis=0).std(ddof=1), abs=0.006)
    assert (summary[0]["known"], summary[0]["openness_value"]) == ("8", "0.1056")
    assert (summary[2]["known"], summary[2]["openness_value"]) == ("", "")


def test_summary_marks(grid):
    summary = grid[2][1]
    # our two levels are not the paper's four, so only the levels have a printed partner
    assert (summary[0]["paper_auroc"], summary[0]["paper_oscr"]) == ("80.12", "54.55")
    assert (summary[2]["paper_auroc"], summary[2]["paper_oscr"]) == ("", "")
    assert (summary[3]["method"], summary[3]["paper_auroc"]) == ("frozen_prompts", "")
    assert (summary[0]["stand_in"], summary[0]["text_kind"], summary[0]["selection"]) == ("true", "asr", "last")
    assert "stand-in" in summary[0]["note"] and "movement_text 0.015" in summary[0]["note"]
    assert "movement" not in summary[3]["note"]


def test_few_groups_and_what_is_to_know_of_the_clips_are_noted(grid, tmp_path):
    assert "12 test groups: intervals tend to be too narrow" in grid[2][1][0]["note"]
    many = np.array([f"speaker{index % 25}" for index in range(90)])
    for number in (1, 2):
        remarks = ("unknown class joy has no test clip",) * (number == 2)
        make_run(tmp_path / f"{number}", group=many, split=f"split{number}", remarks=remarks)
    note = tables(tmp_path, [tmp_path / "1", tmp_path / "2"], task="demo")[1][0]["note"]
    assert "test groups" not in note and note.count("unknown class joy has no test clip") == 1


def test_summary_interval_is_over_replicate_means(grid):
    _, folders, (_, summary, _) = grid
    draws = []
    for folder in folders[:4]:
        scores = read_scores(folder / "scores.h5")
        groups = group_keys(scores)[scores.part == "test"]
        draws.append(bootstrap(open_set(scores), groups, replicates=REPLICATES, seed=0).values["auroc"])
    low, high = np.percentile(np.mean(draws, axis=0), [2.5, 97.5])
    assert (float(summary[1]["auroc_lo"]), float(summary[1]["auroc_hi"])) == pytest.approx(
        (100 * low, 100 * high), abs=0.006
    )


def test_comparisons(grid):
    _, folders, (_, summary, comparisons) = grid
    assert tuple(comparisons[0]) == COMPARISON_COLUMNS
    pairs = list(dict.fromkeys((row["method"], row["reference"]) for row in comparisons))
    assert pairs == [
        *(("hcep", "arpl_mm"), ("hcep", "frozen_prompts")),
        *(("frozen_prompts", "arpl_mm"), ("frozen_prompts", "hcep")),
        *(("arpl_mm", "frozen_prompts"), ("arpl_mm", "hcep")),
    ]
    assert len(comparisons) == len(pairs) * 3 * 3
    row = next(r for r in comparisons if (r["openness"], r["metric"]) == ("k2u8", "oscr"))
    draws = {}
    for method in ("hcep", "arpl_mm"):
        own = [read_scores(f / "scores.h5") for f in folders if f.parts[-4:-2] == (method, "k2u8")]
        values = [
            bootstrap(open_set(s), group_keys(s)[s.part == "test"], replicates=REPLICATES, seed=0).values["oscr"]
            for s in own
        ]
        draws[method] = np.mean(values, axis=0)
    difference = draws["hcep"] - draws["arpl_mm"]
    low, high = np.percentile(difference, [2.5, 97.5])
    assert (float(row["lo"]), float(row["hi"])) == pytest.approx((100 * low, 100 * high), abs=0.006)
    assert float(row["p"]) == pytest.approx(paired_p(difference), abs=1e-4)
    by_cell = {(r["method"], r["openness"]): float(r["oscr"]) for r in summary}
    wanted = by_cell["hcep", "k2u8"] - by_cell["arpl_mm", "k2u8"]
    assert float(row["difference"]) == pytest.approx(wanted, abs=0.011)


def test_class_tokens_are_compared_with_their_own_frozen_control(tmp_path):
    methods = {"hcep_tokens": 1.2, "frozen_tokens": 1.0, "frozen_prompts": 0.8}
    comparisons = tables(tmp_path, make_grid(tmp_path, task="demo", methods=methods, seeds=(1,)), task="demo")[2]
    assert {row["reference"] for row in comparisons if row["method"] == "hcep_tokens"} == {
        "frozen_prompts",
        "frozen_tokens",
    }
    row = next(r for r in comparisons if (r["method"], r["reference"]) == ("hcep_tokens", "frozen_tokens"))
    assert float(row["difference"]) > 0 and row["metric"] == "auroc"


def test_a_method_against_its_copy_shows_no_difference(tmp_path):
    methods = {"hcep": 1.0, "frozen_prompts": 1.0}
    comparisons = tables(tmp_path, make_grid(tmp_path, methods=methods, seeds=(1,)))[2]
    assert {(row["difference"], row["lo"], row["hi"], row["p"]) for row in comparisons} == {
        ("0.00", "0.00", "0.00", "1.0000")
    }


def test_without_reference_or_paper(tmp_path):
    folders = make_grid(tmp_path, task="demo", methods={"hcep": 1.0}, levels=("k8u2",), seeds=(1,))
    _, summary, comparisons = tables(tmp_path, folders, paper=None, task="demo")
    assert comparisons == []
    assert [row["openness"] for row in summary] == ["k8u2", "mean"]
    assert summary[0]["paper_auroc"] == ""
    assert {name: summary[0][name] for name in METRICS} == {name: summary[1][name] for name in METRICS}


def test_one_split_spreads_over_seeds(tmp_path):
    folders = [f for f in make_grid(tmp_path, methods={"hcep": 1.0}, levels=("k8u2",)) if f.parts[-2] == "split1"]
    values = [metrics_of(folder)["auroc"]["value"] for folder in folders]
    row = tables(tmp_path, folders)[1][0]
    assert float(row["auroc_sd"]) == pytest.approx(100 * np.std(values, ddof=1), abs=0.006)
    assert tables(tmp_path, folders[:1])[1][0]["auroc_sd"] == ""


def test_levels_with_different_splits_have_no_spread_of_their_mean(tmp_path):
    folders = make_grid(tmp_path, methods={"hcep": 1.0})
    kept = [f for f in folders if f.parts[-3:-1] != ("k8u2", "split2")]
    summary = tables(tmp_path, kept)[1]
    assert [row["splits"] for row in summary] == ["1", "2", "2"]
    assert summary[2]["auroc_sd"] == "" and summary[0]["auroc_sd"] != ""
    wanted = np.mean([float(row["auroc"]) for row in summary[:2]])
    assert float(summary[2]["auroc"]) == pytest.approx(wanted, abs=0.011)


def test_selection_on_test_is_marked(tmp_path):
    folders = make_grid(
        tmp_path, methods={"hcep": 1.0}, levels=("k8u2",), seeds=(1,), settings={"selection": "best_on_test"}
    )
    row = tables(tmp_path, folders)[1][0]
    assert row["selection"] == "best_on_test" and "selected on test clips" in row["note"]


def test_a_missing_run_is_named(grid, tmp_path):
    folders = [f for f in grid[1] if f.parts[-4:] != ("arpl_mm", "k8u2", "split2", "seed2")]
    with pytest.raises(HcepError, match="arpl_mm has no run k8u2/split2/seed2"):
        tables(tmp_path, folders)
    with pytest.raises(HcepError, match="listed twice"):
        tables(tmp_path, [*grid[1], grid[1][0]])
    with pytest.raises(HcepError, match="no run of task"):
        tables(tmp_path, [])
    make_run(tmp_path / "odd", openness="8:2")
    with pytest.raises(HcepError, match="not an openness"):
        tables(tmp_path / "out", [tmp_path / "odd"], task="demo")
    assert [path.name for path in tmp_path.iterdir()] == ["odd"]


def test_other_test_clips_are_refused(tmp_path):
    make_run(tmp_path / "a", method="hcep", openness="k8u2")
    scores = make_scores(n=30)
    clip = scores.clip.copy()
    clip[40] = "other"
    make_run(tmp_path / "b", method="arpl_mm", openness="k8u2", clip=clip)
    with pytest.raises(HcepError, match="clip clip 0040 ä: the test clips differ") as caught:
        tables(tmp_path, [tmp_path / "a", tmp_path / "b"], task="demo")
    assert str(tmp_path / "a") in str(caught.value) and str(tmp_path / "b") in str(caught.value)


def test_stale_and_foreign_metrics_are_refused(tmp_path):
    folder = tmp_path / "a"
    make_run(folder, openness="k8u2")
    with pytest.raises(HcepError, match="expected 'mafw'"):
        tables(tmp_path, [folder])
    assert tables(tmp_path, [folder], task="demo")
    file, metrics = folder / "metrics.json", metrics_of(folder)
    file.write_text(file.read_text().replace('"seed": 1', '"seed": 9'))
    with pytest.raises(HcepError, match=r"does not match its digest.*run the evaluate step"):
        tables(tmp_path, [folder], task="demo")
    write_sealed_json(file, metrics | {"auroc": metrics["auroc"] | {"value": 0.5}})
    with pytest.raises(HcepError, match="the scores give"):
        tables(tmp_path, [folder], task="demo")
    write_sealed_json(file, metrics | {"seed": 9})
    with pytest.raises(HcepError, match="metrics are of run"):
        tables(tmp_path, [folder], task="demo")
    for change in ({"remarks": ["none"]}, {"oscr": metrics["oscr"] | {"lo": 0.1}}, {"added": 1}):
        write_sealed_json(file, metrics | change)
        with pytest.raises(HcepError, match=rf"{next(iter(change))} is .*the scores give.*run the evaluate step"):
            tables(tmp_path, [folder], task="demo")
    write_sealed_json(file, {})
    with pytest.raises(HcepError, match="not a metrics file"):
        tables(tmp_path, [folder], task="demo")
    file.unlink()
    with pytest.raises(HcepError, match="does not exist"):
        tables(tmp_path, [folder], task="demo")


def test_replaced_scores_and_replicates_are_refused(tmp_path):
    folder = tmp_path / "a"
    scores = make_run(folder, openness="k8u2")
    kept = (folder / "scores.h5").read_bytes(), (folder / "replicates.h5").read_bytes()
    write_scores(folder / "scores.h5", scores._replace(score=scores.score + 0.01))
    with pytest.raises(HcepError, match=r"replaced after they were evaluated.*run the evaluate step") as caught:
        tables(tmp_path, [folder], task="demo")
    assert caught.value.file == folder / "scores.h5"
    (folder / "scores.h5").write_bytes(kept[0])
    with h5py.File(folder / "replicates.h5", "r+") as handle:
        handle["replicates/auroc"][3] += 1e-6
    with pytest.raises(HcepError, match=r"replicates/auroc does not match its digest.*run the evaluate step"):
        tables(tmp_path, [folder], task="demo")
    reseal(folder / "replicates.h5")
    with pytest.raises(HcepError, match=r"replicates are not those of metrics\.json.*run the evaluate step") as caught:
        tables(tmp_path, [folder], task="demo")
    assert caught.value.file == folder / "replicates.h5"
    # those of another run
    make_run(tmp_path / "b", openness="k8u2", seed=2)
    (folder / "replicates.h5").write_bytes((tmp_path / "b" / "replicates.h5").read_bytes())
    with pytest.raises(HcepError, match="metrics are of run"):
        tables(tmp_path, [folder], task="demo")
    for content, cause in (
        (b"no HDF5", r"replicates\.h5: is not a whole HDF5 file"),
        (None, r"replicates\.h5: is missing"),
    ):
        (folder / "replicates.h5").unlink()
        if content is not None:
            (folder / "replicates.h5").write_bytes(content)
        with pytest.raises(HcepError, match=rf"{cause}.*run the evaluate step"):
            tables(tmp_path, [folder], task="demo")
    (folder / "replicates.h5").write_bytes(kept[1])
    assert tables(tmp_path, [folder], task="demo")
    (folder / "scores.h5").unlink()
    with pytest.raises(HcepError, match="does not exist"):
        tables(tmp_path, [folder], task="demo")


def test_runs_of_other_bootstrap_settings_are_refused(tmp_path):
    options = {"replicates": REPLICATES, "seed": 0, "confidence": 0.95}
    make_run(tmp_path / "a", openness="k8u2", method="hcep")
    make_run(tmp_path / "b", openness="k8u2", method="arpl_mm")
    paths = [tmp_path / "b" / name for name in OUTPUTS]
    for name, key, value in (
        *(("replicates", "replicates", 50), ("seed", "bootstrap_seed", 1), ("confidence", "confidence", 0.9)),
    ):
        evaluate(tmp_path / "b" / "scores.h5", *paths, **(options | {name: value}))
        with pytest.raises(HcepError, match=f"{key} is {value}, but {options[name]} in ") as caught:
            tables(tmp_path, [tmp_path / "a", tmp_path / "b"], task="demo")
        assert caught.value.file == tmp_path / "b" / "metrics.json"
        assert str(tmp_path / "a" / "metrics.json") in str(caught.value)


def test_aggregating_reads_no_score_and_draws_nothing(grid, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("only evaluate may do this")

    monkeypatch.setattr(runs_module, "read_scores", refuse)
    monkeypatch.setattr(bootstrap_module, "group_draws", refuse)
    monkeypatch.setattr(metrics_module.Ranking, "__init__", refuse)
    tables(tmp_path, grid[1])
    for name in ("runs.csv", "summary.csv", "comparisons.csv", "corpora.csv"):
        assert (tmp_path / name).read_bytes() == (grid[0] / name).read_bytes()


def test_the_intervals_have_the_confidence_of_the_evaluation(tmp_path):
    make_run(tmp_path / "a", openness="k8u2")
    paths = [tmp_path / "a" / name for name in OUTPUTS]
    evaluate(tmp_path / "a" / "scores.h5", *paths, replicates=REPLICATES, confidence=0.5)
    runs, summary, _ = tables(tmp_path, [tmp_path / "a"], task="demo")
    for part in ("_lo", "_hi"):
        assert float(summary[0][f"auroc{part}"]) == pytest.approx(float(runs[0][f"auroc{part}"]), abs=0.006)


def test_versus_paper_lists_every_printed_number(grid, tmp_path):
    root = grid[0]
    versus_paper(root / "summary.csv", PAPER, "mafw", tmp_path / "versus.csv")
    rows = read_table(tmp_path / "versus.csv")
    assert tuple(rows[0]) == COLUMNS
    # Table 2: eight methods, four levels and their mean, two metrics
    assert len(rows) == 8 * 5 * 2
    found = {(row["method"], row["openness"], row["metric"]): row for row in rows}
    ours = {(row["method"], row["openness"]): row for row in grid[2][1]}
    row = found["hcep", "k8u2", "oscr"]
    assert (row["ours"], row["lo"]) == (ours["hcep", "k8u2"]["oscr"], ours["hcep", "k8u2"]["oscr_lo"])
    assert float(row["difference"]) == pytest.approx(float(row["ours"]) - 54.55, abs=1e-9)
    assert (row["paper"], row["stand_in"], row["selection"]) == ("54.55", "true", "last")
    assert found["hcep", "mean", "oscr"]["ours"] == ""
    assert found["hesp", "k2u8", "auroc"]["paper"] == "70.98"
    assert found["hesp", "k2u8", "auroc"]["ours"] == ""
    assert not any(row["method"] == "frozen_prompts" for row in rows)


def test_the_mean_is_compared_over_the_papers_levels(tmp_path):
    paper = [row for row in read_table(PAPER) if row["openness"] in ("k8u2", "k2u8", "mean")]
    write_table(tmp_path / "paper.csv", list(paper[0]), paper)
    folders = make_grid(tmp_path, methods={"hcep": 1.0}, seeds=(1,))
    summary = tables(tmp_path, folders, paper=tmp_path / "paper.csv")[1]
    assert summary[2]["paper_auroc"] == "77.72"
    versus_paper(tmp_path / "summary.csv", tmp_path / "paper.csv", "mafw", tmp_path / "versus.csv")
    found = {(row["method"], row["openness"], row["metric"]): row for row in read_table(tmp_path / "versus.csv")}
    assert found["hcep", "mean", "auroc"]["ours"] == summary[2]["auroc"]


def test_a_task_outside_the_paper_gives_a_header(grid, tmp_path):
    versus_paper(grid[0] / "summary.csv", PAPER, "demo", tmp_path / "versus.csv")
    assert (tmp_path / "versus.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_paper_results_are_consistent():
    """The printed means are the means of the printed levels; Table 3's own AUROC means are off by up to 0.08."""
    for task, levels in (("mafw", 4), ("cmu_mosei", 4)):
        paper = of_task(read_printed(PAPER), task)
        for method in {key[0] for key in paper}:
            for metric in ("auroc", "oscr"):
                values = [
                    v for (m, level, name), v in paper.items() if (m, name) == (method, metric) and level != "mean"
                ]
                assert len(values) == levels
                assert np.mean(values) == pytest.approx(paper[method, "mean", metric], abs=0.08)


def test_bad_paper_files_are_refused(tmp_path):
    file = tmp_path / "paper.csv"
    head = "source,task,method,openness,metric,value\n"
    for body, cause in (
        (head + "table2,mafw,hcep,k8u2,auroc,high\n", "row 2: value 'high'"),
        (head + 2 * "table2,mafw,hcep,k8u2,auroc,1\n", "row 3: table2/mafw/hcep/k8u2/auroc is listed twice"),
        ("source,task\ntable2,mafw\n", "column method is missing"),
    ):
        file.write_text(body)
        with pytest.raises(HcepError, match=cause):
            read_printed(file)
