"""Records and archives of a server that nobody should trust."""

from __future__ import annotations

import io
import json
import stat
import zipfile

import pytest

from hcep.datasets import download
from hcep.datasets.download import download_zenodo
from hcep.errors import HcepError


@pytest.fixture
def offered(monkeypatch):
    """Serve a record of these files (name -> content) without a network."""
    contents: dict[str, bytes] = {}

    class Answer(io.BytesIO):
        status, headers = 200, {}

    def urlopen(request, timeout):
        name = request.full_url.rpartition("#")[2]
        if name in contents:
            return Answer(contents[name])
        md5 = {name: download.hashlib.md5(content).hexdigest() for name, content in contents.items()}
        files = [{"key": n, "checksum": f"md5:{md5[n]}", "links": {"self": f"http://h/#{n}"}} for n in contents]
        return Answer(json.dumps({"files": files}).encode())

    monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)
    return contents


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, **changes) -> bytes:
    """A zip archive; `changes` are set on its last member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
        for name, value in changes.items():
            setattr(opened.infolist()[-1], name, value)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".zip",
        "..zip",
        "...zip",
        ".ZIP",
        "/etc/a.zip",
        "../a.zip",
        "a/../../b.zip",
        "a\\b.zip",
        "a\x1b[2J",
    ],
)
def test_names_that_are_no_file_of_the_folder_are_refused(tmp_path, offered, name):
    keep = tmp_path / "release/keep.txt"
    keep.parent.mkdir()
    keep.write_text("mine")
    offered[name] = packed({"a.txt": b"x"})
    with pytest.raises(HcepError, match=r"refuses the file name .*Remedy: report it") as caught:
        download_zenodo("1", keep.parent)
    assert "\x1b" not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [keep]


@pytest.mark.parametrize("other", ["a", "a.zip.part", "a.zip.md5", ".a.tmp", "a.ZIP"])
def test_a_file_in_the_place_of_another_is_refused(tmp_path, offered, other):
    offered |= {"a.zip": packed({"b.txt": b"x"}), other: b"y"}
    with pytest.raises(HcepError, match="which takes the place of"):
        download_zenodo("1", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_that_only_looks_odd_is_taken(tmp_path, offered):
    offered |= {"a.b.zip": packed({"c/d.txt": b"x", "e.txt": b"y"}), "..a": b"z"}
    assert [path.name for path in download_zenodo("1", tmp_path)] == ["..a", "a.b"]
    assert (tmp_path / "a.b/c/d.txt").read_bytes() == b"x"


LINK = (stat.S_IFLNK | 0o777) << 16
PLAIN = packed({"a": b"xyz" * 9})
BAD = {
    "link": (packed({"a": b"/etc"}, external_attr=LINK), "member 'a' leaves the folder"),
    "dots": (packed({"a/../../b": b"x"}), "leaves the folder"),
    "absolute": (packed({"/b": b"x"}), "leaves the folder"),
    "encrypted": (
        packed({"a": b"x"}, flag_bits=1),
        "member 'a' is encrypted. Remedy: unpack it by hand",
    ),
    "file and folder": (packed({"a": b"x", "a/b": b"x"}), "in it twice, or as a file and as a folder"),
    "other slashes": (packed({"a/b": b"x", "a\\b": b"x"}), "in it twice"),
    "claim": (packed({"a": b"x"}, file_size=2**31), "claims to hold 2.1 GB, more than 0.0 MB can"),
    "method": (packed({"a": b"x"}, compress_type=9), "packed in a way that is not known here"),
    "damaged": (
        packed({"a": b"xyz" * 9}).replace(packed({"a": b"xyz" * 9})[31:36], b"\xff" * 5),
        "is not a zip archive",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_archives_that_deceive_are_refused_and_leave_nothing(tmp_path, offered, kind):
    content, message = BAD[kind]
    offered["clips.zip"] = content
    with pytest.raises(HcepError, match=message):
        download_zenodo("1", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["clips.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path, offered):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("a", b"x")
        opened.writestr("a", b"y")
    offered["clips.zip"] = buffer.getvalue()
    with pytest.raises(HcepError, match="member 'a' is in it twice"):
        download_zenodo("1", tmp_path)


def test_an_archive_that_needs_more_than_is_free_is_refused(tmp_path, offered, monkeypatch):
    offered["clips.zip"] = packed({"a": bytes(10**6)})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**5}))
    with pytest.raises(HcepError, match=r"unpacks to 0.0 GB, 0.0 GB are free. Remedy: make room"):
        download_zenodo("1", tmp_path)


def test_a_list_of_files_that_is_nested_or_endless_is_no_record(tmp_path, monkeypatch):
    for answer in (b"[" * 200_000, b" " * 100):
        monkeypatch.setattr(download, "MOST_OF_ANSWER", 10**6)
        monkeypatch.setattr(download.urllib.request, "urlopen", lambda *_, answer=answer, **__: io.BytesIO(answer))
        with pytest.raises(HcepError, match="the server's answer is not a record"):
            download_zenodo("1", tmp_path)


def test_what_a_file_leaves_behind():
    assert download._made_of("a") == {"a", "a.part", "a.md5"}
    assert download._made_of("a.zip") == {"a.zip", "a.zip.part", "a.zip.md5", "a", ".a.tmp"}
