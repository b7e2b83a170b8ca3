"""OV-MERD: words of a row -> known, open or no label; division into train and test; subtitles; what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from releases.ov_merd import make_release

from hcep.datasets.build import build_manifest
from hcep.datasets.check import check_release
from hcep.datasets.manifest_file import read_manifest
from hcep.datasets.ov_merd import BASIC_WORDS, OPEN, OvMerd, Row, basic_emotions, draw_folds, parse_openset
from hcep.errors import HcepError

LABELS = "mer2025-dataset/track2_train_ovmerd.csv"
SUBTITLES = "mer2025-dataset/subtitle_chieng.csv"
EXPECTED = Path(__file__).parents[2] / "config/expected/ov_merd.yaml"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("['excited', 'joyful', 'happy']", ["excited", "joyful", "happy"]),
        ("['self-deprecating', \" looking forward to \"]", ["self-deprecating", "looking forward to"]),
        ('["can\'t sleep", "sad"]', ["can't sleep", "sad"]),
        (r"['can\'t sleep']", ["can't sleep"]),
        ("('sad',)", ["sad"]),
        ("[]", []),
        ("['']", []),
        ("  ", []),
        # not Python: by the official rule
        ("[happy, very sad]", ["happy", "very sad"]),
        ("happy", ["happy"]),
        ("['happy, 'sad]", ["happy", "sad"]),
        # Python would make one word of them
        ("['happy' 'sad']", ["happy", "sad"]),
        ("['happy'\n 'sad']", ["happy", "sad"]),
    ],
)
def test_words_of_a_cell(cell, words):
    assert parse_openset(cell) == words


@pytest.mark.parametrize(
    ("cell", "cause"),
    [
        ("['happy', 'sad'", "brackets do not match"),
        ("happy']", "brackets do not match"),
        ("['can't sleep', 'sad']", "apostrophe inside a word"),
        ("[happy, [sad]]", "brackets inside"),
        ("['happy', 3]", "not a list of words"),
        ("[['happy']]", "not a list of words"),
        ("{'happy': 1}", "not a list of words"),
        ("None", "not a list of words"),
    ],
)
def test_words_that_cannot_be_told_apart(cell, cause):
    with pytest.raises(ValueError, match=cause):
        parse_openset(cell)


@pytest.mark.parametrize(
    ("words", "emotions", "label"),
    [
        (["sad", "happy"], ["sadness", "happiness"], "sadness"),
        (["proud", "Happy", "sad"], ["happiness", "sadness"], "happiness"),
        (["angry", "mad", "anger"], ["anger"], "anger"),
        (["joyful", "worried"], [], OPEN),
        # a basic word inside others is not the word
        (["very happy", "unhappy", "angry look"], [], OPEN),
        ([], [], ""),
    ],
)
def test_known_by_the_first_basic_word(words, emotions, label):
    assert basic_emotions(words) == emotions
    assert Row("a", words).label == label


def test_words_of_each_basic_emotion():
    assert {word: emotion for emotion, words in BASIC_WORDS.items() for word in words} == {
        "anger": "anger",
        "angry": "anger",
        "disgust": "disgust",
        "disgusted": "disgust",
        "fear": "fear",
        "fearful": "fear",
        "happiness": "happiness",
        "happy": "happiness",
        "sadness": "sadness",
        "sad": "sadness",
        "surprise": "surprise",
        "surprised": "surprise",
    }


def in_test(labels: dict[str, str], seed: int = 0) -> list[str]:
    folds = draw_folds(labels, seed)
    assert sorted(folds) == sorted(labels) and set(folds.values()) <= {"train", "test"}
    return sorted(clip for clip, fold in folds.items() if fold == "test")


def test_folds_are_the_order_of_the_digests():
    # `printf 0/c4 | sha256sum` begins with 4c73, c0 with 64eb, c2 with 7465; for seed 1: c4 07a5, c3 136b, c2 30f3
    labels = {f"c{number}": "x" for number in range(10)}
    assert in_test(labels) == ["c0", "c4"]
    assert in_test(labels, seed=1) == ["c3", "c4"]
    assert in_test(dict(reversed(labels.items()))) == ["c0", "c4"]


def test_a_fifth_of_each_label_is_tested():
    for count, share in {1: 0, 2: 0, 3: 1, 7: 1, 8: 2, 12: 2, 13: 3, 332: 66}.items():
        labels = {f"{label}{number}": label for label in "ab" for number in range(count)}
        found = in_test(labels)
        assert [sum(clip[0] == label for clip in found) for label in "ab"] == [share, share]


def test_one_clip_more_moves_at_most_one_other():
    before = {f"c{number}": "x" for number in range(50)}
    first = draw_folds(before, 0)
    for extra in (f"new{number}" for number in range(20)):
        folds = draw_folds(before | {extra: "x", extra + "y": "y"}, 0)
        assert sum(folds[clip] != first[clip] for clip in before) <= 1


def read(root: Path, **settings) -> dict[str, object]:
    build_manifest("ov_merd", root, "ov_merd", settings, root / "manifest.tsv")
    return {clip.clip: clip for clip in read_manifest(root / "manifest.tsv")}


def test_rows_of_a_release(tmp_path, capsys):
    words = make_release(tmp_path, clips_per_class=8)
    clips = read(tmp_path)
    assert "48 clips; 40 with a basic emotion, 8 with other words only" in capsys.readouterr().err
    assert list(clips) == list(words)
    kinds = ["anger", "happiness", "sadness", "surprise", "fear", "open"] * 8
    for index, (name, clip) in enumerate(clips.items()):
        assert (clip.label, clip.labels) == (kinds[index], ";".join(words[name]))
        assert (clip.text, clip.text_kind, clip.language) == (f'They said, "line {index}".', "transcript", "en")
        assert (clip.video, clip.audio) == (f"mer2025-dataset/video/{name}.mp4", f"mer2025-dataset/audio/{name}.wav")
        assert (clip.group, clip.flags, clip.start, clip.end) == (name, "", None, None)
    folds = [(clip.label, clip.fold) for clip in clips.values()]
    assert {pair: folds.count(pair) for pair in folds} == {
        (kind, fold): count for kind in kinds for fold, count in (("train", 6), ("test", 2))
    }
    other = read(tmp_path, seed=1)
    assert any(other[name].fold != clip.fold for name, clip in clips.items())


@pytest.mark.parametrize("text", ["none", "asr"])
def test_without_subtitles(tmp_path, text):
    make_release(tmp_path, clips_per_class=3, media=False)
    (tmp_path / SUBTITLES).unlink()
    clips = read(tmp_path, text=text).values()
    assert {(clip.text, clip.text_kind) for clip in clips} == {("", text)}
    with pytest.raises(HcepError, match=r"subtitle_chieng.csv is missing.*set `text`"):
        OvMerd(tmp_path, {}).clips()


def test_release_is_found_wherever_it_lies(tmp_path):
    words = make_release(tmp_path / "a/b", clips_per_class=1)
    (tmp_path / "a/b/mer2025-dataset/audio").rename(tmp_path / "a/b/mer2025-dataset/Audio")
    name = next(iter(words))
    for depth, below in enumerate(("a/b/mer2025-dataset", "a/b", "a")):
        clip = OvMerd(tmp_path / below, {}).clips()[0]
        above = ["", "mer2025-dataset/", "b/mer2025-dataset/"][depth]
        assert (clip.video, clip.audio) == (f"{above}video/{name}.mp4", f"{above}Audio/{name}.wav")
    with pytest.raises(HcepError, match=r"track2_train_ovmerd.csv is not below it.*MERChallenge"):
        OvMerd(tmp_path / "a/b/mer2025-dataset/Audio", {}).clips()


def test_faulty_release_keeps_every_row(tmp_path):
    words = make_release(tmp_path, clips_per_class=8, faults=True)
    clips = list(read(tmp_path).values())
    assert [clip.clip for clip in clips] == list(words)
    assert [clip.label for clip in clips[:5]] == ["", "", "sadness", "sadness", "happiness"]
    assert [clip.labels for clip in clips[:5]] == ["", "", "grief;sad", "tired;sad", "happy;warm, calm"]
    assert [clip.text_kind for clip in clips[4:9]] == ["transcript", "none", "none", "none", "transcript"]
    assert [clip.flags for clip in clips[4:9]] == ["", "no_text", "no_text", "no_text", ""]
    assert clips[8].audio == clips[8].video == f"mer2025-dataset/video/{clips[8].clip}.mp4"
    check = check_release("ov_merd", tmp_path, "ov_merd", {}, expected=EXPECTED)
    faults = {fault.what: (fault.severity, fault.cases, list(fault.examples)) for fault in check.faults}
    names = [clip.clip for clip in clips]
    pointer = "clips whose media file is a git-LFS pointer, not the media (fetch it with git lfs pull)"
    assert faults == {
        "basic emotions that no row has": ("warning", 1, ["disgust"]),
        "rows without words (no label, in no split)": ("warning", 2, names[:2]),
        "clips that the subtitle file does not list (no text)": ("warning", 1, [names[7]]),
        "clips without a .wav (the sound of the .mp4 is used)": ("warning", 2, [names[8], names[10]]),
        "clips whose media file is missing": ("error", 1, [names[9]]),
        "clips without sound (kept, flagged, zeros in the cache)": ("warning", 1, [names[10]]),
        "clips without picture (kept, flagged, zeros in the cache)": ("warning", 1, [names[11]]),
        pointer: ("error", 1, [names[12]]),
    }


def write_labels(root: Path, *lines: str) -> Path:
    path = root / "track2_train_ovmerd.csv"
    path.write_text("\n".join(("name,openset", *lines)) + "\n", encoding="utf-8")
    return path


def test_survey_counts_words(tmp_path):
    rows = [
        "s1,\"['happy', 'Sad', 'happy']\"",
        "s2,\"['warm', 'angry', 'anger', 'mad']\"",
        "s3,['warm']",
        "s4,[]",
        "s5,\"['looking forward to', 'fear']\"",
        "s6,['proud']",
    ]
    write_labels(tmp_path, *rows)
    (tmp_path / "subtitle_chieng.csv").write_text(
        "name,chinese,english\ns3,一,one\nzz,一,one\ns1,,\ns2,二,\ns4,,four\n", encoding="utf-8"
    )
    reader = OvMerd(tmp_path, {})
    survey = reader.survey(reader.clips())
    assert survey.found == {"labels": "track2_train_ovmerd.csv", "subtitles": "subtitle_chieng.csv"}
    assert survey.counts == {
        # happy Sad warm angry anger mad looking-forward-to fear proud
        "open set": {"rows": 6, "distinct labels": 9, "rows without labels": 1},
        "labels per row": {"0": 1, "1": 2, "2": 1, "3": 1, "4": 1},
        "basic emotions per row": {"none": 2, "one": 2, "several": 1},
        "rows with a basic emotion": {
            "anger": 1,
            "disgust": 0,
            "fear": 1,
            "happiness": 1,
            "sadness": 1,
            "surprise": 0,
        },
        "subtitles": {"none in English": 4, "none in both languages": 3},
    }


def test_published_numbers_have_the_names_of_the_survey(tmp_path):
    make_release(tmp_path, clips_per_class=2, media=False)
    published = yaml.safe_load(EXPECTED.read_text())
    counts = OvMerd(tmp_path, {}).survey(OvMerd(tmp_path, {}).clips()).counts
    for section, table in published["sections"].items():
        assert section == "labels per row" or table.keys() <= counts[section].keys()
    rows = published["sections"]["labels per row"]
    assert sum(rows.values()) == published["clips"] == 332
    assert sum(published["sections"]["basic emotions per row"].values()) == 332
    # each of the 12 rows with several has two
    assert sum(published["sections"]["rows with a basic emotion"].values()) == 241 + 2 * 12


@pytest.mark.parametrize(
    ("lines", "place", "cause"),
    [
        (["a,['sad']", "b,\"['can't', 'x']\""], "row 3", "of b cannot be read: it has an apostrophe"),
        (["a,['sad']", "b,['sad'"], "row 3", "brackets do not match"),
        (["a,['sad']", "a,['sad']"], "row 3", "clip 'a' is already in row 2"),
        (["a,['sad']", " ,['sad']"], "row 3", "name is empty"),
        (["a,['sad', 'tired']"], "row 2", "has 3 cells, the header has 2"),
        ([], "", "lists no clips"),
    ],
)
def test_bad_label_file_names_row_cause_and_remedy(tmp_path, lines, place, cause):
    path = write_labels(tmp_path, *lines)
    with pytest.raises(HcepError) as caught:
        OvMerd(tmp_path, {"text": "none"}).clips()
    assert str(path) in str(caught.value) and place in str(caught.value) and cause in str(caught.value)
    assert caught.value.remedy


def test_tables_without_a_column(tmp_path):
    path = write_labels(tmp_path, "a,['sad']")
    (tmp_path / "subtitle_chieng.csv").write_text("name,text\na,b\n")
    with pytest.raises(HcepError, match=r"subtitle_chieng.csv, row 1: lacks the column chinese, english"):
        OvMerd(tmp_path, {}).clips()
    (tmp_path / "subtitle_chieng.csv").write_text("name,chinese,english\na,b,c\na,b,c\n")
    with pytest.raises(HcepError, match=r"subtitle_chieng.csv, row 3: clip 'a' is there twice"):
        OvMerd(tmp_path, {}).clips()
    path.write_text("name,reason\na,b\n")
    with pytest.raises(HcepError, match=r"ovmerd.csv, row 1: lacks the column openset"):
        OvMerd(tmp_path, {}).clips()


@pytest.mark.parametrize("settings", [{"seed": 0.5}, {"seed": True}, {"seed": "1"}, {"text": "caption"}, {"sed": 1}])
def test_bad_settings(tmp_path, settings):
    with pytest.raises(HcepError, match=r"adapter.*Remedy"):
        OvMerd(tmp_path, settings)


def test_watch_sees_what_a_manifest_is_made_of(tmp_path):
    words = make_release(tmp_path, clips_per_class=2)
    name = next(iter(words))

    def watch(**settings) -> list[str]:
        return OvMerd(tmp_path, settings).watch()

    first, wordless = watch(), watch(text="none")
    (tmp_path / LABELS).touch()
    shutil.copy(tmp_path / f"mer2025-dataset/video/{name}.mp4", tmp_path / "mer2025-dataset/video/stranger.mp4")
    assert watch() == first
    with (tmp_path / SUBTITLES).open("a") as handle:
        handle.write("late,,\n")
    assert watch() != first and watch(text="none") == wordless
    second = watch()
    (tmp_path / f"mer2025-dataset/audio/{name}.wav").unlink()
    third = watch()
    assert third != second
    (tmp_path / f"mer2025-dataset/video/{name}.mp4").unlink()
    assert watch() != third
    with (tmp_path / LABELS).open("a") as handle:
        handle.write("late,['sad']\n")
    assert watch() != third
    (tmp_path / LABELS).unlink()
    assert len(watch()) == 1


def test_the_release_of_2026_has_another_label_file_and_plain_lists(tmp_path):
    words = make_release(tmp_path, media=False, edition="mer2026")
    build_manifest("ov_merd", tmp_path, "ov_merd_2026", {"release": "mer2026"}, tmp_path / "manifest.tsv")
    clips = {clip.clip: clip for clip in read_manifest(tmp_path / "manifest.tsv")}
    assert {name: clip.labels.split(";") for name, clip in clips.items()} == words
    assert all(clip.label == (basic_emotions(words[name]) or [OPEN])[0] for name, clip in clips.items())
    assert {clip.fold for clip in clips.values()} == {"train", "test"}
    assert all(clip.video == f"mer2026-dataset/video/{name}.mp4" for name, clip in clips.items())
    found = check_release("ov_merd", tmp_path, "ov_merd_2026", {"text": "manifest", "release": "mer2026"})
    assert found.found["labels"] == "mer2026-dataset/track2_train_human.csv"


@pytest.mark.parametrize(("there", "wanted"), [("mer2025", "mer2026"), ("mer2026", "mer2025")])
def test_the_label_file_of_the_other_release_is_named(tmp_path, there, wanted):
    make_release(tmp_path, media=False, edition=there)
    with pytest.raises(HcepError, match=f"is not below it.*or set `release: {there}`"):
        OvMerd(tmp_path, {"release": wanted}).clips()


@pytest.mark.parametrize("cell", ["shocked,care,serious", "well-thought-out", "proud of himself, angry"])
def test_words_of_a_plain_list(cell):
    assert parse_openset(cell) == [word.strip() for word in cell.split(",")]
