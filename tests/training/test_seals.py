"""One changed value in any artefact is refused when it is read; `hcep verify` finds it and says how to mend it."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from small_cache import inputs_of, run

from hcep import registry
from hcep.config.methods import base_method
from hcep.datasets.manifest_file import read_manifest, write_manifest
from hcep.errors import HcepError
from hcep.evaluation.evaluate import evaluate
from hcep.evaluation.replicates import read_evaluated
from hcep.evaluation.scores import read_scores
from hcep.figures.run_files import read_run_files, read_thresholds
from hcep.files import read_table
from hcep.media.store import ClipStore
from hcep.protocol.make_split import read_split
from hcep.seal import write_sealed_json
from hcep.training import checkpoint
from hcep.training.score import score
from hcep.verbs.verify import verify


@pytest.fixture(scope="module")
def made_once(cache, tmp_path_factory):
    """The small cache with one run that was trained, scored and evaluated."""
    root = tmp_path_factory.mktemp("sealed") / "all"
    shutil.copytree(cache, root, copy_function=shutil.copy)
    run(root, root / "run", epochs=2)
    names = ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5")
    evaluate(root / "run/scores.h5", *(root / "run" / name for name in names), replicates=20)
    return root


@pytest.fixture
def made(made_once, tmp_path):
    root = tmp_path / "all"
    shutil.copytree(made_once, root)
    return root


def in_hdf5(name):
    """Change one value of a dataset; everything else of the file stays."""

    def change(path):
        with h5py.File(path, "r+") as file:
            if name.startswith("@"):
                file.attrs[name[1:]] = file.attrs[name[1:]] + "x"
            elif h5py.check_string_dtype(file[name].dtype):
                file[name][0] = "another"
            else:
                value = file[name][()]
                value.reshape(-1)[0] = not value.reshape(-1)[0] if value.dtype == bool else value.reshape(-1)[0] + 1
                file[name][...] = value

    return change


def in_json(path):
    content = json.loads(path.read_text())
    key = next(key for key, value in content.items() if isinstance(value, list | float | int))
    content[key] = content[key][1:] if isinstance(content[key], list) else content[key] + 1
    path.write_text(json.dumps(content))


def in_table(path):
    head, first, *more = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, first.replace(first[0], "9" if first[0] != "9" else "8", 1), *more]))


def in_weights(path):
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    next(iter(tensors.values())).reshape(-1)[0] += 1e-3
    save_file(tensors, path, metadata)


def score_again(root):
    inputs, method = inputs_of(root, "linear"), registry.load(base_method("linear").target)
    score(inputs, method, root / "run/model.safetensors", root / "new.h5", root / "new.json")


def read_all(root):
    store = ClipStore(root / "index.h5", root)
    clips = store.clips()
    for read in (store.frames, store.waveforms, store.samples, store.texts, store.text_kinds):
        read(clips)


SHARD = "000-of-002.h5"
FAULTS = {
    f"frames/{SHARD} frames": (in_hdf5("frames"), read_all),
    f"frames/{SHARD} flags": (in_hdf5("flags"), read_all),
    f"audio/{SHARD} waveform": (in_hdf5("waveform"), read_all),
    f"audio/{SHARD} samples": (in_hdf5("samples"), read_all),
    f"text/{SHARD} text": (in_hdf5("text"), read_all),
    "index.h5 row": (in_hdf5("row"), read_all),
    "index.h5 flags": (in_hdf5("flags"), read_all),
    f"features/{SHARD} audio": (in_hdf5("audio"), score_again),
    f"features/{SHARD} clip": (in_hdf5("clip"), score_again),
    "encoder/encoder.json ": (in_json, lambda root: inputs_of(root, "linear")),
    "encoder/audio.safetensors ": (in_weights, lambda root: inputs_of(root, "hcep")),
    "split.json ": (in_json, lambda root: read_split(root / "split.json")),
    "run/model.safetensors ": (in_weights, score_again),
    "run/history.csv ": (in_table, lambda root: read_table(root / "run/history.csv")),
    "run/scores.h5 score": (in_hdf5("score"), lambda root: read_scores(root / "run/scores.h5", features=False)),
    "run/scores.h5 known": (in_hdf5("known"), lambda root: read_scores(root / "run/scores.h5")),
    "run/scores.h5 features/fused": (in_hdf5("features/fused"), lambda root: read_scores(root / "run/scores.h5")),
    "run/scores.h5 @method": (in_hdf5("@method"), lambda root: read_scores(root / "run/scores.h5")),
    "run/metrics.json ": (in_json, lambda root: read_run_files([root / "run"])),
    "run/replicates.h5 replicates/auroc": (in_hdf5("replicates/auroc"), lambda root: read_evaluated(root / "run")),
    "run/thresholds.csv ": (
        in_table,
        lambda root: read_thresholds(read_run_files([root / "run"]), ["test_tpr"]),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_changed_value_is_refused_with_file_and_remedy_and_verify_finds_it(made, fault, capsys):
    name = fault.split(" ")[0]
    change, read = FAULTS[fault]
    read(made)
    change(made / name)
    with pytest.raises(HcepError) as refused:
        read(made)
    assert name.split("/")[-1] in str(refused.value.file) and refused.value.remedy
    with pytest.raises(HcepError, match="damaged"):
        verify([made])
    told = capsys.readouterr().out
    target = name.replace("audio.safetensors", "encoder.json") if name.startswith("encoder") else name
    assert f"  {made / name}: " in told
    assert f"rm {made / target}\n" in told and f"snakemake --cores 2 {made / target}" in told


def test_whole_files_of_two_runs_are_not_taken_for_one(made, tmp_path, capsys):
    verify([made])
    assert " 0 damaged" in capsys.readouterr().out
    other = tmp_path / "other"
    run(made, other, epochs=1, seed=1)
    shutil.copy(other / "model.safetensors", made / "run/model.safetensors")
    with pytest.raises(HcepError, match="damaged"):
        verify([made / "run"])
    told = capsys.readouterr().out
    assert "scores.h5: was made from another model.safetensors" in told
    # the model may be the stranger as well as the scores
    assert f"rm {made}/run/model.safetensors {made}/run/scores.h5\n" in told
    shutil.copy(other / "scores.h5", made / "run/scores.h5")
    with pytest.raises(HcepError, match="damaged"):
        verify([made / "run"])
    assert "metrics.json: was made from another scores.h5" in capsys.readouterr().out


def test_verify_counts_no_file_of_somebody_else_and_says_what_cannot_be_read(made, capsys):
    (made / "mine.h5").write_bytes(b"somebody's features")
    (made / "whisper").mkdir()
    for name in ("config.json", "model.safetensors"):
        (made / "whisper" / name).write_text("{}")
    # half a file that a killed job left
    (made / f"frames/.{SHARD}").with_suffix(".tmp.h5").write_bytes(b"half")
    verify([made])
    assert " 0 damaged" in capsys.readouterr().out
    with pytest.raises(HcepError, match="there is no such file or folder"):
        verify([made / "elsewhere"])


def test_what_hangs_on_a_damaged_file_is_named_below_the_working_folder(made, monkeypatch, capsys):
    for name in ("one", "two"):
        (made / "results" / name).mkdir(parents=True)
        (made / "results" / name / "summary.csv").write_text("task\n")
    shutil.copytree(made / "run", made / "results/one/my run")
    monkeypatch.chdir(made)
    for place, behind in (
        ("results/one/my run/metrics.json", "results/one/summary.csv"),
        ("index.h5", "results/one/summary.csv results/two/summary.csv"),
    ):
        kept = (made / place).read_bytes()
        (made / place).write_bytes(b"{}")
        with pytest.raises(HcepError, match=r"1 of .* files are damaged"):
            verify([made])
        named = f"'{place}'" if " " in place else place
        told = capsys.readouterr().out
        assert f"  rm {named}\n" in told and f"  snakemake --cores 2 {named} {behind}\n" in told
        (made / place).write_bytes(kept)


def test_a_damaged_seal_of_a_table_is_told_and_how_an_own_change_is_kept(made, capsys):
    table, seal = made / "run/thresholds.csv", made / "run/.thresholds.csv.sha256"
    seal.write_bytes(b"\xff" + seal.read_bytes()[1:])
    with pytest.raises(HcepError, match="damaged"):
        verify([made])
    with pytest.raises(HcepError, match=r"digest in \.thresholds.*if you changed it yourself, delete .*\.sha256"):
        read_table(table)
    seal.unlink()
    assert read_table(table)


def test_an_edited_manifest_is_refused(made, tmp_path):
    clips = read_manifest(made / "manifest.tsv")
    write_manifest(tmp_path / "manifest.tsv", clips)
    assert read_manifest(tmp_path / "manifest.tsv") == clips
    in_table(tmp_path / "manifest.tsv")
    with pytest.raises(HcepError, match=r"manifest\.tsv: its content does not match its digest"):
        read_manifest(tmp_path / "manifest.tsv")


def test_a_model_of_another_split_is_not_scored(made):
    content = json.loads((made / "split.json").read_text())
    content.pop("seal")
    content["train"] = content["train"][1:]
    write_sealed_json(made / "split.json", content)
    with pytest.raises(HcepError, match="another content of split"):
        score_again(made)


def test_a_damaged_resume_state_is_told_and_training_begins_anew(tmp_path, capsys):
    path = tmp_path / "state.pt"
    checkpoint.save_state(path, {"epochs_done": 3})
    assert checkpoint.read_state(path) == {"epochs_done": 3}
    whole = path.read_bytes()
    for place in (0, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert checkpoint.read_state(path) is None
    path.write_bytes(whole[: len(whole) // 2])
    assert checkpoint.read_state(path) is None
    assert capsys.readouterr().err.count("does not match its digest") == 5


def test_a_flipped_bit_of_a_shard_is_an_error_or_changes_nothing(made):
    """A flipped bit is an error, or in a part of the file that HDF5 itself does not use."""
    path = made / f"audio/{SHARD}"
    store = ClipStore(made / "index.h5", made)
    clips = store.clips(SHARD.removesuffix(".h5"))
    wanted = store.waveforms(clips), store.samples(clips)
    content = path.read_bytes()
    random, caught = np.random.default_rng(0), 0
    # half of the places anywhere, half among the names and numbers before the sound
    for place in (*random.integers(0, len(content), 200), *random.integers(0, 6000, 200)):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        fresh = ClipStore(made / "index.h5", made)
        try:
            found = fresh.waveforms(clips), fresh.samples(clips)
        except HcepError:
            caught += 1
        else:
            assert all(np.array_equal(*pair) for pair in zip(found, wanted, strict=True))
    assert caught > 100
