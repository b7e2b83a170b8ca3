"""Files and folders of a release, found whatever their spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcep.datasets import spellings
from hcep.datasets.spellings import find, normal, other_spelling, walk
from hcep.errors import HcepError


def lay(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


@pytest.mark.parametrize("name", ["Train & Test Set", "train_test_set", "TRAIN-TEST SET", "Train&Test.Set"])
def test_spellings_of_one_name(name):
    assert normal(name) == "traintestset"


def test_names_that_are_not_the_same():
    assert normal("set_1") != normal("set_11") and normal("Straße") == normal("STRASSE") and normal("_-") == ""


def test_shallowest_match_wins_then_the_first(tmp_path):
    lay(tmp_path, "a/Labels/x", "b/labels/x", "z_labels/x", "c/d/Labels/x")
    assert find(tmp_path, ["labels"], kind="folder") == tmp_path / "a/Labels"
    lay(tmp_path, "z/x", "LABELS/x")
    assert find(tmp_path, ["labels"], kind="folder") == tmp_path / "LABELS"


def test_depth_counts_levels_of_entries(tmp_path):
    lay(tmp_path, "a/b/c/single-set.xlsx")
    found = [find(tmp_path, ["single_set.xlsx"], depth=depth, kind="file") for depth in range(5)]
    assert found == [None, None, None, None, tmp_path / "a/b/c/single-set.xlsx"]
    assert find(tmp_path / "a/b", ["Single Set.XLSX"], kind="file") == tmp_path / "a/b/c/single-set.xlsx"


def test_kind_and_several_names(tmp_path):
    lay(tmp_path, "clips/train.txt", "a/clips", "b/video/x")
    assert find(tmp_path, ["clips"], kind="file") == tmp_path / "a/clips"
    assert find(tmp_path, ["Video", "Clips"], kind="folder") == tmp_path / "clips"
    assert find(tmp_path, ["audio"], kind="folder") is None
    assert find(tmp_path / "none", ["clips"], kind="folder") is None


def test_leftovers_of_other_programs_are_not_the_file(tmp_path):
    lay(tmp_path, "._single-set.xlsx", "~$single-set.xlsx")
    lay(tmp_path, *(f"{folder}/single-set.xlsx" for folder in ("__MACOSX", ".Trash-0", "lost+found", "$RECYCLE.BIN")))
    assert find(tmp_path, ["single-set.xlsx"], kind="file") is None
    lay(tmp_path, "z/single_set.xlsx")
    assert find(tmp_path, ["single-set.xlsx"], kind="file") == tmp_path / "z/single_set.xlsx"


def test_folders_inside_a_media_folder_are_not_entered(tmp_path, monkeypatch):
    monkeypatch.setattr(spellings, "MANY", 3)
    lay(tmp_path, "frames/1/labels/x", "frames/2/x", "frames/3/x", "a/1/labels/x")
    assert find(tmp_path, ["labels"], depth=3, kind="folder") == tmp_path / "a/1/labels"
    lay(tmp_path, "frames/4/x")
    (tmp_path / "a/1/labels/x").unlink()
    (tmp_path / "a/1/labels").rmdir()
    assert find(tmp_path, ["labels"], depth=3, kind="folder") is None
    assert tmp_path / "frames" in [folder for folder, _ in walk(tmp_path, 3)], "its own entries are seen"
    lay(tmp_path, "d/x", "e/x", "f/labels/x")
    assert find(tmp_path, ["labels"], kind="folder") == tmp_path / "f/labels", "a root may hold any number"


def test_walk_yields_sorted_entries_level_by_level(tmp_path):
    lay(tmp_path, "b/2", "b/1", "a/c/3")
    seen = [
        (path.relative_to(tmp_path).as_posix(), [entry.name for entry in entries])
        for path, entries in walk(tmp_path, 3)
    ]
    assert seen == [(".", ["a", "b"]), ("a", ["c"]), ("b", ["1", "2"]), ("a/c", ["3"])]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    # not by taking rights away: the superuser keeps them
    monkeypatch.setattr(spellings.os, "scandir", refuse)
    with pytest.raises(HcepError, match=rf"{tmp_path.name}: cannot be read: Permission denied.*Remedy"):
        find(tmp_path, ["labels"], kind="folder")


@pytest.mark.parametrize(
    ("there", "asked", "found"),
    [
        ("a.MP4", "a.mp4", "a.MP4"),
        ("Video/A.mp4", "video/a.mp4", "Video/A.mp4"),
        ("a.mp4 ", "a.mp4", "a.mp4 "),
        ("de\u0301ja\u0300.mp4", "d\u00e9j\u00e0.mp4", "de\u0301ja\u0300.mp4"),
        ("a.mp4", "a.mp4", None),
        ("b.mp4", "a.mp4", None),
        ("a.mp4", "v/a.mp4", None),
        ("a.mp4/b.mp4", "A.mp4", "a.mp4"),
    ],
)
def test_a_path_in_other_letters(tmp_path, there, asked, found):
    assert other_spelling(lay(tmp_path, there), asked) == found


def test_a_path_in_other_letters_below_the_second_of_two_folders(tmp_path):
    lay(tmp_path, "Video/x.mp4", "video/A.mp4")
    assert other_spelling(tmp_path, "VIDEO/a.mp4") == "video/A.mp4"
    assert other_spelling(tmp_path, "x" * 300) is None
