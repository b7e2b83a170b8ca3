"""Digests of clips: replaced files are noticed whatever their date, and nothing is read without a reason."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest

from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.planning import contents
from hcep.planning.clips import ClipPlan
from hcep.planning.contents import PIECE, Contents, content_digest
from hcep.planning.engine import Engine

OLD = 1_500_000_000


@pytest.fixture
def look(tmp_path, monkeypatch):
    """A function from a file to its digest, by a new process that remembers, with a list of what was read."""
    read = []

    def noted(path, size):
        read.append(path)
        return content_digest(path, size)

    monkeypatch.setattr(contents, "content_digest", noted)

    def digest(path) -> str:
        return Contents(tmp_path / "memory.json", keep=True).digests([str(path)])[str(path)]

    digest.read = read
    return digest


@pytest.mark.parametrize("size", [0, 1000, 4 * PIECE, 4 * PIECE + 1, 20 * PIECE])
def test_an_older_file_of_another_content_is_noticed_and_a_date_is_not(tmp_path, look, size):
    clip, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    clip.write_bytes(b"a" * size)
    first = look(clip)
    assert len(first) == 16 and look(clip) == first and len(look.read) == 1
    clip.touch()
    assert look(clip) == first
    other.write_bytes(b"a" * max(size - 1, 0) + b"b")
    os.utime(other, (OLD, OLD))
    shutil.copy2(other, clip)
    assert clip.stat().st_mtime == OLD and look(clip) != first


@pytest.mark.parametrize("place", [0, PIECE - 1, 10 * PIECE, -PIECE, -1])
def test_the_beginning_the_middle_and_the_end_of_a_long_file_count(tmp_path, place):
    content = bytearray(20 * PIECE)
    (tmp_path / "a").write_bytes(content)
    content[place] = 1
    (tmp_path / "b").write_bytes(content)
    assert content_digest(str(tmp_path / "a"), len(content)) != content_digest(str(tmp_path / "b"), len(content))


def test_a_copy_that_takes_size_and_date_over_is_noticed(tmp_path, look):
    clip, other = tmp_path / "a.wav", tmp_path / "b.wav"
    for path, content in ((clip, b"one"), (other, b"two")):
        path.write_bytes(content)
        os.utime(path, (OLD, OLD))
    first = look(clip)
    shutil.copy2(other, clip)
    assert clip.stat().st_mtime == OLD and look(clip) != first


def test_a_damaged_memory_is_as_good_as_none(tmp_path, look):
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"one")
    first = look(clip)
    (tmp_path / "memory.json").write_text('{"cut')
    assert look(clip) == first and len(look.read) == 2


def test_what_cannot_be_read_has_no_digest(tmp_path, look):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    assert [look(tmp_path / name) for name in ("pipe", "link", "none", "none/a.mp4", "x" * 300, "a\0b")] == [""] * 6
    assert look(tmp_path / "folder") == "folder" and look.read == []


def test_a_disk_that_fails_is_told_by_decoding(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"one")

    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fails)
    path = str(tmp_path / "a.mp4")
    assert Contents(tmp_path / "memory.json", keep=True).digests([path]) == {path: ""}
    assert not (tmp_path / "memory.json").exists()


def test_a_shard_follows_each_of_its_clips_and_takes_none_that_cannot_be_read_for_an_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["a.mp4", "b{x}.mp4", "gone.mp4"]
    for name in names[:2]:
        (tmp_path / name).write_bytes(name.encode())
    write_manifest("manifest.tsv", [Clip(name, video=name, audio=name) for name in names])
    dataset = SimpleNamespace(root="", shards=1)
    config = SimpleNamespace(dataset=lambda name: dataset)
    plan = ClipPlan(config, Engine(lambda name: "manifest.tsv", str, is_main=True))
    job = SimpleNamespace(dataset="mine", shard="000-of-001")
    of_frames, of_sound = plan.contents("video", "frames"), plan.contents("audio", "audio")
    # a path with braces is watched, and cannot be an input
    assert plan.media_files("video", "frames")(job) == ["a.mp4"]
    found = {of_frames(job)}
    assert of_sound(job) in found
    for name in names:
        (tmp_path / name).write_bytes(b"another")
        assert of_frames(job) not in found and of_frames(job) == of_sound(job)
        found.add(of_frames(job))
    assert plan.media_files("audio", "audio")(job) == ["a.mp4", "gone.mp4"]
    assert set(Contents(tmp_path / ".snakemake/hcep/mine/000-of-001.json", keep=False).known) == set(names)
