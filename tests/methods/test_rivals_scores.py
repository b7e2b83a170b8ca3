"""CPN, LPL and CSSR on cached features: losses and scores by hand, statistics by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from rivals import build_on_features
from small import feature_batch

from hcep.config.methods import base_method
from hcep.methods.cpn_mm import warm_up
from hcep.methods.lpl_mm import fuse
from hcep.methods.method import Batch, Sizes

PLAIN = Sizes(0, 0, 0, 2, 2, 2)


class TextAlone(torch.nn.Module):
    """Stands in for the fusion head where the fused feature must be known."""

    def forward(self, text, vision, audio):
        return text


def clip(*rows, label=(0,), vision=None, audio=None):
    text = torch.tensor(rows)
    other = [torch.zeros_like(text) if value is None else torch.tensor(value) for value in (vision, audio)]
    missing = torch.zeros(len(rows), 3, dtype=torch.bool)
    return Batch(torch.arange(len(rows)), torch.tensor(label), missing, None, None, None, text, *other)


# CPN


def cpn(**changes):
    method = build_on_features("cpn_mm", ("a", "b"), PLAIN, **changes)
    method.head = TextAlone()
    method.prototypes.data = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    method.thresholds.data = torch.tensor([2.0, 1.0])
    return method


def test_cpn_losses_by_hand():
    method = cpn()
    method.temperature.fill_(0.5)
    # squared distances of (1, 0): 1 and 4; logits 0.5 (2 - 1), 0.5 (1 - 4) and 0
    terms = method.loss(clip((1.0, 0.0)))
    assert terms["loss_ova"].item() == pytest.approx(math.log1p(math.exp(-0.5)) + math.log1p(math.exp(-1.5)))
    assert terms["loss_ova"].item() == pytest.approx(0.675490, abs=1e-6)
    assert terms["loss_ce"].item() == pytest.approx(0.527209, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "score"),
    [({}, -0.326562), ({"cpn_delta": -0.95}, 1.018150), ({"rival_score": "msp"}, -0.018150)],
)
def test_cpn_scores_by_hand(changes, score):
    out = cpn(**changes).predict(clip((1.0, 0.0)))
    assert out.logits.tolist() == [[1.0, -3.0]]  # at temperature 1, not at that of the warm-up
    assert out.score.item() == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("delta", [0.5, -0.95])
def test_cpn_scores_stand_for_the_authors_rule(delta):
    method, batch = build_on_features("cpn_mm", cpn_delta=delta), feature_batch(40)
    method.begin([batch])
    out = method.predict(batch)
    odds = np.exp(out.logits.numpy())
    posterior = odds / (1 + odds.sum(1, keepdims=True))
    rule = np.minimum(posterior.sum(1), posterior.max(1) - delta)
    assert np.array_equal(np.argsort(rule), np.argsort(out.score.numpy()))


def test_cpn_takes_the_delta_of_the_recipe_that_it_is_trained_by():
    assert base_method("cpn_mm").model_fields["cpn_delta"].default == 0.5
    # midway between the prototypes both accept a clip (logits 3.75 and 3.75), beside one it is one alone (3 and -6)
    batch, scores = clip((1.5, 0.0), (0.0, 1.7320508)), {}
    for delta in (0.5, -0.95):
        method = cpn(cpn_delta=delta)
        method.thresholds.data = torch.tensor([6.0, 6.0])
        scores[delta] = method.predict(batch).score.tolist()
    between, own = math.exp(3.75), math.exp(3)
    likeliest = [math.log(between / (1 + 2 * between)), math.log(own / (1 + own + math.exp(-6)))]
    assert scores[0.5] == pytest.approx(likeliest, abs=1e-6) and scores[0.5][0] < scores[0.5][1]
    assert scores[-0.95] == pytest.approx([math.log(2 * between), math.log(own + math.exp(-6))], abs=1e-6)
    assert scores[-0.95][0] > scores[-0.95][1]


def test_cpn_score_neither_saturates_nor_overflows():
    method = cpn()
    method.thresholds.data = torch.tensor([60.0, -2000.0])
    out = method.predict(clip((1.0, 0.0), (0.9, 0.0), (60.0, 0.0)))
    assert torch.isfinite(out.score).all() and out.score[1] > out.score[0] > out.score[2]


def test_cpn_temperature_warms_up_over_15_epochs_or_half_of_a_shorter_run():
    assert [round(warm_up(epoch, 150), 6) for epoch in (0, 5, 15, 16, 149)] == [0.01, 0.2575, 1, 1, 1]
    assert warm_up(5, 10) == 1 and warm_up(4, 10) < 1 and warm_up(0, 1) == 0.01
    method = build_on_features("cpn_mm", epochs=150)
    method.begin(feature_batch(9).split(3))
    seen = []
    for step in range(4):
        seen.append(round(float(method.temperature), 6))
        method.after_step(step)
    assert seen == [0.01, 0.01, 0.01, round(warm_up(1, 150), 6)]


def test_cpn_starts_at_class_means_and_6_times_their_mean_variance():
    method, batch = build_on_features("cpn_mm"), feature_batch(10)
    with torch.no_grad():
        x = method.head(batch.text, batch.vision, batch.audio).double().numpy()
    y = batch.label.numpy()
    means = np.stack([x[y == k].mean(0) for k in range(3)])
    variances = [np.mean([((row - means[k]) ** 2).sum() for row in x[y == k]]) for k in range(3)]
    method.begin(batch.split(4))
    np.testing.assert_allclose(method.prototypes.detach().numpy(), means, atol=1e-6)
    np.testing.assert_allclose(method.thresholds.detach().numpy(), 6 * np.mean(variances), rtol=1e-6)


def test_cpn_decays_matrices_alone_and_can_share_the_rule_of_the_others():
    method = build_on_features("cpn_mm")
    matrices, vectors = method.parameter_groups(method.settings)
    assert {matrices.rule, vectors.rule} == {"adamw"} and (matrices.weight_decay, vectors.weight_decay) == (1e-4, 0)
    assert any(value is method.thresholds for value in vectors.params)
    assert len(matrices.params) + len(vectors.params) == len(list(method.parameters()))
    shared = build_on_features("cpn_mm", rival_optimiser="shared")
    assert [group.rule for group in shared.parameter_groups(shared.settings)] == ["sgd"]


# LPL


def lpl(**changes):
    method = build_on_features("lpl_mm", ("a", "b"), PLAIN, **changes)
    for head in method.heads:
        head.weight.data, head.bias.data = torch.eye(2), torch.zeros(2)
    return method


def reference_fusion(single, anchors):
    """Fused logits of one clip by plain loops."""
    certainty = []
    for logits, own in zip(single, anchors, strict=True):
        inverse = [1 / math.dist(logits, anchor) for anchor in own]
        share = [value / sum(inverse) for value in inverse]
        certainty.append(math.exp(sum(q * math.log(q) for q in share)))
    weights = [value / sum(certainty) for value in certainty]
    return sum(weight * np.asarray(logits) for weight, logits in zip(weights, single, strict=True))


def reference_distance(logits, anchor):
    cosine = np.dot(logits, anchor) / (np.linalg.norm(logits) * np.linalg.norm(anchor))
    return math.dist(logits, anchor) + 1 - cosine


def test_lpl_loss_by_hand():
    # logits 0: both distances are 5 + 1 - 0, the tuplet term log 2, the anchors 0.1 * 3 * 6
    terms = lpl().loss(clip((0.0, 0.0)))
    assert terms["loss_tuplet"].item() == pytest.approx(math.log(2)) and terms["loss_anchor"].item() == pytest.approx(
        1.8
    )
    # all modalities at (5, 0): own distance 0, the other sqrt(50) + 1
    terms = lpl().loss(clip((5.0, 0.0), vision=[[5.0, 0.0]], audio=[[5.0, 0.0]]))
    assert terms["loss_tuplet"].item() == pytest.approx(math.log1p(math.exp(-math.sqrt(50) - 1)), rel=1e-3)
    assert terms["loss_anchor"].item() == pytest.approx(0, abs=1e-6)


def test_lpl_loss_is_the_loops():
    method, single = lpl(), [(2.0, 0.5), (1.0, 3.0), (4.0, -1.0)]
    terms = method.loss(clip(single[0], vision=[single[1]], audio=[single[2]], label=(1,)))
    anchors = [(5.0, 0.0), (0.0, 5.0)]
    fused = reference_fusion(single, [anchors] * 3)
    own, other = reference_distance(fused, anchors[1]), reference_distance(fused, anchors[0])
    assert terms["loss_tuplet"].item() == pytest.approx(math.log(1 + math.exp(own - other)), rel=1e-5)
    expected = 0.1 * sum(reference_distance(logits, anchors[1]) for logits in single)
    assert terms["loss_anchor"].item() == pytest.approx(expected, rel=1e-5)


def test_lpl_fusion_weights_pass_no_gradient():
    method = lpl()
    single = torch.tensor([[[2.0, 0.5]], [[1.0, 3.0]], [[4.0, -1.0]]], requires_grad=True)
    fuse(single, method.anchors).sum().backward()
    # d(sum of the fused) / d l_j = w_j alone, and the weights add up to 1
    assert torch.equal(single.grad[:, 0, 0], single.grad[:, 0, 1])
    assert float(single.grad[:, 0, 0].sum()) == pytest.approx(1)


def test_lpl_anchors_radii_and_reliability_are_the_loops():
    method, batch = build_on_features("lpl_mm"), feature_batch(11)
    with torch.no_grad():
        features = (batch.text, batch.vision, batch.audio)
        single = [head(value).double().numpy() for head, value in zip(method.heads, features, strict=True)]
    y, rows = batch.label.numpy(), range(11)
    start = [list(5 * np.eye(3))] * 3
    fused = np.stack([reference_fusion([part[i] for part in single], start) for i in rows])
    centre = np.stack([fused[y == k].mean(0) for k in range(3)])
    anchors = [np.stack([part[y == k].mean(0) for k in range(3)]) for part in single]
    own = [
        [reference_distance(part[i], anchor[y[i]]) for i in rows] for part, anchor in zip(single, anchors, strict=True)
    ]
    radius = np.array([[np.mean(np.array(part)[y == k]) for k in range(3)] for part in own])
    method.finish(batch.split(4))
    np.testing.assert_allclose(method.fused_anchors, centre, atol=1e-5)
    np.testing.assert_allclose(method.anchors, anchors, atol=1e-5)
    np.testing.assert_allclose(method.radius, radius, rtol=1e-5)
    out, plain = method.predict(batch), build_on_features("lpl_mm", rival_score="msp")
    plain.load_state_dict(method.state_dict())
    for i in rows:
        parts = [part[i] for part in single]
        point = reference_fusion(parts, anchors)
        distance = np.array([math.dist(point, anchor) for anchor in centre])
        nearest = distance.argmin()
        rho = math.prod(radius[j, nearest] / math.dist(parts[j], anchors[j][nearest]) for j in range(3))
        np.testing.assert_allclose(out.logits[i], -rho * distance, rtol=1e-3)
        assert out.score[i].exp().item() == pytest.approx(1 / np.exp(rho * (distance.min() - distance)).sum(), rel=1e-3)
        np.testing.assert_allclose(plain.predict(batch).logits[i], -distance, rtol=1e-4)
    assert out.logits.argmax(1).tolist() == plain.predict(batch).logits.argmax(1).tolist()


def test_lpl_takes_a_class_with_one_training_clip():
    method, batch = build_on_features("lpl_mm"), feature_batch(5)._replace(label=torch.tensor([0, 0, 1, 1, 2]))
    method.finish([batch])
    found = method.predict(batch)
    # at distance 0 of its anchor and with radius 0, the clip is still nearest to its own class
    assert torch.isfinite(found.score).all() and int(found.logits[4].argmax()) == 2


# CSSR


def cssr(**changes):
    """Class 0 rebuilds (tanh z_0, 0), class 1 nothing."""
    method = build_on_features("cssr_mm", ("a", "b"), PLAIN, **changes)
    method.head = TextAlone()
    method.encode.data.zero_()
    method.decode.data.zero_()
    method.encode.data[0, 0, 0] = method.decode.data[0, 0, 0] = 1.0
    return method


def test_cssr_loss_and_parts_of_the_score_by_hand():
    batch = clip((0.5, -1.0))
    # errors 0.5 - tanh 0.5 + 1 = 1.037883 and 1.5; mean |z| = 0.75
    method = cssr()
    assert method.loss(batch)["loss_cls"].item() == pytest.approx(0.670308, abs=1e-6)
    out = method.predict(batch)
    np.testing.assert_allclose(out.logits, [[-0.1037883, -0.15]], atol=1e-7)
    assert out.score.item() == pytest.approx(-0.1037883 / 0.75**2 + 0.5 * 0.75, abs=1e-6)
    reciprocal = cssr(cssr_logits="r").predict(batch)
    np.testing.assert_allclose(reciprocal.logits, [[0.1037883, 0.15]], atol=1e-7)
    assert reciprocal.score.item() == pytest.approx(0.15 + 0.375, abs=1e-6)
    msp = cssr(rival_score="msp").predict(batch)
    assert msp.score.item() == pytest.approx(-0.670308, abs=1e-6)


def test_cssr_logits_stop_at_100():
    assert cssr().predict(clip((3000.0, 0.0))).logits.tolist() == [[-100.0, -100.0]]


@pytest.mark.parametrize("sign", ["p", "r"])
def test_cssr_statistics_are_by_predicted_class(sign):
    method, batch = build_on_features("cssr_mm", cssr_logits=sign), feature_batch(12)
    with torch.no_grad():
        z = method.head(batch.text, batch.vision, batch.audio).double().numpy()
        predicted = method.predict(batch).logits.argmax(1).numpy()
    assert predicted.tolist() != batch.label.tolist()
    means = np.stack([np.abs(z[predicted == k]).mean(0) if (predicted == k).any() else np.zeros(32) for k in range(3)])
    typical = means / means.sum(0)
    method.finish(batch.split(5))
    np.testing.assert_allclose(method.typical, typical, atol=1e-6)
    out = method.predict(batch)
    best = out.logits.max(1).values.numpy()
    first = best if sign == "r" else best / np.abs(z).mean(1) ** 2
    second = (typical[predicted] * np.abs(z)).mean(1)
    parts = [(part - part.mean()) / part.std() for part in (first, second)]
    np.testing.assert_allclose(out.score, sum(parts), atol=1e-3)


def test_cssr_takes_a_class_that_is_never_predicted():
    method = cssr()
    method.finish([clip((0.5, -1.0), (0.4, 2.0))])  # class 0 always rebuilds better
    assert method.typical[1].tolist() == [0.0, 0.0] and method.typical[0].tolist() == [1.0, 1.0]
    assert torch.isfinite(method.predict(clip((0.5, -1.0), (-0.5, 1.0))).score).all()
