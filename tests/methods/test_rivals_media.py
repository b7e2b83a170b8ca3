"""ARPL and CSSR on frames: parameters as printed, losses and scores against plain formulas, resumed bit for bit."""

from __future__ import annotations

import math

import pytest
import torch
from rivals import build, check_resumed_run, full_size, full_size_count
from small import media_batch, small_encoders

from hcep.methods.arpl import Classifier32
from hcep.methods.cssr import PART, ResidualUnit, WideResNet
from hcep.methods.cssr_score import log_probabilities
from hcep.methods.frames import small_images
from hcep.methods.head import arpl_distance, arpl_losses
from hcep.methods.method import log_max_softmax


@pytest.fixture(scope="module")
def encoders():
    return small_encoders()


@pytest.fixture(scope="module")
def batch(encoders):
    return media_batch(encoders)


def test_arpls_loss_by_hand():
    # x = (1, 2), points (3, -1) and (1, 2): distances 5.5 and -5; d_y = (4 + 9) / 2
    x, points = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0], [1.0, 2.0]])
    terms = arpl_losses(x, points, torch.tensor([0.5]), torch.tensor([0]))
    assert arpl_distance(x, points).tolist() == [[5.5, -5.0]] and float(terms["accuracy"]) == 1
    assert float(terms["loss_cls"]) == pytest.approx(math.log(1 + math.exp(-10.5)), abs=1e-7)
    assert float(terms["loss_margin"]) == pytest.approx(0.1 * (6.5 - 0.5 + 1))
    assert float(arpl_losses(x, points, torch.tensor([7.6]), torch.tensor([0]))["loss_margin"]) == 0


@pytest.mark.parametrize(("known", "count"), [(8, 1_001_409), (6, 1_000_897), (4, 1_000_385), (2, 999_873)])
def test_arpl_has_as_many_parameters_as_table_8_says(known, count):
    assert full_size_count("arpl", known) == count


@pytest.mark.parametrize(("known", "printed"), [(8, "9.21"), (6, "9.14"), (4, "9.08"), (2, "9.01")])
def test_cssr_has_as_many_parameters_as_table_8_says(known, printed):
    count = full_size_count("cssr", known)
    assert count == 8_946_640 + known * 2 * 256 * 64 and f"{count / 1e6:.2f}" == printed


def test_arpls_network_is_nine_convolutions_down_to_four_pixels():
    torch.manual_seed(0)
    network = Classifier32().eval()
    x = torch.rand(2, 3, 32, 32)
    y = x
    for i in range(9):
        y = torch.nn.functional.conv2d(y, network.convs[i].weight, stride=2 if i in (2, 5, 8) else 1, padding=1)
        # running statistics at their start: mean 0, variance 1
        y = y / math.sqrt(1 + 1e-5) * network.norms[i].weight[:, None, None]
        y = torch.where(y > 0, y, 0.2 * y)
    assert y.shape == (2, 128, 4, 4)
    torch.testing.assert_close(network(x), y.mean((2, 3)), atol=1e-6, rtol=1e-4)
    stds = [float(conv.weight.detach().std()) for conv in network.convs]
    assert stds == pytest.approx([0.05] * 9, rel=0.05)


def test_arpl_drops_channels_before_every_third_convolution(encoders):
    torch.manual_seed(0)
    network = Classifier32().train()
    seen = []
    for i, conv in enumerate(network.convs):
        conv.register_forward_pre_hook(lambda m, inputs, i=i: seen.append((i, inputs[0].clone())))
    network(torch.rand(8, 3, 32, 32) + 0.5)
    dropped = {i for i, x in seen if (x == 0).all(dim=(2, 3)).any()}
    assert dropped == {0, 3, 6}


def test_arpl_averages_the_features_of_a_clips_frames(encoders, batch):
    method = build("arpl", encoders).eval()
    with torch.no_grad():
        whole = method.features(batch)
        single = [method.features(batch._replace(frames=batch.frames[:, f : f + 1])) for f in range(3)]
    torch.testing.assert_close(whole, torch.stack(single).mean(0))
    # the third clip lacks video: black images, whatever its frames hold
    noise = batch.frames.clone()
    noise[2] = 200
    torch.testing.assert_close(method.features(batch._replace(frames=noise)).detach(), whole)
    with torch.no_grad():
        torch.testing.assert_close(whole[2], method.network(torch.zeros(1, 3, 32, 32))[0])


def test_arpls_loss_and_score_are_those_of_its_features(encoders, batch):
    method = build("arpl", encoders).eval()
    with torch.no_grad():
        method.points.mul_(10)
        method.radius.fill_(0.3)
        x = method.features(batch)
    logits = torch.stack([((x - p) ** 2).mean(1) - (x * p).sum(1) for p in method.points], 1).detach()
    terms = method.loss(batch)
    torch.testing.assert_close(terms["loss_cls"], torch.nn.functional.cross_entropy(logits, batch.label))
    own = ((x - method.points[batch.label]) ** 2).mean(1)
    torch.testing.assert_close(terms["loss_margin"], 0.1 * torch.clamp(own - 0.3 + 1, min=0).mean())
    found = method.predict(batch)
    torch.testing.assert_close(found.score, logits.double().max(1).values, atol=1e-5, rtol=1e-5)
    other = build("arpl", encoders, rival_score="msp").eval()
    other.load_state_dict(method.state_dict())
    torch.testing.assert_close(other.predict(batch).score, log_max_softmax(found.logits))
    assert found.features["vision"].shape == (5, 128)


@pytest.mark.parametrize(
    ("base", "unused"),
    [
        ("arpl", {"network.unused_norm.weight", "network.unused_norm.bias", "unused_classifier.weight"}),
        ("cssr", {f"network.units.{unit}.norm1.{kind}" for unit in (1, 2) for kind in ("weight", "bias")}),
    ],
)
def test_what_is_counted_learns_but_for_the_parts_that_the_releases_leave_unused(encoders, batch, base, unused):
    method = build(base, encoders)
    sum(value for key, value in method.loss(batch).items() if key.startswith("loss_")).backward()
    assert {name for name, value in method.named_parameters() if value.grad is None} == unused
    assert all(value.grad.any() for name, value in method.named_parameters() if value.grad is not None)


def test_the_wide_network_is_forty_layers_and_ends_at_eight_pixels():
    with torch.device("meta"):
        network = WideResNet(40, 4).eval()
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 256, 8, 8)
    # all 3 x 3 convolutions and the classifier that is left out
    assert sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in network.modules()) + 3 == 40
    assert [network.units[i].conv2.out_channels for i in (0, 5, 6, 11, 12, 17)] == [64, 64, 128, 128, 256, 256]


@pytest.mark.parametrize("early", [True, False])
def test_a_unit_that_widens_is_wired_as_in_the_release(early):
    torch.manual_seed(0)
    unit, x = ResidualUnit(4, 6, 2, early=early).eval(), torch.randn(2, 4, 8, 8)

    def act(y):
        y = y / math.sqrt(1 + 1e-5)
        return torch.where(y > 0, y, 0.1 * y)

    start = act(x) if early else x
    inner = torch.nn.functional.conv2d(start, unit.conv1.weight, stride=2, padding=1)
    inner = torch.nn.functional.conv2d(act(inner), unit.conv2.weight, padding=1)
    wanted = torch.nn.functional.conv2d(start, unit.shortcut.weight, stride=2) + inner
    torch.testing.assert_close(unit(x), wanted, atol=1e-5, rtol=1e-4)
    same = ResidualUnit(4, 4, 1, early=early).eval()
    inner = torch.nn.functional.conv2d(act(x), same.conv1.weight, padding=1)
    torch.testing.assert_close(same(x), x + torch.nn.functional.conv2d(act(inner), same.conv2.weight, padding=1))


def test_running_statistics_are_a_plain_mean_at_first_and_slow_later():
    torch.manual_seed(0)
    network = WideResNet(10, 1).train()
    means = []
    network.norm.register_forward_pre_hook(lambda m, inputs: means.append(inputs[0].mean((0, 2, 3))))
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(4, 3, 32, 32))
        torch.testing.assert_close(network.norm.running_mean, torch.stack(means).mean(0), atol=1e-5, rtol=1e-3)
        network.norm.num_batches_tracked.fill_(20_000)
        before = network.norm.running_mean.clone()
        network(torch.randn(4, 3, 32, 32))
    torch.testing.assert_close(network.norm.running_mean, 0.999 * before + 0.001 * means[-1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("variant", ["p", "r"])
def test_cssrs_loss_takes_every_frame_as_an_image(encoders, batch, variant):
    method = build("cssr", encoders, cssr_logits=variant, augmentation="none")
    terms = method.loss(batch)
    pixels = (small_images(batch.frames, 32).float() / 255 - 0.5) / 0.25
    pixels[6:9] = 0  # the clip without video
    method.network.train()
    z = method.network(pixels)
    logits = []
    for encode, decode in zip(method.autoencoders.encode, method.autoencoders.decode, strict=True):
        rebuilt = torch.einsum("cl,nlhw->nchw", decode, torch.tanh(torch.einsum("lc,nchw->nlhw", encode, z)))
        logits.append((0.1 if variant == "r" else -0.1) * (rebuilt - z).abs().sum(1))
    probabilities = torch.softmax(torch.stack(logits, 1), 1).mean((2, 3))
    label = batch.label.repeat_interleave(3)
    wanted = -probabilities[torch.arange(15), label].log().mean()
    torch.testing.assert_close(terms["loss_cls"], wanted, atol=1e-5, rtol=1e-4)
    hits = probabilities.view(5, 3, 3).mean(1).argmax(1) == batch.label
    assert float(terms["accuracy"]) == pytest.approx(float(hits.float().mean()))


def test_cssr_averages_probabilities_and_scores_over_frames(encoders, batch):
    method = build("cssr", encoders)
    method.loss(batch)
    state = {name: value.clone() for name, value in method.state_dict().items()}
    method.finish([batch.split(2)[0], *batch.split(2)[1:]])
    assert not method.training  # otherwise the statistics would come from augmented frames
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, state[name])}
    assert changed == {f"statistics.{name}" for name in ("shares", "grams", "mean", "std")}
    whole = method.predict(batch)
    single = [method.predict(batch._replace(frames=batch.frames[:, f : f + 1])) for f in range(3)]
    torch.testing.assert_close(whole.logits.exp(), torch.stack([one.logits.exp() for one in single]).mean(0))
    torch.testing.assert_close(whole.score, torch.stack([one.score for one in single]).mean(0))
    torch.testing.assert_close(whole.logits.exp().sum(1), torch.ones(5, dtype=torch.float64))
    # standardised over these very frames
    assert float(whole.score.mean()) == pytest.approx(0, abs=1e-6) and whole.score.std() > 0.1
    with torch.no_grad():
        maps = method.maps(
            small_images(batch.frames, 32), batch.missing[:, 1].repeat_interleave(3)[:, None, None, None]
        )
    torch.testing.assert_close(method.statistics(maps).view(5, 3).mean(1), whole.score, atol=1e-4, rtol=1e-4)
    assert log_probabilities(maps.logits).shape == (15, 3) and PART >= 15


def test_cssrs_other_score_is_the_largest_probability(encoders, batch):
    method = build("cssr", encoders, rival_score="msp").eval()
    found = method.predict(batch)
    torch.testing.assert_close(found.score, found.logits.max(1).values)


@pytest.mark.parametrize("base", ["arpl", "cssr"])
def test_augmentation_is_for_training_alone_and_can_be_left_out(encoders, batch, base):
    method = build(base, encoders)
    losses = [float(method.loss(batch)["loss_cls"].detach()) for _ in range(2)]
    assert losses[0] != losses[1]
    plain = build(base, encoders, augmentation="none")
    if base == "cssr":  # no dropout either
        losses = [float(plain.loss(batch)["loss_cls"].detach()) for _ in range(2)]
        assert losses[0] == losses[1]
    method.eval()
    torch.testing.assert_close(method.predict(batch).logits, method.predict(batch).logits, atol=0, rtol=0)


@pytest.mark.parametrize("base", ["arpl", "cssr"])
def test_a_broken_run_ends_with_the_same_bits(encoders, tmp_path, base):
    check_resumed_run(base, encoders, tmp_path)


@pytest.mark.parametrize("base", ["arpl", "cssr"])
def test_two_classes_and_no_encoder_are_enough(encoders, batch, base):
    method = build(base, None, classes=("anger", "fear")).eval()
    found = method.predict(batch)
    assert found.logits.shape == (5, 2) and torch.isfinite(found.score).all()


def test_full_size_networks_take_frames_of_224_pixels():
    frames = torch.zeros(1, 2, 224, 224, 3, dtype=torch.uint8)
    assert small_images(frames, 32).shape == (2, 3, 32, 32)
    assert full_size("cssr", 2).network.dim == 256
