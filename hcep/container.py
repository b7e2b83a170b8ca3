"""What can be told of a media file before it is opened as one: whether it may be media, and whether it is whole.

Structure only, a few bytes read per box: ISO base media (ISO/IEC 14496-12), RIFF (WAV, AVI), Matroska (RFC 9559), ASF,
the first frame of MP3 and the last page of Ogg.
ffmpeg exits without an error on a file that ends before its outermost header says. A structure that claims more than is
there proves nothing by itself: a writer may have counted wrongly, or a remark at the end is lost. Together with a
stream that ends early it does (`ends_early`).
"""

from __future__ import annotations

import errno
import math
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

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


class MachineFault(HcepError):
    """A clip could not be read for a reason outside it, which ends the job and is never stored as the clip's."""


# what a system refuses when it is short of something, or has lost the file system on which a file lies
SHORT = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT}
)


def refuse_shortage(error: OSError, path: Path) -> None:
    """Raise `MachineFault` where an error tells nothing of the file."""
    if error.errno in SHORT:
        remedy = "mend what it names (`ulimit -n`, disk, network file system) and run again"
        raise MachineFault(f"cannot be opened: {error.strerror}", file=path, remedy=remedy) from error


def check_file(path: Path) -> None:
    """Refuse what is not a media file before any demuxer sees it (`MediaError` says why)."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaError("file is missing", file=path) from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            refuse_shortage(error, path)
        raise MediaError(f"cannot be opened: {getattr(error, 'strerror', None) or error}", file=path) from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file", file=path)
    if status.st_size == 0:
        raise MediaError("file is empty", file=path)
    try:
        with path.open("rb") as handle:
            head = handle.read(len(LFS_POINTER))
    except OSError as error:
        refuse_shortage(error, path)
        raise MediaError(f"cannot be read: {error.strerror}", file=path) from error
    if head == LFS_POINTER:
        raise MediaError("is a git-LFS pointer, not the media (fetch it with git lfs pull)", file=path)


class Structure(NamedTuple):
    """What the structure of a file tells.

    `is_cut` says that the file is shorter than its structure claims; what is lost may be the end of a stream or a mere
    remark. `seconds` are lengths that a header tells and the demuxer replaces by what it measures: of a WAV or W64 file
    that of its sound, of an AVI file that of each stream of sound, of an ASF or MP3 file that of the whole; 0 where
    none is told, empty for other containers. `lacks_end_mark` says that an Ogg file's last page is not marked as the
    end of its stream (RFC 3533), as when it was cut.
    """

    is_cut: bool = False
    seconds: Sequence[float] = ()
    lacks_end_mark: bool = False


def structure(path: Path, container: str) -> Structure:
    """Read the structure of a media file in the format `container` (ffmpeg's first name of it)."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        match container:
            case "mov":
                return Structure(_iso_is_cut(handle, size))
            case "wav" | "w64":
                claimed, held, seconds = _wave_sound(handle, size)
                return Structure(claimed > held, [seconds])
            case "avi":
                head = handle.read(2**16)
                return Structure(_riff_is_cut(head, size), _avi_sound(head))
            case "matroska":
                return Structure(_matroska_is_cut(handle.read(4096), size))
            case "asf":
                claimed, seconds = _asf_properties(handle.read(2**16))
                return Structure(claimed > size, [seconds])
            case "mp3":
                claimed, seconds = _xing(handle)
                return Structure(claimed > size, [seconds])
            case "ogg":
                # no page is longer than 64 KiB
                handle.seek(max(size - 2**17, 0))
                tail = handle.read()
                page = tail.rfind(b"OggS")
                return Structure(lacks_end_mark=not 0 <= page < len(tail) - 6 or not tail[page + 5] & 4)
    return Structure()


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


def truncated(what: str, held: float, claimed: float) -> str:
    """The reason of a part that ends early."""
    told = f"its header says {claimed:.2f} s" if math.isfinite(claimed) else "the file is shorter than its header says"
    return f"is truncated: the {what} ends at {held:.2f} s, {told}"


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
    # a writer that could not go back to fill it in left 0 or the largest number; one byte of padding is often missing
    return head[:4] == b"RIFF" and 0 < length < 0xFFFFFF00 and length + 8 > size + 1


def _wave_sound(handle: BinaryIO, size: int) -> tuple[int, int, float]:
    """Bytes of sound that a WAV or W64 file claims (0 = not told), those that are there, and the seconds it claims."""
    wide = handle.read(4) == b"riff"
    # W64: names of 16 bytes, lengths of 8 bytes that count the chunk's own head, chunks on multiples of 8 bytes
    at, head, whole = (40, 24, 8) if wide else (12, 8, 2)
    rate = block = samples = long_data = 0
    while at + head <= size:
        handle.seek(at)
        chunk = handle.read(head + 32)
        name, content = chunk[:4], chunk[head:]
        length = int.from_bytes(chunk[16:24], "little") - head if wide else int.from_bytes(chunk[4:8], "little")
        if name == b"fmt ":
            rate = int.from_bytes(content[4:8], "little")
            # only where a block is one moment of sound does its size tell how long the data are
            simple = int.from_bytes(content[:2], "little") in (1, 3, 6, 7, 0xFFFE)
            block = int.from_bytes(content[12:14], "little") if simple else 0
        if name == b"fact":
            samples = int.from_bytes(content[:4], "little")
        if name == b"ds64":  # RF64: the true lengths of a file above 4 GB
            long_data = int.from_bytes(content[8:16], "little")
        if name == b"data":
            held = size - at - head
            # recorders write one of these numbers when they cannot go back to fill in the length
            place_holder = 0x7FFFF000 <= length <= 0x80000000 or length >= 0xFFFFF000
            if not wide and length > held and place_holder:
                length = long_data
            told = length / block if block else samples
            return length, held, told / rate if length and rate else 0.0
        if length < 0:
            break
        at += head + -(-length // whole) * whole
    return 0, 0, 0.0


def _avi_sound(header: bytes) -> list[float]:
    """Seconds of each stream of sound by its stream header (strh: scale, rate, start, length)."""
    lengths = []
    at = header.find(b"strh")
    while at >= 0 and at + 44 <= len(header):
        if header[at + 8 : at + 12] == b"auds":
            scale, rate, _, length = struct.unpack_from("<4I", header, at + 28)
            lengths.append(length * scale / rate if rate else 0.0)
        at = header.find(b"strh", at + 44)
    return lengths


def _asf_properties(header: bytes) -> tuple[int, float]:
    """File size in bytes and seconds that an ASF file's properties object claims; zeros where it has none."""
    at = header.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at < 0 or at + 88 > len(header):
        return 0, 0.0
    size, _, _, play, _, preroll = struct.unpack_from("<6Q", header, at + 40)
    return size, max(play / 1e7 - preroll / 1e3, 0.0)


def _xing(handle: BinaryIO) -> tuple[int, float]:
    """Size of the file in bytes, and seconds, that the Xing or Info frame of an MP3 file claims; zeros without one."""
    head = handle.read(10)
    at = 0
    if head[:3] == b"ID3":  # seven bits a byte
        at = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    handle.seek(at)
    frame = handle.read(64)
    mark = max(frame.find(b"Xing"), frame.find(b"Info"))
    if mark < 0 or len(frame) < mark + 16 or not frame[mark + 7] & 1:
        return 0, 0.0
    # MPEG 1 has 1,152 samples a frame at 44.1, 48 or 32 kHz; MPEG 2 and 2.5 have 576 at a half and a quarter of that
    version = {3: 1, 2: 2, 0: 4}.get(frame[1] >> 3 & 3, 1)
    rate = (44_100, 48_000, 32_000, 44_100)[frame[2] >> 2 & 3] // version
    count, length = struct.unpack_from(">2I", frame, mark + 8)
    told = at + length if length and frame[mark + 7] & 2 else 0
    return told, count * (1152 if version == 1 else 576) / rate


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
