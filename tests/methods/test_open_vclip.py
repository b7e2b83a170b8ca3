"""Open-VCLIP: temporal view, interpolated gradients and averaged weights by brute force; CLIP's own output without."""

from __future__ import annotations

import math

import pytest
import torch
from rivals import (
    build,
    check_clip_untouched,
    check_resumed_run,
    check_two_classes,
    full_size_count,
    gradients,
    trainer,
)
from small import AUDIO, CLIP, INFO, SETTINGS, media_batch
from small_cache import run
from torch.nn import functional

from hcep.encoders.folder import assemble, build_audio, build_clip
from hcep.errors import HcepError
from hcep.methods import open_vclip
from hcep.methods.method import log_max_softmax
from hcep.methods.open_vclip import sentences, temporal_attention


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(1)
    return build_clip(CLIP)


@pytest.fixture(scope="module")
def encoders(clip):
    return assemble(clip, build_audio(AUDIO), INFO)


@pytest.fixture(scope="module")
def batch(encoders):
    return media_batch(encoders)


def test_a_step_leaves_clip_as_it_was():
    check_clip_untouched("open_vclip")


def test_a_broken_run_ends_with_the_same_bits(encoders, tmp_path):
    check_resumed_run("open_vclip", encoders, tmp_path, stops=(1, 2))


def test_two_classes_are_enough_and_augmentation_is_for_training_alone(encoders):
    check_two_classes("open_vclip", encoders)


def test_the_sentences_are_28():
    found = sentences("happy")
    assert len(found) == len(set(found)) == 28
    assert found[0] == "a photo of happy." and found[9] == "a video of a person using happy."
    assert found[-1] == "a demonstration of a person practicing happy."


def test_a_frame_attends_to_its_neighbours_and_to_nothing_before_the_first():
    torch.manual_seed(0)
    attention, tokens = torch.nn.MultiheadAttention(6, 2, batch_first=True), torch.randn(8, 3, 6)
    with torch.no_grad():
        attention.in_proj_bias.normal_()
        found = temporal_attention(attention, tokens, 4).view(2, 4, 3, 6)
        joint = tokens @ attention.in_proj_weight.T + attention.in_proj_bias
        q, k, v = (part.view(2, 4, 3, 2, 3) for part in joint.chunk(3, -1))  # clip, frame, token, head, entry
        for c in range(2):
            for t in range(4):
                for i in range(3):
                    out = []
                    for h in range(2):
                        keys, values = [], []
                        for near in (t + 1, t - 1, t):
                            for j in range(3):
                                inside = 0 <= near < 4
                                keys.append(k[c, near, j, h] if inside else torch.zeros(3))
                                values.append(v[c, near, j, h] if inside else torch.zeros(3))
                        weight = torch.softmax(torch.stack([q[c, t, i, h] @ key for key in keys]) / math.sqrt(3), 0)
                        out.append(sum(w * value for w, value in zip(weight, values, strict=True)))
                    wanted = attention.out_proj(torch.cat(out))
                    torch.testing.assert_close(found[c, t, i], wanted, atol=1e-5, rtol=1e-4)


def test_without_neighbours_the_tower_is_clips_own(clip, encoders, monkeypatch):
    method, images = build("open_vclip", encoders), torch.randn(6, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(method.tower(images, 3), clip.encode_image(images), atol=1e-4)
        monkeypatch.setattr(
            open_vclip, "temporal_attention", lambda attention, x, frames: attention(x, x, x, need_weights=False)[0]
        )
        torch.testing.assert_close(method.tower(images, 3), clip.encode_image(images), atol=1e-5, rtol=1e-5)


def test_open_vclip_learns_the_whole_tower():
    assert full_size_count("open_vclip", 8) == 87_849_216
    assert full_size_count("open_vclip", 8, fine_tune=False) == 0


def test_the_classifier_is_the_mean_of_the_sentences_features(clip, encoders, batch):
    method = build("open_vclip", encoders, cosine_scale=7.0).eval()
    with torch.no_grad():
        for k, word in enumerate(("angry", "fearful", "happy")):
            features = clip.encode_text(encoders.text.tokenize(sentences(word)), normalize=True).mean(0)
            torch.testing.assert_close(method.class_features[k], features / features.norm(), atol=1e-5, rtol=1e-5)
        images = encoders.vision.normalise(batch.frames)
        images[2] = 0
        frames = method.tower(images.flatten(0, 1), 3).view(5, 3, -1)
    cosines = functional.cosine_similarity(frames[:, :, None], method.class_features[None, None], dim=3)
    found = method.predict(batch)
    torch.testing.assert_close(found.logits.float(), 7 * cosines.mean(1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.score, log_max_softmax(found.logits))
    torch.testing.assert_close(found.features["vision"], frames.mean(1), atol=1e-5, rtol=1e-5)


def test_zero_shot_is_clip_frame_by_frame(clip, encoders, batch, tmp_path):
    run = trainer("open_vclip", encoders, tmp_path, fine_tune=False, epochs=0, cosine_scale=100.0, score="max_logit")
    assert run.run() == []
    method = run.method.eval()
    with torch.no_grad():
        images = encoders.vision.normalise(batch.frames)
        images[2] = 0
        frames = clip.encode_image(images.flatten(0, 1), normalize=True).view(5, 3, -1)
    found = method.predict(batch)
    torch.testing.assert_close(
        found.logits.float(), 100 * (frames @ method.class_features.T).mean(1), atol=1e-3, rtol=1e-4
    )
    assert torch.equal(found.score, found.logits.max(1).values)
    assert set(method.state_dict()) == {"class_features", "averaged"} and method.diagnostics() == {}
    with pytest.raises(HcepError, match=r"nothing to learn.*epochs: 0"):
        method.optimizer(method.settings | {"epochs": 1})


def test_zero_shot_is_scored_without_an_epoch(cache, tmp_path):
    scores, rows = run(cache, tmp_path, "open_vclip", fine_tune=False, epochs=0)
    assert rows == [] and scores.settings["epoch"] == 0 and len(scores.clip) == len(set(scores.clip))
    assert set(scores.features) == {"vision"} and len(set(scores.score)) > 1


def test_the_second_gradient_is_taken_between_the_weights_and_clips(encoders, batch):
    method = build("open_vclip", encoders, augmentation="none")
    with torch.no_grad():
        for value in method.tower.parameters():
            value.add_(0.02 * torch.randn_like(value))
    torch.manual_seed(5)
    share = 0.6 * float(torch.rand(()))
    torch.manual_seed(5)
    terms = gradients(method, batch)
    assert 0 < share < 0.6
    start = dict(encoders.vision.tower.named_parameters())
    points = {}
    for mixed in (0.0, share):
        other = build("open_vclip", encoders, augmentation="none")
        with torch.no_grad():
            for name, value in other.tower.named_parameters():
                own = method.tower.get_parameter(name)
                value.copy_(mixed * start[name.removeprefix("tower.")] + (1 - mixed) * own)
        logits = other.logits(other.frame_features(other.images(batch), 3))
        loss = functional.cross_entropy(logits, batch.label)
        loss.backward()
        points[mixed] = (loss.detach(), [value.grad for value in other.tower.parameters()])
    torch.testing.assert_close(terms["loss_cls"].detach(), points[0.0][0])
    torch.testing.assert_close(terms["loss_interpolated"].detach(), 0.5 * points[share][0])
    for value, here, there in zip(method.tower.parameters(), points[0.0][1], points[share][1], strict=True):
        torch.testing.assert_close(value.grad, here + 0.5 * there, atol=1e-5, rtol=1e-3)


def test_gradients_are_cut_to_norm_1(encoders, batch):
    method = build("open_vclip", encoders, cosine_scale=100.0)
    gradients(method, batch)
    before = torch.stack([value.grad.norm() for value in method.tower.parameters()]).norm()
    assert before > 2
    method.before_step()
    after = torch.stack([value.grad.norm() for value in method.tower.parameters()]).norm()
    assert float(after) == pytest.approx(1, abs=1e-3)


def test_weights_are_averaged_over_the_ends_of_epochs_and_patched(encoders, batch):
    torch.manual_seed(0)
    method = build("open_vclip", encoders, epochs=4)
    method.begin(iter([batch, batch]))  # two steps an epoch
    start = [value.clone() for value in encoders.vision.tower.parameters()]
    for step in range(8):
        with torch.no_grad():
            for value, origin in zip(method.tower.parameters(), start, strict=True):
                value.copy_(origin + step)
        method.after_step(step)
    assert int(method.averaged) == 3
    method.after_step(9)  # what the loop calls once more after it has gone back to a best epoch
    assert int(method.averaged) == 3
    method.finish([])
    # ends of epochs 2, 3, 4 are steps 3, 5, 7: mean 5, half of it
    for value, origin in zip(method.tower.parameters(), start, strict=True):
        torch.testing.assert_close(value.detach(), origin + 2.5, atol=1e-4, rtol=1e-4)


def test_a_run_of_one_epoch_is_patched_with_its_last_weights(encoders, batch):
    method = build("open_vclip", encoders, epochs=1)
    method.begin(iter([batch]))
    with torch.no_grad():
        for value in method.tower.parameters():
            value.add_(1)
    method.after_step(0)
    assert not method.averaged
    # a row that differs in its score alone finishes once more
    for _ in range(2):
        method.finish([])
        for value, origin in zip(method.tower.parameters(), encoders.vision.tower.parameters(), strict=True):
            torch.testing.assert_close(value.detach(), origin + 0.5, atol=1e-5, rtol=1e-5)


def test_vectors_have_no_decay_and_every_weight_is_in_one_group(encoders):
    method = build("open_vclip", encoders)
    matrices, vectors = method.parameter_groups(SETTINGS | {"weight_decay": 0.01, "lr": 1e-5})
    assert (matrices.rule, matrices.weight_decay, vectors.weight_decay) == ("adamw", 0.01, 0.0)
    assert all(value.dim() > 1 for value in matrices.params) and all(value.dim() == 1 for value in vectors.params)
    grouped = [id(value) for group in (matrices, vectors) for value in group.params]
    assert sorted(grouped) == sorted(id(value) for value in method.tower.parameters())


def test_movement_of_the_tower_is_relative_to_clips(encoders):
    method = build("open_vclip", encoders)
    assert method.diagnostics() == {"movement_tower": 0.0}
    with torch.no_grad():
        for value in method.tower.parameters():
            value.mul_(1.25)
    assert method.diagnostics()["movement_tower"] == pytest.approx(0.25, rel=1e-5)
