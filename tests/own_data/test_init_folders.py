"""`hcep init` on folders: which level is what, which files are clips, who is tested; nothing is guessed."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

from hcep.datasets.manifest import Manifest
from hcep.datasets.manifest_file import open_table
from hcep.own_data.labels import usual_levels

LABELS = ("anger", "fear", "happiness", "sadness")
SPEAKERS = ("anna", "ben", "cleo", "dan", "eva")


def rows(place: Path, name: str = "mydata") -> dict[str, dict[str, str]]:
    return {cells["clip"]: cells for _, cells in open_table(place / f"config/{name}/clips.tsv")}


def task(place: Path, name: str = "mydata") -> dict:
    return yaml.safe_load((place / f"config/{name}/{name}.yaml").read_text())["task_definitions"][name]


def both(pattern: str, labels=LABELS, speakers=SPEAKERS) -> list[str]:
    return [pattern.format(label=label, speaker=speaker) for label in labels for speaker in speakers]


@pytest.mark.parametrize(
    "pattern, layout",
    [
        ("{label}/{speaker}/1.mp4", "label/speaker"),
        ("{speaker}/{label}/1.mp4", "speaker/label"),
    ],
)
def test_labels_are_the_folders_that_are_called_like_emotions(place, lay, type_init, pattern, layout):
    said = type_init(lay(both(pattern)))
    assert f"layout {layout}: 20 clips" in said and "NO SPEAKERS" not in said
    found = rows(place).values()
    assert {row["label"] for row in found} == {*LABELS} and {row["group"] for row in found} == {*SPEAKERS}
    sides = {row["group"]: row["fold"] for row in found}
    assert all(row["fold"] == sides[row["group"]] for row in found) and {*sides.values()} == {"train", "test"}
    assert Counter(row["label"] for row in found if row["fold"] == "test") == dict.fromkeys(LABELS, 1)
    assert "one speaker is tested, which gives no interval" in said
    assert task(place)["labels"] == [*LABELS] and task(place)["openness"] == ["k3u1", "k2u2"]


def test_a_speaker_may_be_called_joy(place, lay, type_init):
    said = type_init(lay(both("{speaker}/{label}/1.mp4", speakers=[*SPEAKERS, "joy"])))
    assert "layout speaker/label" in said and rows(place)["joy_anger_1"]["group"] == "joy"


def test_names_that_leave_it_open_are_asked_for_with_both_readings(place, lay, type_init):
    folder = lay(both("{label}/{speaker}/1.mp4", labels=["ANG", "FEA", "HAP"]))
    said = type_init(folder, fails=True)
    assert "level 1 has 3 (ANG, FEA, HAP); level 2 has 5 (anna, ben, cleo, dan, eva)" in said
    assert "--layout label/speaker (3 labels, 5 speakers) or --layout speaker/label (3 speakers, 5 labels)" in said
    type_init(folder, "--layout", "label/speaker")
    assert {row["label"] for row in rows(place).values()} == {"ANG", "FEA", "HAP"}


def test_folders_of_actors_alone_are_no_labels(lay, type_init):
    said = type_init(lay(["list.csv", *(f"Actor_0{n}/03-01-0{n}.mp4" for n in range(1, 9))]), fails=True)
    assert "list.csv is there: --table data/mine/list.csv reads it" in said
    assert "not certain: level 1 has 8 (Actor_01," in said and "--layout label (8 labels)" in said


def test_without_speakers_it_says_so_and_groups_stay_empty(place, lay, type_init):
    said = type_init(lay(f"{label}/{number}.mp4" for label in LABELS for number in range(10)))
    assert "NO SPEAKERS ARE KNOWN: one person may be in training and in test" in said
    found = rows(place).values()
    assert {row["group"] for row in found} == {""}
    assert Counter(row["label"] for row in found if row["fold"] == "test") == dict.fromkeys(LABELS, 3)


@pytest.mark.parametrize("names", [("train", "test", "val"), ("Training", "TEST", "dev")])
def test_folds_of_folders_are_kept(place, lay, type_init, names):
    paths = [f"{fold}/{label}/{n}.mp4" for fold in names for label in LABELS for n in range(2)]
    said = type_init(lay(paths))
    assert "layout fold/label: 24 clips" in said and "tested: test; held out for validation: val" in said
    assert Counter(row["fold"] for row in rows(place).values()) == {"train": 8, "test": 8, "val": 8}
    assert task(place)["test_folds"] == ["test"] and task(place)["val_folds"] == ["val"]
    assert ("Training -> train" in said) == ("Training" in names)


def test_a_speaker_in_two_folds_is_refused(lay, type_init):
    paths = [f"{fold}/{label}/{who}/1.mp4" for fold in ("train", "test") for label in LABELS for who in ("anna", "ben")]
    said = type_init(lay(paths), "--layout", "fold/label/speaker", fails=True)
    assert "2 speakers are trained on and tested, such as 'anna'" in said and "'train_sadness_anna_1'" in said


@pytest.mark.parametrize(
    "folds, cause",
    [(("train", "val"), "no fold is called test: train, val"), (("train", "test", "extra"), "but for 'extra'")],
)
def test_folds_that_do_not_say_what_is_tested_are_refused(lay, type_init, folds, cause):
    said = type_init(lay(f"{fold}/{label}/1.mp4" for fold in folds for label in LABELS), fails=True)
    assert cause in said


def test_other_depths_are_asked_for_or_named(place, lay, type_init):
    folder = lay([*both("{label}/{speaker}/1.mp4"), "intro.mp4", "deep/er/still/x.mp4"])
    assert "1 in 0 folders, 20 in 2 folders, 1 in 3 folders" in type_init(folder, fails=True)
    assert "files by how many folders they lie in: 1 with 0" in type_init(folder, "--layout", "*/*/*/label", fails=True)
    said = type_init(folder, "--layout", "label/speaker")
    assert "left out, not 2 folders deep: 2: deep/er/still/x, intro" in said and len(rows(place)) == 20


def test_sound_words_and_everything_else(place, lay, type_init):
    others = ["anger/anna/1.wav", "fear/ben/only.mp3", "anger/anna/._1.mp4", ".git/x.mp4", "notes.pdf", "list.csv"]
    folder = lay([*both("{label}/{speaker}/1.mp4"), *others])
    (folder / "anger/anna/1.txt").write_text("\ufeffthat is\n not fair\n")
    (folder / "sadness/ben/1.txt").write_text("Sadness")
    (folder / "README.txt").write_text("about")
    said = type_init(folder, "--text-kind", "caption")
    found = rows(place)
    assert found["anger_anna_1"]["text"] == "that is not fair" and found["anger_anna_1"]["text_kind"] == "caption"
    assert found["anger_anna_1"]["audio"] == "anger/anna/1.wav" and found["anger_ben_1"]["audio"] == ""
    assert (found["fear_ben_only"]["video"], found["fear_ben_only"]["audio"]) == ("", "fear/ben/only.mp3")
    for line in (
        "1 sound file beside a video of the same name: taken as its sound",
        "1 clip of sound without a picture",
        "words of 2 clips in a .txt of their name: taken as caption",
        "left out, hidden files and what programs leave behind: 2\n",
        "left out, files that are no media by their names: 1: notes.pdf",
        "left out, texts: 1: README.txt",
        "left out, tables (--table reads one): 1: list.csv",
        "words that are the label: 1 clip, such as sadness_ben_1",
    ):
        assert line in said


def test_links_that_leave_the_folder_or_name_a_clip_twice_are_left_out(place, lay, type_init):
    folder = lay([*both("{label}/{speaker}/1.mp4"), ".store/a.bin"])
    (place / "outside.mp4").touch()
    links = {"out": place / "outside.mp4", "again": folder.absolute() / "fear/ben/1.mp4", "lost": place / "nowhere.mp4"}
    for name, target in links.items():
        (folder / f"anger/anna/{name}.mp4").symlink_to(target)
    (folder / "anger/anna/stored.mp4").symlink_to("../../.store/a.bin")
    (folder / "surprise").symlink_to(folder.absolute() / "fear")
    said = type_init(folder)
    assert {*rows(place)} == {
        *(name.replace("/", "_")[:-4] for name in both("{label}/{speaker}/1.mp4")),
        "anger_anna_stored",
    }
    for line in (
        "left out, links that leave the folder: 1: anger/anna/out.mp4",
        "left out, links to a file that is used already: 1: anger/anna/again.mp4 -> fear/ben/1.mp4",
        "left out, links that lead nowhere: 1: anger/anna/lost.mp4",
        "left out, links to folders (not followed): 1: surprise",
    ):
        assert line in said


def test_two_files_of_one_name_and_names_that_nobody_can_write(place, lay, type_init):
    folder = lay([*both("{label}/{speaker}/1.mp4"), "anger/anna/1.mkv"])
    assert "'anger/anna/1.mkv' and 'anger/anna/1.mp4' have the same name" in type_init(folder, fails=True)
    (folder / "anger/anna/1.mkv").unlink()
    (Path(os.fsdecode(os.fsencode(folder / "anger/anna") + b"/\xff.mp4"))).touch()
    lay(["anger_anna/x/1.mp4", "anger/anna_x/1.mp4"])
    said = type_init(folder, "--layout", "label/speaker", "--label-names", "anger_anna=disgust")
    assert "names that are not UTF-8: 1" in said
    assert {row["video"] for clip, row in rows(place).items() if clip.startswith("anger_anna_x_1")} == {
        "anger/anna_x/1.mp4",
        "anger_anna/x/1.mp4",
    }


def test_labels_that_are_numbers_are_asked_for(place, lay, type_init):
    folder = lay(both("{label}/{speaker}/1.mp4", labels=["0", "1", "10", "2"]))
    layout = ["--layout", "label/speaker"]
    said = type_init(folder, *layout, fails=True)
    assert "labels are numbers: 0, 1, 10, 2" in said and "--label-names 0=NAME 1=NAME 2=NAME 10=NAME" in said
    assert "labels are numbers: 10, 2" in type_init(folder, *layout, "--label-names", "0=anger", "1=fear", fails=True)
    assert "3=…: no clip has this label" in type_init(folder, *layout, "--label-names", "3=anger", fails=True)
    assert "has no two sides" in type_init(folder, *layout, "--label-names", "3", fails=True)
    type_init(folder, *layout, "--label-names", "0=anger", "1=fear", "2=joy", "10=awe")
    assert task(place)["labels"] == ["anger", "awe", "fear", "joy"]


def test_one_emotion_in_two_spellings(place, lay, type_init):
    folder = lay(both("{label}/{speaker}/1.mp4", labels=[*LABELS, "happy"]))
    said = type_init(folder, fails=True)
    assert "labels 'happiness' and 'happy' are nearly the same" in said
    type_init(folder, "--label-names", "happy=happiness")
    assert task(place)["labels"] == [*LABELS] and rows(place)["happy_anna_1"]["label"] == "happiness"
    type_init(folder, "--label-names", "happy=happy", "happiness=happiness", "--name", "two")
    assert task(place, "two")["labels"] == [*LABELS[:3], "happy", "sadness"]


def test_a_label_without_clips_on_both_sides_is_no_class(place, lay, type_init):
    said = type_init(lay([*both("{label}/{speaker}/1.mp4"), "disgust/anna/1.mp4"]))
    side = rows(place)["disgust_anna_1"]["fold"]
    told = "1 clip to train on, 0 to test" if side == "train" else "0 clips to train on, 1 to test"
    assert f"disgust is no class of the task (other_labels): {told}, of 1 speaker" in said
    assert task(place)["other_labels"] == ["disgust"] and task(place)["labels"] == [*LABELS]
    assert "fewer than 5 clips to train on: anger (4)" in said


@pytest.mark.parametrize("labels", [("anger", "fear"), ("anger",)])
def test_fewer_than_three_labels_are_no_task(lay, type_init, labels):
    said = type_init(lay(both("{label}/{speaker}/1.mp4", labels=labels)), fails=True)
    assert f"{len(labels)} label" in said and "at least 2 known classes and one unknown class are needed" in said


def test_one_speaker_cannot_be_on_both_sides(lay, type_init):
    said = type_init(lay(both("{label}/{speaker}/1.mp4", speakers=["anna"])), fails=True)
    assert "no speaker can be kept for a test of 0.3" in said


def test_nothing_is_written_over_or_into_the_media(place, lay, type_init):
    folder = lay(both("{label}/{speaker}/1.mp4"))
    type_init(folder)
    assert "config/mydata/clips.tsv: is there already" in type_init(folder, fails=True)
    (place / "config/mydata/clips.tsv").unlink()
    assert "mydata.yaml: is there already" in type_init(folder, fails=True)
    assert "into the folder of the media" in type_init(folder, "--output", folder / "x", fails=True)
    assert "into the folder of the media" in type_init(".", fails=True)
    assert "'demo' is in the datasets of the configuration" in type_init(folder, "--name", "demo", fails=True)
    assert "no folder is given" in type_init(fails=True)


def test_the_draw_depends_on_its_seed_alone(place, lay, type_init):
    folder = lay(both("{label}/{speaker}/1.mp4", speakers=[f"s{n:02}" for n in range(12)]))
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        type_init(folder, "--name", name, "--seed", seed)
    one, two, three = (
        {row["group"] for row in rows(place, name).values() if row["fold"] == "test"}
        for name in ("one", "two", "three")
    )
    assert one == two != three and len(one) == len(three) == 4


@pytest.mark.parametrize(
    "labels, levels",
    [(3, ["k2u1"]), (4, ["k3u1", "k2u2"]), (6, ["k4u2", "k2u4"]), (7, ["k5u2", "k2u5"]), (10, ["k7u3", "k3u7"])],
)
def test_levels_when_none_are_asked_for(labels, levels):
    assert usual_levels(labels) == levels


def test_fewer_splits_where_no_more_exist(place, lay, type_init):
    said = type_init(lay(both("{label}/{speaker}/1.mp4", labels=LABELS[:3])))
    assert "only 3 distinct split(s)" in said and task(place)["splits"] == ["split1", "split2", "split3"]


def test_a_level_that_the_labels_do_not_reach_is_refused(lay, type_init):
    said = type_init(lay(both("{label}/{speaker}/1.mp4")), "--openness", "k8u2", fails=True)
    assert "8 known and 2 unknown classes need 10 labels, the task has 4" in said


def test_classes_with_few_clips_are_left_out_as_the_protocol_does(place, lay, type_init):
    few = [f"disgust/{speaker}/1.mp4" for speaker in SPEAKERS[:3]]
    folder = lay([*both("{label}/{speaker}/1.mp4"), *both("{label}/{speaker}/2.mp4"), *few])
    refused = type_init(folder, "--min-train", "3", "--openness", "k2u3", fails=True)
    assert "only 1 of the known classes have 3 training clips" in refused and "another --openness" in refused
    said = type_init(folder, "--min-train", "3", "--openness", "k3u2")
    assert task(place)["min_train"] == 3 and "disgust" in task(place)["labels"] and "disgust (2)" in said
    assert "have 30 training clips" in type_init(folder, "--min-train", "30", "--name", "two", fails=True)


@pytest.mark.parametrize("how", ["relative", "absolute", "link"])
def test_the_adapter_finds_the_table_from_the_folder(place, lay, type_init, how, tmp_path_factory):
    folder = lay(both("{label}/{speaker}/1.mp4"))
    if how == "absolute":
        folder = folder.absolute()
    elif how == "link":
        real = tmp_path_factory.mktemp("disk") / "deep/er"
        real.parent.mkdir()
        folder.rename(real)
        folder.symlink_to(real)
    type_init(folder)
    entry = yaml.safe_load((place / "config/mydata/mydata.yaml").read_text())["datasets"]["mydata"]
    clips = Manifest(Path(entry["root"]), entry["options"]).clips()
    assert [clip.clip for clip in clips] == [*rows(place)] and len(clips) == 20
    assert Path(entry["options"]["file"]).is_absolute() == (how != "relative")


def test_files_of_the_configuration_are_named_in_the_next_commands(place, lay, type_init):
    (place / "my words.yaml").write_text("words: {joy: joyful}\n")
    folder = lay(both("{label}/{speaker}/1.mp4", labels=["anger", "joy", "awe"]))
    said = type_init(folder, "--layout", "label/speaker", "--configfile", "my words.yaml")
    assert "hcep check mydata --configfile 'my words.yaml' config/mydata/mydata.yaml" in said
    assert 'these stand for themselves in "This video is …": awe;' in said


def test_a_folder_without_clips_says_what_is_there(lay, type_init):
    said = type_init(lay(["notes.pdf", ".hidden.mp4", "list.csv"]), fails=True)
    assert "data/mine: there is no clip below it" in said
    assert "files that are no media by their names" in said and "hidden files" in said and "list.csv" in said


@pytest.mark.parametrize("layout", ["speaker", "label/label", "label/people", "label/speaker/speaker"])
def test_layouts_that_say_no_label_or_what_nobody_knows_are_refused(lay, type_init, layout):
    assert f"--layout {layout} " in type_init(lay(both("{label}/{speaker}/1.mp4")), "--layout", layout, fails=True)
