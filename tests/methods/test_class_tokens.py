"""`class_prompts: tokens`: where the tokens enter, how they learn, and the control with frozen ones."""

from __future__ import annotations

import pytest
import torch
import yaml
from small import AUDIO, CLASSES, CLIP, INFO, SIZES, WORDS, media_batch, settings_for, small_encoders
from workspace import REPOSITORY

from hcep.config.whole import Config
from hcep.encoders.folder import assemble, build_audio, build_clip
from hcep.methods.dpol import opposing_logits
from hcep.methods.hcep import HCEP

CONFIG = Config.read(yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8")))
DELTAS = {f"cuep.delta_{kind}_{sign}" for kind in "va" for sign in ("pos", "neg")}
TOKENS = DELTAS | {"texts.tokens_pos", "texts.tokens_neg"}


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(1)
    return build_clip(CLIP), build_audio(AUDIO)


@pytest.fixture(scope="module")
def encoders(models):
    return assemble(*models, INFO)


def build(encoders, seed=0, **changes):
    torch.manual_seed(seed)
    method = HCEP(CLASSES, SIZES, encoders, settings_for("hcep", class_prompts="tokens", **changes))
    method.begin([])
    return method


def total(method, batch):
    return sum(value for key, value in method.loss(batch).items() if key.startswith("loss_"))


def by_hand(models, encoders, method, sign):
    """F_T, F_V, F_A of one sign, sequence by sequence, through the libraries' own modules."""
    (clip, audio), negation = models, "" if sign == "pos" else "not "
    text, vision, sound = (
        dict(method.named_parameters())[name]
        for name in (f"texts.tokens_{sign}", f"cuep.delta_v_{sign}", f"cuep.delta_a_{sign}")
    )
    features: tuple[list, list, list] = [], [], []
    for k, name in enumerate(CLASSES):
        start, *ids = [49406, *encoders.text.tokenizer.encode(f"This video is {negation}{WORDS[name]}"), 49407]
        words = clip.token_embedding(torch.tensor([start, *ids]))
        x = torch.cat([words[:1], text[k], words[1:]])
        x = x + clip.positional_embedding[: len(x)]
        x = clip.transformer(x[None], attn_mask=clip.attn_mask[: len(x), : len(x)])
        features[0].append(clip.ln_final(x[0, -1]) @ clip.text_projection)
        visual = clip.visual
        x = torch.cat([(visual.class_embedding + visual.positional_embedding[0])[None], vision[k]])
        x = visual.transformer(visual.ln_pre(x[None]))
        features[1].append(visual.ln_post(x[0, 0]) @ visual.proj)
        features[2].append(audio.encoder(sound[k][None]).last_hidden_state[0].mean(0))
    return [torch.stack(found) for found in features]


def test_tokens_enter_each_tower_at_the_declared_place(models, encoders):
    method = build(encoders)
    shapes = {name: tuple(value.shape) for name, value in method.named_parameters() if name in TOKENS}
    assert shapes == {
        **{f"texts.tokens_{sign}": (3, 4, 32) for sign in ("pos", "neg")},
        **{f"cuep.delta_v_{sign}": (3, 4, 48) for sign in ("pos", "neg")},
        **{f"cuep.delta_a_{sign}": (3, 4, 40) for sign in ("pos", "neg")},
    }
    for side, sign in zip(method.class_features()[1], ("pos", "neg"), strict=True):
        for ours, theirs in zip(side, by_hand(models, encoders, method, sign), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_points_and_losses_are_the_papers_on_these_features(models, encoders):
    method, batch = build(encoders), media_batch(encoders)
    terms, fused = method.loss(batch), method.head(*method.features(batch))
    positive, negative = (by_hand(models, encoders, method, sign) for sign in ("pos", "neg"))
    osr = opposing_logits(fused, method.head(*positive), method.head(*negative))
    emotion = torch.nn.functional.cosine_similarity(fused[:, None], positive[0][None], dim=2)
    cross_entropy = torch.nn.functional.cross_entropy
    torch.testing.assert_close(terms["loss_osr"], cross_entropy(osr, batch.label), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms["loss_emo"], cross_entropy(emotion, batch.label), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 16])
def test_tokens_start_small_whatever_their_number_and_clips_do_not_see_them(encoders, count):
    method, batch = build(encoders, class_tokens=count), media_batch(encoders)
    start = torch.cat([value.detach().flatten() for name, value in method.named_parameters() if name in TOKENS])
    assert len(start) == 2 * 3 * count * (32 + 48 + 40)
    assert start.std().item() == pytest.approx(0.02, rel=0.1) and abs(start.mean().item()) < 0.003
    media = HCEP(CLASSES, SIZES, encoders, settings_for("hcep"))
    media.load_state_dict({k: v for k, v in method.state_dict().items() if k.startswith("smep")}, strict=False)
    for ours, theirs in zip(method.features(batch), media.features(batch), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)


def test_gradient_reaches_every_token_and_no_encoder_weight(encoders):
    method = build(encoders)
    total(method, media_batch(encoders)).backward()
    for name in TOKENS:
        gradient = dict(method.named_parameters())[name].grad
        assert (gradient.flatten(2).norm(dim=2) > 0).all(), name
    for module in encoders.modules():
        assert all(value.grad is None for value in module.parameters())


@pytest.mark.parametrize("rate", [0.002, 0.1])
def test_tokens_move_at_their_own_rate_and_all_else_at_the_runs(encoders, rate):
    method = build(encoders, prompt_lr_tokens=rate, lr=0.005, weight_decay=0.0)
    optimiser = method.optimizer(method.settings)
    start = {name: value.detach().clone() for name, value in method.named_parameters()}
    for factor in (1.0, 0.1):  # the schedule's
        method.zero_grad()
        total(method, media_batch(encoders)).backward()
        optimiser.set_factor(factor)
        optimiser.step()
        method.after_step(1)
        if factor == 1:
            for name, value in method.named_parameters():
                step = rate if name in TOKENS else 0.005
                torch.testing.assert_close(value.detach(), start[name] - step * value.grad, atol=1e-7, rtol=1e-5)
    rates = [float(group["lr"]) for part in optimiser.parts for group in part.param_groups]
    assert sorted(rates) == pytest.approx(sorted([0.0005, 0.0005, 0.1 * rate]))
    moved = {name for name, value in method.diagnostics().items() if name.startswith("movement_") and value > 0}
    names = {name.partition(".")[2] for name in TOKENS}
    assert {f"movement_{name}" for name in names} < moved


def test_tokens_move_a_hundred_times_farther_than_media_prompts(encoders):
    far = {}
    for kind in ("media", "tokens"):
        torch.manual_seed(0)
        method = HCEP(CLASSES, SIZES, encoders, settings_for("hcep", class_prompts=kind, prompt_lr_tokens=0.02))
        method.begin([])
        optimiser = method.optimizer(method.settings)
        total(method, media_batch(encoders)).backward()
        optimiser.step()
        rows = method.diagnostics()
        far[kind] = [rows[f"movement_{name.partition('.')[2]}"] for name in sorted(DELTAS)]
    assert all(tokens > 100 * media for tokens, media in zip(far["tokens"], far["media"], strict=True)), far


def test_the_control_starts_as_hcep_tokens_does_and_has_no_gradient(encoders):
    learned, frozen, batch = build(encoders), build(encoders, prompts="frozen"), media_batch(encoders)
    for name, value in frozen.state_dict().items():
        if not name.startswith("text_"):  # the buffers of class texts that never move
            torch.testing.assert_close(value, learned.state_dict()[name], atol=0, rtol=0)
    torch.testing.assert_close(total(frozen, batch), total(learned, batch))
    total(frozen, batch).backward()
    optimiser = frozen.optimizer(frozen.settings)
    optimiser.step()
    frozen.after_step(1)
    assert all(value.grad is None for name, value in frozen.named_parameters() if not name.startswith("head."))
    rows = frozen.diagnostics()
    movement = {name.removeprefix("movement_"): value for name, value in rows.items() if name.startswith("movement_")}
    assert {name.partition(".")[2] for name in TOKENS} < set(movement) and not any(movement.values())
    assert {name for name in rows if name.startswith("gap_")} == {
        f"gap_{n}" for n in ("text", "vision", "audio", "fused")
    }


@pytest.mark.parametrize("size", [1, 2, 5])
def test_micro_batches_encode_the_tokens_once_and_give_the_same_gradient(encoders, monkeypatch, size):
    batch, passes = media_batch(encoders), []
    whole, parts = build(encoders), build(encoders)
    total(whole, batch).backward()
    plain = encoders.vision.encode_tokens
    monkeypatch.setattr(encoders.vision, "encode_tokens", lambda tokens: passes.append(len(tokens)) or plain(tokens))
    pieces = batch.split(size)
    parts.begin_step(len(pieces))
    for piece in pieces:
        (total(parts, piece) * len(piece.row) / len(batch.row)).backward()
    parts.before_step()
    assert passes == [2 * len(CLASSES)]
    for (name, one), other in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, atol=1e-6, rtol=1e-3, msg=name)


def test_bf16_encodes_tokens_and_keeps_what_is_learned_in_float32(encoders):
    method, exact, batch = build(encoders, precision="bf16"), build(encoders), media_batch(encoders)
    for ours, theirs in zip(method.class_features()[1].negative, exact.class_features()[1].negative, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0.05)
    total(method, batch).backward()
    assert all(value.grad.dtype == torch.float32 for value in method.parameters() if value.requires_grad)


def test_the_rows_of_the_config_differ_in_the_frozen_prompts_alone():
    learned, frozen = (CONFIG.run_settings("demo", name) for name in ("hcep_tokens", "frozen_tokens"))
    assert {key for key in learned if learned[key] != frozen[key]} == {"prompts"}
    assert (learned["class_prompts"], learned["prompts"], frozen["prompts"]) == ("tokens", "learned", "frozen")
    # rates at which other work's token prompts learn: CoOp's 0.002 to NegPrompt's 0.1
    (grid,) = CONFIG.method("hcep_tokens").tune.items()
    assert grid[0] == "prompt_lr_tokens" and min(grid[1]) == 0.002 and max(grid[1]) == 0.1


def test_other_small_encoders_too():
    method = build(small_encoders(3), class_tokens=2)
    assert torch.isfinite(method.predict(media_batch(method.encoders)).score).all()
