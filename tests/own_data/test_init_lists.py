"""`hcep init` on somebody's table: separators, names of columns, ways to write a path, marks; what is refused."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
import yaml

from hcep.datasets.manifest_file import open_table

LABELS = ("anger", "fear", "happiness")
CLIPS = [(f"clips/{who}_{label}.mp4", label, who) for who in ("anna", "ben", "cleo", "dan") for label in LABELS]
HEADER = ("path", "emotion", "speaker")


@pytest.fixture
def listed(place, lay):
    """Write a table beside the folder of the clips."""
    lay(path for path, _, _ in CLIPS)

    def write(rows, header=HEADER, sign=",", name="list.csv", mark=b"", coding="utf-8") -> Path:
        path = place / name
        text = "".join(sign.join(cells) + "\n" for cells in [header, *rows])
        path.write_bytes(mark + text.encode(coding))
        return Path(name)

    return write


def rows(place: Path) -> dict[str, dict[str, str]]:
    return {cells["clip"]: cells for _, cells in open_table(place / "config/mydata/clips.tsv")}


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("header", [HEADER, ("File Name", "LABEL", "Actor ID"), ("clip", "Class", "subject")])
def test_usual_columns_are_found_and_told(place, listed, type_init, sign, mark, header):
    said = type_init("data/mine", "--table", listed(CLIPS, header, sign, mark=mark))
    assert f"columns of list.csv: video = {header[0]}, label = {header[1]}, group = {header[2]}" in said
    found = rows(place)
    assert found["clips_anna_anger"] | {"fold": ""} == {
        "clip": "clips_anna_anger",
        "video": "clips/anna_anger.mp4",
        "label": "anger",
        "group": "anna",
        "fold": "",
    }
    assert len(found) == 12 and {row["fold"] for row in found.values()} == {"train", "test"}


@pytest.mark.parametrize(
    "written, way",
    [
        (lambda path, root: path, "paths below data/mine\n"),
        (lambda path, root: f".\\{path}".replace("/", "\\"), "paths below data/mine\n"),
        (lambda path, root: f"data/mine/{path}", "paths below .\n"),
        (lambda path, root: str(root / "data/mine" / path), "paths below data/mine\n"),
        (lambda path, root: Path(path).name, "names of files\n"),
        (lambda path, root: Path(path).stem, "names of files without their ending\n"),
        (lambda path, root: path.removesuffix(".mp4"), "paths below data/mine without their ending\n"),
    ],
)
def test_files_are_found_however_they_are_written(place, listed, type_init, written, way):
    table = listed([(written(path, place), *rest) for path, *rest in CLIPS])
    assert f"video: 12 rows with {way}" in type_init("data/mine", "--table", table)
    assert {row["video"] for row in rows(place).values()} == {path for path, _, _ in CLIPS}


@pytest.mark.parametrize("header", [("clip", "path"), ("clip", "wav"), ("id", "clip")])
def test_a_column_called_clip_has_ids_where_another_has_the_files(place, listed, lay, type_init, header):
    ids = [f"c{number:02}" for number in range(len(CLIPS))]
    files = [path.replace(".mp4", ".wav") if "wav" in header else path for path, _, _ in CLIPS]
    lay(files)
    table = listed(
        [(one, file, *rest) for one, file, (_, *rest) in zip(ids, files, CLIPS, strict=True)], (*header, *HEADER[1:])
    )
    chosen = [] if "path" in header or "wav" in header else ["--column", "clip=id", "video=clip"]
    type_init("data/mine", "--table", table, *chosen)
    found = rows(place)
    assert [*found] == ids and found["c00"]["audio" if "wav" in header else "video"] == files[0]


def test_a_file_that_is_not_there_is_named_with_its_row(place, listed, type_init):
    table = listed([*CLIPS, ("clips/gone.mp4", "anger", "eva")])
    said = type_init("data/mine", "--table", table, fails=True)
    assert "list.csv, row 14: 1 of 13 rows name a video that is not there, such as 'clips/gone.mp4'" in said
    (place / "elsewhere.mp4").touch()
    (place / "data/mine/clips/gone.mp4").symlink_to(place / "elsewhere.mp4")
    assert "(links that leave the folder)" in type_init("data/mine", "--table", table, fails=True)


def test_a_name_that_two_files_have_is_not_guessed(listed, lay, type_init):
    lay(["other/anna_anger.mp4"])
    table = listed([(Path(path).name, *rest) for path, *rest in CLIPS])
    assert "such as 'anna_anger.mp4'" in type_init("data/mine", "--table", table, fails=True)


@pytest.mark.parametrize(
    "header, extra, cause, remedy",
    [
        (
            ("path", "emotion", "Spkr"),
            (),
            "not known: 'Spkr'",
            "--ignore Spkr; one that is used is named, as --column group=NAME",
        ),
        (("path", "lable", "speaker"), (), "not known: 'lable'", "--ignore lable"),
        (
            ("path", "emotion", "label"),
            (),
            "'emotion' and 'label' may both be the label",
            "--column label=emotion --ignore label",
        ),
        (("path", "file", "label"), (), "'path' and 'file' may both be the video", "--column video=path"),
        (
            ("path", "emotion", "speaker"),
            ("--column", "label=Emotion"),
            "names 'Emotion', which is no column (did you mean 'emotion'?)",
            "",
        ),
        (
            ("path", "emotion", "speaker"),
            ("--column", "lable=emotion"),
            "is no column of the clip table (did you mean 'label'?)",
            "",
        ),
        (("path", "emotion", "speaker"), ("--ignore", "emotion"), "no column has the labels", "--column label=NAME"),
        (("path", "emotion", "speaker"), ("--ignore", "path"), "no column has the files", "--column video=NAME"),
    ],
)
def test_columns_that_are_not_certain_are_asked_for(listed, type_init, header, extra, cause, remedy):
    said = type_init("data/mine", "--table", listed(CLIPS, header), *extra, fails=True)
    assert "row 1: " in said or "--column lable" in said
    assert cause in said and remedy in said


def test_columns_are_named_and_left_out_by_hand(place, listed, type_init):
    table = listed([(str(n), *cells, "x") for n, cells in enumerate(CLIPS)], ("", "p", "Feeling", "Spkr", "Season"))
    named = ["--column", "video=p", "label=Feeling", "group=Spkr", "--ignore", "Season"]
    said = type_init("data/mine", "--table", table, *named)
    assert "video = p, label = Feeling, group = Spkr" in said and "columns not used: Season, (no name)" in said
    assert rows(place)["clips_ben_fear"]["group"] == "ben"


def test_one_column_per_label(place, listed, type_init):
    marked = [(path, *("01"[label == one] for one in LABELS), who) for path, label, who in CLIPS]
    said = type_init("data/mine", "--table", listed(marked, ("path", *LABELS, "speaker")))
    assert "label = the column with 1 of anger, fear, happiness" in said
    assert {row["video"]: row["label"] for row in rows(place).values()} == {path: label for path, label, _ in CLIPS}


def test_two_marks_in_a_row_and_a_column_beside_the_marks_are_refused(listed, type_init):
    marked = [(path, *("01"[label == one] for one in LABELS), who) for path, label, who in CLIPS]
    header = ("path", *LABELS, "speaker")
    marked[4] = ("clips/ben_fear.mp4", "1", "1", "0", "ben")
    said = type_init("data/mine", "--table", listed(marked, header), fails=True)
    assert "row 6: has several labels: anger, fear" in said
    table = listed([(*cells, "x") for cells in marked], (*header, "Season"))
    assert "not known: 'anger', 'fear', 'happiness', 'Season'" in type_init("data/mine", "--table", table, fails=True)


@pytest.mark.parametrize("label", ["anger;fear", "anger|fear", "anger/fear"])
def test_several_labels_in_a_cell_are_refused(listed, type_init, label):
    table = listed([(CLIPS[0][0], label, "anna"), *CLIPS[1:]], sign="\t")
    assert f"label '{label}' (1 clip) seems to name several" in type_init("data/mine", "--table", table, fails=True)


def test_all_names_of_a_clip_stand_beside_its_label(place, listed, type_init):
    more = [(*cells, f"{cells[1]};surprise" if n == 0 else "") for n, cells in enumerate(CLIPS)]
    type_init("data/mine", "--table", listed(more, (*HEADER, "labels")))
    assert rows(place)["clips_anna_anger"]["labels"] == "anger;surprise"


def test_parts_of_files_words_and_folds(place, listed, type_init):
    more = [
        (path, label, who, start, end, "well,  yes", "Test" if who == "dan" else "Train")
        for path, label, who in CLIPS
        for start, end in (("0", "1.5"), ("1.5", "3"))
    ]
    table = listed(more, (*HEADER, "Start Time", "end", "Utterance", "partition"), sign=";")
    said = type_init("data/mine", "--table", table)
    found = rows(place)
    assert (
        found["clips_dan_fear"]["fold"] == "test" and found["clips_dan_fear_2"]["start"] == "1.5" and len(found) == 24
    )
    assert found["clips_anna_fear"]["text"] == "well, yes" and found["clips_anna_fear"]["text_kind"] == "transcript"
    assert "written as: Test -> test, Train -> train" in said and "tested: test" in said


def test_captions_are_no_transcripts(place, listed, type_init):
    table = listed([(*cells, "she cries") for cells in CLIPS], (*HEADER, "Caption"))
    assert "words of 12 clips: taken as caption" in type_init("data/mine", "--table", table)
    assert {row["text_kind"] for row in rows(place).values()} == {"caption"}


def test_numbered_folds_are_asked_for(place, listed, type_init):
    folds = {"anna": "1", "ben": "2", "cleo": "3", "dan": "3"}
    table = listed([(*cells, folds[cells[2]]) for cells in CLIPS], (*HEADER, "fold"))
    said = type_init("data/mine", "--table", table, fails=True)
    assert "no fold is called test: 1, 2, 3" in said and "--test-folds 1" in said
    assert "--test-folds 4: no clip has it" in type_init("data/mine", "--table", table, "--test-folds", "4", fails=True)
    type_init("data/mine", "--table", table, "--test-folds", "3")
    entry = yaml.safe_load((place / "config/mydata/mydata.yaml").read_text())["task_definitions"]["mydata"]
    assert entry["test_folds"] == ["3"] and rows(place)["clips_dan_fear"]["fold"] == "3"


@pytest.mark.parametrize(
    "rows, header, cause",
    [
        ([*CLIPS, CLIPS[3]], HEADER, "row 14: is of the same file as row 5, 'clips/ben_anger.mp4'"),
        ([*CLIPS, ("", "anger", "anna")], HEADER, "row 14: names no file"),
        ([(*cells, "0:01") for cells in CLIPS], (*HEADER, "start"), "row 2: start '0:01' is not a number of seconds"),
        ([(*cells, "c1") for cells in CLIPS], (*HEADER, "clip"), "clip 'c1' is there twice"),
        (
            [(*cells, "test" if n else "") for n, cells in enumerate(CLIPS)],
            (*HEADER, "fold"),
            "1 of 12 clips have no fold",
        ),
        ([], HEADER, "lists no clips"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(listed, type_init, rows, header, cause):
    assert cause in type_init("data/mine", "--table", listed(rows, header), fails=True)


def test_other_codings_and_missing_tables_are_refused(listed, type_init):
    table = listed([("clips/anna_anger.mp4", "Ärger", "anna")], coding="latin-1")
    assert "is not UTF-8" in type_init("data/mine", "--table", table, fails=True)
    assert "none.csv: cannot be read" in type_init("data/mine", "--table", "none.csv", fails=True)
    assert "list.csv: is no folder" in type_init("list.csv", fails=True)


def test_clips_without_label_or_speaker_are_told(place, listed, type_init):
    table = listed([*CLIPS[:-2], (CLIPS[-2][0], "", "dan"), (CLIPS[-1][0], CLIPS[-1][1], "")])
    said = type_init("data/mine", "--table", table)
    assert "without a label: 1 clip; kept in the table, in no split" in said
    assert "without a speaker: 1 clip, such as clips_dan_happiness" in said


def test_media_that_the_table_does_not_name_are_told(listed, lay, type_init):
    lay(["clips/eva_anger.mp4", "clips/eva_fear.wav"])
    said = type_init("data/mine", "--table", listed(CLIPS))
    assert "left out, media that are no clip of the table: 2: clips/eva_anger.mp4, clips/eva_fear.wav" in said


@pytest.mark.parametrize(
    "options, cause",
    [
        (["--layout", "label", "--table", "list.csv"], "--table and --layout are given"),
        (["--column", "label=x"], "are for a table"),
        (["--text-kind", "said"], "--text-kind is 'said'"),
        (["--test-share", "1"], "--test-share is 1"),
        (["--name", "My-Clips"], "has other signs than a-z"),
    ],
)
def test_options_that_say_nothing_together_are_refused(listed, type_init, options, cause):
    listed(CLIPS)
    assert cause in type_init("data/mine", *options, fails=True)
