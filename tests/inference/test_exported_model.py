"""An exported model gives the run's own scores, and nothing but what was exported is ever loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from reseal import reseal
from sample_model import LABELS, METHODS, make_cache, of_test

import hcep
from hcep.encoders.info import declare_encoder
from hcep.errors import HcepError
from hcep.evaluation.scores import read_scores
from hcep.evaluation.thresholds import choose_thresholds
from hcep.files import sha256_file
from hcep.inference.export import export
from hcep.inference.folder import DESCRIPTION, SCORES, STATE, SUMS

ELSEWHERE = """
import sys
sys.modules["snakemake"] = None
import hcep
assert "torch" not in sys.modules and "numpy" not in sys.modules
answer = hcep.load(sys.argv[1]).predict(sys.argv[2], text=sys.argv[3])
print(repr(answer.score))
"""


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    """A model that a test may change."""
    return Path(shutil.copytree(trained.model("arpl_mm"), tmp_path / "model"))


def write_about(model: Path, **changes) -> None:
    """Change model.json and give it its digest, as a hostile author would."""
    path = model / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=1, ensure_ascii=False))
    sums = (line.split("  ") for line in (model / SUMS).read_text().splitlines())
    lines = [f"{sha256_file(path) if name == DESCRIPTION else digest}  {name}\n" for digest, name in sums]
    (model / SUMS).write_text("".join(lines))


@pytest.mark.parametrize("method", METHODS)
def test_a_test_clip_gets_the_stored_score_from_its_file(trained, method):
    model = hcep.load(trained.model(method), device="cpu")
    files, score, logits, prediction = of_test(trained, trained.run(method))
    found = list(model.predict_many(files))
    assert [one.score for one in found] == score.tolist()
    assert [one.nearest for one in found] == prediction.tolist()
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    assert np.allclose([list(one.probabilities.values()) for one in found], likely, rtol=1e-12)
    # whatever stands beside it
    alone = [next(model.predict_many([file])).score for file in files]
    assert alone == score.tolist()
    assert [one.score for one in model.predict_many(files[::-1])][::-1] == score.tolist()


def test_the_threshold_is_the_one_of_the_runs_own_table(trained):
    model = hcep.load(trained.model("distance_mm"), device="cpu")
    scores = read_scores(trained.run("distance_mm") / "scores.h5", features=False)
    train = scores.score[scores.part == "train"]
    assert (model.training_scores == train).all() and len(model.training_classes) == len(train)
    for share in (0.5, 0.95):
        assert model.threshold(share) == choose_thresholds(train, [share])[0]
    files, score, _, _ = of_test(trained, trained.run("distance_mm"))
    for share in (0.5, 1.0):
        found = list(model.predict_many(files, acceptance=share))
        assert [one.accepted for one in found] == (score >= model.threshold(share)).tolist()
        assert all(one.label == (one.nearest if one.accepted else "unknown") for one in found)
    with pytest.raises(HcepError, match="acceptance"):
        next(model.predict_many(files, acceptance=0))


def test_it_loads_without_snakemake_and_without_the_data(trained, tmp_path):
    model, clip = tmp_path / "model", tmp_path / "clip.mp4"
    shutil.copytree(trained.model("hcep"), model)
    shutil.copy(trained.media("anger_4"), clip)
    files, score, _, _ = of_test(trained, trained.run("hcep"))
    (own,) = (place for place, one in enumerate(files) if one.clip == "anger_4")
    command = [sys.executable, "-c", ELSEWHERE, str(model), str(clip), files[own].text]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == score[own]


def test_the_card_says_what_the_run_measured(trained):
    folder, run = trained.model("hcep"), trained.run("hcep")
    text = (folder / "README.md").read_text()
    block, metrics = yaml.safe_load(text.split("---\n")[1]), json.loads((run / "metrics.json").read_text())
    (result,) = block["model-index"][0]["results"]
    assert {one["type"]: one["value"] for one in result["metrics"]}["auroc"] == round(metrics["auroc"]["value"], 4)
    assert "stands in" in text and "Not tested" in text and "test groups: intervals" in text
    assert "anger, happiness" in text and "unknown classes fear, sadness" in text


def test_every_file_has_its_digest_and_none_is_a_pickle(trained):
    folder = trained.model("hcep")
    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, capture_output=True, text=True)
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {SUMS}
    assert done.returncode == 0 and {line.split(":")[0] for line in done.stdout.splitlines()} == there
    assert {Path(name).suffix for name in there} == {".json", ".safetensors", ".md"}


@pytest.mark.parametrize("name", [DESCRIPTION, STATE, SCORES, "encoder/clip.safetensors", "encoder/encoder.json"])
def test_a_damaged_file_is_named(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(HcepError, match=rf"{name}: is damaged.*Remedy"):
        hcep.load(copied)
    (copied / name).unlink()
    with pytest.raises(HcepError, match="is missing" if name != DESCRIPTION else "holds no model.json"):
        hcep.load(copied)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"format": 2}, "format 2, this version of hcep reads 1.*newer hcep"),
        ({"classes": ["a\x1b[31m", "b"]}, "classes.0: .*cannot be shown"),
        ({"classes": ["a", "a"]}, "listed twice"),
        ({"base": "os.system"}, "base"),
        ({"base": "hcep_distance"}, "settings"),
        ({"more": 1}, "more"),
    ],
)
def test_a_description_that_is_none_is_refused(copied, change, said):
    write_about(copied, **change)
    with pytest.raises(HcepError, match=said):
        hcep.load(copied)


def test_the_name_of_an_encoder_is_no_path_and_its_digests_are_compared(copied, trained, tmp_path, monkeypatch):
    about = json.loads((copied / DESCRIPTION).read_text())
    write_about(copied, encoder=about["encoder"] | {"included": False, "name": "../../encoder"})
    with pytest.raises(HcepError, match=r"encoder\.name"):
        hcep.load(copied)
    write_about(copied, encoder=about["encoder"] | {"included": False})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HcepError, match=r"not in the model and not here.*--encoder"):
        hcep.load(copied)
    encoder = trained.root / "resources/encoders/small"
    assert hcep.load(copied, encoder=encoder, device="cpu").about.encoder.name == "small"
    monkeypatch.chdir(trained.root)
    assert hcep.load(copied, device="cpu").about.encoder.name == "small"
    wrong = dict.fromkeys(about["encoder"]["made_by"], "0" * 64)
    write_about(copied, encoder=about["encoder"] | {"included": False, "made_by": wrong})
    with pytest.raises(HcepError, match="its digests differ"):
        hcep.load(copied, encoder=encoder)


def test_an_encoder_that_asks_for_other_models_is_refused(copied, tmp_path):
    info = json.loads((copied / "encoder/encoder.json").read_text())
    info["clip"]["text_cfg"]["hf_model_name"] = "somebody/model"
    other = Path(shutil.copytree(copied / "encoder", tmp_path / "other"))
    (other / "encoder.json").write_text(json.dumps(info))
    reseal(other / "encoder.json")
    with pytest.raises(HcepError, match="another library"):
        hcep.load(copied, encoder=other)


def test_what_cannot_be_exported_is_refused_and_nothing_is_lost(trained, tmp_path):
    run, index = trained.run("arpl_mm"), [trained.root / "resources/small/index.h5"]
    encoder, output = trained.root / "resources/encoders/small", tmp_path / "model"
    declare_encoder("mine", tmp_path / "mine/encoder.json", 8, False)
    with pytest.raises(HcepError, match="its features were imported"):
        export(run, "arpl_mm", index, tmp_path / "mine", output, with_encoder=False)
    with pytest.raises(HcepError, match="no run of the base method cpn_mm"):
        export(run, "cpn_mm", index, encoder, output, with_encoder=False)
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    with pytest.raises(HcepError, match="is no exported model"):
        export(run, "arpl_mm", index, encoder, output, with_encoder=False)
    assert (output / "thesis.txt").read_text() == "mine"
    (output / "thesis.txt").unlink()
    for _ in range(2):
        export(run, "arpl_mm", index, encoder, output, with_encoder=False)
    assert sorted(path.name for path in output.iterdir()) == sorted([DESCRIPTION, STATE, SCORES, SUMS, "README.md"])
    assert hcep.load(output, encoder=encoder, device="cpu").about.unknown_classes == [LABELS[1], LABELS[3]]


def test_a_run_over_two_datasets_is_exported_where_both_are_read_in_one_way(trained, tmp_path):
    encoder, own = trained.root / "resources/encoders/small", trained.root / "resources/small/index.h5"
    clips = [clip._replace(clip=f"other_{clip.clip}") for clip in trained.clips[:2]]
    for sampling in ("time", "index"):
        folder = tmp_path / sampling
        make_cache(trained.root / "raw", folder, clips, frame_sampling=sampling)
    run, output = trained.run("distance_mm"), tmp_path / "model"
    export(run, "distance_mm", [own, tmp_path / "time/index.h5"], encoder, output, with_encoder=True)
    files, score, _, _ = of_test(trained, run)
    assert [one.score for one in hcep.load(output, device="cpu").predict_many(files)] == score.tolist()
    with pytest.raises(HcepError, match="differ in frame_sampling: time and index"):
        export(run, "distance_mm", [own, tmp_path / "index/index.h5"], encoder, output, with_encoder=True)
    assert hcep.load(output, device="cpu").about.method == "distance_mm"
