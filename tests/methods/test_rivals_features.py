"""Rivals on cached features: what all share, and MoMKE's two stages."""

from __future__ import annotations

import math

import pytest
import torch
from rivals import FULL, build_on_features
from small import CLASSES, MemoryFeed, count_learnable, feature_batch, settings_for

from hcep import registry
from hcep.config.methods import base_method
from hcep.methods import momke
from hcep.methods.class_means import class_means
from hcep.methods.optimiser import Optimiser, OptimiserGroup
from hcep.training.loop import Trainer

RIVALS = ("cpn_mm", "lpl_mm", "cssr_mm", "momke", "a2d_mix")
ON_THE_HEAD = ("arpl_mm", "linear", "cpn_mm", "cssr_mm", "a2d_mix")


@pytest.fixture(autouse=True)
def narrow_experts(monkeypatch):
    monkeypatch.setattr(momke, "WIDTH", 16)


def total(method, batch):
    return sum(value for key, value in method.loss(batch).items() if key.startswith("loss_"))


@pytest.mark.parametrize("known", [2, 4, 8])
@pytest.mark.parametrize(
    ("base", "constant", "per_class", "further"),
    [
        ("cpn_mm", 1_705_984, 513, 0),
        ("lpl_mm", 0, 1_795, 0),
        ("cssr_mm", 1_705_984, 65_536, 0),
        ("a2d_mix", 1_705_984, 2_052, 0),
        ("arpl_mm", 1_705_985, 512, 0),
    ],
)
def test_parameter_counts_of_the_ledger(base, constant, per_class, further, known):
    cls = registry.load(base_method(base).target)
    classes = [f"class {i}" for i in range(known)]
    assert count_learnable(cls, classes, FULL, None, settings_for(base)) == constant + per_class * known + further


def test_heads_start_from_the_same_values():
    first = build_on_features(ON_THE_HEAD[0], seed=5).head.state_dict()
    for base in ON_THE_HEAD[1:]:
        own = build_on_features(base, seed=5).head.state_dict()
        assert all(torch.equal(own[key], value) for key, value in first.items()), base


@pytest.mark.parametrize("base", RIVALS)
def test_two_classes_and_an_absent_modality(base):
    method = build_on_features(base, CLASSES[:2], batch_size=3)
    batch = feature_batch(6)._replace(label=torch.tensor([0, 1, 0, 1, 0, 1]))
    method.begin(batch.split(3))
    total(method, batch).backward()
    method.optimizer(method.settings).step()
    method.after_step(0)
    method.finish(batch.split(4))
    out = method.predict(batch)
    assert out.logits.shape == (6, 2) and out.logits.dtype == torch.float64
    assert torch.isfinite(out.score).all() and torch.isfinite(out.logits).all() and out.score.unique().numel() == 6
    assert set(out.features) == {"text", "vision", "audio", "fused"}


@pytest.mark.parametrize("base", [base for base in RIVALS if base != "momke"])
def test_gradient_reaches_every_parameter(base):
    method, batch = build_on_features(base), feature_batch()
    method.begin([batch])
    total(method, batch).backward()
    for name, value in method.named_parameters():
        assert value.grad is not None and value.grad.abs().sum() > 0, name


@pytest.mark.parametrize("base", [base for base in RIVALS if base != "momke"])
def test_what_a_cleared_modality_holds_makes_no_difference(base):
    batch = feature_batch()
    other = batch._replace(audio=batch.audio.clone())
    other.audio[0] = 7.0  # the first clip lacks sound
    one, two = (build_on_features(base, missing="zero_feature").predict(value).score for value in (batch, other))
    torch.testing.assert_close(one, two, atol=0, rtol=0)
    assert build_on_features(base).predict(batch).score[0] != build_on_features(base).predict(other).score[0]


@pytest.mark.parametrize("base", RIVALS)
def test_micro_batches_give_the_gradients_of_the_whole_batch(tmp_path, base):
    grads = []
    for micro in (0, 2):
        method = build_on_features(base, micro_batch=micro, batch_size=6)
        method.begin([feature_batch()])
        Trainer(method, MemoryFeed(feature_batch()), method.settings, 0, tmp_path).runner.step(feature_batch())
        grads.append([value.grad for value in method.parameters() if value.grad is not None])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("base", RIVALS)
def test_a_run_broken_off_ends_with_the_same_bits(tmp_path, base):
    def trainer(work, epochs):
        method = build_on_features(base, epochs=4, batch_size=4)
        return Trainer(method, MemoryFeed(feature_batch(10)), method.settings | {"epochs": epochs}, 0, tmp_path / work)

    whole = trainer("whole", 4)
    rows = whole.run()
    for epochs in (1, 3):
        trainer(f"broken{epochs}", epochs).run()
        again = trainer(f"broken{epochs}", 4)
        assert [row["loss"] for row in again.run()] == [row["loss"] for row in rows]
        for key, value in whole.method.state_dict().items():
            assert torch.equal(again.method.state_dict()[key], value), key


@pytest.mark.parametrize("base", RIVALS)
def test_a_checkpoint_carries_what_finish_found(base):
    method, batch = build_on_features(base), feature_batch(9)
    method.begin(batch.split(4))
    method.finish(batch.split(4))
    fresh = build_on_features(base, seed=1)
    fresh.load_state_dict(method.state_dict())
    torch.testing.assert_close(fresh.predict(batch).score, method.predict(batch).score, atol=0, rtol=0)


def test_class_means_leave_an_empty_class_at_zero():
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0], [10.0, 0.0]])
    assert class_means(values, torch.tensor([2, 2, 0]), 3).tolist() == [[10.0, 0.0], [0.0, 0.0], [2.0, 4.0]]


def test_adamw_takes_the_decay_off_the_weight_and_adam_adds_it_to_the_gradient():
    moved = {}
    for rule in ("adam", "adamw"):
        weight = torch.nn.Parameter(torch.tensor([2.0]))
        optimiser = Optimiser([OptimiserGroup("all", [weight], rule, 0.1, 0.25, 0.0)])
        optimiser.set_factor(0.5)
        weight.grad = torch.tensor([-0.001])
        optimiser.step()
        moved[rule] = float(weight.detach() - 2)
    # a first step is lr = 0.05 long: against 0.25 * 2 - 0.001; or along 0.001, after a decay of 0.05 * 0.25 * 2
    assert moved == {"adam": pytest.approx(-0.05, rel=1e-3), "adamw": pytest.approx(0.05 - 0.025, rel=1e-3)}


# MoMKE


def test_momke_count_at_full_width(monkeypatch):
    monkeypatch.setattr(momke, "WIDTH", 256)
    entrance = 2 * (512 * 256 + 256) + (768 * 256 + 256)
    experts = 3 * 4 * 3 * (256 * 256 + 256)  # three experts, four blocks: values and two layers
    routers = 3 * (256 * 256 + 256 + 256 * 3 + 3)
    joint = 768 * 768 + 768
    heads = 3 * (256 * 8 + 8) + 768 * 8 + 8
    learnable = count_learnable(momke.Momke, ["c"] * 8, FULL, None, settings_for("momke"))
    assert learnable == entrance + experts + routers + joint + heads == 3_630_633


def test_momke_trains_experts_for_half_of_the_epochs_then_the_router():
    method = build_on_features("momke", epochs=5)
    stages = []
    method.begin(feature_batch(9).split(3))
    for step in range(15):
        stages.append(int(method.stage))
        method.after_step(step)
    assert stages == [1] * 6 + [2] * 9  # 3 steps an epoch, 5 // 2 epochs
    single = build_on_features("momke", epochs=1)
    single.begin(feature_batch(9).split(3))
    assert int(single.stage) == 2


def test_momke_gradients_follow_the_stage():
    batch = feature_batch()
    learning = {}
    for stage in (1, 2):
        method = build_on_features("momke")
        method.stage.fill_(stage)
        total(method, batch).backward()
        moved = {name for name, value in method.named_parameters() if value.grad is not None and value.grad.any()}
        learning[stage] = {name.partition(".")[0] for name in moved}
        expert = {name for name in moved if name.startswith(("enter.", "experts."))}
        assert len(expert) == 2 * 3 + 3 * 4 * 3 * 2
    assert learning[1] == {"enter", "experts", "expert_heads"}
    assert learning[2] == {"enter", "experts", "routers", "joint", "classifier"}


def test_momke_losses_count_an_absent_modality_as_nothing():
    method, batch = build_on_features("momke"), feature_batch(6)  # the first clip lacks sound
    for head in method.expert_heads:
        head.weight.data.zero_(), head.bias.data.zero_()
    terms = method.loss(batch)
    assert terms["loss_experts"].item() == pytest.approx((1 + 1 + 5 / 6) * math.log(3)) and terms["loss_joint"] == 0
    method.stage.fill_(2)
    other = batch._replace(audio=batch.audio.clone())
    other.audio[0] = 5.0
    assert method.loss(batch)["loss_joint"] == method.loss(other)["loss_joint"] > 0
    assert method.loss(batch)["loss_experts"] == 0


def test_momke_block_is_attention_of_a_clip_to_itself():
    torch.manual_seed(0)
    expert, x = momke.Expert().eval(), torch.randn(4, 16)
    expected = x
    for value, block in zip(expert.values, expert.mlps, strict=True):
        query, key = torch.randn(2, 4, 1, 16)
        seen = torch.nn.functional.scaled_dot_product_attention(query, key, value(expected)[:, None])[:, 0]
        hidden = torch.nn.functional.gelu(seen @ block[0].weight.T + block[0].bias)
        expected = expected + seen + hidden @ block[3].weight.T + block[3].bias
    torch.testing.assert_close(expert(x), expected)


def test_momke_joint_feature_is_the_routed_mixture():
    method, batch = build_on_features("momke"), feature_batch(4)
    with torch.no_grad():
        parts = []
        for i, name in enumerate(("text", "vision", "audio")):
            x = method.enter[i](getattr(batch, name))
            weights = torch.softmax(method.routers[i](x), 1)
            parts.append(sum(weights[:, [j]] * method.experts[j](x) for j in range(3)))
        parts[2][0] = 0  # no sound
        joined = torch.cat(parts, 1)
        hidden = joined + torch.relu(method.joint(joined))
        logits = method.classifier(hidden)
    out = method.predict(batch)
    torch.testing.assert_close(out.features["fused"], hidden)
    torch.testing.assert_close(out.score.exp(), torch.softmax(logits.double(), 1).max(1).values, atol=1e-6, rtol=1e-6)
    raw = build_on_features("momke", score="max_logit").predict(batch)
    torch.testing.assert_close(raw.score, logits.double().max(1).values, atol=1e-6, rtol=1e-6)


def test_momke_steps_with_adam_unless_it_shares_the_rule_of_the_others():
    for setting, rule in (("official", "adam"), ("shared", "sgd")):
        method = build_on_features("momke", rival_optimiser=setting)
        (group,) = method.parameter_groups(method.settings)
        assert group.rule == rule and len(group.params) == len(list(method.parameters()))


# features that the user supplies
