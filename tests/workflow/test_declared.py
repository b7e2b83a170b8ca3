"""Every job reads its declared inputs and nothing else: each runs in a folder that holds these alone.

That is what makes the workflow run where jobs share no folder (docs/kubernetes.md). Only what lists a release is left
out: releases lie on a folder that every machine has.
"""

from __future__ import annotations

import csv
import os
import shlex
from pathlib import Path

import pytest
from workspace import METHODS, RUN, Workspace, differing

from hcep.cli import main

ALONE = """
for each in workflow.rules:
    if not each.norun and each.name != "manifest":
        each.shadow_depth = "copy-minimal"
"""
TABLE = {
    "caption": "A table of costs.",
    "columns": {"k2u2": "tiny/k2u2"},
    "metrics": {"auroc": "AUROC", "inference_s": "Inference time (s)"},
    "costs": {"inference_s": "inference_s"},
    "rows": [{"name": method, "method": method} for method in METHODS[:2]],
}
CONFIG = {
    "tables": {"costs": TABLE},
    "robustness": {"white_noise_db": [10], "babble_db": [], "dropped_frames": [], "blur": [], "shift_ms": []},
}
OTHERS = [
    *("posthoc_tiny", "unknowns_tiny", "robustness_tiny", "costs"),
    *(f"results/tiny/figures/{name}.svg" for name in ("fig5", "fig6")),
    *(f"results/tiny/{method}/{RUN}/model" for method in METHODS[:2]),
]


def alike(folder: Path, wanted: Path) -> bool:
    """Whether two folders agree in the files that both have."""
    other = differing(folder, wanted)
    return not [name for name in other if (folder / name).exists() and (wanted / name).exists()]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_each_command_of_the_benchmark_runs_where_only_its_declared_inputs_are(finished_once, tmp_path, monkeypatch):
    said = Workspace(finished_once).snakemake("--detailed-summary").text
    rows = list(csv.DictReader((line for line in said.splitlines() if "\t" in line), delimiter="\t"))
    jobs = {row["shellcmd"]: row for row in rows if row["rule"] not in ("manifest", "fetch_encoders")}
    verbs = set()
    for number, (command, row) in enumerate(jobs.items()):
        place = tmp_path / str(number)
        for name in row["input-file(s)"].split(","):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(finished_once / name, place / name)
        for made in rows:
            if made["shellcmd"] == command:
                (place / made["output_file"]).parent.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(place)
        words = shlex.split(command.removeprefix("hcep ").partition(" 2> ")[0])
        assert main(words) == 0, command
        assert alike(place, finished_once), command
        verbs.add(words[0])
    assert {"check_tasks", "decode_frames", "words", "index_cache", "encode", "run", "aggregate", "figure"} < verbs


@pytest.mark.faults
def test_each_rule_runs_in_a_folder_that_snakemake_fills_with_its_declared_inputs(fresh, finished_once):
    fresh.append("Snakefile", ALONE)
    fresh.snakemake("all", *OTHERS, config=CONFIG)
    assert alike(fresh.root, finished_once)
