"""Figures of single clips ask for one run a method, and for the media of the clips where they show them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from hcep import registry
from hcep.config.whole import Config
from hcep.planning.clips import ClipPlan
from hcep.planning.engine import Engine
from hcep.planning.runs import RunPlan

ROOT = Path(__file__).parents[2]
RUNS = [f"results/demo/{method}/k4u6/split1/seed0" for method in ("hcep", "arpl_mm")]


@pytest.fixture
def plan() -> RunPlan:
    """The demo with the most open level first, so that it is not found by its place."""
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    values["datasets"]["second"] = values["datasets"]["demo"] | {"shards": 1}
    task = values["task_definitions"]["demo"]
    task |= {
        "dataset": ["demo", "second"],
        "openness": ["k4u6", "k8u2"],
        "methods": ["hcep", "arpl_mm"],
        "seeds": [0, 1],
    }
    values["tasks"] = ["demo", "mafw"]
    engine = Engine(lambda dataset: f"resources/{dataset}/manifest.tsv", lambda path: ("ancient", path), False)
    return RunPlan(Config.read(values), ClipPlan(Config.read(values), engine))


@pytest.mark.parametrize(
    ("name", "files"), [("fig5", ("scores.h5", "thresholds.csv")), ("fig6", ("scores.h5",)), ("fig8", ("scores.h5",))]
)
def test_one_run_a_method_of_the_most_open_level(plan: RunPlan, name: str, files: tuple[str, ...]) -> None:
    asked = plan.figure_inputs(SimpleNamespace(task="demo", figure=name))
    assert [path for path in asked if str(path).startswith("results/")] == [
        f"{run}/{file}" for run in RUNS for file in files
    ]
    # a storage provider has files elsewhere; the folders that the command names follow
    placed = [path if isinstance(path, tuple) else f"copies/{path}" for path in asked]
    sources = [
        path.removeprefix("copies/") for path in plan.figure_sources(SimpleNamespace(task="demo", figure=name), placed)
    ]
    indexes = ["resources/demo/index.h5", "resources/second/index.h5"]
    assert sources == (RUNS + indexes if name == "fig5" else RUNS)
    shards = [
        ("ancient", f"resources/{dataset}/{kind}/{shard}.h5")
        for dataset, shards in (("demo", ("000-of-002", "001-of-002")), ("second", ("000-of-001",)))
        for kind in ("frames", "audio", "text")
        for shard in shards
    ]
    assert [path for path in asked if not str(path).startswith("results/")] == (
        indexes + shards if name == "fig5" else []
    )


def test_the_page_of_rejected_clips_shows_the_same_runs(plan: RunPlan) -> None:
    task = SimpleNamespace(task="demo")
    assert plan.one_split(task) == RUNS
    names = ("unknowns.csv", "scores.h5")
    assert plan.of_one_split(*names)(task) == [f"{run}/{name}" for run in RUNS for name in names]
    asked = plan.all_targets(SimpleNamespace())
    assert not [path for path in asked if "unknowns" in path]
    assert json.loads(plan.unknowns_settings(task)) == {
        "replicates": 2000,
        "confidence": 0.95,
        "seed": 0,
        "acceptance": 0.95,
        "most_clusters": 10,
        "exemplars": 3,
    }


def test_figures_of_all_runs_are_as_before(plan: RunPlan) -> None:
    task = SimpleNamespace(task="demo", figure="fig7")
    asked = plan.figure_inputs(task)
    runs = 2 * 2 * len(plan.task(task).splits) * 2
    files = len(registry.FIGURES["fig7"].reads)
    assert len(asked) == runs * files and plan.figure_sources(task, asked) == plan.folders(task)


def test_none_is_drawn_by_default(plan: RunPlan) -> None:
    asked = plan.all_targets(SimpleNamespace())
    for name in ("fig5", "fig6", "fig8"):
        assert not registry.FIGURES[name].by_default
        assert not [path for path in asked if f"figures/{name}." in path]
