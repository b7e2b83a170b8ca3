"""What can be told of a media file before it is opened as one: whether it may be media, and whether it is whole.

Structure only, a few bytes read per box: ISO base media (ISO/IEC 14496-12), RIFF (WAV, AVI) and Matroska (RFC 9559).
ffmpeg exits without an error on a file that ends before its outermost header says. A structure that claims more than is
there proves nothing by itself: a writer may have counted wrongly, or a remark at the end is lost. Together with a
stream that ends early it does (`ends_early`).
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

from hcep.errors import HcepError

LFS_POINTER = b"version https://git-lfs"


class MediaError(HcepError):
    """A media file that cannot be used.

    Parameters
    ----------
    reason : str
        Why, without the path (it is stored in the cache and must not depend on where the release lies).
    file : path, optional
        The file.
    absent : bool
        True when the file is sound but the stream asked for is not in it.
    """

    def __init__(self, reason: str, *, file: str | Path | None = None, absent: bool = False) -> None:
        super().__init__(reason, file=file)
        self.reason, self.absent = reason, absent


def check_file(path: Path) -> None:
    """Refuse what is not a media file before any demuxer sees it (`MediaError` says why)."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaError("file is missing", file=path) from error
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot be opened: {getattr(error, 'strerror', None) or error}", file=path) from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError("is a folder", file=path)
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("is not a regular file", file=path)
    if status.st_size == 0:
        raise MediaError("file is empty", file=path)
    try:
        with path.open("rb") as handle:
            head = handle.read(len(LFS_POINTER))
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", file=path) from error
    if head == LFS_POINTER:
        raise MediaError("is a git-LFS pointer, not the media (fetch it with git lfs pull)", file=path)


def is_cut(path: Path, container: str) -> bool:
    """Whether the file is shorter than its structure claims; what is lost may be the end of a stream or a mere remark.

    Parameters
    ----------
    path : path
        A media file.
    container : str
        ffmpeg's first name of its format; False for formats whose structure tells no size.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        if container == "mov":
            return _iso_is_cut(handle, size)
        if container in ("wav", "w64"):
            claimed, there, _ = _wave_data(handle, size)
            return claimed > there
        if container == "avi":
            return _riff_is_cut(handle.read(12), size)
        if container == "matroska":
            return _matroska_is_cut(handle.read(4096), size)
    return False


def wave_seconds(path: Path) -> float:
    """Length of a WAV or W64 file's sound as its data chunk claims it, 0 where it claims none (a streamed file)."""
    with path.open("rb") as handle:
        claimed, _, rate = _wave_data(handle, path.stat().st_size)
    return claimed / rate if rate else 0.0


def ends_early(held: float, claimed: float, *, cut: bool) -> bool:
    """Whether a stream of `held` seconds is the beginning of one that its header says to last `claimed` seconds.

    Parameters
    ----------
    held : float
        Where the content of the stream ends, in seconds.
    claimed : float
        Where it ends according to its header, in seconds; 0 = not told.
    cut : bool
        Whether the file is shorter than its structure says. A header alone is often wrong by a little, a header and a
        missing end together are not.
    """
    return claimed > 0 and held < (claimed - 0.1 if cut else 0.95 * claimed - 0.5)


def _iso_is_cut(handle: BinaryIO, size: int) -> bool:
    at = 0
    while at + 8 <= size:
        handle.seek(at)
        head = handle.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0 means "to the end of the file"; anything else is no box
            return False
        at += length
        if at > size:  # trailing rubbish may look like a box of another kind
            return kind in (b"mdat", b"moov", b"moof")
    return False


def _riff_is_cut(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[4:8], "little")
    # one byte of padding is often missing
    return head[:4] == b"RIFF" and _is_told(length) and length + 8 > size + 1


def _is_told(length: int) -> bool:
    """False for the 0 or the largest number of a writer that could not go back to fill in a length."""
    return 0 < length < 0xFFFFFF00


def _wave_data(handle: BinaryIO, size: int) -> tuple[int, int, int]:
    """Bytes of sound that a WAV or W64 file's data chunk claims (0 = not told), those there, and bytes a second."""
    wide = handle.read(4) == b"riff"
    # W64: names of 16 bytes, lengths of 8 bytes that count the chunk's own head, chunks on multiples of 8 bytes
    at, head, whole = (40, 24, 8) if wide else (12, 8, 2)
    rate = 0
    while at + head <= size:
        handle.seek(at)
        bytes_ = handle.read(head + 12)
        length = int.from_bytes(bytes_[16:24], "little") - head if wide else int.from_bytes(bytes_[4:8], "little")
        if bytes_[:4] == b"fmt ":
            rate = int.from_bytes(bytes_[head + 8 : head + 12], "little")
        if bytes_[:4] == b"data":
            return (length if wide or _is_told(length) else 0), size - at - head, rate
        if length < 0:
            break
        at += head + -(-length // whole) * whole
    return 0, 0, rate


def _matroska_is_cut(head: bytes, size: int) -> bool:
    ebml, at = _element_size(head, 4)
    if ebml is None or head[:4] != b"\x1a\x45\xdf\xa3":
        return False
    at += ebml
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return False
    segment, at = _element_size(head, at + 4)
    return segment is not None and at + segment > size


def _element_size(data: bytes, at: int) -> tuple[int | None, int]:
    """Size of an EBML element (None when unknown, as in a live recording) and where its content starts."""
    if at >= len(data) or not data[at]:
        return None, at
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width
