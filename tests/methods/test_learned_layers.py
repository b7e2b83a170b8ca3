"""Learned weights of the audio layers: the mean at the start, moved by every method's own optimiser, kept, refused."""

from __future__ import annotations

import copy

import pytest
import torch
from small import CLASSES, INFO, SIZES, MemoryFeed, feature_batch, media_batch, settings_for, small_encoders

from hcep import registry
from hcep.config.methods import METHODS, AudioLayers
from hcep.encoders.folder import assemble, build_audio, build_clip
from hcep.errors import HcepError
from hcep.methods.arpl_mm import ArplMM
from hcep.methods.audio_layers import LearnedLayers, build_method
from hcep.methods.hcep import HCEP
from hcep.methods.linear import Linear
from hcep.training.complexity import Counted, complexity
from hcep.training.loop import Trainer

LAYERS = 3
WEIGHTED = SIZES._replace(layers=LAYERS)
LEARNING = sorted(base for base, model in METHODS.items() if issubclass(model, AudioLayers))
OTHERS = sorted(base for base, model in METHODS.items() if model.hears and base not in LEARNING)


def class_of(base: str):
    return registry.load(METHODS[base].target)


def layered_batch(count: int = 6):
    """Random cached features with one audio feature per layer."""
    generator = torch.Generator().manual_seed(1)
    audio = torch.randn(count, LAYERS, SIZES.audio, generator=generator)
    return feature_batch(count)._replace(audio=audio)


def averaged(batch):
    return batch._replace(audio=batch.audio.mean(dim=1))


def built(base: str, sizes=WEIGHTED, **changes):
    torch.manual_seed(5)
    return build_method(class_of(base), CLASSES, sizes, None, settings_for(base, **changes))


@pytest.mark.parametrize("base", LEARNING)
def test_at_the_start_a_method_is_what_it_is_on_the_mean(base):
    ours, plain, batch = built(base), built(base, SIZES), layered_batch()
    assert isinstance(ours, LearnedLayers) and isinstance(ours, class_of(base)) and type(plain) is class_of(base)
    for method, clips in ((ours, batch), (plain, averaged(batch))):
        method.eval()
        method.begin(clips.split(3))
        method.finish(clips.split(3))
    one, other = ours.predict(batch), plain.predict(averaged(batch))
    torch.testing.assert_close(one.logits, other.logits, atol=1e-4, rtol=1e-4)
    assert one.features.keys() == other.features.keys() and not any(v.requires_grad for v in one.features.values())
    torch.testing.assert_close(one.features["audio"], other.features["audio"])
    ours.audio_layers.data.copy_(torch.tensor([0.0, 5.0, 0.0]))
    assert not torch.allclose(ours.predict(batch).features["audio"], other.features["audio"], atol=1e-2)


@pytest.mark.parametrize("base", LEARNING)
def test_the_weights_learn_with_the_method_and_are_written_down(base, tmp_path):
    method, batch = built(base, audio_layers_lr=0.01), layered_batch()
    feed = MemoryFeed(batch)
    before = copy.deepcopy(method.state_dict())
    rows = Trainer(method, feed, method.settings, 0, tmp_path).run()
    after = method.state_dict()
    assert not before["audio_layers"].any() and float(after["audio_layers"].std()) > 0
    (group,) = [group for group in method.parameter_groups(method.settings) if group.name == "audio_layers"]
    assert (group.rule, group.lr, group.weight_decay) == ("adam", 0.01, 0)
    held = [value for group in method.parameter_groups(method.settings) for value in group.params]
    assert len(held) == len({id(value) for value in held}) == len(list(method.parameters()))
    weights = [rows[-1][f"audio_layer_{number}"] for number in range(LAYERS)]
    assert weights == pytest.approx(after["audio_layers"].softmax(0).tolist()) and sum(weights) == pytest.approx(1)
    again = built(base)
    again.load_state_dict(after)
    for one in (method, again):
        one.eval()
    torch.testing.assert_close(again.predict(batch).score, method.predict(batch).score, atol=0, rtol=0)


def test_a_layer_that_tells_the_classes_apart_gains_weight(tmp_path):
    batch = layered_batch(30)
    labels = torch.arange(30) % 3
    batch.audio[:, 1, :3] += 8 * torch.nn.functional.one_hot(labels, 3)
    batch = batch._replace(label=labels, missing=torch.zeros_like(batch.missing), text=torch.zeros_like(batch.text))
    method = built("linear", epochs=40, lr_step=40, audio_layers_lr=0.02)
    Trainer(method, MemoryFeed(batch), method.settings, 0, tmp_path).run()
    weights = method.audio_layers.detach().softmax(0)
    assert float(weights[1]) > 0.4 and int(weights.argmax()) == 1


def test_a_run_broken_off_goes_on_with_the_weights_that_it_had(tmp_path):
    feed = MemoryFeed(layered_batch())
    whole = built("arpl_mm", audio_layers_lr=0.05, epochs=4)
    Trainer(whole, feed, whole.settings, 0, tmp_path / "whole").run()
    method = built("arpl_mm", audio_layers_lr=0.05, epochs=4)
    trainer = Trainer(method, feed, method.settings, 0, tmp_path / "broken")
    trainer._epoch(0)
    trainer._save(1)
    again = built("arpl_mm", audio_layers_lr=0.05, epochs=4)
    Trainer(again, feed, again.settings, 0, tmp_path / "broken").run()
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in again.state_dict().items())


def test_an_absent_sound_has_no_share_in_the_gradient_of_the_weights():
    method, batch = built("linear", missing="zero_feature"), layered_batch()
    batch = batch._replace(missing=torch.tensor([[False, False, True]] * 6))
    method.loss(batch)["loss_cls"].backward()
    assert not method.audio_layers.grad.any()


@pytest.mark.parametrize("base", OTHERS)
def test_a_method_that_cannot_learn_the_weights_says_so(base):
    """Those that are fitted take no steps; those with prompts encode sound themselves."""
    encoders = layered_encoders("learned") if METHODS[base].inputs == "media" else None
    with pytest.raises(HcepError, match=r"cannot learn weights of the audio layers. Remedy: set the encoder's"):
        build_method(class_of(base), CLASSES, WEIGHTED, encoders, settings_for(base))


def test_a_method_without_sound_has_no_weights():
    assert {"hcep", "logistic", "distance_mm"} <= {*OTHERS} and {"arpl_mm", "linear", "momke"} <= {*LEARNING}
    encoders = layered_encoders("learned")
    deaf = [base for base, model in METHODS.items() if not model.hears]
    assert deaf == [base for base in METHODS if "audio" not in class_of(base).towers]
    for base in deaf:
        method = build_method(class_of(base), CLASSES, WEIGHTED, encoders, settings_for(base))
        assert type(method) is class_of(base)


def layered_encoders(choice):
    torch.manual_seed(0)
    return assemble(build_clip(INFO["clip"]), build_audio(INFO["audio"]), INFO | {"audio_layers": choice})


@pytest.mark.parametrize("choice", ["mean", [0, 1], [1]], ids=str)
def test_prompts_in_the_clips_work_with_other_layers(choice):
    """HCEP: audio prompts and waveforms of the classes through the tower, and frozen prompts, which cache features."""
    usual, encoders, terms = small_encoders(), layered_encoders(choice), []
    for own in (usual, encoders):
        torch.manual_seed(5)
        method = HCEP(CLASSES, SIZES, own, settings_for("hcep"))
        method.begin([])
        batch = media_batch(own)
        loss = method.loss(batch)["loss_osr"]
        loss.backward()
        assert all(float(value.grad.abs().sum()) > 0 for value in (method.smep.n_a.weight, method.cuep.delta_a_neg))
        terms.append(float(loss.detach()))
    assert terms[0] != pytest.approx(terms[1], rel=1e-6)
    frozen = HCEP(CLASSES, SIZES, encoders, settings_for("hcep", prompts="frozen"))
    frozen.begin(batch.split(2))
    frozen.eval()
    direct = HCEP(CLASSES, SIZES, encoders, settings_for("hcep"))
    direct.load_state_dict(frozen.state_dict())
    torch.testing.assert_close(frozen.predict(batch).logits, direct.eval().predict(batch).logits, atol=1e-4, rtol=1e-4)


def test_complexity_counts_the_weights():
    settings = {base: settings_for(base) for base in ("arpl_mm", "linear")}
    chosen = {"arpl": Counted(ArplMM, settings["arpl_mm"]), "linear": Counted(Linear, settings["linear"])}
    usual = {row["method"]: row for row in complexity(INFO, 3, 4000, chosen, [8], None)}
    learned = complexity(INFO | {"audio_layers": "learned"}, 3, 4000, chosen, [8], None)
    for row in learned:
        before = usual[row["method"]]
        assert row["learnable"] == before["learnable"] + LAYERS and row["frozen"] == before["frozen"]
        assert row["gflop_per_clip"] == before["gflop_per_clip"]
    # a method with an encoder of its own, in a task that reads the last layer
    own = {"own": Counted(ArplMM, settings["arpl_mm"], audio_layers="learned"), **chosen}
    rows = {row["method"]: row for row in complexity(INFO, 3, 4000, own, [8], None)}
    assert rows["own"]["learnable"] == usual["arpl"]["learnable"] + LAYERS
    assert rows["arpl"] == usual["arpl"] and rows["linear"] == usual["linear"]
