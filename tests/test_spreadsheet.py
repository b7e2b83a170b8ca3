"""Tables that people open in a spreadsheet hold no formula of somebody else's, and are read back as they were."""

from __future__ import annotations

import csv
import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcep.datasets.check import _decoded_faults
from hcep.datasets.manifest import Manifest
from hcep.datasets.manifest_file import Clip, read_manifest, write_manifest
from hcep.errors import HcepError
from hcep.files import read_table, write_table
from hcep.inference.answer import Answer
from hcep.inference.output import FIRST, written
from hcep.own_data.start import _write_table
from hcep.spreadsheet import from_cell, to_cell

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    '=HYPERLINK("http://x","y")',
    "'=1",
    "''-x",
]
NUMBERS = ["-0.97", "+1", "-1e-05", "-inf", "1", "", "-", "+"]
typed = st.one_of(st.text(), st.from_regex(r"\A'*[=+@\t\r\n-].*", fullmatch=True))


def starts_a_formula(cell):
    """What a spreadsheet takes for one: a sign of a formula in front, and no number."""
    return len(cell) > 1 and cell[0] in "=+-@\t\r\n" and not re.fullmatch(r"[+-]([0-9.]+(e[+-][0-9]+)?|inf|nan)", cell)


@given(typed)
def test_every_text_comes_back_and_none_is_a_formula(text):
    assert from_cell(to_cell(text)) == text
    assert to_cell(text)[:1] == "'" or to_cell(text) == text
    if text[:1] in tuple("=@"):
        assert len(text) == 1 or to_cell(text) == f"'{text}"


def test_numbers_and_ordinary_text_stay_as_they_are():
    for value in [*NUMBERS, "anger", "'quoted'", "don't", "a=b", "k8u2", -0.97, None, 3, True]:
        assert to_cell(value) is value
    for text in ("'-5", "'anger'", "'"):
        assert from_cell(text) == text


def test_a_table_is_quoted_and_read_back(tmp_path):
    rows = [{"clip": text, "score": "-0.97"} for text in [*FORMULAS, *NUMBERS]]
    write_table(tmp_path / "t.csv", ["clip", "score"], rows)
    assert read_table(tmp_path / "t.csv") == rows
    with (tmp_path / "t.csv").open(newline="") as handle:
        cells = [row["clip"] for row in csv.DictReader(handle)]
    assert cells == [f"'{text}" for text in FORMULAS] + NUMBERS and not any(map(starts_a_formula, cells))


def test_numbers_are_written_byte_for_byte_as_before(tmp_path):
    write_table(tmp_path / "t.csv", ["a", "b"], [{"a": -0.5, "b": "-0.97"}, {"a": None, "b": "-"}])
    assert (tmp_path / "t.csv").read_bytes() == b"a,b\n-0.5,-0.97\n,-\n"


def test_what_is_no_table_is_named(tmp_path):
    (tmp_path / "t.csv").write_text(f"a\n{'x' * 200_000}\n")
    with pytest.raises(HcepError, match=r"t\.csv: is not a table: field larger than field limit.*Remedy: delete it"):
        read_table(tmp_path / "t.csv")


NAMES = ["=1+1", "+a|b", "-2+3", "@x", "'=1"]


def test_a_manifest_comes_back_with_its_names(tmp_path):
    clips = [
        Clip(name, "d", f"{name}.mp4", text=f"{name} said", text_kind="caption", label=name, labels=name, group=name)
        for name in NAMES
    ]
    write_manifest(tmp_path / "manifest.tsv", clips)
    assert read_manifest(tmp_path / "manifest.tsv") == clips
    with (tmp_path / "manifest.tsv").open(newline="") as handle:
        assert not [cell for row in csv.reader(handle, delimiter="\t") for cell in row if starts_a_formula(cell)]


def test_a_table_of_hcep_init_gives_the_clips_that_it_was_made_of(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.mp4").touch()
    rows = [{"clip": name, "video": f"{name}.mp4", "label": name, "labels": name, "text": f"{name}!"} for name in NAMES]
    _write_table(tmp_path / "clips.tsv", [dict(row) for row in rows])
    assert "\t=" not in (tmp_path / "clips.tsv").read_text() and "\n=" not in (tmp_path / "clips.tsv").read_text()
    clips = Manifest(tmp_path, {}).clips()
    assert [clip.clip for clip in clips] == [clip.label for clip in clips] == NAMES
    assert [clip.text for clip in clips] == [f"{name}!" for name in NAMES]


def test_qc_names_the_clips_as_they_are(tmp_path):
    rows = [{"clip": name, "flags": "silent", "reason": ""} for name in NAMES]
    write_table(tmp_path / "qc.tsv", ["clip", "flags", "reason"], rows, delimiter="\t")
    (fault,) = _decoded_faults(tmp_path / "qc.tsv")
    assert list(fault.examples) == NAMES


def test_predictions_hold_no_formula():
    values = {field.name: None for field in fields(Answer)} | {"probabilities": {}, "modalities": (), "flags": ()}
    answer = Answer(
        **values | {"clip": "=1+1", "file": "-x.mp4", "score": -0.97, "text": "@all", "reason": "+", "start": -1.5}
    )
    _, line = written([answer], "tsv", [])
    found = dict(zip(FIRST, line.split("\t"), strict=False))
    assert [found[name] for name in ("clip", "file", "score", "start")] == ["'=1+1", "'-x.mp4", "-0.97", "-1.5"]
    assert "'@all" in line
