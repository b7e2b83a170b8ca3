"""Resumable, verified download of a Zenodo record."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import lzma
import shutil
import stat
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from hcep.errors import HcepError
from hcep.files import atomic_folder, locked, settle, write_text, writing

BLOCK = 1 << 20
# seconds without an answer after which one attempt is given up
TIMEOUT = 60.0
# what a connection that fails or breaks off raises
BROKEN = (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError)
# bytes of a record's list of files; one that is cut there is no JSON
MOST_OF_ANSWER = 1 << 26
# deflate makes a file at most 1032 times smaller: what claims more is packed to deceive
MOST_PACKED = 1032
ENCRYPTED = 1  # the first of a member's flags
RAVDESS_RECORD = "1188976"
RAVDESS_FILES = ("Video_Speech_Actor_*.zip",)


class RemoteFile(NamedTuple):
    """One file of a record: name, address, size in bytes (0 = not told), MD5 in hex."""

    name: str
    url: str
    size: int
    md5: str


def download_ravdess(output: Path, *, base_url: str = "https://zenodo.org") -> None:
    """Download and unpack the audio-visual speech part of RAVDESS (24 archives, about 13 GB)."""
    download_zenodo(RAVDESS_RECORD, output, base_url=base_url, patterns=RAVDESS_FILES)


def download_zenodo(
    record: str,
    output: Path,
    *,
    base_url: str = "https://zenodo.org",
    patterns: Sequence[str] = ("*",),
    attempts: int = 5,
    wait: float = 2.0,
) -> list[Path]:
    """Download files of a Zenodo record, verify their MD5, and unpack the zip archives among them.

    A download that was interrupted goes on where it stopped; what is complete is not fetched again. An archive is
    unpacked into a folder of its name and then removed; a small ``.md5`` file beside it says that it is done.

    Parameters
    ----------
    record : str
        Number of the record.
    base_url : str
        Server with Zenodo's records API.
    patterns : sequence of str
        Which file names, as shell patterns.
    attempts : int
        How often one file is tried.
    wait : float
        Seconds before the second attempt; doubled each time.

    Returns
    -------
    list of path
        Downloaded files, or the folders of unpacked archives, in order of name.

    Raises
    ------
    HcepError
        When the server cannot be reached, the record has no such file, a file does not match its MD5, a name would
        lead out of the folder, or an archive is encrypted, damaged or packed to deceive.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    address = f"{base_url.rstrip('/')}/api/records/{urllib.parse.quote(str(record), safe='')}"
    chosen = [file for file in _list(address) if any(fnmatch.fnmatch(file.name, p) for p in patterns)]
    if not chosen:
        raise HcepError(f"no file matches {', '.join(patterns)}", file=address, remedy="check the record's number")
    with locked(output, "another process downloads into this folder; waiting for its end"):
        return [_one(file, output, attempts, wait) for file in chosen]


def _list(address: str) -> list[RemoteFile]:
    try:
        with urllib.request.urlopen(_request(address), timeout=TIMEOUT) as answer:
            record = json.loads(answer.read(MOST_OF_ANSWER))
        files = [_entry(item) for item in record["files"]]
    except BROKEN as error:
        remedy = "check the network, or set --base-url"
        raise HcepError(f"the record cannot be read: {error}", file=address, remedy=remedy) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        cause = f"the server's answer is not a record: {error!r}"
        raise HcepError(cause, file=address, remedy="check the base URL") from error
    taken: dict[str, str] = {}
    for file in files:
        # names become paths: an archive `.zip` would be unpacked into the folder itself, `...zip` into the one above
        made = _made_of(file.name)
        clash = next((other for path in made if (other := taken.get(path, file.name)) != file.name), None)
        if {"", ".", ".."} & made or not file.name.isprintable() or set(file.name) & set("/\\") or clash:
            why = f", which takes the place of {clash!r}" if clash else ""
            remedy = "report it to the record's owner, and fetch the other files by hand"
            raise HcepError(f"refuses the file name {file.name!r}{why}", file=address, remedy=remedy)
        taken |= dict.fromkeys(made, file.name)
    return sorted(files)


def _made_of(name: str) -> set[str]:
    """Names of what a download leaves in the folder, in the end or for a while."""
    unpacked = {name[:-4], f".{name[:-4]}.tmp"} if name.lower().endswith(".zip") else set()
    return {name, f"{name}.part", f"{name}.md5", *unpacked}


def _entry(item: dict[str, Any]) -> RemoteFile:
    kind, _, value = item["checksum"].partition(":")
    if kind != "md5" or len(value) != 32:
        raise ValueError(f"checksum {item['checksum']!r} is not an md5")
    return RemoteFile(str(item["key"]), str(item["links"]["self"]), int(item.get("size") or 0), value.lower())


def _request(url: str, **headers: str) -> urllib.request.Request:
    if not url.startswith(("http://", "https://")):
        raise HcepError(f"refuses the address {url!r}", remedy="use an http or https server")
    return urllib.request.Request(url, headers={"User-Agent": "hcep", **headers})


def _one(file: RemoteFile, output: Path, attempts: int, wait: float) -> Path:
    """Fetch one file, or go on with it; return the file or the folder it was unpacked into."""
    target, mark = output / file.name, output / f"{file.name}.md5"
    folder = output / file.name[:-4] if file.name.lower().endswith(".zip") else None
    if folder is not None and folder.is_dir() and mark.is_file() and mark.read_text().strip() == file.md5:
        return folder
    if not (target.is_file() and _md5(target) == file.md5):
        _fetch(file, target, attempts, wait)
    if folder is None:
        return target
    _unpack(target, folder)
    write_text(mark, file.md5 + "\n")
    target.unlink()
    return folder


def _fetch(file: RemoteFile, target: Path, attempts: int, wait: float) -> None:
    part = target.with_name(target.name + ".part")
    for attempt in range(attempts):
        if attempt:
            time.sleep(wait * 2 ** (attempt - 1))
        try:
            _append(file, part)
            if file.size and part.stat().st_size < file.size:
                cause = "connection ended early"
            elif _md5(part) == file.md5:
                settle(part, target)
                return
            else:
                # what is there is wrong: going on from it would never help
                part.unlink()
                cause = "MD5 differs"
        except BROKEN as error:
            cause = str(error)
        print(f"{file.name}: {cause}; attempt {attempt + 1} of {attempts}", file=sys.stderr, flush=True)
    raise HcepError(
        f"could not be downloaded whole and with the MD5 {file.md5} in {attempts} attempts",
        file=file.url,
        remedy="run it again (it goes on where it stopped), or download it by hand into the folder",
    )


def _append(file: RemoteFile, part: Path) -> None:
    """Add to the partial file what it lacks; a server that ignores Range starts it anew."""
    done = part.stat().st_size if part.exists() else 0
    if file.size and done > file.size:
        part.unlink()
        done = 0
    if file.size and done == file.size:
        return
    headers = {"Range": f"bytes={done}-"} if done else {}
    try:
        answer = urllib.request.urlopen(_request(file.url, **headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # nothing is left behind what is there; the checksum decides
            return
        raise
    with answer:
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        at = done if resumed else 0
        with writing(part, file.size - at if file.size else None), part.open("ab" if resumed else "wb") as handle:
            shown = -1
            while block := answer.read(BLOCK):
                handle.write(block)
                at += len(block)
                tenth = at * 10 // file.size if file.size else -1
                if tenth > shown:
                    shown = tenth
                    print(f"{file.name}: {at / 1e6:.1f} of {file.size / 1e6:.1f} MB", file=sys.stderr, flush=True)


def _md5(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive into a folder, atomically."""
    try:
        with zipfile.ZipFile(archive) as opened:
            needed = _check_members(opened.infolist(), archive)
            with atomic_folder(folder, needed) as temporary:
                opened.extractall(temporary)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        remedy = "delete it and download again"
        raise HcepError(f"is not a zip archive: {error}", file=archive, remedy=remedy) from error
    except NotImplementedError as error:
        remedy = f"unpack it by hand into {folder}"
        raise HcepError(f"is packed in a way that is not known here: {error}", file=archive, remedy=remedy) from error


def _check_members(members: Sequence[zipfile.ZipInfo], archive: Path) -> int:
    """Refuse members that would land elsewhere or on one another, links, passwords, and more than there is room for.

    Returns the bytes that they unpack to.
    """
    paths = Counter(PurePosixPath(member.filename.replace("\\", "/")) for member in members)
    files = {PurePosixPath(member.filename) for member in members if not member.is_dir()}
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
            cause = f"member {member.filename!r} leaves the folder"
            raise HcepError(cause, file=archive, remedy="do not use it")
        if paths[path] > 1 or files & {*path.parents}:
            cause = f"member {member.filename!r} is in it twice, or as a file and as a folder"
            raise HcepError(cause, file=archive, remedy="do not use it")
        if member.flag_bits & ENCRYPTED:
            cause, remedy = f"member {member.filename!r} is encrypted", "unpack it by hand, with its password"
            raise HcepError(cause, file=archive, remedy=remedy)
    needed, size = sum(member.file_size for member in members), archive.stat().st_size
    if needed > MOST_PACKED * size:
        cause = f"claims to hold {needed / 1e9:.1f} GB, more than {size / 1e6:.1f} MB can"
        raise HcepError(cause, file=archive, remedy="do not use it")
    if needed > (free := shutil.disk_usage(archive.parent).free):
        cause = f"unpacks to {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        raise HcepError(cause, file=archive, remedy="make room")
    return needed
