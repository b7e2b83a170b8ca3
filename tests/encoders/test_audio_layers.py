"""Which hidden states give an audio feature: the library's own, of every kind of model, plain, fast, with prompts."""

from __future__ import annotations

import copy

import pytest
import torch
from small import AUDIO, CLIP, ROUNDING, distance
from torch import Tensor

from hcep.encoders import fetch
from hcep.encoders.audio import AudioEncoder
from hcep.encoders.fetch import fetch_encoders
from hcep.encoders.folder import build_audio, build_clip, load_encoders
from hcep.encoders.info import hidden_states, made_by, read_info
from hcep.errors import HcepError

BLOCKS = 4
# wav2vec2-base, which has a fast form; wav2vec2-large-lv60 (a norm before each part, and one at the end); its relatives
KINDS = {
    "post_norm": {},
    "stable": {"do_stable_layer_norm": True, "feat_extract_norm": "layer"},
    "hubert": {"model_type": "hubert"},
    "wavlm": {"model_type": "wavlm"},
}
CHOICES = {"last": [4], "mean": [0, 1, 2, 3, 4], "learned": [0, 1, 2, 3, 4]}


def model_of(kind: str):
    """A small model whose norms do something."""
    torch.manual_seed(3)
    model = build_audio(AUDIO | {"num_hidden_layers": BLOCKS} | KINDS[kind]).eval().requires_grad_(False)
    for name, value in model.named_parameters():
        if "layer_norm" in name:
            value.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return model_of(request.param)


def wanted(model, waves: Tensor, choice) -> Tensor:
    """The feature by transformers' hidden states, the last of them as the model hands it out."""
    found = model(waves, output_hidden_states=True)
    states = [*found.hidden_states[:BLOCKS], found.last_hidden_state]
    numbers = CHOICES[choice] if isinstance(choice, str) else choice
    means = torch.stack([states[number].mean(dim=1) for number in numbers], dim=1)
    return means if choice == "learned" else means.mean(dim=1)


@pytest.mark.parametrize("choice", ["last", "mean", "learned", [2], [0], [1, 3], [4]], ids=str)
def test_features_and_gradients_are_those_of_the_librarys_hidden_states(model, choice):
    encoder, waves = AudioEncoder(model, choice).eval(), torch.randn(2, 4000)
    start = torch.randn(2, 400)
    found = []
    for encode in (
        lambda p: encoder(waves, p),
        lambda p: wanted(model, torch.cat([p.reshape(1, -1).expand(2, -1), waves], 1), choice),
    ):
        prompts = start.clone().requires_grad_()
        feature = encode(prompts)
        weight = torch.randn(feature.shape, generator=torch.Generator().manual_seed(0))
        (feature * weight).sum().backward()
        found.append((feature.detach(), prompts.grad))
    (ours, gradient), (theirs, their_gradient) = found
    assert ours.shape == ((2, BLOCKS + 1, 40) if choice == "learned" else (2, 40))
    assert distance(ours, theirs) < 1e-5 and distance(gradient, their_gradient) < 1e-4
    with torch.no_grad():
        assert distance(encoder(waves), wanted(model, waves, choice)) < 1e-5
    assert (encoder.form(torch.float32) is not None) == (model.config.model_type == "wav2vec2" and not stable(model))


@pytest.mark.parametrize("choice", ["last", "mean", [1, 3]], ids=str)
def test_tokens_behind_the_projection_give_the_same_features(model, choice):
    encoder, waves = AudioEncoder(model, choice).eval(), torch.randn(2, 4000)
    projected = []
    handle = model.feature_projection.register_forward_hook(lambda *given: projected.append(given[2]))
    with torch.no_grad():
        theirs = wanted(model, waves, choice)
        handle.remove()
        tokens = projected[0] if isinstance(projected[0], Tensor) else projected[0][0]
        assert distance(encoder.encode_tokens(tokens), theirs) < 1e-5


def stable(model) -> bool:
    return model.config.do_stable_layer_norm


def test_the_last_layer_by_its_number_is_the_last_and_the_others_differ(model):
    waves = torch.randn(2, 4000)
    with torch.no_grad():
        last = AudioEncoder(model)(waves)
        assert torch.equal(AudioEncoder(model, [BLOCKS])(waves), last)
        layers = [AudioEncoder(model, [number])(waves) for number in range(BLOCKS + 1)]
        apart = AudioEncoder(model, "learned")(waves)
        torch.testing.assert_close(torch.stack(layers, dim=1), apart)
        torch.testing.assert_close(AudioEncoder(model, "mean")(waves), apart.mean(dim=1))
        torch.testing.assert_close(AudioEncoder(model, [1, 3])(waves), (layers[1] + layers[3]) / 2)
    assert all(distance(one, last) > 0.01 for one in layers[:-1])


def test_the_final_norm_of_a_stable_model_is_on_the_last_layer_alone():
    model, waves = model_of("stable"), torch.randn(2, 4000)
    with torch.no_grad():
        before = [AudioEncoder(model, [number])(waves) for number in range(BLOCKS + 1)]
        model.encoder.layer_norm.weight.mul_(3)
        after = [AudioEncoder(model, [number])(waves) for number in range(BLOCKS + 1)]
    assert [torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [True] * BLOCKS + [False]


def test_the_average_over_the_bare_clips_positions_holds_for_every_layer(model):
    waves, prompts = torch.randn(2, 4000), torch.randn(2, 400)
    encoder = AudioEncoder(model, "learned")
    keep, stretch = encoder.frames(4000), prompts.reshape(1, -1).expand(2, -1)
    with torch.no_grad():
        for place, joined, part in (
            ("prepend", [stretch, waves], slice(-keep, None)),
            ("append", [waves, stretch], slice(keep)),
        ):
            found = model(torch.cat(joined, 1), output_hidden_states=True)
            states = [*found.hidden_states[:BLOCKS], found.last_hidden_state]
            theirs = torch.stack([state[:, part].mean(1) for state in states], 1)
            assert distance(encoder(waves, prompts, place, "clip"), theirs) < 1e-5


def test_blocks_behind_the_last_layer_that_is_read_do_not_run():
    model, waves = model_of("post_norm"), torch.randn(2, 4000)
    broken = copy.deepcopy(model)
    for value in broken.encoder.layers[3].parameters():
        value.fill_(torch.nan)
    with torch.no_grad():
        assert torch.equal(AudioEncoder(broken, [1, 3])(waves), AudioEncoder(model, [1, 3])(waves))
        assert AudioEncoder(broken, "mean")(waves).isnan().all()


def test_bf16_rounds_the_mean_over_layers_no_more_than_autocast_does():
    model, waves = model_of("post_norm"), torch.randn(2, 4000)
    exact = wanted(model, waves, "mean")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        ours, theirs = AudioEncoder(model, "mean")(waves), wanted(model, waves, "mean")
    assert ours.dtype == torch.float32
    assert 1e-4 < distance(ours, exact) < min(ROUNDING * 40**0.5, 2 * distance(theirs, exact))


def test_the_layers_that_a_choice_names():
    assert hidden_states("last", 12) == (12,) and hidden_states([6, 12], 12) == (6, 12)
    assert hidden_states("mean", 12) == hidden_states("learned", 12) == tuple(range(13))
    with pytest.raises(HcepError, match=r"audio_layers \[6, 13\]: the audio model has 12 layers and none of number 13"):
        hidden_states([6, 13], 12)


@pytest.fixture
def hub(monkeypatch):
    """The hubs' models are small ones."""
    import open_clip
    from transformers import AutoModel

    monkeypatch.setattr(open_clip, "create_model", lambda *a, **k: build_clip(CLIP))
    monkeypatch.setattr(AutoModel, "from_pretrained", lambda *a, **k: build_audio(AUDIO))
    return {"source": "hub", "clip": "ViT-B-32-quickgelu", "pretrained": "openai", "revision": None}


def test_a_folder_keeps_the_choice_and_the_usual_one_leaves_no_trace(hub, tmp_path):
    given = {"usual": {}, "last": {"audio_layers": "last"}, "mean": {"audio_layers": "mean"}}
    given["list"] = {"audio_layers": [0, 2]}
    for name, choice in given.items():
        torch.manual_seed(0)
        fetch_encoders(tmp_path / name, hub | choice, "full")
    info = {name: read_info(tmp_path / name) for name in given}
    assert info["usual"] == info["last"] and "audio_layers" not in info["last"]
    assert made_by(info["last"]) == info["last"]["sha256"] and not info["last"]["stand_in"]
    assert info["mean"] == info["last"] | {"audio_layers": "mean", "stand_in": True}
    assert made_by(info["list"]) == info["last"]["sha256"] | {"audio_layers": [0, 2]}


def test_the_packages_encoder_is_a_copy_but_for_another_choice(tmp_path):
    weights = fetch.Path(fetch.__file__).parents[1] / "demo" / "weights"
    fetch_encoders(tmp_path / "usual", {"source": "package", "audio_layers": "last"}, "demo")
    assert (tmp_path / "usual/encoder.json").read_bytes() == (weights / "encoder.json").read_bytes()
    fetch_encoders(tmp_path / "mine", {"source": "package", "audio_layers": [1]}, "mine")
    assert read_info(tmp_path / "mine") == read_info(weights) | {"name": "mine", "audio_layers": [1]}
    assert load_encoders(tmp_path / "usual").audio.read == (2,) and load_encoders(tmp_path / "mine").audio.read == (1,)


@pytest.mark.parametrize("source", ["package", "hub"])
def test_a_layer_that_the_model_does_not_have_is_refused_before_anything_is_written(hub, tmp_path, source):
    settings = hub | {"source": source, "audio_layers": [1, 3]}
    with pytest.raises(HcepError, match="the audio model has 2 layers and none of number 3"):
        fetch_encoders(tmp_path / "out", settings, "full")
    assert not (tmp_path / "out").exists()
