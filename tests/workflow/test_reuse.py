"""What runs again after a change, by real runs: the table of docs/design.md, section 3, and nothing more."""

from __future__ import annotations

import os
import shutil

import pytest
from sample_media import make_clip
from workspace import CHECKED, CONFIG, FIGURES, LABELS, METHODS, RUN, aggregates, runs_of

from hcep.datasets.manifest_file import read_manifest
from hcep.media.shards import shard_of

pytestmark = pytest.mark.slow

COUNTS = "parameters and operations of tiny's methods"
SUMMARY = "results/tiny/summary.csv"
LINEAR = f"results/tiny/linear_msp/{RUN}/metrics.json"


def content(workspace, *names: str) -> dict[str, bytes]:
    """What these files of all runs hold."""
    return {str(path): path.read_bytes() for name in names for path in workspace.path("results").rglob(name)}


def test_another_evaluation_trains_and_scores_nothing_anew(finished):
    made = ("model.safetensors", "history.csv", "scores.h5", "timing.json")
    before, metrics = content(finished, *made), content(finished, "metrics.json")
    outcome = finished.snakemake(config={"evaluation": {"replicates": 150}})
    assert outcome.finished == sorted([*runs_of(*METHODS), *aggregates(*FIGURES)])
    assert content(finished, *made) == before
    assert all(text != metrics[path] for path, text in content(finished, "metrics.json").items())
    log = finished.path(f"logs/run/tiny/hcep/{RUN}.log").read_text()
    assert "train hcep k2u2 split1 seed0: was done before" in log and "score hcep k2u2 split1: was done before" in log


def test_the_code_of_scoring_scores_again_and_trains_nothing(finished):
    before = content(finished, "model.safetensors", "history.csv")
    scores, timing = content(finished, "scores.h5"), content(finished, "timing.json")
    finished.append("hcep/training/score.py", "\nNEW_CONSTANT = 1\n")
    targets = [f"results/tiny/{method}/{RUN}/metrics.json" for method in METHODS]
    assert finished.snakemake(*targets).finished == sorted(runs_of(*METHODS))
    assert content(finished, "model.safetensors", "history.csv") == before
    # the scores know which code they are of, and the clock says that they were made anew
    assert all(text != scores[path] for path, text in content(finished, "scores.h5").items())
    assert all(text != timing[path] for path, text in content(finished, "timing.json").items())


def test_what_was_made_before_a_failure_is_not_made_again(finished):
    """Training is done and evaluation fails: the next start does not train."""
    shutil.rmtree(finished.path(f"results/tiny/hcep/{RUN}"))
    model = f"results/tiny/hcep/{RUN}/model.safetensors"
    finished.edit("hcep/evaluation/evaluate.py", "    source = Path(scores)\n", "    raise HcepError('no')\n")
    finished.snakemake(model, fails=True)
    assert not finished.path(model).exists()
    finished.edit("hcep/evaluation/evaluate.py", "    raise HcepError('no')\n", "    source = Path(scores)\n")
    assert finished.snakemake(model).finished == runs_of("hcep")
    assert "was done before" in finished.path(f"logs/run/tiny/hcep/{RUN}.log").read_text()


@pytest.mark.parametrize("figure", ["training", "openness"])
def test_the_code_of_a_figure_reruns_that_figure(finished, figure):
    finished.append(f"hcep/figures/{figure}.py", "\nNEW_CONSTANT = 1\n")
    assert finished.snakemake().finished == [f"figure {figure} of tiny"]


def test_the_learning_rate_of_one_method_reruns_its_training_and_after(finished):
    before = finished.dates("results")
    outcome = finished.snakemake(config={"methods": {"linear_msp": {"lr": 0.01}}})
    assert outcome.finished == sorted(runs_of("linear_msp") + aggregates(*FIGURES))
    after = finished.dates("results")
    others = [name for name in before if name.startswith(("results/tiny/hcep", "results/tiny/arpl_mm"))]
    assert others and all(after[name] == before[name] for name in others)


def test_the_code_of_one_method_reruns_its_training_and_after(finished):
    finished.append("hcep/methods/linear.py", "\nNEW_CONSTANT = 1\n")
    # the counts are made by building the method
    wanted = [*runs_of("linear_msp"), *aggregates(*FIGURES), COUNTS]
    assert finished.snakemake("-n").begun == sorted(wanted)
    assert finished.snakemake(LINEAR).finished == sorted(runs_of("linear_msp"))


def test_a_split_or_an_index_that_comes_out_as_before_costs_nothing_more(finished):
    split, index = "results/tiny/splits/k2u2/split1.json", "resources/tiny/index.h5"
    finished.snakemake(SUMMARY, config={"task_definitions": {"tiny": {"test_folds": ["none"]}}}, fails=True)
    assert not finished.path(split).exists()
    assert finished.snakemake(split).finished == sorted([CHECKED, "split split1 of tiny k2u2"])
    assert finished.snakemake("-n").begun == []
    laxer = {"datasets": {"tiny": {"max_failures": 0.5}}}
    assert finished.snakemake(index, config=laxer).finished == ["index the cache of tiny"]
    assert finished.snakemake("-n", config=laxer).begun == []


def test_the_folds_of_a_task_are_checked_again_and_nothing_is_decoded(finished):
    before = finished.dates("resources/tiny")
    change = {"task_definitions": {"tiny": {"train_folds": ["train"]}}}
    outcome = finished.snakemake("resources/tiny/index.h5", "resources/tiny/tasks.txt", config=change)
    assert outcome.finished == [CHECKED]
    after = finished.dates("resources/tiny")
    assert {name for name in after if after[name] != before[name]} == {"resources/tiny/tasks.txt"}
    # the split names its folds, so its runs are made again; the cache is not
    outcome = finished.snakemake(LINEAR, config=change)
    assert outcome.finished == sorted(["split split1 of tiny k2u2", *runs_of("linear_msp")])


def test_another_task_over_the_same_clips_is_checked_and_hides_no_other_change(finished):
    shard = shard_of_clip(finished, "fear_2")
    make_clip(finished.path("data/tiny/fear_2.mp4"), seconds=0.8, fps=5, size="40x32", hertz=900)
    other = CONFIG["task_definitions"]["tiny"] | {"other_labels": ["boredom"]}
    change = {"task_definitions": {"other": other}, "methods": {"linear_msp": {"lr": 0.01}}}
    outcome = finished.snakemake(LINEAR, config=change)
    wanted = [f"{what} of tiny, shard {shard}" for what in ("decode frames", "decode sound")]
    wanted += [f"encode tiny with tiny, shard {i:03}-of-002" for i in (0, 1)]
    wanted += [CHECKED, "index the cache of tiny", *runs_of("linear_msp")]
    assert outcome.finished == sorted(wanted)


def test_a_check_that_failed_is_made_again_and_costs_nothing_more(finished):
    before = finished.dates("resources") | finished.dates("results")
    slip = {"task_definitions": {"tiny": {"test_folds": ["Test"]}}}
    for _ in range(2):
        outcome = finished.snakemake(config=slip, fails=True)
        assert "fold 'test' (8 clips) would be trained on, but is near 'Test'" in outcome.text
        assert outcome.begun == [CHECKED]
    after = finished.dates("resources") | finished.dates("results")
    assert {name for name in after if after[name] != before[name]} <= {"resources/tiny/tasks.txt"}
    assert finished.snakemake().finished == [CHECKED]
    assert finished.snakemake("-n").begun == []


def test_a_new_clip_whose_label_almost_matches_stops_decoding_until_it_is_mended(finished):
    make_clip(finished.path("data/tiny/extra.mp4"), seconds=0.6, fps=5, size="40x32", hertz=900)
    finished.append("data/tiny/clips.tsv", "extra\textra.mp4\tAngry\ttrain\ta new clip\n")
    lax = {"datasets": {"tiny": {"options": {"labels": [*LABELS, "Angry"]}}}}
    decoded = finished.dates("resources/tiny/frames")
    for _ in range(2):
        outcome = finished.snakemake(LINEAR, config=lax, fails=True)
        assert "label 'Angry' (1 clip) is no class of the task" in outcome.text
    assert finished.dates("resources/tiny/frames") == decoded
    finished.edit("data/tiny/clips.tsv", "Angry", "anger")
    outcome = finished.snakemake(LINEAR, config=lax)
    assert f"decode frames of tiny, shard {shard_of_clip(finished, 'extra')}" in outcome.finished


def test_labels_and_folds_that_almost_match_are_found_before_anything_is_decoded(fresh):
    fresh.edit("data/tiny/clips.tsv", "fear_5.mp4\tfear\ttest", "fear_5.mp4\tfear\tTest")
    labels = ["angry", "fear", "happiness", "sadness"]
    splits = fresh.path("config/splits/tiny.yaml")
    splits.write_text(splits.read_text().replace("anger", "angry"))
    outcome = fresh.snakemake(SUMMARY, config={"task_definitions": {"tiny": {"labels": labels}}}, fails=True)
    (said,) = [line for line in outcome.text.splitlines() if line.startswith("hcep check_tasks: ")]
    assert "resources/tiny/manifest.tsv: task tiny: label 'anger' (6 clips)" in said and "other_labels" in said
    assert "fold 'Test' (1 clip) would be trained on, but is near 'test'" in said
    assert not list(fresh.path("resources/tiny").glob("*/*.h5")) and not fresh.path("results/tiny/splits").exists()


def test_one_more_method_runs_itself_and_the_aggregates(finished):
    config = {
        "methods": {"linear_slow": {"base": "linear", "lr": 0.001}},
        "task_definitions": {"tiny": {"methods": [*METHODS, "linear_slow"]}},
    }
    new = runs_of("linear_slow")
    planned = finished.snakemake("-n", config=config)
    assert planned.begun == sorted([*new, *aggregates(*FIGURES), COUNTS])
    outcome = finished.snakemake(SUMMARY, config=config)
    assert outcome.finished == sorted([*new, "summary of tiny"])


@pytest.mark.parametrize(
    ("change", "run"),
    [({"splits": ["split1", "split2"]}, "k2u2 split2 seed 0"), ({"seeds": [0, 3]}, "k2u2 split1 seed 3")],
)
def test_one_more_split_or_seed_runs_itself_and_the_aggregates(finished, change, run):
    config = {"task_definitions": {"tiny": change}}
    split = ["split split2 of tiny k2u2"] if "splits" in change else []
    planned = finished.snakemake("-n", config=config)
    new = runs_of(*METHODS, run=run)
    assert planned.begun == sorted([*new, *split, *aggregates(*FIGURES)])
    # really run for one method, to be quick
    config["task_definitions"]["tiny"] = change | {"methods": ["linear_msp"]}
    before = content(finished, f"{RUN}/model.safetensors", f"{RUN}/scores.h5")
    outcome = finished.snakemake(SUMMARY, config=config)
    assert outcome.finished == sorted([*runs_of("linear_msp"), *split, "summary of tiny"])
    assert content(finished, f"{RUN}/model.safetensors", f"{RUN}/scores.h5") == before
    said = finished.path("logs/runs/tiny/linear_msp.log").read_text()
    assert said.count("was done before") == 2 and said.count("epochs, loss") == 1


def test_one_clip_added_decodes_its_shard_and_trains_again(finished):
    make_clip(finished.path("data/tiny/extra.mp4"), seconds=0.6, fps=5, size="40x32", hertz=900)
    finished.append("data/tiny/clips.tsv", "extra\textra.mp4\tanger\ttrain\ta new clip\n")
    others = finished.dates("resources/tiny")
    outcome = finished.snakemake(LINEAR)
    shard = shard_of_clip(finished, "extra")
    wanted = [f"{what} of tiny, shard {shard}" for what in ("decode frames", "decode sound")]
    wanted += ["words of tiny", "list the clips of tiny"]
    wanted += [CHECKED, "index the cache of tiny", "split split1 of tiny k2u2"]
    # the index says where every clip is, and features are made from it
    wanted += [f"encode tiny with tiny, shard {i:03}-of-002" for i in (0, 1)]
    assert outcome.finished == sorted([*wanted, *runs_of("linear_msp")])
    after = finished.dates("resources/tiny")
    assert {name for name in others if after[name] == others[name] and "features" not in name} == {
        f"resources/tiny/{kind}/{other}.h5"
        for kind in ("frames", "audio")
        for other in {"000-of-002", "001-of-002"} - {shard}
    }


def test_one_clip_replaced_decodes_its_shard_and_trains_again(finished):
    shard = shard_of_clip(finished, "fear_2")
    make_clip(finished.path("data/tiny/fear_2.mp4"), seconds=0.8, fps=5, size="40x32", hertz=900)
    outcome = finished.snakemake("resources/tiny/index.h5")
    decode = [f"{what} of tiny, shard {shard}" for what in ("decode frames", "decode sound")]
    assert outcome.finished == sorted([*decode, "index the cache of tiny"])
    after = finished.snakemake("-n")
    wanted = runs_of(*METHODS)
    wanted += [f"encode tiny with tiny, shard {i:03}-of-002" for i in (0, 1)]
    # qc.tsv is written anew and says the same: its page stays
    assert after.begun == sorted([*wanted, *aggregates(*FIGURES)])


def test_comments_formatting_and_dates_rerun_nothing(finished):
    finished.edit("hcep/evaluation/metrics.py", "\nimport numpy", "\n\n# a comment\nimport numpy")
    finished.append("hcep/training/train.py", "\n\n# another comment\n")
    finished.edit("hcep/media/frames.py", '"""Frames of', '"""Pictures, that is, frames of')
    finished.append("tiny.yaml", "# a comment\n")
    finished.append("workflow/rules/runs.smk", "\n# a comment\n")
    now = finished.path("run.log").stat().st_mtime + 1000
    for folder in ("hcep", "workflow", "config", "profiles", "data", "resources"):
        for path in finished.path(folder).rglob("*"):
            os.utime(path, (now, now))
    assert finished.snakemake("-n").begun == []
    outcome = finished.snakemake()
    assert outcome.begun == [] and "Nothing to be done" in outcome.text


def test_a_touched_large_clip_reruns_nothing_thanks_to_the_profile(finished):
    path = finished.path("data/tiny/sadness_5.mp4")
    assert path.stat().st_size > 1_000_000
    path.touch()
    assert finished.snakemake().begun == []
    # the test of the test: without the profile's limit on checksums it does
    assert finished.snakemake("-n", "--workflow-profile", "none").begun != []


DUMMY_METHOD = """
class Dummy(Learning, Head, Missing, Score):
    \"\"\"A method of somebody.\"\"\"

    target = "hcep.methods.dummy:Dummy"
    inputs = "features"


METHODS: dict[str, type[Common]] = {
    "dummy": Dummy,"""


def test_a_new_method_and_a_new_adapter_in_the_code_rerun_nothing(finished):
    """A method is its class and its declaration, an adapter its class and its name."""
    finished.path("hcep/methods/dummy.py").write_text("from hcep.methods.linear import Linear\n\nDummy = Linear\n")
    finished.edit("hcep/config/methods.py", "\nMETHODS: dict[str, type[Common]] = {", DUMMY_METHOD)
    finished.path("hcep/datasets/dummy.py").write_text(
        "from hcep.datasets.manifest import Manifest\n\nDummy = Manifest\n"
    )
    first = '    "manifest": "hcep'
    finished.edit("hcep/registry.py", first, f'    "dummy": "hcep.datasets.dummy:Dummy",\n{first}')
    outcome = finished.snakemake()
    assert outcome.begun == [] and "Nothing to be done" in outcome.text
    # both are in use from now on
    task = {"methods": [*METHODS, "dummy"], "training": {"device": "cpu"}}
    config = {"methods": {"dummy": {"base": "dummy"}}, "task_definitions": {"tiny": task}}
    wanted = [*runs_of("dummy"), *aggregates(*FIGURES), COUNTS]
    assert finished.snakemake("-n", config=config).begun == sorted(wanted)


def test_a_figure_of_the_paper_is_a_target_and_has_four_files(finished):
    files = [finished.path(f"results/tiny/figures/fig9.{ending}") for ending in ("svg", "pdf", "png", "csv")]
    before = [file.read_bytes() for file in files]
    files[1].unlink()
    assert finished.snakemake("fig9").finished == ["figure fig9 of tiny"]
    assert [file.read_bytes() for file in files] == before


def test_a_new_figure_is_its_function_and_its_entry(finished):
    finished.path("hcep/figures/dummy.py").write_text("from hcep.figures.fig9 import fig9_figure as dummy_figure\n")
    first = '    "fig9": FigureEntry('
    entry = '    "dummy": FigureEntry("hcep.figures.dummy:dummy_figure", "curves", ("scores.h5", "metrics.json")),\n'
    finished.edit("hcep/registry.py", first, entry + first)
    assert finished.snakemake().finished == ["figure dummy of tiny"]
    assert finished.path("results/tiny/figures/dummy.svg").read_text().startswith("<?xml")


def test_a_new_setting_is_one_declaration(finished):
    """Its default reruns the runs that read it, a value is checked, and a method that does not read it refuses it."""
    head = "class ArplMM(Learning, AudioLayers, Head, Missing, RivalScore):"
    declared = '    dummy: float = Field(1, gt=0, description="for the test")\n'
    text = finished.path("hcep/config/methods.py").read_text()
    start = text.index('    inputs = "features"\n', text.index(head)) + len('    inputs = "features"\n')
    finished.path("hcep/config/methods.py").write_text(text[:start] + "\n" + declared + text[start:])
    planned = finished.snakemake("-n").begun
    assert [job for job in planned if job.startswith("run")] == runs_of("arpl_mm")
    assert finished.snakemake("-n", config={"methods": {"arpl_mm": {"dummy": 2}}}).begun == planned
    outcome = finished.snakemake("-n", config={"methods": {"arpl_mm": {"dummy": 0}}}, fails=True)
    assert "config, methods.arpl_mm.dummy: 0 must be more than 0" in outcome.text
    outcome = finished.snakemake("-n", config={"methods": {"linear_msp": {"dummy": 2}}}, fails=True)
    assert "methods: linear_msp sets 'dummy', which base 'linear' does not read" in outcome.text


def shard_of_clip(workspace, name: str) -> str:
    """Which of the two shards holds a clip."""
    clips = {clip.clip: clip for clip in read_manifest(workspace.path("resources/tiny/manifest.tsv"))}
    return shard_of(clips[name], 2)
