"""The settings `faces` and `boxes`: what a manifest and `hcep check` say of faces, and wrong tables of boxes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from releases import mafw, ov_merd
from releases.faces import write_archive, write_array, write_folder
from sample_media import make_clip, write_list

from hcep.datasets.boxes import read_boxes
from hcep.datasets.build import build_manifest
from hcep.datasets.check import check_release, report_text
from hcep.datasets.corpus import FACELESS, UNKNOWN
from hcep.datasets.faces import face_source, picture_paths
from hcep.datasets.manifest import Manifest
from hcep.datasets.manifest_file import COLUMNS, Clip, read_manifest
from hcep.errors import HcepError
from hcep.registry import DATASETS, load

HEADER = "clip,frame,x,y,w,h\n"


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A list of three clips of one short video."""
    root = tmp_path_factory.mktemp("clips")
    make_clip(root / "a.mp4", seconds=0.4, fps=5, size="40x32")
    write_list(root / "clips.tsv", [{"clip": name, "video": "a.mp4", "label": "joy"} for name in ("anna_1", "b", "c")])
    return root


@pytest.fixture
def mine(clips, tmp_path) -> Path:
    return Path(shutil.copytree(clips, tmp_path / "mine"))


def manifest(adapter: str, root: Path, options: dict[str, object]) -> dict[str, Clip]:
    output = root.parent / "manifest.tsv"
    build_manifest(adapter, root, "corpus", options, output)
    return {clip.clip: clip for clip in read_manifest(output)}


def refusal(adapter: str, root: Path, options: dict[str, object]) -> HcepError:
    with pytest.raises(HcepError) as caught:
        manifest(adapter, root, options)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("adapter", DATASETS)
def test_every_adapter_has_boxes_and_those_whose_release_ships_faces_these(adapter):
    reader, more = load(DATASETS[adapter]), {"text": "none"}
    assert reader(Path(), more).settings["faces"] == "none"
    assert reader(Path(), more | {"faces": "boxes", "boxes": "d/f.tsv"}).settings["boxes"] == "d/f.tsv"
    assert reader(Path(), more).watch_faces() == []
    if adapter in ("mafw", "ov_merd"):
        assert reader(Path(), more | {"faces": "release"}).settings["faces"] == "release"
    else:
        with pytest.raises(HcepError, match=r"adapter is 'release'\. Remedy: use one of none, boxes"):
            reader(Path(), more | {"faces": "release"})


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"faces": "box"}, "'faces' of the manifest adapter is 'box'"),
        ({"faces": True}, "'faces' of the manifest adapter is True"),
        ({"face": "boxes"}, "no setting 'face' (did you mean 'faces'?)"),
        ({"boxes": "boxes.csv"}, "'boxes' of the manifest adapter names a table that is not used"),
        ({"faces": "boxes", "boxes": "boxes.txt"}, "'boxes' of the manifest adapter is 'boxes.txt'"),
        ({"faces": "boxes", "boxes": 3}, "'boxes' of the manifest adapter is 3"),
        ({"faces": "boxes", "boxes": "../boxes.csv"}, "'boxes' of the manifest adapter is '../boxes.csv'"),
        ({"faces": "boxes", "boxes": "/boxes.csv"}, "'boxes' of the manifest adapter is '/boxes.csv'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, cause):
    with pytest.raises(HcepError) as caught:
        Manifest(Path(), options)
    assert cause in caught.value.cause and caught.value.remedy


# ---- tables of boxes


@pytest.mark.parametrize(
    ("rows", "row", "cause", "remedy"),
    [
        ("b,0,1,2,3\n", 2, "has 5 cells, the header has 6", ""),
        ("b,0,1,2,x,4\n", 2, "w 'x' is not a number", "digits"),
        ("b,0,1,2,,4\n", 2, "w '' is not a number", "digits"),
        ("b,0,nan,2,3,4\n", 2, "x 'nan' is not a number", "digits"),
        ("b,0,inf,2,3,4\n", 2, "x 'inf' is not a number", "digits"),
        ("b,0,1e12,2,3,4\n", 2, "x '1e12' is not a number", "digits"),
        ("b,0.5,1,2,3,4\n", 2, "frame '0.5' is not the number of a frame", "0, 1, 2"),
        ("b,-1,1,2,3,4\n", 2, "frame '-1' is not the number of a frame", "0, 1, 2"),
        ("b,0,1,2,0,4\n", 2, "the box is 0 wide and 4 high", "no row for a frame without a face"),
        ("b,0,1,2,3,-4\n", 2, "the box is 3 wide and -4 high", "upper left corner"),
        ("b,0,-9,2,8,4\n", 2, "the box -9,2,8,4 lies outside the picture", "pixels of the source"),
        ("b,0,1,2,3,4\nc,0,1,2,3,4\nb,0,5,6,7,8\n", 4, "frame 0 of clip 'b' already has a box in row 2", "one face"),
        (
            "b,0,1,2,3,4\nb.mp4,1,1,2,3,4\nanna-1,0,1,2,3,4\n",
            4,
            "no clip 'anna-1' in the dataset (did you mean 'anna_1'",
            "",
        ),
        ("b,0,1,2,3,4\nana_1,0,1,2,3,4\n", 3, "did you mean 'anna_1', which has no box?", "as in the manifest"),
        ("b,0,1,2,3,4\nANNA_01.mp4,0,1,2,3,4\n", 3, "did you mean 'anna_1', which has no box?", "as in the manifest"),
    ],
)
def test_a_wrong_row_is_told_with_its_number(mine, rows, row, cause, remedy):
    (mine / "boxes.csv").write_text(HEADER + rows)
    error = refusal("manifest", mine, {"faces": "boxes"})
    assert (error.file, error.row) == (mine / "boxes.csv", row)
    assert cause in error.cause and remedy in error.remedy


def test_a_wrong_table_is_told(mine):
    assert "cannot be read: No such file" in str(_refused_boxes(mine, None))
    assert "lacks the column h" in str(_refused_boxes(mine, "clip,frame,x,y,w\nb,0,1,2,3\n"))
    assert "lacks the column clip, frame" in str(_refused_boxes(mine, "clip;frame;x;y;w;h\nb;0;1;2;3;4\n"))
    assert "has no face of any of the 3 clips, such as 'anna_1'" in str(
        _refused_boxes(mine, HEADER + "other,0,1,2,3,4\n")
    )
    write_list(mine / "clips.tsv", [{"clip": "b", "video": "a.mp4", "label": "joy", "box": "1,2,3,4"}])
    error = _refused_boxes(mine, HEADER + "b,0,1,2,3,4\n")
    assert "clip 'b' has a face box in the list of clips" in str(error)


def _refused_boxes(root: Path, content: str | None) -> HcepError:
    if content is not None:
        (root / "boxes.csv").write_text(content)
    with pytest.raises(HcepError) as caught:
        manifest("manifest", root, {"faces": "boxes"})
    assert Path(caught.value.file) == root / "boxes.csv"
    return caught.value


def test_boxes_in_order_of_frames_rounded_and_cut_off_at_the_left_and_top(tmp_path):
    path = tmp_path / "boxes.tsv"
    path.write_text(
        "h\tw\ty\tx\tframe\tclip\tscore\n4\t3\t2\t1\t7\tb\t.5\n5.6\t4.5\t-1.5\t.4\t3.0\tb\t\n1\t1\t9\t9\t0\tz\t\n"
    )
    tracks, others = read_boxes(path, {"b", "c"})
    assert others == {"z": 4} and list(tracks) == ["b"]
    assert tracks["b"].frames.tolist() == [3, 7] and tracks["b"].rows == [3, 2]
    assert tracks["b"].boxes == [(0, 0, 5, 4), (1, 2, 3, 4)]


def test_names_with_other_numbers_are_other_clips_and_only_counted(mine, capsys):
    rows = [{"clip": name, "video": "a.mp4", "label": "joy"} for name in ("00019", "00021", "00023")]
    write_list(mine / "clips.tsv", rows)
    (mine / "boxes.csv").write_text(HEADER + "00019,0,1,2,3,4\n00020,0,1,2,3,4\n00022,1,x,2,3,4\n")
    found = manifest("manifest", mine, {"faces": "boxes"})
    assert {clip.faces for clip in found.values()} == {"boxes.csv"}
    assert "faces of boxes.csv; 2 of 3 clips have none" in capsys.readouterr().err
    check = check_release("manifest", mine, "corpus", {"faces": "boxes"})
    faults = {fault.what: fault.examples for fault in check.faults}
    assert faults == {FACELESS: ["00021", "00023"], UNKNOWN: ["00020", "00022"]}
    assert check.usable and check.found == {"face boxes": "boxes.csv", "faces used": "boxes"}


def test_whole_pictures_leave_the_manifest_as_it_was(mine):
    assert {clip.faces for clip in manifest("manifest", mine, {}).values()} == {""}
    header = (mine.parent / "manifest.tsv").read_text().splitlines()[0].split("\t")
    assert header == list(COLUMNS) and "faces" not in header
    # a column of this name in a list of clips would be a source that nobody has checked
    write_list(mine / "clips.tsv", [{"clip": "b", "video": "a.mp4", "label": "joy", "faces": "x"}])
    assert "unknown column 'faces'" in refusal("manifest", mine, {}).cause


def test_what_frames_are_decoded_from(tmp_path):
    (tmp_path / "data.zip").mkdir()
    (tmp_path / "data.zip/frames.zip").touch()
    video = Clip(clip="a", video="a.mp4")
    assert picture_paths(tmp_path, video) == ["a.mp4"] and picture_paths(tmp_path, Clip(clip="a")) == []
    assert picture_paths(tmp_path, video._replace(faces="boxes.tsv")) == ["a.mp4", "boxes.tsv"]
    inside = video._replace(faces="data.zip/frames.zip/frames/a")
    assert picture_paths(tmp_path, inside) == ["data.zip/frames.zip"]
    assert picture_paths(tmp_path, video._replace(faces="data/frames/a")) == ["data/frames/a"]
    assert [face_source([clip]) for clip in (video, inside)] == ["none", "release"] and face_source([]) == "none"


# ---- face pictures of a release


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """MAFW's shape with pictures of all clips but two."""
    root = tmp_path_factory.mktemp("pictured") / "mafw"
    made = mafw.make_release(root, clips_per_class=2, compound=0, media=False, tables=False)
    clips = [clip for clip, label in made.single.items() if label != "neutral"]
    for number, clip in enumerate(clips[2:]):
        write_folder(root / "data/frames" / clip, number, range(3), size=4)
    (root / "data/frames" / clips[1]).mkdir()
    (root / "data/frames/readme").mkdir()
    return root, clips


def test_check_names_the_faces_of_a_release_and_the_clips_without(pictured, capsys):
    root, clips = pictured
    check = check_release("mafw", root, "mafw", {"text": "manifest"}, max_failures=1)
    assert check.found["face pictures"] == "data/frames" and check.found["faces used"] == "none"
    assert FACELESS not in {fault.what for fault in check.faults}
    check = check_release("mafw", root, "mafw", {"text": "manifest", "faces": "release"}, max_failures=1)
    (fault,) = [fault for fault in check.faults if fault.what == FACELESS]
    assert (fault.cases, list(fault.examples)) == (2, clips[:2])
    text = report_text(check)
    assert [line.split() for line in text.splitlines() if "faces used" in line] == [["faces", "used", "release"]]
    assert FACELESS in text
    assert f"faces of data/frames; 1 of {len(clips)} clips have none" in capsys.readouterr().err


def test_without_their_source_faces_are_refused(pictured, tmp_path):
    root, clips = pictured
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    shutil.rmtree(copy / "data/frames")
    error = refusal("mafw", copy, {"faces": "release"})
    assert "no face pictures of the release below it" in error.cause and error.file == copy
    (copy / "data/frames/1").mkdir(parents=True)
    assert f"has no face of any of the {len(clips)} clips" in refusal("mafw", copy, {"faces": "release"}).cause
    shutil.rmtree(copy / "data/frames")
    (copy / "data/frames.zip").write_bytes(b"PK\3\4 no archive")
    assert "not a whole zip archive" in refusal("mafw", copy, {"faces": "release"}).cause


def test_pictures_are_found_where_an_archive_was_unpacked(pictured, tmp_path):
    root, clips = pictured
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    (copy / "data/frames").rename(copy / "data/inner")
    (copy / "data/Frames").mkdir()
    (copy / "data/inner").rename(copy / "data/Frames/frames")
    found = manifest("mafw", copy, {"faces": "release"})
    assert found[clips[3]].faces == f"data/Frames/frames/{clips[3]}"
    # unpacked pictures are taken before an archive, which is slower to read
    write_archive(copy / "data/frames.zip", copy / "data/Frames/frames", "frames/")
    assert manifest("mafw", copy, {"faces": "release"}) == found
    shutil.rmtree(copy / "data/Frames")
    packed = manifest("mafw", copy, {"faces": "release"})
    assert packed[clips[3]].faces == f"data/frames.zip/frames/{clips[3]}"
    # an empty folder is not in an archive; its clip has a place where no picture is
    assert packed[clips[1]].faces == f"data/frames.zip/{clips[1]}"


def test_a_manifest_is_made_anew_when_faces_come_or_go(pictured, tmp_path):
    copy = Path(shutil.copytree(pictured[0], tmp_path / "copy"))
    reader = load(DATASETS["mafw"])(copy, {"faces": "release"})
    before = reader.watch_faces()
    assert reader.watch_faces() == before
    (copy / "data/frames/99999").mkdir()
    assert reader.watch_faces() != before
    shutil.rmtree(copy / "data/frames")
    assert reader.watch_faces() == ["faces: there are no face pictures of the release below it"]
    reader = load(DATASETS["mafw"])(copy, {"faces": "boxes"})
    assert reader.watch_faces() == ["boxes: missing"]
    (copy / "boxes.csv").write_text(HEADER)
    assert reader.watch_faces() != ["boxes: missing"]


@pytest.mark.parametrize("edition", ["mer2025", "mer2026"])
def test_arrays_of_ov_merd(tmp_path, edition):
    root = tmp_path / "release"
    names = [*ov_merd.make_release(root, clips_per_class=8, media=False, edition=edition)]
    place = root / f"{edition}-dataset/openface_face"
    for name in names[1:]:
        write_array(place, name, 0, 1, size=2)
    (place / names[0]).mkdir()
    options = {"faces": "release", "release": edition}
    found = manifest("ov_merd", root, options)
    assert found[names[1]].faces == f"{edition}-dataset/openface_face/{names[1]}/{names[1]}.npy"
    assert found[names[0]].faces == f"{edition}-dataset/openface_face/{names[0]}"
    check = check_release("ov_merd", root, "ov_merd", {"text": "manifest"} | options, max_failures=1)
    assert check.found["face pictures"] == f"{edition}-dataset/openface_face"
    (fault,) = [fault for fault in check.faults if fault.what == FACELESS]
    assert list(fault.examples) == names[:1]
    reader = load(DATASETS["ov_merd"])(root, options)
    before = reader.watch_faces()
    write_array(place, names[0], 0, 1, size=2)
    assert reader.watch_faces() != before
