"""Tables, lists, spreadsheets and literals from outside that are absurdly long, wide, many or deep."""

from __future__ import annotations

import argparse
import csv
import zipfile

import pytest
from openpyxl import Workbook

from hcep.datasets import limits, mafw_tables, meld, mosei_labels, mosei_layouts
from hcep.datasets.boxes import read_boxes
from hcep.datasets.limits import LONGEST_CELL, LONGEST_LINE, MOST_BYTES, MOST_COLUMNS, MOST_ROWS
from hcep.datasets.mafw_lists import decode
from hcep.datasets.mafw_tables import _read
from hcep.datasets.manifest_file import Clip, open_table, parse_box, parse_seconds, read_manifest, write_manifest
from hcep.datasets.mosei_folds import read_folds
from hcep.datasets.ov_merd import parse_openset, read_rows
from hcep.errors import HcepError
from hcep.own_data.lists import read_list, separator
from hcep.own_data.media_files import find_media, read_words
from hcep.seal import read_sealed_json
from hcep.verbs.options import settings_argument
from hcep.yaml_file import read_yaml

COLUMNS = ("clip", "clip")


def table(path, *rows):
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_the_limit_of_a_cell_is_that_of_the_reader():
    assert csv.field_size_limit() == LONGEST_CELL


def test_a_cell_of_megabytes_is_named_with_its_row_and_the_limit(tmp_path):
    path = table(tmp_path / "t.tsv", "clip\ttext", f"a\t{'x' * LONGEST_CELL}", f"b\t{'x' * (LONGEST_CELL + 1)}", "c\td")
    rows = open_table(path)
    assert len(next(rows)[1]["text"]) == LONGEST_CELL
    with pytest.raises(HcepError, match=r"t\.tsv, row 3: has a cell of more than 131,072 characters\. Remedy: is this"):
        next(rows)


def test_a_line_without_end_is_not_read_to_its_end(tmp_path):
    path = table(tmp_path / "t.tsv", "clip", "a" * (LONGEST_LINE + 1))
    for read in (lambda: list(open_table(path)), lambda: list(open_table(table(tmp_path / "u.tsv", "a" * 2**25)))):
        with pytest.raises(HcepError, match=r"has a line of more than 16,777,216 characters"):
            read()
    with pytest.raises(HcepError, match=r"u\.tsv, row 1: has a line of more than"):
        separator(tmp_path / "u.tsv")
    with pytest.raises(HcepError, match=r"v\.tsv, row 1: has a cell of more than"):
        separator(table(tmp_path / "v.tsv", "a" * 2**18))


def test_columns_and_rows_have_a_limit(tmp_path, monkeypatch):
    path = table(tmp_path / "t.csv", ",".join(f"c{n}" for n in range(MOST_COLUMNS + 1)))
    with pytest.raises(HcepError, match=r"t\.csv, row 1: has more than 5,000 columns"):
        list(open_table(path, ","))
    path = table(tmp_path / "t.csv", "clip", *"abcd")
    with pytest.raises(HcepError, match=r"t\.csv, row 5: has more than 3 rows"):
        list(open_table(path, ",", most=3))
    assert len(list(open_table(path, ",", most=4))) == 4
    # one row a frame: more than a list of clips
    asked = []
    monkeypatch.setattr("hcep.datasets.boxes.open_table", lambda *_, most, **__: asked.append(most) or iter([]))
    read_boxes(tmp_path / "boxes.csv", {"a"})
    assert asked == [limits.MOST_BOXES]


@pytest.mark.faults
def test_more_rows_than_any_list_of_clips(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("clip\n" + "a\n" * (MOST_ROWS + 1))
    with pytest.raises(HcepError, match=r"t\.tsv, row 5000002: has more than 5,000,000 rows"):
        for _ in open_table(path):
            pass


def test_what_is_written_can_be_read_again(tmp_path):
    clip = Clip("a", dataset="d", label="fear", labels="fear", text="x" * LONGEST_CELL, text_kind="caption")
    write_manifest(tmp_path / "manifest.tsv", [clip])
    assert read_manifest(tmp_path / "manifest.tsv") == [clip]
    with pytest.raises(HcepError, match=r"row 2: text has more than 131,072 characters. Remedy: shorten it"):
        write_manifest(tmp_path / "manifest.tsv", [clip._replace(text="x" * (LONGEST_CELL + 1))])


def test_texts_and_lists_that_are_read_at_once_have_a_limit(tmp_path):
    path = tmp_path / "train.txt"
    with path.open("wb") as handle:
        handle.truncate(MOST_BYTES + 1)
    with pytest.raises(HcepError, match=r"train\.txt: has more than 67,108,864 bytes"):
        decode(path)
    (tmp_path / "words.txt").write_text("x" * (2**20 + 1))
    with pytest.raises(HcepError, match=r"words\.txt: has more than 1,048,576 bytes"):
        read_words(tmp_path, "words.txt")


def test_numbers_of_thousands_of_digits_are_no_crash(tmp_path):
    name = "1" * 5000
    boxes = table(tmp_path / "boxes.csv", "clip,frame,x,y,w,h", f"{name},0,1,2,3,4", "a,0,1,2,3,4")
    tracks, others = read_boxes(boxes, {"a"})
    assert set(tracks) == {"a"} and others == {name: 2}
    with pytest.raises(ValueError, match="not a finite number"):
        parse_seconds(name)
    with pytest.raises(ValueError, match="limit"):
        parse_box(f"{name},1,2,3")
    row = {"Dialogue_ID": name, "Utterance_ID": "1", "Emotion": "fear", "Utterance": ""}
    with pytest.raises(HcepError, match=r"Dialogue_ID .* is not a whole number"):
        meld._utterance(boxes, 2, row)
    assert meld._length({"StartTime": f"{name}:00:00,1", "EndTime": "0:0:1,0"}) is None
    row = {"video_id": "v", "clip_id": name, "label": "0", "mode": ""}
    assert "is not a whole number" in mosei_layouts._fault_of(row, [], {})
    assert mosei_labels._place(f"v[{name}]") == (f"v[{name}]", 0, f"v[{name}]")


# spreadsheets


def workbook(path, rows):
    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def with_sheet(path, change):
    """Rewrite the only sheet of a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = change(parts[sheet].decode()).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


ROWS = [["clip", "label"], ["00001.mp4", "a"], ["00002.mp4", "b"]]


def test_claimed_dimensions_are_not_believed(tmp_path):
    path = with_sheet(workbook(tmp_path / "a.xlsx", ROWS), lambda text: text.replace("A1:B3", "A1:XFD1048576"))
    assert "XFD1048576" in zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml").decode()
    assert list(_read(path, COLUMNS)) == [("00001.mp4", "00001.mp4"), ("00002.mp4", "00002.mp4")]


def test_rows_and_columns_of_a_spreadsheet_have_a_limit(tmp_path):
    path = workbook(tmp_path / "a.xlsx", ROWS)
    with_sheet(path, lambda text: text.replace('r="3"', 'r="2000000000"').replace('r="B3"', 'r="B2000000000"'))
    with pytest.raises(HcepError, match=r"a\.xlsx, row 1000001: has more than 1,000,000 rows"):
        list(_read(path, COLUMNS))
    path = with_sheet(workbook(tmp_path / "b.xlsx", ROWS), lambda text: text.replace('r="B3"', 'r="XFD3"'))
    with pytest.raises(HcepError, match=r"b\.xlsx, row 3: has more than 1,000 columns"):
        list(_read(path, COLUMNS))


def test_a_spreadsheet_that_fills_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    path = with_sheet(workbook(tmp_path / "a.xlsx", ROWS), lambda text: text + " " * (2**28))
    assert path.stat().st_size < 2**20
    monkeypatch.setattr("openpyxl.load_workbook", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(HcepError, match=r"a\.xlsx: unpacks to more than 268,435,456 bytes"):
        list(_read(path, COLUMNS))


def flagged(path):
    content = bytearray(path.read_bytes())
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        content[at + 8] |= 1
        at += 4
    return bytes(content)


@pytest.mark.parametrize("kind", ["encrypted", "cut", "no XML", "entities", "deep"])
def test_spreadsheets_that_cannot_be_read_are_named(tmp_path, kind):
    path = workbook(tmp_path / "a.xlsx", ROWS)
    entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1 if n else str()};" * 10}">' for n in range(9)
    )
    match kind:
        case "encrypted":
            path.write_bytes(flagged(path))
        case "cut":
            path.write_bytes(path.read_bytes()[:3000])
        case "no XML":
            with_sheet(path, lambda _: "no XML")
        case "entities":
            with_sheet(path, lambda text: f"{entities}]>" + text.replace("<sheetData>", "<sheetData>&a8;"))
        case "deep":
            with_sheet(path, lambda _: "<a>" * 100_000)
    with pytest.raises(HcepError, match=r"a\.xlsx: cannot be read: .*Remedy: unpack it again, or remove it"):
        list(_read(path, COLUMNS))


def test_hcep_check_goes_on_without_such_a_table(tmp_path):
    path = workbook(tmp_path / "annotation.xlsx", ROWS)
    with_sheet(path, lambda text: text.replace('r="3"', 'r="2000000000"'))
    lists = type("Lists", (), {"clips": {}})
    counts, faults = mafw_tables.compare_tables({"annotation.xlsx": path}, lists, "single", "with")
    assert counts == {} and "annotation.xlsx has more than 1,000,000 rows" in faults[0].examples[0]


# literals

DEEP = {
    "brackets": "[" * 100_000 + "]" * 100_000,
    "signs": "-" * 60_000 + "1",
    "few brackets": "[" * 150 + "]" * 150,
    "sums": "1" + "+1" * 60_000,
    "calls": "not " * 20_000 + "1",
}


@pytest.mark.parametrize("kind", DEEP)
def test_lists_of_words_that_are_nested_without_end_are_named(tmp_path, kind):
    with pytest.raises(ValueError, match=r"nested|brackets|not a list|limit"):
        parse_openset(DEEP[kind])
    path = table(tmp_path / "t.csv", "name,openset", "a,['sad']", f"b,{DEEP[kind]}")
    with pytest.raises(
        HcepError, match=r"t\.csv, row 3: (openset .* of b cannot be read: |has a cell of more)"
    ) as caught:
        read_rows(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("kind", DEEP)
def test_folds_that_are_nested_without_end_are_named(tmp_path, kind):
    path = tmp_path / "folds.py"
    path.write_text(f"standard_train_fold = {DEEP[kind]}\n")
    with pytest.raises(HcepError, match=r"folds\.py: cannot be read as lists of video ids: "):
        read_folds(path)


@pytest.mark.parametrize("text", ["[" * 3000, "- " * 3000, '{"a": ' * 3000])
def test_yaml_and_json_that_are_nested_without_end_are_named(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(HcepError, match=r"a\.yaml(, row 1)?: not valid YAML"):
        read_yaml(path)
    with pytest.raises(HcepError, match=r"a\.yaml.*: not valid JSON"):
        read_sealed_json(path)
    with pytest.raises(argparse.ArgumentTypeError, match="not JSON"):
        settings_argument(str(path))


def test_a_table_of_ones_own_with_a_cell_too_long(tmp_path):
    (tmp_path / "a.mp4").touch()
    path = table(tmp_path / "own.csv", "path,label", f"a.mp4,{'x' * 2**18}")
    with pytest.raises(HcepError, match=r"own\.csv, row 2: has a cell of more than 131,072 characters"):
        read_list(tmp_path, find_media(tmp_path), path, {}, [], None)
