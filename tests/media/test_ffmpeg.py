"""Probing and decoding sound media: the right frames, the right samples, the right numbers."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sample_media import grey_numbers, make_clip, make_still, read_frames, run_ffmpeg

from hcep.container import MediaError
from hcep.decoder import Limits
from hcep.errors import HcepError
from hcep.ffmpeg import ffmpeg_executable, frame_ticks
from hcep.probe import probe
from hcep.sound import read_audio


def test_probe_reads_what_the_file_holds(tmp_path):
    media = probe(make_clip(tmp_path / "a.mp4"))
    assert (media.has_video, media.has_audio, media.frames, media.width, media.height) == (True, True, 20, 96, 64)
    assert (media.fps, media.tracks[0].sample_rate, media.container) == (10.0, 44100, "mov")
    assert media.duration == pytest.approx(2.0, abs=0.05)
    assert media.times == pytest.approx(np.arange(20) / 10, abs=1e-3)


def test_probe_of_one_stream_only(tmp_path):
    silent = probe(make_clip(tmp_path / "silent.mp4", audio=False))
    assert (silent.has_video, silent.has_audio, silent.tracks) == (True, False, ())
    sound = probe(make_clip(tmp_path / "sound.mp4", video=False))
    assert (sound.has_video, sound.has_audio, sound.frames, sound.width) == (False, True, 0, 0)


def test_cover_picture_is_no_video(tmp_path):
    sound = make_clip(tmp_path / "a.mp3", video=False)
    Image.new("RGB", (32, 32), "red").save(tmp_path / "cover.png")
    run_ffmpeg(
        "-i", sound, "-i", tmp_path / "cover.png", "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0",
        "attached_pic", tmp_path / "b.mp3",
    )  # fmt: skip
    media = probe(tmp_path / "b.mp3")
    assert media.has_audio and not media.has_video
    with pytest.raises(MediaError, match="no video") as caught:
        read_frames(tmp_path / "b.mp3", media, [0], size=16)
    assert caught.value.absent


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm", "a.flv", "a.ts", "a.wmv", "mpeg4.mov"])
def test_chosen_frames_are_the_ones_asked_for(tmp_path, name):
    # an MPEG-4 stream in .mov does not tell its size in the header
    path = make_clip(tmp_path / name, options=("-c:v", "mpeg4", "-q:v", "2") if name == "mpeg4.mov" else ())
    media = probe(path)
    assert media.frames == 20
    assert grey_numbers(read_frames(path, media, [0, 3, 4, 11, 19], size=32)) == [0, 3, 4, 11, 19]


def test_many_frames_in_one_pass(tmp_path):
    path = make_clip(tmp_path / "a.mp4", seconds=90, size="32x32", step=0, audio=False)
    wanted = list(range(0, 900, 2))
    assert read_frames(path, probe(path), wanted, size=8).shape == (450, 8, 8, 3)


def test_short_side_is_resized_and_the_centre_cropped(tmp_path):
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 255, (6, 10, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    picture = Image.fromarray(smooth).resize((200, 120), Image.Resampling.BILINEAR)
    make_still(tmp_path / "a.mkv", np.asarray(picture))
    taken = read_frames(tmp_path / "a.mkv", probe(tmp_path / "a.mkv"), [0], size=60)[0].astype(int)
    reference = picture.resize((100, 60), Image.Resampling.BICUBIC).crop((20, 0, 80, 60))
    assert np.abs(taken - np.asarray(reference).astype(int)).mean() < 2


def test_box_is_cut_out_before_resizing(tmp_path):
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[20:60, 50:90] = (255, 0, 0)
    make_still(tmp_path / "a.mkv", picture)
    path, media = tmp_path / "a.mkv", probe(tmp_path / "a.mkv")
    inside = read_frames(path, media, [0], size=16, box=(50, 20, 40, 40))
    assert inside[..., 0].min() > 250 and inside[..., 1:].max() < 5
    # a box that sticks out is cut at the border
    assert read_frames(path, media, [0], size=16, box=(90, 90, 50, 50)).max() == 0


def test_rotated_video_is_upright(tmp_path):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = 255
    make_still(tmp_path / "a.mp4", picture, "-c:v", "libx264")
    run_ffmpeg("-display_rotation", "90", "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "b.mp4")
    frame = read_frames(tmp_path / "b.mp4", probe(tmp_path / "b.mp4"), [0], size=32)[0].astype(int)
    top, bottom = frame[:12].mean(), frame[-12:].mean()
    assert abs(top - bottom) > 200


def test_wide_pixels_count_as_wide(tmp_path):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 16:48] = 255
    make_still(tmp_path / "a.mp4", picture, "-vf", "setsar=2", "-c:v", "libx264")
    # shown at 128x64, the middle half is all that a centre square sees
    assert read_frames(tmp_path / "a.mp4", probe(tmp_path / "a.mp4"), [0], size=32)[0, :, 2:-2].min() > 200


def test_trimmed_file_counts_only_frames_that_are_shown(tmp_path):
    path = make_clip(tmp_path / "a.mp4")
    run_ffmpeg("-ss", "0.7", "-i", path, "-c", "copy", tmp_path / "b.mp4")
    media = probe(tmp_path / "b.mp4")
    assert media.frames == len(frame_ticks(tmp_path / "b.mp4", media)) < 20
    last = grey_numbers(read_frames(tmp_path / "b.mp4", media, [0, media.frames - 1], size=16))
    assert last == [20 - media.frames, 19]


def test_sound_is_16_khz_mono_and_starts_with_the_file(tmp_path):
    path = make_clip(tmp_path / "a.mp4", hertz=1000)
    sound = read_audio(path, probe(path)).samples
    assert sound.dtype == np.int16 and len(sound) == pytest.approx(32_000, abs=800)
    spectrum = np.abs(np.fft.rfft(sound[:16_000]))
    assert int(spectrum.argmax()) == 1000
    assert len(read_audio(path, probe(path), seconds=0.5).samples) == 8000


def test_late_sound_is_padded_at_the_front(tmp_path):
    picture = make_clip(tmp_path / "v.mkv", audio=False)
    sound = make_clip(tmp_path / "a.wav", video=False, seconds=1)
    run_ffmpeg("-i", picture, "-itsoffset", "0.5", "-i", sound, "-c", "copy", tmp_path / "b.mkv")
    heard = read_audio(tmp_path / "b.mkv", probe(tmp_path / "b.mkv")).samples
    assert np.abs(heard[:7800]).max() < 50 < np.abs(heard[8400:9000]).max()


def test_sound_shorter_than_the_picture_is_no_damage(tmp_path):
    picture = make_clip(tmp_path / "v.mkv", audio=False)
    sound = make_clip(tmp_path / "a.wav", video=False, seconds=0.5)
    run_ffmpeg("-i", picture, "-i", sound, "-c", "copy", tmp_path / "b.mkv")
    assert len(read_audio(tmp_path / "b.mkv", probe(tmp_path / "b.mkv")).samples) == pytest.approx(8000, abs=100)


def test_time_limit_stops_ffmpeg(tmp_path):
    path = make_clip(tmp_path / "a.mp4", seconds=20, step=1)
    with pytest.raises(MediaError, match="longer than"):
        read_frames(path, probe(path), range(200), size=2048, limits=Limits(0.5))


def test_frames_that_are_not_there_are_an_error(tmp_path):
    path = make_clip(tmp_path / "a.mp4")
    media = probe(path)
    media = media.with_ticks(np.append(media.ticks, media.ticks[-1] * 2))
    with pytest.raises(MediaError, match="gave 1 of 2 frames"):
        read_frames(path, media, [3, 20], size=32)


def test_executable_from_the_environment(monkeypatch):
    default = ffmpeg_executable()
    monkeypatch.setenv("HCEP_FFMPEG", default)
    assert ffmpeg_executable() == default
    for wrong in ("/nonexistent/ffmpeg", "/bin/false", "/bin/echo"):
        monkeypatch.setenv("HCEP_FFMPEG", wrong)
        with pytest.raises(HcepError, match="HCEP_FFMPEG"):
            ffmpeg_executable()


@pytest.mark.parametrize(("name", "sound"), [("a.mp4", "aac"), ("a.mov", "aac"), ("a.mp4", "mp3")])
def test_no_decoder_of_sound_starts_for_frames(tmp_path, monkeypatch, name, sound):
    path = make_clip(tmp_path / name, options=("-c:a", sound))
    said = tmp_path / "said"
    script = tmp_path / "ffmpeg"
    script.write_text(f'#!/bin/sh\nexec "{ffmpeg_executable()}" "$@" 2>>"{said}"\n')
    script.chmod(0o755)
    monkeypatch.setenv("HCEP_FFMPEG", str(script))
    assert grey_numbers(read_frames(path, probe(path), [0, 7, 19], size=16)) == [0, 7, 19]
    assert re.search(rf"Codec \({sound}\w*\) not on whitelist", said.read_text())
    said.write_text("")
    assert len(read_audio(path, probe(path)).samples) == pytest.approx(32_000, abs=800)
    assert "whitelist" not in said.read_text()


def test_reason_is_that_of_the_picture(tmp_path):
    """Neither the sound's decoder, which is shut out, nor damage in the sound is why frames cannot be read."""
    path = make_clip(tmp_path / "a.mp4")
    media = probe(path)
    with pytest.raises(MediaError) as caught:
        read_frames(path, media, [0], size=16, box=(500, 0, 9, 9))
    assert caught.value.reason.startswith("ffmpeg: Invalid too big or non positive size for width '-404'")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = start - 8 + int.from_bytes(data[start - 8 : start - 4], "big")
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    with pytest.raises(MediaError) as caught:
        read_frames(path, probe(path), [0, 3], size=16)
    assert "NAL unit" in caught.value.reason


def test_kept_command_takes_the_values_of_each_call(tmp_path):
    """More than eight frames need commas, which a filter must not see as its end."""
    first, second = make_clip(tmp_path / "a.mp4", seconds=3), make_clip(tmp_path / "b.mp4", seconds=2)
    wanted = list(range(1, 29, 2))
    assert grey_numbers(read_frames(first, probe(first), wanted, size=16)) == wanted
    assert grey_numbers(read_frames(second, probe(second), [2, 19], size=16)) == [2, 19]
    assert len(read_audio(first, probe(first), seconds=0.5).samples) == 8000
    assert len(read_audio(second, probe(second), seconds=1.25).samples) == 20_000


def test_decoding_does_not_import_torch():
    code = (
        "import sys, hcep.media.frames, hcep.media.audio, hcep.media.transcribe, hcep.media.index, hcep.media.store, "
        "hcep.datasets.build; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
