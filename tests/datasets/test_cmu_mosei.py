"""CMU-MOSEI: labels of intensities, the two layouts, the joins, folds, and what is said of a faulty release."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from releases.cmu_mosei import CLASSES, Made, make_release, write_csd, write_folds, write_table

from hcep.datasets.build import build_manifest, known_flags
from hcep.datasets.cmu_mosei import CmuMosei
from hcep.datasets.csd import read_csd
from hcep.datasets.manifest_file import check_clips, read_manifest
from hcep.datasets.mosei_folds import read_folds
from hcep.datasets.mosei_labels import EMOTIONS, positive, read_labels, single_label
from hcep.errors import HcepError

REPOSITORY = Path(__file__).parents[2]
EXPECTED = REPOSITORY / "config" / "expected" / "cmu_mosei.yaml"
# happiness, sadness, anger, surprise, disgust, fear
ZERO = (0.0,) * 6
HAPPY = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
SAD = (0.0, 2.0, 0.0, 0.0, 0.0, 0.0)
ANGRY = (0.0, 1 / 3, 2 / 3, 0.0, 0.0, 0.0)
VIDEO = "-_a_b_0"


def sentence(row: int, number: int, start: float, end: float, emotions=HAPPY, sentiment=0.0, **other) -> Made:
    filled = {"video": VIDEO, "words": f"words {number}", "fold": "train"} | other
    return Made(row=row, number=number, start=start, end=end, emotions=emotions, sentiment=sentiment, **filled)


def lay_raw(root: Path, sentences, lines=None, folds=None) -> CmuMosei:
    """A raw release of given sentences; the mp4 of every video is an empty file."""
    combined = root / "Raw/Videos/Full/Combined"
    combined.mkdir(parents=True)
    for video in {made.video for made in sentences}:
        (combined / f"{video}.mp4").touch()
    write_csd(root / "CMU_MOSEI_Labels.csd", sentences)
    write_folds(
        root / "cmu_mosei_std_folds.py", {made.video: made.fold for made in sentences} if folds is None else folds
    )
    if lines is not None:
        (root / "Raw/Transcript/Segmented/Combined").mkdir(parents=True)
        (root / f"Raw/Transcript/Segmented/Combined/{VIDEO}.txt").write_bytes(lines.encode())
    return CmuMosei(root, {})


def lay_mmsa(root: Path, rows, table=None, changed=None) -> CmuMosei:
    """An MMSA copy: csd rows, and the sentences of label.csv where they differ."""
    (root / "MOSEI/Raw").mkdir(parents=True)
    write_csd(root / "CMU_MOSEI_Labels.csd", rows)
    write_table(root / "MOSEI/label.csv", rows if table is None else table, changed or {})
    return CmuMosei(root, {})


def faults_of(adapter: CmuMosei) -> dict[str, tuple[int, list[str]]]:
    survey = adapter.survey(adapter.clips())
    return {fault.what: (fault.cases, list(fault.examples)) for fault in survey.faults}


@pytest.mark.parametrize(
    ("emotions", "maximum", "alone"),
    [
        (ZERO, "", ""),
        (HAPPY, "happiness", "happiness"),
        (ANGRY, "anger", ""),
        ((2 / 3, 0, 0, 2 / 3, 0, 0), "", ""),
        ((1 / 3, 0, 0, 2 / 3, 2 / 3, 0), "", ""),
        # a third as float32 and as three digits is one intensity
        ((1 / 3, 0.333, 0, 0, 0, 0), "", ""),
        ((1 / 6, 0, 0, 0, 0, 1 / 3), "fear", ""),
        ((0, 0, 0, 0, 1 / 6, 0), "disgust", "disgust"),
        ((0, -1, -1, -1, -1, -1), "", ""),
    ],
)
def test_single_label_is_empty_for_none_and_for_ties(emotions, maximum, alone):
    assert single_label(emotions, "unique_maximum") == maximum
    assert single_label(emotions, "exactly_one") == alone


def test_neither_rule_is_an_arg_max():
    """Counted over all rows of halves 0 to 1: an arg max finds happiness in the empty row and in ties too."""
    rows = np.array(np.meshgrid(*[[0.0, 0.5, 1.0]] * 6)).reshape(6, -1).T
    by_hand: Counter[str] = Counter()
    for row in rows.tolist():
        top = [name for name, value in zip(EMOTIONS, row, strict=True) if value == max(row) and value > 0]
        by_hand[top[0] if len(top) == 1 else ""] += 1
    found = Counter(single_label(row, "unique_maximum") for row in rows.tolist())
    assert found == by_hand
    # one at 1 and the others below, or one at 0.5 and the others at 0
    assert found["happiness"] == found["fear"] == 2**5 + 1
    assert int((rows.argmax(axis=1) == 0).sum()) == 3**5 + 2**5 + 1, "the trap: every tie with it, and the row of zeros"
    assert Counter(single_label(row, "exactly_one") for row in rows.tolist())["sadness"] == 2


def test_raw_clips_are_segments_of_full_videos(tmp_path, capsys):
    made = make_release(tmp_path, clips_per_class=8, media=False)
    clips = {clip.clip: clip for clip in CmuMosei(tmp_path, {}).clips()}
    check_clips(clips.values(), tmp_path)
    assert set(clips) == {f"{row.video}_{row.row}" for row in made}
    for row in made:
        clip = clips[f"{row.video}_{row.row}"]
        assert clip.video == clip.audio == f"CMU_MOSEI/Raw/Videos/Full/Combined/{row.video}.mp4"
        assert (clip.start, clip.end) == (row.start, row.end)
        assert (clip.group, clip.fold) == (row.video, row.fold)
        assert (clip.text, clip.text_kind, clip.language) == (row.words.strip(), "transcript", "en")
        assert clip.labels == ";".join(name for name, value in zip(CLASSES, row.emotions, strict=True) if value)
    assert Counter(clip.label for clip in clips.values()) == {**dict.fromkeys(CLASSES, 8), "": 3}
    assert {clip.labels for clip in clips.values() if not clip.label} == {"", "happiness;surprise"}
    assert min(clip.start or 0.0 for clip in clips.values()) == -0.3
    assert (
        "raw layout, 51 clips of 8 videos; by unique_maximum 48 have a single label, 1 have" in capsys.readouterr().err
    )


def test_exactly_one_leaves_rows_of_two_emotions_without_a_label(tmp_path):
    rows = [sentence(0, 1, 0, 1, ANGRY), sentence(1, 2, 1, 2, SAD), sentence(2, 3, 2, 3, ZERO)]
    lay_raw(tmp_path, rows)
    clips = CmuMosei(tmp_path, {"single_label": "exactly_one"}).clips()
    assert [(clip.label, clip.labels) for clip in clips] == [("", "sadness;anger"), ("sadness", "sadness"), ("", "")]


def test_transcripts_join_by_time_and_never_by_number(tmp_path):
    """Row numbers and sentence numbers coincide here and mean different sentences."""
    rows = [
        sentence(0, 2, 10.0, 12.0),
        sentence(1, 0, -0.25, 4.0),
        sentence(2, 1, 4.0, 10.0),
        sentence(3, 3, 20.0, 21.0),
        sentence(4, 4, 30.0, 31.0),
    ]
    lines = (
        f"{VIDEO}___0___0.0___4.0___starts before the video\r\n"
        f"{VIDEO}___1___4.0009___9.9991___within a millisecond\r\n"
        f"{VIDEO}___7___10.0___12.0___keeps___the___bars\r\n"
        f"{VIDEO}___2___10.0___12.5___ends elsewhere\r\n"
        f"{VIDEO}___3___20.0015___21.0___one and a half milliseconds away\r\n"
        f"{VIDEO}___4___30.0___31.0___\r\n"
    )
    adapter = lay_raw(tmp_path, rows, lines)
    clips = adapter.clips()
    assert [clip.text for clip in clips] == [
        "keeps___the___bars",
        "starts before the video",
        "within a millisecond",
        "",
        "",
    ]
    assert [known_flags(clip) for clip in clips] == ["", "", "", "no_text", "no_text"]
    assert adapter.survey(clips).counts["transcripts"] == {"joined": 3, "without words": 1, "not joined": 1}
    assert faults_of(adapter) == {"clips whose transcript is not found (no words)": (1, [f"{VIDEO}_3"])}


def test_mmsa_clips_get_the_labels_of_their_rank_in_time(tmp_path):
    """Equal numbers would give clip 2 anger, and text order would put 10 before 2."""
    rows = [
        sentence(0, 11, 5.0, 7.0, SAD, sentiment=1 / 3),
        sentence(1, 2, 0.0, 2.0, HAPPY, sentiment=-2 / 3),
        sentence(2, 10, 2.0, 5.0, ANGRY, sentiment=2.0),
    ]
    adapter = lay_mmsa(tmp_path, rows)
    clips = {clip.clip: clip for clip in adapter.clips()}
    assert {name: clip.label for name, clip in clips.items()} == {
        f"{VIDEO}_2": "happiness",
        f"{VIDEO}_10": "anger",
        f"{VIDEO}_11": "sadness",
    }
    by_number = {row.row: single_label(row.emotions, "unique_maximum") for row in rows}
    assert by_number[2] == "anger" != clips[f"{VIDEO}_2"].label
    clip = clips[f"{VIDEO}_10"]
    assert (clip.video, clip.audio) == (f"MOSEI/Raw/{VIDEO}/10.mp4",) * 2
    assert (clip.start, clip.end, clip.text, clip.fold, clip.group) == (None, None, "words 10", "train", VIDEO)
    assert adapter.survey([]).counts["mmsa"]["joined"] == 3


def test_mmsa_videos_that_do_not_match_stay_without_labels_and_are_listed(tmp_path, capsys):
    rows = [
        sentence(row, row, row, row + 1.5, sentiment=1.0, video=video) for video in ("007", "9", "x") for row in (0, 1)
    ]
    table = [row for row in rows if (row.video, row.number) != ("9", 1)] + [sentence(0, 5, 0, 1, video="new")]
    adapter = lay_mmsa(tmp_path, rows, table, {"x": 0.002})
    clips = adapter.clips()
    assert {clip.clip: clip.label for clip in clips} == {
        "007_0": "happiness",
        "007_1": "happiness",
        "9_0": "",
        "new_5": "",
        "x_0": "",
        "x_1": "",
    }
    (tmp_path / "MOSEI/Raw/x").mkdir()
    found = faults_of(CmuMosei(tmp_path, {}))
    assert found["videos with another number of clips in label.csv than rows in the csd"] == (
        2,
        ["9: 1 and 2", "new: 1 and 0"],
    )
    assert found["sentiments of label.csv and csd that differ (their videos are not joined)"] == (
        1,
        ["x_0: 1.002 and 1"],
    )
    assert found["videos missing in MOSEI/Raw"] == (3, ["007", "9", "new"])
    assert adapter.survey(clips).counts["mmsa"] == {
        "clips": 6,
        "joined": 2,
        "not joined": 4,
        "videos not joined for their number of rows": 2,
        "sentiments that differ": 1,
        "csd rows of videos that are not in label.csv": 0,
    }
    assert "1 sentiments of label.csv and csd that differ" in capsys.readouterr().err


def test_sentiments_within_the_tolerance_join(tmp_path):
    adapter = lay_mmsa(tmp_path, [sentence(0, 3, 0, 1, SAD, sentiment=1 / 3)], None, {VIDEO: 0.0009})
    assert [clip.label for clip in adapter.clips()] == ["sadness"]


def test_generated_mmsa_release_joins_whole_and_keeps_numeric_ids_as_text(tmp_path):
    made = make_release(tmp_path, layout="mmsa", clips_per_class=8, media=False)
    clips = {clip.clip: clip for clip in CmuMosei(tmp_path, {}).clips()}
    assert {row.fold for row in made} == {"train", "valid", "test"}
    assert set(clips) == {f"{row.video}_{row.number}" for row in made}
    assert any(name.startswith("000003_") for name in clips)
    for row in made:
        assert clips[f"{row.video}_{row.number}"].label == single_label(row.emotions, "unique_maximum")
    # the test would not notice a join on numbers if both numberings were one
    assert sum(row.row != row.number for row in made) > len(made) / 2


def test_faulty_raw_release_is_told_in_full(tmp_path, capsys):
    made = make_release(tmp_path, clips_per_class=8, media=True, faults=True)
    ids = list(dict.fromkeys(row.video for row in made))
    adapter = CmuMosei(tmp_path, {})
    clips = {clip.clip: clip for clip in adapter.clips()}
    check_clips(clips.values(), tmp_path)
    assert len(clips) == len(made)
    found = faults_of(adapter)
    assert found["videos missing in Full/Combined"] == (1, [f"{ids[7]}.mp4"])
    assert found["rows with an emotion above 3, taken as 3"][0] == 1
    assert found["transcripts that are not UTF-8 (odd characters replaced)"] == (1, [f"{ids[3]}.txt"])
    assert found["transcript lines that cannot be read"][0] == 1
    lost = found["clips whose transcript is not found (no words)"][0]
    assert lost == sum(row.video == ids[1] for row in made) + 1
    assert found["segments that end before they start (no picture, no sound)"][1][0].startswith(f"{ids[2]}_5: ")
    cut = clips[f"{ids[2]}_5"]
    assert (cut.video, cut.audio, cut.start, cut.end, cut.flags) == ("", "", None, None, "no_video;no_audio")
    assert cut.label in CLASSES
    assert "1 segments that end before they start" in capsys.readouterr().err
    assert len(found) == 6


def test_faulty_mmsa_copy_is_told_in_full(tmp_path):
    made = make_release(tmp_path, layout="mmsa", clips_per_class=4, faults=True)
    ids = list(dict.fromkeys(row.video for row in made))
    adapter = CmuMosei(tmp_path, {})
    unlabelled = {clip.group for clip in adapter.clips() if not clip.labels}
    assert unlabelled == {ids[1], ids[2]}
    assert {what: cases for what, (cases, _) in faults_of(adapter).items()} == {
        "videos missing in MOSEI/Raw": 1,
        "videos with another number of clips in label.csv than rows in the csd": 1,
        "sentiments of label.csv and csd that differ (their videos are not joined)": 1,
        "rows with an emotion above 3, taken as 3": 1,
    }


def test_intensities_above_three_count_as_three(tmp_path):
    write_csd(
        tmp_path / "x.csd",
        [sentence(0, 0, 0, 1, (13 / 3, 3.0, 0, 0, 0, 0)), sentence(1, 1, 1, 2, (3.0, 0, 0, 0, 0, 0))],
    )
    labels = read_labels(tmp_path / "x.csd")
    assert [row.emotions for row in labels.segments[VIDEO]] == [
        (3.0, 3.0, 0, 0, 0, 0),
        (3.0, 0, 0, 0, 0, 0),
    ]
    assert labels.clamped == [f"{VIDEO} 0-1 s"]


def test_survey_counts_what_was_made(tmp_path):
    made = make_release(tmp_path, clips_per_class=12, media=False, seed=3)
    adapter = CmuMosei(tmp_path, {})
    survey = adapter.survey(adapter.clips())
    assert survey.found == {
        "labels": "labels/CMU_MOSEI_Labels.csd",
        "folds": "cmu_mosei_std_folds.py",
        "videos": "CMU_MOSEI/Raw/Videos/Full/Combined",
        "transcripts": "CMU_MOSEI/Raw/Transcript/Segmented/Combined",
    }
    counts = survey.counts
    assert counts["release"] == {"videos": 12, "segments": len(made)}
    assert counts["segments per fold"] == Counter(row.fold for row in made)
    assert counts["videos per fold"] == Counter({row.video: row.fold for row in made}.values())
    assert counts["fold file"] == {"videos without labels": 1}
    assert counts["positives"] == Counter(name for row in made for name in positive(row.emotions))
    assert counts["emotions per segment"]["0"] == sum(row.emotions == ZERO for row in made) == 2
    assert sum(counts["emotions per segment"].values()) == len(made)
    assert counts["unique_maximum"] == dict.fromkeys(EMOTIONS, 12)
    assert counts["unique_maximum train"] == dict.fromkeys(EMOTIONS, 6)
    alone = Counter(
        positive(row.emotions)[0] for row in made if len(positive(row.emotions)) == 1 and row.fold == "test"
    )
    assert counts["exactly_one test"] == {name: alone[name] for name in EMOTIONS}
    neighbours = [(one.end, two.start) for one, two in pairwise(made) if one.video == two.video]
    overlapping = sum(start < end for end, start in neighbours)
    assert 0 < overlapping < len(neighbours)
    assert counts["times"] == {
        "negative starts": 4,
        "neighbours": len(neighbours),
        "neighbours that overlap": overlapping,
    }


def test_published_numbers_have_the_names_of_the_survey(tmp_path):
    published = yaml.safe_load(EXPECTED.read_text(encoding="utf-8"))
    make_release(tmp_path, clips_per_class=8, media=False)
    counts = CmuMosei(tmp_path, {}).survey([]).counts
    for section, numbers in published["sections"].items():
        assert set(numbers) <= set(counts[section]), section
    sections = published["sections"]
    assert sum(sections["segments per fold"].values()) == published["clips"] == 23259
    assert sum(sections["emotions per segment"].values()) == published["clips"]
    in_segments = sum(int(number) * count for number, count in sections["emotions per segment"].items())
    assert in_segments == sum(sections["positives"].values()), "every positive is in a segment"
    assert sum(sections["unique_maximum"].values()) == 16902
    assert sum(sections["exactly_one"].values()) == sections["emotions per segment"]["1"]
    assert sum(published["labels"].values()) == published["clips"]


@pytest.mark.parametrize("text", ["manifest", "none", "asr"])
def test_text_setting_decides_the_kind_of_words(tmp_path, text):
    make_release(tmp_path, clips_per_class=1, media=False)
    clip = CmuMosei(tmp_path, {"text": text}).clips()[0]
    kinds = {"manifest": "transcript", "none": "none", "asr": "asr"}
    assert (clip.text_kind, bool(clip.text)) == (kinds[text], text == "manifest")


def test_manifest_of_a_release_can_be_read_back(tmp_path):
    made = make_release(tmp_path / "root", clips_per_class=2, media=False, seed=5)
    build_manifest("cmu_mosei", tmp_path / "root", "mosei", {}, tmp_path / "manifest.tsv")
    clips = read_manifest(tmp_path / "manifest.tsv")
    assert [clip.clip for clip in clips] == sorted(f"{row.video}_{row.row}" for row in made)
    assert {clip.start for clip in clips} == {row.start for row in made}


def write_other(path: Path, width: int, root: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset(f"{root}/data/{VIDEO}/features", data=np.zeros((1, width)))
        file.create_dataset(f"{root}/data/{VIDEO}/intervals", data=np.array([[0.0, 1.0]]))


def test_the_csd_with_seven_columns_is_taken_among_several(tmp_path):
    row = sentence(0, 0, 0.5, 1.5, ANGRY)
    lay_raw(tmp_path, [row])
    write_other(tmp_path / "A_Labels.csd", 6)
    write_other(tmp_path / "CMU_MOSEI_Facets.csd", 7)
    assert [clip.label for clip in CmuMosei(tmp_path, {}).clips()] == ["anger"]
    (tmp_path / "CMU_MOSEI_Labels.csd").unlink()
    with pytest.raises(
        HcepError, match=r"labels is missing; A_Labels\.csd has 6 columns, not 7\. Remedy: put CMU_MOSEI_La"
    ):
        CmuMosei(tmp_path, {}).clips()


def test_csd_of_any_root_name_with_bare_metadata_and_aligned_keys(tmp_path):
    rows = [sentence(0, 0, 10.0 * k, 10.0 * k + 1, video=f"{VIDEO}[{k}]", sentiment=k / 3) for k in range(11)]
    csd = read_csd(write_csd(tmp_path / "x.csd", rows, name="some Name"))
    assert csd.name == "some Name"
    assert csd.metadata["computational sequence description"] == "bare text, as in old files"
    assert csd.metadata["dimension names"][1] == "happy"
    segments = read_labels(tmp_path / "x.csd").segments
    assert [(row.row, row.start) for row in segments[VIDEO]] == [(k, 10.0 * k) for k in range(11)], "10 after 9"


@pytest.mark.parametrize(
    ("columns", "remark", "cause"),
    [
        (["Sentiment", "Happiness", "Sadness", "Anger", "Surprise", "Disgust", "Fear"], False, ""),
        (["a", "b", "c", "d", "e", "f", "g"], True, ""),
        ("sentiment and emotions", True, ""),
        (
            ["sentiment", "anger", "disgust", "fear", "happy", "sad", "surprise"],
            False,
            "order sentiment, anger, disgust",
        ),
    ],
)
def test_order_of_the_columns_is_checked_where_names_tell_it(tmp_path, columns, remark, cause):
    write_csd(tmp_path / "x.csd", [sentence(0, 0, 0, 1)], columns=columns)
    if cause:
        with pytest.raises(HcepError, match=cause):
            read_labels(tmp_path / "x.csd")
    else:
        assert bool(read_labels(tmp_path / "x.csd").remark) == remark


def test_broken_csd_is_refused_with_file_and_cause(tmp_path):
    path = tmp_path / "CMU_MOSEI_Labels.csd"
    whole = write_csd(tmp_path / "whole.csd", [sentence(0, 0, 0, 1)]).read_bytes()
    for content in (b"<html>moved</html>", whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(HcepError, match=r"CMU_MOSEI_Labels\.csd: cannot be read as HDF5.*download it again"):
            read_csd(path)
    with h5py.File(path, "w") as file:
        file.create_group("All Labels/metadata")
    with pytest.raises(HcepError, match="holds no group with `data`"):
        read_csd(path)
    with h5py.File(path, "w") as file:
        file.create_dataset(f"l/data/{VIDEO}/features", data=np.zeros((2, 7)))
        file.create_dataset(f"l/data/{VIDEO}/intervals", data=np.zeros((1, 2)))
    with pytest.raises(
        HcepError, match=rf"video {VIDEO}: has features of shape \(2, 7\) and intervals of shape \(1, 2\)"
    ):
        read_csd(path)
    write_other(path, 6)
    with pytest.raises(HcepError, match=rf"video {VIDEO}: has 6 columns, not the 7 of sentiment, happiness"):
        read_labels(path)
    write_csd(path, [sentence(0, 0, 0, float("nan"))])
    with pytest.raises(HcepError, match="not a finite number"):
        read_labels(path)


def test_the_sdk_file_is_parsed_and_never_run(tmp_path):
    path = tmp_path / "cmu_mosei_std_folds.py"
    mark = tmp_path / "ran"
    path.write_text(
        f"open({str(mark)!r}, 'w')\nstandard_train_fold = ['a', \n 'b']\nstandard_test_fold=['-c']\n"
        "standard_valid_fold=('_d',)\nother = 1\n"
    )
    assert read_folds(path) == {"a": "train", "b": "train", "-c": "test", "_d": "valid"}
    path.write_text(f"standard_train_fold = [open({str(mark)!r}, 'w').name]\n")
    with pytest.raises(HcepError, match="cannot be read as lists of video ids"):
        read_folds(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("standard_train_fold=['a']\nstandard_test_fold=['b']\n", "lacks the list standard_valid_fold"),
        (
            "standard_train_fold=['a']\nstandard_test_fold=['a']\nstandard_valid_fold=[]",
            "standard_test_fold: video 'a' is in",
        ),
        ("standard_train_fold='abc'\n", "a fold is not a list of quoted video ids"),
        ("standard_train_fold=open('x')\n", "cannot be read as lists of video ids"),
        ("standard_train_fold=[\n", "cannot be read as lists of video ids"),
        ("standard_train_fold=[]\nstandard_test_fold=[]\nstandard_valid_fold=[]", "lists no video"),
    ],
)
def test_bad_sdk_file_is_refused(tmp_path, text, cause):
    path = tmp_path / "cmu_mosei_std_folds.py"
    path.write_text(text)
    with pytest.raises(HcepError, match=cause):
        read_folds(path)


def test_folds_come_from_a_table_when_the_setting_names_one(tmp_path):
    rows = [sentence(0, 0, 0, 1, video=video) for video in ("a", "b", "c")]
    lay_raw(tmp_path, rows)
    (tmp_path / "mine.tsv").write_text("video\tfold\na\ttest\nb\t\n")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/mine.csv").write_text("fold,video\nheld,c\n")
    folds = {clip.group: clip.fold for clip in CmuMosei(tmp_path, {"folds": "mine.tsv"}).clips()}
    assert folds == {"a": "test", "b": "none", "c": "none"}
    folds = {clip.group: clip.fold for clip in CmuMosei(tmp_path, {"folds": "mine.csv"}).clips()}
    assert folds == {"a": "none", "b": "none", "c": "held"}
    with pytest.raises(HcepError, match=r"the setting `folds` is missing.*Remedy: put cmu_mosei_std_folds\.py"):
        CmuMosei(tmp_path, {"folds": "other.tsv"}).clips()
    (tmp_path / "mine.tsv").write_text("video\tfold\na\ttest\na\ttrain\n")
    with pytest.raises(HcepError, match=r"mine\.tsv, row 3: video 'a' is in fold test and in fold train"):
        CmuMosei(tmp_path, {"folds": "mine.tsv"}).clips()


def test_raw_release_without_folds_says_where_they_are(tmp_path):
    lay_raw(tmp_path, [sentence(0, 0, 0, 1)])
    place = "mmsdk/mmdatasdk/dataset/standard_datasets/CMU_MOSEI"
    clone = tmp_path / "CMU-MultimodalSDK-master" / place
    clone.mkdir(parents=True)
    shutil.move(tmp_path / "cmu_mosei_std_folds.py", clone)
    assert [clip.fold for clip in CmuMosei(tmp_path, {}).clips()] == ["train"], "found in a clone of the SDK"
    shutil.rmtree(tmp_path / "CMU-MultimodalSDK-master")
    with pytest.raises(
        HcepError, match=rf"the folds are missing.*github\.com/CMU-MultiComp-Lab/CMU-MultimodalSDK, {place}"
    ):
        CmuMosei(tmp_path, {}).clips()


def test_folds_setting_stands_above_the_mode_of_mmsa(tmp_path):
    lay_mmsa(tmp_path, [sentence(0, 0, 0, 1), sentence(0, 0, 0, 1, video="b", fold="valid")])
    write_folds(tmp_path / "cmu_mosei_std_folds.py", {VIDEO: "test"})
    assert {clip.group: clip.fold for clip in CmuMosei(tmp_path, {}).clips()} == {VIDEO: "train", "b": "valid"}
    named = CmuMosei(tmp_path, {"folds": "cmu_mosei_std_folds.py"}).clips()
    assert {clip.group: clip.fold for clip in named} == {VIDEO: "test", "b": "none"}


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("v,1,hi,0.5,,,,Positive,train", "row 3: clip 1 of video 'v' is already in row 2"),
        ("v,01,hi,0.5,,,,Positive,train", "row 3: clip 01 of video 'v' is already in row 2"),
        ("v,1_0,hi,0.5,,,,Positive,train", "row 3: clip_id '1_0' is not a whole number"),
        ("v,2,hi,much,,,,Positive,train", "row 3: label 'much' is not a number"),
        ("v,2,hi,,,,,Positive,train", "row 3: has no label"),
        ("v,2,hi,0.5,,,,Positive,dev", "row 3: mode 'dev' is not one of train, valid, test"),
        ("v,2,hi,0.5,,,,Positive,test", "row 3: video 'v' is in train and in test"),
        ("../v,2,hi,0.5,,,,Positive,train", "row 3: video_id '../v' is not a name"),
        ("v,2,hi", "row 3: has 3 cells"),
    ],
)
def test_bad_row_of_the_mmsa_table_is_named(tmp_path, row, cause):
    lay_mmsa(tmp_path, [sentence(0, 0, 0, 1)])
    header = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode"
    (tmp_path / "MOSEI/label.csv").write_text(f"{header}\nv,1,hi,0.5,,,,Positive,train\n{row}\n")
    with pytest.raises(HcepError, match=cause):
        CmuMosei(tmp_path, {}).clips()
    (tmp_path / "MOSEI/label.csv").write_text("video_id,text,label,mode\nv,hi,0.5,train\n")
    with pytest.raises(HcepError, match="lacks the column clip_id"):
        CmuMosei(tmp_path, {}).clips()


def test_layout_is_found_by_looking(tmp_path):
    made = make_release(tmp_path / "raw", clips_per_class=1, media=False)
    # the top folder may itself be the root, and its folders may be spelt in other ways
    root = tmp_path / "raw/CMU_MOSEI"
    shutil.move(tmp_path / "raw/labels/CMU_MOSEI_Labels.csd", root / "Raw")
    shutil.move(tmp_path / "raw/cmu_mosei_std_folds.py", root)
    shutil.move(root / "Raw/Videos", root / "Raw/videos")
    shutil.move(root / "Raw/Transcript", root / "Raw/TRANSCRIPTS")
    clips = CmuMosei(root, {}).clips()
    assert {clip.video for clip in clips} == {f"Raw/videos/Full/Combined/{made[0].video}.mp4"}
    assert all(clip.text for clip in clips)
    # MMSA's three corpora lie side by side, each with a label.csv
    make_release(tmp_path / "three", layout="mmsa", clips_per_class=1, media=False)
    (tmp_path / "three/MOSI").mkdir()
    (tmp_path / "three/MOSI/label.csv").write_text("video_id\nx\n")
    assert CmuMosei(tmp_path / "three", {}).clips()[0].video.startswith("MOSEI/Raw/")
    for layout, missing in (
        ("auto", "no Videos/Full/Combined and no label.csv"),
        ("raw", "no Videos/Full"),
        ("mmsa", "no label"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        write_csd(tmp_path / "empty/CMU_MOSEI_Labels.csd", made)
        with pytest.raises(HcepError, match=f"neither layout of CMU-MOSEI is below it: {missing}"):
            CmuMosei(tmp_path / "empty", {"layout": layout}).clips()
    assert CmuMosei(tmp_path / "gone", {}).watch() == ["release: the file of labels is missing"]


@pytest.mark.parametrize("settings", [{"text": "caption"}, {"layout": "cut"}, {"single_label": "argmax"}, {"folds": 1}])
def test_settings_are_checked(tmp_path, settings):
    with pytest.raises(HcepError, match=f"setting '{next(iter(settings))}'"):
        CmuMosei(tmp_path, settings)
    with pytest.raises(HcepError, match="has no setting 'fold' \\(did you mean 'folds'"):
        CmuMosei(tmp_path, {"fold": ""})


@pytest.mark.parametrize(
    ("layout", "targets"),
    [
        ("raw", ["CMU_MOSEI/Raw/Videos/Full/Combined/new.mp4", "CMU_MOSEI/Raw/Transcript/Segmented/Combined/new.txt"]),
        ("mmsa", ["MOSEI/Raw/Qv00000-xYz/99.mp4", "MOSEI/Raw/new/0.mp4"]),
    ],
)
def test_watch_sees_labels_folds_and_names_and_nothing_else(tmp_path, layout, targets):
    make_release(tmp_path, layout=layout, clips_per_class=2, media=False)
    seen = [CmuMosei(tmp_path, {}).watch()]
    for target in targets:
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / target).touch()
        seen.append(CmuMosei(tmp_path, {}).watch())
    for name in ("labels/CMU_MOSEI_Labels.csd", "cmu_mosei_std_folds.py" if layout == "raw" else "MOSEI/label.csv"):
        with (tmp_path / name).open("ab") as handle:
            handle.write(b"\n")
        seen.append(CmuMosei(tmp_path, {}).watch())
    assert len(set(map(tuple, seen))) == 5
    (tmp_path / "notes.txt").touch()
    assert CmuMosei(tmp_path, {}).watch() == seen[-1]


def test_videos_without_a_cut_file_are_told_when_there_are_cut_files(tmp_path):
    lay_raw(tmp_path, [sentence(0, 0, 0, 1, video=video) for video in ("a_1", "_b", "c")])
    assert not any("Segmented" in what for what in faults_of(CmuMosei(tmp_path, {})))
    segmented = tmp_path / "Raw/Videos/Segmented/Combined"
    segmented.mkdir(parents=True)
    (segmented / "a_1_0.mp4").touch()
    (segmented / "_b_12.mp4").touch()
    (tmp_path / "Raw/Videos/Full/Combined/c.mp4").unlink()
    found = faults_of(CmuMosei(tmp_path, {}))
    assert not any("Segmented" in what for what in found), "a missing video is told once"
    (tmp_path / "Raw/Videos/Full/Combined/c.mp4").touch()
    assert next(told for what, told in faults_of(CmuMosei(tmp_path, {})).items() if "Segmented" in what) == (1, ["c"])


def test_release_without_any_of_its_videos_is_an_error(tmp_path):
    make_release(tmp_path, clips_per_class=2, media=False)
    adapter = CmuMosei(tmp_path, {})
    assert [fault.severity for fault in adapter.survey(adapter.clips()).faults] == ["error"]
