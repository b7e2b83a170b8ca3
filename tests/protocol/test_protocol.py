"""Who is known, trained on and tested: the rules of the open-set protocol."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reseal import reseal

from hcep.datasets.manifest_file import Clip, read_manifest, write_manifest
from hcep.errors import HcepError
from hcep.protocol.class_splits import (
    check_class_splits,
    draw_class_splits,
    read_class_splits,
    write_class_splits,
)
from hcep.protocol.make_split import make_split, read_split
from hcep.protocol.openness import openness_value, parse_openness
from hcep.protocol.partition import Folds, partition

SPLITS = Path(__file__).parents[2] / "config" / "splits"
MAFW = [
    "anger",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
    "contempt",
    "anxiety",
    "helplessness",
    "disappointment",
]
SMALL = ["anger", "disgust", "fear"]
MOSEI = ["happiness", "sadness", "anger", "disgust", "fear", "surprise"]
RAVDESS = ["neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise"]
# class names of any script, without control characters, line ends and lone surrogates
PRINTABLE = st.characters(exclude_categories=["C", "Z"])
COMMITTED = {
    "demo": (MAFW, ["k8u2", "k4u6"]),
    "mafw": (MAFW, ["k8u2", "k6u4", "k4u6", "k2u8"]),
    "cmu_mosei": (MOSEI, ["k5u1", "k4u2", "k3u3", "k2u4"]),
    "ravdess": (RAVDESS, ["k5u2", "k3u4"]),
    "meld": (["neutral", "happiness", "surprise", "anger", "sadness", "disgust", "fear"], ["k5u2", "k3u4"]),
    "crema_d": (["neutral", "happiness", "sadness", "anger", "fear", "disgust"], ["k4u2", "k2u4"]),
}


def a_clip(name: str, label: str, fold: str, group: str = "", dataset: str = "corpus") -> Clip:
    return Clip(
        clip=name,
        dataset=dataset,
        video=f"{name}.mp4",
        audio=f"{name}.mp4",
        start=None,
        end=None,
        text="words",
        text_kind="transcript",
        language="en",
        label=label,
        labels=label,
        group=group or name,
        fold=fold,
        flags="",
        box="",
    )


@st.composite
def corpora(draw: st.DrawFn) -> list[Clip]:
    """Clips of 5 classes, some unlabelled or foreign; each group has one fold, each class a clip in every fold."""
    clips = [a_clip(f"base-{label}-{fold}", label, fold) for label in MAFW[:5] for fold in ("1", "2", "3")]
    fold_of = {group: str(group % 3 + 1) for group in range(12)}
    for number in range(draw(st.integers(0, 40))):
        group = draw(st.integers(0, 11))
        label = draw(st.sampled_from([*MAFW[:5], "", "boredom"]))
        clips.append(a_clip(f"c{number:02}", label, fold_of[group], f"speaker {group}"))
    return clips


# --- openness ------------------------------------------------------------------------------------------------------


@given(st.integers(2, 500), st.integers(1, 500))
def test_openness_name_round_trip(known: int, unknown: int) -> None:
    assert parse_openness(f"k{known}u{unknown}") == (known, unknown)


@pytest.mark.parametrize("name", ["", "k8", "8u2", "k0u2", "k8u0", "K8U2", "k8u2 ", "k08u2", "k-1u2", "k8u2\n", "k٣u2"])
def test_openness_name_refused(name: str) -> None:
    with pytest.raises(HcepError, match=r"is not an openness.*k8u2"):
        parse_openness(name)


def test_one_known_class_is_refused_wherever_classes_are_divided(tmp_path: Path) -> None:
    message = r"1 known class: with fewer than 2 there is nothing to tell apart.*Remedy: .*at least 2 known classes"
    with pytest.raises(HcepError, match=message):
        parse_openness("k1u5")
    with pytest.raises(HcepError, match=message):
        draw_class_splits(MAFW, 1, 5, 1, 0)
    with pytest.raises(HcepError, match=message):
        write_class_splits(tmp_path / "s.yaml", MAFW, ["k2u1", "k1u5"], task="t")
    assert not (tmp_path / "s.yaml").exists()
    (tmp_path / "s.yaml").write_text("k1u1: {split1: {known: [anger], unknown: [fear]}}")
    with pytest.raises(HcepError, match=message):
        read_class_splits(tmp_path / "s.yaml", "k1u1", MAFW)
    with pytest.raises(HcepError, match=message):
        make_split([], tmp_path / "s.yaml", "t", "k1u1", "split1", tmp_path / "o", labels=MAFW, test_folds=["1"])
    clips = [a_clip(f"{label}{fold}", label, fold) for label in MAFW[:2] for fold in "12"]
    with pytest.raises(HcepError, match=message):
        partition(clips, MAFW[:1], MAFW[1:2], Folds(["2"]))


def test_openness_values_of_the_paper() -> None:
    printed = {(8, 2): 0.11, (6, 4): 0.23, (4, 6): 0.37, (2, 8): 0.55, (10, 32): 0.51}
    assert {pair: round(openness_value(*pair), 2) for pair in printed} == printed
    with pytest.raises(HcepError):
        openness_value(0, 3)


# --- class splits --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.data())
def test_draw_is_distinct_deterministic_and_in_label_order(data: st.DataObject) -> None:
    labels = data.draw(st.permutations(MAFW))
    known = data.draw(st.integers(2, 9))
    unknown = data.draw(st.integers(1, 10 - known))
    count, seed = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 99))
    splits = draw_class_splits(labels, known, unknown, count, seed)
    assert len(splits) == count == len(set(splits))
    assert splits == draw_class_splits(labels, known, unknown, count, seed)
    for split in splits:
        assert (len(split.known), len(split.unknown)) == (known, unknown)
        assert not set(split.known) & set(split.unknown)
        for side in split:
            assert list(side) == [label for label in labels if label in side]
    # the order of the labels decides the ids, not who is known
    reordered = draw_class_splits(labels[::-1], known, unknown, count, seed)
    assert [set(split.known) for split in reordered] == [set(split.known) for split in splits]


def test_draw_depends_on_the_seed() -> None:
    assert len({tuple(draw_class_splits(MAFW, 6, 4, 4, seed)) for seed in range(5)}) == 5


def test_draw_covers_all_divisions_alike() -> None:
    drawn = Counter(draw_class_splits(MOSEI, 5, 1, 1, seed)[0].unknown for seed in range(600))
    assert len(drawn) == 6
    assert min(drawn.values()) > 60  # 100 expected of each


def test_draw_says_when_too_few_exist() -> None:
    with pytest.warns(UserWarning, match="only 6 distinct"):
        splits = draw_class_splits(MOSEI, 5, 1, 9, 0)
    assert {split.unknown[0] for split in splits} == set(MOSEI)
    with pytest.warns(UserWarning, match="only 1 distinct"):
        assert len(draw_class_splits(MOSEI, 6, 0, 4, 0)) == 1


@pytest.mark.parametrize(("labels", "known"), [(["a", "b", "c", "a"], 2), (["a", "b"], 2), (["a", "b"], 1)])
def test_draw_refuses(labels: list[str], known: int) -> None:
    with pytest.raises(HcepError):
        draw_class_splits(labels, known, 1, 1, 0)


@pytest.mark.parametrize("task", sorted(COMMITTED))
def test_committed_splits_are_the_documented_draw(task: str, tmp_path: Path) -> None:
    labels, opennesses = COMMITTED[task]
    write_class_splits(tmp_path / "again.yaml", labels, opennesses, task=task)
    assert (tmp_path / "again.yaml").read_bytes() == (SPLITS / f"{task}.yaml").read_bytes()


@pytest.mark.parametrize("task", sorted(COMMITTED))
def test_committed_splits_are_four_and_distinct(task: str) -> None:
    labels, opennesses = COMMITTED[task]
    assert list(yaml.safe_load((SPLITS / f"{task}.yaml").read_text())) == opennesses
    for openness in opennesses:
        splits = read_class_splits(SPLITS / f"{task}.yaml", openness, labels)
        assert list(splits) == ["split1", "split2", "split3", "split4"]
        assert len({frozenset(split.known) for split in splits.values()}) == 4


def test_splits_that_are_there_are_not_drawn_over(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    for _ in range(2):
        write_class_splits(path, "abcde", ["k3u2"], task="t")
    before = path.read_bytes()
    for change in ({"seed": 1}, {"count": 3}):
        with pytest.raises(HcepError, match=r"k3u2.split\d: is there already.*class_splits"):
            write_class_splits(path, "abcde", ["k3u2"], task="t", **change)
    with pytest.raises(HcepError, match=r"k3u2.split1: is there already"):
        write_class_splits(path, "abcde", ["k2u2"], task="t")
    assert path.read_bytes() == before
    # one more level, and more splits of one, take nothing away
    earlier = read_class_splits(path, "k3u2", "abcde")
    write_class_splits(path, "abcde", ["k2u2", "k3u2"], count=5, task="t")
    now = read_class_splits(path, "k3u2", "abcde")
    assert len(now) == 5 and {name: now[name] for name in earlier} == earlier
    assert len(read_class_splits(path, "k2u2", "abcde")) == 5
    path.write_text("k3u2: nothing\n")
    with pytest.raises(HcepError, match="k3u2: holds no split"):
        write_class_splits(path, "abcde", ["k3u2"], task="t")
    path.write_text("k3u2: {split1: {known: [a, b, c], unknown: [d], unknown_stands_for: 2}}\n")
    with pytest.raises(HcepError, match=r"k3u2.split1: is there already"):
        write_class_splits(path, "abcde", ["k3u2"], task="t")


def test_levels_and_splits_of_a_task_are_checked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    write_class_splits(path, "abcde", ["k3u2", "k2u2"], task="t")
    check_class_splits(path, ["k3u2", "k2u2"], ["split1", "split4"], "abcde")
    with pytest.raises(HcepError, match="k2u2: no split5, only split1"):
        check_class_splits(path, ["k2u2"], ["split1", "split5"], "abcde")
    with pytest.raises(HcepError, match="no splits for k4u1, only for k3u2, k2u2"):
        check_class_splits(path, ["k3u2", "k4u1"], ["split1"], "abcde")


@given(labels=st.lists(st.text(PRINTABLE, min_size=1, max_size=8), min_size=3, max_size=6, unique=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_written_splits_read_back_whatever_the_names(labels: list[str], tmp_path: Path) -> None:
    labels = list(dict.fromkeys([*labels, "no", "1.5", "a: b", "#"]))
    (tmp_path / "s.yaml").unlink(missing_ok=True)
    written = write_class_splits(tmp_path / "s.yaml", labels, ["k3u2"], count=3, task="t")
    assert read_class_splits(tmp_path / "s.yaml", "k3u2", labels) == written["k3u2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("k2u1: {a: {known: [fear, anger], unknown: [angr]}}", r"k2u1.a: 'angr' is not a class.*did you mean 'anger'"),
        ("k2u1: {a: {known: [fear, Anger], unknown: [disgust]}}", "did you mean 'anger'"),
        ("k2u1: {a: {known: [fear, joyful], unknown: [disgust]}}", "choose from anger, disgust"),
        (
            "k2u1: {a: {known: [fear, no], unknown: [disgust]}}",
            "False is not text.*yes, on, no and off for true and false.*quotes",
        ),
        ("k2u1: {a: {known: [fear, anger], unknown: [fear]}}", "fear on both sides"),
        ("k2u1: {a: {known: [fear], unknown: [anger]}}", "known has 1 classes, the openness says 2"),
        ("k2u1: {a: {known: [fear, fear], unknown: [anger]}}", "lists 'fear' twice"),
        ("k2u1: {a: {known: [fear, anger]}}", "needs the keys known and unknown"),
        ("k2u1: {a: {known: fear, unknown: [anger]}}", "not a list"),
        (
            "k2u1: {a: {known: [fear, anger], unknown: [disgust]}, b: {known: [anger, fear], unknown: [disgust]}}",
            r"k2u1.b: the same classes as k2u1.a",
        ),
        ("k2u1:\n  a: {known: [fear, anger], unknown: [disgust]}\n  a: {}", r"row 3: not valid YAML: 'a' occurs twice"),
        ("k2u1: [", "row 1: not valid YAML"),
        ("- k2u1", "not a mapping"),
        ("k2u1: {}", "holds no split"),
        ("k3u1: {}", "no splits for k2u1, only for k3u1"),
    ],
)
def test_faulty_class_splits_are_explained(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "splits.yaml"
    path.write_text(text)
    with pytest.raises(HcepError, match=message) as caught:
        read_class_splits(path, "k2u1", MAFW)
    assert str(path) in str(caught.value)


def test_missing_class_splits_file(tmp_path: Path) -> None:
    with pytest.raises(HcepError, match="no such file of class splits"):
        read_class_splits(tmp_path / "none.yaml", "k2u1", MAFW)


def test_class_ids_follow_the_label_order(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("k2u1: {a: {known: [fear, anger], unknown: [disgust]}}")
    assert read_class_splits(tmp_path / "s.yaml", "k2u1", MAFW)["a"].known == ("anger", "fear")


# --- partition -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "known", "unknown", "value"),
    [("mafw_compound", 10, 32, 0.51), ("ov_merd", 6, 1, 0.84), ("cross", 6, 4, 0.23)],
)
def test_tasks_with_one_partition(task: str, known: int, unknown: int, value: float) -> None:
    config = yaml.safe_load((SPLITS.parent / "config.yaml").read_text(encoding="utf-8"))
    entry = config["task_definitions"][task]
    (openness,) = entry["openness"]
    splits = read_class_splits(SPLITS / f"{task}.yaml", openness, entry["labels"])
    assert list(splits) == entry["splits"] == ["split1"] and len(entry["seeds"]) == 4
    assert (len(splits["split1"].known), len(splits["split1"].unknown)) == (known, unknown)
    # openness as the paper prints it
    assert round(openness_value(*parse_openness(openness)), 2) == value


@settings(deadline=None)
@given(corpora(), st.sampled_from(["1", "2", "3"]), st.sampled_from([0.0, 0.3, 0.5]), st.integers(0, 9))
def test_partition_rules(clips: list[Clip], fold: str, fraction: float, seed: int) -> None:
    known, unknown = MAFW[:3], MAFW[3:5]
    found = partition(clips, known, unknown, Folds([fold]), val_fraction=fraction, val_seed=seed)
    by_name = {clip.clip: clip for clip in clips}
    # every clip of the test fold that has a label of the split is used exactly once, and nothing else is tested
    tested = Counter(found.test_known + found.test_unknown)
    assert tested == Counter(clip.clip for clip in clips if clip.fold == fold and clip.label in MAFW[:5])
    assert {by_name[clip].label for clip in found.test_unknown} <= set(unknown)
    assert {by_name[clip].label for clip in found.test_known} == set(known)
    # unknown classes are never learnt from; known clips of the other folds all are, either way
    learnt = Counter(found.train + found.val)
    assert learnt == Counter(clip.clip for clip in clips if clip.fold != fold and clip.label in known)
    assert {by_name[clip].label for clip in found.train} == set(known)
    # no group on two sides
    sides = [found.train, found.val, found.test_known + found.test_unknown]
    groups = [{by_name[clip].group for clip in side} for side in sides]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    # nothing is lost without being counted
    assert sum(
        map(sum, (counts.values() for counts in found.left_out.values()))
    ) + tested.total() + learnt.total() == len(clips)
    assert set(found.labels) == set(found.groups) == set(tested) | set(learnt)
    assert bool(found.val) == (fraction > 0)
    if fraction:
        total, held = (Counter(by_name[clip].label for clip in side) for side in (found.train + found.val, found.val))
        # holding out must bring the shares closer to what was asked for than holding out nothing
        assert sum(abs(held[label] / total[label] - fraction) for label in known) < len(known) * fraction


@settings(deadline=None)
@given(corpora(), st.randoms(use_true_random=False))
def test_partition_ignores_the_order_of_rows(clips: list[Clip], shuffler: random.Random) -> None:
    shuffled = shuffler.sample(clips, len(clips))
    arguments = {"folds": Folds(["2"]), "val_fraction": 0.3, "val_seed": 4}
    first = partition(clips, MAFW[:3], MAFW[3:5], **arguments)
    assert first == partition(shuffled, MAFW[:3], MAFW[3:5], **arguments)
    assert list(first.labels) == sorted(first.labels)


def test_val_is_stratified_where_groups_are_clips() -> None:
    sizes = {"anger": 40, "disgust": 20, "fear": 10}
    clips = [a_clip(f"{label}{i}", label, "1") for label, size in sizes.items() for i in range(size)]
    clips += [a_clip(f"t-{label}", label, "2") for label in [*sizes, "happiness"]]
    found = partition(clips, list(sizes), ["happiness"], Folds(["2"]), val_fraction=0.2, val_seed=1)
    assert Counter(found.labels[clip] for clip in found.val) == {"anger": 8, "disgust": 4, "fear": 2}
    other = partition(clips, list(sizes), ["happiness"], Folds(["2"]), val_fraction=0.2, val_seed=2)
    assert other.val != found.val and other.test_known == found.test_known


def test_left_out_is_counted_by_reason() -> None:
    clips = [a_clip(f"{label}{fold}", label, fold) for label in (*SMALL, "boredom", "") for fold in "12"]
    found = partition(clips, SMALL[:2], ["fear"], Folds(["2"]))
    assert found.left_out == {
        "label outside the split": {"boredom": 2},
        "unknown class in a training fold": {"fear": 1},
        "no label": {"": 2},
    }
    assert found.train == ("anger1", "disgust1") and found.test_known == ("anger2", "disgust2")
    assert found.test_unknown == ("fear2",)


def test_unknown_training_clips_may_share_a_group_with_test() -> None:
    clips = [a_clip(f"{label}1", label, "1") for label in SMALL[:2]]
    clips += [a_clip(f"{label}2", label, "2", "g") for label in SMALL]
    dropped = a_clip("fear1", "fear", "1", "g")
    assert partition([*clips, dropped], SMALL[:2], ["fear"], Folds(["2"])).train == ("anger1", "disgust1")


@pytest.mark.parametrize("label", ["anger", "fear"])
def test_group_on_both_sides_is_refused(label: str) -> None:
    clips = [a_clip(f"{name}{fold}", name, fold) for name in SMALL for fold in "12"]
    clips += [a_clip("trained", "anger", "1", "speaker 7"), a_clip("tested", label, "2", "speaker 7")]
    with pytest.raises(HcepError, match=r"'speaker 7' is on both sides: clip 'trained' .* clip 'tested'"):
        partition(clips, SMALL[:2], ["fear"], Folds(["2"]))


def test_groups_of_two_datasets_are_not_confused() -> None:
    clips = [a_clip(f"{name}{fold}", name, fold) for name in SMALL for fold in "12"]
    clips += [a_clip("x", "anger", "1", "7", dataset="one"), a_clip("y", "anger", "2", "7", dataset="two")]
    found = partition(clips, SMALL[:2], ["fear"], Folds(["2"]))
    assert (found.groups["x"], found.groups["y"]) == ("one/7", "two/7")


@pytest.mark.parametrize(
    ("drop", "arguments", "message"),
    [
        ("anger1", {}, "known class 'anger' has no clip outside the test fold"),
        ("anger2", {}, "known class 'anger' has no clip in the test fold"),
        ("fear2", {}, "no clip of the unknown classes fear in fold"),
        ("", {"folds": Folds(["tset 2"])}, "no clip has the test fold 'tset 2'"),
        ("", {"folds": Folds([])}, "no test fold is named"),
        ("", {"folds": Folds(["2"], ["3"])}, "no clip has the training fold '3'"),
        ("", {"folds": Folds(["2"], ["1"], ["vla"])}, "no clip has the validation fold 'vla'"),
        ("", {"folds": Folds(["2"], ["1", "2"])}, "fold '2' is named for two parts"),
        ("", {"folds": Folds(["2"], ["1"], ["1"])}, "fold '1' is named for two parts"),
        ("", {"min_train": 2}, "only 0 of the known classes have 2 training clips"),
        ("", {"val_fraction": 1.0}, r"not in \[0, 1\)"),
        ("", {"val_fraction": 0.3}, "no group can be held out"),
    ],
)
def test_partition_refuses(drop: str, arguments: dict[str, object], message: str) -> None:
    clips = [a_clip(f"{label}{fold}", label, fold) for label in ("anger", "disgust", "fear") for fold in "12"]
    kept = [clip for clip in clips if clip.clip != drop]
    with pytest.raises(HcepError, match=message):
        partition(kept, ["anger", "disgust"], ["fear"], **({"folds": Folds(["2"])} | arguments))


def test_unused_folds_are_left_out_and_counted() -> None:
    clips = [a_clip(f"{label}{fold}", label, fold) for label in SMALL for fold in ("1", "2", "3", "none")]
    found = partition(clips, SMALL[:2], ["fear"], Folds(["2"], ["1"], ["3"]))
    assert (found.train, found.val) == (("anger1", "disgust1"), ("anger3", "disgust3"))
    assert (found.test_known, found.test_unknown) == (("anger2", "disgust2"), ("fear2",))
    assert found.left_out == {
        "fold neither trained nor tested on": {"anger": 1, "disgust": 1, "fear": 1},
        "unknown class in a training fold": {"fear": 2},
    }


def test_a_validation_group_in_test_is_refused() -> None:
    clips = [a_clip(f"{label}{fold}", label, fold) for label in SMALL for fold in "12"]
    clips += [a_clip("v", "anger", "3", "speaker 7"), a_clip("t", "anger", "2", "speaker 7")]
    with pytest.raises(HcepError, match="'speaker 7' is on both sides"):
        partition(clips, SMALL[:2], ["fear"], Folds(["2"], ["1"], ["3"]))


def test_classes_with_too_few_training_clips_are_named_and_left_out() -> None:
    sizes = {"anger": 5, "disgust": 1, "fear": 0, "happiness": 4, "open": 3}
    clips = [a_clip(f"{name}{i}", name, "1") for name, size in sizes.items() for i in range(size)]
    clips += [a_clip(f"t-{name}", name, "2") for name in sizes]
    found = partition(clips, ["anger", "disgust", "fear", "happiness"], ["open"], Folds(["2"]), min_train=2)
    assert found.known == ("anger", "happiness") and found.left_out_classes == ("disgust", "fear")
    assert found.test_known == ("t-anger", "t-happiness") and found.test_unknown == ("t-open",)
    # neither known nor unknown: a class that could not be learnt says nothing about either
    assert found.left_out["class with too few training clips"] == {"disgust": 2, "fear": 1}


def test_one_unknown_class_may_stand_for_many_names(tmp_path: Path) -> None:
    sides = "known: [anger, fear], unknown: [disgust]"
    (tmp_path / "s.yaml").write_text(f"k2u236: {{split1: {{{sides}, unknown_stands_for: 236}}}}")
    assert read_class_splits(tmp_path / "s.yaml", "k2u236", MAFW)["split1"].unknown == ("disgust",)
    (tmp_path / "s.yaml").write_text(f"k2u236: {{split1: {{{sides}, unknown_stands_for: 200}}}}")
    with pytest.raises(HcepError, match=r"k2u236.split1: unknown_stands_for is 200, the openness says 236"):
        read_class_splits(tmp_path / "s.yaml", "k2u236", MAFW)


def test_repeated_clip_ids_are_refused() -> None:
    clips = [a_clip("same", "anger", "1"), a_clip("same", "anger", "2")]
    with pytest.raises(HcepError, match="'same' occurs more than once"):
        partition(clips, ["anger"], ["fear"], Folds(["2"]))


# --- the split file ------------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    clips = [
        a_clip(f'{label} {i} é"x', label, str(i % 3), f"g{i}") for label in [*MAFW, "neutral", ""] for i in range(9)
    ]
    write_manifest(tmp_path / "manifest.tsv", clips)
    return tmp_path / "manifest.tsv"


def test_split_file(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "splits" / "split1.json"
    arguments = {"labels": MAFW, "test_folds": ["0"], "val_fraction": 0.34, "val_seed": 3}
    written = make_split(corpus, SPLITS / "mafw.yaml", "mafw", "k6u4", "split2", output, **arguments)
    assert read_split(output) == written
    assert (len(written.train), len(written.val)) == (24, 12)
    assert (len(written.test_known), len(written.test_unknown)) == (18, 12)
    content = json.loads(output.read_text(encoding="utf-8"))
    assert content["counts"]["test_unknown"] == dict.fromkeys(written.unknown, 3)
    assert content["left_out"]["label outside the split"] == {"neutral": 9}
    assert content["left_out"]["no label"] == {"": 9}
    assert math.isclose(content["openness_value"], 1 - math.sqrt(0.6))
    first = output.read_bytes()
    write_manifest(corpus, read_manifest(corpus)[::-1])
    make_split([corpus], SPLITS / "mafw.yaml", "mafw", "k6u4", "split2", output, **arguments)
    assert output.read_bytes() == first


def test_what_a_reader_must_know_of_the_clips_is_remarked(corpus: Path, tmp_path: Path, capsys) -> None:
    clips = [clip for clip in read_manifest(corpus) if clip.label != "surprise" or clip.fold != "0"]
    clips += [a_clip(f"other {i}", "boredom", "1", "g1") for i in range(2)]
    clips += [a_clip("on purpose", "unhappiness", "1", "g1")]
    write_manifest(corpus, clips)
    output = tmp_path / "split.json"
    arguments = {"labels": MAFW, "test_folds": ["0"], "other_labels": ["unhappiness"]}
    written = make_split(corpus, SPLITS / "mafw.yaml", "mafw", "k6u4", "split2", output, **arguments)
    assert written.remarks == (
        "unknown class surprise has no test clip",
        "label boredom (2 clips) is no class of the task",
        "label neutral (9 clips) is no class of the task",
        "label unhappiness (1 clips) is no class of the task",
    )
    said = capsys.readouterr().err.splitlines()
    assert said == [f"make_split mafw k6u4 split2: {remark}" for remark in written.remarks]
    assert read_split(output) == written


def test_a_file_under_two_names_on_both_sides_is_remarked(tmp_path: Path) -> None:
    clips = [a_clip(f"{label}{fold}", label, fold) for label in SMALL for fold in ("train", "test", "val")]
    (tmp_path / "s.yaml").write_text("k2u1: {split1: {known: [anger, disgust], unknown: [fear]}}")

    def remarks(**paths: str) -> tuple[str, ...]:
        changed = [clip._replace(video=paths.get(clip.clip, clip.video)) for clip in clips]
        write_manifest(tmp_path / "m.tsv", [clip._replace(audio=clip.video) for clip in changed])
        folds = {"test_folds": ["test"], "val_folds": ["val"]}
        split = make_split(
            tmp_path / "m.tsv", tmp_path / "s.yaml", "t", "k2u1", "split1", tmp_path / "o", labels=SMALL, **folds
        )
        assert read_split(tmp_path / "o").remarks == split.remarks
        return split.remarks

    assert remarks() == ()
    assert remarks(angertrain="v/a.mp4", disgusttest="./v//a.mp4") == (
        "1 test clip is of files that are trained on, e.g. v/a.mp4: angertrain in training, disgusttest in test",
    )
    # held-out clips choose the epoch, so they are on the side of training; unknown clips are tested, too
    assert remarks(angerval="v/a.mp4", disgusttest="v/a.mp4", feartest="v/a.mp4", angertest="v/A.mp4") == (
        "2 test clips are of files that are trained on, e.g. v/a.mp4: angerval in training, disgusttest in test",
    )
    # unknown clips of a training fold are not learnt from, and twice on one side is no leak
    assert remarks(feartrain="v/a.mp4", feartest="v/a.mp4", angertest="v/a.mp4", disgusttrain="angertrain.mp4") == ()


def test_make_split_names_file_and_split(corpus: Path, tmp_path: Path) -> None:
    arguments = {"labels": MAFW, "test_folds": ["7"]}
    with pytest.raises(HcepError, match=r"manifest\.tsv, k6u4 split2: no clip has the test fold '7'.*0, 1, 2"):
        make_split(corpus, SPLITS / "mafw.yaml", "mafw", "k6u4", "split2", tmp_path / "o.json", **arguments)
    with pytest.raises(HcepError, match=r"mafw\.yaml, k6u4: no split9, only split1"):
        make_split(corpus, SPLITS / "mafw.yaml", "mafw", "k6u4", "split9", tmp_path / "o.json", **arguments)
    assert not (tmp_path / "o.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("groups"), "lacks groups"),
        (lambda content: content["val"].append(content["train"][0]), "listed twice"),
        (lambda content: content["train"].append("stranger"), "'stranger': without label or group"),
        (lambda content: content["train"].append(content["test_unknown"].pop()), "must not be in train"),
        (
            lambda content: content["groups"].update(
                {content["test_known"][0]: content["groups"][content["train"][0]]}
            ),
            "is in training and in test",
        ),
        (lambda content: content.update(known=content["known"][:1]), "has 1 known classes, at least 2 are needed"),
    ],
)
def test_inconsistent_split_files_are_refused(change, message: str, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.json"
    make_split(corpus, SPLITS / "mafw.yaml", "mafw", "k6u4", "split2", output, labels=MAFW, test_folds=["0"])
    content = json.loads(output.read_text(encoding="utf-8"))
    change(content)
    output.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(HcepError, match=r"does not match its digest.*hcep make_split"):
        read_split(output)
    with pytest.raises(HcepError, match=message):
        read_split(reseal(output))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "s.json: the file does not exist"),
        ('{"a":\n,', "s.json, row 2: not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "has no digest of its content"),
    ],
)
def test_unreadable_split_files(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "s.json").write_text(text)
    with pytest.raises(HcepError, match=message):
        read_split(tmp_path / "s.json")
