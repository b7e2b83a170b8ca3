"""Our own modules of CLIP and wav2vec 2.0 are bit for bit the libraries', whose weights they take as they are."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from scipy.fft import next_fast_len
from small import AUDIO, CLIP, INFO
from torch import Tensor

from hcep.demo.pretrain import AUDIO_CONFIG, CLIP_CONFIG
from hcep.encoders import fetch
from hcep.encoders.class_name import class_name
from hcep.encoders.fast.long_conv import fast_length
from hcep.encoders.fetch import full_size_info
from hcep.encoders.folder import assemble, build_audio, build_clip, build_towers, load_encoders
from hcep.encoders.info import AUDIO_FILE, CLIP_FILE
from hcep.encoders.plain.clip import plain_clip
from hcep.encoders.plain.wav2vec2 import plain_audio

WEIGHTS = Path(fetch.__file__).parents[1] / "demo" / "weights"
FULL = full_size_info()


def shallow(part: str) -> dict:
    """The paper's encoder at its full width, with two blocks."""
    if part == "audio":
        return FULL["audio"] | {"num_hidden_layers": 2}
    clip = {key: FULL["clip"][key] | {"layers": 2} for key in ("vision_cfg", "text_cfg")}
    return FULL["clip"] | clip


CLIPS = {
    "demo": CLIP_CONFIG,
    "small": CLIP,
    "gelu": CLIP | {"quick_gelu": False},
    "wide_mlp": CLIP | {"vision_cfg": CLIP["vision_cfg"] | {"mlp_ratio": 4.3637}},
    "full_width": shallow("clip"),
}
AUDIOS = {
    "demo": AUDIO_CONFIG,
    "small": AUDIO,
    "stable": AUDIO | {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
    "odd": AUDIO | {"num_conv_pos_embeddings": 7, "layer_norm_eps": 1e-3, "mask_time_prob": 0.0},
    "full_width": shallow("audio"),
}


def filled(library: torch.nn.Module, own: torch.nn.Module) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Both with the library's random weights, norms and biases among them, frozen."""
    with torch.no_grad():
        for value in library.parameters():
            if value.dim() < 2:
                value.add_(0.1 * torch.randn_like(value))
    assert list(own.state_dict()) == list(library.state_dict())  # the order also decides that of the optimisers
    assert [name for name, _ in own.named_parameters()] == [name for name, _ in library.named_parameters()]
    own.load_state_dict(library.state_dict())
    return library.eval(), own.eval()


@pytest.fixture(scope="module", params=CLIPS)
def clips(request):
    torch.manual_seed(0)
    info = INFO | {"clip": CLIPS[request.param], "audio": AUDIO}
    models = filled(build_clip(info["clip"]), plain_clip(info["clip"]))
    audio = build_audio(AUDIO)
    return models, [assemble(model, audio, info) for model in models]


@pytest.fixture(scope="module", params=AUDIOS)
def audios(request):
    torch.manual_seed(0)
    info = INFO | {"clip": CLIP, "audio": AUDIOS[request.param]}
    models = filled(build_audio(info["audio"]), plain_audio(info["audio"]))
    clip = plain_clip(CLIP)
    return models, [assemble(clip, model, info) for model in models]


def same(encode, encoders, prompts: Tensor | None) -> None:
    """Features of both, and gradients at the prompts, bit for bit."""
    found = []
    for each in encoders:
        own = None if prompts is None else prompts.clone().requires_grad_()
        feature = encode(each, own)
        weight = torch.randn(feature.shape, generator=torch.Generator().manual_seed(0))
        if own is not None:
            (feature * weight).sum().backward()
        found.append((feature.detach(), None if own is None else own.grad))
    (library, their_gradient), (plain, gradient) = found
    assert library.isfinite().all() and library.std() > 0 and torch.equal(library, plain)
    assert prompts is None or (their_gradient.any() and torch.equal(their_gradient, gradient))


@pytest.fixture(params=["modules", "fast"])
def form(request, monkeypatch):
    """By the modules themselves, or by the fast form of their weights."""
    if request.param == "modules":
        for name in ("text.TextEncoder", "vision.VisionEncoder", "audio.AudioEncoder"):
            monkeypatch.setattr(f"hcep.encoders.{name}.form", lambda self, dtype: None)
    return request.param


def has_form(encoder) -> bool:
    return encoder.form(torch.float32) is not None


def test_text_is_the_librarys(clips, form):
    _, (library, plain) = clips
    assert has_form(plain.text) == has_form(library.text) == (form == "fast")
    tokens = plain.text.tokenize(["a short one", "a somewhat longer sentence about nothing", "", "word " * 90])
    for prompts in (None, torch.randn(2, plain.text.width)):
        same(lambda each, own: each.text(tokens, own), (library, plain), prompts)


def test_vision_is_the_librarys(clips, form):
    _, (library, plain) = clips
    assert has_form(plain.vision) == has_form(library.vision) == (form == "fast")
    side, width = plain.vision.size, plain.vision.width
    frames = torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8)
    absent = torch.tensor([False, True, False])
    for prompts in (None, torch.randn(2, width), torch.randn(plain.vision.layers, 2, width)):
        same(lambda each, own: each.vision(each.vision.normalise(frames), own), (library, plain), prompts)
        same(lambda each, own: each.vision.encode_frames(frames, absent, own), (library, plain), prompts)
    same(lambda each, own: each.vision.encode_tokens(own), (library, plain), torch.randn(2, 5, width))


def test_audio_is_the_librarys(audios, form):
    _, (library, plain) = audios
    assert has_form(plain.audio) == has_form(library.audio)
    waves = torch.randn(2, 4000)
    for prompts in (None, torch.randn(2, 400)):
        for place, pool in (("prepend", "all"), ("append", "clip")):
            same(lambda each, own: each.audio(waves, own, place, pool), (library, plain), prompts)  # noqa: B023
    same(lambda each, own: each.audio.encode_tokens(own), (library, plain), torch.randn(2, 4, plain.audio.dim))


@pytest.mark.parametrize("choice", ["mean", "learned", [0, 1]], ids=str)
def test_every_hidden_state_is_the_librarys(audios, form, choice):
    (library, plain), (other, _) = audios
    info = other.info | {"audio_layers": choice}
    both = [assemble(plain_clip(CLIP), model, info) for model in (library, plain)]
    waves = torch.randn(2, 4000)
    same(lambda each, own: each.audio(waves, own), both, torch.randn(2, 400))


def test_the_library_itself_agrees(clips, audios):
    """Not only under our encoders: the library's own calls, on the whole context."""
    (library, _), (_, plain) = clips
    (hearing, _), (_, heard) = audios
    side, waves = plain.vision.size, torch.randn(2, 4000)
    images, tokens = torch.randn(2, 3, side, side), plain.text.tokenize(["word " * 90])
    with torch.no_grad():
        plain_modules, steps = plain.text, plain.vision.steps
        x = plain_modules.token_embedding(tokens) + plain_modules.positional_embedding
        x = plain_modules.ln_final(plain_modules.transformer(x, attn_mask=plain_modules.mask))
        assert torch.equal(x[:, -1] @ plain_modules.text_projection, library.encode_text(tokens))
        assert torch.equal(steps.finish(steps.enter(steps.tokens(images)), 0), library.encode_image(images))
        assert torch.equal(heard.audio.model(waves).last_hidden_state, hearing(waves).last_hidden_state)


def test_weights_that_learn_get_the_librarys_gradients(clips):
    _, both = clips
    side = both[0].vision.size
    images, tokens = torch.randn(2, 3, side, side), both[0].text.tokenize(["a man", "an open door"])
    found = []
    for each in both:
        towers = [copy.deepcopy(tower).requires_grad_(True) for tower in (each.text, each.vision)]
        (towers[0](tokens).square().sum() + towers[1](images).square().sum()).backward()
        found.append({name: value.grad for tower in towers for name, value in tower.named_parameters()})
    assert found[0].keys() == found[1].keys() and all(value.any() for value in found[1].values())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("part", ["text", "vision", "audio"])
def test_under_autocast_they_round_as_the_libraries_do(clips, audios, part, monkeypatch):
    both = audios[1] if part == "audio" else clips[1]
    monkeypatch.setattr(type(getattr(both[0], part)), "form", lambda self, dtype: None)
    side, tokens = both[0].vision.size, both[0].text.tokenize(["a man", "an open door"])
    given = {"text": tokens, "vision": torch.randn(2, 3, side, side), "audio": torch.randn(2, 4000)}[part]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        library, plain = (getattr(each, part)(given) for each in both)
    assert library.dtype == plain.dtype and torch.equal(library, plain)


def test_the_demos_encoders_are_built_here_and_are_the_librarys():
    encoders = load_encoders(WEIGHTS)
    from safetensors.torch import load_file

    clip, audio = build_clip(CLIP_CONFIG), build_audio(AUDIO_CONFIG)
    kept = load_file(WEIGHTS / CLIP_FILE)
    rows, values = kept.pop("token_embedding.rows"), kept.pop("token_embedding.values")
    with torch.no_grad():
        clip.token_embedding.weight.copy_(encoders.text.token_embedding.weight)
        assert torch.equal(clip.token_embedding.weight[rows], values)
    assert clip.load_state_dict(kept, strict=False).missing_keys == ["token_embedding.weight"]
    audio.load_state_dict(load_file(WEIGHTS / AUDIO_FILE))
    both = assemble(clip, audio, encoders.info), encoders
    kinds = [class_name(module.kind) for module in encoders.modules()]
    assert all(kind.startswith("hcep.encoders.plain.") for kind in kinds)
    tokens = encoders.text.tokenize(["she laughs", "a man frowns, his eyes wide"])
    frames, absent = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8), torch.zeros(4, dtype=torch.bool)
    waves = encoders.audio.normalise((torch.randn(2, 16_000) * 2000).to(torch.int16))
    same(lambda each, own: each.text(tokens, own), both, 0.02 * torch.randn(2, encoders.text.width))
    same(lambda each, own: each.vision.encode_frames(frames, absent, own), both, torch.randn(2, encoders.vision.width))
    same(lambda each, own: each.audio(waves, own), both, torch.randn(2, 1600))


VISION, TEXT = CLIP["vision_cfg"], CLIP["text_cfg"]


@pytest.mark.parametrize("changed", [
    {"vision_cfg": VISION | {"ls_init_value": 1e-5}},
    {"vision_cfg": VISION | {"pool_type": "avg"}},
    {"vision_cfg": VISION | {"layers": [1, 1, 1, 1]}},
    {"vision_cfg": VISION | {"norm_kwargs": {"eps": 1e-6}}},
    {"text_cfg": TEXT | {"pool_type": "last"}},
    {"text_cfg": TEXT | {"no_causal_mask": True}},
], ids=str)  # fmt: skip
def test_what_is_not_built_here_is_left_to_open_clip(changed):
    assert plain_clip(CLIP | changed) is None
    clip, _ = build_towers({"clip": CLIP | changed, "audio": AUDIO})
    assert class_name(type(clip)) == "open_clip.model.CLIP"


@pytest.mark.parametrize("changed", [
    {"model_type": "hubert"}, {"model_type": "wavlm"}, {"add_adapter": True}, {"hidden_act": "relu"},
    {"do_stable_layer_norm": True, "adapter_attn_dim": 4}, {"feat_extract_activation": "relu"},
    {"attn_implementation": "eager"},
], ids=str)  # fmt: skip
def test_what_is_not_built_here_is_left_to_transformers(changed):
    assert plain_audio(AUDIO | changed) is None
    _, audio = build_towers({"clip": CLIP, "audio": AUDIO | changed})
    assert class_name(type(audio)).startswith("transformers.models.")


def test_settings_that_fit_no_model_are_refused():
    with pytest.raises(ValueError, match="no multiple of 3 attention heads"):
        plain_audio(AUDIO | {"num_attention_heads": 3})
    with pytest.raises(ValueError, match="differ in length"):
        plain_audio(AUDIO | {"conv_kernel": [10, 3]})


def test_no_start_values_are_drawn():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    plain_clip(CLIP), plain_audio(AUDIO)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.device("meta"):
        clip, audio = build_towers(FULL)
    assert all(value.is_meta for model in (clip, audio) for value in model.state_dict().values())


def test_lengths_of_the_transform_are_scipys():
    lengths = range(1, 4000)
    assert [fast_length(n) for n in lengths] == [next_fast_len(n, real=True) for n in lengths]
