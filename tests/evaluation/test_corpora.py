"""Runs over two corpora: metrics per corpus, how well the score tells the corpora apart; classes left out of K."""

from __future__ import annotations

import itertools

import h5py
import numpy as np
import pytest
from sample_scores import make_scores
from sklearn.metrics import roc_auc_score

from hcep.errors import HcepError
from hcep.evaluation.aggregate import CORPORA_COLUMNS, aggregate
from hcep.evaluation.bootstrap import SIDES, bootstrap, group_draws
from hcep.evaluation.corpora import corpora_of, corpus_metrics
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.metrics import open_set
from hcep.evaluation.scores import group_keys, read_scores, write_scores
from hcep.figures.summary_page import write_summary_page
from hcep.files import read_table
from hcep.seal import read_sealed_json, write_sealed_json

REPLICATES = 80


def two_corpora(n: int = 40, *, lift: float = 1.0, **fields):
    """Scores with every third clip from mosei, whose known clips score `lift` higher; unknown clips from mafw only."""
    scores = make_scores(n=n, **fields)
    mosei = scores.known & (np.arange(3 * n) % 3 == 0)
    dataset = np.where(mosei, "mosei", "mafw")
    return scores._replace(dataset=dataset, score=scores.score + lift * mosei)


def test_areas_by_counting_pairs():
    scores = two_corpora()
    found = corpus_metrics(scores, replicates=REPLICATES, seed=0)
    test = scores.part == "test"
    outside = scores.score[test & ~scores.known]
    assert corpora_of(scores) == ("mafw", "mosei")
    assert set(found) == {
        *("auroc_known_mafw", "oscr_known_mafw", "auroc_known_mosei", "oscr_known_mosei", "corpus_auroc")
    }
    for corpus in ("mafw", "mosei"):
        rows = test & scores.known & (scores.dataset == corpus)
        right = (scores.label == scores.prediction)[rows]
        wins = [
            ((known > unknown) + 0.5 * (known == unknown), hit)
            for (known, hit), unknown in itertools.product(zip(scores.score[rows], right, strict=True), outside)
        ]
        assert 0 < rows.sum() < (test & scores.known).sum()
        assert found[f"auroc_known_{corpus}"].value == pytest.approx(np.mean([win for win, _ in wins]), abs=1e-12)
        assert found[f"oscr_known_{corpus}"].value == pytest.approx(
            np.mean([win * hit for win, hit in wins]), abs=1e-12
        )
    inside = test & scores.known
    wanted = roc_auc_score(scores.dataset[inside] == "mafw", scores.score[inside])
    assert found["corpus_auroc"].value == pytest.approx(wanted, abs=1e-12)


def test_a_score_that_knows_the_corpus_is_seen():
    # mafw comes first by name, so higher scores of mosei push the value below one half
    assert corpus_metrics(two_corpora(lift=50), replicates=20, seed=0)["corpus_auroc"].value == 0
    assert corpus_metrics(two_corpora(lift=-50), replicates=20, seed=0)["corpus_auroc"].value == 1
    same = two_corpora(lift=0)
    same = same._replace(score=np.zeros(len(same.score)))
    assert corpus_metrics(same, replicates=20, seed=0)["corpus_auroc"].value == 0.5


def test_replicates_are_those_of_the_run_on_fewer_clips():
    scores = two_corpora()
    test = scores.part == "test"
    data, groups, dataset = open_set(scores), group_keys(scores)[test], scores.dataset[test]
    found = corpus_metrics(scores, replicates=REPLICATES, seed=3)
    names = np.unique(groups)
    known, unknown = (next(group_draws(names.tolist(), side, REPLICATES, 3)) for side in SIDES)
    place = np.searchsorted(names, groups)
    for replicate in (0, 7, 41):
        weight = np.where(data.known, known[replicate][place], unknown[replicate][place])
        rows = ~data.known | (dataset == "mosei")
        wanted = roc_auc_score(data.known[rows], data.score[rows], sample_weight=weight[rows])
        assert found["auroc_known_mosei"].replicates[replicate] == pytest.approx(wanted, abs=1e-12)
        inside = data.known
        wanted = roc_auc_score(dataset[inside] == "mafw", data.score[inside], sample_weight=weight[inside])
        assert found["corpus_auroc"].replicates[replicate] == pytest.approx(wanted, abs=1e-12)


def test_drawing_from_more_groups_leaves_the_default_alone():
    scores = make_scores()
    test = scores.part == "test"
    data, groups = open_set(scores), group_keys(scores)[test]
    plain = bootstrap(data, groups, replicates=30, seed=1).values["oscr"]
    np.testing.assert_array_equal(
        bootstrap(data, groups, replicates=30, seed=1, drawn_from=groups).values["oscr"], plain
    )
    more = bootstrap(data, groups, replicates=30, seed=1, drawn_from=[*groups, "another"])
    assert more.n_groups == len(set(groups)) + 1 and not np.array_equal(more.values["oscr"], plain)


def write_run(folder, scores):
    write_scores(folder / "scores.h5", scores)
    paths = [folder / name for name in ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5")]
    evaluate(folder / "scores.h5", *paths, replicates=REPLICATES, seed=0)
    return read_sealed_json(paths[0])


def test_metrics_file_names_the_corpora(tmp_path):
    metrics = write_run(tmp_path / "two", two_corpora())
    assert metrics["corpora"] == ["mafw", "mosei"] and metrics["corpus_positive"] == "mafw"
    assert metrics["n_known_mafw"] + metrics["n_known_mosei"] == metrics["n_known"] == 40
    for name in ("auroc_known_mafw", "oscr_known_mosei", "corpus_auroc"):
        assert metrics[name]["lo"] < metrics[name]["value"] < metrics[name]["hi"]
    one = write_run(tmp_path / "one", make_scores(n=20))
    assert one["corpora"] == ["corpus"]
    assert not [name for name in one if name.startswith(("corpus_", "n_known_", "auroc_known", "oscr_known"))]


def test_unknown_clips_of_another_corpus_alone_make_no_pair(tmp_path):
    scores = make_scores(n=20)
    scores = scores._replace(dataset=np.where(scores.known, "mafw", "mosei"))
    assert corpus_metrics(scores, replicates=5, seed=0) == {}


def tables(root, folders, **options):
    paths = [root / name for name in ("runs.csv", "summary.csv", "comparisons.csv")]
    aggregate(folders, None, "cross", *paths, **options)
    return [read_table(path) for path in (paths[0], paths[1], root / "corpora.csv")]


@pytest.fixture(scope="module")
def cross(tmp_path_factory):
    root = tmp_path_factory.mktemp("cross")
    folders = []
    for method, split in itertools.product(("hcep", "arpl_mm"), (1, 2)):
        fields = {"method": method, "task": "cross", "openness": "k3u2", "split": f"split{split}", "clips": split}
        scores = two_corpora(lift=0.3, model=len(method), left_out=("envy",) if split == 2 else (), **fields)
        folders.append(root / method / f"split{split}")
        write_run(folders[-1], scores)
    return root, folders, tables(root, folders)


def test_corpora_table(cross):
    _, folders, (_, summary, corpora) = cross
    assert tuple(corpora[0]) == CORPORA_COLUMNS
    keys = [(row["method"], row["openness"], row["corpus"]) for row in corpora]
    assert keys == list(itertools.product(("hcep", "arpl_mm"), ("k3u2", "mean"), ("mafw", "mosei")))
    metrics = [read_sealed_json(folder / "metrics.json") for folder in folders[:2]]
    draws = [corpus_metrics(read_scores(f / "scores.h5"), replicates=REPLICATES, seed=0) for f in folders[:2]]
    row = corpora[1]
    for column, name in (("auroc", "auroc_known_mosei"), ("oscr", "oscr_known_mosei"), ("corpus_auroc",) * 2):
        values = [metric[name]["value"] for metric in metrics]
        assert float(row[column]) == pytest.approx(100 * np.mean(values), abs=0.006)
        assert float(row[f"{column}_sd"]) == pytest.approx(100 * np.std(values, ddof=1), abs=0.006)
        low, high = np.percentile(np.mean([draw[name].replicates for draw in draws], axis=0), [2.5, 97.5])
        assert float(row[f"{column}_lo"]) == pytest.approx(100 * low, abs=0.006)
        assert float(row[f"{column}_hi"]) == pytest.approx(100 * high, abs=0.006)
    assert (row["corpus_positive"], row["splits"], row["stand_in"], row["text_kind"]) == ("mafw", "2", "true", "asr")
    assert corpora[0]["corpus_auroc"] == row["corpus_auroc"] and corpora[0]["auroc"] != row["auroc"]
    assert not any("corpus" in name for name in summary[0])


def test_runs_table_carries_them(cross):
    _, folders, (runs, _, _) = cross
    metrics = read_sealed_json(folders[0] / "metrics.json")
    for name in ("corpus_auroc", "auroc_known_mafw", "oscr_known_mosei"):
        for part, key in (("", "value"), ("_lo", "lo"), ("_hi", "hi")):
            assert float(runs[0][name + part]) == pytest.approx(100 * metrics[name][key], abs=1e-4)
    assert (runs[0]["corpora"], runs[0]["corpus_positive"]) == ("mafw;mosei", "mafw")


def test_one_corpus_gives_a_header_and_empty_columns(tmp_path):
    write_run(tmp_path / "a", make_scores(n=20, task="cross"))
    runs, _, corpora = tables(tmp_path, [tmp_path / "a"])
    assert corpora == []
    assert (tmp_path / "corpora.csv").read_text() == ",".join(CORPORA_COLUMNS) + "\n"
    assert (runs[0]["corpora"], runs[0]["corpus_auroc"], runs[0]["left_out"]) == ("corpus", "", "")
    aggregate(
        [tmp_path / "a"], None, "cross", *(tmp_path / f"{i}.csv" for i in range(3)), corpora_csv=tmp_path / "c.csv"
    )
    assert (tmp_path / "c.csv").is_file()


def test_a_corpus_that_a_split_lacks_has_an_empty_mean(tmp_path):
    write_run(tmp_path / "a", two_corpora(task="cross", split="split1"))
    write_run(tmp_path / "b", make_scores(n=40, task="cross", split="split2", dataset=np.array(["mafw"] * 120)))
    corpora = tables(tmp_path, [tmp_path / "a", tmp_path / "b"])[2]
    assert [(row["corpus"], row["auroc"], row["corpus_auroc"]) for row in corpora[:2]] == [
        *(("mafw", "", ""), ("mosei", "", ""))
    ]


def test_stale_corpus_metrics_are_refused(tmp_path):
    metrics = write_run(tmp_path / "a", two_corpora(task="cross"))
    file = tmp_path / "a" / "metrics.json"
    write_sealed_json(file, metrics | {"corpus_auroc": metrics["corpus_auroc"] | {"value": 0.25}})
    with pytest.raises(HcepError, match="the scores give"):
        tables(tmp_path, [tmp_path / "a"])
    write_sealed_json(file, metrics | {"left_out": ["envy"]})
    with pytest.raises(HcepError, match="scores beside them"):
        tables(tmp_path, [tmp_path / "a"])


def test_left_out_classes_reach_the_summary_and_its_page(cross, tmp_path):
    root, _, (runs, summary, _) = cross
    assert [row["left_out"] for row in runs] == ["", "envy"] * 2
    assert {row["left_out"] for row in summary} == {"envy"}
    write_summary_page(root / "summary.csv", root / "comparisons.csv", tmp_path / "page.html", task="cross")
    page = (tmp_path / "page.html").read_text()
    assert page.count("Left out of the known classes, too few training clips: k3u2: envy.") == 1
    # the note stands under the table, the head says that there is one
    assert page.index("A split left classes out") < page.index("</table>") < page.index("k3u2: envy")


def test_left_out_classes_survive_the_scores_file(tmp_path):
    file = tmp_path / "scores.h5"
    write_scores(file, make_scores(left_out=("envy", "pride, ä")))
    assert read_scores(file).left_out == ("envy", "pride, ä")
    with h5py.File(file, "r+") as handle:
        del handle.attrs["seal"]
    with pytest.raises(HcepError, match=r"no digest of its content: an older version of hcep.*run the score step"):
        read_scores(file)
    with pytest.raises(HcepError, match="joy cannot be a known class and left out"):
        write_scores(file, make_scores(left_out=("joy",)))
