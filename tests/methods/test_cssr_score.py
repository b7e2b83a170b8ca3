"""CSSR's reconstruction, logits and score against numbers by hand and plain formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hcep.methods.cssr_score import (
    ClassAutoencoders,
    Maps,
    ScoreStatistics,
    activation_score,
    gram,
    gram_score,
    log_probabilities,
    logit_score,
    reconstruction_logits,
)


def random_maps(count=9, classes=3, channels=4, side=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, channels, side, side, generator=generator, dtype=torch.float64)
    logits = torch.randn(count, classes, side, side, generator=generator, dtype=torch.float64) * 3
    return Maps(features, logits)


def test_error_by_hand():
    # z = (0.5, 3), E = (1, 0), D = (2, 0): rebuilt (2 tanh 0.5, 0), error |0.9242 - 0.5| + 3
    z = torch.tensor([0.5, 3.0]).view(1, 2, 1, 1)
    autoencoders = ClassAutoencoders(1, 2, latent=1)
    autoencoders.encode.data, autoencoders.decode.data = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[2.0], [0.0]]])
    error = autoencoders(z).detach()
    assert error.shape == (1, 1, 1, 1) and float(error) == pytest.approx(2 * math.tanh(0.5) - 0.5 + 3)


def test_an_autoencoder_is_two_convolutions_of_one_pixel():
    autoencoders = ClassAutoencoders(3, 6, latent=5)
    z = torch.randn(2, 6, 4, 3)
    errors = autoencoders(z)
    for k in range(3):
        latent = torch.tanh(torch.nn.functional.conv2d(z, autoencoders.encode[k, :, :, None, None]))
        rebuilt = torch.nn.functional.conv2d(latent, autoencoders.decode[k, :, :, None, None])
        torch.testing.assert_close(errors[:, k], torch.linalg.vector_norm(rebuilt - z, ord=1, dim=1))


def test_parameters_are_the_papers():
    autoencoders = ClassAutoencoders(8, 256)
    assert sum(value.numel() for value in autoencoders.parameters()) == 8 * 2 * 256 * 64
    # torch's start values of a convolution: uniform up to 1 / sqrt(fan in)
    assert float(autoencoders.encode.detach().abs().max()) == pytest.approx(1 / 16, rel=0.01)
    assert float(autoencoders.decode.detach().abs().max()) == pytest.approx(1 / 8, rel=0.01)


def test_logits_have_the_sign_of_the_variant_and_a_limit():
    errors = torch.tensor([3.0, 2000.0])
    torch.testing.assert_close(reconstruction_logits(errors, "p"), torch.tensor([-0.3, -100.0]))
    torch.testing.assert_close(reconstruction_logits(errors, "r"), torch.tensor([0.3, 100.0]))


def test_probabilities_are_averaged_after_the_softmax():
    # one class certain at the first position, the other at the second: half each, not what mean logits would say
    logits = torch.tensor([[[5.0, 0.0]], [[0.0, 1.0]]]).permute(1, 0, 2)[..., None]
    first = (1 / (1 + math.exp(-5)) + 1 / (1 + math.exp(1))) / 2
    assert log_probabilities(logits).exp().flatten().tolist() == pytest.approx([first, 1 - first])
    # no probability rounds to 0, whose log would be lost
    far = torch.tensor([100.0, -100.0]).view(1, 2, 1, 1)
    assert log_probabilities(far)[0, 1] == -200


def test_s0_by_hand():
    features = torch.tensor([[1.0, 2.0], [-3.0, 0.0]]).view(1, 2, 2, 1)  # mean |z|: 2 and 1
    logits = torch.tensor([[4.0, 8.0], [-8.0, -3.0]]).view(1, 2, 2, 1)
    maps, predicted = Maps(features, logits), torch.tensor([1])
    assert float(logit_score(maps, predicted, "r")) == pytest.approx((-8 - 3) / 2)
    assert float(logit_score(maps, predicted, "p")) == pytest.approx((-8 / 4 - 3 / 1) / 2)
    empty = Maps(torch.zeros(1, 2, 2, 1), torch.zeros(1, 2, 2, 1))
    assert float(logit_score(empty, predicted, "p")) == 0


def test_s1_by_hand():
    features = torch.tensor([[1.0, 3.0], [-2.0, 0.0]]).view(1, 2, 2, 1)  # channel means 2 and -1
    shares = torch.tensor([[0.9, 0.9], [0.25, 0.5]])
    assert float(activation_score(features, shares, torch.tensor([1]))) == pytest.approx((0.25 * 2 - 0.5 * 1) / 2)


def test_gram_by_brute_force():
    maps = random_maps()
    matrices = gram(maps.features)
    z = maps.features.flatten(2).numpy()
    for n in range(9):
        for i in range(4):
            for j in range(4):
                wanted = sum(z[n, i, p] ** 8 * z[n, j, p] ** 8 for p in range(4)) ** (1 / 8)
                assert float(matrices[n, i, j]) == pytest.approx(wanted)
    averages = torch.rand(3, 4, 4, dtype=torch.float64)
    predicted = torch.tensor([0, 1, 2] * 3)
    wanted = [float((matrices[n] * averages[predicted[n]]).sum()) for n in range(9)]
    assert gram_score(maps.features, averages, predicted).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("variant", ["p", "r"])
def test_the_score_is_a_sum_of_parts_standardised_over_the_training_images(variant):
    train, test = random_maps(20), random_maps(5, seed=1)
    statistics = ScoreStatistics(3, 4, variant)
    statistics.fit(lambda: [train])

    def parts(maps, shares, averages):
        z, logits = maps.features.flatten(2).numpy(), maps.logits.flatten(2).numpy()
        rows = []
        for n in range(len(z)):
            soft = np.exp(logits[n]) / np.exp(logits[n]).sum(0)
            k = soft.mean(1).argmax()
            own = logits[n, k] / (np.abs(z[n]).mean(0) ** 2 if variant == "p" else 1)
            grams = (averages[k] * (z[n] ** 8 @ (z[n] ** 8).T) ** (1 / 8)).sum()
            rows.append([own.mean(), (shares[k][:, None] * z[n]).mean(), grams])
        return np.array(rows)

    z, logits = train.features.flatten(2).numpy(), train.logits.flatten(2).numpy()
    soft = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    predicted = soft.mean(2).argmax(1)
    means = np.stack([np.abs(z[predicted == k]).mean(axis=(0, 2)) for k in range(3)])
    averages = [np.mean([(m**8 @ (m**8).T) ** (1 / 8) for m in z[predicted == k]], axis=0) for k in range(3)]
    known = parts(train, means / means.sum(0), averages)
    new = parts(test, means / means.sum(0), averages)
    wanted = ((new - known.mean(0)) / known.std(0)).sum(1)
    np.testing.assert_allclose(statistics(test).numpy(), wanted, rtol=1e-6)
    assert float(statistics(train).mean()) == pytest.approx(0, abs=1e-9)


def test_statistics_do_not_depend_on_how_the_images_come():
    maps = random_maps(20)
    whole, split = (ScoreStatistics(3, 4, "r") for _ in range(2))
    whole.fit(lambda: [maps])
    split.fit(lambda: [Maps(maps.features[i : i + 3], maps.logits[i : i + 3]) for i in range(0, 20, 3)])
    for name, value in whole.named_buffers():
        torch.testing.assert_close(split.get_buffer(name), value)


def test_a_class_that_is_never_predicted_has_no_share_and_no_nan():
    maps = random_maps(6)
    maps.logits[:, 2] -= 1000
    statistics = ScoreStatistics(3, 4, "r")
    statistics.fit(lambda: [maps])
    assert not statistics.shares[2].any() and not statistics.grams[2].any()
    torch.testing.assert_close(statistics.shares.sum(0), torch.ones(4, dtype=torch.float64))
    assert torch.isfinite(statistics(random_maps(4, seed=3))).all()


def test_before_the_statistics_the_score_is_the_logit():
    maps = random_maps()
    predicted = log_probabilities(maps.logits).argmax(1)
    torch.testing.assert_close(ScoreStatistics(3, 4, "r")(maps), logit_score(maps, predicted, "r"))
