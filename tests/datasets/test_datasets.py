"""Releases on disk -> manifest rows; files that a user writes; downloads."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_media import write_list

from hcep.datasets.build import build_manifest
from hcep.datasets.download import download_ravdess, download_zenodo
from hcep.datasets.manifest import Manifest
from hcep.datasets.manifest_file import COLUMNS, Clip, read_manifest, write_manifest
from hcep.datasets.ravdess import Ravdess
from hcep.errors import CONTROL_OR_BREAK, HcepError

PLAIN = Clip("a", "d", "v/a.mp4", "v/a.mp4", None, None, "hi", "transcript", "en", "fear", "fear", "g", "1", "", "")

# what UTF-8 and a TSV can hold: everything but surrogates and NUL
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
names = words.filter(lambda name: name and not CONTROL_OR_BREAK.search(name))


@given(
    st.lists(st.tuples(names, words), min_size=1, max_size=6, unique_by=lambda pair: pair[0]),
    st.floats(0, 1e5),
    st.floats(1e-3, 1e4),
)
def test_manifest_comes_back_as_written(tmp_path_factory, pairs, start, length):
    path = tmp_path_factory.mktemp("m") / "manifest.tsv"
    clips = [PLAIN._replace(clip=name, text=text, start=start, end=start + length) for name, text in pairs]
    write_manifest(path, clips)
    assert read_manifest(path) == clips


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"clip": ""}, "row 3: the clip id is empty"),
        ({"clip": "a"}, "row 3: clip 'a' is already in row 2"),
        ({"text_kind": "subtitle"}, "row 3: unknown text_kind 'subtitle'"),
        ({"flags": "no_sound"}, "row 3: unknown flag 'no_sound'"),
        ({"video": "../a.mp4"}, "row 3: video '../a.mp4' leaves the release root"),
        ({"audio": "/etc/passwd"}, "row 3: audio '/etc/passwd' leaves the release root"),
        ({"start": "2", "end": "1"}, "row 3: the segment ends at 1 s"),
        ({"start": "1,5"}, "row 3: start '1,5' is not a number"),
        ({"end": "nan"}, "row 3: end 'nan' is not a number"),
        ({"box": "1,2,3"}, "row 3: not a box"),
        ({"box": "0,0,0,5"}, "row 3: not a box"),
    ],
)
def test_bad_manifest_names_row_cause_and_remedy(tmp_path, change, cause):
    good = {name: "" if value is None else str(value) for name, value in PLAIN._asdict().items()}
    path = write_list(tmp_path / "manifest.tsv", [good, good | {"clip": "b"} | change])
    with pytest.raises(HcepError) as caught:
        read_manifest(path)
    assert cause in str(caught.value) and str(path) in str(caught.value) and caught.value.remedy


def test_manifest_file_that_is_none(tmp_path):
    path = tmp_path / "manifest.tsv"
    with pytest.raises(HcepError, match="No such file"):
        read_manifest(path)
    for content, cause in [
        (b"", "no header"),
        (b"clip\tvideo\n", "no clips"),
        (b"clip\tvideo\na\tb\n", "lacks the column dataset, audio"),
        (b"clip\tvideo\na\n", "row 2: has 1 cells, the header has 2"),
        ("clip\tvideo\ngr\xfcn\tb\n".encode("latin-1"), "not UTF-8"),
        (b'clip\tvideo\n"a\tb\n', "row 2: is not a table"),
    ]:
        path.write_bytes(content)
        with pytest.raises(HcepError, match=cause):
            read_manifest(path)


def own_release(root: Path, *names: str, **columns: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    rows = [{"clip": name, "video": name, "label": "fear"} | columns for name in names]
    write_list(root / "clips.tsv", rows)
    return root


def test_own_list_gets_sensible_defaults(tmp_path):
    root = own_release(tmp_path / "r", "b.mp4", "a.mp4", text="well")
    build_manifest("manifest", root, "mine", {"text": "manifest"}, tmp_path / "manifest.tsv")
    first, second = read_manifest(tmp_path / "manifest.tsv")
    assert (first.clip, second.clip) == ("a.mp4", "b.mp4")
    assert first.dataset == "mine" and first.audio == "a.mp4" and first.group == "a.mp4" and first.labels == "fear"
    assert (first.text_kind, first.language, first.flags) == ("transcript", "en", "")


def test_own_list_flags_what_a_row_lacks(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    rows = [
        {"clip": "a", "video": "a.mp4", "label": "fear", "flags": "no_audio"},
        {"clip": "b", "video": "", "audio": "a.mp4", "label": "fear", "text": "words", "text_kind": "caption"},
        {"clip": "c", "video": "", "audio": "", "label": ""},
    ]
    write_list(tmp_path / "clips.tsv", rows)
    build_manifest("manifest", tmp_path, "mine", {}, tmp_path / "out.tsv")
    assert [clip.flags for clip in read_manifest(tmp_path / "out.tsv")] == [
        "no_audio;no_text",
        "no_video",
        "no_audio;no_video;no_text",
    ]
    # with speech recognition, whether a clip has words is not known yet
    build_manifest("manifest", tmp_path, "mine", {"text": "asr"}, tmp_path / "out.tsv")
    assert read_manifest(tmp_path / "out.tsv")[0].flags == "no_audio"


def test_own_list_with_commas(tmp_path):
    (tmp_path / "a b.mp4").write_bytes(b"x")
    (tmp_path / "clips.csv").write_text('clip,video,label,start,end\n"a,1",a b.mp4,fear,0.5,2\n')
    clips = Manifest(tmp_path, {"file": "clips.csv"}).clips()
    assert (clips[0].clip, clips[0].start, clips[0].end) == ("a,1", 0.5, 2.0)


@pytest.mark.parametrize(
    ("settings", "columns", "cause"),
    [
        ({"labels": ["fear", "anger"]}, {"label": "angr"}, "row 2: label 'angr'.*did you mean 'anger'"),
        ({"labels": ["Fear"]}, {"label": "fear"}, "did you mean 'Fear'"),
        ({"labels": ["fear"]}, {"labels": "fear;joy"}, "label 'joy'"),
        ({}, {"video": "b.mp4"}, "row 2: clip 'a.mp4': media file .*b.mp4' is missing"),
        ({}, {"video": "x" * 300}, "is missing"),
        ({}, {"lable": "x"}, "unknown column 'lable'.*did you mean 'label'"),
        ({"lables": []}, {}, "no setting 'lables'.*did you mean 'labels'"),
        ({"text": "subtitle"}, {}, "setting 'text'"),
        # a text would be searched, so that 'ang' would be one of 'anger'
        ({"labels": "fearful"}, {"label": "fear"}, "setting 'labels'.*is 'fearful'.*list the names"),
        ({"labels": [1]}, {}, "lists 1, which is not text.*for a number: write the name in quotes, as '1'"),
        ({"labels": [False]}, {}, "lists False.*YAML takes yes, on, no and off for true and false.*quotes"),
        ({"labels": ["fear", None]}, {}, "lists None.*null for nothing.*quotes"),
        ({}, {"video": "A.mp4"}, "A.mp4' is missing.*write 'a.mp4', the file that is there"),
        ({}, {"video": "a.MP4"}, "a.MP4' is missing.*write 'a.mp4', the file that is there"),
        ({"file": 5}, {}, "setting 'file'.*is 5"),
        ({"language": None}, {}, "setting 'language'"),
    ],
)
def test_own_list_that_is_wrong(tmp_path, settings, columns, cause):
    root = own_release(tmp_path, "a.mp4", **columns)
    with pytest.raises(HcepError, match=cause):
        Manifest(root, settings).clips()


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        (
            "a.csv",
            "clip;video;label\na;x,y;fear\n",
            "row 2.*its header is separated by semicolons, save it with commas",
        ),
        ("a.csv", "clip;video;label\na;x;fear\n", "lacks the column clip.*in a .csv file a comma"),
        ("a.tsv", "clip,video,label\na,x,fear\n", "lacks the column clip.*the separator is a tab"),
        ("a.csv", "Clip,Video,label\na,x,fear\n", "Remedy: rename Clip to clip, Video to video"),
        ("a.csv", "clip,video,label\na,x,fear,,\n", "row 2: has 5 cells, the header has 3.*commas or newlines"),
    ],
)
def test_own_list_as_a_spreadsheet_may_write_it(tmp_path, name, text, cause):
    (tmp_path / name).write_text(text)
    with pytest.raises(HcepError, match=cause):
        Manifest(tmp_path, {"file": name}).clips()


# a header and a row that are right, and what a user may make of them: text, row of the error, cause
HEADER = "clip\tvideo\tstart\tend\tseconds\ttext\ttext_kind\tlabel\tgroup\tfold\tflags\tbox\taudio"
RIGHT = "a\ta.mp4\t0\t1.5\t1.5\thi\tcaption\tfear\tanna\ttrain\t\t1,2,3,4\ta.mp4"
MISTAKES = {
    "nothing": ("", 1, "has no header"),
    "a blank first line": (f"\n{HEADER}\n{RIGHT}\n", 1, "has no header"),
    "a header alone": (f"{HEADER}\n", None, "lists no clips"),
    "no header": (f"{RIGHT}\n{RIGHT}\n", 1, "has the column a.mp4 twice"),
    "no header, one row": ("a\tb.mp4\tfear\n", None, "lists no clips"),
    "a column missing": ("clip\tvideo\na\ta.mp4\n", 1, "lacks the column label"),
    "two columns missing": ("clip\ttext\na\thi\n", 1, "lacks the column video, label"),
    "a column twice": ("clip\tvideo\tlabel\tvideo\na\ta.mp4\tfear\ta.mp4\n", 1, "has the column video twice"),
    "a column misspelt": ("clip\tvidoe\tlabel\na\ta.mp4\tfear\n", 1, "lacks the column video"),
    "a column in capitals": ("Clip\tvideo\tlabel\na\ta.mp4\tfear\n", 1, "lacks the column clip"),
    "a space behind a column": ("clip\tvideo \tlabel\na\ta.mp4\tfear\n", 1, "lacks the column video"),
    "an optional column misspelt": ("clip\tvideo\tlabel\tflod\na\ta.mp4\tfear\ttest\n", 1, "unknown column 'flod'"),
    "a column of one's own": ("clip\tvideo\tlabel\tnote\na\ta.mp4\tfear\tx\n", 1, "unknown column 'note'"),
    "a column without name": ("clip\tvideo\tlabel\t\na\ta.mp4\tfear\tx\n", 1, "unknown column ''"),
    "commas": ("clip,video,label\na,a.mp4,fear\n", 1, "lacks the column clip, video, label"),
    "semicolons": ("clip;video;label\na;a.mp4;fear\n", 1, "lacks the column clip, video, label"),
    "spaces for tabs": ("clip video label\na a.mp4 fear\n", 1, "lacks the column clip, video, label"),
    "sep=": ("sep=;\nclip;video;label\na;a.mp4;fear\n", 1, "is a note for spreadsheet programs"),
    "too few cells": (f"{HEADER}\n{RIGHT}\nb\ta.mp4\n", 3, "has 2 cells, the header has 13"),
    "too many cells": (f"{HEADER}\n{RIGHT}\tx\n", 2, "has 14 cells, the header has 13"),
    "a line break without marks": (f"{HEADER}\n{RIGHT.replace('hi', 'h' + chr(10) + 'i')}\n", 2, "has 6 cells"),
    "a mark inside a cell": (f"{HEADER}\n{RIGHT.replace('hi', chr(34) + 'h' + chr(34) + 'i')}\n", 2, "is not a table"),
    "a mark that never closes": (f"{HEADER}\n{RIGHT.replace('hi', chr(34) + 'hi')}\n", 2, "unexpected end of data"),
    "no id": (f"{HEADER}\n{RIGHT[1:]}\n", 2, "the clip id is empty"),
    "an id twice": (f"{HEADER}\n{RIGHT}\n\n{RIGHT}\n", 4, "clip 'a' is already in row 2"),
    "a missing file": (f"{HEADER}\n{RIGHT.replace('a.mp4', 'b.mp4', 1)}\n", 2, "b.mp4' is missing"),
    "a missing sound": (f"{HEADER}\n{RIGHT[:-5]}b.wav\n", 2, "b.wav' is missing"),
    "backslashes": (f"{HEADER}\n{RIGHT.replace('a.mp4', 'v' + chr(92) + 'a.mp4', 1)}\n", 2, "a.mp4' is missing"),
    "a path above the root": (
        f"{HEADER}\n{RIGHT.replace('a.mp4', 'v/../../a.mp4', 1)}\n",
        2,
        "leaves the release root",
    ),
    "an absolute path": (f"{HEADER}\n{RIGHT.replace('a.mp4', '/a.mp4', 1)}\n", 2, "leaves the release root"),
    "a decimal comma": (f"{HEADER}\n{RIGHT.replace('1.5', '1,5', 1)}\n", 2, "end '1,5' is not a number of seconds"),
    "a length with a comma": (f"{HEADER}\n{RIGHT[::-1].replace('5.1', '5,1', 1)[::-1]}\n", 2, "seconds '1,5' is not a"),
    "minutes": (f"{HEADER}\n{RIGHT.replace('1.5', '0:01', 1)}\n", 2, "end '0:01' is not a number of seconds"),
    "words for a number": (f"{HEADER}\n{RIGHT.replace('1.5', 'end', 1)}\n", 2, "end 'end' is not a number of seconds"),
    "no number": (f"{HEADER}\n{RIGHT.replace('1.5', 'nan', 1)}\n", 2, "end 'nan' is not a number of seconds"),
    "without end": (f"{HEADER}\n{RIGHT.replace('1.5', 'inf', 1)}\n", 2, "end 'inf' is not a number of seconds"),
    "a segment the wrong way round": (
        f"{HEADER}\n{RIGHT.replace('0', '3', 1)}\n",
        2,
        "ends at 1.5 s, not after its start 3 s",
    ),
    "an empty segment": (f"{HEADER}\n{RIGHT.replace('0', '1.5', 1)}\n", 2, "ends at 1.5 s, not after its start 1.5 s"),
    "an end before the file": (f"{HEADER}\n{RIGHT.replace('1.5', '-1', 1)}\n", 2, "the segment ends at -1 s"),
    "no length": (f"{HEADER}\n{RIGHT[::-1].replace('5.1', '0', 1)[::-1]}\n", 2, "seconds is 0"),
    "an unknown label": (f"{HEADER}\n{RIGHT.replace('fear', 'faer')}\n", 2, "label 'faer' is not one of the labels"),
    "a label in capitals": (f"{HEADER}\n{RIGHT.replace('fear', 'Fear')}\n", 2, "(did you mean 'fear'?)"),
    "an unknown text_kind": (f"{HEADER}\n{RIGHT.replace('caption', 'subtitle')}\n", 2, "unknown text_kind 'subtitle'"),
    "an unknown flag": (
        f"{HEADER}\n{RIGHT.replace('train' + chr(9), 'train' + chr(9) + 'mute')}\n",
        2,
        "unknown flag 'mute'",
    ),
    "a box of three": (f"{HEADER}\n{RIGHT.replace('1,2,3,4', '1,2,3')}\n", 2, "not a box x,y,w,h"),
    "a box of corners": (f"{HEADER}\n{RIGHT.replace('1,2,3,4', '1,2,0,4')}\n", 2, "not a box x,y,w,h"),
    "a box of words": (f"{HEADER}\n{RIGHT.replace('1,2,3,4', 'face')}\n", 2, "not a box x,y,w,h"),
    "NUL": (f"{HEADER}\n{RIGHT.replace('hi', 'h' + chr(0))}\n", 2, "holds a NUL character"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_the_list_names_row_cause_and_remedy(tmp_path, kind):
    text, row, cause = MISTAKES[kind]
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "clips.tsv").write_bytes(text.encode())
    with pytest.raises(HcepError) as caught:
        Manifest(tmp_path, {"labels": ["fear", "anger"]}).clips()
    error = caught.value
    assert (error.file, error.row) == (tmp_path / "clips.tsv", row)
    assert cause in error.cause and error.remedy


@pytest.mark.parametrize(
    "coding", ["utf-16", "utf-16-le", "latin-1"], ids=["with a mark of its order", "without", "of one byte"]
)
def test_a_list_in_another_coding_is_refused(tmp_path, coding):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "clips.tsv").write_bytes(f"{HEADER}\n{RIGHT.replace('hi', 'é')}\n".encode(coding))
    with pytest.raises(HcepError) as caught:
        Manifest(tmp_path, {}).clips()
    assert "save it as UTF-8" in caught.value.remedy


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.removesuffix("\n"),
        lambda text: text.replace("\n", "\n\n") + "\n\n",
        lambda text: text + "\t" * HEADER.count("\t") + "\n",
        lambda text: text.replace("hi", '"hi"'),
        lambda text: text.replace("\tfear\t", "\t fear \t"),
    ],
    ids=["BOM", "CRLF", "CR", "no last line end", "blank lines", "a row of nothing", "marks", "spaces"],
)
def test_what_is_no_mistake_is_read_as_the_plain_list(tmp_path, change):
    (tmp_path / "a.mp4").write_bytes(b"x")
    lists = []
    for text in (f"{HEADER}\n{RIGHT}\n", change(f"{HEADER}\n{RIGHT}\n")):
        (tmp_path / "clips.tsv").write_bytes(text.encode())
        lists.append(Manifest(tmp_path, {"labels": ["fear"]}).clips())
    assert lists[0] == lists[1] and len(lists[0]) == 1 and lists[0][0].seconds == 1.5


def test_rows_of_nothing_behind_a_list_are_no_clips(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "clips.csv").write_text("clip,video,label\na,a.mp4,fear\n,,\n\n,,\n")
    assert [clip.clip for clip in Manifest(tmp_path, {"file": "clips.csv"}).clips()] == ["a"]


def test_own_list_without_a_required_column(tmp_path):
    write_list(tmp_path / "clips.tsv", [{"clip": "a", "video": "a.mp4"}])
    with pytest.raises(HcepError, match="lacks the column label"):
        Manifest(tmp_path, {}).clips()


def test_own_list_with_a_column_twice(tmp_path):
    own_release(tmp_path, "a.mp4")
    (tmp_path / "clips.tsv").write_text("clip\tvideo\tlabel\tlabel\na\ta.mp4\tfear\tanger\n")
    with pytest.raises(HcepError, match="row 1: has the column label twice"):
        Manifest(tmp_path, {}).clips()


def test_own_list_with_spaces_around_cells(tmp_path):
    root = own_release(tmp_path, "a.mp4 ", fold="test ", group=" anna ", labels="fear; anger", flags=" no_text")
    (clip,) = Manifest(root, {}).clips()
    assert (clip.fold, clip.group, clip.labels, clip.flags) == ("test", "anna", "fear;anger", "no_text")
    assert clip.video == "a.mp4 "  # a file may be named so


def test_watch_follows_rows_and_not_dates(tmp_path):
    root = own_release(tmp_path, "a.mp4")
    before = Manifest(root, {}).watch()
    (root / "clips.tsv").touch()
    assert Manifest(root, {}).watch() == before
    own_release(root, "a.mp4", "b.mp4")
    assert Manifest(root, {}).watch() != before


def test_missing_release_names_the_key(tmp_path):
    with pytest.raises(HcepError, match="`root` of the dataset entry 'mine'"):
        build_manifest("manifest", tmp_path / "none", "mine", {}, tmp_path / "out.tsv")
    with pytest.raises(HcepError, match="ravdess"):
        build_manifest("ravdes", tmp_path, "mine", {}, tmp_path / "out.tsv")
    assert not (tmp_path / "out.tsv").exists()


def ravdess_release(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_ravdess_layouts_and_names(tmp_path, capsys):
    root = ravdess_release(
        tmp_path,
        [
            "Actor_01/01-01-05-02-01-02-01.mp4",
            "Video_Speech_Actor_02/01-01-02-01-02-01-02.mp4",
            "Video_Speech_Actor_07/Actor_07/01-01-08-01-02-02-07.mp4",
            "Video_Speech_Actor_07/Actor_07/02-01-08-01-02-02-07.mp4",
            "Video_Song_Actor_07/01-02-03-01-02-02-07.mp4",
            "Audio_Speech_Actors_01-24/Actor_07/03-01-08-01-02-02-07.wav",
            "actor_03/01-01-03-01-01-01-03.MP4",
            "Actor_01/._01-01-05-02-01-02-01.mp4",
            "Actor_01/notes.txt",
        ],
    )
    clips = Ravdess(root, {}).clips()
    assert [(c.clip, c.label, c.group, c.fold) for c in clips] == [
        ("01-01-02-01-02-01-02", "neutral", "actor02", "2"),
        ("01-01-03-01-01-01-03", "happiness", "actor03", "3"),
        ("01-01-05-02-01-02-01", "anger", "actor01", "1"),
        ("01-01-08-01-02-02-07", "surprise", "actor07", "2"),
    ]
    assert clips[3].video == "Video_Speech_Actor_07/Actor_07/01-01-08-01-02-02-07.mp4" == clips[3].audio
    assert "4 takes; 3 files" in capsys.readouterr().err
    dropped = Ravdess(root, {"calm": "drop"}).clips()
    assert [c.clip for c in dropped] == ["01-01-03-01-01-01-03", "01-01-05-02-01-02-01", "01-01-08-01-02-02-07"]
    assert "1 calm takes dropped" in capsys.readouterr().err


def test_ravdess_folds_are_disjoint_by_speaker(tmp_path):
    names = [
        f"Actor_{actor:02d}/01-01-{emotion:02d}-01-01-0{repetition}-{actor:02d}.mp4"
        for actor in range(1, 25)
        for emotion in range(1, 9)
        for repetition in (1, 2)
    ]
    clips = Ravdess(ravdess_release(tmp_path, names), {"folds": 4}).clips()
    assert len(clips) == 384 and Counter(c.fold for c in clips) == dict.fromkeys("1234", 96)
    assert len({(c.fold, c.group) for c in clips}) == 24


def test_ravdess_with_one_speaker_folds_by_take(tmp_path):
    takes = [
        f"Actor_01/01-01-{emotion:02d}-01-0{statement}-0{repetition}-01.mp4"
        for emotion in (3, 4, 5)
        for statement in (1, 2)
        for repetition in (1, 2)
    ]
    clips = Ravdess(ravdess_release(tmp_path, takes), {"text": "asr"}).clips()
    assert {(c.clip.split("-")[4], c.clip.split("-")[5]): c.fold for c in clips} == {
        ("01", "01"): "1",
        ("01", "02"): "2",
        ("02", "01"): "3",
        ("02", "02"): "4",
    }
    assert all(c.group == c.clip and c.text_kind == "asr" for c in clips)


def test_ravdess_that_is_wrong(tmp_path):
    with pytest.raises(HcepError, match=r"no take.*1188976"):
        Ravdess(tmp_path, {}).clips()
    take = "01-01-05-02-01-02-01.mp4"
    ravdess_release(tmp_path, [f"Actor_01/{take}", f"Video_Speech_Actor_01/{take}"])
    with pytest.raises(HcepError, match="is there twice"):
        Ravdess(tmp_path, {}).clips()
    for settings in ({"calm": "keep"}, {"folds": 1}, {"text": "manifest"}, {"fold": 5}):
        with pytest.raises(HcepError):
            Ravdess(tmp_path, settings)


def test_ravdess_watch_follows_names(tmp_path):
    root = ravdess_release(tmp_path, ["Actor_01/01-01-05-02-01-02-01.mp4"])
    before = Ravdess(root, {}).watch()
    (root / "Actor_01/01-01-05-02-01-02-01.mp4").touch()
    assert Ravdess(root, {}).watch() == before
    ravdess_release(root, ["Actor_01/01-01-06-02-01-02-01.mp4"])
    assert Ravdess(root, {}).watch() != before
    assert Ravdess(tmp_path / "none", {}).watch() == ["media: missing"]


class Server:
    """Zenodo's records API over a local socket, with the faults of real servers."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.md5: dict[str, str] = {}
        self.ranges = True
        self.cut_once: dict[str, int] = {}
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def record(self) -> bytes:
        files = [
            {
                "key": name,
                "size": len(data),
                "checksum": f"md5:{self.md5.get(name, hashlib.md5(data).hexdigest())}",
                "links": {"self": f"{self.url}/files/{index}"},
            }
            for index, (name, data) in enumerate(self.files.items())
        ]
        return json.dumps({"files": files}).encode()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/api/records/"):
            found = handler.path.endswith(("/1", "/1188976"))
            handler.send_response(200 if found else 404)
            handler.end_headers()
            handler.wfile.write(self.record() if found else b"{}")
            return
        name = list(self.files)[int(handler.path.rsplit("/", 1)[1])]
        wanted, data = handler.headers.get("Range"), self.files[name]
        self.asked.append((name, wanted))
        first = int(wanted[6:-1]) if wanted and self.ranges else 0
        handler.send_response(206 if first else 200)
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - first))
        handler.end_headers()
        handler.wfile.write(data[first : self.cut_once.pop(name, None)])


@pytest.fixture
def server():
    local = Server()
    yield local
    local.server.shutdown()
    local.server.server_close()


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return buffer.getvalue()


def fetch(server: Server, output: Path, **settings):
    return download_zenodo("1", output, base_url=server.url, wait=0.0, attempts=2, **settings)


def test_download_is_verified_and_not_repeated(tmp_path, server):
    server.files = {"a b.txt": b"x" * 3_000_000, "c.bin": b""}
    assert [path.name for path in fetch(server, tmp_path)] == ["a b.txt", "c.bin"]
    assert (tmp_path / "a b.txt").read_bytes() == server.files["a b.txt"]
    asked = len(server.asked)
    fetch(server, tmp_path)
    assert len(server.asked) == asked and not list(tmp_path.glob("*.part"))


def test_interrupted_download_goes_on_where_it_stopped(tmp_path, server):
    data = bytes(range(256)) * 8000
    server.files, server.cut_once = {"a.bin": data}, {"a.bin": 700_000}
    fetch(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == data
    assert server.asked == [("a.bin", None), ("a.bin", "bytes=700000-")]


def test_download_killed_between_two_runs(tmp_path, server):
    data = bytes(range(256)) * 100
    server.files = {"a.bin": data}
    (tmp_path / "a.bin.part").write_bytes(data[:1000])
    fetch(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == data and server.asked == [("a.bin", "bytes=1000-")]


def test_server_without_range_starts_anew(tmp_path, server):
    data = bytes(range(256)) * 8000
    server.files, server.cut_once, server.ranges = {"a.bin": data}, {"a.bin": 700_000}, False
    fetch(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == data


def test_wrong_md5_is_refused(tmp_path, server):
    server.files, server.md5 = {"a.bin": b"abc"}, {"a.bin": "0" * 32}
    with pytest.raises(HcepError, match="MD5 0000"):
        fetch(server, tmp_path)
    assert not (tmp_path / "a.bin").exists()


def test_damaged_partial_file_is_thrown_away(tmp_path, server):
    server.files = {"a.bin": b"abcdef"}
    (tmp_path / "a.bin.part").write_bytes(b"XXX")
    fetch(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == b"abcdef"


def test_archives_are_unpacked_once(tmp_path, server):
    name = "Video_Speech_Actor_01.zip"
    server.files = {name: archive({"Actor_01/01-01-05-02-01-02-01.mp4": b"x"}), "Audio_Speech.zip": b"other"}
    download_ravdess(tmp_path, base_url=server.url)
    assert [c.video for c in Ravdess(tmp_path, {}).clips()] == [f"{name[:-4]}/Actor_01/01-01-05-02-01-02-01.mp4"]
    assert server.asked == [(name, None)] and not (tmp_path / name).exists()
    download_ravdess(tmp_path, base_url=server.url)
    assert len(server.asked) == 1


@pytest.mark.parametrize("member", ["../evil.txt", "/tmp/evil.txt", "a\\..\\..\\evil.txt"])
def test_archive_member_outside_the_folder_is_refused(tmp_path, server, member):
    server.files = {"a.zip": archive({member: b"x"})}
    with pytest.raises(HcepError, match="leaves the folder"):
        fetch(server, tmp_path / "out")
    assert not list(tmp_path.rglob("evil.txt")) and not (tmp_path / "out/a").exists()


def test_server_that_lies(tmp_path, server):
    server.files = {"../a.bin": b"x"}
    with pytest.raises(HcepError, match="refuses the file name"):
        fetch(server, tmp_path)
    server.files = {"a.zip": b"not a zip"}
    with pytest.raises(HcepError, match="not a zip"):
        fetch(server, tmp_path)
    with pytest.raises(HcepError, match="no file matches"):
        fetch(server, tmp_path, patterns=("*.mp4",))
    with pytest.raises(HcepError, match="cannot be read"):
        download_zenodo("2", tmp_path, base_url=server.url)
    with pytest.raises(HcepError, match="refuses the address"):
        download_zenodo("1", tmp_path, base_url="file:///etc")


def test_columns_are_the_contract():
    expected = "clip dataset video audio start end text text_kind language label labels group fold flags box seconds"
    assert expected.split() == list(COLUMNS)
