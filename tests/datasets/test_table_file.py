"""Tables that a user writes: quotation marks, line breaks, headers; what is read, and what is refused with its row."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcep.datasets.manifest_file import lengths_differ, open_table
from hcep.errors import HcepError

SIGNS = {"tsv": "\t", "csv": ","}
HEADER = ["clip", "text", "label", "fold"]
# a cell of one line that needs no quotation marks in either format, and is not empty
plain = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters='",'), min_size=1, max_size=8)
# what a user may have typed into a cell
typed = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def read(path: Path, text: str, kind: str = "tsv") -> list[tuple[int, dict[str, str]]]:
    path.write_bytes(text.encode())
    return list(open_table(path, SIGNS[kind]))


def refusal(path: Path, text: str, kind: str = "tsv") -> HcepError:
    with pytest.raises(HcepError) as caught:
        read(path, text, kind)
    assert caught.value.file == path and caught.value.remedy
    return caught.value


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("kind", ["tsv", "csv"])
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("between", range(3))
def test_a_mark_that_closes_in_a_later_row_is_refused_where_it_opens(tmp_path, end, kind, place, between):
    rows = [HEADER, *([f"c{i}", f"text {i}", f"label{i}", "train"] for i in range(between + 4))]
    rows[2][place] = '"' + rows[2][place]
    rows[3 + between][place] += '"'
    error = refusal(tmp_path / "a", end.join(SIGNS[kind].join(row) for row in rows) + end, kind)
    assert error.row == 3 and f"closes in row {4 + between}" in error.cause
    assert 'double every quotation mark that belongs to a text ("")' in error.remedy


@given(st.data(), st.sampled_from(["tsv", "csv"]))
def test_no_row_is_lost_to_a_pair_of_marks(tmp_path_factory, data, kind):
    columns = data.draw(st.integers(1, 5))
    rows = [[data.draw(plain) for _ in range(columns)] for _ in range(data.draw(st.integers(2, 6)))]
    opened = data.draw(st.integers(0, len(rows) - 2))
    closed = data.draw(st.integers(opened + 1, len(rows) - 1))
    first, second = (data.draw(st.integers(0, columns - 1)) for _ in range(2))
    rows[opened][first] = '"' + rows[opened][first]
    rows[closed][second] += '"'
    header = [f"column {i}" for i in range(columns)]
    lines = [SIGNS[kind].join(row) for row in [header, *rows]]
    blank = data.draw(st.integers(1, len(lines)))
    text = "\n".join([*lines[:blank], "", *lines[blank:]]) + "\n"
    error = refusal(tmp_path_factory.mktemp("t") / "a", text, kind)
    assert error.row == text.split("\n").index(SIGNS[kind].join(rows[opened])) + 1


@given(st.lists(st.lists(typed, min_size=7, max_size=7).filter(any), min_size=1, max_size=5))
def test_what_a_csv_writer_wrote_is_read_back_from_a_tab_separated_table(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "a"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writerows([list("abcdefg"), *rows])
    assert [list(cells.values()) for _, cells in open_table(path)] == rows


@pytest.mark.parametrize(
    "words",
    [
        "two lines\nof text",
        'with marks: ""yes"", she said\nand left',
        "a blank line\n\nbetween",
        "windows\r\nline end",
        # as many commas as the columns before the text, as in a row
        "He looks up\nthen, slowly, turns, and leaves",
        "He looks up\nthen, slowly, turns,\nand leaves, smiling, at last, with her",
        "1,200 people\nand a dog",
    ],
)
@pytest.mark.parametrize("kind", ["tsv", "csv"])
def test_a_text_of_several_lines_is_read(tmp_path, words, kind):
    text = SIGNS[kind].join(["clip", "label", "fold", "text"]) + "\n"
    text += SIGNS[kind].join(["a", "fear", "train", f'"{words}"']) + "\n"
    text += SIGNS[kind].join(["b", "anger", "test", "hi"]) + "\n"
    rows = read(tmp_path / "a", text, kind)
    assert [cells["label"] for _, cells in rows] == ["fear", "anger"]
    assert rows[0][1]["text"] == words.replace('""', '"')
    assert rows[1][0] == 2 + len(words.splitlines())


def test_a_text_in_the_middle_may_have_commas_on_each_of_its_lines(tmp_path):
    text = 'clip,video,text,label\na,a.mp4,"Well, hello\nand then, he left, slowly",fear\nb,b.mp4,hi,anger\n'
    assert [cells["label"] for _, cells in read(tmp_path / "a", text, "csv")] == ["fear", "anger"]
    # the same shape without spaces is what a row looks like
    text = 'clip,video,text,label\na,a.mp4,"Oh no,fear\nb,b.mp4,well",anger\n'
    assert refusal(tmp_path / "a", text, "csv").row == 2


def test_a_mark_after_a_text_of_several_lines_is_found_in_its_own_row(tmp_path):
    text = 'clip\ttext\tlabel\nx\t"one\ntwo"\t"fear\ny\thi\tanger"\n'
    error = refusal(tmp_path / "a", text)
    assert error.row == 3 and "before 'fear" in error.cause and "closes in row 4" in error.cause


@pytest.mark.parametrize(
    ("text", "row", "cause"),
    [
        ('clip\ttext\na\t"Oh no" she said\n', 2, "is not a table"),
        ('clip\ttext\na\tb\nc\t"never closed\n', 3, "is not a table: unexpected end of data"),
        ('clip\t"text\na\thello"\n', 1, "opens in the header before 'text"),
        ('clip\ttext\na\t"one\nb\ttwo"\n', 2, "which makes one cell of several rows"),
        ('clip\ttext\ta\nb\t"one\tx\nb"\n', 2, "leaves 2 cells where the header has 3"),
        ("clip\ttext\na\tb\tc\n", 2, "has 3 cells, the header has 2"),
    ],
)
def test_other_faults_of_marks_name_the_row(tmp_path, text, row, cause):
    error = refusal(tmp_path / "a", text)
    assert error.row == row and cause in error.cause


@pytest.mark.parametrize("first", ["sep=;", "sep=,", "sep=\t", "SEP=;", '"sep=;"'])
@pytest.mark.parametrize(("kind", "name"), [("tsv", "tabs"), ("csv", "commas")])
def test_a_note_for_spreadsheets_is_not_the_header(tmp_path, first, kind, name):
    error = refusal(tmp_path / "a", f"{first}\nclip;video\na;b\n", kind)
    assert error.row == 1 and "sep=" in error.cause.casefold()
    assert error.remedy == f"remove that line, and save the table with {name} between its cells"


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [
        (10, 8, False),
        (10, 7.9, True),
        (7.9, 10, True),
        (1.5, 0.4, True),
        (1.4, 0.4, False),
        (100, 81, False),
        (0, 0, False),
    ],
)
def test_lengths_differ_by_a_second_and_a_fifth(a, b, differ):
    assert lengths_differ(a, b) is differ
