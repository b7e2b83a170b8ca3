"""Clusters of rejected clips: their number, what labels may not decide, agreement, the table, the summary, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sample_scores import make_scores
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from hcep.errors import HcepError
from hcep.evaluation import clusters as clusters_module
from hcep.evaluation.agreement import agreement
from hcep.evaluation.clusters import find_clusters
from hcep.evaluation.scores import write_scores
from hcep.evaluation.thresholds import choose_thresholds
from hcep.evaluation.unknowns import COLUMNS, reject, unknowns
from hcep.evaluation.unknowns_summary import read_unknowns, unknowns_summary
from hcep.files import read_table

UNKNOWN = ("disgust", "shame", "envy")


@pytest.fixture(autouse=True)
def few_references(monkeypatch):
    """As many as the level needs, to be quick."""
    monkeypatch.setattr(clusters_module, "REFERENCES", 39)


def blobs(count, each=12, width=40, seed=0):
    """Clips around distant centres, with long and short directions, and the centre of each."""
    random = np.random.default_rng(seed)
    place = np.arange(count * each) % count
    noise = random.normal(size=(len(place), width)) * np.arange(1, width + 1) ** -0.5
    return 3 * random.normal(size=(count, width))[place] + noise, place


def clustered_scores(**fields):
    """A run that rejects its unknown clips, whose labels lie apart in text and vision, and some known ones."""
    scores = make_scores(n=40)
    random = np.random.default_rng(3)
    label = np.where(scores.known, scores.label, random.choice(UNKNOWN, len(scores.label)))
    place = np.array([("anger", "joy", "fear", *UNKNOWN).index(name) for name in label.tolist()])
    features = {}
    for name, width in (("text", 6), ("vision", 8), ("audio", 5), ("fused", 4)):
        centres = random.normal(size=(6, width)) * (name in ("text", "vision"))
        features[name] = (4 * centres[place] + random.normal(size=(len(place), width))).astype(np.float32)
    low = ~scores.known | (random.random(len(place)) < 0.1)
    score = random.random(len(place)) - 2 * (low & (scores.part == "test"))
    flags = np.where(np.arange(len(place)) % 9 == 4, "no_audio", "")
    return scores._replace(**{"label": label, "features": features, "score": score, "flags": flags} | fields)


def outputs(folder):
    return [folder / f"unknowns.{ending}" for ending in ("csv", "json", "h5")]


def found_in(folder, scores, **settings):
    """The rows and the report of a run; the bootstrap is short."""
    folder.mkdir(parents=True, exist_ok=True)
    write_scores(folder / "scores.h5", scores)
    files = outputs(folder)
    unknowns(folder / "scores.h5", *files, **{"replicates": 50} | settings)
    return read_table(files[0]), json.loads(files[1].read_text())


def test_clear_clusters_are_counted_and_found():
    for count in (2, 3, 5):
        points, place = blobs(count)
        found = find_clusters(points, 10)
        assert found.found == count and found.p == pytest.approx(1 / (1 + clusters_module.REFERENCES))
        assert adjusted_rand_score(place, found.member) == 1
        assert max(found.silhouettes, key=found.silhouettes.get) == count


def test_clouds_without_structure_are_one_cluster():
    random = np.random.default_rng(1)
    round_one, long, wide = np.ones(40), np.array([8.0, 5.0, *[1] * 38]), np.arange(1, 41) ** -0.5
    drawn = [random.normal(size=(30, 40)) * shape for shape in (round_one, long, wide) for _ in range(4)]
    found = [find_clusters(points, 10) for points in drawn]
    assert sum(one.found > 1 for one in found) <= 1
    # they are cut none the less, to be looked at
    assert any(one.member.max() > 1 for one in found)
    assert find_clusters(np.zeros((20, 3)), 10).found == 1


def test_a_stray_clip_is_no_cluster():
    random = np.random.default_rng(2)
    points = random.normal(size=(40, 10))
    points[7] += 100
    found = find_clusters(points, 10)
    assert found.found == 1 and np.bincount(found.member)[1:].min() >= clusters_module.LEAST_SIZE


def test_the_number_for_many_clips_comes_from_some_of_them(monkeypatch):
    points, place = blobs(3, each=40)
    monkeypatch.setattr(clusters_module, "MOST_CLIPS", 50)
    found = find_clusters(points, 10)
    assert found.found == 3 and len(found.member) == 120 and adjusted_rand_score(place, found.member) == 1


def test_clusters_are_numbered_by_size_and_do_not_depend_on_chance():
    points, place = blobs(3)
    points = points[(place != 0) | (np.arange(len(place)) < 15)]
    one, two = find_clusters(points, 10), find_clusters(points, 10)
    assert (np.diff(np.bincount(one.member)[1:]) <= 0).all() and one.found == 3
    np.testing.assert_array_equal(one.member, two.member)
    assert (one.silhouettes, one.p) == (two.silhouettes, two.p)


def test_agreement_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    for _ in range(30):
        n = int(random.integers(6, 40))
        member, label, group = random.integers(1, 5, n), random.choice(list("abcd"), n), random.integers(0, 6, n)
        found = agreement(member, label, group, np.ones((2, 6)))
        np.testing.assert_allclose(found["ari"], adjusted_rand_score(label, member), atol=1e-12)
        np.testing.assert_allclose(found["nmi"], normalized_mutual_info_score(label, member), atol=1e-12)
        # a group that is drawn twice: NMI of its clips twice; ARI of the pairs of different clips
        weight = np.array([[2.0, 0, 1, 1, 3, 0]])
        times = weight[0][group]
        drawn = agreement(member, label, group, weight)
        twice = np.repeat(np.arange(n), times.astype(int))
        if len(set(label[twice])) > 1:
            wanted = normalized_mutual_info_score(label[twice], member[twice])
            np.testing.assert_allclose(drawn["nmi"], wanted, atol=1e-12)
            np.testing.assert_allclose(drawn["ari"], pair_by_pair(member, label, times), atol=1e-12)


def pair_by_pair(member, label, times):
    """ARI from its definition, over pairs of different clips with the product of their weights."""
    i, j = np.triu_indices(len(member), 1)
    weight = times[i] * times[j]
    alike, same = member[i] == member[j], label[i] == label[j]
    both, rows, columns = (weight[which].sum() for which in (alike & same, alike, same))
    expected = rows * columns / weight.sum()
    return (both - expected) / ((rows + columns) / 2 - expected)


def test_clips_drawn_twice_agree_by_chance_no_more_than_others():
    random = np.random.default_rng(4)
    member, label, group = random.integers(1, 4, 400), random.choice(list("abc"), 400), np.arange(400) % 8
    weights = random.multinomial(8, np.full(8, 1 / 8), size=500).astype(float)
    assert abs(agreement(member, label, group, weights)["ari"].mean()) < 0.01


def test_the_table_and_report_of_a_run(tmp_path):
    scores = clustered_scores()
    rows, report = found_in(tmp_path, scores)
    threshold = choose_thresholds(scores.score[scores.part == "train"], [0.95])[0]
    rejected = (scores.part == "test") & (scores.score < threshold)
    assert sorted(row["clip"] for row in rows) == sorted(scores.clip[rejected].tolist())
    assert tuple(rows[0]) == COLUMNS
    wrong = sorted(scores.label[rejected & scores.known].tolist())
    assert wrong and sorted(n for n, count in report["wrongly_rejected"].items() for _ in range(count)) == wrong
    assert report["n_rejected"] == rejected.sum() and report["n_rejected_unknown"] == (rejected & ~scores.known).sum()
    assert report["unknown_classes"] == 3 and report["clusters"] >= 3
    over = report["agreement"]["unknown"]
    assert over["labels"] == 3 and over["chosen"]["ari"]["value"] > 0.9 and over["given"]["ari"]["value"] > 0.9
    for entry in (over["chosen"], report["agreement"]["all"]["chosen"]):
        for metric in ("nmi", "ari"):
            assert entry[metric]["lo"] <= entry[metric]["value"] <= entry[metric]["hi"] + 1e-9
    truth = [row["label"] for row in rows if row["known"] == "false"]
    member = [row["cluster"] for row in rows if row["known"] == "false"]
    assert over["chosen"]["ari"]["value"] == pytest.approx(adjusted_rand_score(truth, member))
    for entry in report["of_clusters"]:
        own = [row for row in rows if row["cluster"] == str(entry["cluster"])]
        assert [int(row["rank"]) for row in own] == [*range(1, len(own) + 1)] and entry["clips"] == len(own)
        away = [float(row["distance"]) for row in own]
        assert away == sorted(away)
        chosen = [row for row in own if row["exemplar"] == "true"]
        groups = {row["group"] for row in own}
        assert len(chosen) == min(3, len(own)) and chosen[0]["rank"] == "1"
        assert len({row["group"] for row in chosen}) == min(3, len(groups))
        assert sum(entry["labels"].values()) == len(own)
        assert entry["purity"] == pytest.approx(max(entry["labels"].values()) / len(own))


def test_the_nearest_known_class_of_every_feature(tmp_path):
    scores = clustered_scores()
    rows, _ = found_in(tmp_path, scores)
    train = scores.part == "train"
    for name, flag in (("text", "no_text"), ("vision", "no_video"), ("audio", "no_audio"), ("fused", "none")):
        values = scores.features[name].astype(float)
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        has = np.array([flag not in text.split(";") for text in scores.flags.tolist()])
        own = train & has
        z = (unit - unit[own].mean(axis=0)) / unit[own].std(axis=0)
        means = np.array([z[own & (scores.label == known)].mean(axis=0) for known in scores.classes])
        for row in rows:
            at = scores.clip.tolist().index(row["clip"])
            wanted = scores.classes[np.linalg.norm(z[at] - means, axis=1).argmin()] if has[at] else ""
            assert row[f"nearest_{name}"] == wanted
    assert {row["nearest_audio"] for row in rows} > {""} and "" not in {row["nearest_vision"] for row in rows}


def test_labels_of_test_clips_decide_nothing(tmp_path):
    scores = clustered_scores()
    unknown = np.flatnonzero((scores.part == "test") & ~scores.known)
    label = scores.label.copy()
    label[unknown] = np.random.default_rng(9).permutation(label[unknown])
    one, two = found_in(tmp_path / "one", scores), found_in(tmp_path / "two", scores._replace(label=label))
    for row, other in zip(one[0], two[0], strict=True):
        assert {k: v for k, v in row.items() if k != "label"} == {k: v for k, v in other.items() if k != "label"}
    for name in ("clusters", "cut", "p", "silhouettes", "threshold", "ari_group"):
        assert one[1][name] == two[1][name]
    assert two[1]["agreement"]["unknown"]["chosen"]["ari"]["value"] < 0.3
    assert one[1]["agreement"]["unknown"]["chosen"]["ari"]["value"] > 0.9


def test_the_same_scores_give_the_same_bytes(tmp_path):
    scores = clustered_scores()
    for name in ("one", "two"):
        found_in(tmp_path / name, scores)
    for one, two in zip(outputs(tmp_path / "one"), outputs(tmp_path / "two"), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_what_stands_for_an_absent_modality_is_not_looked_at(tmp_path):
    scores = clustered_scores()
    noisy = {name: values.copy() for name, values in scores.features.items()}
    noisy["audio"][np.char.find(scores.flags, "no_audio") >= 0] = 1e6
    rows, _ = found_in(tmp_path / "one", scores)
    others, _ = found_in(tmp_path / "two", scores._replace(features=noisy))
    assert rows == others


def test_few_or_no_rejected_clips_and_no_features_are_told(tmp_path):
    scores = clustered_scores()
    few = scores.score.copy()
    test = np.flatnonzero(scores.part == "test")
    few[test] = 1
    few[test[:4]] = -1
    rows, report = found_in(tmp_path / "few", scores._replace(score=few))
    assert len(rows) == 4 and {row["cluster"] for row in rows} == {""} and rows[0]["nearest_text"]
    assert report["note"] == "4 rejected clips, too few to cluster (10)" and "clusters" not in report
    few[test] = 1
    rows, report = found_in(tmp_path / "none", scores._replace(score=few))
    assert rows == [] and report["n_rejected"] == 0 and report["agreement"] == {}
    rows, report = found_in(tmp_path / "bare", scores._replace(features={}))
    assert rows and report["note"] == "no feature to cluster"
    constant = {"text": np.ones((120, 3), np.float32)}
    rows, report = found_in(tmp_path / "constant", scores._replace(features=constant))
    assert report["note"] == "no feature to cluster" and {row["nearest_text"] for row in rows} == {""}


def test_without_labels_there_are_clusters_and_no_agreement(tmp_path):
    scores = clustered_scores()
    label = np.where(scores.known, scores.label, "")
    score = np.where(scores.known & (scores.part == "test"), 1.0, scores.score)
    rows, report = found_in(tmp_path, scores._replace(label=label, score=score))
    assert report["clusters"] >= 3 and {row["label"] for row in rows} == {""}
    assert report["agreement"] == {over: {"clips": 0, "labels": 0} for over in ("all", "unknown")}
    assert {entry["purity"] for entry in report["of_clusters"]} == {None}


def test_a_feature_that_is_not_finite_names_the_clip(tmp_path):
    scores = clustered_scores()
    text = scores.features["text"].copy()
    text[50, 2] = np.nan
    with pytest.raises(HcepError, match="clip 0050 ä: feature text is not finite") as caught:
        found_in(tmp_path, scores._replace(features={"text": text}))
    assert caught.value.file == tmp_path / "scores.h5" and not (tmp_path / "unknowns.csv").exists()


def test_another_acceptance_rejects_other_clips(tmp_path):
    scores = clustered_scores()
    some, more = reject(scores, 0.95), reject(scores, 0.5)
    assert set(some.at) < set(more.at) and more.threshold > some.threshold
    _, report = found_in(tmp_path, scores, acceptance=0.5, most_clusters=2, exemplars=1)
    assert report["n_rejected"] == len(more.at) and report["cut"] == 2 and report["acceptance"] == 0.5


def test_the_summary_averages_over_runs(tmp_path):
    runs, reports = [], []
    for number, score_of in enumerate((None, 1.0)):
        scores = clustered_scores(split=f"split{number + 1}")
        if score_of is not None:
            # the second run rejects nothing
            scores = scores._replace(score=np.where(scores.part == "test", score_of, scores.score))
        folder = tmp_path / scores.split
        reports.append(found_in(folder, scores)[1])
        runs.append(folder)
    unknowns_summary(runs, "demo", tmp_path / "unknowns.csv")
    (row,) = read_table(tmp_path / "unknowns.csv")
    wanted = {"method": "hcep", "openness": "k3u2", "splits": "2", "seeds": "1", "runs": "2", "clustered": "1"}
    assert {name: row[name] for name in wanted} == wanted
    assert row["note"].startswith("stand-in encoders or composite data; 1 of 2 runs not clustered")
    assert float(row["rejected"]) == pytest.approx(reports[0]["n_rejected"] / 2)
    ari = reports[0]["agreement"]["unknown"]["chosen"]["ari"]
    assert row["unknown_chosen_runs"] == "1"
    found = [float(row[f"unknown_chosen_ari{part}"]) for part in ("", "_lo", "_hi")]
    assert found == pytest.approx([ari["value"], ari["lo"], ari["hi"]], abs=6e-4)
    # of two runs the interval is that of the mean of their replicates
    other, noise = tmp_path / "other", {"text": np.random.default_rng(0).normal(size=(120, 5))}
    _, report = found_in(other, clustered_scores(split="split2", features=noise))
    unknowns_summary([runs[0], other], "demo", tmp_path / "both.csv")
    (both,) = read_table(tmp_path / "both.csv")
    draws = [read_unknowns(folder).replicates["unknown given nmi"] for folder in (runs[0], other)]
    values = [one["agreement"]["unknown"]["given"]["nmi"]["value"] for one in (reports[0], report)]
    wanted = [np.mean(values), *np.percentile(np.mean(draws, axis=0), [2.5, 97.5])]
    found = [float(both[f"unknown_given_nmi{part}"]) for part in ("", "_lo", "_hi")]
    assert found == pytest.approx(wanted, abs=6e-4) and values[0] != values[1]
    assert both["unknown_chosen_runs"] == "2" and "not clustered" not in both["note"]


def test_the_summary_refuses_stale_and_other_runs(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    found_in(one, clustered_scores())
    found_in(two, clustered_scores(split="split2"), acceptance=0.9)
    output = tmp_path / "unknowns.csv"
    with pytest.raises(HcepError, match="no run of task demo"):
        unknowns_summary([], "demo", output)
    with pytest.raises(HcepError, match=r"acceptance is 0\.9, expected 0\.95"):
        unknowns_summary([one, two], "demo", output)
    with pytest.raises(HcepError, match="task is 'demo', expected 'mafw'"):
        unknowns_summary([one], "mafw", output)
    write_scores(one / "scores.h5", clustered_scores(seed=7))
    with pytest.raises(HcepError, match="replaced after their unknown clips were clustered"):
        unknowns_summary([one], "demo", output)
    (one / "scores.h5").unlink()
    with pytest.raises(HcepError, match=r"scores\.h5.*does not exist"):
        unknowns_summary([one], "demo", output)
    (one / "unknowns.h5").write_text("x")
    with pytest.raises(HcepError, match=r"not a whole HDF5 file.*run the unknowns step"):
        unknowns_summary([one], "demo", output)
    (one / "unknowns.h5").unlink()
    with pytest.raises(HcepError, match=r"unknowns\.h5.*is missing"):
        unknowns_summary([one], "demo", output)
    assert not output.exists()
