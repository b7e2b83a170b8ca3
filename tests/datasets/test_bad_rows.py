"""A table with several bad rows: all of them in one error, and none hidden by another."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_media import make_clip, write_list

from hcep.cli import main
from hcep.datasets.bad_rows import SHOWN, BadRows, BadTable
from hcep.datasets.boxes import read_boxes
from hcep.datasets.manifest import Manifest
from hcep.datasets.manifest_file import Clip, read_manifest
from hcep.errors import HcepError

HEADER = "clip\tvideo\tstart\tend\tlabel\tlabels\tflags\ttext_kind\tbox"
BAD = {
    3: ("b\ta.mp4\t0,5\t1\tfear\t\t\t\t", "start '0,5' is not a number of seconds"),
    4: ("c\tA.mp4\t\t\tfear\t\t\t\t", "media file 'ROOT/A.mp4' is missing"),
    5: ("a\ta.mp4\t\t\tfear\t\t\t\t", "clip 'a' is already in row 2"),
    6: ("d\t../a.mp4\t\t\tfear\t\t\t\t", "video '../a.mp4' leaves the release root"),
    7: ("e\ta.mp4\t\t", "has 4 cells, the header has 9"),
    8: ("f\ta.mp4\t2\t1\tfaer\t\tmute\tsubtitle\t1,2", "label 'faer' is not one of the labels"),
    9: ("\ta.mp4\t\t\tfear\t\t\t\t", "the clip id is empty"),
    10: ("g\ta.mp4\t\t\tfear\tfear;joy\t\t\t", "label 'joy' is not one of the labels"),
    11: ("h\tnone.mp4\t\t\tfear\t\t\t\t", "media file 'ROOT/none.mp4' is missing"),
}
SETTINGS = {"adapter": "manifest", "options": {"labels": ["fear", "anger"]}, "text": "manifest", "max_failures": 1}


@pytest.fixture
def root(tmp_path) -> Path:
    """A release of one clip whose table has a fault of each kind."""
    make_clip(tmp_path / "a.mp4", seconds=0.5)
    rows = [HEADER, "a\ta.mp4\t\t\tfear\t\t\t\t", *(text for text, _ in BAD.values())]
    (tmp_path / "clips.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def told(text: str) -> dict[int, list[str]]:
    """Row to its faults."""
    found: dict[int, list[str]] = {}
    for row, cause in re.findall(r"^ *row (\d+): (.*)$", text, re.MULTILINE):
        found.setdefault(int(row), []).append(cause)
    return found


def assert_all_are_told(text: str, root: Path) -> None:
    rows = told(text)
    assert set(rows) == set(BAD)
    for row, (_, cause) in BAD.items():
        assert any(cause.replace("ROOT", str(root)) in fault for fault in rows[row]), (row, rows[row])
    # a row is told everything that is wrong with it
    assert len(rows[8]) == 5 and [len(faults) for row, faults in rows.items() if row != 8] == [1] * 8
    assert text.count("Remedy: ") >= 8 and "Remedy: write 'a.mp4', the file that is there" in text


def test_the_manifest_tells_all_bad_rows_at_once(root, tmp_path, capsys):
    settings = json.dumps({key: SETTINGS[key] for key in ("adapter", "options", "text")})
    arguments = ["--dataset", "mine", "--root", str(root), "--settings", settings]
    assert main(["manifest", *arguments, "--output", str(tmp_path / "manifest.tsv")]) == 1
    said = capsys.readouterr().err
    assert said.splitlines()[0] == f"hcep manifest: {root / 'clips.tsv'}: 13 faults in 9 rows"
    assert_all_are_told(said, root)
    assert not (tmp_path / "manifest.tsv").exists()


def test_check_goes_on_behind_bad_rows(root, capsys):
    assert main(["check", "mine", "--root", str(root), "--settings", json.dumps(SETTINGS)]) == 1
    said = capsys.readouterr()
    assert "13 faults in 9 rows" in said.out and "the counts above are without these rows" in said.out
    assert_all_are_told(said.out, root)
    assert ["fear", "1"] in [line.split() for line in said.out.splitlines()]
    assert "this release cannot be used as it is" in said.err


def test_check_of_a_table_without_one_good_row_says_what_is_wrong(root, capsys):
    rows = [text for text, _ in BAD.values() if not text.startswith("a\t")]
    (root / "clips.tsv").write_text("\n".join([HEADER, *rows]))
    assert main(["check", "mine", "--root", str(root), "--settings", json.dumps(SETTINGS)]) == 1
    assert "faults in 8 rows" in capsys.readouterr().err


def test_check_of_a_task_goes_on_behind_a_dataset_that_has_no_check(tmp_path, monkeypatch, capsys):
    make_clip(tmp_path / "one/a.mp4", seconds=0.5)
    write_list(tmp_path / "one/clips.tsv", [{"clip": "a", "video": "a.mp4", "label": "fear", "fold": "train"}])
    task = {"dataset": ["two", "one"], "labels": ["anger", "fear"]}
    datasets = {name: {"adapter": "manifest", "root": name} for name in ("one", "two")}
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(json.dumps({"datasets": datasets, "task_definitions": {"mine": task}}))
    assert main(["check", "--task", "mine", "--configfile", "mine.yaml"]) == 1
    said = capsys.readouterr()
    assert "two: cannot be checked" in said.out and "the release of dataset 'two' is missing" in said.out
    assert "one: one\n" in said.out and "task mine\n" in said.out
    assert "two: this release cannot be used as it is" in said.err


def test_rows_that_were_read_before_the_table_breaks_off_are_told_too(root):
    with (root / "clips.tsv").open("a") as handle:
        handle.write('i\ta.mp4\t\t\t"fear\t\t\t\t\n')
    with pytest.raises(BadTable) as caught:
        Manifest(root, {"labels": ["fear", "anger"]}).clips()
    assert set(told(str(caught.value))) == {*BAD, 12}
    assert "the rows behind this one were not read" in str(caught.value)
    assert [clip.clip for clip in caught.value.usable] == ["a"]


def test_a_manifest_names_all_its_bad_rows(tmp_path):
    good = {name: "" if value is None else str(value) for name, value in Clip("a", video="a.mp4")._asdict().items()}
    rows = [good, good | {"clip": "b", "end": "x"}, good | {"clip": "c", "flags": "mute"}, good]
    path = write_list(tmp_path / "manifest.tsv", rows)
    with pytest.raises(BadTable, match="3 faults in 3 rows") as caught:
        read_manifest(path)
    assert set(told(str(caught.value))) == {3, 4, 5}


def test_a_table_of_boxes_names_all_its_bad_rows(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("clip,frame,x,y,w,h\na,0,1,1,5,5\na,0,1,1,5,5\na,one,1,1,5,5\na,2,1,1,0,5\na,3,1,1,5\n")
    with pytest.raises(BadTable, match="4 faults in 4 rows") as caught:
        read_boxes(path, {"a"})
    assert set(told(str(caught.value))) == {3, 4, 5, 6}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=200))
def test_every_fault_is_shown_or_counted(kinds):
    bad = BadRows(Path("a.tsv"))
    for row, (kind, detail) in enumerate(kinds, 2):
        bad.add(f"cause {kind} {detail}", row, f"remedy {kind}")
    with pytest.raises(BadTable) as caught, bad:
        pass
    lines = str(caught.value).splitlines()
    assert lines[0] == f"a.tsv: {len(kinds)} faults in {len(kinds)} rows"
    shown = [line for line in lines if line.startswith("  row ")]
    assert len(shown) == min(SHOWN, len(set(kinds)))
    also = [re.search(r"\(also rows? ([\d, ]*)(?: and (\d+) more)?\)", line) for line in shown]
    named = sum(len(found[1].split(",")) + int(found[2] or 0) for found in also if found)
    rest = sum(int(number) for number in re.findall(r"^  and (\d+) more", str(caught.value), re.MULTILINE))
    assert len(shown) + named + rest == len(kinds)
    # where there is room, no kind is crowded out by another
    assert len({line.split()[3] for line in shown}) == min(SHOWN, len({kind for kind, _ in kinds}))


def test_what_is_no_fault_of_the_table_passes_through():
    with pytest.raises(KeyError), BadRows(Path("a.tsv")) as bad:
        bad.add("cause", 2, "remedy")
        raise KeyError
    with BadRows(Path("a.tsv")) as bad:
        pass
    assert not bad.faults


def test_a_single_fault_reads_like_any_other_error():
    with pytest.raises(HcepError) as caught, BadRows(Path("a.tsv")) as bad:
        bad.add("cause", 2, "do this")
    assert str(caught.value) == "a.tsv, row 2: cause. Remedy: do this"
