"""The pages that show how something is done are done, block by block, as they stand there."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from sample_media import make_clip
from workspace import LABELS, METHODS, REPOSITORY, RUN, Workspace, runs_of

pytestmark = pytest.mark.slow


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in one language."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return [dedent(block) for block in re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)]


def type_in(workspace: Workspace, commands: Iterable[str]) -> str:
    """Run each block of commands in the folder of the workspace; returns all that they said."""
    said = ""
    for command in commands:
        done = workspace.run(["bash", "-e", "-c", command])
        assert done.returncode == 0, done.stdout
        said += done.stdout
    return said


def rows(path: Path) -> list[dict[str, str]]:
    """A table as mappings."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.fixture
def with_demo(fresh) -> Workspace:
    """The benchmark before its first run, with the encoders that come with the package."""
    weights = fresh.path("hcep/demo/weights")
    shutil.rmtree(weights, ignore_errors=True)
    weights.symlink_to(REPOSITORY / "hcep/demo/weights")
    return fresh


def test_the_change_of_the_quick_start_is_planned(with_demo):
    (content,) = blocks("quick_start.md", "yaml")
    with_demo.path("my.yaml").write_text(content)
    dry = [line for block in blocks("quick_start.md", "sh") for line in block.splitlines() if "snakemake -n" in line]
    said = type_in(with_demo, dry)
    assert len(dry) == 1 and "summary of demo" in said and "runs of linear_slow on demo" in said


def test_own_clips_from_the_table_to_the_summary(with_demo):
    ((table,), (config,), (expected,)) = (blocks("own_data.md", name) for name in ("tsv", "yaml", "text"))
    mine = with_demo.path("data/mine")
    for name in sorted(set(re.findall(r"video/\S+\.mp4", table))):
        seconds = 6.5 if "interview" in name else 1.0
        make_clip(mine / name, seconds=seconds, step=3, audio="angry" not in name)
    (mine / "clips.tsv").write_text(table)
    with_demo.path("my.yaml").write_text(config)
    said = type_in(with_demo, blocks("own_data.md", "sh"))
    assert "clips per label and fold" in said and with_demo.path("config/splits/mine.yaml").is_file()
    qc = {row["clip"]: row["reason"] for row in rows(with_demo.path("resources/mine/qc.tsv"))}
    for line in expected.splitlines():
        clip, _, reason = line.partition(": ")
        assert reason in qc[clip]
    found = rows(with_demo.path("results/mine/summary.csv"))
    assert {row["method"] for row in found} == set(yaml.safe_load(config)["task_definitions"]["mine"]["methods"])
    assert all("one test group: no interval" in row["note"] for row in found)


def test_own_clips_from_a_folder_to_the_summary(with_demo):
    for label in LABELS:
        for number, speaker in enumerate(("anna", "ben", "cleo", "dan")):
            place = with_demo.path(f"data/clips/{label}/{speaker}/01.mp4")
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(with_demo.path(f"data/tiny/{label}_{number}.mp4"), place)
    before = with_demo.dates("data/clips")
    said = type_in(with_demo, blocks("own_data.md", "bash"))
    (shown,) = blocks("own_data.md", "output")
    assert re.sub(r"--cores \d+", "--cores 2", said) == shown
    next_commands = said.rpartition("\nnext\n")[2].splitlines()
    assert len(next_commands) == 2 and "nothing is missing" in type_in(with_demo, next_commands)
    found = rows(with_demo.path("results/clips/summary.csv"))
    assert {(row["method"], row["openness"]) for row in found} >= {("linear_msp", "k3u1"), ("linear_msp", "k2u2")}
    assert with_demo.dates("data/clips") == before
    # the table can be corrected by hand: its clips are listed anew
    with_demo.edit("config/clips/clips.tsv", "fear_dan_01", "fear_dan_1")
    assert "list the clips of clips" in type_in(with_demo, [next_commands[1].replace("snakemake ", "snakemake -n ")])


def test_a_method_is_added(finished):
    (whole, declared, entry) = blocks("add_method.md", "python")
    finished.path("hcep/methods/nearest_mean.py").write_text(whole)
    table = "\nMETHODS: dict[str, type[Common]] = {\n"
    finished.edit("hcep/config/methods.py", table, f"\n{declared}\n{table}    {entry.strip()}\n")
    (config,) = map(yaml.safe_load, blocks("add_method.md", "yaml"))
    # the page has the demo's task; the benchmark's stands in
    added = config["task_definitions"]["demo"]["methods"][-1]
    change = {"methods": config["methods"], "task_definitions": {"tiny": {"methods": [*METHODS, added]}}}
    outcome = finished.snakemake("results/tiny/summary.csv", config=change)
    new = runs_of("nearest_mean")
    assert outcome.finished == sorted([*new, "summary of tiny"])
    methods = [row["method"] for row in rows(finished.path("results/tiny/summary.csv"))]
    assert methods.count("nearest_mean") == methods.count("hcep") > 0


def test_an_adapter_is_added(with_demo):
    (whole, entry) = blocks("add_dataset.md", "python")
    with_demo.path("hcep/datasets/folders.py").write_text(whole)
    first = '    "manifest": "hcep'
    with_demo.edit("hcep/registry.py", first, f"    {entry.strip()}\n{first}")
    for label in ("anger", "fear", "happiness"):
        for number, speaker in enumerate(("anna", "ben", "cleo")):
            place = with_demo.path(f"data/mine/{label}/{speaker}_{number}.mp4")
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(with_demo.path(f"data/tiny/{label}_{number}.mp4"), place)
    (config,) = blocks("add_dataset.md", "yaml")
    with_demo.path("my.yaml").write_text(config)
    type_in(with_demo, blocks("add_dataset.md", "sh"))
    clips = rows(with_demo.path("resources/mine/manifest.tsv"))
    assert len(clips) == 9 and {row["group"] for row in clips if row["fold"] == "test"} == {"ben"}
    assert {row["method"] for row in rows(with_demo.path("results/mine/summary.csv"))} == {"arpl_mm", "linear_msp"}


def test_a_verb_is_typed_by_hand(finished):
    (command,) = blocks("troubleshooting.md", "sh")[:1]
    type_in(finished, [command.replace("demo/hcep/k8u2/split1/seed0", f"tiny/hcep/{RUN}")])
    names = ("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5")
    assert all(finished.path(name).is_file() for name in names)


def test_a_run_answers_for_one_clip(finished):
    train, rest = blocks("predict.md", "sh")
    make_clip(finished.path("clip.mp4"), seconds=1.0, step=3)
    (finished.path("clips.tsv")).write_text(blocks("predict.md", "tsv")[0])
    # the page has the demo's task; the benchmark's stands in
    train = train.replace("demo/hcep/k8u2/split1/seed0", f"tiny/hcep/{RUN}")
    said = type_in(finished, [train.replace("metrics.json", "metrics.json --configfile tiny.yaml")])
    assert '"text": "I can not believe it"' in said and finished.path("model/encoder/clip.safetensors").is_file()
    lines = [json.loads(line) for line in type_in(finished, [rest]).splitlines()]
    assert [one["start"] for one in lines] == [0.0, 0.5, 0.2] and lines[2]["acceptance"] == 0.8
    first, second = rows(finished.path("answers.tsv"))
    assert (first["clip"], first["text"], second["flags"]) == ("opening", "I can not believe it", "no_text")
    (example,) = blocks("predict.md", "python")
    done = finished.run([sys.executable, "-c", example])
    assert done.returncode == 0 and " against " in done.stdout, done.stdout
    outcome = finished.snakemake(f"results/tiny/hcep/{RUN}/model/")
    assert outcome.finished == ["export hcep on tiny k2u2 split1 seed 0"]
    assert finished.path(f"results/tiny/hcep/{RUN}/model/SHA256SUMS").is_file()


def test_the_picture_of_the_rules_shows_the_rules(with_demo):
    said = type_in(with_demo, ["snakemake --rulegraph dot results/demo/summary.csv"])
    printed = set(re.findall(r'label *= *"(\w+)"', said))
    picture = (REPOSITORY / "docs/rules.svg").read_text(encoding="utf-8")
    drawn = set(re.findall(r"<text [^>]*>(\w+)</text>", picture))
    # wanted only once the manifest has listed the clips
    assert drawn - printed == {"fetch_encoders"} and printed <= drawn
