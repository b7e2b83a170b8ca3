"""HCEP and its controls: equations against closed forms, where gradients go, names bound to class ids."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small import CLASSES, SETTINGS, SIZES, feature_batch, media_batch, settings_for, small_encoders

from hcep import registry
from hcep.config.methods import METHODS, base_method
from hcep.evaluation.metrics import log_max_softmax as numpy_log_max_softmax
from hcep.methods.arpl_mm import ArplMM
from hcep.methods.dpol import emotion_logits, opposing_logits
from hcep.methods.hcep import HCEP
from hcep.methods.head import FusionHead, arpl_distance
from hcep.methods.linear import Linear
from hcep.methods.method import Features, log_max_softmax

PIXEL_AND_WAVE = {"delta_v_pos", "delta_v_neg", "delta_a_pos", "delta_a_neg"}


@pytest.fixture(scope="module")
def encoders():
    return small_encoders()


def build(encoders, seed=0, **changes):
    torch.manual_seed(seed)
    method = HCEP(CLASSES, SIZES, encoders, settings_for("hcep", **changes))
    method.begin([])
    return method


def total(method, batch):
    return sum(value for key, value in method.loss(batch).items() if key.startswith("loss_"))


def test_distance_by_hand():
    # m = 2: |x - c|^2 / 2 - x . c for x = (1, 2), c = (3, -1): (4 + 9) / 2 - 1 = 5.5; c = x: 0 - 5
    x, points = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0], [1.0, 2.0]])
    torch.testing.assert_close(arpl_distance(x, points), torch.tensor([[5.5, -5.0]]))


def test_equations_6_to_8_are_a_linear_function_of_the_feature():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 512, generator=generator, dtype=torch.float64)
    p, n = (torch.randn(4, 512, generator=generator, dtype=torch.float64) for _ in range(2))
    closed = (1 + 2 / 512) * x @ (p - n).T + (n.square().sum(1) - p.square().sum(1)) / 512
    torch.testing.assert_close(opposing_logits(x, p, n), closed, atol=1e-10, rtol=1e-12)


def test_equation_5_is_the_scaled_cosine():
    x, t = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    torch.testing.assert_close(emotion_logits(x, t, 100.0), torch.tensor([[60.0, 80.0]]))


def test_fusion_head_is_one_map_per_modality_and_one_more():
    head = FusionHead(SIZES)
    features = Features(*(torch.randn(2, width) for width in (32, 32, 40)))
    joined = torch.cat([head.text(features.text), head.vision(features.vision), head.audio(features.audio)], 1)
    torch.testing.assert_close(head(*features), joined @ head.fuse.weight.T + head.fuse.bias)


def test_log_max_softmax_does_not_saturate_and_agrees_with_numpy():
    logits = torch.tensor([[0.0, 50.0], [0.0, 60.0], [1.0, 1.0]], dtype=torch.float64)
    score = log_max_softmax(logits)
    assert score[1] > score[0]  # both probabilities are 1 in float64
    assert score[2].item() == pytest.approx(-math.log(2))
    np.testing.assert_allclose(score.numpy(), numpy_log_max_softmax(logits.numpy()), rtol=1e-12)


def test_losses_are_the_papers_two_terms(encoders):
    method, batch = build(encoders), media_batch(encoders)
    terms = method.loss(batch)
    features = method.features(batch)
    fused = method.head(*features)
    opposing = method.cuep(encoders, (method.text_positive, method.text_negative))
    emotion = torch.nn.functional.cosine_similarity(fused[:, None], method.text_positive[None], dim=2)
    osr = opposing_logits(fused, method.head(*opposing.positive), method.head(*opposing.negative))
    cross_entropy = torch.nn.functional.cross_entropy
    torch.testing.assert_close(terms["loss_emo"], cross_entropy(emotion, batch.label))
    torch.testing.assert_close(terms["loss_osr"], cross_entropy(osr, batch.label))
    assert set(terms) == {"loss_emo", "loss_osr", "accuracy"}


def test_gradient_reaches_every_prompt_and_no_encoder_weight(encoders):
    method = build(encoders)
    total(method, media_batch(encoders)).backward()
    for name, value in method.named_parameters():
        assert value.grad is not None and value.grad.abs().sum() > 0, name
    for module in encoders.modules():
        assert all(value.grad is None for value in module.parameters())
    assert {name for name, _ in method.cuep.named_parameters()} == PIXEL_AND_WAVE


def test_class_words_follow_the_class_ids(encoders):
    # HESP's released code sorted names but not labels: every order of classes must carry its own sentences
    for order in (CLASSES, CLASSES[::-1]):
        torch.manual_seed(0)
        method = HCEP(order, SIZES, encoders, settings_for("hcep"))
        method.begin([])
        words = [SETTINGS["words"][name] for name in order]
        assert method.texts.sentences[0] == [f"This video is {word}" for word in words]
        assert method.texts.sentences[1] == [f"This video is not {word}" for word in words]
        with torch.no_grad():
            theirs = encoders.text(encoders.text.tokenize([f"This video is {word}" for word in words]))
        torch.testing.assert_close(method.text_positive, theirs, atol=1e-5, rtol=1e-5)


def test_delta_t_starts_at_the_two_tokens_of_facial_expression(encoders):
    method = build(encoders)
    ids = encoders.text.tokenizer.encode("facial expression")
    assert len(ids) == 2
    torch.testing.assert_close(method.smep.delta_t.data, encoders.text.token_embedding(torch.tensor(ids)))
    assert build(encoders, prompt_tokens=1).smep.delta_t.shape[0] == 1
    assert build(encoders, prompt_tokens=5).smep.delta_t.shape[0] == 5


def test_prompt_shapes_and_start_of_the_class_prompts(encoders):
    method = build(encoders)
    prompts = method.smep()
    assert prompts.vision.shape == (2, encoders.vision.width) and prompts.audio.shape == (2, SIZES.samples // 10)
    assert method.cuep.delta_v_pos.shape == (3, 3, 32, 32) and method.cuep.delta_a_neg.shape == (3, 4000)
    assert abs(float(method.cuep.delta_v_pos.detach().std()) - 1) < 0.05


SWITCHES = [
    {"text_prompt": "mlp"},
    {"vision_prompt": "deep"},
    {"audio_prompt": "append"},
    {"audio_pool": "clip"},
    {"class_text_prompted": True},
    {"pixel_normalisation": True},
    {"points": "free"},
    {"point_features": "modality_sum"},
    {"emo_features": "modality_mean"},
    {"cosine_scale": 100.0},
    {"normalise_features": True},
    {"loss_reduction": "sum"},
    {"missing": "zero_feature"},
    {"prompt_words": "human voice"},
]


@pytest.mark.parametrize("change", SWITCHES, ids=lambda change: "-".join(f"{k}={v}" for k, v in change.items()))
def test_every_switch_of_training_changes_the_losses_and_still_learns(encoders, change):
    batch = media_batch(encoders)
    plain, changed = build(encoders), build(encoders, **change)
    one, other = plain.loss(batch), changed.loss(batch)
    assert any(abs(float((one[key] - other[key]).detach())) > 1e-6 for key in ("loss_emo", "loss_osr"))
    total(changed, batch).backward()
    learnable = [value for value in changed.parameters() if value.requires_grad]
    assert learnable and all(value.grad is not None for value in learnable)


@pytest.mark.parametrize("change", [{"inference": "average"}, {"score": "max_logit"}])
def test_every_switch_of_inference_changes_the_score(encoders, change):
    batch = media_batch(encoders)
    assert not torch.allclose(build(encoders).predict(batch).score, build(encoders, **change).predict(batch).score)


def test_a_sum_is_the_batch_size_times_the_mean(encoders):
    batch = media_batch(encoders)
    mean, added = build(encoders).loss(batch), build(encoders, loss_reduction="sum").loss(batch)
    torch.testing.assert_close(added["loss_osr"], mean["loss_osr"] * len(batch.row))


def test_prediction_is_algorithm_1(encoders):
    method, batch = build(encoders), media_batch(encoders)
    out = method.predict(batch)
    probability = torch.softmax(out.logits, dim=1).max(dim=1).values
    torch.testing.assert_close(out.score.exp(), probability)
    assert out.logits.dtype == torch.float64 and set(out.features) == {"text", "vision", "audio", "fused"}


def test_absent_modalities_are_neutral_and_independent_of_what_the_shard_holds(encoders):
    method, batch = build(encoders), media_batch(encoders)
    other = batch._replace(frames=batch.frames.clone())
    other.frames[2] = 200  # flagged as absent: must not be seen
    with torch.no_grad():
        torch.testing.assert_close(method.features(batch).vision, method.features(other).vision)
        zero = build(encoders, missing="zero_feature").features(batch)
    assert not zero.text[1].any() and not zero.vision[2].any() and not zero.audio[3].any()


def test_frozen_prompts_start_as_hcep_and_learn_the_head_alone(encoders):
    learned, frozen, batch = build(encoders), build(encoders, prompts="frozen"), media_batch(encoders)
    for name, value in learned.state_dict().items():
        torch.testing.assert_close(frozen.state_dict()[name], value, atol=0, rtol=0)
    torch.testing.assert_close(total(learned, batch), total(frozen, batch))
    learnable = {name for name, value in frozen.named_parameters() if value.requires_grad}
    assert learnable == {name for name, _ in frozen.named_parameters() if name.startswith("head.")}


def test_frozen_prompts_reuse_features_without_changing_them(encoders):
    frozen, batch = build(encoders, prompts="frozen"), media_batch(encoders)
    first = total(frozen, batch)
    first.backward()
    gradient = frozen.head.fuse.weight.grad.clone()
    frozen.zero_grad()
    half = batch.split(3)[0]
    blank = half._replace(frames=None, tokens=None, waveform=None)  # must not be needed any more
    torch.testing.assert_close(frozen.features(blank).audio, frozen.features(half).audio)
    second = total(frozen, batch)
    second.backward()
    torch.testing.assert_close(second, first)
    torch.testing.assert_close(frozen.head.fuse.weight.grad, gradient)


def test_free_points_take_the_place_of_the_class_prompts(encoders):
    method = build(encoders, points="free")
    assert method.points.vectors.shape == (2, 3, 32)
    groups = method.parameter_groups(method.settings)
    learnable = sum(p.numel() for g in groups for p in g.params)
    assert learnable == sum(p.numel() for p in method.parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in method.cuep.parameters())


def test_prompt_steps(encoders):
    batch = media_batch(encoders)
    moved = {}
    for rule in ("sgd", "adam", "normalised"):
        method = build(encoders, prompt_step=rule)
        optimiser = method.optimizer(method.settings)
        start = method.cuep.delta_a_pos.detach().clone()
        total(method, batch).backward()
        method.before_step()
        optimiser.step()
        moved[rule] = (method.cuep.delta_a_pos.detach() - start).square().mean(1).sqrt()
    assert (moved["sgd"] < 1e-3).all()
    # Adam's first step is its rate in every entry; a normalised step has the same RMS for every class
    torch.testing.assert_close(moved["adam"], torch.full((3,), 0.01), rtol=0.05, atol=0)
    torch.testing.assert_close(moved["normalised"], torch.full((3,), 0.129), rtol=0.01, atol=0)


def test_adam_leaves_the_decay_off_the_prompts_and_sgd_has_every_parameter_once(encoders):
    for rule in ("sgd", "adam"):
        method = build(encoders, prompt_step=rule)
        groups = method.parameter_groups(method.settings)
        params = [id(p) for group in groups for p in group.params]
        assert sorted(params) == sorted(id(p) for p in method.parameters())
        assert all(group.weight_decay == 0 for group in groups if group.rule == "adam")


def test_diagnostics_report_movement_and_gaps(encoders):
    method = build(encoders)
    at_start = method.diagnostics()
    assert all(value == 0 for key, value in at_start.items() if key.startswith("movement_"))
    assert {key for key in at_start if key.startswith("gap_")} == {"gap_text", "gap_vision", "gap_audio", "gap_fused"}
    with torch.no_grad():
        method.cuep.delta_v_pos *= 1.5
    method.after_step(1)
    assert method.diagnostics()["movement_delta_v_pos"] == pytest.approx(0.5, rel=1e-5)


def test_arpl_by_hand():
    method = ArplMM(("a", "b"), SIZES, None, settings_for("arpl_mm"))
    batch = feature_batch(4)._replace(label=torch.tensor([0, 1, 0, 1]))
    with torch.no_grad():
        method.radius.fill_(0.3)
        fused = method.head(batch.text, batch.vision, batch.audio)
    logits = torch.stack([((fused - p) ** 2).sum(1) / 32 - (fused * p).sum(1) for p in method.points], 1)
    terms = method.loss(batch)
    torch.testing.assert_close(terms["loss_cls"], torch.nn.functional.cross_entropy(logits, batch.label))
    own = ((fused - method.points[batch.label]) ** 2).mean(1)
    torch.testing.assert_close(terms["loss_margin"], 0.1 * torch.clamp(own - 0.3 + 1, min=0).mean())
    torch.testing.assert_close(method.predict(batch).score, logits.double().max(1).values, atol=1e-5, rtol=1e-5)
    msp = ArplMM(("a", "b"), SIZES, None, settings_for("arpl_mm", rival_score="msp"))
    msp.load_state_dict(method.state_dict())
    torch.testing.assert_close(msp.predict(batch).score, log_max_softmax(logits.detach()), atol=1e-5, rtol=1e-5)


def test_linear_by_hand():
    method, batch = Linear(CLASSES, SIZES, None, settings_for("linear")), feature_batch()
    logits = method.classifier(method.head(batch.text, batch.vision, batch.audio))
    torch.testing.assert_close(method.loss(batch)["loss_cls"], torch.nn.functional.cross_entropy(logits, batch.label))
    torch.testing.assert_close(
        method.predict(batch).score.exp(), torch.softmax(logits.double(), 1).max(1).values, atol=1e-6, rtol=1e-6
    )


def test_registry_says_what_the_classes_say():
    for base, entry in METHODS.items():
        cls = registry.load(entry.target)
        assert cls.inputs == entry.inputs, base
        settings = settings_for(base)
        media = small_encoders() if entry.inputs == "media" else None
        assert cls(CLASSES, SIZES, media, settings).learns == entry.model_validate(settings).learns, base
    zero_shot = settings_for("open_vclip", fine_tune=False)
    method = registry.load(base_method("open_vclip").target)(CLASSES, SIZES, small_encoders(), zero_shot)
    assert method.learns is base_method("open_vclip").model_validate(zero_shot).learns is False


def test_methods_read_no_setting_that_they_do_not_declare(encoders):
    # a KeyError here means that a setting would be lost from the run's record
    for base, entry in METHODS.items():
        cls = registry.load(entry.target)
        media = entry.inputs == "media"
        method = cls(CLASSES, SIZES, encoders if media or entry.text_tower else None, settings_for(base))
        method.begin([])
        batch = media_batch(encoders) if media else feature_batch()
        if method.learns:
            total(method, batch).backward()
            method.optimizer(method.settings).step()
            method.before_step()
        else:
            method.finish([batch])
        method.predict(batch)
        method.diagnostics()
