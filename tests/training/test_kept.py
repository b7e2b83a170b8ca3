"""Files of a run that a later job takes over: all of them, whole and current, or none."""

from __future__ import annotations

import errno
import os

import pytest

from hcep.files import read_table, seal_beside, write_table
from hcep.training import kept
from hcep.training.kept import KEPT, keep, take_over


@pytest.fixture
def files(tmp_path):
    """A table with its digest, and another file."""
    table, model = tmp_path / "history.csv", tmp_path / "model.bin"

    def write(text):
        write_table(table, ["loss"], [{"loss": text}])
        model.write_text(text)

    write("1")
    return table, model, write


def lost(*paths):
    for path in paths:
        path.unlink()
        seal_beside(path).unlink(missing_ok=True)


def test_what_is_kept_comes_back_with_its_digest_and_the_date_of_now(files):
    table, model, _ = files
    keep(table, model)
    assert model.stat().st_nlink == 2
    os.utime(model, (1, 1))
    lost(table, model)
    assert take_over(table, model, current=lambda *_: True)
    assert read_table(table) == [{"loss": "1"}] and model.read_text() == "1" and model.stat().st_mtime > 1e9


def test_what_is_not_current_or_not_whole_stays_away(files, tmp_path, capsys):
    table, model, _ = files
    keep(table, model)
    lost(table, model)
    assert not take_over(table, model, current=lambda *_: False) and not model.exists()
    (tmp_path / KEPT / "history.csv").write_text("loss\n2\n")
    assert not take_over(table, model, current=lambda table, _: bool(read_table(table))) and not model.exists()
    assert "history.csv" in capsys.readouterr().err
    (tmp_path / KEPT / "model.bin").unlink()
    assert not take_over(table, model, current=lambda *_: True)


def test_a_kill_between_two_links_leaves_no_pair_of_two_trainings(files, monkeypatch):
    table, model, write = files
    keep(table, model)
    write("2")
    lay, count = kept._lay, iter(range(2))

    def killed(*paths):
        if next(count):
            raise KeyboardInterrupt
        lay(*paths)

    monkeypatch.setattr(kept, "_lay", killed)
    with pytest.raises(KeyboardInterrupt):
        keep(table, model)
    assert not take_over(table, model, current=lambda *_: True)


@pytest.mark.parametrize(("number", "copied"), [(errno.EXDEV, True), (errno.EPERM, True), (errno.ENOSPC, False)])
def test_without_links_it_is_a_copy_and_without_room_a_line_in_the_log(files, monkeypatch, capsys, number, copied):
    table, model, _ = files

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(kept.os, "link", refuse)
    keep(table, model)
    assert ("cannot keep links" in capsys.readouterr().err) is not copied
    lost(table, model)
    assert take_over(table, model, current=lambda *_: True) is copied
