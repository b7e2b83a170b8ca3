"""Text from outside never reaches a terminal as more than text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hcep.cli import main
from hcep.datasets.bad_rows import BadRows
from hcep.datasets.check import check_release, report_text
from hcep.datasets.manifest_file import Clip, check_clips
from hcep.errors import HcepError, shown
from hcep.figures.run_files import read_rows
from hcep.files import write_table
from hcep.own_data.media_files import find_media
from hcep.progress import say

RED, TITLE, CSI, BACKWARDS = "\x1b[31m", "\x1b]0;x\x07", "\x9b2J", "\u202egpj.exe"
EVIL = [RED, TITLE, CSI, BACKWARDS, "\x7f", "a\rb", "\u2028", "\udc80"]
OBEYED = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")


@pytest.mark.parametrize("text", EVIL)
def test_what_a_terminal_would_obey_is_written_as_what_it_is(text):
    assert shown(text).isascii() and shown(text).isprintable() and "\\" in shown(text)
    assert shown(f"a{text}b") == f"a{shown(text)}b"


def test_what_people_write_stays(capsys):
    for text in ("Wut, trauer", "愤怒", "خشم\u200cآلود", "\xa0", "👩\u200d🎤", "two\nlines\tand tabs"):
        assert shown(text) == text
    assert shown("two\nlines\tand", line=True) == r"two\nlines\tand"


@pytest.mark.parametrize("text", EVIL)
def test_errors_and_lines_of_logs_are_shown(text, capsys):
    error = HcepError(f"label {text}", file=f"a{text}.tsv", row=f"clip {text}", remedy=f"remove {text}")
    assert str(error).count(shown(text)) == 4 and not OBEYED.search(str(error))
    with pytest.raises(HcepError) as caught, BadRows(Path("t.tsv")) as bad:
        bad.add(f"one {text}", 2, text)
        bad.add(f"two {text}", 3, text)
    assert str(caught.value).count(shown(text)) == 3 and not OBEYED.search(str(caught.value))
    say(f"clip {text}")
    assert capsys.readouterr().err == f"clip {shown(text)}\n"


def test_a_verb_shows_its_errors(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", f"a{RED}"]) == 1
    monkeypatch.setattr("hcep.verbs.verify.verify", lambda **_: {}[RED])
    assert main(["verify", "x"]) == 1
    told = capsys.readouterr().err
    assert told.count(r"\x1b[31m") == 2 and "\x1b" not in told


@pytest.mark.parametrize("column", ["clip", "label", "labels", "group", "fold", "language"])
@pytest.mark.parametrize("text", [*EVIL[:-1], "two\nlines", "a\tb"])
def test_names_of_a_table_have_no_control_characters(column, text):
    clip = Clip("a", label="x", labels="x", group="g", fold="f")
    check_clips([clip], Path("t.tsv"))
    # words and paths may have them
    check_clips([clip._replace(text=text, video=f"{text}.mp4")], Path("t.tsv"))
    with pytest.raises(HcepError, match=rf"t\.tsv, row 2: {column} .* holds a control character.*Remedy: remove it"):
        check_clips([clip._replace(**{column: text})], Path("t.tsv"))


@pytest.fixture
def release(tmp_path) -> Path:
    """Clips whose files have names that a terminal would obey."""
    root = tmp_path / "release"
    (root / "v").mkdir(parents=True)
    for text in (RED, TITLE, CSI, BACKWARDS):
        (root / f"v/{text.replace('/', '')}.mp4").write_bytes(b"no media")
    (root / "v/good.mp4").write_bytes(b"no media")
    return root


def test_check_shows_the_names_of_files(release):
    names = sorted(path.name for path in (release / "v").iterdir())
    rows = [{"clip": f"c{place}", "video": f"v/{name}", "label": "fear"} for place, name in enumerate(names)]
    write_table(release / "clips.tsv", ["clip", "video", "label"], rows, delimiter="\t", seal=False)
    report = report_text(check_release("manifest", release, "mine", {}))
    assert "clips whose media file" in report and not OBEYED.search(report)
    for name in names:
        (release / "v" / name).unlink()
    with pytest.raises(HcepError) as caught:
        check_release("manifest", release, "mine", {})
    assert "is missing" in str(caught.value) and not OBEYED.search(str(caught.value))


def test_init_leaves_such_files_out(release):
    (release / f"fear{RED}").mkdir()
    (release / f"fear{RED}/a.mp4").touch()
    media = find_media(release)
    assert media.video == ["v/good.mp4"]
    assert len(media.left_out["names with control characters"]) == 5


def test_tables_that_are_printed_are_shown(tmp_path):
    write_table(tmp_path / "summary.csv", ["method"], [{"method": f"a{RED}"}])
    assert read_rows(tmp_path / "summary.csv", ["method"]) == [(2, {"method": r"a\x1b[31m"})]
