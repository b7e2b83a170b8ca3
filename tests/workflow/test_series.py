"""One job takes all runs of a method on cached features, and each comes out as if it ran alone."""

from __future__ import annotations

import numpy as np
import pytest
from workspace import CONFIG

from hcep.evaluation.scores import read_scores

pytestmark = pytest.mark.slow
MANY = {
    "task_definitions": {
        "many": {
            **CONFIG["task_definitions"]["tiny"],
            "series": True,
            "methods": ["arpl_mm", "linear_msp", "distance_mm"],
            "splits": ["split1", "split2"],
            "references": ["linear_msp"],
        }
    }
}
SERIES = [f"runs of {method} on many" for method in ("arpl_mm", "distance_mm", "linear_msp")]
RUN = "k2u2/split1/seed0"


def test_a_series_gives_what_single_runs_give(finished):
    outcome = finished.snakemake("results/many/summary.csv", config=MANY)
    assert [message for message in outcome.finished if message.startswith("run")] == SERIES
    for method in ("arpl_mm", "linear_msp"):
        runs = [finished.path(f"results/{task}/{method}/{RUN}") for task in ("tiny", "many")]
        alone, together = (read_scores(run / "scores.h5") for run in runs)
        assert np.array_equal(alone.logits, together.logits)
        assert np.array_equal(alone.score, together.score)
        assert len({finished_columns((run / "history.csv").read_bytes()) for run in runs}) == 1
    text = finished.path("results/many/comparisons.csv").read_text()
    assert "many,arpl_mm,linear_msp,k2u2,auroc" in text
    assert "many,linear_msp,arpl_mm" not in text
    assert finished.path(f"results/many/distance_mm/{RUN}/posthoc.csv").is_file()
    assert finished.snakemake("-n", "results/many/summary.csv", config=MANY).begun == []


def finished_columns(history: bytes) -> tuple[str, ...]:
    """History without the columns that a clock or the memory of the machine decides."""
    rows = [line.split(",") for line in history.decode().splitlines()]
    kept = [place for place, name in enumerate(rows[0]) if name not in ("samples_per_s", "memory_gb")]
    return tuple(",".join(row[place] for place in kept) for row in rows)


def test_another_method_leaves_the_runs_of_the_others(finished):
    change = {"task_definitions": {"many": MANY["task_definitions"]["many"] | {"methods": ["arpl_mm", "linear_msp"]}}}
    finished.snakemake("results/many/summary.csv", config=change)
    outcome = finished.snakemake("results/many/summary.csv", config=MANY)
    assert outcome.finished == sorted(["runs of distance_mm on many", "summary of many"])
