"""Features of a user's own encoder become the ordinary features of the workflow, and mistakes in them are named."""

from __future__ import annotations

import csv

import h5py
import numpy as np
import pytest
from rivals import FULL, build_on_features
from small import CLASSES, INFO, count_learnable, settings_for
from workspace import RUN

from hcep import registry
from hcep.config.methods import base_method
from hcep.encoders.info import declare_encoder, read_info
from hcep.errors import HcepError
from hcep.methods.method import Sizes
from hcep.training.complexity import Counted, complexity
from hcep.training.import_features import read_features

CLIPS = ["a1", "b2", "c3", "d4"]


def write_features(path, clips=CLIPS, encoder="imagebind", width=1024, **changes):
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=(len(clips), width)).astype(np.float32) for name in ("text", "vision", "audio")}
    with h5py.File(path, "w") as file:
        file.attrs["encoder"] = encoder
        file.create_dataset("clip", data=list(clips), dtype=h5py.string_dtype())
        for name, values in (columns | changes).items():
            if values is not None:
                file.create_dataset(name, data=values)
    return columns


def test_features_come_in_the_order_of_the_clips(tmp_path):
    columns = write_features(tmp_path / "f.h5")
    found = read_features(tmp_path / "f.h5", ["d4", "a1"], "imagebind", 1024)
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values[[3, 0]])


def spoilt(column, row):
    values = np.zeros((4, 1024), dtype=np.float32)
    values[row, 5] = np.nan
    return {column: values}


@pytest.mark.parametrize(
    ("wanted", "written", "message"),
    [
        (["a1", "e5", "f6"], {}, r"f\.h5, clip 'e5': 2 of 3 clips have no features\. Remedy: add a row for every clip"),
        (CLIPS, spoilt("vision", 2), r"f\.h5, clip 'c3': 1 clips have values in vision that are not finite\. Remedy:"),
        (CLIPS, {"clips": ["a1", "b2", "a1", "d4"]}, r"f\.h5, clip 'a1': is twice\. Remedy: keep one row"),
        (CLIPS, {"width": 768}, r"f\.h5, dataset text: is float32 \(4, 768\), not float32 \(4, 1024\)\. Remedy: see"),
        (CLIPS, {"text": np.zeros((4, 1024))}, r"dataset text: is float64 \(4, 1024\), not float32 \(4, 1024\)"),
        (CLIPS, {"audio": np.zeros((3, 1024), np.float32)}, r"dataset audio: is float32 \(3, 1024\), not"),
        (CLIPS, {"audio": None}, r"f\.h5: has no dataset audio\. Remedy: see docs"),
        (CLIPS, {"encoder": "languagebind"}, r"f\.h5, attribute encoder: is 'languagebind', not 'imagebind'"),
    ],
)
def test_mistakes_in_supplied_features_are_named(tmp_path, wanted, written, message):
    write_features(tmp_path / "f.h5", **written)
    with pytest.raises(HcepError, match=message):
        read_features(tmp_path / "f.h5", wanted, "imagebind", 1024)


def test_values_of_clips_that_are_not_wanted_do_no_harm(tmp_path):
    write_features(tmp_path / "f.h5", **spoilt("vision", 2))
    assert read_features(tmp_path / "f.h5", ["a1", "d4"], "imagebind", 1024)["vision"].shape == (2, 1024)


def test_files_that_are_no_features_are_named(tmp_path):
    with pytest.raises(HcepError, match=r"none\.h5: is missing\. Remedy: put it there or name it"):
        read_features(tmp_path / "none.h5", CLIPS, "imagebind", 1024)
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(HcepError, match=r"text\.h5: cannot be read as a features file"):
        read_features(tmp_path / "text.h5", CLIPS, "imagebind", 1024)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.attrs["encoder"] = "imagebind"
        for name in ("clip", "text", "vision", "audio"):
            file[name] = np.zeros((4, 1024), np.float32)
    with pytest.raises(HcepError, match=r"f\.h5, dataset clip: is not a list of UTF-8 strings"):
        read_features(tmp_path / "f.h5", CLIPS, "imagebind", 1024)


@pytest.mark.parametrize("known", [2, 4, 8])
@pytest.mark.parametrize(("width", "constant"), [(1024, 2_361_344), (768, 1_968_128)])
def test_parameter_counts_of_table_8(width, constant, known):
    cls = registry.load(base_method("arpl_mm").target)
    sizes = FULL._replace(text=width, vision=width, audio=width)
    counted = count_learnable(
        cls, [f"class {i}" for i in range(known)], sizes, None, settings_for("arpl_mm", head_dim=512)
    )
    assert counted == constant + 512 * known + 1


def test_every_method_on_the_head_takes_features_of_any_width():
    for base in ("arpl_mm", "linear", "cpn_mm", "cssr_mm"):
        method = build_on_features(base, CLASSES, Sizes(0, 0, 0, 24, 20, 16), head_dim=8)
        assert method.head.dim == 8 and method.head.fuse.in_features == 24
        assert build_on_features(base, CLASSES, Sizes(0, 0, 0, 24, 20, 16)).head.dim == 24


def test_complexity_counts_the_width_of_imported_features():
    cls = registry.load(base_method("arpl_mm").target)
    chosen = {"arpl_imagebind": Counted(cls, settings_for("arpl_mm", head_dim=512), "imagebind", 1024)}
    (row,) = complexity(INFO, 3, 4000, chosen, [8], None)
    assert row["learnable"] == 2_365_441 and row["encoder"] == "imagebind"
    assert row["frozen"] == row["frozen_m"] == row["gflop_per_clip"] == ""  # their encoder is not here


def test_a_declared_encoder_has_a_name_and_a_width(tmp_path):
    declare_encoder("mine", tmp_path / "encoder.json", 12, True)
    info = read_info(tmp_path)
    assert (info["name"], info["width"], info["stand_in"], info["source"]) == ("mine", 12, True, "import")
    declare_encoder("mine", tmp_path / "other.json", 13, True)
    with pytest.raises(HcepError, match="encoder mine has no width"):
        declare_encoder("mine", tmp_path / "none.json", 0, False)


@pytest.mark.slow
def test_a_method_runs_on_imported_features_beside_one_on_those_of_the_task(finished):
    """The workflow: any method on cached features, with an encoder of its own, and the file named or at its place."""
    clips = [row["clip"] for row in csv.DictReader(finished.path("data/tiny/clips.tsv").open(), delimiter="\t")]
    write_features(finished.path("resources/tiny/mine.h5"), clips, "mine", 12)
    encoders = {"mine": {"source": "import", "width": 12, "stand_in": True}}
    methods = {"linear_mine": {"base": "linear", "encoder": "mine"}, "lpl_mine": {"base": "lpl_mm", "encoder": "mine"}}
    task = {"methods": ["linear_msp", "linear_mine", "lpl_mine"]}
    config = {"encoders": encoders, "methods": methods, "task_definitions": {"tiny": task}}
    targets = ["results/tiny/summary.csv", "results/tiny/complexity.csv"]
    outcome = finished.snakemake(*targets, config=config)
    assert [job for job in outcome.begun if "mine" in job and "features" in job] == [
        "declare encoder mine, whose features are imported",
        *(f"features of mine for tiny, shard 00{i}-of-002" for i in (0, 1)),
    ]
    assert not any("linear_msp" in job for job in outcome.begun)
    with finished.path("results/tiny/complexity.csv").open(newline="") as handle:
        rows = {row["method"]: row for row in csv.DictReader(handle)}
    assert rows["linear_mine"]["encoder"] == "mine" and rows["linear_msp"]["encoder"] == "tiny"
    with h5py.File(finished.path(f"results/tiny/linear_mine/{RUN}/scores.h5")) as file:
        assert file["features/text"].shape[1] == 12 and bool(file.attrs["stand_in"])
    # a changed file is another encoder's features: what hangs on it is made again, and nothing else
    write_features(
        finished.path("resources/tiny/mine.h5"), clips, "mine", 12, text=np.ones((len(clips), 12), np.float32)
    )
    again = finished.snakemake(*targets, config=config)
    assert any("runs of linear_mine" in job for job in again.begun)
    assert not any("linear_msp" in job or "encode" in job for job in again.begun)
    finished.path("resources/tiny/mine.h5").unlink()
    moved = {"datasets": {"tiny": {"features_files": {"mine": "resources/none.h5"}}}}
    outcome = finished.snakemake(
        f"results/tiny/lpl_mine/{RUN}/scores.h5", "--forceall", config=config | moved, fails=True
    )
    assert "resources/none.h5: the features of mine are missing. Remedy: put it there or name it" in outcome.text
