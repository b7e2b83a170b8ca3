"""Frames from faces: pictures of a release, arrays, boxes of a table; whose pixels they are, and what is refused."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from releases import mafw, ov_merd
from releases.faces import face, write_archive, write_array, write_folder
from sample_media import make_clip, make_still, run_ffmpeg, write_list

from hcep.container import MediaError
from hcep.datasets.boxes import Track
from hcep.datasets.build import build_manifest
from hcep.datasets.manifest_file import Clip, read_manifest, write_manifest
from hcep.decoder import DEFAULT
from hcep.errors import HcepError
from hcep.media.audio import decode_audio
from hcep.media.faces import natural, read_faces
from hcep.media.frames import decode_frames, read_video
from hcep.media.index import index_cache
from hcep.media.shards import shard_names, verify_shard
from hcep.media.store import ClipStore, JoinedStore
from hcep.media.transcribe import transcribe

F, S = 4, 16


class Cache:
    """Manifest, shards and index of a release."""

    def __init__(
        self, folder: Path, adapter: str, root: Path, options: dict[str, object], *, links: bool = False
    ) -> None:
        self.folder, self.names = folder, shard_names(2)
        manifest = folder / "manifest.tsv"
        build_manifest(adapter, root, "corpus", options, manifest, follow_links=links)
        self.clips = {clip.clip: clip for clip in read_manifest(manifest)}
        for name in self.names:
            decode_frames(manifest, root, name, folder / f"frames/{name}.h5", frames=F, size=S)
            decode_audio(manifest, root, name, folder / f"audio/{name}.h5", samples=8000)
            transcribe(manifest, root, name, folder / f"text/{name}.h5", source="manifest")
        paths = {kind: [folder / kind / f"{name}.h5" for name in self.names] for kind in ("frames", "audio", "text")}
        index_cache(manifest, paths, folder / "index.h5", folder / "qc.tsv", max_failures=1)
        self.store = ClipStore(folder / "index.h5", folder)
        with (folder / "qc.tsv").open(encoding="utf-8", newline="") as handle:
            self.qc = {row["clip"]: row for row in csv.DictReader(handle, delimiter="\t")}

    def frames(self, clip: str) -> np.ndarray:
        return self.store.frames([clip])[0]

    def sums(self, kind: str) -> list[str]:
        return [verify_shard(self.folder / kind / f"{name}.h5", kind).sha256 for name in self.names]


def centres(numbers: list[int]) -> list[int]:
    """The numbers that are taken: the one at the centre of each of F equal parts."""
    return [numbers[(2 * i + 1) * len(numbers) // (2 * F)] for i in range(F)]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """MAFW's shape with face pictures: gaps, numbers of one and two digits, an empty folder, one that is missing."""
    root = tmp_path_factory.mktemp("mafw")
    made = mafw.make_release(root, clips_per_class=2, compound=0, tables=False)
    clips = [clip for clip, label in made.single.items() if label != "neutral"]
    numbers = {}
    for place, clip in enumerate(clips[2:]):
        # 8, 9, 10, 11 ...; every third clip has a gap in the middle
        own = [number for number in range(8, 30 + place) if place % 3 or not 12 < number < 25]
        numbers[clip] = own
        write_folder(root / "data/frames" / clip, place, own, "frame_{}.png")
    (root / "data/frames" / clips[0]).mkdir()
    folder = root / "data/frames" / clips[2]
    # what a file manager leaves, and what is no picture
    (folder / "._frame_8.png").write_bytes(b"\0\5\26\7")
    (folder / "Thumbs.db").write_bytes(b"x")
    return root, clips, numbers


@pytest.fixture(scope="module")
def faces(release, tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("faces"), "mafw", release[0], {"faces": "release"})


@pytest.fixture(scope="module")
def whole(release, tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("whole"), "mafw", release[0], {})


def test_pictures_of_the_release_in_order_of_their_numbers(release, faces):
    _, clips, numbers = release
    for place, clip in enumerate(clips[2:]):
        expected = [face(place, number) for number in centres(numbers[clip])]
        assert np.array_equal(faces.frames(clip), expected)
        assert faces.qc[clip]["faces"] == f"data/frames/{clip}"


def test_a_clip_without_a_face_is_absent_and_never_its_whole_picture(release, faces, whole):
    _, clips, _ = release
    for clip in clips[:2]:
        assert whole.frames(clip).any() and not faces.frames(clip).any()
        assert faces.store.flags([clip]) == ["no_video"] and whole.store.flags([clip]) == [""]
        row = faces.qc[clip]
        assert row["frames"] == "absent" and "the release has no face picture of this clip" in row["reason"]


def test_gaps_are_told_where_more_than_a_tenth_is_missing(release, faces):
    _, clips, _ = release
    assert (
        "frames note: 10 of 22 face pictures between the first and the last number are there"
        in (faces.qc[clips[2]]["reason"])
    )
    assert faces.qc[clips[3]]["reason"] == "" and faces.qc[clips[3]]["frames"] == "ok"


def test_faces_change_frames_and_nothing_else(faces, whole):
    assert faces.sums("audio") == whole.sums("audio") and faces.sums("text") == whole.sums("text")
    assert all(one != other for one, other in zip(faces.sums("frames"), whole.sums("frames"), strict=True))
    assert (faces.store.faces, whole.store.faces) == ("release", "")
    assert faces.store.digest != whole.store.digest
    # of whole pictures nothing is written that was not there before
    assert "faces" not in (whole.folder / "manifest.tsv").read_text().splitlines()[0].split("\t")
    assert "faces" not in next(iter(whole.qc.values()))
    assert set(verify_shard(whole.folder / "frames/000-of-002.h5", "frames").settings) == {
        *("frames", "size", "frame_sampling", "ffmpeg")
    }


def test_an_archive_gives_the_same_frames_and_hostile_members_none(release, faces, tmp_path):
    root, clips, _ = release
    copy = tmp_path / "release"
    (copy / "data").mkdir(parents=True)
    (copy / "data/clips").symlink_to(root / "data/clips")
    (copy / mafw.LISTS).symlink_to(root / mafw.LISTS)
    picture = (root / "data/frames" / clips[2] / "frame_8.png").read_bytes()
    hostile = {
        f"../frames/{clips[0]}/1.png": picture,
        f"/frames/{clips[0]}/2.png": picture,
        f"frames/{clips[1]}/../{clips[0]}/3.png": picture,
        f"frames\\{clips[0]}\\4.png": picture,
        f"__MACOSX/frames/{clips[0]}/._5.png": picture,
        f"frames/{clips[0]}/6.txt": picture,
        f"{clips[0]}.png": picture,
    }
    write_archive(copy / "data/frames.zip", root / "data/frames", "data/frames/", hostile)
    packed = Cache(tmp_path / "cache", "mafw", copy, {"faces": "release"}, links=True)
    assert packed.sums("frames") == faces.sums("frames")
    assert packed.clips[clips[2]].faces == f"data/frames.zip/data/frames/{clips[2]}"
    assert not list(tmp_path.rglob("*.png"))


def read(root: Path, faces: str, size: int = S) -> np.ndarray:
    ((_, row),) = read_faces(root, faces, [0], frames=F, size=size)
    return row.value


def reason(root: Path, faces: str) -> str:
    with pytest.raises(MediaError) as caught:
        read(root, faces)
    assert str(root) not in caught.value.reason
    return ("absent: " if caught.value.absent else "failed: ") + caught.value.reason


def test_numbers_have_the_order_of_numbers():
    names = ["²3.png", "a10.png", "a2.png", "a1b10.png", "a1b9.png", "3.png", "20.png"]
    assert sorted(names, key=natural) == [*("3.png", "20.png", "a1b9.png", "a1b10.png", "a2.png", "a10.png", "²3.png")]


def test_few_pictures_are_taken_more_than_once(tmp_path):
    write_folder(tmp_path / "a", 3, [5, 6])
    assert [tuple(frame[0, 0]) for frame in read(tmp_path, "a")] == [(3, 5, 7), (3, 5, 7), (3, 6, 7), (3, 6, 7)]


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg", "JPEG"])
def test_kinds_of_pictures_are_squared_at_their_centre(tmp_path, suffix):
    (tmp_path / "a").mkdir()
    # a red square between green bars, which bicubic pixels at its edges see
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[..., 1] = 200
    picture[:, 16:48] = 200, 0, 0
    Image.fromarray(picture).save(tmp_path / f"a/1.{suffix}", quality=100, subsampling=0)
    found = read(tmp_path, "a").astype(int)
    assert np.abs(found - [200, 0, 0]).max() < 20 and np.abs(found[:, :, 2:-2] - [200, 0, 0]).max() < 4


def test_grey_and_palette_pictures_are_colours(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("L", (20, 20), 90).save(tmp_path / "a/1.png")
    Image.new("RGB", (20, 20), (90, 10, 200)).quantize(4).save(tmp_path / "a/2.png")
    assert [tuple(frame[3, 3]) for frame in read(tmp_path, "a")] == [(90, 90, 90)] * 2 + [(90, 10, 200)] * 2


def test_a_picture_that_cannot_be_read_fails_its_clip_by_name(tmp_path):
    paths = write_folder(tmp_path / "a", 0, range(8))
    whole = paths[3].read_bytes()
    paths[3].write_bytes(whole[:200])
    assert reason(tmp_path, "a") == "failed: face picture 3.png cannot be read: is no whole PNG, JPEG or BMP picture"
    paths[3].write_bytes(mafw.POINTER)
    assert "3.png cannot be read: is a git-LFS pointer" in reason(tmp_path, "a")
    paths[3].write_bytes(b"")
    assert "3.png cannot be read: file is empty" in reason(tmp_path, "a")
    paths[3].write_bytes(b"GIF89a" + whole)
    assert "is no whole PNG" in reason(tmp_path, "a")
    paths[3].unlink()
    paths[3].mkdir()
    assert "3.png cannot be read: is a folder" in reason(tmp_path, "a")
    # one that is not taken is not looked at
    paths[3].rmdir()
    paths[3].write_bytes(whole)
    paths[2].write_bytes(b"")
    assert [frame[0, 0, 1] for frame in read(tmp_path, "a")] == [1, 3, 5, 7]


def test_pictures_that_would_be_read_wrongly_or_without_end_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((16, 16), 40_000, np.uint16)).save(tmp_path / "a/1.png")
    assert "not grey or colours of 8 bits" in reason(tmp_path, "a")
    (tmp_path / "a/1.png").unlink()
    Image.new("CMYK", (16, 16)).save(tmp_path / "a/1.jpg")
    assert "has pixels of kind CMYK" in reason(tmp_path, "a")
    (tmp_path / "a/1.jpg").unlink()
    Image.new("1", (40_000, 40_000)).save(tmp_path / "a/1.png")
    assert (tmp_path / "a/1.png").stat().st_size < 10**6
    assert "is no whole PNG" in reason(tmp_path, "a") or "above the limit" in reason(tmp_path, "a")
    Image.new("1", (9000, 9000)).save(tmp_path / "a/1.png")
    assert "claims 9000x9000 pixels, above the limit" in reason(tmp_path, "a")
    monkeypatch.setattr("hcep.media.faces.MAX_BYTES", 100)
    assert "is larger than any picture of a face" in reason(tmp_path, "a")


def test_what_is_missing_as_a_whole_has_failed(tmp_path):
    assert reason(tmp_path, "frames/00019") == "failed: the face pictures of the release are missing"
    (tmp_path / "frames").mkdir()
    assert reason(tmp_path, "frames/00019") == "absent: the release has no face picture of this clip"
    assert reason(tmp_path, "frames.zip/frames/00019").startswith("failed: the face pictures")


def test_damaged_members_of_an_archive_fail_their_clip(tmp_path):
    write_folder(tmp_path / "frames/00019", 0, range(4))
    write_archive(tmp_path / "frames.zip", tmp_path / "frames", "frames/")
    content = bytearray((tmp_path / "frames.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "frames.zip") as archive:
        first = archive.getinfo("frames/00019/0.png")
    content[first.header_offset + 300] ^= 255
    (tmp_path / "flipped.zip").write_bytes(content)
    assert "face picture frames/00019/0.png cannot be read: " in reason(tmp_path, "flipped.zip/frames/00019")
    content = bytearray((tmp_path / "frames.zip").read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    (tmp_path / "locked.zip").write_bytes(content)
    assert "is encrypted" in reason(tmp_path, "locked.zip/frames/00019")
    (tmp_path / "cut.zip").write_bytes(content[:-40])
    with pytest.raises(HcepError, match="not a whole zip archive"):
        read(tmp_path, "cut.zip/frames/00019")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """OV-MERD's shape with arrays of faces; the first clip has none, the second an empty one."""
    root = tmp_path_factory.mktemp("ov_merd")
    names = [*ov_merd.make_release(root, clips_per_class=8, others=0)]
    place = root / "mer2025-dataset/openface_face"
    for number, name in enumerate(names[1:], start=1):
        write_array(place, name, number, 0 if number == 1 else 5 + number)
    return root, names


def test_arrays_of_the_release_turn_blue_green_red_to_red_green_blue(arrays, faces, whole, tmp_path):
    root, names = arrays
    cache = Cache(tmp_path, "ov_merd", root, {"faces": "release"})
    for number, name in enumerate(names[2:], start=2):
        expected = [face(number, index) for index in centres([*range(5 + number)])]
        assert np.array_equal(cache.frames(name), expected)
        assert cache.qc[name]["reason"] == "" and cache.store.flags([name]) == [""]
    # datasets that are pooled say each what they show
    assert JoinedStore([cache.store, faces.store]).faces == "release"
    assert JoinedStore([whole.store, cache.store]).faces == "none;release"
    for name in names[:2]:
        assert not cache.frames(name).any() and cache.store.flags([name]) == ["no_video"]
        assert cache.qc[name]["frames"] == "absent"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (np.zeros((3, 16, 16, 3), np.float32), "is float32 3x16x16x3, not uint8"),
        (np.zeros((3, 16, 16), np.uint8), "is uint8 3x16x16, not uint8"),
        (np.zeros((3, 3, 16, 16), np.uint8), "is uint8 3x3x16x16, not uint8"),
        (np.zeros((3, 0, 16, 3), np.uint8), "is uint8 3x0x16x3, not uint8"),
        (
            np.array([np.zeros((2, 2, 3)), np.zeros((3, 3, 3)), None], object),
            "cannot be read (Array can't be memory-mapped: Python",
        ),
    ],
)
def test_arrays_that_are_no_pictures_fail_their_clip(tmp_path, content, why):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a/a.npy", content, allow_pickle=True)
    found = reason(tmp_path, "a/a.npy")
    assert found.startswith("failed: the array of faces ") and why in found


def test_array_files_that_are_broken_fail_their_clip(tmp_path):
    path = write_array(tmp_path, "a", 0, 6)
    path.write_bytes(path.read_bytes()[:1000])
    assert "failed: the array of faces cannot be read" in reason(tmp_path, "a/a.npy")
    with path.open("wb") as handle:
        np.savez(handle, faces=np.zeros((2, 16, 16, 3), np.uint8))
    assert reason(tmp_path, "a/a.npy") == "failed: the array of faces is an archive of arrays"
    path.write_bytes(mafw.POINTER)
    assert "git-LFS pointer" in reason(tmp_path, "a/a.npy")
    path.unlink()
    assert reason(tmp_path, "a/a.npy") == "failed: file is missing"


# ---- boxes of a table


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A video of 25 equal frames of noise, so that a crop tells its place to the pixel."""
    folder = tmp_path_factory.mktemp("still")
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return make_still(folder / "a.mkv", picture), picture


def track(*boxes: tuple[int, tuple[int, int, int, int]]) -> Track:
    return Track(np.array([frame for frame, _ in boxes]), [box for _, box in boxes], [*range(2, 2 + len(boxes))])


def boxed(path: Path, own: Track | None, frames: int = F, clip: Clip | None = None):
    clip = clip or Clip(clip="a", faces="boxes.csv")
    tracks = {"a": own} if own is not None else {}
    ((_, row),) = read_video(path, [clip], [0], frames=frames, size=S, sampling="time", limits=DEFAULT, tracks=tracks)
    return row


def cut(picture: np.ndarray, *corners: tuple[int, int]) -> np.ndarray:
    return np.array([picture[y : y + S, x : x + S] for x, y in corners])


def test_each_frame_is_cut_by_the_box_that_is_nearest_in_time(still):
    path, picture = still
    # 25 frames at 25 per second: taken are 3, 9, 15, 21
    own = track((0, (1, 2, S, S)), (6, (8, 4, S, S)), (12, (20, 6, S, S)), (16, (30, 8, S, S)), (24, (40, 30, S, S)))
    row = boxed(path, own)
    # 3 and 9 are as far from one box as from the other: the earlier one
    assert np.array_equal(row.value, cut(picture, (1, 2), (8, 4), (30, 8), (40, 30)))
    assert row.reason == "" and row.seconds == pytest.approx(1, abs=0.05)


def test_time_counts_and_not_the_number_of_a_frame(tmp_path, still):
    _, picture = still
    # frames at 0, 0.1 ... 0.9 and then 3, 3.1 ... 3.9 s
    path = tmp_path / "gap.mkv"
    Image.fromarray(picture).save(tmp_path / "a.png")
    shifted = "settb=1/1000,setpts='if(lt(N,10),N*100,2000+N*100)'"
    source = ("-loop", "1", "-framerate", "10", "-t", "2", "-i", tmp_path / "a.png")
    run_ffmpeg(*source, "-vf", shifted, "-fps_mode", "passthrough", "-c:v", "ffv1", "-pix_fmt", "bgr0", path)
    own = track((0, (1, 2, S, S)), (12, (8, 4, S, S)))
    # taken at 0.5, 1.5 (the frame of 0.9 s stands), 2.5 (it still stands) and 3.5 s
    row = boxed(path, own)
    assert np.array_equal(row.value, cut(picture, (1, 2), (1, 2), (1, 2), (8, 4)))


def test_frames_are_those_that_decode(tmp_path):
    path = tmp_path / "a.webm"
    grey = "color=black:s=96x64:r=10:d=6,format=yuv444p,geq=lum='16+3*N':cb=128:cr=128"
    options = ("-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "1M", "-g", "60")
    run_ffmpeg("-f", "lavfi", "-i", grey, *options, path)
    # box 59 is of the last frame that decodes, however many packets there are
    row = boxed(path, track((59, (0, 0, 32, 32))))
    assert row.value is not None and "a face box of" in row.reason
    assert "has 60 frames, counted from 0" in boxed(path, track((60, (0, 0, 32, 32)))).reason


def test_a_box_is_cut_off_at_the_edge_of_the_picture(still):
    path, picture = still
    row = boxed(path, track((0, (64 - S, 48 - S, 100, 100))))
    assert np.array_equal(row.value, cut(picture, *[(64 - S, 48 - S)] * F))


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (None, "absent: boxes.csv has no box of this clip"),
        (
            track((0, (0, 0, S, S)), (25, (0, 0, S, S))),
            "row 3 of boxes.csv has a box in frame 25, the video has 25 frames",
        ),
        (
            track((0, (64, 0, S, S))),
            "the face box 64,0,16,16 lies outside the 64x48 picture (boxes of boxes.csv, row 2)",
        ),
        # upright, a rotated video would have room for it
        (track((0, (0, 48, S, S))), "or height '0' (boxes of boxes.csv, row 2)"),
    ],
)
def test_clips_whose_boxes_cannot_be_used(still, own, why):
    row = boxed(still[0], own)
    assert row.value is None and why in row.reason


def test_a_box_far_from_its_frame_is_told(tmp_path):
    path = make_clip(tmp_path / "long.mp4", seconds=8, fps=5)
    row = boxed(path, track((0, (0, 0, 20, 20))))
    assert row.reason == "note: a frame is cut by a face box of 7.0 s before or after it" and row.value is not None


def test_segments_of_a_file_have_boxes_of_their_own(tmp_path, still):
    path, picture = still
    clips = [Clip(clip="a", start=0, end=0.5, faces="t.csv"), Clip(clip="b", start=0.5, faces="t.csv")]
    tracks = {"a": track((0, (1, 2, S, S))), "b": track((24, (8, 4, S, S)))}
    options = {"frames": F, "size": S, "sampling": "time", "limits": DEFAULT}
    rows = dict(read_video(path, clips, [0, 1], tracks=tracks, **options))
    assert np.array_equal(rows[0].value, cut(picture, *[(1, 2)] * F))
    assert np.array_equal(rows[1].value, cut(picture, *[(8, 4)] * F))
    # one clip's wrong box is no other clip's
    rows = dict(read_video(path, clips, [0, 1], tracks=tracks | {"a": track((99, (0, 0, 9, 9)))}, **options))
    assert rows[0].value is None and np.array_equal(rows[1].value, cut(picture, *[(8, 4)] * F))


def test_a_rotated_video_is_upright_when_it_is_cut(tmp_path, still):
    path, picture = still
    run_ffmpeg("-i", path, "-c:v", "libx264rgb", "-qp", "0", tmp_path / "flat.mp4")
    run_ffmpeg("-display_rotation", "90", "-i", tmp_path / "flat.mp4", "-c", "copy", tmp_path / "turned.mp4")
    upright = np.rot90(picture)
    row = boxed(tmp_path / "turned.mp4", track((0, (20, 40, S, S))))
    assert np.array_equal(row.value, cut(upright, *[(20, 40)] * F))


def test_boxes_of_any_adapter_end_to_end(tmp_path, still):
    path, picture = still
    root = tmp_path / "mine"
    rows = [{"clip": name, "video": "v/a.mkv", "label": "joy"} for name in ("a", "b", "c")]
    rows.append({"clip": "d", "video": "v/a.mkv", "label": "joy", "start": "0", "end": "0.5"})
    write_list(root / "clips.tsv", rows)
    (root / "v").mkdir()
    (root / "v/a.mkv").symlink_to(path)
    table = "clip,frame,x,y,w,h,score\na,0,1,2,16,16,0.9\nb,0,-8,-8,24,24,0.5\nb,20,4.4,3.6,15.6,16.4,1\n"
    table += "d,0,40,30,16,16,1\n"
    (root / "boxes.csv").write_text(table)
    cache = Cache(tmp_path / "cache", "manifest", root, {"faces": "boxes"}, links=True)
    assert np.array_equal(cache.frames("a"), cut(picture, *[(1, 2)] * F))
    # negative corners are cut off, decimals rounded
    assert np.array_equal(cache.frames("b"), cut(picture, *[(0, 0)] * 2, *[(4, 4)] * 2))
    assert np.array_equal(cache.frames("d"), cut(picture, *[(40, 30)] * F))
    assert not cache.frames("c").any() and cache.qc["c"]["frames"] == "absent"
    assert cache.qc["c"]["reason"].startswith("frames absent: boxes.csv has no box of this clip")
    assert {row["faces"] for row in cache.qc.values()} == {"boxes.csv"} and cache.store.faces == "boxes"
    # the length of a picture is that of its video
    assert verify_shard(cache.folder / "frames/000-of-002.h5", "frames").settings["faces"] == "boxes"


def test_a_manifest_that_mixes_sources_is_refused(tmp_path, still):
    manifest = tmp_path / "manifest.tsv"
    write_manifest(manifest, [Clip(clip="a", video="a.mkv"), Clip(clip="b", video="a.mkv", faces="boxes.csv")])
    with pytest.raises(HcepError, match="take their frames from different sources: 'b' boxes, 'a' none"):
        decode_frames(manifest, still[0].parent, "000-of-001", tmp_path / "out.h5", frames=F, size=S)
