"""Links that leave a release are refused, unless the dataset entry allows them."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from hcep.cli import main
from hcep.config.entries import Dataset
from hcep.datasets.build import build_manifest
from hcep.datasets.check import check_release, report_text
from hcep.datasets.links import links_out
from hcep.datasets.manifest_file import read_manifest
from hcep.errors import HcepError
from hcep.files import write_table
from hcep.planning.clips import ClipPlan


@pytest.fixture
def place(tmp_path):
    """A release whose clips are files, links inside it, and links out of it of several kinds, and another folder."""
    root, other = tmp_path / "release", tmp_path / "other"
    (root / "v").mkdir(parents=True)
    (root / ".store").mkdir()
    (other / "deep").mkdir(parents=True)
    for path in (root / "v/own.mp4", root / ".store/x", other / "a.mp4", other / "deep/b.mp4"):
        path.write_bytes(b"x")
    (root / "v/inside.mp4").symlink_to("../.store/x")
    (root / "v/around.mp4").symlink_to(f"../../{root.name}/.store/x")
    (root / "v/file.mp4").symlink_to(other / "a.mp4")
    (root / "v/relative.mp4").symlink_to("../../other/a.mp4")
    (root / "v/twice.mp4").symlink_to("file.mp4")
    (root / "v/nowhere.mp4").symlink_to("/nowhere/at/all")
    (root / "folder").symlink_to(other)
    (root / "beside").symlink_to(f"{root}-2")
    return root


KEPT = ["v/own.mp4", "v/inside.mp4", "v/around.mp4", "v/none.mp4"]
OUT = [
    "v/file.mp4",
    "v/relative.mp4",
    "v/twice.mp4",
    "v/nowhere.mp4",
    "folder/a.mp4",
    "folder/deep/b.mp4",
    "beside/a.mp4",
]


def listed(root, paths):
    rows = [{"clip": f"c{number}", "video": path, "label": "fear"} for number, path in enumerate(paths)]
    write_table(root / "clips.tsv", ["clip", "video", "label"], rows, delimiter="\t", seal=False)


@pytest.mark.parametrize("way", ["itself", "link", "relative"])
def test_only_what_leaves_the_release_is_found_however_its_root_is_reached(place, tmp_path, monkeypatch, way):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(place)
    root = {"itself": place, "link": tmp_path / "link", "relative": place.relative_to(tmp_path)}[way]
    assert list(links_out(root, [*KEPT, *OUT])) == OUT
    assert links_out(root, ["v/twice.mp4"]) == {"v/twice.mp4": os.path.realpath(tmp_path / "other/a.mp4")}


def test_a_manifest_of_such_clips_is_refused_and_the_setting_named(place, tmp_path):
    listed(place, ["v/own.mp4", "v/file.mp4", "folder/deep/b.mp4"])
    message = (
        r"release: 2 media files are links that leave it, the first is 'folder/deep/b\.mp4', which leads to "
        r"'.*/other/deep/b\.mp4'\. Remedy: put the files there themselves; or, .* set `follow_links: true` in the"
    )
    with pytest.raises(HcepError, match=message):
        build_manifest("manifest", place, "mine", {}, tmp_path / "manifest.tsv")
    assert not (tmp_path / "manifest.tsv").exists()
    build_manifest("manifest", place, "mine", {}, tmp_path / "manifest.tsv", follow_links=True)
    assert len(read_manifest(tmp_path / "manifest.tsv")) == 3


def test_links_inside_the_release_are_taken(place, tmp_path):
    listed(place, KEPT[:3])
    build_manifest("manifest", place, "mine", {}, tmp_path / "manifest.tsv")
    assert len(read_manifest(tmp_path / "manifest.tsv")) == 3


def test_tables_of_faces_are_media_too(place, tmp_path):
    listed(place, ["v/own.mp4"])
    (tmp_path / "other/boxes.csv").write_text("clip,frame,x,y,w,h\nc0,0,1,2,3,4\n")
    (place / "boxes.csv").symlink_to(tmp_path / "other/boxes.csv")
    with pytest.raises(HcepError, match=r"1 media files are links that leave it, the first is 'boxes\.csv'"):
        build_manifest("manifest", place, "mine", {"faces": "boxes"}, tmp_path / "manifest.tsv")


def test_check_tells_of_them_and_goes_on(place):
    listed(place, ["v/own.mp4", "v/file.mp4", "folder/deep/b.mp4"])
    check = check_release("manifest", place, "mine", {})
    text = report_text(check)
    assert not check.usable and "media files that are links, or lie behind one, which leaves the release: 2" in text
    assert "`follow_links: true`" in text and "v/file.mp4 -> " in text
    allowed = report_text(check_release("manifest", place, "mine", {}, follow_links=True))
    assert "links" not in allowed


def test_the_verb_takes_the_setting(place, tmp_path, capsys):
    listed(place, ["v/file.mp4"])
    settings = {"adapter": "manifest", "options": {}, "text": "manifest"}
    given = ["manifest", "--dataset", "mine", "--root", str(place), "--output", str(tmp_path / "m.tsv"), "--settings"]
    assert main([*given, json.dumps(settings)]) == 1 and "follow_links: true" in capsys.readouterr().err
    assert main([*given, json.dumps(settings | {"follow_links": True})]) == 0
    assert main([*given, json.dumps(settings | {"follow_links": "maybe"})]) == 1
    assert "follow_links" in capsys.readouterr().err


def test_a_job_without_the_setting_has_the_settings_that_it_had():
    usual = {"adapter": "manifest", "options": {}, "text": "manifest"}
    entries = {name: Dataset(root="data/mine", **usual, follow_links=name == "linked") for name in ("linked", "mine")}
    asked = ClipPlan(SimpleNamespace(dataset=entries.get), None).release_settings(*usual)
    assert json.loads(asked(SimpleNamespace(dataset="mine"))) == usual
    assert json.loads(asked(SimpleNamespace(dataset="linked"))) == usual | {"follow_links": True}
