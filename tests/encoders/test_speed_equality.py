"""The fast paths give what the plain ones give: features, gradients, and nothing kept for weights that do not learn."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from small import (
    AUDIO,
    CLASSES,
    ROUNDING,
    SIZES,
    WORDS,
    distance,
    media_batch,
    note_images,
    settings_for,
    small_encoders,
)
from torch.func import functional_call

from hcep.encoders.fast.conv_stack import conv_stack
from hcep.encoders.folder import build_audio
from hcep.encoders.text import without_padding
from hcep.methods.hcep import HCEP
from hcep.training import feed as feeds
from hcep.training.feed import MediaFeed
from hcep.training.memory import kept_bytes

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain import Clips, PlainHCEP
from synthetic import write_shards


@pytest.fixture(scope="module")
def encoders():
    return small_encoders()


@pytest.fixture(scope="module")
def plain(encoders):
    torch.manual_seed(1)
    return PlainHCEP([WORDS[name] for name in CLASSES], encoders, SIZES.side, SIZES.samples, "facial expression")


def hcep_like(plain, encoders, **changes) -> HCEP:
    """The project's method with the plain one's values."""
    method = HCEP(CLASSES, SIZES, encoders, settings_for("hcep", cosine_scale=100.0, **changes))
    method.load_state_dict(plain.state_dict(), strict=False)
    method.begin([])
    return method


def batch_and_clips(encoders, count=5):
    """The same clips as the project's batch and as the plain one's."""
    batch = media_batch(encoders, count)
    batch = batch._replace(missing=torch.zeros_like(batch.missing))
    frames = encoders.vision.normalise(batch.frames)
    return batch, Clips(batch.tokens, frames, encoders.audio.normalise(batch.waveform), batch.label)


def with_gradient(encode, prompts):
    """Feature and the gradient of a fixed sum of it at the prompts."""
    prompts = prompts.detach().clone().requires_grad_()
    feature = encode(prompts).float()
    torch.manual_seed(3)
    (feature * torch.randn_like(feature)).sum().backward()
    return feature.detach(), prompts.grad


@pytest.fixture(scope="module")
def towers(encoders, plain):
    """By name: the fast encoder, the plain one, and prompts of an ordinary size."""
    generator = torch.Generator().manual_seed(0)
    _, clips = batch_and_clips(encoders)
    images = clips.frames.flatten(0, 1)
    samples = SIZES.samples // 10
    return {
        "text": (
            lambda p: encoders.text(clips.tokens, p),
            lambda p: plain.encode_text(clips.tokens, p),
            0.02 * torch.randn(2, encoders.text.width, generator=generator),
        ),
        "vision": (
            lambda p: encoders.vision(images, p),
            lambda p: plain.encode_vision(images, p),
            torch.randn(2, encoders.vision.width, generator=generator),
        ),
        "audio": (
            lambda p: encoders.audio(clips.sound, p),
            lambda p: plain.encode_audio(clips.sound, p),
            torch.randn(2, samples, generator=generator),
        ),
    }


@pytest.mark.parametrize("name", ["text", "vision", "audio"])
def test_features_and_gradients_are_the_plain_ones(towers, name):
    fast, slow, prompts = towers[name]
    ours, theirs = with_gradient(fast, prompts), with_gradient(slow, prompts)
    assert distance(ours[0], theirs[0]) < 1e-5
    assert distance(ours[1], theirs[1]) < 1e-4
    with torch.no_grad():
        assert distance(fast(None), slow(None)) < 1e-5


@pytest.mark.parametrize("name", ["text", "vision", "audio"])
def test_bf16_is_no_coarser_than_autocast_over_the_libraries(towers, name, monkeypatch):
    # both round every matrix product's operands, here once more every sum, so errors of about rounding x sqrt(sums) are
    # due: two blocks of some ten sums each
    fast, slow, prompts = towers[name]
    exact = with_gradient(slow, prompts)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = with_gradient(fast, prompts), with_gradient(slow, prompts)
    for index, bound in ((0, ROUNDING * 20**0.5), (1, 2 * ROUNDING * 20**0.5)):
        error = distance(ours[index], exact[index])
        assert 1e-4 < error < min(bound, 2 * distance(theirs[index], exact[index]))


@pytest.mark.parametrize("name", ["vision", "audio"])
@pytest.mark.parametrize("bf16", [False, True])
def test_tokens_give_what_they_give_in_the_librarys_own_modules(encoders, name, bf16, monkeypatch):
    tower = {"vision": encoders.vision, "audio": encoders.audio}[name]
    width = tower.width if name == "vision" else tower.dim
    # of the size at which class prompts start, one sequence for each of three classes
    tokens = 0.02 * torch.randn(3, 4, width, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        ours = with_gradient(tower.encode_tokens, tokens)
        monkeypatch.setattr(tower, "form", lambda dtype: None)
        theirs = with_gradient(tower.encode_tokens, tokens)
    if not bf16:
        assert distance(ours[0], theirs[0]) < 1e-5 and distance(ours[1], theirs[1]) < 1e-4
        return
    # the same bounds as above, but for autocast, which keeps the audio tower's first sums in float32
    exact = with_gradient(tower.encode_tokens, tokens)
    assert 1e-4 < distance(ours[0], exact[0]) < ROUNDING * 20**0.5
    assert 1e-4 < distance(ours[1], exact[1]) < 2 * ROUNDING * 20**0.5


def test_one_steps_gradients_are_the_plain_ones(encoders, plain):
    batch, clips = batch_and_clips(encoders)
    method = hcep_like(plain, encoders)
    terms = method.loss(batch)
    fast, slow = terms["loss_emo"] + terms["loss_osr"], plain(clips)
    plain.zero_grad()
    fast.backward()
    slow.backward()
    assert float(fast.detach()) == pytest.approx(float(slow.detach()), rel=1e-5)
    ours = dict(method.named_parameters())
    theirs = dict(plain.named_parameters())
    assert set(theirs) == {name for name, value in ours.items() if value.requires_grad}
    for name, value in theirs.items():
        # the head's biases cancel in `D_neg - D_pos` up to rounding, so size is taken from the whole step
        assert float((ours[name].grad - value.grad).norm()) < 1e-4 * max(float(value.grad.norm()), 1e-2), name


def test_scores_are_the_plain_ones_and_class_prompts_are_encoded_once(encoders, plain, monkeypatch):
    batch, clips = batch_and_clips(encoders)
    method = hcep_like(plain, encoders).eval()
    images = note_images(monkeypatch, encoders.vision)
    found = [method.predict(part).logits for part in (batch, *batch.split(2))]
    with torch.no_grad():
        theirs = plain.logits(clips)[1]
    for logits in (found[0], torch.cat(found[1:])):
        torch.testing.assert_close(logits.float(), theirs, atol=1e-4, rtol=1e-4)
    assert images == [2 * len(CLASSES), 15, 6, 6, 3]


def test_autograd_keeps_activations_only(encoders, plain):
    batch, clips = batch_and_clips(encoders)
    method = hcep_like(plain, encoders)
    fast = kept_bytes(method, batch)
    weights = {id(value) for module in encoders.modules() for value in module.parameters()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):
        loss = plain(clips)
    slow = sum({v.untyped_storage().data_ptr(): v.untyped_storage().nbytes() for v in kept if not v.is_leaf}.values())
    assert 0 < fast < 0.75 * slow
    loss.backward()
    assert all(value.grad is None for module in encoders.modules() for value in module.parameters())
    assert weights  # of all three towers


def test_without_a_prompt_nothing_is_kept(encoders):
    batch, clips = batch_and_clips(encoders)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):
        features = (
            encoders.text(batch.tokens),
            encoders.vision(clips.frames.flatten(0, 1)),
            encoders.audio(clips.sound),
        )
    assert kept == [] and not any(value.requires_grad for value in features)


def test_a_text_is_the_same_whatever_stands_beside_it_or_behind_its_end(encoders):
    text = encoders.text
    tokens = text.tokenize(["a man", " ".join(["house"] * 20), " ".join(["house"] * 90)])
    prompts = torch.randn(2, text.width)
    whole = text(tokens, prompts)
    torch.testing.assert_close(text(tokens[:1, :4], prompts), whole[:1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(text(tokens[:2, :30], prompts), whole[:2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(text(tokens[2:], prompts), whole[2:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("samples", [400, 719, 720, 1037, 4000, 4801])
def test_the_conv_stack_is_the_librarys_for_every_length(samples):
    torch.manual_seed(0)
    model = build_audio(AUDIO).eval().requires_grad_(False)
    stack = conv_stack(model.feature_extractor, model.config, torch.float32)
    waves = torch.randn(3, samples, requires_grad=True)
    ours, theirs = stack(waves), model.feature_extractor(waves).transpose(1, 2)
    assert ours.shape == theirs.shape
    assert distance(ours, theirs) < 1e-5
    weight = torch.randn_like(theirs)
    one, other = (torch.autograd.grad((value * weight).sum(), waves)[0] for value in (ours, theirs))
    assert distance(one, other) < 1e-4


@pytest.mark.parametrize("samples", [719, 1037, 4000])
@pytest.mark.parametrize("learned", [slice(0, 401), slice(300, 719), slice(250, 260), slice(0, 0)])
def test_gradients_of_the_learned_samples_do_not_need_the_others(samples, learned):
    torch.manual_seed(0)
    model = build_audio(AUDIO).eval().requires_grad_(False)
    stack = conv_stack(model.feature_extractor, model.config, torch.float32)
    waves = torch.randn(3, samples, requires_grad=True)
    ours, theirs = stack(waves, learned), model.feature_extractor(waves).transpose(1, 2)
    assert distance(ours, theirs) < 1e-5
    weight = torch.randn_like(theirs)
    one, other = (torch.autograd.grad((value * weight).sum(), waves)[0][:, learned] for value in (ours, theirs))
    assert one.shape[1] == learned.stop - learned.start
    assert not one.numel() or distance(one, other) < 1e-4


def test_moments_stand_for_the_group_norm_even_where_little_of_the_sound_passes():
    torch.manual_seed(0)
    model = build_audio(AUDIO).eval().requires_grad_(False)
    # filters that take differences, on a slow tone with an offset: channels pass little of its power
    first = model.feature_extractor.conv_layers[0].conv.weight
    first.sub_(first.mean(dim=-1, keepdim=True))
    time = torch.arange(4000) / 16_000
    waves = torch.stack([3 + torch.sin(2 * torch.pi * 20 * time), torch.zeros(4000)])
    ours = conv_stack(model.feature_extractor, model.config, torch.float32)(waves)
    theirs = model.double().feature_extractor(waves.double()).transpose(1, 2)
    assert distance(ours, theirs) < 1e-4
    single = model.float().feature_extractor(waves).transpose(1, 2)
    assert distance(ours, theirs) < 2 * distance(single, theirs)


def test_weights_that_learn_or_are_replaced_or_changed_are_the_ones_that_run():
    encoders = small_encoders(2)
    text = encoders.text
    tokens = text.tokenize(["a man", "an open door"])
    before = text(tokens)
    larger = {"ln_final.weight": (2 * text.ln_final.weight).requires_grad_()}
    functional_call(text, larger, (tokens,)).sum().backward()
    assert larger["ln_final.weight"].grad is not None
    assert torch.equal(text(tokens), before)
    own = copy.deepcopy(text).requires_grad_(True)
    own(tokens).sum().backward()
    assert all(value.grad is not None for value in own.transformer.parameters())
    with torch.no_grad():
        text.transformer.resblocks[0].mlp.c_fc.weight.mul_(3)
    assert not torch.allclose(text(tokens), before, atol=1e-3)


def test_padding_is_cut_on_the_way_and_a_clips_row_stays_behind(encoders):
    tokens = encoders.text.tokenize(["a man", "", " ".join(["house"] * 9)])
    assert without_padding(tokens).shape == (3, 11) and without_padding(tokens[:2]).shape == (2, 4)
    assert without_padding(tokens[:0]).shape == (0, 77)
    moved = media_batch(encoders).to(torch.device("meta"))
    # numbers of clips are looked at one by one, which would wait for an accelerator each time
    assert moved.row.tolist() == [0, 1, 2, 3, 4] and moved.frames.is_meta and moved.label.is_meta


def test_media_are_the_same_wherever_they_are_kept_and_texts_end_with_the_longest(encoders, tmp_path, monkeypatch):
    texts = ["a man", " ".join(["house"] * 9), "", "an open door", "a child looks out"]
    store = write_shards(tmp_path, texts, SIZES, shards=2)
    monkeypatch.setattr(feeds, "READ_AT_ONCE", 2)
    made = {}
    for name, resident, room in (("shards", 0, 10**9), ("memory", 10**9, 0), ("device", 1, 10**9)):
        monkeypatch.setattr(feeds, "_device_room", lambda device, room=room: room)
        made[name] = MediaFeed(store, store.clips(), [0] * 5, encoders.text.tokenize, torch.device("cpu"), resident)
    assert {name: feed.resident is None for name, feed in made.items()} == {
        "shards": True,
        "memory": False,
        "device": False,
    }
    order = torch.tensor([4, 1, 0, 3, 2])
    found = {name: list(feed.batches(2, order)) for name, feed in made.items()}
    assert [batch.tokens.shape[1] for batch in found["shards"]] == [11, 5, 2]
    for other in ("memory", "device"):
        for one, two in zip(found["shards"], found[other], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True) if a is not None)


def test_stored_frames_are_what_their_normalised_images_are(encoders, plain):
    generator = torch.Generator().manual_seed(2)
    frames = torch.randint(0, 256, (6, SIZES.side, SIZES.side, 3), dtype=torch.uint8, generator=generator)
    absent = torch.tensor([False, False, True, False, True, False])
    prompts = torch.randn(2, encoders.vision.width, generator=generator)
    images = encoders.vision.normalise(frames)
    images[absent] = 0.0
    exact = plain.encode_vision(images, prompts)
    assert distance(encoders.vision.encode_frames(frames, absent, prompts), exact) < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = encoders.vision.encode_frames(frames, absent, prompts), plain.encode_vision(images, prompts)
    assert 1e-4 < distance(ours, exact) < min(ROUNDING * 20**0.5, 2 * distance(theirs, exact))
    # the library's own tower, where a weight learns
    own = copy.deepcopy(encoders.vision).requires_grad_(True)
    assert distance(own.encode_frames(frames, absent, prompts), exact) < 1e-5
