"""Read clips from a dataset's shards."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from hcep.errors import HcepError
from hcep.files import digest, remake
from hcep.media.shards import ARRAYS, SUMS, check_row, check_shard, chunk_offsets, read_strings
from hcep.seal import check_file, open_hdf5


class MappedArray(NamedTuple):
    """The bytes of a shard, where each row starts in them, its sum, whether it was compared, and a row's form."""

    path: Path
    content: np.ndarray
    offsets: list[int]
    sums: list[int]
    checked: bytearray
    shape: tuple[int, ...]
    dtype: np.dtype
    width: int


class Store:
    """What can be read of clips, in the order asked for.

    Attributes
    ----------
    digest : str
        Digest of the index, or of all indexes together: of every clip's place and every shard's content.
    digests : list of str
        Digest of each index.
    faces : str
        What the frames were taken from, ``none`` (whole pictures), ``release`` or ``boxes``, joined by ``;`` where
        datasets differ; '' where all are whole pictures.
    """

    digest: str
    digests: list[str]
    faces: str

    def frames(self, clips: Sequence[str]) -> np.ndarray:
        """Frames of clips: uint8 (n, F, S, S, 3), RGB; zeros where there is no video."""
        return self._read("frames", clips)

    def waveforms(self, clips: Sequence[str]) -> np.ndarray:
        """Sound of clips: int16 (n, A), 16 kHz; zeros where there is none."""
        return self._read("audio", clips)

    def samples(self, clips: Sequence[str]) -> np.ndarray:
        """How many samples of each clip's waveform are its own, int64 (n,); those behind them are padding."""
        return np.array(self._column("audio", "samples", clips), np.int64)

    def texts(self, clips: Sequence[str]) -> list[str]:
        """Words of clips; '' where there are none."""
        return self._column("text", "text", clips)

    def text_kinds(self, clips: Sequence[str]) -> list[str]:
        """Where the words come from: caption, transcript, asr or none."""
        return self._column("text", "text_kind", clips)

    def flags(self, clips: Sequence[str]) -> list[str]:
        """Flags of clips, joined by ';': no_audio, no_video, no_text for a missing modality, and silent_audio."""
        raise NotImplementedError

    def _read(self, kind: str, clips: Sequence[str]) -> np.ndarray:
        raise NotImplementedError

    def _column(self, kind: str, column: str, clips: Sequence[str]) -> list[Any]:
        """Text or number that the shards of a kind hold of each clip."""
        raise NotImplementedError


class ClipStore(Store):
    """Read-only access to the clips of one dataset.

    Shards are opened on first use. What stays is a read-only memory map per shard, since a clip is one uncompressed
    chunk at a known place; no HDF5 handle is kept, so that a store may be forked and pickled.

    Parameters
    ----------
    index : path
        index.h5.
    folder : path
        Folder with frames/, audio/ and text/.
    """

    def __init__(self, index: Path, folder: Path) -> None:
        self.index, self.folder = Path(index), Path(folder)
        with open_hdf5(self.index) as file:
            check_file(file, self.index)
            try:
                names, shards, flags = (read_strings(file, name) for name in ("clip", "shard", "flags"))
                rows = file["row"][:].tolist()
                self._sums: dict[str, dict[str, str]] = json.loads(file.attrs["shards"])
                self.digest = str(file.attrs["digest"])
                self.faces = str(json.loads(file.attrs["settings"])["frames"].get("faces", ""))
            except (KeyError, OSError, ValueError) as error:
                cause = f"is not a whole index ({error})"
                raise HcepError(cause, file=self.index, remedy=remake(self.index)) from error
        self.digests = [self.digest]
        self._place = dict(zip(names, zip(shards, rows, strict=True), strict=True))
        self._flags = dict(zip(names, flags, strict=True))
        self._arrays: dict[tuple[str, str], MappedArray] = {}
        self._columns: dict[tuple[str, str], list[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_arrays": {}, "_columns": {}}

    def clips(self, shard: str | None = None) -> list[str]:
        """Clip ids in manifest order: all, or those of one shard; of a shard that the cache has not, an HcepError."""
        if shard is not None and shard not in self._sums["frames"]:
            known = ", ".join(sorted(self._sums["frames"]))
            raise HcepError(f"the cache has no shard {shard}", file=self.index, remedy=f"use one of {known}")
        return [name for name, place in self._place.items() if shard is None or place[0] == shard]

    def flags(self, clips: Sequence[str]) -> list[str]:
        self._places(clips)
        return [self._flags[name] for name in clips]

    def _places(self, clips: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
        """Shard -> (row in it, position in the result), in order of rows, so that a shard is read front to back."""
        places: dict[str, list[tuple[int, int]]] = {}
        for position, name in enumerate(clips):
            if name not in self._place:
                raise HcepError(f"clip {name!r} is not in the index", file=self.index, remedy="rebuild the index")
            shard, row = self._place[name]
            places.setdefault(shard, []).append((row, position))
        return {shard: sorted(places[shard]) for shard in sorted(places)}

    @contextmanager
    def _open(self, kind: str, name: str) -> Iterator[tuple[Path, h5py.File]]:
        """Open a shard, refusing one that is not the one that was indexed."""
        path = self.folder / kind / f"{name}.h5"
        with open_hdf5(path) as file:
            if file.attrs.get("sha256") != self._sums[kind].get(name):
                raise HcepError("is not the shard that was indexed", file=path, remedy="run index_cache again")
            check_shard(file, path, kind)
            yield path, file

    def _mapped(self, kind: str, name: str) -> MappedArray:
        if (kind, name) not in self._arrays:
            with self._open(kind, name) as (path, file):
                array = file[ARRAYS[kind]]
                offsets, shape, dtype = chunk_offsets(array, path), array.shape[1:], array.dtype
                sums = file[SUMS][:].tolist()
                # the file that HDF5 has open: another process may have put a new one under its name
                content = np.frombuffer(mmap.mmap(file.id.get_vfd_handle(), 0, access=mmap.ACCESS_READ), np.uint8)
            width = math.prod(shape) * dtype.itemsize
            if offsets and max(offsets) + width > len(content):
                raise HcepError("ends before its last clip", file=path, remedy=remake(path))
            self._arrays[kind, name] = MappedArray(
                path, content, offsets, sums, bytearray(len(sums)), shape, dtype, width
            )
        return self._arrays[kind, name]

    def _read(self, kind: str, clips: Sequence[str]) -> np.ndarray:
        places = self._places(clips)
        # any shard tells the shape, an empty one too
        first = self._mapped(kind, next(iter(places or self._sums[kind])))
        output = np.empty((len(clips), *first.shape), first.dtype)
        flat = output.reshape(len(clips), math.prod(first.shape)).view(np.uint8)
        for name, pairs in places.items():
            mapped = self._mapped(kind, name)
            for row, position in pairs:
                start = mapped.offsets[row]
                source = mapped.content[start : start + mapped.width]
                if not mapped.checked[row]:
                    # the sum first: the copy then finds the bytes in the processor's cache
                    check_row(source, mapped.sums[row], mapped.path, clips[position])
                    mapped.checked[row] = True
                flat[position] = source
        return output

    def _column(self, kind: str, column: str, clips: Sequence[str]) -> list[Any]:
        output: list[Any] = [None] * len(clips)
        for name, pairs in self._places(clips).items():
            if (name, column) not in self._columns:
                with self._open(kind, name) as (path, file):
                    if column not in file:
                        raise HcepError(f"lacks the column {column}", file=path, remedy=remake(path))
                    values = read_strings(file, column) if kind == "text" else file[column][:].tolist()
                self._columns[name, column] = values
            for row, position in pairs:
                output[position] = self._columns[name, column][row]
        return output


class JoinedStore(Store):
    """The clips of several datasets, which must all have been decoded to one size and length.

    Parameters
    ----------
    stores : sequence of ClipStore
        Clip ids must not repeat over them.
    """

    def __init__(self, stores: Sequence[ClipStore]) -> None:
        self.stores = list(stores)
        self.digests = [store.digest for store in self.stores]
        self.digest = digest(self.digests)
        sources = sorted({store.faces or "none" for store in self.stores})
        self.faces = "" if sources == ["none"] else ";".join(sources)
        self._home: dict[str, int] = {}
        for number, store in enumerate(self.stores):
            for clip in store.clips():
                if clip in self._home:
                    cause = f"clip {clip!r} is in {self.stores[self._home[clip]].index} too"
                    remedy = "clip ids must be unique over all datasets of a task"
                    raise HcepError(cause, file=store.index, remedy=remedy)
                self._home[clip] = number

    def flags(self, clips: Sequence[str]) -> list[str]:
        return self._gathered(clips, ClipStore.flags)

    def _parts(self, clips: Sequence[str]) -> list[tuple[ClipStore, list[int], list[str]]]:
        """Of each store the positions of its clips, and their ids."""
        positions: list[list[int]] = [[] for _ in self.stores]
        for position, clip in enumerate(clips):
            if clip not in self._home:
                named = " or ".join(str(store.index) for store in self.stores)
                raise HcepError(f"clip {clip!r} is not in the index", file=named, remedy="rebuild the index")
            positions[self._home[clip]].append(position)
        return [(store, own, [clips[i] for i in own]) for store, own in zip(self.stores, positions, strict=True)]

    def _gathered(self, clips: Sequence[str], read: Callable[[ClipStore, list[str]], list[Any]]) -> list[Any]:
        output: list[Any] = [None] * len(clips)
        for store, positions, names in self._parts(clips):
            for position, value in zip(positions, read(store, names), strict=True):
                output[position] = value
        return output

    def _column(self, kind: str, column: str, clips: Sequence[str]) -> list[Any]:
        return self._gathered(clips, lambda store, names: store._column(kind, column, names))

    def _read(self, kind: str, clips: Sequence[str]) -> np.ndarray:
        parts = [(store, positions, store._read(kind, names)) for store, positions, names in self._parts(clips)]
        shape, dtype = parts[0][2].shape[1:], parts[0][2].dtype
        output = np.empty((len(clips), *shape), dtype)
        for store, positions, values in parts:
            if values.shape[1:] != shape:
                cause = f"its clips are {values.shape[1:]}, those of {self.stores[0].index} {shape}"
                remedy = "give all datasets of a task the same frames, size and samples"
                raise HcepError(cause, file=store.index, remedy=remedy)
            output[positions] = values
        return output


def open_stores(indexes: Sequence[Path]) -> Store:
    """The clips behind one or several ``index.h5``, the shards beside each."""
    stores = [ClipStore(index, Path(index).parent) for index in indexes]
    return stores[0] if len(stores) == 1 else JoinedStore(stores)
