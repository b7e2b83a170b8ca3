"""HDF5 files from outside: nothing is read from other files, and no absurd claim is believed."""

from __future__ import annotations

import os

import h5py
import numpy as np
import psutil
import pytest

from hcep.datasets import foreign_hdf5
from hcep.datasets.csd import columns, read_csd
from hcep.errors import HcepError
from hcep.training.import_features import read_features

SECRET = 41.5


@pytest.fixture
def other(tmp_path):
    """Another file of this machine, with values that are nobody's business."""
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.full((3, 7), SECRET, np.float32)
        file["data/v/features"], file["data/v/intervals"] = np.full((3, 7), SECRET), np.zeros((3, 2))
    (tmp_path / "other.raw").write_bytes(np.full(21, SECRET, np.float32).tobytes())
    return path


def external_link(group, name, other):
    group[name] = h5py.ExternalLink(str(other), "x")


def soft_link_over_another_file(group, name, other):
    group.file["bridge"] = h5py.ExternalLink(str(other), "/")
    group[name] = h5py.SoftLink("/bridge/x")


def external_storage(group, name, other):
    group.create_dataset(name, (3, 7), np.float32, external=[(str(other.with_suffix(".raw")), 0, 84)])


def virtual(group, name, other):
    layout = h5py.VirtualLayout((3, 7), np.float32)
    layout[:] = h5py.VirtualSource(str(other), "x", (3, 7))
    group.create_virtual_dataset(name, layout)


def absurd(group, name, other):
    group.create_dataset(name, (10**9, 7), np.float32, chunks=(1, 7))


def objects(group, name, other):
    group.create_dataset(name, (3, 7), h5py.ref_dtype)


def ragged(group, name, other):
    group.create_dataset(name, (3,), h5py.vlen_dtype(np.float32))


BAD = {
    external_link: r"link '.*': is a link to another file\. Remedy: write a file that holds all values itself",
    soft_link_over_another_file: r"link 'bridge': is a link to another file",
    external_storage: r"dataset '.*(text|features)': takes its values from other files\. Remedy: write",
    virtual: r"dataset '.*(text|features)': takes its values from other files",
    absurd: r"dataset '.*(text|features)': claims \(1000000000, 7\) values of float32, more than a file",
    objects: r"dataset '.*features': holds object values, not numbers|dataset text: is object",
    ragged: r"dataset '.*features': holds object values, not numbers|dataset text: is object",
}


def csd(path, bad, other):
    with h5py.File(path, "w") as file:
        group = file.create_group("All Labels/data/v")
        bad(group, "features", other)
        group["intervals"] = np.zeros((3, 2))
    return path


def features(path, bad, other):
    # as many clips as the dataset claims, so that no other check comes first
    with h5py.File(path, "w") as file:
        file.attrs["encoder"] = "e"
        file.create_dataset("clip", data=["a", "b", "c"], dtype=h5py.string_dtype())
        bad(file, "text", other)
        file["vision"] = file["audio"] = np.zeros((3, 7), np.float32)
    return path


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
def test_a_computational_sequence_is_read_from_its_own_file_alone(tmp_path, other, bad, monkeypatch):
    path = csd(tmp_path / "labels.csd", bad, other)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("a value was read"))
    for read in (columns, read_csd):
        with pytest.raises(HcepError, match=rf"labels\.csd, {BAD[bad]}"):
            read(path)


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad is not absurd], ids=lambda bad: bad.__name__)
def test_supplied_features_are_read_from_their_own_file_alone(tmp_path, other, bad):
    path = features(tmp_path / "f.h5", bad, other)
    with pytest.raises(HcepError, match=rf"f\.h5, {BAD[bad]}"):
        read_features(path, ["a"], "e", 7)


def test_names_without_end_are_not_read(tmp_path, other):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.attrs["encoder"] = "e"
        file.create_dataset("clip", (10**11,), h5py.string_dtype(), chunks=(64,))
        for name in ("text", "vision", "audio"):
            file.create_dataset(name, (10**11, 7), np.float32, chunks=(1, 7))
    with pytest.raises(HcepError, match=r"dataset 'clip': claims \(100000000000,\) values of object, more than"):
        read_features(path, ["a"], "e", 7)


def test_a_link_inside_the_file_and_compressed_values_are_taken(tmp_path):
    values = np.arange(21, dtype=np.float32).reshape(3, 7)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.attrs["encoder"] = "e"
        file.create_dataset("clip", data=["a", "b", "c"], dtype=h5py.string_dtype())
        file.create_dataset("own/x", data=values, compression="gzip")
        file["text"] = file["vision"] = file["own/x"]
        file["audio"] = h5py.SoftLink("/own/x")
    found = read_features(tmp_path / "f.h5", ["c", "a"], "e", 7)
    assert all((values[[2, 0]] == column).all() for column in found.values())


def test_values_that_do_not_fit_into_memory_together_are_not_read(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.csd", "w") as file:
        for video in "vw":
            file[f"All Labels/data/{video}/features"] = np.zeros((3, 7))
            file[f"All Labels/data/{video}/intervals"] = np.zeros((3, 2))
    assert set(read_csd(tmp_path / "a.csd").data) == {"v", "w"}
    free = psutil.virtual_memory()._replace(available=300)
    monkeypatch.setattr(foreign_hdf5.psutil, "virtual_memory", lambda: free)
    with pytest.raises(HcepError, match=r"a\.csd, dataset 'All Labels/data/w/features': needs 3\.84e-07 GB"):
        read_csd(tmp_path / "a.csd")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_metadata_that_is_nested_without_end_is_named(tmp_path, text):
    with h5py.File(tmp_path / "a.csd", "w") as file:
        file.create_group("All Labels/data")
        file["All Labels/metadata/dimension names"] = text
    with pytest.raises(HcepError, match=r"a\.csd, dataset '/All Labels/metadata/dimension names': is JSON"):
        read_csd(tmp_path / "a.csd")


def test_parts_of_another_kind_are_no_crash(tmp_path):
    with h5py.File(tmp_path / "a.csd", "w") as file:
        file["All Labels/data"] = 1
    with pytest.raises(HcepError, match="holds no group with `data`"):
        read_csd(tmp_path / "a.csd")
    with h5py.File(tmp_path / "a.csd", "w") as file:
        file.create_group("All Labels/data/v/features")
        file["All Labels/data/v/intervals"] = np.zeros((3, 2))
    with pytest.raises(HcepError, match="video v: has no features with intervals"):
        read_csd(tmp_path / "a.csd")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "f.h5")
    with pytest.raises(HcepError, match=r"f\.h5: is no file"):
        read_features(tmp_path / "f.h5", ["a"], "e", 7)
