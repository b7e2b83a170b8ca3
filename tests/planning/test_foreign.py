"""Files of a cache are compared with what Snakemake takes them to be made with: its record, or the configuration."""

from __future__ import annotations

import json

import h5py
import pytest

from hcep.config.entries import Dataset
from hcep.errors import HcepError
from hcep.planning.foreign import check_shard_count, check_shard_settings

ENTRY = Dataset(adapter="manifest", root="data", text="asr", asr_model="models/whisper-tiny.en")
STORED = {
    "frames": {"frames": ENTRY.frames, "size": ENTRY.size, "frame_sampling": ENTRY.frame_sampling, "ffmpeg": "n9"},
    "audio": {"samples": ENTRY.samples, "window": ENTRY.audio_window, "rate": 16000},
    "text": {"source": "asr", "model": "whisper-tiny.en"},
}
OTHERS = [
    ("frames", "frames", "frames", 4),
    ("frames", "size", "size", 336),
    ("frames", "frame_sampling", "frame_sampling", "index"),
    ("audio", "samples", "samples", 400),
    ("audio", "window", "audio_window", "start"),
    ("text", "source", "text", "none"),
    ("text", "model", "asr_model", "whisper-large"),
]


@pytest.fixture
def write(tmp_path):
    """Write a file with these attributes, as JSON."""

    def make(**attributes):
        path = tmp_path / "resources/mine/frames/000-of-002.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            for name, value in attributes.items():
                file.attrs[name] = json.dumps(value)
        return path

    return make


def record(**settings):
    """Parameters as Snakemake keeps them."""
    return [repr("190a18723af3f8e8"), repr("resources/mine/manifest.tsv"), repr(json.dumps(settings)), "1639116965"]


@pytest.mark.parametrize("kind", STORED)
def test_the_same_settings_pass_with_and_without_a_record(write, kind):
    path = write(settings=STORED[kind])
    check_shard_settings(path, kind, ENTRY, None)
    check_shard_settings(path, kind, ENTRY, record(**ENTRY.model_dump(mode="json")))


@pytest.mark.parametrize(("kind", "stored", "name", "value"), OTHERS)
def test_each_other_setting_is_refused_where_there_is_no_record(write, kind, stored, name, value):
    path = write(settings=STORED[kind] | {stored: value})
    with pytest.raises(HcepError) as found:
        check_shard_settings(path, kind, ENTRY, None)
    assert found.value.file == path and "this configuration's" in found.value.cause
    assert f"{name} {value!r} there, {getattr(ENTRY, name)!r} here" in found.value.cause
    assert "dataset entry" in found.value.remedy


def test_a_record_counts_in_place_of_the_configuration(write):
    # another setting in the configuration makes the stage again, so the file of this folder is none to refuse
    own = write(settings=STORED["frames"] | {"frames": 4})
    check_shard_settings(own, "frames", ENTRY, record(frames=4, size=ENTRY.size))
    # the record is of another file, in whose place this one has come
    with pytest.raises(HcepError, match="record of this folder says: frames 4 there, 8 here") as found:
        check_shard_settings(own, "frames", ENTRY, record(frames=8, size=ENTRY.size))
    assert f"snakemake --cleanup-metadata {own.parents[1]}/*.h5 {own.parents[1]}/*/*.h5" in found.value.remedy


def test_a_file_of_before_and_one_that_cannot_be_read_are_left_to_the_jobs(write):
    check_shard_settings(write(), "frames", ENTRY, None)
    path = write(settings=STORED["frames"] | {"frames": 4})
    path.write_bytes(path.read_bytes()[:100])
    check_shard_settings(path, "frames", ENTRY, None)


def test_another_number_of_shards_is_refused(write):
    names = {f"{number:03d}-of-{ENTRY.shards:03d}": "digest" for number in range(ENTRY.shards)}
    check_shard_count(write(shards={"frames": names, "text": names}), ENTRY)
    check_shard_count(write(), ENTRY)
    with pytest.raises(HcepError, match=f"shards 1 there, {ENTRY.shards} here"):
        check_shard_count(write(shards={"frames": {"000-of-001": "digest"}}), ENTRY)
