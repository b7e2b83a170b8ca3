"""Every method of the config trains and scores `demo_small` (60 clips, two epochs), with finite scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import shared_folder
from workspace import REPOSITORY, copy_workspace, locked

from hcep.cli import main
from hcep.config.methods import base_method
from hcep.config.whole import Config
from hcep.evaluation.scores import read_scores

pytestmark = pytest.mark.slow

CONFIG = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8"))
WHOLE = Config.read(CONFIG)
RUN = Path("results/demo_small/arpl_mm/k8u2/split1/seed0")


@pytest.fixture(scope="session")
def demo_small(tmp_path_factory, laid_out) -> Path:
    """The workflow's folder after its cache, features and one run; shared by all test processes, not to be changed."""
    shared = shared_folder(tmp_path_factory)
    with locked(shared / "demo_small.lock"):
        root = shared / "demo_small"
        if not (root / RUN / "metrics.json").exists():
            workspace = copy_workspace(laid_out, root)
            # the workspace's copy of the package leaves its data out
            for name in ("weights", "words"):
                shutil.copytree(REPOSITORY / "hcep/demo" / name, root / "hcep/demo" / name, dirs_exist_ok=True)
            workspace.snakemake(str(RUN / "metrics.json"), "results/demo_small/splits/k8u2/split1.json")
    return root


@pytest.mark.parametrize("method", sorted(CONFIG["methods"]))
def test_method_runs_with_finite_scores(method, demo_small, tmp_path, capfd):
    base = CONFIG["methods"][method]["base"]
    entry = base_method(base)
    if WHOLE.method(method).encoder:
        pytest.skip("needs a features file of the user's; tests/training/test_import_features.py makes one")
    twins = [name for name, row in WHOLE.methods.items() if name != method and row.base == base and not row.tune]
    if WHOLE.method(method).tune and any(WHOLE.method(method).changes() == WHOLE.method(n).changes() for n in twins):
        pytest.skip("is another row with a chosen rate; tests/training/test_runs.py tunes")
    settings = WHOLE.run_settings("demo_small", method)
    features = sorted(demo_small.glob("resources/demo_small/features/demo/*.h5")) if entry.inputs == "features" else []
    inputs = ["--base", base, "--split", demo_small / "results/demo_small/splits/k8u2/split1.json"]
    inputs += ["--index", demo_small / "resources/demo_small/index.h5", "--features", *features]
    inputs += ["--encoder", demo_small / "resources/encoders/demo"]
    model, scores = tmp_path / "model.safetensors", tmp_path / "scores.h5"
    train = ["--method", method, "--seed", 0, "--settings", json.dumps(settings), "--work", tmp_path / "work"]
    run("train", *inputs, *train, "--model", model, "--history", tmp_path / "history.csv", capfd=capfd)
    run("score", *inputs, "--model", model, "--output", scores, "--timing", tmp_path / "timing.json", capfd=capfd)
    found = read_scores(scores)
    assert np.isfinite(found.score).all() and np.isfinite(found.logits).all()
    assert found.logits.shape == (len(found.clip), 8) and set(found.part) == {"train", "test"}
    assert len(np.unique(found.score)) > len(found.score) / 2, "the score says the same of most clips"
    fitted = "epochs" not in entry.model_fields
    assert fitted or found.settings["epochs"] == (0 if method == "open_vclip_zs" else 2)


def run(verb: str, *arguments: object, capfd) -> None:
    """One command line in this process; what it said stands in the failure."""
    code = main([verb, *map(str, arguments)])
    assert code == 0, capfd.readouterr().err
