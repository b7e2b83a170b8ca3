"""MELD: three lists and three folders of clips, wherever they lie; spoilt quotes; what is wrong."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import yaml
from releases.meld import LISTS, WORDS, make_release

from hcep.datasets.build import build_manifest
from hcep.datasets.check import check_release
from hcep.datasets.manifest_file import Clip, read_manifest
from hcep.datasets.meld import Meld
from hcep.errors import HcepError
from hcep.files import write_table

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
EXPECTED = Path(__file__).parents[2] / "config/expected/meld.yaml"


def read(root: Path, **settings) -> dict[str, Clip]:
    build_manifest("meld", root, "meld", settings, root / "manifest.tsv")
    return {clip.clip: clip for clip in read_manifest(root / "manifest.tsv")}


def write_lists(root: Path, **rows: list[str]) -> Path:
    """The three lists, with one joyful utterance 0 of dialogue 0 in those that are not given."""
    for fold, (table, _) in LISTS.items():
        lines = rows.get(fold, ['1,Hi.,Alma,joy,positive,0,0,1,1,"00:00:01,000","00:00:02,000"'])
        (root / Path(table).name).write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return root


def row(number: int, utterance: str, emotion: str, dialogue: str, place: str) -> str:
    return f'{number},{utterance},Alma,{emotion},neutral,{dialogue},{place},1,1,"0:00:01,000","00:00:02,000"'


def test_rows_of_a_release(tmp_path, capsys):
    made = make_release(tmp_path)
    clips = read(tmp_path)
    # 7 emotions, 4 of each in train and 2 in the others
    said = capsys.readouterr().err
    assert "56 utterances (train 28, valid 14, test 14), 0 neutral ones left out, 0 without a length" in said
    assert len(clips) == len(made) == 56
    for fold, dialogue, number, emotion, words in made:
        clip = clips[f"{fold}_dia{dialogue}_utt{number}"]
        media = f"MELD.Raw/{LISTS[fold][1]}/dia{dialogue}_utt{number}.mp4"
        assert (clip.video, clip.audio, clip.fold, clip.group) == (media, media, fold, f"{fold}-dia{dialogue}")
        assert clip.label == clip.labels == {"joy": "happiness"}.get(emotion, emotion)
        assert (clip.text, clip.text_kind, clip.language, clip.flags) == (words, "transcript", "en", "")
        assert (tmp_path / clip.video).is_file() and clip.seconds == 0.6


def test_spoilt_characters_are_mended(tmp_path, capsys):
    spoilt = 'a\x92s b\x97c\x85 \x93d\x94\xa0\x96 \x91e\x92 \x81"" é ’'
    write_lists(tmp_path, train=[row(1, f'"{spoilt}"', "fear", "0", "0"), row(2, "fine", "fear", "0", "1")])
    clips = Meld(tmp_path, {}).clips()
    assert [clip.text for clip in clips[:2]] == ['a’s b—c… “d” – ‘e’ " é ’', "fine"]
    assert "mended in 1\n" in capsys.readouterr().err


def test_folds_may_use_the_same_numbers(tmp_path):
    write_lists(tmp_path)
    clips = Meld(tmp_path, {}).clips()
    assert [clip.clip for clip in clips] == ["train_dia0_utt0", "valid_dia0_utt0", "test_dia0_utt0"]
    assert len({clip.group for clip in clips}) == 3
    # without folders, the paths are those of the release
    assert clips[2].video == "output_repeated_splits_test/dia0_utt0.mp4"


def test_neutral_may_be_left_out(tmp_path, capsys):
    made = make_release(tmp_path, media=False)
    clips = read(tmp_path, keep_neutral=False)
    assert "48 utterances (train 24, valid 12, test 12), 8 neutral ones left out" in capsys.readouterr().err
    kept = {f"{each.fold}_{each.file.removesuffix('.mp4')}" for each in made if each.emotion != "neutral"}
    assert clips.keys() == kept and "neutral" not in {clip.label for clip in clips.values()}


@pytest.mark.parametrize("text", ["none", "asr"])
def test_without_words(tmp_path, text):
    clips = Meld(write_lists(tmp_path), {"text": text}).clips()
    assert {(clip.text, clip.text_kind) for clip in clips} == {("", text)}


def test_utterance_without_words(tmp_path):
    write_lists(tmp_path, test=[row(1, '" "', "anger", "3", "11")])
    assert [clip.text_kind for clip in Meld(tmp_path, {}).clips()] == ["transcript", "transcript", "none"]


def test_release_is_found_wherever_it_lies(tmp_path):
    make_release(tmp_path / "data", clips_per_class=3)
    base = tmp_path / "data/MELD.Raw"
    (base / "train/train_splits").rename(base / "Train Splits")
    (base / "train/train_sent_emo.csv").rename(base / "Train_Sent_Emo.csv")
    (base / "test").mkdir()
    (base / "output_repeated_splits_test").rename(base / "test/output-repeated-splits-test")
    for root, above in ((base, ""), (tmp_path / "data", "MELD.Raw/")):
        clips = Meld(root, {}).clips()
        assert {clip.video.rpartition("/")[0] for clip in clips} == {
            f"{above}Train Splits",
            f"{above}dev_splits_complete",
            f"{above}test/output-repeated-splits-test",
        }
    # dyadic lists are another set under almost the same names
    (base / "dev_sent_emo.csv").rename(base / "dev_sent_emo_dya.csv")
    with pytest.raises(HcepError, match=r"the list dev_sent_emo.csv is not below it.*unpack"):
        Meld(base, {}).clips()


def test_faulty_release_keeps_every_row(tmp_path):
    made = make_release(tmp_path, faults=True)
    assert len(read(tmp_path)) == len(made)
    fourth = {fold: [each for each in made if each.fold == fold][3] for fold in LISTS}
    names = {fold: f"{fold}_{each.file.removesuffix('.mp4')}" for fold, each in fourth.items()}
    check = check_release("meld", tmp_path, "meld", {}, expected=EXPECTED)
    faults = {fault.what: (fault.cases, list(fault.examples)) for fault in check.faults}
    strange = ["dia999_utt0.mp4", "final_videos_testdia999_utt1.mp4"]
    unlisted = [f"{fold} {name}" for fold in ("valid", "test") for name in strange]
    assert faults.pop("video files that no list names (not used)") == (4, unlisted)
    assert faults.pop("clips whose media file is missing") == (1, [names["valid"]])
    assert faults.pop("clips without sound (kept, flagged, zeros in the cache)") == (1, [names["test"]])
    broken = next(iter(faults))
    assert "cannot be read" in broken and faults == {broken: (1, [names["train"]])}
    here = {(count.section, count.name): (count.here, count.published) for count in check.counts}
    assert here["video files", "train"] == (28, 9989)
    assert here["video files", "valid"] == (14 - 1 + 2, 1112) and here["video files", "test"] == (14 + 2, 2747)
    assert here["video files not listed", "valid"] == (2, 4)
    assert here["fold test", "happiness"] == (2, 402) and here["labels", "fear"] == (8, 358)
    dialogues = Counter(fold for fold, _ in {(each.fold, each.dialogue) for each in made})
    assert {fold: here["dialogues", fold][0] for fold in LISTS} == dialogues


def test_missing_folder_is_an_error(tmp_path):
    reader = Meld(write_lists(tmp_path), {})
    (tmp_path / "train_splits").mkdir()
    survey = reader.survey(reader.clips())
    assert survey.found == {
        "train list": "train_sent_emo.csv",
        "train clips": "train_splits",
        "valid list": "dev_sent_emo.csv",
        "test list": "test_sent_emo.csv",
    }
    wanted = ["folder dev_splits_complete is missing", "folder output_repeated_splits_test is missing"]
    assert [(fault.severity, fault.what) for fault in survey.faults] == [("error", what) for what in wanted]


def test_published_numbers_add_up_and_have_the_names_of_the_check():
    published = yaml.safe_load(EXPECTED.read_text())
    folds = {fold: published["sections"][f"fold {fold}"] for fold in LISTS}
    assert {fold: sum(numbers.values()) for fold, numbers in folds.items()} == published["folds"]
    for label, number in published["labels"].items():
        assert sum(numbers[label] for numbers in folds.values()) == number
    assert sum(published["labels"].values()) == sum(published["folds"].values()) == published["clips"] == 13708
    assert published["labels"].keys() == {{"joy": "happiness"}.get(name, name) for name in WORDS}
    tables = published["sections"]
    for fold in LISTS:
        # all rows but the missing one of dev have a file
        listed = tables["video files"][fold] - tables["video files not listed"][fold]
        assert listed == published["folds"][fold] - (fold == "valid")


@pytest.mark.parametrize(
    ("rows", "place", "cause"),
    [
        ([row(1, "Hi", "joy", "0", "0"), row(2, "Ho", "happy", "0", "1")], "row 3", "unknown emotion 'happy'"),
        ([row(1, "Hi", "suprise", "0", "0")], "row 2", "did you mean 'surprise'?"),
        ([row(1, "Hi", "joy", "7", "0"), row(2, "Ho", "fear", "7", "0")], "row 3", "dia7_utt0 is already in row 2"),
        ([row(1, "Hi", "joy", "7.0", "0")], "row 2", "Dialogue_ID '7.0' is not a whole number"),
        ([row(1, "Hi", "joy", "7", "-1")], "row 2", "Utterance_ID '-1' is not a whole number"),
        ([row(1, '"two\nlines"', "joy", "7", "1"), row(2, "Hi", "", "7", "2")], "row 4", "unknown emotion ''"),
        ([row(1, "Hi, you", "joy", "7", "1")], "row 2", "has 12 cells, the header has 11"),
        ([], "", "lists no utterances"),
    ],
)
def test_bad_list_names_row_cause_and_remedy(tmp_path, rows, place, cause):
    write_lists(tmp_path, valid=rows)
    with pytest.raises(HcepError) as caught:
        Meld(tmp_path, {}).clips()
    assert str(tmp_path / "dev_sent_emo.csv") in str(caught.value)
    assert place in str(caught.value) and cause in str(caught.value) and caught.value.remedy


def test_list_without_a_column_or_in_another_encoding(tmp_path):
    write_lists(tmp_path)
    (tmp_path / "test_sent_emo.csv").write_text("Sr No.,Utterance,Emotion,Dialogue_ID\n1,Hi,joy,0\n")
    with pytest.raises(HcepError, match=r"test_sent_emo.csv, row 1: lacks the column Utterance_ID"):
        Meld(tmp_path, {}).clips()
    (tmp_path / "test_sent_emo.csv").write_bytes(f"{HEADER}\n{row(1, 'it’s', 'joy', '0', '0')}\n".encode("cp1252"))
    with pytest.raises(HcepError, match=r"test_sent_emo.csv: is not UTF-8"):
        Meld(tmp_path, {}).clips()


@pytest.mark.parametrize("settings", [{"keep_neutral": "no"}, {"keep_neutral": 0}, {"text": "caption"}, {"neutral": 1}])
def test_bad_settings(tmp_path, settings):
    with pytest.raises(HcepError, match=r"adapter.*Remedy"):
        Meld(tmp_path, settings)


def test_watch_sees_what_a_manifest_is_made_of(tmp_path):
    made = make_release(tmp_path, clips_per_class=3)
    first = Meld(tmp_path, {}).watch()
    folder = tmp_path / "MELD.Raw/output_repeated_splits_test"
    (folder / "._dia0_utt0.mp4").write_bytes(b"junk")
    (tmp_path / "MELD.Raw/dev_sent_emo.csv").touch()
    assert Meld(tmp_path, {}).watch() == first
    (folder / next(each for each in made if each.fold == "test").file).unlink()
    second = Meld(tmp_path, {}).watch()
    assert [old == new for old, new in zip(first, second, strict=True)] == [True] * 5 + [False]
    with (tmp_path / "MELD.Raw/dev_sent_emo.csv").open("a") as handle:
        handle.write(row(99, "Hi", "joy", "900", "0"))
    third = Meld(tmp_path, {}).watch()
    assert [old == new for old, new in zip(second, third, strict=True)] == [True, True, False, True, True, True]
    assert Meld(tmp_path / "nothing", {}).watch()[0] == "train list: missing"


def test_the_length_of_a_row_is_that_between_its_times(tmp_path, capsys):
    times = {
        "00:16:16,059|00:16:21,731": 5.672,
        "0:59:59,9|1:00:00,25": 0.35,
        " 00:00:01.500 |00:00:03,000": 1.5,
        # what does not parse, or is no length
        "00:00:02,000|00:00:02,000": None,
        "00:00:03,000|00:00:02,000": None,
        "16:16.1|16:17.1": None,
        "|00:00:02,000": None,
        "00:00:01,000|": None,
        "00:00:01,000|25": None,
    }
    rows = []
    for number, pair in enumerate(times):
        start, end = pair.split("|")
        rows.append(f'{number},Hi.,Alma,joy,positive,0,{number},1,1,"{start}","{end}"')
    clips = Meld(write_lists(tmp_path, train=rows), {}).clips()
    assert [clip.seconds for clip in clips[: len(times)]] == list(times.values())
    assert "6 without a length (StartTime, EndTime)" in capsys.readouterr().err
    # copies of the lists without the columns are read
    path = tmp_path / "train_sent_emo.csv"
    path.write_text("Utterance,Emotion,Dialogue_ID,Utterance_ID\nHi.,joy,0,0\n")
    assert Meld(tmp_path, {}).clips()[0].seconds is None
    assert "1 without a length" in capsys.readouterr().err


def test_a_length_comes_through_the_manifest_to_the_check(tmp_path):
    made = make_release(tmp_path)
    first = next(each for each in made if each.fold == "test")
    path = tmp_path / "MELD.Raw/test_sent_emo.csv"
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    rows[0] |= {"StartTime": "00:01:00,000", "EndTime": "00:01:09,500"}
    write_table(path, list(rows[0]), rows)
    name = f"test_{first.file.removesuffix('.mp4')}"
    assert read(tmp_path)[name].seconds == 9.5
    (fault,) = check_release("meld", tmp_path, "meld", {}).faults
    assert (
        fault.severity == "warning" and fault.cases == 1 and fault.examples[0].startswith(f"{name}: 9.5 s listed, 0.6")
    )
