"""Read clips from a dataset's shards."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hcep.errors import HcepError
from hcep.media.shards import ARRAYS, REMAKE, open_shard, read_strings


class ClipStore:
    """Read-only access to the clips of one dataset.

    Shards are opened on first use and stay open; in a forked or unpickled process they are opened anew, since HDF5
    handles survive neither.

    Parameters
    ----------
    index : path
        index.h5.
    folder : path
        Folder with frames/, audio/ and text/.

    Attributes
    ----------
    digest : str
        Digest of the index: of every clip's place and every shard's content.
    """

    def __init__(self, index: Path, folder: Path) -> None:
        self.index, self.folder = Path(index), Path(folder)
        with open_shard(self.index) as file:
            try:
                names, shards, flags = (read_strings(file, name) for name in ("clip", "shard", "flags"))
                rows = file["row"][:].tolist()
                self._sums: dict[str, dict[str, str]] = json.loads(file.attrs["shards"])
                self.digest = str(file.attrs["digest"])
            except (KeyError, OSError, ValueError) as error:
                raise HcepError(f"is not a whole index ({error})", file=self.index, remedy=REMAKE) from error
        self._place = dict(zip(names, zip(shards, rows, strict=True), strict=True))
        self._flags = dict(zip(names, flags, strict=True))
        self._open: dict[tuple[str, str], h5py.File] = {}
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}, "_process": -1}

    def close(self) -> None:
        """Close all open shards; they open again on the next read."""
        for file in self._open.values():
            file.close()
        self._open = {}

    def clips(self, shard: str | None = None) -> list[str]:
        """Clip ids in manifest order: all, or those of one shard."""
        return [name for name, place in self._place.items() if shard is None or place[0] == shard]

    def flags(self, clips: Sequence[str]) -> list[str]:
        """Missing modalities of clips, each a ';'-joined string of no_audio, no_video, no_text."""
        self._places(clips)
        return [self._flags[name] for name in clips]

    def frames(self, clips: Sequence[str]) -> np.ndarray:
        """Frames of clips: uint8 (n, F, S, S, 3), RGB; zeros where there is no video."""
        return self._arrays("frames", clips)

    def waveforms(self, clips: Sequence[str]) -> np.ndarray:
        """Sound of clips: int16 (n, A), 16 kHz; zeros where there is none."""
        return self._arrays("audio", clips)

    def texts(self, clips: Sequence[str]) -> list[str]:
        """Words of clips; '' where there are none."""
        return self._strings("text", clips)

    def text_kinds(self, clips: Sequence[str]) -> list[str]:
        """Where the words come from: caption, transcript, asr or none."""
        return self._strings("text_kind", clips)

    def _places(self, clips: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
        """Shard -> (row in it, position in the result), in order of rows, so that a shard is read front to back."""
        places: dict[str, list[tuple[int, int]]] = {}
        for position, name in enumerate(clips):
            if name not in self._place:
                raise HcepError(f"clip {name!r} is not in the index", file=self.index, remedy="rebuild the index")
            shard, row = self._place[name]
            places.setdefault(shard, []).append((row, position))
        return {shard: sorted(places[shard]) for shard in sorted(places)}

    def _shard(self, kind: str, name: str) -> h5py.File:
        if self._process != os.getpid():
            self._open, self._process = {}, os.getpid()
        if (kind, name) not in self._open:
            path = self.folder / kind / f"{name}.h5"
            file = open_shard(path)
            if file.attrs.get("sha256") != self._sums[kind].get(name):
                file.close()
                raise HcepError("is not the shard that was indexed", file=path, remedy="run index_cache again")
            self._open[kind, name] = file
        return self._open[kind, name]

    def _arrays(self, kind: str, clips: Sequence[str]) -> np.ndarray:
        places = self._places(clips)
        # any shard tells the shape, an empty one too
        first = self._shard(kind, next(iter(places or self._sums[kind])))[ARRAYS[kind]]
        output = np.empty((len(clips), *first.shape[1:]), first.dtype)
        zeros = (0,) * (first.ndim - 1)
        for name, pairs in places.items():
            chunks = self._shard(kind, name)[ARRAYS[kind]].id
            for row, position in pairs:
                # a chunk is one clip, uncompressed: its bytes go straight to their place
                chunks.read_direct_chunk((row, *zeros), out=output[position].reshape(-1).view(np.uint8))
        return output

    def _strings(self, dataset: str, clips: Sequence[str]) -> list[str]:
        output = [""] * len(clips)
        for name, pairs in self._places(clips).items():
            values = read_strings(self._shard("text", name), dataset)
            for row, position in pairs:
                output[position] = values[row]
        return output
