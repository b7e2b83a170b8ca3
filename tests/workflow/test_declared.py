"""Every job reads its declared inputs and nothing else: each runs in a folder that holds copies of these alone.

That is what makes the workflow run where jobs share no folder (docs/kubernetes.md). Snakemake itself lays the folders
out (`shadow`). Only what lists a release is left out: releases lie on a folder that every machine has.
"""

from __future__ import annotations

import pytest
from workspace import METHODS, RUN, differing

pytestmark = pytest.mark.slow

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


def test_each_job_runs_on_its_declared_inputs_alone(fresh, finished_once):
    fresh.append("Snakefile", ALONE)
    fresh.snakemake("all", *OTHERS, config=CONFIG)
    other = differing(fresh.root, finished_once)
    assert [name for name in other if fresh.path(name).exists() and (finished_once / name).exists()] == []
