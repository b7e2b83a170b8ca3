"""The workflow as a user starts it: both entry points, the config's tasks, profiles, lint, and a second run."""

from __future__ import annotations

import csv
import json
import re

import pytest
from workspace import CHECKED, CONFIG, FIGURES, METHODS, RUN, aggregates, runs_of

pytestmark = pytest.mark.slow


def everything() -> list[str]:
    """All jobs of the tiny benchmark."""
    shards = [f"{what} of tiny, shard {i:03}-of-002" for i in (0, 1) for what in ("decode frames", "decode sound")]
    shards += [f"encode tiny with tiny, shard {i:03}-of-002" for i in (0, 1)]
    runs = runs_of(*METHODS)
    single = ["list the clips of tiny", CHECKED, "words of tiny", "index the cache of tiny"]
    single.append("split split1 of tiny k2u2")
    pages = ["parameters and operations of tiny's methods", "quality control page of tiny"]
    return sorted([*shards, *runs, *single, *pages, *aggregates(*FIGURES)])


def test_both_entry_points_plan_the_same_jobs(fresh):
    root = fresh.snakemake("-n")
    inner = fresh.snakemake("-n", "-s", "workflow/Snakefile")
    assert root.begun == inner.begun == everything()


def test_a_run_does_every_job_once_and_leaves_every_result(finished):
    text = finished.path("run.log").read_text()
    assert len(re.findall(r"^Finished jobid", text, re.MULTILINE)) == len(everything()) + 1
    # without this limit of profiles/default all jobs on the accelerator of a workstation start at once
    assert re.search(r"^Provided resources: .*gpu\D+1\b", text, re.MULTILINE)
    with finished.path("results/tiny/summary.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["method"] for row in rows} == set(METHODS)
    assert all(0 <= float(row["auroc"]) <= 100 for row in rows)
    metrics = json.loads(finished.path(f"results/tiny/hcep/{RUN}/metrics.json").read_text())
    # two test clips of each class
    assert (metrics["n_known"], metrics["n_unknown"], metrics["stand_in"]) == (4, 4, True)
    assert not list(finished.path("work").glob("*")), "resume states stay behind"


def test_a_second_run_has_nothing_to_do_from_either_entry_point(finished):
    before = finished.dates("results") | finished.dates("resources")
    for arguments in (["-n"], [], ["-s", "workflow/Snakefile"]):
        outcome = finished.snakemake(*arguments)
        assert "Nothing to be done" in outcome.text and not outcome.begun
    assert finished.dates("results") | finished.dates("resources") == before


def test_the_default_target_is_the_tasks_of_the_config(fresh):
    task = CONFIG["task_definitions"]["tiny"] | {"methods": ["linear_msp"]}
    other = fresh.snakemake("-n", config={"tasks": ["other"], "task_definitions": {"other": task}})
    assert set(aggregates(*FIGURES, task="other")) <= set(other.begun)
    assert not set(aggregates(*FIGURES)) & set(other.begun)
    both = fresh.snakemake("-n", config={"tasks": ["tiny", "other"], "task_definitions": {"other": task}})
    assert {"summary of tiny", "summary of other"} <= set(both.begun)
    # what the tasks share is made once
    assert both.begun.count("index the cache of tiny") == 1
    named = fresh.snakemake("results/other/summary.csv", "-n", config={"task_definitions": {"other": task}})
    assert "summary of other" in named.begun and "summary of tiny" not in named.begun


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_lint_finds_nothing(fresh, snakefile):
    assert "good condition" in fresh.snakemake("--lint", "-s", snakefile).text


@pytest.mark.parametrize(("device", "wanted"), [("auto", {"hcep"}), ("cpu", set())])
def test_only_runs_that_may_use_an_accelerator_claim_one(fresh, device, wanted):
    rules = fresh.path("workflow/rules/runs.smk")
    # a job with a message of its own is shown without its resources
    rules.write_text(re.sub(r" +message:\n.*\n", "", rules.read_text()))
    outcome = fresh.snakemake("-n", config={"task_definitions": {"tiny": {"training": {"device": device}}}})
    job = r"^rule (?:run|runs_tiny):\n(?:    .*\n)*?    wildcards: .*method=(\w+).*\n    resources: (.*)"
    jobs = re.findall(job, outcome.text, re.MULTILINE)
    assert sorted(method for method, _ in jobs) == sorted(METHODS)
    assert {method for method, claimed in jobs if "gpu=1" in claimed} == wanted


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_cluster_profiles_plan_the_same_jobs(fresh, profile):
    # of Kubernetes it is no part of the environment: tests/cluster/storage installs it, and runs the profile
    pytest.importorskip(f"snakemake_executor_plugin_{profile}")
    outcome = fresh.snakemake("-n", "--workflow-profile", f"profiles/{profile}")
    assert outcome.begun == everything()


def test_the_slurm_profiles_options_are_read_by_its_plugin(fresh):
    fresh.edit("profiles/slurm/config.yaml", "slurm-status-command: squeue", "slurm-status-command: squeu")
    outcome = fresh.snakemake("-n", "--workflow-profile", "profiles/slurm", fails=True)
    assert "Invalid status command" in outcome.text


def test_post_hoc_scores_have_a_target_of_their_own(finished):
    runs = [f"post-hoc scores of {method} on tiny k2u2 split1" for method in METHODS]
    made = ["post-hoc scores of tiny", "page of post-hoc scores of tiny", "figure posthoc of tiny"]
    assert finished.snakemake("posthoc_tiny").finished == sorted([*runs, *made])
    with finished.path("results/tiny/posthoc.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["openness"] == "mean"]
    found = {(row["method"], row["score"]): row for row in rows}
    for method in METHODS:
        with finished.path("results/tiny/summary.csv").open(newline="") as handle:
            summary = next(row for row in csv.DictReader(handle) if row["method"] == method)
        assert found[method, "own"]["auroc"] == summary["auroc"]
        assert found[method, "own+distance"]["feature"] == "text+vision+audio"
        assert found[method, "own+distance"]["auroc_minus_own_lo"]
    assert "own+distance" in finished.path("results/tiny/posthoc.html").read_text()
    assert finished.path("results/tiny/figures/posthoc.svg").stat().st_size > 10_000
    # nothing of it is made by plain snakemake, and its settings are those of distance_mm
    assert finished.snakemake("posthoc_tiny").begun == finished.snakemake("-n").begun == []
    again = finished.snakemake("-n", "posthoc_tiny", config={"training": {"ridge": 0.5}})
    assert again.begun == sorted([*runs, *made])


def test_clusters_of_rejected_clips_have_a_target_of_their_own(finished):
    runs = [f"clusters of what {method} rejects on tiny k2u2 split1" for method in METHODS]
    made = ["clusters of rejected clips of tiny", "page of rejected clips of tiny"]
    assert finished.snakemake("unknowns_tiny").finished == sorted([*runs, *made])
    with finished.path("results/tiny/unknowns.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["method"] for row in rows] == list(METHODS)
    page = finished.path("results/tiny/unknowns.html").read_text()
    # the eight test clips are too few to be clustered
    assert page.count("of 8 test clips rejected") == page.count("too few to cluster") == len(METHODS)
    finished.path("resources/tiny/frames/000-of-002.h5").touch()
    assert finished.snakemake("unknowns_tiny").begun == finished.snakemake("-n").begun == []
    again = finished.snakemake("-n", "unknowns_tiny", config={"unknowns": {"acceptance": 0.5}})
    assert again.begun == sorted([*runs, *made])


def test_disturbed_clips_have_a_target_of_their_own(finished):
    none = {key: [] for key in ("babble_db", "dropped_frames", "shift_ms", "word_errors")}
    levels = {"robustness": none | {"white_noise_db": [0], "blur": [0.1], "missing": ["vision"]}}
    runs = [f"disturbed clips of {method} on tiny k2u2 split1" for method in METHODS]
    made = ["disturbed clips of tiny", "page of disturbed clips of tiny", "figure robustness of tiny"]
    assert finished.snakemake("robustness_tiny", config=levels).finished == sorted([*runs, *made])
    with finished.path("results/tiny/robustness.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["openness"] == "mean"]
    with finished.path("results/tiny/summary.csv").open(newline="") as handle:
        summary = {row["method"]: row for row in csv.DictReader(handle) if row["openness"] == "mean"}
    for method in METHODS:
        found = [row for row in rows if row["method"] == method]
        assert [row["kind"] for row in found] == ["clean", "white_noise_db", "blur", "missing"]
        assert found[0]["auroc"] == summary[method]["auroc"] and found[1]["changed"] == found[1]["clips"]
        assert all(row["oscr_minus_clean_lo"] for row in found[1:])
    assert "white_noise_db 0" in finished.path("results/tiny/robustness.html").read_text()
    assert finished.path("results/tiny/figures/robustness.svg").stat().st_size > 10_000
    # nothing of it is made by plain snakemake, and another level makes it anew
    assert finished.snakemake("robustness_tiny", config=levels).begun == finished.snakemake("-n").begun == []
    levels["robustness"]["blur"] = [0.2]
    assert finished.snakemake("-n", "robustness_tiny", config=levels).begun == sorted([*runs, *made])


def test_figures_of_clips_have_targets_of_their_own(finished):
    names = ("fig5", "fig6", "fig8")
    assert finished.snakemake(*names).finished == [f"figure {name} of tiny" for name in names]
    for name in names:
        assert finished.path(f"results/tiny/figures/{name}.svg").stat().st_size > 10_000
    # a shard that was only touched is no reason to draw the clips again
    finished.path("resources/tiny/frames/000-of-002.h5").touch()
    assert finished.snakemake("-n", *names).begun == finished.snakemake("-n").begun == []
    finished.append("hcep/figures/embedding.py", "\nNEW_CONSTANT = 1\n")
    assert finished.snakemake("-n", *names).begun == ["figure fig6 of tiny", "figure fig8 of tiny"]
