"""A sound file is read to its last sample, or refused: what it claims is no fact."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sample_media import heard, make_clip, run_ffmpeg, tone

from hcep.container import MediaError
from hcep.ffmpeg import ffmpeg_executable
from hcep.sound import RATE, _read_plain


def riff(path: Path, by: int) -> Path:
    """Change the length that the file claims for itself."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, struct.unpack_from("<I", data, 4)[0] + by)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_what_a_wav_claims_for_the_whole_file_is_no_fact(tmp_path, rate):
    path = tone(tmp_path / "a.wav", 400, 2, rate)
    before = heard(path).samples
    assert len(before) == 32_000
    assert np.array_equal(heard(riff(path, 8)).samples, before)
    path = riff(tone(tmp_path / "b.wav", 400, 2, rate), 5000 - 8)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4992) + b"INFO")
    assert np.array_equal(heard(path).samples, before)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.au", "a.w64"])
@pytest.mark.parametrize("seconds", [1, 6])
def test_half_a_sound_file_is_refused(tmp_path, name, seconds):
    path = tone(tmp_path / name, 400, seconds, 44_100)
    assert len(heard(path).samples) == seconds * RATE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match=r"is truncated|libsndfile|cannot be read"):
        heard(path)


@pytest.mark.parametrize("name", ["a.m4a", "a.mka", "a.mp4"])
def test_half_of_a_short_clip_s_sound_is_refused(tmp_path, name):
    options = ("-movflags", "+faststart") if name != "a.mka" else ()
    path = tone(tmp_path / name, 400, 1, 44_100, *options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(MediaError, match=r"is truncated|cannot be read"):
        heard(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", ("-c:a", "libmp3lame", "-q:a", "7")),
        ("a.wav", ("-c:a", "libmp3lame", "-b:a", "64k")),
        ("a.wav", ("-c:a", "adpcm_ima_wav")),
        ("a.wav", ("-c:a", "adpcm_ms")),
        ("a.wav", ("-c:a", "pcm_mulaw")),
        ("a.mp3", ("-q:a", "7")),
        ("a.avi", ("-c:a", "libmp3lame")),
        ("a.wma", ()),
    ],
)
def test_compressed_sound_is_read_whole_and_half_of_it_refused(tmp_path, name, options):
    run_ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=12:r=44100:a=0.3:seed=1", *options, tmp_path / name)
    path = tmp_path / name
    assert len(heard(path).samples) == pytest.approx(12 * RATE, abs=RATE // 5)
    for share in (0.5, 0.8):
        part = tmp_path / f"{share}{name}"
        part.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(MediaError, match=r"is truncated|cannot be read"):
            heard(part)


@pytest.mark.parametrize("claim", [0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFF000, 0xFFFFFFFF])
def test_lengths_that_a_writer_could_not_fill_in(tmp_path, claim):
    path = tone(tmp_path / "a.wav", 400, 2, 44_100)
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    struct.pack_into("<I", data, at + 4, claim)
    struct.pack_into("<I", data, 4, min(claim + 36, 0xFFFFFFFF))
    path.write_bytes(data)
    assert len(heard(path).samples) == pytest.approx(32_000, abs=1)


def test_half_of_a_wav_above_4_gb_s_form_is_refused(tmp_path):
    path = tone(tmp_path / "a.wav", 400, 2, 44_100, "-rf64", "always")
    assert len(heard(path).samples) == 32_000
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match="is truncated"):
        heard(path)


def test_flac_written_to_a_pipe(tmp_path):
    tone(tmp_path / "a.wav", 400, 2, 44_100)
    with (tmp_path / "a.flac").open("wb") as handle:
        command = [ffmpeg_executable(), "-loglevel", "error", "-i", str(tmp_path / "a.wav"), "-f", "flac", "pipe:1"]
        subprocess.run(command, stdout=handle, check=True, stdin=subprocess.DEVNULL)
    assert len(heard(tmp_path / "a.flac").samples) == pytest.approx(32_000, abs=1)


def test_avi_whose_sound_is_said_to_start_late(tmp_path):
    tone(tmp_path / "a.wav", 400, 3, 44_100)
    make_clip(tmp_path / "v.avi", seconds=3, audio=False)
    run_ffmpeg(
        "-i", tmp_path / "v.avi", "-itsoffset", "1.3", "-i", tmp_path / "a.wav", "-c", "copy", tmp_path / "b.avi"
    )
    assert len(heard(tmp_path / "b.avi").samples) >= 3 * RATE - 1600


def test_plain_sound_is_read_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(-32768, 32768, 30_000).astype(np.int16)
    for name, subtype in (("a.wav", "PCM_16"), ("a.flac", "PCM_16"), ("b.wav", "PCM_24"), ("c.wav", "FLOAT")):
        soundfile.write(tmp_path / name, values / 32768 if subtype == "FLOAT" else values, RATE, subtype)
        assert np.array_equal(heard(tmp_path / name).samples, values)
        assert np.array_equal(heard(tmp_path / name, seconds=0.5).samples, values[:8000])


def test_samples_that_are_no_numbers_are_refused(tmp_path):
    values = np.zeros(2000)
    values[1000] = np.nan
    soundfile.write(tmp_path / "a.wav", values, RATE, "FLOAT")
    with pytest.raises(MediaError, match="not finite numbers"):
        heard(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 24_414, 44_100, 48_000, 96_000])
def test_resampling_in_blocks_gives_the_same(tmp_path, rate, monkeypatch):
    rng = np.random.default_rng(1)
    soundfile.write(tmp_path / "a.wav", rng.uniform(-0.5, 0.5, (3 * rate, 2)), rate, "FLOAT")
    whole = _read_plain(tmp_path / "a.wav", 7200)
    assert whole.shape == (3 * RATE, 2) and whole.dtype == np.int16
    monkeypatch.setattr("hcep.sound.CHUNK", 1000)
    assert np.abs(_read_plain(tmp_path / "a.wav", 7200).astype(int) - whole).max() <= 1
    seconds = np.arange(3 * rate) / rate
    soundfile.write(tmp_path / "b.wav", 0.5 * np.sin(2 * np.pi * 1000 * seconds), rate, "PCM_16")
    low = heard(tmp_path / "b.wav").samples / 32768
    # away from the ends the tone is where it was
    inner = slice(RATE, 2 * RATE)
    assert np.abs(low[inner] - 0.5 * np.sin(2 * np.pi * 1000 * np.arange(3 * RATE) / RATE)[inner]).max() < 0.005


@pytest.mark.parametrize("claim", [0xC0000000, 0x90000000, 100_000])
def test_a_large_length_is_a_claim_as_any_other(tmp_path, claim):
    """Three gigabytes that are not there: the rest of the file is lost."""
    path = tone(tmp_path / "a.wav", 400, 1, 16_000)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"data") + 4, claim)
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"is truncated|above the limit"):
        heard(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "channels"), [("a.wav", 3), ("a.mkv", 1), ("a.mkv", 2), ("a.mka", 8)])
def test_samples_that_are_no_numbers_are_seen_by_ffmpeg_too(tmp_path, name, channels, value):
    """Where ffmpeg reads the sound, such a sample would become the loudest one there is."""
    values = np.tile(0.3 * np.sin(np.arange(32_000) / 8)[:, None], (1, channels))
    for odd in (0.5, value):
        values[20_000, channels - 1] = odd
        soundfile.write(tmp_path / "first.wav", values, RATE, "FLOAT")
        run_ffmpeg("-i", tmp_path / "first.wav", "-c", "copy", tmp_path / name)
        if np.isfinite(odd):
            assert len(heard(tmp_path / name).samples) == 32_000
            continue
        with pytest.raises(MediaError, match="not finite numbers"):
            heard(tmp_path / name)
        # what is not read does not count
        assert len(heard(tmp_path / name, seconds=0.5).samples) == 8000
