"""NegPrompt: losses and score against plain formulas, the two stages, what is kept, and CLIP untouched."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from rivals import build, check_clip_untouched, check_resumed_run, full_size_count, one_step, trainer
from small import MemoryFeed, media_batch, note_images, settings_for, small_encoders

from hcep.config.methods import Learning
from hcep.encoders.fetch import full_size_info
from hcep.errors import HcepError
from hcep.methods.negprompt_mm import START_NOISE, NegPromptMM, distance_loss, image_loss, spread_loss
from hcep.training.complexity import Counted, complexity
from hcep.training.loop import Trainer


@pytest.fixture(scope="module")
def encoders():
    return small_encoders()


@pytest.fixture(scope="module")
def batch(encoders):
    return media_batch(encoders)


def unit(seed, *shape):
    values = np.random.default_rng(seed).normal(size=shape)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def stage_2(encoders, **changes):
    """A method whose negative contexts differ, in its second stage."""
    method = build("negprompt_mm", encoders, **changes)
    method.positive_steps = 0
    with torch.no_grad():
        method.negative += 0.05 * torch.randn(method.negative.shape, generator=torch.Generator().manual_seed(1))
    return method


def features(method, encoders, batch):
    """Unit F_V (B, m), positive (K, m) and negative (2, K, m) text features, prompt by prompt, in float64."""
    words = [encoders.text.tokenize([word]) for word in ("angry", "fearful", "happy")]
    with torch.no_grad():
        texts = [
            torch.cat([encoders.text(tokens, context) for tokens in words]).double().numpy()
            for context in (method.positive, *method.negative)
        ]
        absent = batch.missing[:, 1].repeat_interleave(3)
        image = encoders.vision.encode_frames(batch.frames.flatten(0, 1), absent).view(5, 3, -1).mean(1)
    image, *texts = (value / np.linalg.norm(value, axis=1, keepdims=True) for value in (image.double().numpy(), *texts))
    return image, texts[0], np.stack(texts[1:])


def test_image_loss_by_hand():
    # a clip of class 0: its two prompts want a large logit, the two of class 1 a small one
    logits = torch.tensor([[[2.0, -1.0]], [[0.5, 3.0]]])
    terms = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log1p(math.exp(-0.5)), math.log1p(math.exp(3))]
    assert image_loss(logits, torch.tensor([0])).item() == pytest.approx(sum(terms) / 4)
    flat = logits.movedim(0, 2).flatten(1)
    reference = torch.nn.MultiLabelSoftMarginLoss()(flat, torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
    assert image_loss(logits, torch.tensor([0])).item() == pytest.approx(reference.item())


def test_distance_and_spread_are_the_loops():
    positive, negative = unit(0, 3, 8), unit(1, 2, 3, 8)
    away = [1 - negative[j, k] @ positive[k] for j in range(2) for k in range(3)]
    assert distance_loss(torch.tensor(positive), torch.tensor(negative)).item() == pytest.approx(-np.mean(away))
    means = negative.mean(0)
    spread = [1 - negative[j, k] @ means[k] / np.linalg.norm(means[k]) for j in range(2) for k in range(3)]
    assert spread_loss(torch.tensor(negative)).item() == pytest.approx(-np.mean(spread))
    assert spread_loss(torch.tensor(np.stack([positive, positive]))).item() == pytest.approx(0, abs=1e-12)


def test_losses_of_stage_1_are_cross_entropy_alone(encoders, batch):
    method = build("negprompt_mm", encoders, cosine_scale=7.0)
    method.positive_steps = 1
    terms = {name: value.item() for name, value in method.loss(batch).items()}
    image, positive, _ = features(method, encoders, batch)
    odds = np.exp(7 * image @ positive.T)
    own = odds[range(5), batch.label] / odds.sum(1)
    assert terms["loss_positive"] == pytest.approx(-np.log(own).mean(), rel=1e-5)
    assert terms["loss_image"] == terms["loss_distance"] == terms["loss_spread"] == 0


def test_losses_of_stage_2_are_the_loops(encoders, batch):
    method = stage_2(encoders, cosine_scale=7.0)
    terms = {name: value.item() for name, value in method.loss(batch).items()}
    image, positive, negative = features(method, encoders, batch)
    total = 0.0
    for prompts in (positive, *negative):
        for x, label in zip(image, batch.label.tolist(), strict=True):
            for k in range(3):
                logit = 7 * x @ prompts[k]
                total += math.log1p(math.exp(-logit if k == label else logit))
    assert terms["loss_image"] == pytest.approx(total / (3 * 5 * 3), rel=1e-5)
    away = np.mean([1 - negative[j, k] @ positive[k] for j in range(2) for k in range(3)])
    assert terms["loss_distance"] == pytest.approx(-0.1 * away, rel=1e-4)
    length = np.linalg.norm(negative.mean(0), axis=1)
    assert terms["loss_spread"] == pytest.approx(-0.05 * np.mean(1 - length), rel=1e-3)
    assert terms["loss_positive"] == 0


def test_score_and_logits_by_hand(encoders, batch):
    method = stage_2(encoders, cosine_scale=7.0).eval()
    image, positive, negative = features(method, encoders, batch)
    odds = np.exp([image @ prompts.T for prompts in (positive, *negative)])
    wanted = np.log(odds[0].max(1) / odds.sum((0, 2)))
    found = method.predict(batch)
    np.testing.assert_allclose(found.score.numpy(), wanted, atol=1e-6)
    np.testing.assert_allclose(found.logits.numpy(), 7 * image @ positive.T, atol=1e-5)
    plain = stage_2(encoders, cosine_scale=7.0, rival_score="msp").eval().predict(batch)
    share = np.exp(7 * image @ positive.T)
    np.testing.assert_allclose(plain.score.numpy(), np.log(share.max(1) / share.sum(1)), atol=1e-5)


def test_clips_are_encoded_once(encoders, batch, tmp_path, monkeypatch):
    counts = note_images(monkeypatch, encoders.vision)
    run = trainer("negprompt_mm", encoders, tmp_path, epochs=3, negative_epochs=1)
    run.run()
    run.method.eval().predict(batch)
    assert counts == [12, 3]  # batches of four clips and one, three frames each


def test_each_stage_moves_its_own_contexts(encoders, batch):
    method = build("negprompt_mm", encoders, epochs=2, negative_epochs=1)
    method.positive_steps = 2
    at_start = method.positive.detach().clone()
    one_step(method, batch)
    moved = method.positive.detach().clone()
    assert not torch.equal(moved, at_start)
    assert torch.equal(method.negative, at_start.expand(2, -1, -1))
    method.after_step(1)
    noise = method.negative.detach() - moved
    assert 0 < noise.abs().max() <= START_NOISE * 1.01 and not torch.equal(noise[0], noise[1])
    before = method.negative.detach().clone()
    method.zero_grad()  # as the loop does before every step
    one_step(method, batch)
    assert torch.equal(method.positive, moved) and not torch.equal(method.negative, before)
    assert {"movement_positive", "movement_negative", "gap_text"} <= method.diagnostics().keys()


def test_rates_and_rules_of_the_contexts(encoders):
    method = build("negprompt_mm", encoders, lr=0.002, negative_lr=0.1)
    positive, negative = method.parameter_groups(method.settings)
    assert (positive.rule, positive.lr, positive.momentum, positive.weight_decay) == ("sgd", 0.002, 0.9, 1e-4)
    assert (negative.rule, negative.lr, negative.momentum, negative.weight_decay) == ("sgd", 0.1, 0.0, 0.0)


def test_selection_keeps_an_epoch_of_stage_2(encoders, tmp_path):
    run = trainer("negprompt_mm", encoders, tmp_path, epochs=4, negative_epochs=2)
    values = iter([0.9, 0.8, 0.4, 0.3])
    run.monitor = lambda method: {"selected": next(values)}
    run.run()
    # the first two epochs belong to stage 1
    assert run.best["epoch"] == 3
    assert torch.equal(run.method.negative, run.best["method"]["negative"])


def test_a_run_broken_off_ends_with_the_same_bits(encoders, tmp_path):
    check_resumed_run("negprompt_mm", encoders, tmp_path, stops=(1, 2), negative_epochs=1)


@pytest.mark.parametrize("known", [8, 2])
def test_parameter_count(known):
    assert full_size_count("negprompt_mm", known) == 3 * 16 * 512


def test_its_cost_is_counted_without_settings_of_learning():
    # as `hcep complexity` is called, since epochs and rates change no count
    settings = {key: value for key, value in settings_for("negprompt_mm").items() if key not in Learning.model_fields}
    counted = Counted(NegPromptMM, settings | {"precision": "fp32"})
    (row,) = complexity(full_size_info(), 8, 80_000, {"negprompt_mm": counted}, [4], None)
    assert row["learnable"] == 24_576 and float(row["gflop_per_clip"]) > 10


def test_clip_is_untouched():
    check_clip_untouched("negprompt_mm")


def test_micro_batches_give_the_gradients_of_the_whole_batch(encoders, batch, tmp_path):
    grads = []
    for micro in (0, 2):
        method = stage_2(encoders, micro_batch=micro, batch_size=5)
        Trainer(method, MemoryFeed(batch), method.settings, 0, tmp_path).runner.step(batch)
        grads.append(method.negative.grad)
    torch.testing.assert_close(grads[0], grads[1], atol=1e-7, rtol=1e-4)


def test_a_stage_without_epochs_is_refused(encoders):
    with pytest.raises(HcepError, match="negative_epochs: 3 of epochs: 3"):
        build("negprompt_mm", encoders, epochs=3, negative_epochs=3)
