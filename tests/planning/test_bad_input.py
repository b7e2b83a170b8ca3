"""What a user gets wrong: an exit code that is not 0, one message that names place, cause and remedy, nothing lost."""

from __future__ import annotations

import re

import pytest
import yaml
from workspace import RUN

from hcep.files import read_table

pytestmark = pytest.mark.slow

MODEL = f"results/tiny/linear_msp/{RUN}/model.safetensors"


def message(text: str, verb: str = "") -> str:
    """The one line that says what is wrong: of a job's log, or of Snakemake's reading of the config."""
    start = f"hcep {verb}: " if verb else "config"
    lines = [line for line in text.splitlines() if line.startswith(start)]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


@pytest.mark.parametrize(
    ("config", "place", "cause", "remedy"),
    [
        ({"trainning": {}}, "config", "'trainning' was unexpected", "config/README.md"),
        ({"training": {"lrr": 1}}, "config, training", "'lrr' was unexpected", "config/README.md"),
        (
            {"task_definitions": {"tiny": {"training": {"lr": "high"}}}},
            "config, task_definitions.tiny.training.lr",
            "'high' is not of type 'number'",
            "config/README.md",
        ),
        ({"training": {"lr": "5e-4"}}, "config, training.lr", "'5e-4' is not of type 'number'", "write 0.0005"),
        (
            {"training": {"lr": "0.1"}},
            "config, training.lr",
            "'0.1' is not of type 'number'",
            "in a file for --configfile",
        ),
        ({"training": {"lr": "1e-5"}}, "config, training.lr", "'1e-5' is not of type 'number'", "write 0.00001"),
        ({"training": {"epochs": "1e2"}}, "config, training.epochs", "'1e2' is not of type 'integer'", "write 100;"),
        ({"training": {"lr": "["}}, "config, training.lr", "'[' is not of type 'number'", "correct it"),
        (
            {"task_definitions": {"tiny": {"epochs": 3, "sedes": [1]}}},
            "config, task_definitions.tiny",
            "'epochs', 'sedes' were unexpected",
            "epochs belongs elsewhere or did you mean 'seeds'?",
        ),
        (
            {"datasets": {"tiny": {"adapter": "ravdess"}}},
            "config, datasets.tiny",
            "no setting 'labels'",
            "settings are",
        ),
        (
            {"methods": {"linear_msp": {"tune": {"lr": ["5e-4", 0.005]}}}},
            "config, methods.linear_msp.tune",
            "lr: '5e-4' is not of type 'number'",
            "write 0.0005",
        ),
        (
            {"methods": {"linear_msp": {"tune": {"epochs": [5, -3]}}}},
            "config, methods.linear_msp.tune",
            "epochs: -3 is less than the minimum of 0",
            "correct it",
        ),
        (
            {"methods": {"linear_msp": {"tune": {"selection": ["last", "best_on_test"]}}}},
            "config, methods.linear_msp.tune",
            "selection cannot be tuned",
            "give it one value",
        ),
        (
            {"datasets": {"tiny": {"size": 96}}},
            "config, task_definitions.tiny",
            "dataset tiny has frames of size 96, encoder",
            "set the dataset entry's size to",
        ),
        ({"dataset": {}}, "config", "'dataset' was unexpected", "did you mean 'datasets'?"),
        ({"training": {"epoch": 3}}, "config, training", "'epoch' was unexpected", "did you mean 'epochs'?"),
        (
            {"task_definitions": {"tiny": {"training": {"selection": "val_known"}}}},
            "config, task_definitions.tiny",
            "has selection: val_known, which needs held-out clips",
            "val_fraction",
        ),
        (
            {"methods": {"linear_msp": {"epochs": 0}}},
            "config, task_definitions.tiny",
            "linear_msp has epochs: 0, and would learn nothing",
            "at least 1",
        ),
        (
            {"datasets": {"tiny": {"options": {"lables": ["fear"]}}}},
            "config, datasets.tiny",
            "no setting 'lables' (did you mean 'labels'?)",
            "its settings are",
        ),
        (
            {"task_definitions": {"tiny": {"openness": ["k3u1"]}}},
            "config/splits/tiny.yaml",
            "no splits for k3u1, only for k2u2",
            "add k3u1",
        ),
        (
            {"task_definitions": {"tiny": {"openness": ["k2u2", "k1u3"]}}},
            "config, task_definitions.tiny.openness",
            "openness k1u3 has 1 known class",
            "at least 2 known classes",
        ),
        (
            {"task_definitions": {"tiny": {"splits": ["split7"]}}},
            "config/splits/tiny.yaml, k2u2",
            "no split7",
            "ask for one of those",
        ),
        (
            {"task_definitions": {"tiny": {"labels": ["anger", "faer", "happiness", "sadness"]}}},
            "config/splits/tiny.yaml, k2u2.split1",
            "'fear' is not a class of the task",
            "did you mean 'faer'?",
        ),
        (
            {"task_definitions": {"tiny": {"labels": ["anger", "fear", "happiness", False]}}},
            "config, task_definitions.tiny.labels",
            "False is not of type 'string'",
            "write the name in quotes, as 'no'",
        ),
        (
            {"task_definitions": {"tiny": {"other_labels": [5]}}},
            "config, task_definitions.tiny.other_labels",
            "5 is not of type 'string'",
            "write the name in quotes, as '5'",
        ),
        (
            {"task_definitions": {"tiny": {"test_folds": [None]}}},
            "config, task_definitions.tiny.test_folds",
            "None is not of type 'string'",
            "write the name in quotes, as 'null'",
        ),
        (
            {"task_definitions": {"tiny": {"other_labels": ["boredom", "fear"]}}},
            "config, task_definitions.tiny",
            "'fear' is in labels and in other_labels",
            "keep it in one of them",
        ),
        ({"words": {"happines": "happy"}}, "config, words", "no class 'happines'", "did you mean 'happiness'?"),
        ({"tasks": ["tinny"]}, "config, tasks", "no task 'tinny'", "did you mean 'tiny'?"),
        (
            {"task_definitions": {"tiny": {"methods": ["hcpe"]}}},
            "config, task_definitions.tiny",
            "no method 'hcpe'",
            "did you mean 'hcep'?",
        ),
        (
            {"methods": {"hcep_x": {"base": "hcpe"}}},
            "config, methods.hcep_x",
            "no base method 'hcpe'",
            "did you mean 'hcep'?",
        ),
        (
            {"methods": {"linear_msp": {"prompt_tokens": 3}}},
            "config, task_definitions.",
            "'prompt_tokens', which base 'linear' does not read",
            "remove it",
        ),
        (
            {"task_definitions": {"tiny": {"dataset": "tinny"}}},
            "config, task_definitions.tiny",
            "no dataset 'tinny'",
            "did you mean 'tiny'?",
        ),
        (
            {"datasets": {"tiny": {"adapter": "manifset"}}},
            "config, datasets.tiny",
            "no dataset adapter 'manifset'",
            "did you mean 'manifest'?",
        ),
        (
            {"task_definitions": {"tiny": {"class_splits": "config/splits/none.yaml"}}},
            "config/splits/none.yaml",
            "no file of class splits",
            "hcep draw_splits --task tiny",
        ),
    ],
)
def test_a_mistake_in_the_config_stops_before_anything_runs(finished, config, place, cause, remedy):
    before = finished.dates("results") | finished.dates("resources")
    outcome = finished.snakemake(config=config, fails=True)
    said = message(outcome.text)
    assert said.startswith(place) and cause in said and remedy in said.partition("Remedy: ")[2]
    assert outcome.begun == []
    assert finished.dates("results") | finished.dates("resources") == before


def test_a_setting_that_one_task_needs_does_not_stop_tasks_that_nobody_builds(finished):
    # demo, which holds no clip out, is among the definitions
    change = {"training": {"selection": "val_known"}, "task_definitions": {"tiny": {"val_fraction": 0.25}}}
    assert finished.snakemake("-n", config=change).begun


def test_a_clip_that_cannot_be_read_stops_the_index_and_is_named(finished):
    finished.path("data/tiny/fear_1.mp4").write_bytes(b"this is no video" * 50)
    index = "resources/tiny/index.h5"
    outcome = finished.snakemake(index, fails=True)
    said = message(outcome.text, "index_cache")
    table = "resources/tiny/qc.failed.tsv"
    assert said.startswith(f"hcep index_cache: {table}: 1 of 24 clips failed, the limit is 1.00%") and "fear_1" in said
    assert "Remedy: mend the release, or raise `max_failures`" in said
    rows = {row["clip"]: row for row in read_table(finished.path(table), delimiter="\t")}
    assert len(rows) == 24 and rows["fear_1"]["frames"] == "failed" and rows["fear_1"]["reason"]
    # what was there stays, and the shards are not decoded a second time
    assert finished.path(MODEL).exists()
    assert finished.path("resources/tiny/frames/000-of-002.h5").exists()
    assert finished.snakemake(index, fails=True).begun == ["index the cache of tiny"]
    outcome = finished.snakemake(index, config={"datasets": {"tiny": {"max_failures": 0.05}}})
    assert outcome.finished == ["index the cache of tiny"]
    rows = {row["clip"]: row for row in read_table(finished.path("resources/tiny/qc.tsv"), delimiter="\t")}
    assert rows["fear_1"]["flags"] == "no_audio;no_video" and rows["fear_2"]["flags"] == ""
    assert not finished.path(table).exists()


@pytest.mark.parametrize("adapter", ["manifest", "ravdess"])
def test_a_release_that_is_not_there_names_its_folder_and_the_key_to_set(fresh, adapter):
    config = {"datasets": {"tiny": {"adapter": adapter, "root": "data/elsewhere", "text": "none"}}}
    if adapter == "ravdess":
        replace_options(fresh, {"calm": "merge", "folds": 5})
    outcome = fresh.snakemake("resources/tiny/manifest.tsv", config=config, fails=True)
    said = message(outcome.text, "manifest")
    assert "data/elsewhere: the release of dataset 'tiny' is missing" in said and "`root`" in said


def test_a_mistyped_label_of_a_clip_names_the_row_and_the_nearest_label(finished):
    finished.edit("data/tiny/clips.tsv", "fear_3\tfear_3.mp4\tfear", "fear_3\tfear_3.mp4\tfaer")
    outcome = finished.snakemake("resources/tiny/manifest.tsv", fails=True)
    said = message(outcome.text, "manifest")
    assert "data/tiny/clips.tsv, row 11: label 'faer'" in said and "did you mean 'fear'" in said
    assert finished.path(MODEL).exists() and finished.path("resources/tiny/index.h5").exists()
    finished.edit("data/tiny/clips.tsv", "faer", "fear")
    assert finished.snakemake("resources/tiny/index.h5").finished == ["list the clips of tiny"]


def test_a_missing_clip_names_the_row_of_the_list(finished):
    finished.path("data/tiny/fear_3.mp4").unlink()
    # an empty line changes no cell, so nothing would run
    finished.append("data/tiny/clips.tsv", "more\tfear_2.mp4\tfear\ttrain\ta new row\n")
    outcome = finished.snakemake("resources/tiny/manifest.tsv", fails=True)
    said = message(outcome.text, "manifest")
    assert "data/tiny/clips.tsv, row 11" in said and "fear_3.mp4" in said and "is missing" in said


def test_training_that_diverges_says_where_and_what_to_lower(finished):
    config = {"task_definitions": {"tiny": {"method_settings": {"linear_msp": {"lr": 1e30}}}}}
    before = finished.dates("resources") | finished.dates("results/tiny/arpl_mm")
    outcome = finished.snakemake(MODEL, config=config, fails=True)
    said = message(outcome.text, "run")
    assert re.search(r"loss_\w+ is (nan|inf) in epoch \d, step \d", said) and "Remedy: lower `lr`" in said
    assert not finished.path(MODEL).exists()
    assert finished.dates("resources") | finished.dates("results/tiny/arpl_mm") == before


def replace_options(workspace, options) -> None:
    """Options of an entry are merged key by key when one config is laid over another: write them anew."""
    config = yaml.safe_load(workspace.path("tiny.yaml").read_text())
    config["datasets"]["tiny"]["options"] = options
    workspace.path("tiny.yaml").write_text(yaml.safe_dump(config))
