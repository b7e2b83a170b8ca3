"""Shards: HDF5 files that each hold one modality of a part of a dataset's clips."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import xxhash

from hcep.datasets.manifest_file import Clip, read_manifest
from hcep.errors import HcepError
from hcep.files import atomic_path, remake
from hcep.seal import Sink, check_file, open_hdf5, seal_file

# kind of shard -> name of its main array, and the flag of a clip that lacks it
ARRAYS = {"frames": "frames", "audio": "waveform", "text": "text"}
ABSENT = {"frames": "no_video", "audio": "no_audio", "text": "no_text"}
# flag of a clip whose sound is there and cannot be heard
SILENT = "silent_audio"
# numbers beside each clip of a kind: how long its part lasts, and how many samples are its own, the rest being padding
NUMBERS = {"frames": {"seconds": "f8"}, "audio": {"seconds": "f8", "samples": "i8"}, "text": {}}
PAGE = 4096
# dataset with a sum of the bytes of every row, so that a reader can check the rows that it reads
SUMS = "sum"


class Row(NamedTuple):
    """One clip of a shard.

    `value` is an array, or (text, text_kind), or None for an absent modality. `reason` is '' when all is well, else
    one of ``absent: ...`` (there is nothing to read), ``failed: ...`` (it is there and cannot be read) and
    ``note: ...`` (read, with something to know), see `noted`. `seconds` is how long the clip's picture or sound lasts
    in its source (NaN where it does not tell), `samples` how many samples of a waveform are the clip's own, `flag` what
    is to be known of a value that is there.
    """

    value: Any
    reason: str = ""
    seconds: float = 0.0
    samples: int = 0
    flag: str = ""


def noted(*notes: str) -> str:
    """A reason from notes, those that are empty left out; a note may be such a reason already."""
    kept = [note.removeprefix("note: ") for note in notes if note]
    return f"note: {', '.join(kept)}" if kept else ""


class Shard(NamedTuple):
    """What a shard says of its clips, in row order; `numbers` are those of `NUMBERS`."""

    path: Path
    kind: str
    clips: list[str]
    flags: list[str]
    reasons: list[str]
    numbers: dict[str, list[float]]
    sha256: str
    settings: dict[str, Any]


def shard_names(count: int) -> list[str]:
    """Names of all shards: 000-of-064, 001-of-064, ..."""
    if not 1 <= count <= 999:
        raise HcepError(f"{count} shards", remedy="set `shards` of the dataset entry to 1 ... 999")
    return [_shard_name(number, count) for number in range(count)]


def shard_of(clip: Clip, count: int) -> str:
    """Shard of a clip: CRC-32 of its source's path below the root, so that all segments of a video stay together."""
    return _shard_name(zlib.crc32((clip.video or clip.audio).encode()) % count, count)


def _shard_name(number: int, count: int) -> str:
    return f"{number:03d}-of-{count:03d}"


def clips_of_shard(manifest: Path, shard: str) -> list[Clip]:
    """The manifest's clips that belong to a shard such as 007-of-064, in manifest order."""
    number, _, count = shard.partition("-of-")
    if not (number.isdigit() and count.isdigit() and 0 <= int(number) < int(count)):
        raise HcepError(f"{shard!r} is not the name of a shard", remedy="use a name like 007-of-064")
    return [clip for clip in read_manifest(manifest) if shard_of(clip, int(count)) == shard]


def _digest(value: Any) -> str:
    content = np.ascontiguousarray(value).data if isinstance(value, np.ndarray) else json.dumps(value).encode()
    return hashlib.sha256(content).hexdigest()


def row_sum(content: np.ndarray) -> int:
    """XXH3 (64 bits) of a row's bytes, which takes about as long as reading them from memory."""
    return int(xxhash.xxh3_64_intdigest(np.ascontiguousarray(content).data))


def write_shard(
    output: Path,
    kind: str,
    clips: Sequence[str],
    rows: Iterable[tuple[int, Row]],
    settings: dict[str, Any],
    *,
    shape: tuple[int, ...] = (),
    dtype: Any = None,
) -> None:
    """Write a shard under a temporary name, read it back, compare checksums and digest, rename it.

    Parameters
    ----------
    output : path
        The shard.
    kind : str
        frames, audio or text.
    clips : sequence of str, length n
        Clip ids in row order.
    rows : iterable of (int, Row)
        Row number and content, in any order, each once; one at a time, so that memory does not grow with the shard.
    settings : mapping
        What the content was made with, stored as an attribute.
    shape, dtype
        Of one clip's array; not for text.

    Raises
    ------
    HcepError
        When a row is missing or repeated, or the file does not read back as written.
    """
    count = len(clips)
    digests, flags, reasons, words, kinds = ([""] * count for _ in range(5))
    sums = np.zeros(count, np.uint64)
    columns = {name: np.zeros(count, dtype_of) for name, dtype_of in NUMBERS[kind].items()}
    size = 0 if kind == "text" else count * math.prod(shape) * np.dtype(dtype).itemsize
    # chunks on page boundaries are copied faster
    aligned = {"alignment_threshold": PAGE, "alignment_interval": PAGE}
    with atomic_path(output) as temporary:
        with Sink(temporary, output, size) as sink, h5py.File(sink, "w", **aligned) as file:
            array = None
            if kind != "text":
                chunks = (1, *shape) if count else None
                array = file.create_dataset(ARRAYS[kind], (count, *shape), dtype, chunks=chunks, fillvalue=0)
            for number, row in rows:
                if digests[number]:
                    raise HcepError(f"clip {clips[number]!r} was written twice", file=output)
                for name, column in columns.items():
                    column[number] = getattr(row, name)
                value = row.value
                if value is None:
                    value = ("", "none") if array is None else np.zeros(shape, dtype)
                if array is None:
                    words[number], kinds[number] = value
                else:
                    _write_row(array, number, value, output)
                    sums[number] = row_sum(value)
                sink.check()
                flags[number] = ABSENT[kind] if row.value is None else row.flag
                digests[number], reasons[number] = _digest(value), row.reason
            if "" in digests:
                raise HcepError(f"clip {clips[digests.index('')]!r} was not written", file=output)
            text = h5py.string_dtype()
            strings = {"clip": list(clips), "flags": flags, "reason": reasons}
            if kind == "text":
                strings |= {"text": words, "text_kind": kinds}
            for name, values in strings.items():
                file.create_dataset(name, data=values, dtype=text, shape=(count,))
            for name, column in columns.items():
                file.create_dataset(name, data=column)
            if array is not None:
                file.create_dataset(SUMS, data=sums)
            numbers = {name: column.tolist() for name, column in columns.items()}
            file.attrs["kind"] = kind
            file.attrs["settings"] = json.dumps(settings, sort_keys=True)
            file.attrs["sha256"] = _digest([kind, list(clips), digests, flags, reasons, numbers])
            seal_file(file, [ARRAYS[kind]] if array is not None else [])
        verify_shard(temporary, kind, named=output, written=digests)


def _write_row(array: h5py.Dataset, number: int, value: np.ndarray, output: Path) -> None:
    found, wanted = (value.dtype, value.shape), (array.dtype, array.shape[1:])
    if found != wanted:
        raise HcepError(f"row {number} is {found[0]} {found[1]}, not {wanted[0]} {wanted[1]}", file=output)
    # a chunk is one clip, uncompressed: the selection machinery would only copy it once more
    array.id.write_direct_chunk((number, *(0,) * value.ndim), np.ascontiguousarray(value))


def chunk_offsets(array: h5py.Dataset, path: Path) -> list[int]:
    """Where in the file each row's bytes start; a row that is not one uncompressed chunk is an HcepError."""
    offsets = [-1] * len(array)
    if len(array):
        if array.chunks != (1, *array.shape[1:]) or array.id.get_create_plist().get_nfilters():
            raise HcepError("does not hold one plain chunk per clip", file=path, remedy=remake(path))

        def note(chunk: Any) -> None:
            offsets[chunk.chunk_offset[0]] = chunk.byte_offset

        array.id.chunk_iter(note)
    if -1 in offsets:
        raise HcepError(f"lacks the content of row {offsets.index(-1)}", file=path, remedy=remake(path))
    return offsets


def check_shard(file: h5py.File, path: Path, kind: str) -> None:
    """Compare all that a shard holds but its rows with its seal; the rows have sums of their own."""
    check_file(file, path, leave=[ARRAYS[kind]] if kind != "text" else [])


def check_row(content: np.ndarray, wanted: int, path: Path, clip: str) -> None:
    """Compare the bytes of a clip with their sum."""
    if row_sum(content) != wanted:
        cause = "the content of the clip does not match its digest"
        raise HcepError(cause, file=path, row=f"clip {clip!r}", remedy=remake(path))


def read_strings(file: h5py.File, name: str) -> list[str]:
    """A dataset of strings as a list."""
    return [str(value) for value in file[name].asstr()[:]]


def _rows(array: h5py.Dataset, named: Path) -> Iterator[np.ndarray]:
    """Content of every row, read from its place in the file into one array that the next row overwrites."""
    row = np.empty(array.shape[1:], array.dtype)
    # the file that HDF5 has open: another process may have put a new one under its name
    handle = array.file.id.get_vfd_handle()
    for offset in chunk_offsets(array, named):
        if os.preadv(handle, [row.data], offset) != row.nbytes:
            raise HcepError("ends before its last clip", file=named, remedy=remake(named))
        yield row


def verify_shard(path: Path, kind: str, *, named: Path | None = None, written: Sequence[str] | None = None) -> Shard:
    """Read a whole shard and compare it with its digest.

    Parameters
    ----------
    path : path
        The shard.
    kind : str
        Kind it must be of.
    named : path, optional
        Name to use in errors.
    written : sequence of str, optional
        Digest of every row by whoever has just written it. A row that still has its sum is not digested a second time,
        which costs much more.

    Raises
    ------
    HcepError
        When it is damaged, of another kind, or its content does not match its digest.
    """
    named = named or path
    with open_hdf5(path, named=named) as file:
        try:
            found = str(file.attrs["kind"])
            check_shard(file, named, found)
            clips, flags, reasons = (read_strings(file, name) for name in ("clip", "flags", "reason"))
            if kind == "text":
                pairs = zip(read_strings(file, "text"), read_strings(file, "text_kind"), strict=True)
                digests = [_digest(pair) for pair in pairs]
            else:
                rows = _rows(file[ARRAYS[kind]], named)
                digests = []
                for number, (row, wanted) in enumerate(zip(rows, file[SUMS][:].tolist(), strict=True)):
                    check_row(row, wanted, named, clips[number])
                    digests.append(_digest(row) if written is None else written[number])
            numbers = {name: file[name][:].tolist() for name in NUMBERS[kind]}
            stored, settings = str(file.attrs["sha256"]), json.loads(file.attrs["settings"])
        except (KeyError, OSError, ValueError) as error:
            raise HcepError(f"is not a whole {kind} shard ({error})", file=named, remedy=remake(named)) from error
    if found != kind:
        raise HcepError(f"is a shard of kind {found}, not {kind}", file=named, remedy=remake(named))
    if _digest([kind, clips, digests, flags, reasons, numbers]) != stored:
        raise HcepError("its content does not match its digest", file=named, remedy=remake(named))
    return Shard(named, kind, clips, flags, reasons, numbers, stored, settings)
