"""Rows whose steps are the same are trained once: what the second takes over is what it would have learned itself."""

from __future__ import annotations

import pytest
import torch
from small import settings_for
from small_cache import inputs_of, run
from workspace import REPOSITORY

from hcep import registry
from hcep.config.methods import METHODS, SCORING, base_method
from hcep.config.whole import read_config
from hcep.errors import HcepError
from hcep.evaluation.scores import read_scores
from hcep.files import read_table
from hcep.training.checkpoint import read_checkpoint
from hcep.training.score import score
from hcep.training.train import Trained, train

CLOCK = {"samples_per_s", "memory_gb"}


def train_as(cache, folder, other, base, seed=0, **changes):
    """Train one row from the files of another."""
    inputs, method = inputs_of(cache, base), registry.load(base_method(base).target)
    train(
        inputs, method, settings_for(base, **changes), name=f"{base}_row", seed=seed, code="c",
        model=folder / "model.safetensors", history=folder / "history.csv", work=None,
        trained=Trained(other / "model.safetensors", other / "history.csv", SCORING),
    )  # fmt: skip
    score(inputs, method, folder / "model.safetensors", folder / "scores.h5", folder / "timing.json")


# another value of everything that may differ
OTHER = {
    **{"score": "max_logit", "rival_score": "msp", "logistic_c": 0.5},
    **{"distance_power": 0.5, "ridge": 0.1, "score_folds": 2},
}
# as few epochs as the base allows
SHORT = {name: {"epochs": 2 if name == "negprompt_mm" else 1} for name in METHODS}
ON_MEDIA = [name for name, entry in METHODS.items() if entry.inputs == "media"]


def changed(base):
    """The settings of a base that only scoring may read, with other values."""
    return {name: OTHER[name] for name in METHODS[base].model_fields if name in SCORING}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("hcep", {}), ("hcep_distance", {})),
        (("hcep_distance", {"prompts": "frozen"}), ("hcep", {"prompts": "frozen"})),
        *(((base, {}), (base, changed(base))) for base in ON_MEDIA),
        *(((base, SHORT[base]), (base, SHORT[base] | changed(base))) for base in ON_MEDIA),
    ],
)
def test_it_is_what_the_row_learns_by_itself(cache, tmp_path, first, second):
    for name in ("first", "alone", "taken"):
        (tmp_path / name).mkdir()
    run(cache, tmp_path / "first", first[0], **first[1])
    alone, rows = run(cache, tmp_path / "alone", second[0], **second[1])
    train_as(cache, tmp_path / "taken", tmp_path / "first", second[0], **second[1])
    taken = read_scores(tmp_path / "taken/scores.h5")
    models = [read_checkpoint(tmp_path / name / "model.safetensors") for name in ("alone", "taken")]
    assert models[0][0].keys() == models[1][0].keys()
    assert all(torch.equal(models[0][0][name], models[1][0][name]) for name in models[0][0])
    assert models[0][1]["epoch"] == models[1][1]["epoch"] and models[1][1]["trained_as"] == f"{first[0]}_row"
    assert (alone.logits == taken.logits).all() and (alone.score == taken.score).all()
    kept = read_table(tmp_path / "taken/history.csv")
    assert [{key: row[key] for key in row if key not in CLOCK} for row in rows] == [
        {key: row[key] for key in row if key not in CLOCK} for row in kept
    ]


@pytest.mark.parametrize(("changes", "seed", "named"), [({}, 1, "seed"), ({"lr": 0.001}, 0, "settings")])
def test_other_steps_are_refused(cache, tmp_path, changes, seed, named):
    run(cache, tmp_path, "hcep")
    with pytest.raises(HcepError, match=f"its training is not that of hcep_row: other {named}"):
        train_as(cache, tmp_path / "taken", tmp_path, "hcep", seed, score="max_logit", **changes)


def test_another_base_of_its_own_steps_does_not_inherit_whose_they_are(monkeypatch):
    class Mine(METHODS["hcep_distance"]):
        target = "hcep.methods.mine:Mine"

    monkeypatch.setitem(METHODS, "mine", Mine)
    config = read_config([REPOSITORY / "config" / name for name in ("config.yaml", "tables.yaml")])
    config.methods["mine"] = config.methods["hcep_distance"].model_copy(update={"base": "mine"})
    assert config.training_of("mafw", "mine")[0] == "mine"
    assert config.training_of("mafw", "hcep_distance")[0] == "hcep"


def test_the_configuration_knows_which_rows_have_the_same_steps():
    config = read_config([REPOSITORY / "config" / name for name in ("config.yaml", "tables.yaml")])

    def same(one, two, task="mafw"):
        steps = config.training_of(task, one)
        return steps is not None and steps == config.training_of(task, two)

    assert same("hcep", "hcep_distance") and same("frozen_prompts", "frozen_prompts_distance")
    assert same("negprompt_mm", "negprompt_mm_msp") and same("cssr", "cssr_msp")
    assert not same("hcep", "frozen_prompts") and not same("hcep", "hcep_adam") and not same("hcep", "hcep_tuned")
    # seconds, and an epoch that is chosen by scores
    assert not same("cpn_mm", "cpn_mm_msp") and not same("negprompt_mm", "negprompt_mm_released")
