"""Errors that ffmpeg conceals: counted where they were made, the same number on every run, none in sound files."""

from __future__ import annotations

import csv
import random
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from sample_media import flip_bits, make_clip, run_ffmpeg, write_list

import hcep.packet_errors
from hcep.container import MachineFault
from hcep.datasets.boxes import Track
from hcep.datasets.build import build_manifest
from hcep.datasets.check import check_release
from hcep.datasets.manifest_file import Clip
from hcep.decoder import DEFAULT, Limits
from hcep.figures.qc_page import write_qc_page
from hcep.media.audio import decode_audio, read_sound
from hcep.media.frames import decode_frames, read_video
from hcep.media.index import index_cache
from hcep.media.transcribe import transcribe
from hcep.packet_errors import PacketErrors, packet_errors

SOUND = "anoisesrc=r=44100:d=6:a=0.3:seed=1"
SOURCES = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=10:d=6", "-f", "lavfi", "-i", SOUND)
# MPEG-4 and ALAC tell of every packet that holds noise; a key frame each second
CODED = ("-c:v", "mpeg4", "-g", "10", "-c:a", "alac")
# packet -> its time is a tenth of it
PICTURES = (12, 13, 45)
SHARD = "000-of-001"


def spoil(path: Path, target: Path, kind: str, numbers: tuple[int, ...]) -> Path:
    """Write a file in which most bytes of these packets are noise."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(**{kind: 0}) if packet.size]
    content, chance = bytearray(path.read_bytes()), random.Random(0)
    for number in numbers:
        first, size = places[number]
        content[first + size // 3 : first + size] = chance.randbytes(size - size // 3)
    target.write_bytes(content)
    return target


class Release(NamedTuple):
    """Folder of a release with one whole and one spoilt file, and the numbers of spoilt packets of sound."""

    root: Path
    sounds: tuple[int, ...]


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Release:
    root = tmp_path_factory.mktemp("release")
    run_ffmpeg(*SOURCES, *CODED, root / "whole.mov")
    # of 4096 samples each
    sounds = (3, 4, 40)
    spoil(root / "whole.mov", root / "spoilt.mov", "video", PICTURES)
    spoil(root / "spoilt.mov", root / "spoilt.mov", "audio", sounds)
    return Release(root, sounds)


def told(path: Path, *spans: tuple[float | None, float | None], frames: int = 8) -> list[tuple[str, str]]:
    """What is told of picture and sound of parts of a file."""
    clips = [Clip(str(number), start=start, end=end) for number, (start, end) in enumerate(spans)]
    positions = list(range(len(clips)))
    pictures = dict(read_video(path, clips, positions, frames, 32, "time", DEFAULT))
    sounds = dict(read_sound(path, clips, positions, longest=None, limits=DEFAULT))
    return [(pictures[number].reason, sounds[number].reason) for number in positions]


def errors_in(count: int, part: str) -> str:
    return f"note: {count} concealed error{'s' if count > 1 else ''} in the {part}"


def test_every_spoilt_packet_is_counted_once(release):
    path = release.root / "spoilt.mov"
    assert told(release.root / "whole.mov", (None, None)) == [("", "")]
    assert told(path, (None, None), frames=60) == [(errors_in(3, "picture"), errors_in(3, "sound"))]
    found = packet_errors(path, "video", 0, end=60, limits=DEFAULT)
    assert tuple(np.flatnonzero(found.bad)) == PICTURES and len(found.bad) == 60 and not found.opening
    assert tuple(np.flatnonzero(found.keys)) == (0, 10, 20, 30, 40, 50)
    assert tuple(np.flatnonzero(packet_errors(path, "audio", 0, end=60, limits=DEFAULT).bad)) == release.sounds


def test_errors_are_those_of_the_clip(release):
    spans = [(0, 0.25), (0, 1), (1, 2), (2, 3.5), (4.8, 6)]
    found = told(release.root / "spoilt.mov", *spans)
    # 3 and 4 lie between 0.28 and 0.46 s, 40 between 3.72 and 3.81 s
    assert [sound for _, sound in found] == ["", errors_in(2, "sound"), "", "", ""]
    # 45 is shown before the last part, in whose frames it is still seen: the next key frame is the 50th
    assert [picture for picture, _ in found] == ["", "", errors_in(2, "picture"), "", errors_in(1, "picture")]


def test_what_is_behind_the_last_frame_taken_does_not_count(release):
    # the frames at 1/4 and 3/4 of 1.2 s, or of 6 s
    assert told(release.root / "spoilt.mov", (0, 1.2), frames=2)[0][0] == ""
    assert told(release.root / "spoilt.mov", (0, 5.9), frames=2)[0][0] == errors_in(2, "picture")


def test_frames_cut_by_boxes_are_counted_too(release):
    boxes = Track(np.arange(60), [(20, 20, 60, 60)] * 60, list(range(2, 62)))
    clips = [Clip("a", start=0, end=1, faces="boxes.csv"), Clip("b", faces="boxes.csv")]
    tracks = {"a": boxes, "b": boxes}
    rows = dict(read_video(release.root / "spoilt.mov", clips, [0, 1], 60, 32, "time", DEFAULT, tracks))
    assert [rows[number].reason for number in (0, 1)] == ["", errors_in(3, "picture")]


@pytest.mark.parametrize(
    ("before", "last", "expected"),
    [((), 30.0, 4), ((), 5.0, 2), ((), 0.0, 1), ((2,), 30.0, 5), ((), -1.0, 0)],
)
def test_pictures_in_front_of_a_key_frame_need_what_was_before_it(before, last, expected):
    """An open group: what is shown from 10 on needs nothing from before its key frame, packet 4."""
    times = np.array([0.0, 5, 3, 4, 10, 8, 9, 15, 12, 20, 30])
    keys = np.isin(np.arange(11), (0, 4, 9))
    bad = np.isin(np.arange(11), (0, 1, 5, 7, *before))
    errors = PacketErrors(times, keys, bad)
    assert errors.between(0.0, last) == expected
    # 5 is left out
    assert errors.between(12.0, 19.0) == 1 and errors.between(20.0, 30.0) == 0
    assert errors._replace(opening=2).between(20.0, 30.0) == 2


def refuse(*arguments: object, **options: object) -> None:
    raise AssertionError("a second pass over a sound file")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm", "a.flv", "a.ts", "a.wmv", "a.mpg"])
def test_of_whole_files_nothing_is_told_and_nothing_is_decoded_twice(tmp_path, monkeypatch, name):
    monkeypatch.setattr("hcep.media.frames.packet_errors", refuse)
    monkeypatch.setattr("hcep.sound.packet_errors", refuse)
    rate = ("-r", "25") if name == "a.mpg" else ()
    assert told(make_clip(tmp_path / name, options=rate), (None, None)) == [("", "")]


def test_a_stream_that_was_cut_is_not_damaged(tmp_path):
    """Begun in the middle of a group, between two open groups, or by an edit list."""
    groups = "open-gop=1:keyint=20:min-keyint=20:bframes=3:scenecut=0"
    whole = tmp_path / "whole.ts"
    run_ffmpeg(*SOURCES, "-c:v", "libx264", "-x264-params", groups, "-c:a", "aac", whole)
    packets = whole.stat().st_size // 188
    for part in range(1, 5):
        (tmp_path / f"part{part}.ts").write_bytes(whole.read_bytes()[188 * (packets * part // 8) :])
    for name in ("edit.mp4", "edit.mkv", "edit.ts"):
        run_ffmpeg("-ss", "2.9", "-i", whole, "-c", "copy", tmp_path / name)
    reasons = {path.name: told(path, (None, None)) for path in tmp_path.iterdir()}
    assert "concealed" not in str(reasons) and len(reasons) == 8


def test_trailing_tags_are_no_errors(tmp_path):
    make_clip(tmp_path / "a.mp3", video=False, options=("-metadata", "title=x", "-write_id3v1", "1"))
    (tmp_path / "b.mp3").write_bytes((tmp_path / "a.mp3").read_bytes() + b"APETAGEX" + bytes(range(200)))
    for name in ("a.mp3", "b.mp3"):
        assert read_sound(tmp_path / name, [Clip("x")], [0], longest=None, limits=DEFAULT)[0][1].reason == ""


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "libx264")])
def test_the_number_is_the_same_on_every_run(tmp_path, name, codec):
    """With one file at a time and with two, and with it every byte of the shard."""
    run_ffmpeg(*SOURCES, "-c:v", codec, tmp_path / f"whole{name}")
    rows = []
    for seed in range(4):
        flip_bits(tmp_path / f"whole{name}", tmp_path / f"{seed}{name}", seed, 30, spare=4000)
        rows.append({"clip": str(seed), "video": f"{seed}{name}", "label": "x", "text": ""})
    write_list(tmp_path / "clips.tsv", rows)
    manifest = tmp_path / "manifest.tsv"
    build_manifest("manifest", tmp_path, "d", {}, manifest)
    written = {"frames": set(), "audio": set()}
    for threads in (1, 2, 1, 2):
        decode_frames(manifest, tmp_path, SHARD, tmp_path / "frames.h5", frames=8, size=32, threads=threads)
        decode_audio(manifest, tmp_path, SHARD, tmp_path / "audio.h5", samples=32_000, threads=threads)
        for kind, found in written.items():
            found.add((tmp_path / f"{kind}.h5").read_bytes())
    assert {kind: len(found) for kind, found in written.items()} == {"frames": 1, "audio": 1}
    assert b"concealed error" in written["frames"].pop()


@pytest.fixture
def tables(release, tmp_path, capsys) -> tuple[Path, Path, str]:
    """Folder of the release, qc.tsv of its clips, and what was said in writing it."""
    rows = [{"clip": name, "video": f"{name}.mov", "label": "x", "text": "x"} for name in ("whole", "spoilt")]
    write_list(release.root / "clips.tsv", rows)
    manifest = tmp_path / "manifest.tsv"
    build_manifest("manifest", release.root, "d", {}, manifest)
    shards = {kind: [tmp_path / kind / f"{SHARD}.h5"] for kind in ("frames", "audio", "text")}
    decode_frames(manifest, release.root, SHARD, shards["frames"][0], frames=8, size=32)
    decode_audio(manifest, release.root, SHARD, shards["audio"][0], samples=96_000)
    transcribe(manifest, release.root, SHARD, shards["text"][0], source="manifest")
    capsys.readouterr()
    index_cache(manifest, shards, tmp_path / "index.h5", tmp_path / "qc.tsv")
    return release.root, tmp_path / "qc.tsv", capsys.readouterr().err


def test_table_log_check_and_page_tell_of_them(tables):
    root, qc, log = tables
    with qc.open(encoding="utf-8", newline="") as handle:
        rows = {row["clip"]: row for row in csv.DictReader(handle, delimiter="\t")}
    assert (rows["whole"]["reason"], rows["whole"]["frames"], rows["whole"]["audio"]) == ("", "ok", "ok")
    expected = "frames note: 3 concealed errors in the picture; audio note: 3 concealed errors in the sound"
    assert rows["spoilt"]["reason"] == expected
    assert (rows["spoilt"]["frames"], rows["spoilt"]["audio"], rows["spoilt"]["flags"]) == ("note", "note", "")
    assert "0 with a modality that failed, 0 with silent sound, 1 with concealed errors" in log
    faults = check_release("manifest", root, "d", {}, qc=qc).faults
    assert [(fault.what, fault.cases) for fault in faults] == [
        ("clips with errors that ffmpeg concealed in decoding them", 1)
    ]
    write_qc_page([qc], qc.with_name("qc.html"))
    page = qc.with_name("qc.html").read_text(encoding="utf-8")
    assert "ffmpeg concealed errors in 1 clips" in page and expected in page


def test_values_are_those_of_a_decoding_without_counting(release, monkeypatch):
    path, clips = release.root / "spoilt.mov", [Clip("x")]
    taken = read_video(path, clips, [0], 8, 32, "time", DEFAULT)[0][1].value
    heard = read_sound(path, clips, [0], longest=None, limits=DEFAULT)[0][1].value
    monkeypatch.setattr(hcep.packet_errors, "PROGRAM", Path("/nowhere"))
    assert (read_video(path, clips, [0], 8, 32, "time", DEFAULT)[0][1].value == taken).all()
    assert (read_sound(path, clips, [0], longest=None, limits=DEFAULT)[0][1].value == heard).all()


def counted_by(text: str, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **limits: float) -> str:
    """What is told of the spoilt picture when another program counts its errors."""
    (tmp_path / "program.py").write_text(text)
    monkeypatch.setattr(hcep.packet_errors, "PROGRAM", tmp_path / "program.py")
    return read_video(release.root / "spoilt.mov", [Clip("x")], [0], 8, 32, "time", Limits(**limits))[0][1].reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import os; os.abort()", "ffmpeg crashed (SIGABRT)"),
        ("import sys; sys.exit('no decoder of ' + sys.argv[1][10:20])", "no decoder of "),
        ("while True: pass", "decoding took longer than 1 s of processor time"),
    ],
)
def test_errors_that_cannot_be_counted_are_told_all_the_same(release, tmp_path, monkeypatch, text, why):
    reason = counted_by(text, release, tmp_path, monkeypatch, seconds=1)
    assert reason.startswith(f"note: concealed errors in the picture that cannot be counted ({why}")
    assert str(release.root) not in reason


def test_counting_that_was_killed_ends_the_job(release, tmp_path, monkeypatch):
    text = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"
    with pytest.raises(MachineFault, match=r"was killed \(SIGKILL\)"):
        counted_by(text, release, tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(MachineFault, match="could not be started"):
        packet_errors(release.root / "spoilt.mov", "video", 0, end=1, limits=DEFAULT)
