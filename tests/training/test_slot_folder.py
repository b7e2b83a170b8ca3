"""The folder of device locks is private, whoever was in its place before."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from hcep.errors import HcepError
from hcep.training.slots import slot_folder, take_slot


@pytest.fixture
def private(tmp_path) -> Path:
    """A folder that nobody else may enter."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    return folder


def test_a_runtime_folder_of_the_users_own_is_taken(private, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(private))
    assert slot_folder() == private / "hcep-slots"


def test_any_other_runtime_folder_is_passed_over(private, tmp_path, monkeypatch):
    link, file, wide = tmp_path / "link", tmp_path / "file", tmp_path / "wide"
    link.symlink_to(private)
    file.touch()
    wide.mkdir()
    wide.chmod(0o750)
    own = Path(tempfile.gettempdir(), f"hcep-slots-{os.getuid()}")
    for value in (link, file, wide, tmp_path / "none", "relative", ""):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(value))
        assert slot_folder() == own
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(private))
    monkeypatch.setattr(os, "getuid", lambda: private.stat().st_uid + 1)
    assert slot_folder().parent == Path(tempfile.gettempdir())


def test_what_is_made_is_private_whatever_the_umask(private):
    before = os.umask(0)
    try:
        take_slot(["0"], private / "slots").lock.close()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in private.rglob("*")}
    assert modes == {"slots": 0o700, "0.0.lock": 0o600}


def test_a_folder_that_others_may_enter_or_own_is_refused(private, monkeypatch):
    private.chmod(0o770)
    with pytest.raises(HcepError, match=r"private: cannot hold the locks.*others may enter it.*Remedy: remove it, or"):
        take_slot(["0"], private)
    private.chmod(0o700)
    owner = private.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(HcepError, match=f"it belongs to user {owner}"):
        take_slot(["0"], private)
    assert not list(private.iterdir())


def test_a_link_or_a_file_in_the_place_of_the_folder_is_refused(private, tmp_path):
    link, dangling, file = tmp_path / "link", tmp_path / "dangling", tmp_path / "file"
    link.symlink_to(private)
    dangling.symlink_to(tmp_path / "elsewhere")
    file.touch()
    for place, flaw in ((link, "it is a link"), (dangling, "it is a link"), (file, "it is no folder")):
        with pytest.raises(HcepError, match=f"{place.name}: cannot hold the locks of devices: {flaw}"):
            take_slot(["0"], place)
    assert not list(private.iterdir()) and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("bait", ["symbolic", "hard", "pipe"])
def test_no_file_is_emptied_through_a_lock(private, tmp_path, bait):
    precious, lock = tmp_path / "precious", private / "0.0.lock"
    precious.write_text("a year of work")
    if bait == "pipe":
        os.mkfifo(lock)
    else:
        lock.symlink_to(precious) if bait == "symbolic" else lock.hardlink_to(precious)
    with pytest.raises(HcepError, match=r"0\.0\.lock in it"):
        take_slot(["0"], private)
    assert precious.read_text() == "a year of work"
