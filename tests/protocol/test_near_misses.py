"""Labels and folds that almost match those of a task: what is refused, and what is another name."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from releases import cmu_mosei, crema_d, mafw, meld, ov_merd

from hcep import registry
from hcep.cli import main
from hcep.config.whole import Config
from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.errors import HcepError
from hcep.protocol.make_split import make_split
from hcep.protocol.near_misses import Names, check_names, near_fold, near_label, near_misses
from hcep.protocol.partition import Folds

REPOSITORY = Path(__file__).parents[2]
CONFIG = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8"))
COMPOUND = CONFIG["task_definitions"]["mafw_compound"]["labels"]
RELEASES = {"mafw": mafw, "mafw_compound": mafw, "cmu_mosei": cmu_mosei, "ov_merd": ov_merd} | {
    "meld": meld,
    "crema_d": crema_d,
}


@pytest.mark.parametrize(
    ("label", "meant"),
    [
        ("Anger", "anger"),
        ("ANGER ", "anger"),
        ("angry", "anger"),
        ("Angry", "anger"),
        ("angr", "anger"),
        ("faer", "fear"),
        ("scared", "fear"),
        ("Afraid", "fear"),
        ("fearful", "fear"),
        ("happy", "happiness"),
        ("Happyness", "happiness"),
        ("unhappiness", "happiness"),
        ("sad", "sadness"),
        ("surprised", "surprise"),
        ("suprise", "surprise"),
        ("disgusted", "disgust"),
        ("contemptuous", "contempt"),
        ("anxious", "anxiety"),
        ("Helpless", "helplessness"),
        ("disapointed", "disappointment"),
        ("anger-disgust", "anger_disgust"),
        ("AngerDisgust", "anger_disgust"),
        ("disgust anger", "anger_disgust"),
        ("angry_disgusted", "anger_disgust"),
        ("anger_disgsut", "anger_disgust"),
        ("ｆｅａｒ", "fear"),
    ],
)
def test_a_label_that_was_meant_to_be_a_class(label, meant):
    assert near_label(label, COMPOUND, CONFIG["words"]) == meant


@pytest.mark.parametrize(
    "label",
    [
        *(
            "neutral",
            "boredom",
            "calm",
            "joy",
            "content",
            "distrust",
            "hopelessness",
            "pride",
            "other",
            "open",
            "excited",
        ),
        *(
            "anger_contempt",
            "fear_sadness_contempt",
            "fear_happiness",
            "surprise_positive",
            "1",
            "-",
            "愤怒",
            "class_1",
        ),
    ],
)
def test_a_label_that_is_another_name(label):
    assert near_label(label, COMPOUND, CONFIG["words"]) is None


def test_no_compound_class_is_near_another():
    for label in COMPOUND:
        others = [other for other in COMPOUND if other != label]
        assert near_label(label, others, CONFIG["words"]) is None, label


def test_the_word_of_a_class_is_a_form_of_its_name():
    assert near_label("furious", ["anger", "fear"]) is None
    assert near_label("Furious", ["anger", "fear"], {"anger": "furious"}) == "anger"
    # of other tasks
    assert near_label("furious", ["fear"], {"anger": "furious"}) is None


@pytest.mark.parametrize(
    ("fold", "named", "meant"),
    [
        ("Test", ["test"], "test"),
        ("test.", ["test"], "test"),
        ("tset", ["test"], "test"),
        ("testing", ["test"], "test"),
        ("val", ["valid"], "valid"),
        ("validation", ["test", "valid"], "valid"),
        ("trian", ["train"], "train"),
        ("Set 1", ["set_1"], "set_1"),
        ("set_01", ["set_1"], "set_1"),
        ("tset_1", ["test_1"], "test_1"),
        ("train", ["test"], None),
        ("dev", ["test", "valid"], None),
        ("test2", ["test1"], None),
        ("test_b", ["test_a"], None),
        ("testB", ["testA"], None),
        ("2", ["1"], None),
        ("11", ["1"], None),
        ("1.1", ["11"], None),
        ("none", ["test"], None),
    ],
)
def test_folds(fold, named, meant):
    assert near_fold(fold, named) == meant


@given(st.sampled_from(["", "set_", "test", "fold ", "Set-", "f"]), st.integers(0, 30), st.integers(0, 30))
def test_folds_with_other_numbers_are_never_near(prefix, one, other):
    near = near_fold(f"{prefix}{one}", [f"{prefix}{other}"])
    assert (near is None) == (one != other)


@given(st.sampled_from(COMPOUND), st.data())
def test_case_and_signs_between_words_never_make_another_label(label, data):
    signs = data.draw(st.sampled_from(["_", " ", "-", "/", " & "]))
    spelt = "".join(data.draw(st.sampled_from([letter.upper(), letter])) for letter in label).replace("_", signs)
    assert near_label(f" {spelt}", [label]) == label


def names(**changes) -> Names:
    folds = Folds(*(changes.pop(part, default) for part, default in (("test", ["test"]), ("train", None), ("val", ()))))
    return Names(["anger", "happiness"], folds, **changes)


def test_all_misses_of_a_task_are_told_with_their_clips_and_the_way_out():
    clips = {("Angry", "train"): 2, ("Angry", "Test"): 1, ("unhappiness", "test"): 4, ("anger", ""): 9, ("", "test"): 3}
    with pytest.raises(HcepError) as caught:
        check_names(clips, names())
    error = caught.value
    assert "label 'Angry' (3 clips) is no class of the task, would be left out, but is near 'anger'" in error.cause
    assert "label 'unhappiness' (4 clips)" in error.cause and "near 'happiness'" in error.cause
    assert "fold 'Test' (1 clip) would be trained on, but is near 'test' of the task's test_folds" in error.cause
    assert "if 'unhappiness' is meant, add it to the task's other_labels" in error.remedy
    assert "write 'test' in the list of clips, or, if 'Test' is meant, name it in the task's test_folds" in error.remedy
    check_names(clips, names(other_labels=["Angry", "unhappiness"], test=["test", "Test"]))


def test_a_fold_that_is_left_out_is_told_as_such_and_a_named_one_is_no_miss():
    (miss,) = near_misses({("anger", "Train"): 2, ("anger", "train"): 2}, names(train=["train"]))
    assert "fold 'Train' (2 clips) would be left out, but is near 'train' of the task's train_folds" in miss.cause
    assert near_misses({("anger", "tests"): 2}, names(train=["tests"])) == []
    assert near_misses({("anger", "tests"): 2}, names(val=["tests"])) == []


@pytest.mark.parametrize("dataset", sorted(RELEASES))
def test_the_tasks_of_the_config_pass_on_releases_of_the_official_shape(dataset, tmp_path):
    RELEASES[dataset].make_release(tmp_path / "r", media=False)
    entry = CONFIG["datasets"][dataset]
    reader = registry.load(registry.dataset(entry["adapter"]))(tmp_path / "r", entry.get("options", {}))
    clips = Counter((clip.label, clip.fold) for clip in reader.clips())
    config = Config.read(CONFIG)
    tasks = [name for name, task in config.task_definitions.items() if dataset in task.dataset]
    assert tasks
    for task in tasks:
        given_names = config.names_of_task(task)
        folds = Folds(given_names["test_folds"], given_names["train_folds"], given_names["val_folds"])
        assert near_misses(clips, Names(given_names["labels"], folds, (), given_names["words"])) == [], task


def a_clip(label: str, fold: str, place: int) -> Clip:
    name = f"{label}{fold}{place}"
    video = f"{name}.mp4"
    return Clip(name, "d", video, video, None, None, "hi", "transcript", "en", label, label, name, fold, "", "")


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Clips of three classes, a label and a fold of their own, in train and test."""
    pairs = itertools.product(["anger", "fear", "happiness", "boredom", ""], ["train", "test", "extra"])
    write_manifest(tmp_path / "manifest.tsv", [a_clip(label, fold, n) for label, fold in pairs for n in range(2)])
    return tmp_path / "manifest.tsv"


LABELS = ["anger", "fear", "happiness"]


def test_the_file_says_how_each_task_takes_labels_and_folds(manifest, tmp_path, capsys):
    settings = """{"one": {"labels": ["anger", "fear", "joy"], "test_folds": ["test"], "other_labels": ["boredom"]},
        "two": {"labels": ["anger", "fear", "happiness"], "test_folds": ["test"], "train_folds": ["train"]}}"""
    output = tmp_path / "tasks.txt"
    assert main(["check_tasks", "--manifest", str(manifest), "--settings", settings, "--output", str(output)]) == 0
    one, two = output.read_text().split("task two\n")
    rows = [line.split() for line in one.splitlines()]
    assert ["anger", "6"] in rows and ["joy", "0"] in rows and ["happiness", "6"] in rows
    assert ["boredom", "other_labels", "6"] in rows and ["(none)", "6"] in rows
    assert ["test", "tested", "10"] in rows and ["extra", "trained", "on", "10"] in rows
    assert ["extra", "left", "out", "10"] in [line.split() for line in two.splitlines()]
    assert main(["check_tasks", "--manifest", str(manifest), "--settings", "{}", "--output", str(output)]) == 0
    assert output.read_text() == "no task of the config uses this dataset\n"
    assert capsys.readouterr().err == ""


def test_the_verb_names_task_and_manifest_and_writes_nothing(manifest, tmp_path, capsys):
    settings = '{"mine": {"labels": ["angry", "fear"], "test_folds": ["tset"]}}'
    output = tmp_path / "tasks.txt"
    assert main(["check_tasks", "--manifest", str(manifest), "--settings", settings, "--output", str(output)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"hcep check_tasks: {manifest}: task mine: label 'anger' (6 clips)") and "'angry'" in said
    assert "task mine: fold 'test' (10 clips) would be trained on, but is near 'tset'" in said and "Remedy: " in said
    assert not output.exists()
    settings = '{"mine": {"labels": ["anger", "fear"], "test_folds": ["test"]}}'
    assert main(["check_tasks", "--manifest", str(manifest), "--settings", settings, "--output", str(output)]) == 0
    assert output.exists()
    assert main(["check_tasks", "--manifest", str(manifest), "--settings", '{"a": {}}', "--output", str(output)]) == 1
    assert "has no 'labels'" in capsys.readouterr().err


def test_a_split_that_is_made_by_hand_is_refused_too(manifest, tmp_path):
    (tmp_path / "s.yaml").write_text("k2u1: {split1: {known: [anger, fear], unknown: [happy]}}")
    labels = ["anger", "fear", "happy"]
    with pytest.raises(HcepError, match=r"manifest.tsv, k2u1 split1: label 'happiness' \(6 clips\).*other_labels"):
        make_split(
            manifest, tmp_path / "s.yaml", "t", "k2u1", "split1", tmp_path / "o", labels=labels, test_folds=["test"]
        )
    (tmp_path / "s.yaml").write_text("k2u1: {split1: {known: [anger, fear], unknown: [happiness]}}")
    with pytest.raises(HcepError, match=r"k2u1 split1: fold 'test' \(10 clips\) would be trained on.*'Test'"):
        make_split(
            manifest, tmp_path / "s.yaml", "t", "k2u1", "split1", tmp_path / "o", labels=LABELS, test_folds=["Test"]
        )
    assert not (tmp_path / "o").exists()
