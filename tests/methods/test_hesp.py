"""HESP: losses, manual steps and released defects against plain formulas; CLIP untouched, and its own at the start."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from rivals import (
    build,
    check_clip_untouched,
    check_resumed_run,
    check_two_classes,
    full_size,
    full_size_count,
    gradients,
    one_step,
)
from small import AUDIO, CLIP, INFO, media_batch
from torch.nn import functional

from hcep.encoders.folder import assemble, build_audio, build_clip
from hcep.methods.head import arpl_distance
from hcep.methods.hesp import CONTEXTS, IMAGE_RMS, PATCH_RMS, supervised_contrast
from hcep.methods.method import log_max_softmax

PAPER = Path(__file__).parents[2] / "config" / "paper_results.csv"


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
    check_clip_untouched("hesp")


def test_a_broken_run_ends_with_the_same_bits(encoders, tmp_path):
    check_resumed_run("hesp", encoders, tmp_path)


def test_two_classes_are_enough_and_augmentation_is_for_training_alone(encoders):
    check_two_classes("hesp", encoders)


@pytest.mark.parametrize(("known", "count"), [(8, 1_905_354), (6, 1_507_016), (4, 1_108_678), (2, 710_340)])
def test_hesp_has_as_many_parameters_as_table_8_says_when_its_double_count_is_added(known, count):
    method = full_size("hesp", known)
    assert full_size_count("hesp", known) == count and method.paper_count_extra == 302_593
    with PAPER.open(encoding="utf-8", newline="") as handle:
        rows = {(row["source"], row["method"], row["openness"], row["metric"]): row for row in csv.DictReader(handle)}
    printed = rows["table8", "hesp", f"k{known}u{10 - known}", "params_m"]["value"]
    assert f"{(count + method.paper_count_extra) / 1e6:.2f}" == f"{float(printed):.2f}"


def test_hesps_text_features_start_as_clips_own(clip, encoders):
    method = build("hesp", encoders)
    words = " ".join(["very"] * CONTEXTS)
    with torch.no_grad():
        contexts = encoders.text.word_vectors(words).expand(3, -1, -1)
        ours = method.text_features(method.prompt_tokens, contexts)
        theirs = clip.encode_text(
            encoders.text.tokenize([f"{words} {word}." for word in ("angry", "fearful", "happy")])
        )
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        negative = clip.encode_text(encoders.text.tokenize(["This video is not fearful."]))
        torch.testing.assert_close(method.text_features(method.negative_tokens)[1:2], negative, atol=1e-5, rtol=1e-5)
        # a class's context is its own
        contexts = contexts.clone()
        contexts[1] += torch.randn_like(contexts[1])
        changed = method.text_features(method.prompt_tokens, contexts)
    assert [torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, changed, strict=True)] == [True, False, True]


def test_the_learnt_copies_stand_in_for_the_towers_own(encoders):
    method = build("hesp", encoders)
    with torch.no_grad():
        before = method.text_features(method.negative_tokens)
        method.text_tower["projection"].mul_(3)
        torch.testing.assert_close(method.text_features(method.negative_tokens), 3 * before, atol=1e-5, rtol=1e-5)


def test_supervised_contrast_by_brute_force():
    torch.manual_seed(0)
    x, label = torch.randn(7, 4), [0, 1, 0, 2, 1, 0, 3]
    cosine = functional.normalize(x, dim=1) @ functional.normalize(x, dim=1).T / 0.5
    values = []
    for i in range(7):
        positive = [j for j in range(7) if j != i and label[j] == label[i]]
        others = sum(math.exp(cosine[i, j]) for j in range(7) if j != i)
        if positive:
            values.append(-sum(math.log(math.exp(cosine[i, j]) / others) for j in positive) / len(positive))
    assert len(values) == 5
    assert float(supervised_contrast(x, torch.tensor(label))) == pytest.approx(0.5 * sum(values) / 5, rel=1e-5)


def test_a_batch_without_a_pair_contrasts_nothing_and_has_finite_gradients():
    x = torch.randn(3, 4, requires_grad=True)
    loss = supervised_contrast(x, torch.tensor([0, 1, 2]))
    loss.backward()
    assert float(loss.detach()) == 0 and not x.grad.any()


def test_hesps_losses_and_score_are_those_of_its_features(encoders, batch):
    method = build("hesp", encoders, cosine_scale=20.0).eval()
    with torch.no_grad():
        method.patch.normal_()
        method.radius.fill_(0.2)
        method.text_tower["log_scale"].add_(0.1)
    scale = 20 * math.exp(0.1)
    with torch.no_grad():
        x = method.features(batch)
        texts, images = method.prototypes()
        opposing = method.text_features(method.negative_tokens)
    a = scale * functional.cosine_similarity(x[:, None], texts[None], dim=2)
    b = arpl_distance(x, images)
    cross = scale * functional.cosine_similarity(images[:, None], opposing[None], dim=2)
    own = (x - images[batch.label]).square().mean(1)
    wanted = {
        "loss_text": functional.cross_entropy(a, batch.label),
        "loss_contrast": supervised_contrast(x, batch.label),
        "loss_osr": functional.cross_entropy(b, batch.label),
        "loss_margin": 0.1 * (own - 0.2 + 1).clamp(min=0).mean(),
        "loss_opposing": functional.cross_entropy(cross, torch.arange(3)),
        "loss_mean": functional.cross_entropy((a + b) / 2, batch.label),
    }
    found = method.loss(batch)
    assert found.keys() == {*wanted, "accuracy"}
    for name, value in wanted.items():
        torch.testing.assert_close(found[name].detach(), value, atol=1e-4, rtol=1e-4, msg=name)
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.logits.float(), (a + b) / 2, atol=1e-4, rtol=1e-4)
    assert torch.equal(prediction.score, prediction.logits.max(1).values)
    other = build("hesp", encoders, cosine_scale=20.0, rival_score="msp").eval()
    other.load_state_dict(method.state_dict())
    torch.testing.assert_close(other.predict(batch).score, log_max_softmax(prediction.logits))


def test_the_features_are_clips_own_mean_over_frames(clip, encoders, batch):
    method = build("hesp", encoders).eval()  # the patch starts at 0
    with torch.no_grad():
        images = encoders.vision.normalise(batch.frames)
        images[2] = 0  # the clip without video
        wanted = clip.encode_image(images.flatten(0, 1)).view(5, 3, -1).mean(1)
        torch.testing.assert_close(method.features(batch), wanted, atol=1e-5, rtol=1e-5)


def test_the_patch_lies_in_the_centre_and_is_added_to_the_pixels(encoders, batch):
    method = build("hesp", encoders).eval()
    with torch.no_grad():
        plain = method.images(batch)
        method.patch.normal_()
        difference = method.images(batch) - plain
    assert method.patch.shape == (3, 8, 8)
    std = torch.tensor(INFO["std"]).view(3, 1, 1)
    torch.testing.assert_close(difference[:, :, 12:20, 12:20] * std, method.patch.detach().expand(15, -1, -1, -1))
    difference[:, :, 12:20, 12:20] = 0
    assert not difference.any()


def test_manual_steps_have_the_releases_norm_at_its_sizes():
    assert IMAGE_RMS * math.sqrt(3 * 224 * 224) == pytest.approx(1)
    assert PATCH_RMS * math.sqrt(3 * 56 * 56) == pytest.approx(1)
    assert (round(50 * IMAGE_RMS, 3), round(50 * PATCH_RMS, 3)) == (0.129, 0.515)


@pytest.mark.parametrize("norm", [50, 1, 0])
@pytest.mark.parametrize("defects", [False, True])
def test_manual_steps_go_along_the_gradient(encoders, batch, defects, norm):
    method = build("hesp", encoders, hesp_defects=defects, hesp_step_norm=norm)
    gradients(method, batch)
    slope = {name: getattr(method, name).grad.clone() for name in ("patch", "negatives")}
    start = {name: getattr(method, name).detach().clone() for name in slope}
    method.before_step()
    moved = {name: getattr(method, name).detach() - start[name] for name in slope}
    patch = -norm * PATCH_RMS * slope["patch"] / slope["patch"].square().mean().sqrt()
    torch.testing.assert_close(moved["patch"], patch, atol=1e-5, rtol=1e-4)
    for k in range(3):
        own = slope["negatives"].mean(0) if defects else slope["negatives"][k]
        wanted = -norm * IMAGE_RMS * own / own.square().mean().sqrt()
        torch.testing.assert_close(moved["negatives"][k], wanted, atol=1e-5, rtol=1e-4)


def test_as_released_contexts_and_text_tower_never_learn(encoders, batch):
    moved = {}
    for defects in (False, True):
        method = build("hesp", encoders, hesp_defects=defects)
        start = {name: value.detach().clone() for name, value in method.named_parameters()}
        one_step(method, batch)
        moved[defects] = {name for name, value in method.named_parameters() if not torch.equal(value, start[name])}
    text = {f"text_tower.{name}" for name in ("position", "norm_weight", "norm_bias", "projection", "log_scale")}
    assert moved[True] == {"patch", "negatives", "radius"}
    assert moved[False] == moved[True] | text | {"contexts"}


def test_as_released_words_are_in_another_order_than_labels(encoders):
    classes = ("happiness", "anger", "fear")  # ids 0, 1, 2
    text = encoders.text
    for defects, words in ((False, ("happy", "angry", "fearful")), (True, ("angry", "fearful", "happy"))):
        method = build("hesp", encoders, classes=classes, hesp_defects=defects)
        assert torch.equal(method.prompt_tokens, text.tokenize([f"{word}." for word in words]))
        assert torch.equal(method.negative_tokens, text.tokenize([f"This video is not {word}." for word in words]))


def test_hesp_predicts_with_the_prompts_of_the_last_step(encoders, batch):
    method = build("hesp", encoders).eval()
    before = method.predict(batch).logits
    one_step(method, batch)
    after = method.predict(batch).logits
    fresh = build("hesp", encoders, seed=1).eval()
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(after, fresh.predict(batch).logits) and not torch.allclose(after, before)
    assert set(method.diagnostics()) == {"movement_contexts", "movement_negatives"}
    # a manual step of RMS 0.129 on N(0, 1)
    assert method.diagnostics()["movement_negatives"] == pytest.approx(0.129, rel=0.05)
