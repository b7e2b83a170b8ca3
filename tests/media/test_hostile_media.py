"""Media that is broken, lies, or tries to open something else; names that try to be something else."""

from __future__ import annotations

import csv
import os
import re
import struct
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from av.container import InputContainer
from PIL import Image
from sample_media import grey_numbers, make_clip, read_frames, run_ffmpeg, write_list

import hcep.demux
from hcep.container import MediaError
from hcep.datasets.build import build_manifest
from hcep.datasets.manifest_file import read_manifest
from hcep.decoder import Limits
from hcep.errors import shown
from hcep.ffmpeg import ffmpeg_executable
from hcep.media.audio import decode_audio
from hcep.media.frames import decode_frames
from hcep.media.index import index_cache
from hcep.media.store import ClipStore
from hcep.media.transcribe import transcribe
from hcep.probe import probe
from hcep.sound import read_audio


def playlist(target: str) -> str:
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{target}\n#EXT-X-ENDLIST\n"


def decodes_without_a_whitelist_of_formats(path: Path) -> bool:
    """Whether ffmpeg follows the file when only protocols are limited."""
    command = [ffmpeg_executable(), "-nostdin", "-loglevel", "error", "-protocol_whitelist", "file,pipe,crypto,data"]
    done = subprocess.run([*command, "-i", str(path), "-f", "rawvideo", "pipe:1"], capture_output=True, timeout=60)
    return done.returncode == 0 and len(done.stdout) > 0


@pytest.fixture
def secret(tmp_path) -> Path:
    return make_clip(tmp_path / "secret.ts", options=("-c:v", "mpeg2video"))


def test_playlist_named_mp4_is_refused(tmp_path, secret):
    trap = tmp_path / "trap.m3u8"
    trap.write_text(playlist("secret.ts"))
    assert decodes_without_a_whitelist_of_formats(trap)
    # the same text under a video's name
    trap = trap.rename(tmp_path / "trap.mp4")
    with pytest.raises(MediaError, match="cannot be read as video or audio"):
        probe(trap)


def test_concat_script_named_mp4_is_refused(tmp_path, secret):
    trap = tmp_path / "trap.mp4"
    trap.write_text("ffconcat version 1.0\nfile secret.ts\n")
    assert decodes_without_a_whitelist_of_formats(trap)
    with pytest.raises(MediaError, match="cannot be read as video or audio"):
        probe(trap)


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_decoder_refuses_them_too(tmp_path, secret, kind):
    """Even with a probe of another file, as when a file is exchanged between probing and decoding."""
    trap = tmp_path / "trap.mp4"
    trap.write_text(playlist("secret.ts") if kind == "hls" else "ffconcat version 1.0\nfile secret.ts\n")
    for container in ("mov", "mpegts", "hls", "concat"):
        forged = probe(secret)._replace(container=container)
        with pytest.raises(MediaError):
            read_frames(trap, forged, [0], size=16)
        with pytest.raises(MediaError):
            read_audio(trap, forged)


def test_no_file_reaches_the_network(tmp_path):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/clip.ts"
    forged = probe(make_clip(tmp_path / "a.mp4"))
    for text in (playlist(address), f"ffconcat version 1.0\nfile '{address}'\n", f"[playlist]\nFile1={address}\n"):
        trap = tmp_path / "trap.mp4"
        trap.write_text(text)
        with pytest.raises(MediaError):
            probe(trap)
        with pytest.raises(MediaError):
            read_frames(trap, forged._replace(container="hls"), [0], size=16)
    # a path that is an address is a missing file
    with pytest.raises(MediaError, match="missing"):
        probe(address)
    server.shutdown()
    server.server_close()
    assert asked == []


def test_what_is_no_media_is_named(tmp_path):
    def refused(path: Path) -> str:
        with pytest.raises(MediaError) as caught:
            probe(path)
        assert str(path) in str(caught.value) and str(tmp_path) not in caught.value.reason
        return caught.value.reason

    path = tmp_path / "a.mp4"
    assert refused(path) == "file is missing"
    assert refused(tmp_path / ("x" * 300)).startswith("cannot be opened")
    path.touch()
    assert refused(path) == "file is empty"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    assert "git-LFS pointer" in refused(path)
    path.write_bytes(bytes(range(256)) * 50)
    assert refused(path).startswith("cannot be read as video or audio")
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    path.write_bytes((tmp_path / "a.png").read_bytes())
    assert refused(path).startswith("cannot be read as video or audio")
    assert refused(tmp_path) == "is a folder"
    os.mkfifo(tmp_path / "pipe.mp4")
    assert refused(tmp_path / "pipe.mp4") == "is not a regular file"
    assert "not a regular file" in refused_reason("/dev/zero")
    assert "missing" in refused_reason(path / "below.mp4")
    assert "null" in refused_reason("a\0.mp4")


def refused_reason(path: str | Path) -> str:
    with pytest.raises(MediaError) as caught:
        probe(path)
    return caught.value.reason


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", ()), ("a.mp4", ("-movflags", "+faststart")), ("a.mkv", ()), ("a.avi", ()), ("a.mov", ())],
)
def test_truncated_video_is_refused(tmp_path, name, options):
    path = make_clip(tmp_path / name, seconds=6, size="160x120", options=options)
    probe(path)
    whole = path.read_bytes()
    for share in (0.9, 0.5, 0.1):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(MediaError):
            media = probe(path)
            read_frames(path, media, [0, media.frames - 1], size=16)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a", "a.mka"])
def test_truncated_sound_is_refused(tmp_path, name):
    path = make_clip(tmp_path / name, video=False, seconds=6)
    assert len(read_audio(path, probe(path)).samples) == pytest.approx(96_000, abs=2000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError):
        read_audio(path, probe(path))


def test_file_exchanged_for_a_shorter_one_is_found(tmp_path):
    long, short = make_clip(tmp_path / "long.mp4", seconds=3), make_clip(tmp_path / "short.mp4", seconds=1)
    with pytest.raises(MediaError, match="gave 1 of 2 frames"):
        read_frames(short, probe(long), [5, 25], size=16)


def test_huge_frame_claim_is_refused(tmp_path):
    path = make_clip(tmp_path / "a.avi", options=("-c:v", "rawvideo", "-pix_fmt", "bgr24"))
    data = bytearray(path.read_bytes())
    header = data.index(b"strf", data.index(b"vids")) + 8
    for width, height in ((60_000, 60_000), (1_000_000, 16)):
        struct.pack_into("<ii", data, header + 4, width, height)
        path.write_bytes(data)
        with pytest.raises(MediaError):
            media = probe(path)
            read_frames(path, media, [0], size=16)


def test_damage_in_the_middle_does_not_hang_or_crash(tmp_path):
    path = make_clip(tmp_path / "a.mp4", seconds=3, size="160x120")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 8
    for offset in range(start + 2000, start + 6000, 7):
        data[offset] ^= 0x5A
    path.write_bytes(data)
    try:
        media = probe(path)
        frames = read_frames(path, media, [0, media.frames - 1], size=16, limits=Limits(30))
    except MediaError as error:
        assert error.reason
    else:
        assert frames.shape == (2, 16, 16, 3)


@pytest.mark.parametrize(
    "name, codec, readable",
    [("a.mp4", b"avc1", "sound"), ("a.mkv", b"V_MPEG4", "sound"), ("a.mkv", b"A_AAC", "picture")],
)
def test_a_stream_of_an_unknown_codec_leaves_the_other(tmp_path, name, codec, readable):
    path = make_clip(tmp_path / name, options=("-c:a", "aac"))
    content = path.read_bytes()
    # behind the list of compatible brands
    start = content.index(b"moov") if name == "a.mp4" else 0
    path.write_bytes(content[:start] + content[start:].replace(codec, codec[:2] + b"Z" * (len(codec) - 2)))
    found = probe(path)
    assert found.has_video and found.has_audio and found.frames == 20

    def picture() -> int:
        return len(read_frames(path, found, [3, 11], size=32))

    def sound() -> int:
        return len(read_audio(path, found).samples) // 16000

    good, bad = (sound, picture) if readable == "sound" else (picture, sound)
    assert good() == 2
    with pytest.raises(MediaError, match="no decoder found"):
        bad()


def test_a_stream_that_begins_in_the_middle_is_not_waited_for(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "a.flv")
    before = probe(path)
    demux = InputContainer.demux

    class Late:
        """PyAV's container when ffmpeg found another stream while reading."""

        def __init__(self, container):
            self.container = container

        def __getattr__(self, name):
            return getattr(self.container, name)

        def demux(self, streams):
            yield from demux(self.container, streams)
            raise IndexError("list index out of range")

    packets = hcep.demux._read
    monkeypatch.setattr("hcep.demux._read", lambda container, streams: packets(Late(container), streams))
    assert (probe(path).times == before.times).all() and before.frames == 20


def test_reason_is_the_same_on_every_run(tmp_path):
    """It is part of a shard's content, so it holds no address, path or number of a process."""
    reasons = set()
    for folder in ("one", "two"):
        path = make_clip(tmp_path / folder / "a.mp4")
        forged = probe(path)
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(MediaError) as caught:
            read_frames(path, forged, [0], size=16)
        reasons.add(caught.value.reason)
    assert len(reasons) == 1
    assert not re.search(r"0x[0-9a-f]|/", reasons.pop())


NAMES = [
    "plain.mp4",
    "with space.mp4",
    " leading and trailing .mp4",
    'quote\'s "double".mp4',
    "back\\slash.mp4",
    "semi;colon&and|pipe$(touch x)`touch y`.mp4",
    "new\nline.mp4",
    "carriage\rreturn.mp4",
    "tab\tulator.mp4",
    "%d.mp4",
    "frame%03d.mp4",
    "{x}{0}.mp4",
    "<path>",
    "<select><count><seconds>.mp4",
    "[0-9]*?.mp4",
    "-i.mp4",
    "--help.mp4",
    "file:odd.mp4",
    "concat:a|b.mp4",
    "http:/odd.mp4",
    "comma,colon:equals=.mp4",
    "#hash~tilde.mp4",
    "Grüße-日本語-🙂.mp4",
    "e\u0301 \u202e rtl.mp4",
    "x" * 196 + ".mp4",
    "no_extension",
    "folder with %s/deep;er/clip.mp4",
]


def test_hostile_names_from_list_to_index(tmp_path, monkeypatch):
    root, cache = tmp_path / "re lease %d {x}", tmp_path / "cache"
    rows = []
    seconds = {name: 1 + index % 3 for index, name in enumerate(NAMES)}
    samples = {value: make_clip(tmp_path / f"s{value}.mp4", seconds=value).read_bytes() for value in (1, 2, 3)}
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(samples[seconds[name]])
        rows.append({"clip": shown(name, line=True), "video": name, "label": "x", "text": name})
    # what a pattern would find if it were one
    (root / "1.mp4").write_bytes(samples[3])
    (root / "frame001.mp4").write_bytes(samples[3])
    write_list(root / "clips.csv", rows)
    with (root / "clips.tsv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    manifest, shard = cache / "manifest.tsv", "000-of-001"
    monkeypatch.chdir(root)
    build_manifest("manifest", root, "hostile", {}, manifest)
    assert {clip.video for clip in read_manifest(manifest)} == set(NAMES)
    paths = {kind: cache / kind / f"{shard}.h5" for kind in ("frames", "audio", "text")}
    decode_frames(manifest, root, shard, paths["frames"], frames=2, size=16, threads=2)
    decode_audio(manifest, root, shard, paths["audio"], samples=1600)
    transcribe(manifest, root, shard, paths["text"], source="manifest")
    index_cache(manifest, {k: [p] for k, p in paths.items()}, cache / "index.h5", cache / "qc.tsv", max_failures=0)
    store = ClipStore(cache / "index.h5", cache)
    # names of clips are shown to people, so they hold no control characters; those of files may
    ids = [shown(name, line=True) for name in NAMES]
    assert store.flags(ids) == [""] * len(NAMES) and store.texts(ids) == NAMES
    # every name gave its own file: the second frame tells the length
    found = [grey_numbers(frames)[1] for frames in store.frames(ids)]
    assert found == [int(0.75 * 10 * seconds[name]) for name in NAMES]
    assert store.waveforms(ids).any(axis=1).all()
    assert not (root / "x").exists() and not (root / "y").exists()


def test_no_shell_and_no_option_in_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "a.mp4")
    Path("-f.mp4").write_bytes(Path("a.mp4").read_bytes())
    # a relative path that looks like an option
    assert grey_numbers(read_frames("-f.mp4", probe("-f.mp4"), [4], size=16)) == [4]


def test_link_to_a_file_is_followed_and_a_dangling_one_is_missing(tmp_path):
    make_clip(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    assert probe(tmp_path / "b.mp4").frames == 20
    (tmp_path / "c.mp4").symlink_to("nowhere.mp4")
    assert refused_reason(tmp_path / "c.mp4") == "file is missing"


def test_streamed_wav_without_a_length(tmp_path):
    """Its header says 4 GB because the writer could not go back; that is no damage."""
    make_clip(tmp_path / "a.wav", video=False)
    with (tmp_path / "b.wav").open("wb") as handle:
        command = [ffmpeg_executable(), "-loglevel", "error", "-i", str(tmp_path / "a.wav"), "-f", "wav", "pipe:1"]
        subprocess.run(command, stdout=handle, check=True, stdin=subprocess.DEVNULL)
    sound = read_audio(tmp_path / "b.wav", probe(tmp_path / "b.wav")).samples
    assert len(sound) == pytest.approx(32_000, abs=10)


def test_very_short_video(tmp_path):
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=0.04", "-c:v", "libx264", tmp_path / "a.mp4")
    media = probe(tmp_path / "a.mp4")
    assert media.frames == 1 and read_frames(tmp_path / "a.mp4", media, [0], size=16).shape == (1, 16, 16, 3)
