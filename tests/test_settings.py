"""Config to the settings of one run: precedence, exactly what is read, and mistakes named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hcep import registry
from hcep.errors import HcepError
from hcep.protocol.settings import check_run, run_settings

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "config" / "config.yaml").read_text())


@pytest.fixture
def config():
    return yaml.safe_load(yaml.safe_dump(CONFIG))


def test_the_defaults_are_the_papers(config):
    config["task_definitions"]["demo"]["training"] = {}
    settings = run_settings(config, "demo", "hcep")
    paper = {"lr": 5e-4, "epochs": 150, "batch_size": 64, "lr_step": 30, "lr_decay": 0.1, "momentum": 0.9}
    paper |= {"weight_decay": 1e-4, "cosine_scale": 100, "prompt_tokens": 2, "prompt_step": "sgd", "selection": "last"}
    assert {key: settings[key] for key in paper} == paper


@pytest.mark.parametrize("name", list(CONFIG["methods"]))
def test_a_run_gets_exactly_what_its_method_reads(config, name):
    entry = registry.method(config["methods"][name]["base"])
    assert set(run_settings(config, "demo", name)) == {*registry.LOOP_SETTINGS, *entry.settings} == entry.readable


def test_later_places_win(config):
    config["training"]["score"] = "max_logit"
    assert run_settings(config, "demo", "hcep")["score"] == "max_logit"
    config["task_definitions"]["demo"]["training"]["score"] = "log_softmax"
    assert run_settings(config, "demo", "hcep")["score"] == "log_softmax"
    config["methods"]["hcep"]["score"] = "max_logit"
    assert run_settings(config, "demo", "hcep")["score"] == "max_logit"
    config["task_definitions"]["demo"]["method_settings"] = {"hcep": {"score": "log_softmax"}}
    assert run_settings(config, "demo", "hcep")["score"] == "log_softmax"


def test_controls_differ_from_hcep_in_one_setting_only(config):
    config["task_definitions"]["demo"]["method_settings"] = {}
    hcep = run_settings(config, "demo", "hcep")
    for name, change in (("frozen_prompts", {"prompts": "frozen"}), ("points_random_pos_neg", {"points": "free"})):
        assert run_settings(config, "demo", name) == hcep | change


def test_words_are_the_tasks_labels_only(config):
    words = run_settings(config, "ravdess", "hcep")["words"]
    assert set(words) == set(config["task_definitions"]["ravdess"]["labels"])
    assert words["happiness"] == "happy" and words["neutral"] == "neutral"


def test_a_setting_that_a_method_does_not_read_is_refused(config):
    config["methods"]["arpl_mm"]["cosine_scale"] = 1
    with pytest.raises(HcepError, match=r"methods: arpl_mm sets 'cosine_scale', which base 'arpl_mm' does not read"):
        run_settings(config, "demo", "arpl_mm")


@pytest.mark.parametrize(("task", "method", "hint"), [("dmo", "hcep", "demo"), ("demo", "hcpe", "hcep")])
def test_misspelt_names_get_the_nearest(config, task, method, hint):
    with pytest.raises(HcepError, match=f"did you mean '{hint}'"):
        run_settings(config, task, method)


def test_a_misspelt_base_gets_the_nearest(config):
    config["methods"]["hcep"]["base"] = "linaer"
    with pytest.raises(HcepError, match="did you mean 'linear'"):
        run_settings(config, "demo", "hcep")


def test_a_setting_without_a_value_is_named(config):
    del config["training"]["missing"]
    with pytest.raises(HcepError, match="no value for missing"):
        run_settings(config, "demo", "linear_msp")


def test_no_epochs_are_refused_where_something_is_to_be_learnt(config):
    check_run(config, "demo", "open_vclip_zs")
    config["methods"]["open_vclip"]["epochs"] = 0
    with pytest.raises(HcepError, match="open_vclip has epochs: 0, and would learn nothing"):
        check_run(config, "demo", "open_vclip")


def test_a_method_that_learns_nothing_has_neither_rate_nor_epochs(config, monkeypatch):
    entry = registry.MethodEntry("means:ClassMeans", "features", ("missing",), learns=False)
    monkeypatch.setitem(registry.METHODS, "class_means", entry)
    config["methods"]["class_means"] = {"base": "class_means"}
    check_run(config, "demo", "class_means")
    assert not {"epochs", "lr", "lr_step", "momentum"} & set(run_settings(config, "demo", "class_means"))
    config["methods"]["class_means"]["epochs"] = 0
    with pytest.raises(HcepError, match="methods: class_means sets 'epochs', which base 'class_means' does not read"):
        run_settings(config, "demo", "class_means")
