"""Sample i of a clip is what is heard i/16,000 s after its start; sound that is none is told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_media import heard, make_clip, run_ffmpeg, tone

import hcep.sound
from hcep.container import MediaError
from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.decoder import DEFAULT
from hcep.media.audio import decode_audio, read_sound
from hcep.media.shards import Row, verify_shard
from hcep.sound import RATE, _place, is_silent


def pitch(samples: np.ndarray, start: float, seconds: float = 0.25) -> int:
    """The strongest frequency in a part of the sound, in hertz."""
    part = samples[round(start * RATE) : round((start + seconds) * RATE)].astype(float)
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return round(float(spectrum.argmax()) / seconds / 10) * 10


@pytest.mark.parametrize(
    ("first", "second"),
    [((44100, 2), (48000, 1)), ((48000, 1), (22050, 1)), ((22050, 1), (48000, 2)), ((32000, 1), (32000, 2))],
)
@pytest.mark.parametrize("suffix", ["ts", "aac"])
def test_rate_and_channels_that_change(tmp_path, first, second, suffix):
    shift = ("-output_ts_offset", "4") if suffix == "ts" else ()
    parts = [
        tone(tmp_path / f"{n}.{suffix}", hertz, 4, rate, "-ac", str(channels), "-c:a", "aac", *(shift if n else ()))
        for n, (hertz, (rate, channels)) in enumerate([(400, first), (800, second)])
    ]
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    samples = heard(path).samples
    # each part has up to three blocks more than its tone
    assert len(samples) / RATE == pytest.approx(8, abs=0.3)
    assert [pitch(samples, start) for start in (0.1, 2, 3.6)] == [400] * 3
    assert [pitch(samples, start) for start in (4.3, 6, 7.6)] == [800] * 3
    # no hole and no seam inside a part: the tone's level stays
    level = np.abs(samples[: 8 * RATE].reshape(-1, RATE // 20)).max(axis=1)
    assert level[2:78].min() > 0.8 * np.median(level), np.flatnonzero(level < 0.8 * np.median(level)) / 20


def beeps(path: Path, *options: str | Path) -> Path:
    """8 s in which a tone of 50 ms begins at each whole second: 500, 600 ... Hz."""
    picture = "aevalsrc='0.5*lt(mod(t,1),0.05)*sin(2*PI*(500+100*floor(t))*t)':s=48000:d=8"
    run_ffmpeg("-f", "lavfi", "-i", picture, *options, path)
    return path


def onsets(samples: np.ndarray) -> list[float]:
    """When tones begin, in seconds."""
    level = np.abs(samples.astype(float))
    loud = np.flatnonzero(level > 3000)
    return [round(float(n) / RATE, 2) for n in loud[np.insert(np.diff(loud) > RATE // 2, 0, True)]]


@pytest.mark.parametrize("lost", [0.6, 0.06])
def test_gaps_are_filled(tmp_path, lost):
    """Packets between 2.3 s and the end of the gap are gone; what follows stays where it was."""
    whole = beeps(tmp_path / "a.mkv", "-c:a", "pcm_s16le")
    keep = f"aselect='not(between(t,2.3,{2.3 + lost}))',asetnsamples=480"
    run_ffmpeg("-i", whole, "-af", f"asetnsamples=480,{keep}", "-c:a", "pcm_s16le", tmp_path / "b.mkv")
    assert onsets(heard(whole).samples) == pytest.approx(list(range(8)), abs=0.02)
    found = heard(tmp_path / "b.mkv")
    assert onsets(found.samples) == pytest.approx(list(range(8)), abs=0.02)
    assert len(found.samples) == pytest.approx(8 * RATE, abs=RATE // 50)


def test_a_long_gap_is_told(tmp_path):
    whole = beeps(tmp_path / "a.mkv", "-c:a", "pcm_s16le")
    keep = "aselect='not(between(t,2.3,4.4))'"
    run_ffmpeg("-i", whole, "-af", f"asetnsamples=480,{keep}", "-c:a", "pcm_s16le", tmp_path / "b.mkv")
    samples, notes, _ = heard(tmp_path / "b.mkv")
    assert onsets(samples) == pytest.approx([0, 1, 2, 5, 6, 7], abs=0.02)
    told = re.fullmatch(r"(\d\.\d\d) s of sound are missing in the middle and filled with zeros", notes[0])
    assert len(notes) == 1 and float(told[1]) == pytest.approx(2.1, abs=0.03)


def test_clocks_that_jump_back_are_refused(tmp_path):
    parts = [tone(tmp_path / f"{n}.ts", 400, 3, 44100, "-c:a", "aac").read_bytes() for n in (1, 2)]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    with pytest.raises(MediaError, match="its clock jumps back"):
        heard(tmp_path / "joined.ts")


def test_clocks_that_jump_ahead_leave_a_gap(tmp_path):
    first = tone(tmp_path / "1.ts", 400, 3, 44100, "-c:a", "aac")
    second = tone(tmp_path / "2.ts", 800, 3, 44100, "-c:a", "aac", "-output_ts_offset", "10")
    (tmp_path / "joined.ts").write_bytes(first.read_bytes() + second.read_bytes())
    samples, notes, _ = heard(tmp_path / "joined.ts")
    assert pitch(samples, 2) == 400 and pitch(samples, 11) == 800 and not samples[5 * RATE : 9 * RATE].any()
    assert "are missing in the middle" in notes[0]


PIECES = st.lists(st.tuples(st.integers(200, 400), st.integers(0, 40_000)), min_size=1, max_size=12)


@settings(deadline=None)
@given(PIECES, st.integers(-3000, 5000))
def test_pieces_lie_where_their_times_say(pieces, first):
    """Runs of 60 pieces with gaps of any size between them."""
    starts, lengths, at = [], [], first
    for length, gap in pieces:
        for _ in range(60):
            starts.append(at)
            lengths.append(length)
            at += length
        at += gap
    lengths, starts = np.array(lengths), np.array(starts)
    # the value of a sample is its number among all samples
    samples = np.arange(1, lengths.sum() + 1)[:, None]
    placed, seconds = _place(Path("a"), samples, starts, lengths)
    position = {value: n for n, value in enumerate(placed[:, 0].tolist()) if value}
    # the first sample of each piece that lies behind the start of the file
    errors = [
        abs(position[number + 1] - int(begin))
        for number, begin in zip((np.cumsum(lengths) - lengths).tolist(), starts, strict=True)
        if number + 1 in position
    ]
    # a shift of up to 10 ms is taken for rounding
    assert errors and max(errors) <= 160
    gaps = [gap for _, gap in pieces[:-1]]
    assert seconds * RATE <= sum(gaps) + 160 * len(pieces)


def test_jitter_of_time_stamps_does_not_move_the_sound():
    """Transport streams tell every n-th time, and guess the others."""
    lengths = np.full(400, 341)
    starts = np.cumsum(lengths) - lengths + np.tile(np.linspace(0, 500, 16).astype(int), 25)
    samples = np.arange(lengths.sum())[:, None]
    placed, gaps = _place(Path("a"), samples, starts, lengths)
    assert gaps == 0 and len(placed) <= len(samples) + 500
    inside = placed[600:, 0]
    assert (np.diff(inside) == 1).all()


@pytest.mark.parametrize("seconds", [10, 100_000])
def test_a_clock_that_claims_days_is_refused(seconds):
    samples, lengths = np.zeros((20, 1), np.int16), np.array([10, 10])
    starts = np.array([0, seconds * RATE])
    if seconds == 10:
        assert len(_place(Path("a"), samples, starts, lengths)[0]) == 10 * RATE + 10
    else:
        with pytest.raises(MediaError, match="above the limit"):
            _place(Path("a"), samples, starts, lengths)


def two_tracks(path: Path, first: str, second: str, *options: str) -> Path:
    inputs = ["-f", "lavfi", "-i", first, "-f", "lavfi", "-i", second]
    run_ffmpeg(*inputs, "-map", "0", "-map", "1", *options, path)
    return path


TONE = "sine=frequency={}:sample_rate=48000:duration=2"
MUTE = "anullsrc=r=48000:cl=mono:d=2"


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_of_several_tracks_the_one_of_players_is_read(tmp_path, name):
    options = ("-c:a", "aac", "-disposition:a:0", "0", "-disposition:a:1", "default")
    samples, notes, _ = heard(two_tracks(tmp_path / name, TONE.format(400), TONE.format(800), *options))
    assert pitch(samples, 1) == 800 and notes == ("track 2 of 2 is read, the default one",)
    plain = tmp_path / f"plain{name}"
    samples, notes, _ = heard(two_tracks(plain, TONE.format(400), TONE.format(800), "-c:a", "aac"))
    assert pitch(samples, 1) == 400 and notes[0].startswith("track 1 of 2 is read")
    samples, notes, _ = heard(two_tracks(tmp_path / f"mute{name}", MUTE, TONE.format(800), "-c:a", "aac"))
    assert pitch(samples, 1) == 800 and notes == ("track 2 of 2 is read, the first that sounds",)
    samples, notes, _ = heard(two_tracks(tmp_path / f"both{name}", MUTE, MUTE, "-c:a", "aac"))
    assert is_silent(samples) and notes[0].startswith("track 1 of 2 is read")


@pytest.mark.parametrize("name", ["a.wav", "a.m4a", "a.mkv"])
def test_channels_that_cancel_each_other(tmp_path, name):
    both = "aevalsrc='0.4*sin(2*PI*400*t)|-0.4*sin(2*PI*400*t):s=48000:d=2'"
    run_ffmpeg("-f", "lavfi", "-i", both, tmp_path / name)
    samples, notes, _ = heard(tmp_path / name)
    assert pitch(samples, 1) == 400 and np.abs(samples).max() > 10_000
    assert "the channels cancel each other, channel" in notes[0]
    quiet = "aevalsrc='0.0005*sin(2*PI*400*t)|0.0005*sin(2*PI*300*t):s=48000:d=2'"
    run_ffmpeg("-f", "lavfi", "-i", quiet, tmp_path / f"quiet{name}")
    assert heard(tmp_path / f"quiet{name}").notes == ()


def test_one_loud_channel_is_not_taken_for_a_cancelled_pair(tmp_path):
    run_ffmpeg("-f", "lavfi", "-i", "aevalsrc='0.4*sin(2*PI*400*t)|0:s=48000:d=2'", tmp_path / "a.wav")
    samples, notes, _ = heard(tmp_path / "a.wav")
    assert notes == () and np.abs(samples).max() == pytest.approx(0.2 * 32768, rel=0.02)


@pytest.mark.parametrize(
    ("values", "silent"),
    [
        ([0] * 50, True),
        ([700] * 50, True),
        ([700, 701] * 25, True),
        ([0, 1, -1] * 20, True),
        ([0, 2, -2] * 20, False),
        ([0] * 49 + [5], False),
    ],
)
def test_what_counts_as_silent(values, silent):
    assert is_silent(np.array(values, np.int16)) is silent


def shard_of_clips(tmp_path: Path, clips: list[Clip], samples: int = 8000):
    write_manifest(tmp_path / "m.tsv", clips)
    decode_audio(tmp_path / "m.tsv", tmp_path, "000-of-001", tmp_path / "a.h5", samples=samples)
    shard = verify_shard(tmp_path / "a.h5", "audio")
    return {name: (f, r, int(n)) for name, f, r, n in zip(shard.clips, shard.flags, shard.reasons,
                                                        shard.numbers["samples"], strict=True)}  # fmt: skip


def clip(name: str, media: str, start: float | None = None, end: float | None = None) -> Clip:
    return Clip(name, "d", media, media, start, end, "", "none", "", "", "", "", "", "", "")


def test_silence_is_kept_and_flagged(tmp_path):
    run_ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-f", "lavfi", "-i", "anullsrc=r=44100:cl=mono:d=1",
               "-filter_complex", "[0][1]concat=n=2:v=0:a=1", tmp_path / "half.wav")  # fmt: skip
    run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=44100:cl=stereo:d=1", "-c:a", "aac", tmp_path / "mute.m4a")
    soundfile.write(tmp_path / "level.wav", np.full(9000, 0.25), RATE)
    found = shard_of_clips(
        tmp_path,
        [
            clip("sounds", "half.wav", 0, 0.5),
            clip("pause", "half.wav", 1.2, 1.7),
            clip("mute", "mute.m4a"),
            clip("level", "level.wav"),
        ],
    )
    assert found["sounds"] == ("", "", 8000)
    assert found["pause"] == ("silent_audio", "note: silent: constant throughout", 8000)
    assert found["mute"][0] == "silent_audio" and found["mute"][1].startswith("note: silent: ")
    assert found["level"] == ("silent_audio", "note: silent: constant throughout", 8000)


def test_padding_is_counted_out(tmp_path):
    tone(tmp_path / "a.wav", 400, 0.3, RATE)
    found = shard_of_clips(tmp_path, [clip("short", "a.wav"), clip("part", "a.wav", 0.1, 0.2)])
    assert found["short"][2] == 4800 and found["part"][2] == 1600


def test_padding_of_the_encoder_is_cut(tmp_path, monkeypatch):
    """Some versions of ffmpeg keep what fills up the last block: the stream's own length counts."""
    path = tone(tmp_path / "a.mp4", 400, 1, 44_100, "-ac", "1", "-c:a", "aac")
    assert len(heard(path).samples) == 16_000
    read = hcep.sound.read_track

    def padded(*arguments, **options):
        samples, starts, lengths, erred = read(*arguments, **options)
        more = np.full((347, samples.shape[1]), 9, np.int16)
        return np.concatenate([samples, more]), np.append(starts, 16_000), np.append(lengths, 347), erred

    monkeypatch.setattr(hcep.sound, "read_track", padded)
    assert len(heard(path).samples) == 16_000


def test_reading_part_of_a_sound_gives_its_beginning(tmp_path):
    path = make_clip(tmp_path / "a.mp4", seconds=3)
    whole = heard(path).samples
    for seconds in (0.01, 0.5, 1.2345, 2.9):
        part = heard(path, seconds=seconds).samples
        assert len(part) == round(seconds * RATE) and np.array_equal(part, whole[: len(part)])


def test_clip_after_the_end_fails_alone(tmp_path):
    tone(tmp_path / "a.wav", 400, 1, RATE)
    clips = [clip("in", "a.wav", 0, 0.5), clip("out", "a.wav", 3, 4)]
    rows = dict(read_sound(tmp_path / "a.wav", clips, [0, 1], longest=None, limits=DEFAULT))
    assert rows[0] == Row(rows[0].value, "", seconds=0.5) and len(rows[0].value) == 8000
    assert rows[1].reason == "failed: the segment starts at 3 s, the sound ends at 1.00 s"
