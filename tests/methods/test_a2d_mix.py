"""A2D with Feature Mixing: every term of the loss against a plain formula, outliers by hand, and when they begin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from rivals import build_on_features
from small import MemoryFeed, feature_batch

from hcep.methods.a2d_mix import disagreement, entropy_share, hellinger, swap, without_own
from hcep.methods.method import log_max_softmax
from hcep.training.loop import Trainer


def softmax(row):
    odds = [math.exp(value) for value in row]
    return [value / sum(odds) for value in odds]


def plain_hellinger(p, q):
    return math.sqrt(sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in zip(p, q, strict=True)) / 2)


def plain_disagreement(single):
    """Of logits (3, B, K), by loops."""
    found = [
        plain_hellinger(softmax(single[i][b]), softmax(single[j][b]))
        for i, j in ((0, 1), (0, 2), (1, 2))
        for b in range(len(single[0]))
    ]
    return sum(found) / len(found)


def plain_entropy(logits):
    """Of logits (B, K), as a share of log K, by loops."""
    shares = [-sum(p * math.log(p) for p in softmax(row)) / math.log(len(row)) for row in logits]
    return sum(shares) / len(shares)


def heads(method, parts):
    """Logits of the three single heads and of the joint one, as nested lists."""
    with torch.no_grad():
        single = [head(part).tolist() for head, part in zip(method.single, parts, strict=True)]
        return single, method.classifier(method.head.fuse(torch.cat(parts, 1))).tolist()


def embeddings(method, batch):
    with torch.no_grad():
        head = method.head
        return [head.text(batch.text), head.vision(batch.vision), head.audio(batch.audio)]


def test_hellinger_by_hand():
    p = torch.tensor([[0.5, 0.5], [0.36, 0.64], [0.2, 0.8]], dtype=torch.float64)
    q = torch.tensor([[0.5, 0.5], [0.64, 0.36], [1.0, 0.0]], dtype=torch.float64)
    # the second: roots 0.6, 0.8 against 0.8, 0.6; the third: a probability of 0 counts as 1e-6
    third = math.sqrt(((math.sqrt(0.2) - 1) ** 2 + (math.sqrt(0.8) - 0.001) ** 2) / 2)
    assert hellinger(p, q).tolist() == pytest.approx([0, 0.2, third], abs=1e-6)


def test_equal_predictions_have_a_gradient_and_it_is_finite():
    logits = [torch.zeros(2, 3, requires_grad=True) for _ in range(3)]
    disagreement(logits).backward()
    assert all(torch.isfinite(value.grad).all() for value in logits)


def test_the_own_class_is_taken_out():
    logits = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    assert without_own(logits, torch.tensor([0, 2, 1])).tolist() == [[2.0, 3.0], [4.0, 5.0], [7.0, 9.0]]


def test_entropy_by_hand():
    even, certain = torch.zeros(2, 4), torch.tensor([[0.0, 200.0, 0.0]])
    assert float(entropy_share(even)) == pytest.approx(1) and float(entropy_share(certain)) == pytest.approx(0)
    odd = [[1.0, 2.0, -1.0], [0.5, 0.0, 0.3]]
    assert float(entropy_share(torch.tensor(odd))) == pytest.approx(plain_entropy(odd), rel=1e-5)


def test_an_outlier_has_the_dimensions_of_the_modality_before():
    text, vision, audio = (torch.full((1, 3), value) for value in (1.0, 2.0, 3.0))
    found = swap([text, vision, audio], torch.tensor([True, False, True]))
    assert [part.tolist()[0] for part in found] == [[3.0, 1.0, 3.0], [1.0, 2.0, 1.0], [2.0, 3.0, 2.0]]


@pytest.mark.parametrize("epoch", [0, 1])
def test_every_term_is_the_loops(epoch):
    weights = {"a2d_weight": 0.7, "outlier_weight": 0.3, "entropy_weight": 0.2}
    method, batch = build_on_features("a2d_mix", outlier_start=1, **weights), feature_batch(7)
    method.begin_step(1)
    method.epoch.fill_(epoch)
    terms = {name: value.item() for name, value in method.loss(batch).items()}
    parts, label = embeddings(method, batch), batch.label.tolist()
    single, joint = heads(method, parts)
    errors = [-math.log(softmax(row)[k]) for logits in (joint, *single) for row, k in zip(logits, label, strict=True)]
    assert terms["loss_cls"] == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    rest = [[row[:k] + row[k + 1 :] for row, k in zip(logits, label, strict=True)] for logits in single]
    assert terms["loss_a2d"] == pytest.approx(-0.7 * plain_disagreement(rest), rel=1e-4)
    assert terms["accuracy"] == pytest.approx(np.mean(np.argmax(joint, 1) == label))
    if epoch == 0:
        assert terms["loss_outlier"] == terms["loss_entropy"] == 0
        return
    mixed = [part.clone() for part in parts]
    for dimension in method.swapped.nonzero()[:, 0].tolist():
        for to, source in ((0, 2), (1, 0), (2, 1)):
            mixed[to][:, dimension] = parts[source][:, dimension]
    outlying, joint_outlying = heads(method, mixed)
    assert terms["loss_outlier"] == pytest.approx(-0.3 * plain_disagreement(outlying), rel=1e-4)
    entropy = sum(plain_entropy(logits) for logits in (joint_outlying, *outlying)) / 4
    assert terms["loss_entropy"] == pytest.approx(-0.2 * entropy, rel=1e-5)


def test_outliers_begin_with_their_epoch_and_reach_the_embeddings():
    method = build_on_features("a2d_mix", outlier_start=2)
    method.begin(feature_batch(9).split(3))
    seen = []
    for step in range(8):
        seen.append(int(method.epoch))
        method.after_step(step)
    assert seen == [0, 0, 0, 1, 1, 1, 2, 2]
    method.begin_step(1)
    method.loss(feature_batch())["loss_entropy"].backward()
    assert all(layer.weight.grad.any() for layer in (method.head.text, method.head.vision, method.head.audio))


@pytest.mark.parametrize(("share", "count"), [(0.5, 16), (0.25, 8)])
def test_every_step_draws_its_share_of_dimensions_anew(share, count):
    method = build_on_features("a2d_mix", swap_share=share)
    drawn = []
    for _ in range(3):
        method.begin_step(1)
        drawn.append(method.swapped.clone())
    assert [int(one.sum()) for one in drawn] == [count] * 3 and not torch.equal(drawn[0], drawn[1])


def test_micro_batches_share_the_outliers_dimensions(tmp_path):
    grads = []
    for micro in (0, 3):
        method = build_on_features("a2d_mix", micro_batch=micro, batch_size=6, outlier_start=0)
        batch = feature_batch()
        method.begin([batch])
        Trainer(method, MemoryFeed(batch), method.settings, 0, tmp_path).runner.step(batch)
        grads.append([value.grad for value in method.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_score_is_that_of_the_joint_head():
    batch = feature_batch()
    for setting, of_logits in (("log_softmax", log_max_softmax), ("max_logit", lambda logits: logits.amax(1))):
        method = build_on_features("a2d_mix", score=setting)
        joint = torch.tensor(heads(method, embeddings(method, batch))[1], dtype=torch.float64)
        found = method.predict(batch)
        torch.testing.assert_close(found.logits, joint, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(found.score, of_logits(joint), atol=1e-5, rtol=1e-5)


def test_a2d_steps_with_adam_unless_it_shares_the_rule_of_the_others():
    for setting, rule in (("official", "adam"), ("shared", "sgd")):
        method = build_on_features("a2d_mix", rival_optimiser=setting)
        (group,) = method.parameter_groups(method.settings)
        assert group.rule == rule and len(group.params) == len(list(method.parameters()))


def test_heads_that_may_disagree_do(tmp_path):
    """After training, single heads are further apart off the true class than without the term."""
    apart = {}
    for weight in (0.0, 5.0):
        method = build_on_features("a2d_mix", a2d_weight=weight, epochs=60, lr=0.01, lr_step=60, outlier_start=99)
        batch = feature_batch(12)
        Trainer(method, MemoryFeed(batch), method.settings, 0, tmp_path / str(weight)).run()
        with torch.no_grad():
            logits = [head(part) for head, part in zip(method.single, embeddings(method, batch), strict=True)]
            apart[weight] = float(disagreement([without_own(value, batch.label) for value in logits]))
    assert apart[5.0] > apart[0.0] + 0.1
