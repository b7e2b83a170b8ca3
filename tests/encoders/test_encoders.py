"""Frozen encoders: the library's own output without prompts, prompts in the right place, nothing learnable."""

from __future__ import annotations

import json

import pytest
import torch
from reseal import change_json
from small import AUDIO, CLIP, INFO, small_encoders
from transformers import Wav2Vec2FeatureExtractor

from hcep.encoders import vision
from hcep.encoders.class_name import class_name
from hcep.encoders.clip_vit import ClipViT
from hcep.encoders.fetch import fetch_encoders, full_size_info
from hcep.encoders.folder import (
    assemble,
    build_audio,
    build_clip,
    load_encoders,
    save_encoders,
    unseen_tokens,
)
from hcep.encoders.vision import VisionEncoder
from hcep.errors import HcepError


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(1)
    return build_clip(CLIP), build_audio(AUDIO)


@pytest.fixture(scope="module")
def encoders(models):
    return assemble(*models, INFO)


def test_without_prompts_the_features_are_the_librarys_own(models, encoders):
    clip, audio = models
    tokens = encoders.text.tokenize(["a short one", "a somewhat longer sentence about nothing", ""])
    images, waves = torch.randn(3, 3, 32, 32), torch.randn(2, 4000)
    with torch.no_grad():
        torch.testing.assert_close(encoders.text(tokens), clip.encode_text(tokens), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(encoders.vision(images), clip.encode_image(images))
        torch.testing.assert_close(encoders.audio(waves), audio(waves).last_hidden_state.mean(1))


def test_text_prompts_enter_after_the_start_mark_and_move_the_end(models, encoders):
    # prompts equal to two words' token vectors must give the feature of the sentence with these words in front
    text = encoders.text
    prompts = text.word_vectors("facial expression")
    assert prompts.shape == (2, text.width)
    with torch.no_grad():
        ours = text(text.tokenize(["of a man", ""]), prompts)
        theirs = models[0].encode_text(text.tokenize(["facial expression of a man", "facial expression"]))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_long_text_keeps_its_end_mark_beside_prompts(models, encoders):
    text, words = encoders.text, " ".join(["word"] * 120)
    prompts = text.word_vectors("facial expression")
    tokens = text.tokenize([words])
    assert tokens.shape == (1, 77) and int(tokens[0, -1]) == int(tokens.max())
    with torch.no_grad():
        theirs = models[0].encode_text(text.tokenize(["facial expression " + words]))
        torch.testing.assert_close(text(tokens, prompts), theirs, atol=1e-5, rtol=1e-5)


def test_too_many_prompts_are_refused(encoders):
    with pytest.raises(ValueError, match="do not fit"):
        encoders.text(encoders.text.tokenize(["a"]), torch.zeros(76, encoders.text.width))


def test_the_place_of_vision_prompts_in_the_sequence_is_immaterial(encoders):
    images, prompts = torch.randn(2, 3, 32, 32), torch.randn(2, encoders.vision.width)
    with torch.no_grad():
        one = encoders.vision(images, prompts)
        torch.testing.assert_close(one, encoders.vision(images, prompts.flip(0)), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(one, encoders.vision(images), atol=1e-4)


def test_deep_vision_prompts_replace_the_tokens_of_every_block(encoders):
    images, prompts = torch.randn(2, 3, 32, 32), torch.randn(encoders.vision.layers, 2, encoders.vision.width)
    changed = prompts.clone()
    changed[1] = -changed[1]
    with torch.no_grad():
        assert not torch.allclose(encoders.vision(images, prompts), encoders.vision(images, changed), atol=1e-4)


def test_audio_prompts_are_samples_before_the_waveform(models, encoders):
    waves, prompts = torch.randn(2, 4000), torch.randn(2, 400)
    joined = torch.cat([prompts.reshape(1, 800).expand(2, -1), waves], dim=1)
    with torch.no_grad():
        hidden = models[1](joined).last_hidden_state
        torch.testing.assert_close(encoders.audio(waves, prompts), hidden.mean(1))
        keep = encoders.audio.frames(4000)
        torch.testing.assert_close(encoders.audio(waves, prompts, pool="clip"), hidden[:, -keep:].mean(1))
        back = models[1](torch.cat([waves, prompts.reshape(1, 800).expand(2, -1)], dim=1)).last_hidden_state
        torch.testing.assert_close(encoders.audio(waves, prompts, "append", "clip"), back[:, :keep].mean(1))


def test_vision_tokens_stand_in_the_place_of_patches(models, encoders):
    clip, images = models[0].visual, torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        # the patches of an image, with their positions, give that image's feature
        patches = clip.conv1(images).flatten(2).transpose(1, 2) + clip.positional_embedding[1:]
        torch.testing.assert_close(encoders.vision.encode_tokens(patches), clip(images), atol=1e-5, rtol=1e-5)
        # and other tokens, as many as one likes, what the library's own modules make of them behind the class token
        tokens = torch.randn(3, 5, clip.class_embedding.shape[0])
        first = (clip.class_embedding + clip.positional_embedding[0]).expand(3, 1, -1)
        theirs = clip.transformer(clip.ln_pre(torch.cat([first, tokens], dim=1)))
        theirs = clip.ln_post(theirs[:, 0]) @ clip.proj
        torch.testing.assert_close(encoders.vision.encode_tokens(tokens), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [{"model_type": name} for name in ("wav2vec2", "hubert", "wavlm")] + [
    {"do_stable_layer_norm": True}, {"add_adapter": True},
], ids=str)  # fmt: skip
def test_audio_tokens_stand_in_the_place_of_what_the_projection_gives(models, kind):
    torch.manual_seed(2)
    library = build_audio(AUDIO | kind)
    ours, waves, tokens = (
        assemble(models[0], library, INFO).audio,
        torch.randn(2, 4000),
        torch.randn(3, 4, AUDIO["hidden_size"]),
    )
    projected = []
    handle = library.feature_projection.register_forward_hook(lambda *given: projected.append(given[2]))
    with torch.no_grad():
        theirs = library(waves).last_hidden_state.mean(1)
        handle.remove()
        hidden = projected[0] if isinstance(projected[0], torch.Tensor) else projected[0][0]
        torch.testing.assert_close(ours.encode_tokens(hidden), theirs, atol=1e-5, rtol=1e-5)
        theirs = library.encoder(tokens).last_hidden_state
        theirs = library.adapter(theirs) if kind.get("add_adapter") else theirs
        torch.testing.assert_close(ours.encode_tokens(tokens), theirs.mean(1), atol=1e-5, rtol=1e-5)
    assert (ours.form(torch.float32) is None) == (kind != {"model_type": "wav2vec2"})


@pytest.mark.parametrize(("samples", "frames"), [(80_000, 249), (16_000, 49), (96_000, 299)])
def test_number_of_hidden_states_of_the_paper(encoders, samples, frames):
    assert encoders.audio.frames(samples) == frames


def test_waveform_normalisation_is_the_feature_extractors(encoders):
    from transformers import Wav2Vec2FeatureExtractor

    waves = (torch.randn(2, 4000) * 2000 + 300).to(torch.int16)
    theirs = Wav2Vec2FeatureExtractor(do_normalize=True)(
        [wave.numpy() / 32768 for wave in waves], sampling_rate=16_000, return_tensors="pt"
    ).input_values
    torch.testing.assert_close(encoders.audio.normalise(waves), theirs.float(), atol=1e-4, rtol=1e-3)
    assert not encoders.audio.normalise(torch.zeros(1, 100, dtype=torch.int16)).any()


def test_padding_is_no_part_of_the_statistics(encoders):
    """A second with an offset, padded to five: the library's extractor, given the bare sounds, pads after it."""
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    lengths = torch.tensor([16_000, 80_000, 1, 0])
    waves = (torch.randn(4, 80_000) * 900 + 0.09 * 32768).to(torch.int16)
    waves[torch.arange(80_000) >= lengths[:, None]] = 0
    bare = [wave[:length].numpy().astype("float32") / 32768 for wave, length in zip(waves, lengths, strict=True)][:3]
    theirs = extractor(bare, sampling_rate=16_000, return_tensors="pt", padding="max_length", max_length=80_000)
    ours = encoders.audio.normalise(waves, lengths)
    torch.testing.assert_close(ours[:3], theirs.input_values, atol=2e-4, rtol=1e-3)
    assert float(ours[0, :16_000].mean().abs()) < 1e-5 and not ours[0, 16_000:].any() and not ours[3].any()
    # without the lengths the offset stays in the sound
    assert float(encoders.audio.normalise(waves)[0, :16_000].mean()) > 1


def test_pixels_are_normalised_as_open_clip_does(encoders):
    frames = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    mean, std = torch.tensor(INFO["mean"]), torch.tensor(INFO["std"])
    torch.testing.assert_close(encoders.vision.normalise(frames), ((frames / 255 - mean) / std).permute(0, 3, 1, 2))


def test_encoders_have_no_gradient_and_no_dropout():
    encoders = small_encoders()
    for module in encoders.modules():
        assert not any(part.training for part in module.modules())
        assert not any(value.requires_grad for value in module.parameters())
    waves = torch.randn(2, 4000)
    # wav2vec 2.0's dropout and SpecAugment would make two passes differ
    torch.testing.assert_close(encoders.audio(waves), encoders.audio(waves), atol=0, rtol=0)


def test_a_folder_gives_back_the_same_features(models, tmp_path):
    clip, audio = models
    seen = torch.tensor([320, 1125, 49406, 49407])
    with torch.no_grad():
        table = unseen_tokens(49408, 32, 7)
        table[seen] = clip.token_embedding.weight[seen]
        clip.token_embedding.weight.copy_(table)
    save_encoders(tmp_path, clip, audio, INFO | {"token_seed": 7}, seen_tokens=seen)
    loaded = load_encoders(tmp_path)
    tokens = loaded.text.tokenize(["words never seen by anyone"])
    with torch.no_grad():
        torch.testing.assert_close(loaded.text(tokens), clip.encode_text(tokens), atol=1e-5, rtol=1e-5)
    assert (tmp_path / "clip.safetensors").stat().st_size < 1e6  # not the 6 MB of the whole table


def test_a_damaged_folder_is_refused_by_name(models, tmp_path):
    save_encoders(tmp_path, *models, INFO)
    file = tmp_path / "audio.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(HcepError, match=r"audio\.safetensors: sha256 differs"):
        load_encoders(tmp_path)
    file.unlink()
    with pytest.raises(HcepError, match=r"audio\.safetensors: weight file missing"):
        load_encoders(tmp_path)
    with pytest.raises(HcepError, match="no encoder here"):
        load_encoders(tmp_path / "elsewhere")


def test_weights_of_another_architecture_are_refused(models, tmp_path):
    save_encoders(tmp_path, *models, INFO)
    file = tmp_path / "encoder.json"
    change_json(file, audio=json.loads(file.read_text())["audio"] | {"hidden_size": 20})
    with pytest.raises(HcepError, match="do not fit"):
        load_encoders(tmp_path)


def test_full_size_architecture_is_the_papers():
    info = full_size_info()
    assert info["clip"]["quick_gelu"] and info["clip"]["vision_cfg"]["patch_size"] == 32
    assert info["audio"]["hidden_size"] == 768 and info["audio"]["feat_extract_norm"] == "group"


def test_fetching_without_a_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = {
        "source": "hub",
        "clip": "ViT-B-32-quickgelu",
        "pretrained": "openai",
        "audio": str(tmp_path / "absent"),
        "revision": None,
    }
    import open_clip

    monkeypatch.setattr(open_clip, "create_model", lambda *a, **k: build_clip(CLIP))
    with pytest.raises(HcepError, match="could not be fetched"):
        fetch_encoders(tmp_path / "out", settings, "full")
    with pytest.raises(HcepError, match="use package, hub or random"):
        fetch_encoders(tmp_path / "out", settings | {"source": "web"}, "full")


def test_openai_weights_need_quickgelu(tmp_path, monkeypatch):
    import open_clip
    from transformers import AutoModel

    monkeypatch.setattr(open_clip, "create_model", lambda *a, **k: build_clip(CLIP))
    monkeypatch.setattr(AutoModel, "from_pretrained", lambda *a, **k: build_audio(AUDIO))
    settings = {"source": "hub", "clip": "ViT-B-32", "pretrained": "openai", "audio": "x", "revision": None}
    with pytest.raises(HcepError, match="QuickGELU"):
        fetch_encoders(tmp_path, settings, "full")


@pytest.mark.parametrize(
    ("clip", "pretrained", "mean"),
    [
        ("ViT-B-32-quickgelu", "openai", INFO["mean"]),
        ("ViT-L-14", "laion2b_s32b_b82k", [0.5, 0.5, 0.5]),
        ("ViT-L-14", "/a/local/file.pt", INFO["mean"]),
    ],
)
def test_pixels_are_normalised_as_the_weights_were_trained(tmp_path, monkeypatch, clip, pretrained, mean):
    import open_clip
    from transformers import AutoModel

    monkeypatch.setattr(open_clip, "create_model", lambda *a, **k: build_clip(CLIP))
    monkeypatch.setattr(AutoModel, "from_pretrained", lambda *a, **k: build_audio(AUDIO))
    settings = {"source": "hub", "clip": clip, "pretrained": pretrained, "audio": "x", "revision": None}
    fetch_encoders(tmp_path, settings, "full")
    assert json.loads((tmp_path / "encoder.json").read_text())["mean"] == mean


def test_a_vision_tower_of_an_unknown_family_is_refused_by_its_name(models):
    class Other(torch.nn.Module):
        pass

    clip = build_clip(CLIP)
    clip.visual = Other()
    with pytest.raises(HcepError, match=r"class Other are not supported.*VisionTransformer"):
        assemble(clip, models[1], INFO)


def test_a_vision_tower_of_another_family_needs_only_its_steps(models, monkeypatch):
    """A family is a class with the steps and an entry in the table; prompts and stored frames need nothing more."""
    clip = build_clip(CLIP)

    class Other(type(clip.visual)):
        """Another class, so that neither the entry of CLIP's ViT nor its fast form is taken."""

    clip.visual.__class__ = Other
    monkeypatch.setitem(vision.FAMILIES, class_name(Other), ClipViT)
    other, known = assemble(clip, models[1], INFO).vision, VisionEncoder(build_clip(CLIP), INFO["mean"], INFO["std"])
    assert other.form(torch.float32) is None
    with torch.no_grad():
        for ours, theirs in zip(known.tower.parameters(), other.tower.parameters(), strict=True):
            ours.copy_(theirs)
    known.requires_grad_(False)
    assert known.form(torch.float32) is not None
    frames = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    absent = torch.tensor([False, True, False])
    shallow, deep = torch.randn(2, other.width), torch.randn(other.layers, 2, other.width)
    for prompts in (None, shallow, deep):
        theirs = known.encode_frames(frames, absent, prompts)
        torch.testing.assert_close(other.encode_frames(frames, absent, prompts), theirs, atol=1e-5, rtol=1e-4)
