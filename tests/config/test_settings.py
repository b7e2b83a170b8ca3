"""Config to the settings of one run: precedence, exactly what is read, and mistakes named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hcep.config.document import document
from hcep.config.entries import Dataset, Encoder, Evaluation, Robustness, Task, Unknowns
from hcep.config.methods import METHODS, Changes, Common, Missing, base_method
from hcep.config.whole import Config, read_configs
from hcep.errors import HcepError
from hcep.planning.checks import check_config
from hcep.planning.engine import settings_text

REPOSITORY = Path(__file__).parents[2]
ROW = {"name": "A", "method": "hcep"}
CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config" / "config.yaml").read_text())


@pytest.fixture
def config():
    return yaml.safe_load(yaml.safe_dump(CONFIG))


def test_the_defaults_are_the_papers(config):
    config["task_definitions"]["demo"]["training"] = {}
    settings = Config.read(config).run_settings("demo", "hcep")
    paper = {"lr": 5e-4, "epochs": 150, "batch_size": 64, "lr_step": 30, "lr_decay": 0.1, "momentum": 0.9}
    paper |= {"weight_decay": 1e-4, "cosine_scale": 100, "prompt_tokens": 2, "prompt_step": "sgd", "selection": "last"}
    assert {key: settings[key] for key in paper} == paper


@pytest.mark.parametrize("name", list(CONFIG["methods"]))
def test_a_run_gets_exactly_what_its_method_reads(config, name):
    entry = base_method(config["methods"][name]["base"])
    assert set(Config.read(config).run_settings("demo", name)) == {*entry.model_fields}


def test_later_places_win(config):
    config["training"] = {}
    config["training"]["score"] = "max_logit"
    assert Config.read(config).run_settings("demo", "hcep")["score"] == "max_logit"
    config["task_definitions"]["demo"]["training"]["score"] = "log_softmax"
    assert Config.read(config).run_settings("demo", "hcep")["score"] == "log_softmax"
    config["methods"]["hcep"]["score"] = "max_logit"
    assert Config.read(config).run_settings("demo", "hcep")["score"] == "max_logit"
    config["task_definitions"]["demo"]["method_settings"] = {"hcep": {"score": "log_softmax"}}
    assert Config.read(config).run_settings("demo", "hcep")["score"] == "log_softmax"


def test_controls_differ_from_hcep_in_one_setting_only(config):
    config["task_definitions"]["demo"]["method_settings"] = {}
    hcep = Config.read(config).run_settings("demo", "hcep")
    for name, change in (("frozen_prompts", {"prompts": "frozen"}), ("points_random_pos_neg", {"points": "free"})):
        assert Config.read(config).run_settings("demo", name) == hcep | change


def test_words_are_the_tasks_labels_only(config):
    words = Config.read(config).run_settings("ravdess", "hcep")["words"]
    assert set(words) == set(config["task_definitions"]["ravdess"]["labels"])
    assert words["happiness"] == "happy" and words["neutral"] == "neutral"


def test_a_setting_that_a_method_does_not_read_is_refused(config):
    config["methods"]["arpl_mm"]["cosine_scale"] = 1
    with pytest.raises(HcepError, match=r"methods: arpl_mm sets 'cosine_scale', which base 'arpl_mm' does not read"):
        Config.read(config).run_settings("demo", "arpl_mm")


@pytest.mark.parametrize(("task", "method", "hint"), [("dmo", "hcep", "demo"), ("demo", "hcpe", "hcep")])
def test_misspelt_names_get_the_nearest(config, task, method, hint):
    with pytest.raises(HcepError, match=f"did you mean '{hint}'"):
        Config.read(config).run_settings(task, method)


def test_a_misspelt_base_gets_the_nearest(config):
    config["methods"]["hcep"]["base"] = "linaer"
    with pytest.raises(HcepError, match="did you mean 'linear'"):
        Config.read(config).run_settings("demo", "hcep")


def test_no_epochs_are_refused_where_something_is_to_be_learnt(config, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    config["task_definitions"]["demo"]["methods"] = ["open_vclip_zs"]
    check_config(Config.read(config))
    config["task_definitions"]["demo"]["methods"] = ["open_vclip"]
    config["methods"]["open_vclip"]["epochs"] = 0
    with pytest.raises(HcepError, match="open_vclip has epochs: 0, and would learn nothing"):
        check_config(Config.read(config))


def test_a_method_that_learns_nothing_has_neither_rate_nor_epochs(config, monkeypatch):
    class ClassMeans(Common, Missing):
        target = "means:ClassMeans"
        inputs = "features"

    monkeypatch.setitem(METHODS, "class_means", ClassMeans)
    monkeypatch.chdir(REPOSITORY)
    config["methods"]["class_means"] = {"base": "class_means"}
    config["task_definitions"]["demo"]["methods"] = ["class_means"]
    check_config(Config.read(config))
    assert not {"epochs", "lr", "lr_step", "momentum"} & set(Config.read(config).run_settings("demo", "class_means"))
    config["methods"]["class_means"]["epochs"] = 0
    with pytest.raises(HcepError, match="methods: class_means sets 'epochs', which base 'class_means' does not read"):
        Config.read(config).run_settings("demo", "class_means")


def test_a_setting_that_nobody_writes_has_its_default(config):
    config["training"] = {"missing": "zero_feature"}
    assert Config.read(config).run_settings("demo", "linear_msp")["missing"] == "zero_feature"
    del config["training"]
    assert Config.read(config).run_settings("demo", "linear_msp")["missing"] == "neutral"


def test_a_default_that_is_written_out_changes_no_text_that_snakemake_compares(config):
    before = Config.read(config)
    config["datasets"]["demo"] |= {"timeout": 60, "max_failures": 0.01, "text": "manifest"}
    config["training"] = {"resident_gb": 4, "cosine_scale": 100, "hesp_step_norm": 50}
    after = Config.read(config)
    assert settings_text(dict(after.dataset("demo"))) == settings_text(dict(before.dataset("demo")))
    for method in before.methods:
        one, two = (settings_text(whole.run_settings("mafw", method)) for whole in (before, after))
        assert one == two


def test_no_two_methods_mean_different_things_by_one_setting():
    for name, field in Changes.model_fields.items():
        for base, model in METHODS.items():
            own = model.model_fields.get(name)
            assert own is None or repr(own) == repr(field), (name, base)


def test_what_reads_as_a_number_is_not_turned_into_one(config):
    for bad in (100.0, "100", True):
        config["training"] = {"epochs": bad}
        with pytest.raises(HcepError, match=r"training.epochs: .* is not of type 'integer'"):
            Config.read(config)


def test_the_tables_of_the_documentation_are_those_of_the_declarations():
    text = (REPOSITORY / "config" / "README.md").read_text(encoding="utf-8")
    assert document(text) == text, "run `python -m hcep.config.document`"
    assert text.count("<!-- settings: ") == 8
    for model in (Config, Dataset, Encoder, Task, Evaluation, Unknowns, Robustness, Changes):
        for name, field in model.model_fields.items():
            assert field.description and f"| `{name}` | " in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: {c: 1}\na: 2\n", r"f\.yaml, row 3: not valid YAML: 'a' occurs twice, first in row 1"),
        ("b:\n  c: 1\n  d: 2\n  c: 3\n", r"row 4: not valid YAML: 'c' occurs twice, first in row 2"),
        ("a: [\n", "row 2: not valid YAML"),
    ],
)
def test_a_key_that_is_written_twice_is_named_with_both_rows(tmp_path, text, said):
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(HcepError, match=said):
        read_configs([tmp_path / "f.yaml"])
    (tmp_path / "good.yaml").write_text("x: &one {lr: 1}\ny: {<<: *one, lr: 2}\n")
    assert read_configs([tmp_path / "good.yaml"])["y"] == {"lr": 2}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"caption": "c", "colums": {"a": "demo/k8u2"}, "rows": []}, "'colums' was unexpected.*did you mean 'columns'"),
        ({"caption": "c", "columns": {"a": "demo"}, "rows": [ROW]}, "tables.t.columns.a: 'demo' is no place"),
        ({"caption": "c", "columns": {"a": "demo/k8u2"}, "rows": [ROW, ROW]}, "row 'A' is listed twice"),
        ({"caption": "c", "columns": {"a": "demo/k8u2"}, "rows": []}, "tables.t.rows: has 0 entries"),
        ({"caption": "c", "columns": {"a": "demo/k9"}, "rows": [ROW]}, "tables.t: .*'k9'"),
        ({"caption": "c", "columns": {"a": "dmo/k8u2"}, "rows": [ROW]}, "tables.t: there is no task 'dmo'.*'demo'"),
        ({"caption": "c", "columns": {"a": "demo/k8u2"}, "rows": [{"name": "A", "method": "hcpe"}]}, "mean 'hcep'"),
        (
            {"caption": "c", "columns": {"a": "demo/k8u2"}, "rows": [ROW], "costs": {"gflop": "gflop_per_clip"}},
            "no metric of this table 'gflop'",
        ),
        ({"caption": "c", "method": "hcep", "baseline": "x", "tasks": ["demo"]}, "tables.t: there is no method 'x'"),
    ],
)
def test_tables_are_checked_before_anything_runs(config, table, said, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    config["tables"] = {"t": table}
    with pytest.raises(HcepError, match=said):
        check_config(Config.read(config))


def test_only_cached_features_can_be_those_of_another_encoder(config, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    config["methods"]["mine"] = {"base": "hcep", "encoder": "imagebind"}
    with pytest.raises(HcepError, match=r"methods.mine: base 'hcep' reads frames, sound and words"):
        check_config(Config.read(config))
    config["methods"]["mine"] = {"base": "linear", "encoder": "imagbind"}
    with pytest.raises(HcepError, match=r"methods.mine: there is no encoder 'imagbind'.*'imagebind'"):
        check_config(Config.read(config))
    config["methods"]["mine"] = {"base": "linear", "encoder": "imagebind"}
    check_config(Config.read(config))
    config["encoders"]["imagebind"] = {"source": "import"}
    with pytest.raises(HcepError, match=r"encoders.imagebind: imported features need a width"):
        check_config(Config.read(config))


def test_a_series_takes_methods_on_features_without_a_grid(config, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    task = config["task_definitions"]["demo"]
    task |= {"series": True, "methods": ["arpl_mm", "linear_msp"]}
    check_config(Config.read(config))
    for method, why in (("hcep", "reads frames, sound and words"), ("arpl_mm_tuned", "tunes its settings")):
        task["methods"] = ["arpl_mm", method]
        with pytest.raises(HcepError, match=f"demo.series: {method} {why}, and its runs cannot share a job"):
            check_config(Config.read(config))
