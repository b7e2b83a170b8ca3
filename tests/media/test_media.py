"""Clips -> shards -> index -> arrays: what comes back is what the release held."""

from __future__ import annotations

import csv
import json
import os
import pickle
import subprocess
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_media import grey_numbers, make_clip, run_ffmpeg, write_list

from hcep.container import MediaError
from hcep.datasets.build import build_manifest
from hcep.datasets.manifest_file import Clip, read_manifest
from hcep.decoder import DEFAULT
from hcep.errors import HcepError
from hcep.ffmpeg import ffmpeg_executable, frame_ticks
from hcep.media.audio import decode_audio, fit
from hcep.media.frames import choose_frames, decode_frames, read_video
from hcep.media.index import index_cache
from hcep.media.shards import Row, clips_of_shard, shard_names, shard_of, verify_shard, write_shard
from hcep.media.store import ClipStore
from hcep.media.transcribe import transcribe
from hcep.probe import Probe, probe
from hcep.sound import read_audio

F, S, A = 4, 16, 8000
KINDS = ("frames", "audio", "text")


def build_cache(root: Path, folder: Path, rows: list[dict[str, str]], shards: int = 2, **limits: float) -> ClipStore:
    """Manifest, shards, index and store of a list of clips."""
    write_list(root / "clips.tsv", rows)
    manifest = folder / "manifest.tsv"
    build_manifest("manifest", root, "tiny", {}, manifest)
    for name in shard_names(shards):
        decode_frames(manifest, root, name, folder / f"frames/{name}.h5", frames=F, size=S)
        decode_audio(manifest, root, name, folder / f"audio/{name}.h5", samples=A, threads=2)
        transcribe(manifest, root, name, folder / f"text/{name}.h5", source="manifest")
    index_shards(folder, shards, **limits)
    return ClipStore(folder / "index.h5", folder)


def index_shards(folder: Path, shards: int = 2, **limits: float) -> None:
    paths = {kind: [folder / kind / f"{name}.h5" for name in shard_names(shards)] for kind in KINDS}
    index_cache(folder / "manifest.tsv", paths, folder / "index.h5", folder / "qc.tsv", **limits)


def read_qc(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return {row["clip"]: row for row in csv.DictReader(handle, delimiter="\t")}


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """Three sound clips, one without sound, one of sound only."""
    root = tmp_path_factory.mktemp("release")
    for index, hertz in enumerate((300, 600, 900)):
        make_clip(root / f"v/{index}.mp4", hertz=hertz, seconds=1 + index)
    make_clip(root / "v/mute.mp4", audio=False)
    make_clip(root / "v/dark.mp4", video=False)
    return root


ROWS = [
    {"clip": "one", "video": "v/0.mp4", "label": "fear", "text": "well, well", "fold": "1"},
    {"clip": "two", "video": "v/1.mp4", "label": "joy", "text": "", "fold": "1"},
    {"clip": "three", "video": "v/2.mp4", "label": "joy", "text": "a\tb\n“c”", "text_kind": "caption", "fold": "2"},
    {"clip": "mute", "video": "v/mute.mp4", "label": "fear", "text": "x", "fold": "2"},
    {"clip": "dark", "video": "v/dark.mp4", "label": "fear", "text": "x", "fold": "2"},
]


@pytest.fixture(scope="module")
def cache(release, tmp_path_factory) -> ClipStore:
    return build_cache(release, tmp_path_factory.mktemp("cache"), ROWS)


def test_frames_are_those_at_the_segment_centres(cache):
    frames = cache.frames(["three", "one"])
    assert frames.shape == (2, F, S, S, 3) and frames.dtype == np.uint8
    # floor((i + 0.5) N / 4) for N = 30 and N = 10
    assert grey_numbers(frames[0]) == [3, 11, 18, 26]
    assert grey_numbers(frames[1]) == [1, 3, 6, 8]


def test_sound_is_the_clip_s_own_and_centred(cache, release):
    sound = cache.waveforms(["two", "three", "one"])
    assert sound.shape == (3, A) and sound.dtype == np.int16
    assert [int(np.abs(np.fft.rfft(row)).argmax() * 2) for row in sound] == [600, 900, 300]
    whole = read_audio(release / "v/2.mp4", probe(release / "v/2.mp4")).samples
    first = (len(whole) - A) // 2
    assert np.array_equal(sound[1], whole[first : first + A])


def test_words_and_their_kind(cache):
    assert cache.texts(["three", "one", "two"]) == ["a\tb\n“c”", "well, well", ""]
    assert cache.text_kinds(["three", "one", "two"]) == ["caption", "transcript", "none"]


def test_missing_modalities_are_kept_as_zeros_with_a_flag(cache):
    assert cache.flags(["one", "two", "mute", "dark"]) == ["", "no_text", "no_audio", "no_video"]
    assert not cache.waveforms(["mute"]).any() and cache.frames(["mute"]).any()
    assert not cache.frames(["dark"]).any() and cache.waveforms(["dark"]).any()
    rows = read_qc(cache.folder / "qc.tsv")
    assert set(rows) == {row["clip"] for row in ROWS}
    assert [rows["mute"][kind] for kind in KINDS] == ["ok", "absent", "ok"]
    assert rows["dark"]["reason"] == "frames absent: has no video stream"
    assert rows["two"]["flags"] == "no_text" and rows["one"]["reason"] == ""


def test_store_answers_in_the_order_asked(cache):
    names = cache.clips()
    assert names == sorted(row["clip"] for row in ROWS)
    assert sorted(name for shard in shard_names(2) for name in cache.clips(shard)) == names
    rng = np.random.default_rng(0)
    every = dict(zip(names, cache.frames(names), strict=True))
    for _ in range(5):
        some = [names[i] for i in rng.integers(0, len(names), 9)]
        assert np.array_equal(cache.frames(some), np.stack([every[name] for name in some]))
    assert cache.frames([]).shape == (0, F, S, S, 3)
    with pytest.raises(HcepError, match="clip 'nobody'"):
        cache.frames(["nobody"])


def test_store_survives_pickle_and_fork(cache):
    expected = cache.frames(["one"])
    assert np.array_equal(pickle.loads(pickle.dumps(cache)).frames(["one"]), expected)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(cache.frames(["one"]), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_segments_of_one_video(release, tmp_path):
    segments = [("a", "", "1"), ("b", "1", "2"), ("c", "-0.4", "0.5"), ("d", "2.05", ""), ("e", "0.52", "0.55")]
    rows = [{"clip": n, "video": "v/2.mp4", "label": "x", "text": "x", "start": s, "end": e} for n, s, e in segments]
    store = build_cache(release, tmp_path, rows)
    numbers = {name: grey_numbers(store.frames([name])[0]) for name, _, _ in segments}
    assert numbers == {
        "a": [1, 3, 6, 8],
        "b": [11, 13, 16, 18],
        "c": [0, 1, 3, 4],
        "d": [22, 24, 26, 28],
        "e": [5, 5, 5, 5],
    }
    whole = read_audio(release / "v/2.mp4", probe(release / "v/2.mp4")).samples
    assert np.array_equal(store.waveforms(["b"])[0], whole[20_000:28_000])
    assert np.array_equal(store.waveforms(["c"])[0], whole[:8000])
    assert np.array_equal(store.waveforms(["e"])[0][:480], whole[8320:8800])
    assert not store.waveforms(["e"])[0][480:].any()


def test_segments_past_the_end(release, tmp_path):
    rows = [
        {"clip": "in", "video": "v/0.mp4", "label": "x", "text": "x"},
        {"clip": "late", "video": "v/0.mp4", "label": "x", "text": "x", "start": "0.5", "end": "9"},
        {"clip": "out", "video": "v/0.mp4", "label": "x", "text": "x", "start": "5", "end": "6"},
    ]
    store = build_cache(release, tmp_path, rows, max_failures=0.5)
    qc = read_qc(tmp_path / "qc.tsv")
    assert [qc["late"][kind] for kind in KINDS] == ["note", "note", "ok"] and qc["late"]["flags"] == ""
    assert [qc["out"][kind] for kind in KINDS] == ["failed", "failed", "ok"]
    assert "starts at 5 s" in qc["out"]["reason"] and qc["out"]["flags"] == "no_audio;no_video"
    assert grey_numbers(store.frames(["late"])[0]) == [5, 6, 8, 9]
    assert qc["in"]["reason"] == ""


def test_box_of_the_manifest_is_used(tmp_path):
    make_clip(tmp_path / "r/a.mp4", size="96x96", options=("-vf", "drawbox=x=48:y=0:w=48:h=96:color=white:t=fill"))
    rows = [
        {"clip": name, "video": "a.mp4", "label": "x", "text": "x", "box": box}
        for name, box in [("left", "0,0,40,40"), ("right", "52,10,40,40"), ("all", ""), ("off", "500,0,9,9")]
    ]
    store = build_cache(tmp_path / "r", tmp_path / "c", rows, max_failures=0.5)
    left, right, whole = (store.frames([name])[0] for name in ("left", "right", "all"))
    assert left.max() < 200 and right.min() > 240 and whole.min() < 60 < 240 < whole.max()
    assert "face box" in read_qc(tmp_path / "c/qc.tsv")["off"]["reason"]


def test_packets_before_the_first_key_frame_are_no_frames(tmp_path):
    options = ("-c:v", "libx264", "-g", "6", "-bf", "0", "-sc_threshold", "0", "-qp", "10")
    path = make_clip(tmp_path / "r/a.ts", seconds=6, step=3, audio=False, options=options)
    path.write_bytes(path.read_bytes()[188 * 8 :])
    media = probe(path)
    assert media.frames == len(frame_ticks(path, media)) == 54
    assert media.times[0] == pytest.approx(0.5, abs=0.11)
    store = build_cache(tmp_path / "r", tmp_path / "c", [{"clip": "a", "video": "a.ts", "label": "x", "text": "x"}])
    # the 54 frames that decode are numbers 6 to 59
    assert grey_numbers(store.frames(["a"])[0], 3) == [12, 26, 39, 53]


def test_packets_that_give_no_frame_are_counted_out(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "a.mp4")
    clip = Clip("a", "d", "a.mp4", "", None, None, "", "none", "", "", "", "", "", "", "")

    def claims(frames: int) -> None:
        media = probe(path)
        media = media.with_ticks(np.arange(frames) * round(0.1 / media.time_base))
        monkeypatch.setattr("hcep.media.frames.probe", lambda *_, **__: media)

    claims(22)
    ((_, row),) = read_video(path, [clip], [0], frames=10, size=16, sampling="time", limits=DEFAULT)
    assert grey_numbers(row.value) == list(range(1, 20, 2))
    claims(40)
    with pytest.raises(MediaError, match=r"is truncated: the picture ends at 2.00 s, its header says 4.00 s"):
        read_video(path, [clip], [0], frames=10, size=16, sampling="time", limits=DEFAULT)


def test_window_and_padding():
    sound = np.arange(10, dtype=np.int16)
    assert fit(sound, 4, "centre").tolist() == [3, 4, 5, 6]
    assert fit(sound, 4, "start").tolist() == [0, 1, 2, 3]
    assert fit(sound[:2], 4, "centre").tolist() == [0, 1, 0, 0]
    assert fit(sound, 10, "centre").tolist() == sound.tolist()


def test_start_window_reads_the_start(release, tmp_path):
    write_list(release / "clips.tsv", ROWS)
    build_manifest("manifest", release, "tiny", {}, tmp_path / "m.tsv")
    decode_audio(tmp_path / "m.tsv", release, "000-of-001", tmp_path / "a.h5", samples=A, window="start")
    with h5py.File(tmp_path / "a.h5") as file:
        row = list(file["clip"].asstr()).index("three")
        whole = read_audio(release / "v/2.mp4", probe(release / "v/2.mp4")).samples
        assert np.array_equal(file["waveform"][row], whole[:A])
        assert json.loads(file.attrs["settings"])["window"] == "start"
    with pytest.raises(HcepError, match="audio window"):
        decode_audio(tmp_path / "m.tsv", release, "000-of-001", tmp_path / "b.h5", samples=A, window="middle")


def plain_probe(times: np.ndarray, fps: float) -> Probe:
    ticks = np.round(times * 90_000).astype(np.int64)
    end = float(times[-1]) + 1 / fps
    base = Fraction(1, 90_000)
    return Probe(True, fps, 0.0, 8, 8, "mov", times, ticks, base, 0.0, end, "", False, ())


@given(
    st.integers(1, 300), st.integers(1, 16), st.floats(0, 40), st.floats(0.01, 40), st.sampled_from([12.5, 25, 29.97])
)
def test_chosen_frames_lie_in_the_segment(count, frames, start, length, fps):
    media = plain_probe(np.arange(count) / fps, fps)
    end_of_picture = float(media.times[-1]) + 1 / fps
    if start >= end_of_picture:
        with pytest.raises(MediaError, match="starts at"):
            choose_frames(media, start, start + length, frames)
        return
    chosen, _, note = choose_frames(media, start, start + length, frames)
    assert chosen.shape == (frames,) and (np.diff(chosen) >= 0).all() and chosen[0] >= 0 and chosen[-1] < count
    # never more than a frame away from the segment, whatever its length
    assert (media.times[chosen] > start - 1 / fps - 1e-3).all() and (media.times[chosen] < start + length + 1e-3).all()
    assert bool(note) == (start + length > end_of_picture + 1.0)


@given(st.integers(1, 500), st.integers(1, 32))
def test_whole_clip_follows_the_formula(count, frames):
    chosen, seconds, _ = choose_frames(plain_probe(np.arange(count) / 25, 25), None, None, frames)
    assert chosen.tolist() == [(2 * i + 1) * count // (2 * frames) for i in range(frames)]
    assert seconds == pytest.approx(count / 25)


def test_shard_of_a_clip_depends_on_its_source_only():
    clip = Clip("a", "d", "v/a b.mp4", "", None, None, "", "none", "", "", "", "", "", "", "")
    assert shard_of(clip, 64) == shard_of(clip._replace(clip="b", start=1.0, audio="x.wav"), 64) == "060-of-064"
    assert shard_of(clip._replace(video="", audio="v/a b.mp4"), 64) == "060-of-064"
    assert shard_names(3) == ["000-of-003", "001-of-003", "002-of-003"]
    with pytest.raises(HcepError):
        shard_names(0)


def test_name_of_a_shard_is_checked(cache):
    for name in ("7", "2-of-2", "x-of-2", "../../a"):
        with pytest.raises(HcepError, match="not the name of a shard"):
            clips_of_shard(cache.folder / "manifest.tsv", name)


def test_decoding_twice_gives_the_same_bytes(cache, release, tmp_path):
    manifest = cache.folder / "manifest.tsv"
    write_list(release / "clips.tsv", ROWS)
    for name in shard_names(2):
        decode_frames(manifest, release, name, tmp_path / f"{name}.h5", frames=F, size=S, threads=3)
        assert (tmp_path / f"{name}.h5").read_bytes() == (cache.folder / f"frames/{name}.h5").read_bytes()


def test_shard_without_clips(tmp_path):
    write_shard(tmp_path / "a.h5", "frames", [], [], {}, shape=(F, S, S, 3), dtype=np.uint8)
    assert verify_shard(tmp_path / "a.h5", "frames").clips == []


def test_unfinished_shard_leaves_nothing_behind(tmp_path):
    rows = [(0, Row(np.ones(4, np.int16)))]
    with pytest.raises(HcepError, match="clip 'b' was not written"):
        write_shard(tmp_path / "a.h5", "audio", ["a", "b"], rows, {}, shape=(4,), dtype=np.int16)
    with pytest.raises(HcepError, match="clip 'a' was written twice"):
        write_shard(tmp_path / "a.h5", "audio", ["a", "b"], rows * 2, {}, shape=(4,), dtype=np.int16)
    assert list(tmp_path.iterdir()) == []


def test_row_that_is_not_stored_as_written_is_found(tmp_path, monkeypatch):
    def careless(array: h5py.Dataset, number: int, value: np.ndarray, output: Path) -> None:
        array[number] = value if number != 1 else np.roll(value, 1)

    rows = [(number, Row(np.arange(4, dtype=np.int16) + number)) for number in range(3)]
    monkeypatch.setattr("hcep.media.shards._write_row", careless)
    with pytest.raises(HcepError, match="does not match its digest"):
        write_shard(tmp_path / "a.h5", "audio", ["a", "b", "c"], rows, {}, shape=(4,), dtype=np.int16)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    write_shard(tmp_path / "a.h5", "audio", ["a", "b", "c"], rows, {}, shape=(4,), dtype=np.int16)
    # the digest that was taken while writing is that of what was read back
    assert verify_shard(tmp_path / "a.h5", "audio").clips == ["a", "b", "c"]


def two_shards(folder: Path, manifest: Path) -> None:
    """Copy of a small cache that a test may damage."""
    (folder / "manifest.tsv").write_bytes(manifest.read_bytes())
    for kind in KINDS:
        (folder / kind).mkdir()
        for name in shard_names(2):
            data = (manifest.parent / kind / f"{name}.h5").read_bytes()
            (folder / kind / f"{name}.h5").write_bytes(data)


def full_shard(folder: Path, kind: str) -> Path:
    """A shard that holds clips."""
    return next(p for p in sorted((folder / kind).iterdir()) if verify_shard(p, kind).clips)


@pytest.mark.parametrize("kind", ["frames", "audio"])
def test_flipped_bit_is_found(cache, tmp_path, kind):
    two_shards(tmp_path, cache.folder / "manifest.tsv")
    path = full_shard(tmp_path, kind)
    with h5py.File(path, "r+") as file:
        array = file[{"frames": "frames", "audio": "waveform"}[kind]]
        row = array[0]
        row.flat[5] += 1
        array[0] = row
    with pytest.raises(HcepError, match="does not match its digest") as caught:
        index_shards(tmp_path)
    assert str(path) in str(caught.value) and not (tmp_path / "index.h5").exists()


@pytest.mark.parametrize("name", ["flags", "reason", "clip", "text"])
def test_changed_string_is_found(cache, tmp_path, name):
    two_shards(tmp_path, cache.folder / "manifest.tsv")
    with h5py.File(full_shard(tmp_path, "text"), "r+") as file:
        file[name][0] = "something else"
    with pytest.raises(HcepError, match="does not match its digest"):
        index_shards(tmp_path)


def test_truncated_and_missing_shards_are_found(cache, tmp_path):
    two_shards(tmp_path, cache.folder / "manifest.tsv")
    path = full_shard(tmp_path, "frames")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(HcepError, match="not a whole"):
        index_shards(tmp_path)
    path.unlink()
    with pytest.raises(HcepError, match="is missing"):
        index_shards(tmp_path)


def test_cache_and_manifest_must_agree(cache, tmp_path):
    two_shards(tmp_path, cache.folder / "manifest.tsv")
    lines = (tmp_path / "manifest.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "manifest.tsv").write_text("".join(lines).replace("\nmute\t", "\nmuted\t"))
    with pytest.raises(HcepError, match="'mute' does not belong"):
        index_shards(tmp_path)
    extra = "".join(lines) + lines[1].replace("dark", "more", 1)
    (tmp_path / "manifest.tsv").write_text(extra)
    with pytest.raises(HcepError, match="1 clips of the manifest are in no frames shard, the first is 'more'"):
        index_shards(tmp_path)


def test_shard_made_after_the_index_is_refused(cache, tmp_path):
    two_shards(tmp_path, cache.folder / "manifest.tsv")
    index_shards(tmp_path)
    store = ClipStore(tmp_path / "index.h5", tmp_path)
    path = full_shard(tmp_path, "audio")
    names = verify_shard(path, "audio").clips
    rows = [(row, Row(np.zeros(A, np.int16))) for row in range(len(names))]
    write_shard(path, "audio", names, rows, {}, shape=(A,), dtype=np.int16)
    with pytest.raises(HcepError, match="not the shard that was indexed"):
        store.waveforms(names)


def test_index_digest_follows_the_content(cache, release, tmp_path):
    two_shards(tmp_path, cache.folder / "manifest.tsv")
    index_shards(tmp_path)
    assert ClipStore(tmp_path / "index.h5", tmp_path).digest == cache.digest
    assert (tmp_path / "index.h5").read_bytes() == cache.index.read_bytes()
    for name in shard_names(2):
        transcribe(tmp_path / "manifest.tsv", release, name, tmp_path / f"text/{name}.h5", source="none")
    index_shards(tmp_path)
    store = ClipStore(tmp_path / "index.h5", tmp_path)
    assert store.digest != cache.digest
    assert set(store.text_kinds(store.clips())) == {"none"} and all("no_text" in f for f in store.flags(store.clips()))


def test_reading_leaves_files_alone(cache):
    paths = sorted(cache.folder.rglob("*.h5"))
    before = [path.stat().st_mtime_ns for path in paths]
    cache.frames(cache.clips())
    ClipStore(cache.index, cache.folder).texts(cache.clips())
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_too_many_failures_end_the_job_and_keep_the_table(release, tmp_path):
    root = tmp_path / "r"
    make_clip(root / "good.mp4", seconds=1)
    (root / "bad.mp4").write_bytes(b"not a video at all" * 100)
    rows = [{"clip": n, "video": f"{n}.mp4", "label": "x", "text": "x"} for n in ("good", "bad")]
    with pytest.raises(
        HcepError, match=r"1 of 2 clips failed, the limit is 1.00% \(bad: frames failed: cannot be read"
    ):
        build_cache(root, tmp_path / "c", rows)
    assert not (tmp_path / "c/qc.tsv").exists() and not (tmp_path / "c/index.h5").exists()
    assert read_qc(tmp_path / "c/qc.failed.tsv")["bad"]["frames"] == "failed"
    index_shards(tmp_path / "c", max_failures=0.5)
    assert not (tmp_path / "c/qc.failed.tsv").exists()
    store = ClipStore(tmp_path / "c/index.h5", tmp_path / "c")
    assert store.flags(["bad", "good"]) == ["no_audio;no_video", ""]
    assert not store.frames(["bad"]).any() and not store.waveforms(["bad"]).any()


def test_manifest_flag_is_believed(release, tmp_path):
    rows = [{"clip": "a", "video": "v/0.mp4", "label": "x", "text": "x", "flags": "no_audio;no_video;no_text"}]
    store = build_cache(release, tmp_path, rows)
    assert store.flags(["a"]) == ["no_audio;no_video;no_text"] and not store.frames(["a"]).any()
    assert read_manifest(tmp_path / "manifest.tsv")[0].flags == "no_audio;no_video;no_text"


def test_silence_and_lengths_are_noted_and_counted(tmp_path, capsys):
    """A muted track; a minute of picture beside two seconds of sound; a list that says something else."""
    root = tmp_path / "r"
    make_clip(root / "good.mp4")
    mute = ("-f", "lavfi", "-i", "anullsrc=r=44100:cl=stereo:d=2")
    picture = ("-f", "lavfi", "-i", "color=black:s=64x64:r=5:d=60")
    run_ffmpeg("-i", root / "good.mp4", *mute, "-map", "0:v", "-map", "1:a", "-c:v", "copy", root / "mute.mp4")
    run_ffmpeg(*picture, "-i", root / "good.mp4", "-map", "0:v", "-map", "1:a", "-c:v", "libx264", root / "long.mp4")
    rows = [
        {"clip": name, "video": f"{name.split('_')[0]}.mp4", "label": "x", "text": "x", "seconds": seconds}
        for name, seconds in [("good", ""), ("good_told", "2.3"), ("mute", ""), ("long", ""), ("good_else", "9")]
    ]
    store = build_cache(root, tmp_path / "c", rows)
    qc = read_qc(tmp_path / "c/qc.tsv")
    assert [qc["good"][kind] for kind in KINDS] == ["ok"] * 3 == [qc["good_told"][kind] for kind in KINDS]
    assert [qc["mute"][kind] for kind in KINDS] == ["ok", "note", "ok"] and qc["mute"]["flags"] == "silent_audio"
    assert qc["mute"]["reason"] == "audio note: silent: constant throughout"
    assert [qc["long"][kind] for kind in KINDS] == ["note", "note", "ok"] and qc["long"]["flags"] == ""
    assert qc["long"]["reason"] == "clip note: the picture lasts 60.00 s, the sound 2.00 s"
    assert qc["good_else"]["reason"].startswith("clip note: the list says 9.00 s, the picture lasts 2.00 s; clip note:")
    # silent sound is no missing sound
    assert store.flags(["mute", "good"]) == ["silent_audio", ""]
    assert "5 clips, 0 with a modality that failed, 1 with silent sound" in capsys.readouterr().err
    assert store.samples(["good", "mute"]).tolist() == [A, A]


def test_length_of_a_clip_is_in_the_cache(release, tmp_path):
    rows = [
        {"clip": name, "video": "v/0.mp4", "label": "x", "text": "x", "start": start, "end": end}
        for name, start, end in [("short", "0.1", "0.2"), ("whole", "", ""), ("out", "7", "8")]
    ]
    store = build_cache(release, tmp_path, rows, max_failures=0.5)
    assert store.samples(["whole", "out", "short"]).tolist() == [A, 0, 1600]
    path = next(p for p in (tmp_path / "audio").iterdir() if verify_shard(p, "audio").clips)
    shard = verify_shard(path, "audio")
    assert dict(zip(shard.clips, shard.numbers["seconds"], strict=True))["short"] == pytest.approx(0.1)
    with h5py.File(path, "r+") as file:
        file["samples"][0] += 1
    with pytest.raises(HcepError, match="does not match its digest"):
        verify_shard(path, "audio")


def test_shards_of_several_versions_of_ffmpeg_are_told(cache, release, tmp_path, monkeypatch, capsys):
    two_shards(tmp_path, cache.folder / "manifest.tsv")
    index_shards(tmp_path)
    assert "Remedy" not in capsys.readouterr().err
    version = json.loads(h5py.File(tmp_path / "frames/000-of-002.h5").attrs["settings"])["ffmpeg"]
    assert version in subprocess.run([ffmpeg_executable(), "-version"], capture_output=True, text=True).stdout
    write_list(release / "clips.tsv", ROWS)
    name = full_shard(tmp_path, "frames").stem
    monkeypatch.setattr("hcep.media.frames.ffmpeg_version", lambda: "0.1")
    decode_frames(tmp_path / "manifest.tsv", release, name, tmp_path / f"frames/{name}.h5", frames=F, size=S)
    index_shards(tmp_path)
    said = capsys.readouterr().err
    other = next(other for other in shard_names(2) if other != name)
    assert "frames shard" in said and "0.1" in said and version in said and "Remedy: delete the shards" in said
    rows = read_qc(tmp_path / "qc.tsv")
    noted = {clip for clip, row in rows.items() if "decoded with ffmpeg" in row["reason"]}
    assert noted in (set(cache.clips(name)), set(cache.clips(other)))
    assert all(rows[clip]["frames"] in ("note", "absent") for clip in noted)
