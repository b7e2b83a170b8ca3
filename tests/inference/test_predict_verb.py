"""`hcep predict`: one row a clip, whatever the clip is, and one message at the end for those without an answer."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from sample_media import make_clip

import hcep
from hcep import ffmpeg
from hcep.cli import main
from hcep.errors import HcepError
from hcep.inference.answer import Answer
from hcep.inference.clips import clip_of, read_clip_table, windows_of
from hcep.inference.model import TOGETHER, _parts


@pytest.fixture(scope="module")
def model(trained):
    """HCEP, loaded once."""
    return hcep.load(trained.model("hcep"), device="cpu")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three seconds of grey steps and a tone."""
    return make_clip(tmp_path_factory.mktemp("film") / "film.mp4", seconds=3.0, fps=10, size="40x32", step=6)


def asked(trained, capsys, *arguments) -> tuple[int, list[dict], str]:
    """Exit code, the answers and what was said of `hcep predict` with one method."""
    capsys.readouterr()
    code = main(["predict", str(trained.model("arpl_mm")), *map(str, arguments), "--device", "cpu"])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_unreadable_clips_have_a_row_and_the_others_their_answer(trained, tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n/etc/passwd\n")
    files = [tmp_path / "text.mp4", trained.media("anger_3"), tmp_path / "list.m3u8", tmp_path, tmp_path / "none.mp4"]
    code, found, said = asked(trained, capsys, *files, trained.media("fear_4"))
    assert code == 1 and [bool(one["label"]) for one in found] == [False, True, False, False, False, True]
    assert said.count("\n") == 1 and "hcep predict: 4 of 6 clips gave no answer, the first is" in said
    reasons = [one["reason"] for one in found]
    assert "cannot be read as video or audio" in reasons[0] and "is a folder" in reasons[3] and "missing" in reasons[4]
    assert found[1]["modalities"] == ["vision"] and found[1]["flags"] == ["no_audio", "no_text"]
    assert found[0]["score"] is None and found[0]["probabilities"] == {} and found[0]["accepted"] is None
    assert [one["clip"] for one in found] == [*map(str, files), str(trained.media("fear_4"))]


def test_what_was_not_there_in_training_is_flagged(model, trained, tmp_path):
    file = trained.media("fear_4")
    assert model.predict(file, text="no", text_kind="caption").flags == ("other_text_kind",)
    assert model.predict(file, text="no").flags == ()
    silent = make_clip(tmp_path / "silent.mp4", seconds=1.0, size="40x32", options=("-af", "volume=0"))
    assert model.predict(silent).flags == ("no_text", "silent_audio")
    with pytest.raises(HcepError, match="their kind is none"):
        model.predict(file, text="no", text_kind="none")
    with pytest.raises(HcepError, match="unknown text_kind"):
        model.predict(file, text="no", text_kind="subtitle")
    with pytest.raises(HcepError, match="ends at 1 s, not after its start 2 s"):
        model.predict(file, start=2, end=1)
    with pytest.raises(HcepError, match="file is missing"):
        model.predict(tmp_path / "none.mp4")


def test_windows_are_the_parts_and_the_file_is_decoded_once(model, film, monkeypatch):
    ran, plain = [], ffmpeg._run
    monkeypatch.setattr(ffmpeg, "_run", lambda path, *rest: (ran.append(path), plain(path, *rest))[1])
    windows = windows_of(clip_of(film), 0.5)
    found = list(model.predict_many(windows))
    assert len(ran) == 2 and len(found) == 6  # picture and sound
    assert [(one.start, one.end) for one in found] == [(n / 2, n / 2 + 0.5) for n in range(6)]
    alone = [model.predict(film, start=one.start, end=one.end) for one in found]
    assert [one.score for one in found] == [one.score for one in alone] and len({one.score for one in found}) == 6


def test_windows_need_a_length_and_clips_without_words(film, tmp_path):
    assert [(part.start, part.end) for part in windows_of(clip_of(film, start=1, end=3), 0.9)] == [(1, 1.9), (1.9, 3)]
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(HcepError, match="give a length above 0"):
            windows_of(clip_of(film), seconds)
    with pytest.raises(HcepError, match="has words"):
        windows_of(clip_of(film, text="hello"), 1.0)
    missing = clip_of(tmp_path / "none.mp4")
    assert windows_of(missing, 1.0) == [missing]


def test_parts_keep_the_clips_of_a_file_together():
    many = [clip_of("a.mp4", name=str(n)) for n in range(TOGETHER + 40)]
    sizes = [len(part) for part in _parts([*(clip_of(f"{n}.mp4") for n in range(20)), *many])]
    assert sizes == [15, TOGETHER, 45]
    assert sum(sizes) == 20 + len(many)


def test_a_table_is_read_and_each_form_says_the_same(trained, tmp_path, capsys):
    shutil.copy(trained.media("fear_4"), tmp_path / "a film.mp4")
    table, out = tmp_path / "clips.tsv", tmp_path / "answers.tsv"
    table.write_text(
        "clip\tvideo\ttext\tend\nfirst\ta film.mp4\tno\t0.5\nsecond\tnone.mp4\t\t\nthird\ta film.mp4\t\t\n"
    )
    code, found, said = asked(trained, capsys, "--table", table)
    assert code == 1 and "1 of 3 clips gave no answer, the first is second" in said
    assert [one["clip"] for one in found] == ["first", "second", "third"] and found[0]["text"] == "no"
    assert set(found[0]) == {field.name for field in fields(Answer)}
    assert main(
        ["predict", str(trained.model("arpl_mm")), "--table", str(table), "--format", "tsv", "--output", str(out)]
    )
    rows = list(csv.DictReader(io.StringIO(out.read_text()), delimiter="\t"))
    assert [row["label"] for row in rows] == [one["label"] for one in found]
    assert (
        float(rows[0]["p_anger"]) == found[0]["probabilities"]["anger"] and rows[0]["modalities"] == "text;vision;audio"
    )
    capsys.readouterr()
    assert main(["predict", str(trained.model("arpl_mm")), "--table", str(table), "--format", "table"]) == 1
    text = capsys.readouterr().out
    assert "no answer" in text and found[0]["nearest"] in text and "text vision audio" in text
    assert "audio failed: file is missing: second" in text and "is accepted, as of 95 %" in text


@pytest.mark.parametrize(
    "row, said",
    [
        ("x\t/etc/passwd\t", "leaves the release root"),
        ("x\t../a.mp4\t", "leaves the release root"),
        ("x\ta.mp4\tx", "start"),
        ("\ta.mp4\t", "clip id is empty"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, row, said):
    table = tmp_path / "clips.tsv"
    table.write_text(f"clip\tvideo\tstart\n{row}\n")
    with pytest.raises(HcepError, match=said):
        read_clip_table(table)
    table.write_text("clip\tsound\nx\ta.wav\n")
    with pytest.raises(HcepError, match="neither a column video nor a column audio"):
        read_clip_table(table)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "no model is given"),
        (["model"], "no clip is given"),
        (["model", "a.mp4", "--table", "t.tsv"], "clips are given and a table"),
        (["model", "a.mp4", "b.mp4", "--text", "hello"], "--text is for one file"),
        (["model", "a.mp4", "--windows", "5 min"], "no length of windows"),
        (["model", "a.mp4", "--format", "xml"], "use jsonl, tsv, table"),
        (["nowhere", "a.mp4"], "there is no such folder"),
    ],
)
def test_a_command_that_cannot_be_is_told_in_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", *arguments]) == 1
    text = capsys.readouterr().err
    assert said in text and text.count("\n") == 1


def test_names_of_files_are_shown_and_never_obeyed(trained, tmp_path, capsys):
    name = tmp_path / "-i concat:a|b \x1b[31m\n%d.mp4"
    shutil.copy(trained.media("fear_4"), name)
    assert main(["predict", str(trained.model("arpl_mm")), str(name), "--format", "table"]) == 0
    text = capsys.readouterr().out
    assert "\x1b[31m" not in text and r"\x1b[31m\n%d.mp4" in text.replace("\n", "")
    code, (found,), _ = asked(trained, capsys, name)
    assert code == 0 and found["file"] == str(name)


def test_export_looks_for_what_a_run_needs_and_names_what_is_not_there(trained, tmp_path, capsys, monkeypatch):
    run = str(trained.run("arpl_mm"))
    monkeypatch.chdir(trained.root)
    assert main(["export", run, "--base", "arpl_mm", "--output", str(tmp_path / "model")]) == 0
    same = hcep.load(tmp_path / "model", device="cpu")
    assert same.about.method == "arpl_mm" and not same.about.encoder.included
    monkeypatch.chdir(tmp_path)
    rest = [run, "--output", str(tmp_path / "other")]
    index = str(trained.root / "resources/small/index.h5")
    for more, said in (
        ([], "--index"),
        (["--index", index], "--encoder"),
        (["--index", index, "--encoder", str(trained.root / "resources/encoders/small")], "--base"),
    ):
        capsys.readouterr()
        assert main(["export", *rest, *more]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_import_of_hcep_costs_nothing():
    code = "import sys, hcep; print(*{m.partition('.')[0] for m in sys.modules} & {'torch', 'numpy', 'pydantic', 'av'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        hcep.lod  # noqa: B018


def test_decoded_media_are_what_a_page_shows(model, film, tmp_path):
    (media, broken) = model.read([clip_of(film, text="no"), clip_of(tmp_path / "none.mp4")])
    assert media.frames.shape == (2, 32, 32, 3) and media.frames.dtype == np.uint8
    assert media.waveform.shape == (4000,) and media.waveform.dtype == np.int16 and media.samples == 4000
    first, second = model.answer([media, broken], acceptance=0.5)
    assert first.acceptance == 0.5 and first.text == "no" and second.accepted is None and broken.failed


def test_clips_without_words_are_listened_to(model, film):
    heard: list[int] = []

    def listen(sounds):
        heard.extend(len(sound) for sound in sounds)
        return ["we made it home" if len(sounds[0]) > 16000 else ""]

    clips = [clip_of(film), clip_of(film, end=0.5), clip_of(film, text="no")]
    found = list(model.predict_many(clips, asr=listen))
    # the whole sound, not the part that the method hears
    assert heard == [48000, 8000]
    assert [(one.text, one.text_kind) for one in found] == [
        ("we made it home", "asr"),
        ("", "none"),
        ("no", "transcript"),
    ]
    assert found[0].flags == ("other_text_kind",) and "no words were recognised" in found[1].reason
    given = model.predict(film, text="we made it home")
    assert found[0].score == given.score
