"""The setting `audio_layers`: what it may be, what Snakemake compares of it, and which methods cannot take it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from hcep.config.whole import Config
from hcep.errors import HcepError
from hcep.planning.checks import check_config
from hcep.planning.clips import ClipPlan
from hcep.planning.engine import Engine
from hcep.planning.runs import RunPlan

REPOSITORY = Path(__file__).parents[2]
CONFIG = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
FEATURES = ["arpl_mm", "linear_msp", "cpn_mm", "lpl_mm", "cssr_mm", "momke"]


@pytest.fixture
def config(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    values = yaml.safe_load(yaml.safe_dump(CONFIG))
    values["task_definitions"]["demo"]["methods"] = FEATURES
    return values


def checked(config, layers, entry="demo"):
    config["encoders"][entry]["audio_layers"] = layers
    check_config(Config.read(config))


@pytest.mark.parametrize("layers", ["last", "mean", "learned", [1], [0, 2], [2, 1]], ids=str)
def test_words_and_lists_of_the_towers_layers_are_taken(config, layers):
    checked(config, layers)


@pytest.mark.parametrize("bad", ["first", 6, [], [1, 1], [-1], ["1"], [True], 1.5, None, {"6": 1}], ids=str)
def test_anything_else_is_refused_with_its_place(config, bad):
    said = r"config, encoders.demo.audio_layers: .* is none of last, mean and learned, and no list of different layers"
    with pytest.raises(HcepError, match=said):
        checked(config, bad)


def test_a_layer_that_the_packages_model_does_not_have_is_refused_before_anything_runs(config):
    with pytest.raises(HcepError, match=r"encoders.demo: audio_layers \[1, 3\]: the audio model has 2 layers"):
        checked(config, [1, 3])


def test_imported_features_have_no_layers_to_choose(config):
    with pytest.raises(HcepError, match=r"encoders.imagebind: imported features have no audio_layers"):
        checked(config, "mean", "imagebind")


@pytest.mark.parametrize("method", ["logistic_msp", "distance_mm", "hcep", "frozen_prompts"])
def test_methods_that_cannot_learn_the_weights_are_refused_before_anything_runs(config, method):
    config["task_definitions"]["demo"]["methods"] = [*FEATURES, method]
    checked(config, "mean")
    with pytest.raises(HcepError, match=rf"encoder demo has audio_layers: learned, and {method} cannot learn their"):
        checked(config, "learned")
    # also where the method alone has such an encoder
    config["encoders"] |= {"other": {"source": "package", "audio_layers": "learned"}, "demo": {"source": "package"}}
    if method in ("logistic_msp", "distance_mm"):
        config["methods"][method]["encoder"] = "other"
        with pytest.raises(HcepError, match=r"task_definitions.demo: encoder other has audio_layers: learned"):
            check_config(Config.read(config))


def test_methods_on_frames_alone_do_not_mind(config):
    config["task_definitions"]["demo"]["methods"] = ["arpl", "cssr", "hesp", "open_vclip", "linear_msp"]
    checked(config, "learned")


def plans(config):
    engine = Engine(lambda dataset: "", lambda path: path, is_main=True)
    clips = ClipPlan(Config.read(config), engine)
    return clips, RunPlan(clips.config, clips)


def test_the_usual_choice_is_no_part_of_what_snakemake_compares(config):
    """So nothing is fetched or counted again for it; another choice is a part of both."""
    texts = []
    for layers in (None, "last", "mean"):
        config["encoders"]["clip_wav2vec2"] = {"source": "hub"} | ({"audio_layers": layers} if layers else {})
        config["methods"]["own"] = {"base": "arpl_mm", "encoder": "clip_wav2vec2"}
        clips, runs = plans(config)
        fetched = json.loads(clips.encoder_settings(SimpleNamespace(encoder="clip_wav2vec2")))
        counted = json.loads(runs.costs("demo", ["own", "linear_msp"]))["methods"]
        texts.append((fetched, counted))
    assert texts[0] == texts[1] and "audio_layers" not in texts[0][0]
    assert texts[2][0] == texts[0][0] | {"audio_layers": "mean"}
    assert texts[2][1]["own"] == texts[0][1]["own"] | {"audio_layers": "mean"}
    assert texts[2][1]["linear_msp"] == texts[0][1]["linear_msp"]
