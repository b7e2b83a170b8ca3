"""Several datasets behind the calls of one store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.errors import HcepError
from hcep.media.index import index_cache
from hcep.media.shards import Row, shard_names, shard_of, write_shard
from hcep.media.store import ClipStore, JoinedStore, open_stores


def make_cache(folder: Path, names: list[str], value: int, side: int = 4) -> Path:
    """A dataset whose frames and samples are `value` + position of the clip; its words are the clip's name."""
    clips = [
        Clip(
            name,
            folder.name,
            f"{name}.mp4",
            f"{name}.mp4",
            None,
            None,
            name,
            "caption",
            "en",
            "x",
            "x",
            name,
            "",
            "",
            "",
        )
        for name in names
    ]
    write_manifest(folder / "manifest.tsv", clips)
    shards: dict[str, list[Path]] = {"frames": [], "audio": [], "text": []}
    for shard in shard_names(2):
        own = [clip for clip in clips if shard_of(clip, 2) == shard]
        numbers = [value + names.index(clip.clip) for clip in own]
        frames = [Row(np.full((2, side, side, 3), number, np.uint8)) for number in numbers]
        sound = [Row(np.full(6, number, np.int16)) for number in numbers]
        words = [Row((clip.text, "caption")) for clip in own]
        for kind, rows, shape, dtype in (
            ("frames", frames, (2, side, side, 3), np.uint8),
            ("audio", sound, (6,), np.int16),
            ("text", words, (), None),
        ):
            path = folder / kind / f"{shard}.h5"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_shard(path, kind, [clip.clip for clip in own], enumerate(rows), {}, shape=shape, dtype=dtype)
            shards[kind].append(path)
    index_cache(folder / "manifest.tsv", shards, folder / "index.h5", folder / "qc.tsv")
    return folder / "index.h5"


@pytest.fixture
def joined(tmp_path) -> JoinedStore:
    one = make_cache(tmp_path / "one", ["a", "b", "c"], 10)
    two = make_cache(tmp_path / "two", ["d", "e"], 100)
    store = open_stores([one, two])
    assert isinstance(store, JoinedStore) and isinstance(open_stores([one]), ClipStore)
    return store


def test_clips_come_in_the_order_asked_for_whatever_their_dataset(joined):
    wanted = ["e", "a", "d", "c", "a"]
    numbers = [101, 10, 100, 12, 10]
    assert joined.frames(wanted)[:, 0, 0, 0, 0].tolist() == numbers
    assert joined.waveforms(wanted)[:, 3].tolist() == numbers
    assert joined.texts(wanted) == wanted and joined.text_kinds(wanted) == ["caption"] * 5
    assert joined.flags(wanted) == [""] * 5
    # one dataset alone, and none
    assert joined.frames(["b"]).shape == (1, 2, 4, 4, 3) and joined.frames([]).shape == (0, 2, 4, 4, 3)


def test_an_unknown_clip_names_every_index(joined):
    with pytest.raises(HcepError, match=r"one/index.h5 or .*two/index.h5: clip 'f' is not in the index"):
        joined.texts(["a", "f"])


def test_repeated_ids_and_other_sizes_are_refused(tmp_path):
    one = make_cache(tmp_path / "one", ["a", "b"], 0)
    with pytest.raises(HcepError, match=r"two/index.h5: clip 'b' is in .*one/index.h5 too.*unique"):
        open_stores([one, make_cache(tmp_path / "two", ["b", "c"], 0)])
    larger = open_stores([one, make_cache(tmp_path / "three", ["c"], 0, side=6)])
    with pytest.raises(HcepError, match=r"three/index.h5: its clips are \(2, 6, 6, 3\), those of .* \(2, 4, 4, 3\)"):
        larger.frames(["a", "c"])


def test_the_digest_is_that_of_both_and_of_their_order(joined, tmp_path):
    one, two = tmp_path / "one/index.h5", tmp_path / "two/index.h5"
    assert joined.digests == [open_stores([one]).digest, open_stores([two]).digest]
    assert joined.digest == open_stores([one, two]).digest != open_stores([two, one]).digest
