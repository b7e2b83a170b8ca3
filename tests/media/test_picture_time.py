"""Frames are chosen by the time at which they appear, whatever the packets and counters of a file say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sample_media import grey_numbers, grey_steps, make_clip, run_ffmpeg

import hcep.media.frames
from hcep.container import MediaError
from hcep.datasets.manifest_file import Clip
from hcep.decoder import DEFAULT
from hcep.errors import HcepError
from hcep.ffmpeg import frame_ticks
from hcep.media.frames import choose_frames, decode_frames, read_video
from hcep.media.shards import Row
from hcep.probe import probe
from hcep.sound import read_audio


def clip(start: float | None = None, end: float | None = None) -> Clip:
    return Clip("a", "d", "a.mp4", "", start, end, "", "none", "", "", "", "", "", "", "")


def rows(path: Path, *clips: Clip, frames: int = 8, sampling: str = "time") -> list[Row]:
    read = read_video(path, clips, list(range(len(clips))), frames=frames, size=16, sampling=sampling, limits=DEFAULT)
    return [row for _, row in sorted(read, key=lambda item: item[0])]


def numbers(row: Row, step: int) -> list[int]:
    return grey_numbers(row.value, step)


def centres(first: int, count: int, frames: int = 8) -> list[int]:
    """Numbers of the frames at the centres of equal parts of `count` frames."""
    return [first + (2 * i + 1) * count // (2 * frames) for i in range(frames)]


@pytest.mark.parametrize("name", ["joined.mkv", "joined.mp4"])
def test_a_picture_that_changes_its_size(tmp_path, name):
    """100 frames of 64x64, then 400 of 128x128: a filter's counter begins anew there."""
    parts = []
    for side, first, count in ((64, 0, 100), (128, 100, 400)):
        source = f"color=black:s={side}x{side}:r=25:d={count / 25},format=yuv420p"
        lum = f"geq=lum='16+4*mod(N+{first},50)':cb=128:cr=128"
        part = tmp_path / f"{side}.h264"
        run_ffmpeg("-f", "lavfi", "-i", f"{source},{lum}", "-c:v", "libx264", "-qp", "0", "-g", "10", part)
        parts.append(part.read_bytes())
    (tmp_path / "joined.h264").write_bytes(b"".join(parts))
    run_ffmpeg("-r", "25", "-i", tmp_path / "joined.h264", "-c", "copy", tmp_path / name)
    late, across = rows(tmp_path / name, clip(12, 14), clip(3, 5))
    assert numbers(late, 4) == [n % 50 for n in centres(300, 50)]
    assert numbers(across, 4) == [n % 50 for n in centres(75, 50)]
    assert late.reason == "" and late.seconds == pytest.approx(2.0)


@pytest.fixture(scope="module")
def hidden(tmp_path_factory) -> Path:
    """VP8 in two passes with alternate reference frames: packets that are never shown. 60 s at 25 frames/s."""
    path = tmp_path_factory.mktemp("hidden") / "a.webm"
    inside = "between(X,24,71)*between(Y,24,71)"
    grey = "if(between(X,12,35)*between(Y,12,35),128,{0}(X,Y))"
    picture = (
        "testsrc2=s=96x96:r=25:d=60,format=yuv420p,"
        f"geq=lum='if({inside},16+4*mod(N,50),lum(X,Y))':cb='{grey.format('cb')}':cr='{grey.format('cr')}'"
    )
    coded = "-c:v libvpx -b:v 200k -auto-alt-ref 1 -lag-in-frames 25 -arnr-maxframes 7 -arnr-strength 5 -g 128"
    for number in ("1", "2"):
        passes = ["-deadline", "good", "-cpu-used", "4", "-pass", number, "-passlogfile", path.with_suffix("")]
        run_ffmpeg("-f", "lavfi", "-i", picture, *coded.split(), *passes, path)
    return path


def inner(row: Row) -> list[int]:
    return [number % 50 for number in grey_numbers(row.value[:, 6:10, 6:10], 4)]


@pytest.mark.parametrize("sampling", ["time", "index"])
def test_packets_that_are_never_shown(hidden, sampling):
    late, whole = rows(hidden, clip(50, 52), clip(), sampling=sampling)
    assert inner(late) == centres(0, 50)
    assert inner(whole) == [number % 50 for number in centres(0, 1500)]


def test_hidden_packets_that_have_a_time_of_their_own(hidden, monkeypatch):
    """What the packets say is given up for what decodes."""
    media = probe(hidden)
    extra = np.sort(np.concatenate([media.ticks, media.ticks[5::17] + 13]))
    monkeypatch.setattr("hcep.media.frames.probe", lambda *_, **__: media.with_ticks(extra))
    for sampling in ("time", "index"):
        (row,) = rows(hidden, clip(50, 52), sampling=sampling)
        assert inner(row) == centres(0, 50) and row.reason == ""


@pytest.fixture(scope="module")
def variable(tmp_path_factory) -> Path:
    """25 frames/s for 4 s, then 5 frames/s for 16 s: 180 frames."""
    path = tmp_path_factory.mktemp("variable") / "a.mp4"
    source = "color=black:s=64x64:r=25:d=7.2,format=yuv444p,geq=lum='16+N':cb=128:cr=128"
    times = "setpts='if(lt(N,100),N/25,4+(N-100)/5)/TB'"
    coded = ["-fps_mode", "vfr", "-c:v", "libx264", "-qp", "0", "-g", "10", "-video_track_timescale", "12800"]
    run_ffmpeg("-f", "lavfi", "-i", f"{source},{times}", *coded, path)
    return path


def test_equal_segments_are_equal_in_time(variable):
    media = probe(variable)
    assert media.frames == 180 and media.picture_end == pytest.approx(20.0, abs=0.01)
    by_time, by_number = rows(variable, clip())[0], rows(variable, clip(), sampling="index")[0]
    # 1.25, 3.75, 6.25 ... 18.75 s
    assert numbers(by_time, 1) == [31, 93, 111, 123, 136, 148, 161, 173]
    assert numbers(by_number, 1) == centres(0, 180)
    assert by_time.seconds == pytest.approx(20.0, abs=0.01)


def test_segment_of_a_slow_part_shows_what_is_on_screen(variable):
    (row,) = rows(variable, clip(3.5, 4.5), frames=4)
    # 3.625, 3.875 s at 25 frames/s; 4.125 and 4.375 s at 5
    assert numbers(row, 1) == [90, 96, 100, 101]


@pytest.mark.parametrize("fps", ["25", "30000/1001", "60"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.flv", "a.ts"])
def test_at_a_constant_rate_time_and_number_are_the_same(tmp_path, name, fps):
    source = f"color=black:s=32x32:r={fps}:d=3,format=yuv420p"
    run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "mpeg4" if name == "a.avi" else "libx264", tmp_path / name)
    media = probe(tmp_path / name)
    for start, end in ((None, None), (0.73, 2.1), (1.0, 2.0)):
        for frames in (3, 8, 16):
            by_time, by_number = (choose_frames(media, start, end, frames, sampling) for sampling in ("time", "index"))
            assert by_time.positions.tolist() == by_number.positions.tolist()


@pytest.mark.parametrize("coded", [("mpeg4", "-bf", "2", "-q:v", "1"), ("libx264", "-bf", "3", "-qp", "0")])
def test_b_frames_without_times_of_their_own(tmp_path, coded):
    """AVI has no presentation times: the decoder's first frame is the one at the start."""
    path = make_clip(tmp_path / "a.avi", size="352x288", seconds=3, step=5, options=("-c:v", *coded))
    whole, part = rows(path, clip(), clip(1.0, 2.0), frames=4)
    assert numbers(whole, 5) == centres(0, 30, 4) and numbers(part, 5) == centres(10, 10, 4)
    assert (whole.seconds, part.seconds) == (pytest.approx(3.0), pytest.approx(1.0))


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.mkv", True), ("a.mkv", False), *((f"a.{kind}", True) for kind in ("webm", "wmv", "mp4", "ts"))],
)
def test_a_clock_that_does_not_begin_at_zero(tmp_path, name, told):
    """As parts of a longer recording that were cut without a new clock; only Matroska tells of single streams."""
    path = make_clip(tmp_path / name, seconds=3, step=5, options=("-output_ts_offset", "20"))
    if not told:
        untold(path)
    whole, part = rows(path, clip(), clip(1.0, 2.0), frames=4)
    assert numbers(whole, 5) == centres(0, 30, 4) and numbers(part, 5) == centres(10, 10, 4)
    samples, _, _ = read_audio(path, probe(path, picture=False))
    assert len(samples) == pytest.approx(48_000, abs=1600)


@pytest.mark.parametrize("fps", ["1", "1/4"])
def test_few_frames_with_b_frames_in_matroska(tmp_path, fps):
    """It tells no decoding times, and the library's guesses go back."""
    picture = f"color=black:s=64x64:r={fps}:d=60,format=yuv444p,geq=lum='16+3*N':cb=128:cr=128"
    coded = ("-c:v", "libx264", "-qp", "0", "-bf", "3", "-b_strategy", "0", "-preset", "veryslow")
    run_ffmpeg("-f", "lavfi", "-i", picture, *coded, tmp_path / "a.mkv")
    (row,) = rows(tmp_path / "a.mkv", clip(), frames=5)
    assert numbers(row, 3) == centres(0, 60 if fps == "1" else 15, 5) and row.reason == ""


def test_a_clock_that_jumps_ahead_is_told(tmp_path):
    for number, offset in ((1, 0), (2, 600)):
        make_clip(tmp_path / f"{number}.ts", seconds=3, options=("-c:v", "libx264", "-output_ts_offset", str(offset)))
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "1.ts").read_bytes() + (tmp_path / "2.ts").read_bytes())
    (row,) = rows(joined, clip())
    assert row.reason.startswith("note: one frame stands still for 59")


def test_zeros_behind_a_transport_stream(tmp_path):
    path = make_clip(tmp_path / "a.ts", options=("-c:v", "libx264", "-qp", "0"))
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert numbers(rows(path, clip(), frames=4)[0], 7) == centres(0, 20, 4)


@pytest.mark.parametrize("name", ["a.wmv", "a.avi"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_half_of_other_containers_is_truncated(tmp_path, name, share):
    path = make_clip(tmp_path / name, seconds=6, size="160x120")
    assert len(rows(path, clip())[0].value) == 8
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(MediaError, match="is truncated"):
        rows(path, clip())
    with pytest.raises(MediaError, match="is truncated"):
        read_audio(path, probe(path, picture=False))


def test_ogg_without_its_end_is_told(tmp_path):
    path = make_clip(tmp_path / "a.ogv", seconds=6, size="160x120")
    assert rows(path, clip())[0].reason == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "the file has no end mark and may be cut" in rows(path, clip())[0].reason
    assert "the file has no end mark and may be cut" in read_audio(path, probe(path, picture=False)).notes


def test_segment_ends_on_a_clock_of_milliseconds(tmp_path):
    run_ffmpeg(*grey_steps(2, 60, "32x32", 1), "-c:v", "libx264", "-qp", "0", tmp_path / "a.mkv")
    media = probe(tmp_path / "a.mkv")
    for frame in (20, 21, 22):
        choice = choose_frames(media, frame / 60, (frame + 30) / 60, 30)
        assert choice.positions.tolist() == list(range(frame, frame + 30))


def test_clocks_that_jump_back_are_refused(tmp_path):
    for number in (1, 2):
        make_clip(tmp_path / f"{number}.ts", seconds=3, options=("-c:v", "libx264"))
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "1.ts").read_bytes() + (tmp_path / "2.ts").read_bytes())
    with pytest.raises(MediaError, match=r"its clock jumps back from 2\.\d\d to -?0\.\d\d s"):
        rows(joined, clip())


def test_open_gop_begins_with_frames_that_do_not_decode(tmp_path):
    """A stream cut at an open group of pictures: its first packets refer to what is gone."""
    coded = ("-c:v", "libx264", "-bf", "2", "-x264-params", "open-gop=1:keyint=12:min-keyint=12:scenecut=0", "-qp", "4")
    path = make_clip(tmp_path / "a.ts", seconds=6, step=3, audio=False, options=coded)
    packets = path.read_bytes()
    path.write_bytes(packets[188 * (len(packets) // 188 // 3) :])
    media = probe(path)
    shown = media.with_ticks(frame_ticks(path, media))
    (row,) = rows(path, clip(), frames=4)
    wanted = choose_frames(shown, None, None, 4).positions
    assert all(np.diff(numbers(row, 3)) > 0)
    assert np.abs(np.diff(numbers(row, 3)) - np.diff(wanted)).max() <= 1


def test_edit_list_hides_the_start(tmp_path):
    """The stream is cut at a key frame, number 10; the list hides what lies before 1.2 s."""
    path = make_clip(tmp_path / "a.mp4", seconds=4, step=3)
    run_ffmpeg("-ss", "1.2", "-i", path, "-c", "copy", tmp_path / "b.mp4")
    whole, part = rows(tmp_path / "b.mp4", clip(), clip(0, 1), frames=4)
    assert numbers(whole, 3) == centres(12, 28, 4) and numbers(part, 3) == centres(12, 10, 4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fragments.mp4", ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")),
        ("amr.3gp", ("-c:a", "libopencore_amrnb", "-ar", "8000", "-ac", "1", "-c:v", "libx264", "-qp", "0")),
        ("live.webm", ("-live", "1")),
    ],
)
def test_containers_that_tell_little(tmp_path, name, options):
    path = make_clip(tmp_path / name, options=options)
    (row,) = rows(path, clip(0.5, 1.5), frames=4)
    assert numbers(row, 7) == [6, 8, 11, 13] and row.reason == ""
    samples, notes, _ = read_audio(path, probe(path, picture=False))
    assert len(samples) == pytest.approx(32_000, abs=1000) and np.abs(samples).max() > 2000 and notes == ()


def test_file_without_its_table_fails(tmp_path):
    """As one clip of MELD: the download stopped before the table of contents at the end."""
    path = make_clip(tmp_path / "a.mp4", seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"moov") - 4])
    with pytest.raises(MediaError, match="cannot be read as video or audio"):
        rows(path, clip())


def test_subtitle_that_lasts_longer_is_no_truncation(tmp_path):
    make_clip(tmp_path / "a.mkv", seconds=3)
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:07,000 --> 00:00:09,000\ntwo\n")
    run_ffmpeg("-i", tmp_path / "a.mkv", "-i", tmp_path / "a.srt", "-c", "copy", "-c:s", "subrip", tmp_path / "b.mkv")
    run_ffmpeg("-i", tmp_path / "b.mkv", "-map", "0", "-c", "copy", "-c:s", "webvtt", tmp_path / "untold.mkv")
    for path in (tmp_path / "b.mkv", untold(tmp_path / "untold.mkv")):
        assert probe(path).duration == pytest.approx(9.0, abs=0.1)
        (row,) = rows(path, clip(), frames=4)
        assert numbers(row, 7) == centres(0, 30, 4) and row.reason == ""


def untold(path: Path) -> Path:
    """The file without what ffmpeg writes about single streams."""
    content = path.read_bytes()
    assert b"DURATION" in content
    path.write_bytes(content.replace(b"DURATION", b"REMARKED"))
    return path


@pytest.mark.parametrize("told", [True, False])
def test_cut_matroska_is_truncated_and_one_without_its_last_remark_is_not(tmp_path, told):
    path = make_clip(tmp_path / "a.mkv", seconds=6, size="160x120")
    if not told:
        untold(path)
    whole = path.read_bytes()
    cues = whole.rindex(b"\x1c\x53\xbb\x6b")
    path.write_bytes(whole[: cues + 6])
    assert len(rows(path, clip())[0].value) == 8
    for share in (0.9, 0.5):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(MediaError, match="is truncated: the picture ends at"):
            rows(path, clip())


def test_half_of_a_short_clip_is_truncated(tmp_path):
    path = make_clip(tmp_path / "a.mp4", seconds=1, size="160x120", options=("-movflags", "+faststart"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match="is truncated"):
        rows(path, clip())


def test_sampling_is_checked(tmp_path):
    with pytest.raises(HcepError, match="frame_sampling 'frames'"):
        decode_frames(tmp_path / "m.tsv", tmp_path, "000-of-001", tmp_path / "a.h5", frames=2, size=16,
                      frame_sampling="frames")  # fmt: skip


def test_index_mode_reads_the_times_only_where_it_must(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "a.mp4")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a constant rate needs no second pass")

    monkeypatch.setattr(hcep.media.frames, "frame_ticks", never)
    assert numbers(rows(path, clip(), frames=4, sampling="index")[0], 7) == centres(0, 20, 4)


def test_grey_steps_are_what_the_tests_take_them_for(tmp_path):
    run_ffmpeg(*grey_steps(1, 10, "32x32", 7), "-c:v", "libx264", "-qp", "0", tmp_path / "a.mkv")
    assert numbers(rows(tmp_path / "a.mkv", clip(), frames=10)[0], 7) == list(range(10))
