"""The ablations of Tables 5 to 7 and Fig. 4 as config.yaml names them, each against a formula written out here."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
import yaml
from small import CLASSES, INFO, SETTINGS, SIZES, WORDS, count_learnable, media_batch, settings_for, small_encoders
from torch.nn.functional import cosine_similarity, cross_entropy

from hcep.config.methods import Hcep
from hcep.encoders.fetch import full_size_info
from hcep.errors import HcepError
from hcep.methods.hcep import HCEP
from hcep.methods.head import arpl_margin
from hcep.methods.method import Sizes
from hcep.training.complexity import count_flops, shape_only

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config" / "config.yaml").read_text())
ROWS = {
    name: {key: value for key, value in row.items() if key not in ("base", "tune")}
    for name, row in CONFIG["methods"].items()
    if row["base"] == "hcep"
}

HEAD = {f"head.{part}" for part in ("text", "vision", "audio", "fuse")}
SMEP = {"smep.delta_t", "smep.n_v.0", "smep.n_a"}
POSITIVE, NEGATIVE = ({f"cuep.delta_{kind}_{sign}" for kind in "va"} for sign in ("pos", "neg"))
CUEP = POSITIVE | NEGATIVE
GAPS = {"text", "vision", "audio", "fused"}
BOTH = {"loss_emo", "loss_osr"}
ARPL = {"loss_osr", "loss_margin"}

# method -> loss terms, what learns (weights and biases under one name), gaps of its history
DEFINITIONS = {
    "hcep": (BOTH, HEAD | SMEP | CUEP, GAPS),
    "frozen_prompts": (BOTH, HEAD, GAPS),
    "hcep_tokens": (BOTH, HEAD | SMEP | CUEP | {"texts.tokens_pos", "texts.tokens_neg"}, GAPS),
    "frozen_tokens": (BOTH, HEAD, GAPS),
    "cosine_only": ({"loss_emo"}, HEAD, set()),
    "smep_only": (ARPL, HEAD | SMEP | {"points.vectors", "points.radius"}, set()),
    "smep_emo": (ARPL | BOTH, HEAD | SMEP | {"points.vectors", "points.radius"}, set()),
    "cuep_osr": ({"loss_osr"}, HEAD | CUEP, GAPS),
    "no_emo": ({"loss_osr"}, HEAD | SMEP | CUEP, GAPS),
    "points_random_pos_neg": (BOTH, HEAD | SMEP | {"points.vectors"}, {"fused"}),
    "points_prompted_neg": (BOTH, HEAD | SMEP | NEGATIVE, set()),
    "text_tokens_label": (BOTH, HEAD | SMEP | CUEP | {"texts.tokens_pos", "texts.tokens_neg"}, GAPS),
    "text_tokens_no_label": (BOTH, HEAD | SMEP | CUEP | {"texts.tokens_pos", "texts.tokens_neg"}, GAPS),
    "features_text": (BOTH, HEAD | SMEP, {"text"}),
    "features_multimodal": (BOTH, HEAD | SMEP | CUEP, GAPS),
    "guided_visual": (BOTH, HEAD | CUEP | {"smep.delta_v", "smep.n_t", "smep.n_a"}, GAPS),
    "guided_audio": (BOTH, HEAD | CUEP | {"smep.delta_a", "smep.n_t", "smep.n_v.0"}, GAPS),
    "guided_none": (BOTH, HEAD | CUEP | {"smep.delta_t", "smep.delta_v", "smep.delta_a"}, GAPS),
}


@pytest.fixture(scope="module")
def encoders():
    return small_encoders()


@pytest.fixture(scope="module")
def batch(encoders):
    batch = media_batch(encoders)
    return batch._replace(missing=torch.zeros_like(batch.missing))  # no clip needs a stand-in here


def build(encoders, seed=0, **changes):
    torch.manual_seed(seed)
    method = HCEP(CLASSES, SIZES, encoders, settings_for("hcep", **changes))
    method.begin([])
    return method


def total(method, batch):
    return sum(value for key, value in method.loss(batch).items() if key.startswith("loss_"))


def encoded(encoders, batch, text=None, vision=None, audio=None):
    """One feature per modality of the clips with these prompts, by the encoders alone."""
    images = encoders.vision.normalise(batch.frames.flatten(0, 1))
    frames = encoders.vision(images, vision).view(len(batch.row), SIZES.frames, -1).mean(1)
    return encoders.text(batch.tokens, text), frames, encoders.audio(encoders.audio.normalise(batch.waveform), audio)


def on_head(method, text, vision, audio):
    """W_f [W_t F_T; W_v F_V; W_a F_A]."""
    head = method.head
    return head.fuse(torch.cat([head.text(text), head.vision(vision), head.audio(audio)], dim=1))


def distance(x, points):
    """|x - c|^2 / m - x . c, one pair at a time."""
    return torch.stack([torch.stack([((a - c) ** 2).mean() - a @ c for c in points]) for a in x])


def sentence_features(encoders, template):
    return encoders.text(encoders.text.tokenize([template.format(WORDS[name]) for name in CLASSES]))


def fused_clips(method, encoders, batch):
    return on_head(method, *encoded(encoders, batch, *method.smep()))


def class_points(method, encoders, text, sign):
    """F_M^+ or F_M^- from the class texts' features, by the encoders alone."""
    images, waves = (getattr(method.cuep, f"delta_{kind}_{sign}") for kind in "va")
    return on_head(method, text, encoders.vision(images), encoders.audio(waves))


def cosines(x, targets):
    return cosine_similarity(x[:, None], targets[None], dim=2)


def learnable(method):
    names = {name for name, value in method.named_parameters() if value.requires_grad}
    return {name.removesuffix(".weight").removesuffix(".bias") for name in names}


def test_every_row_of_the_config_is_defined_here():
    steps = {"hcep_adam": {"prompt_step": "adam"}, "hcep_normalised": {"prompt_step": "normalised"}}
    tokens = {f"tokens_m{count}": {"prompt_tokens": count} for count in (1, 4, 8, 16)}
    others = steps | tokens
    assert {name: ROWS[name] for name in others} == others
    assert set(DEFINITIONS) <= set(ROWS)


def test_hcep_is_the_row_of_figure_4_with_the_text_as_guide_and_two_prompts():
    assert ROWS["hcep"] == {}
    assert (Hcep().guide, Hcep().prompt_tokens) == ("text", 2)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_losses_learnable_parameters_and_gaps_of_each_row(encoders, batch, name):
    terms, parts, gaps = DEFINITIONS[name]
    method = build(encoders, **ROWS[name])
    assert {key for key in method.loss(batch) if key != "accuracy"} == terms
    assert learnable(method) == parts
    total(method, batch).backward()
    for key, value in method.named_parameters():
        assert (value.grad is not None and value.grad.abs().sum() > 0) == value.requires_grad, key
    groups = method.parameter_groups(method.settings)
    stepped = [id(value) for group in groups for value in group.params]
    assert sorted(stepped) == sorted(id(value) for value in method.parameters() if value.requires_grad)
    rows = method.diagnostics()
    assert {key.removeprefix("gap_") for key in rows if key.startswith("gap_")} == gaps
    assert all(value == 0 if key.startswith("movement_") else value > 0 for key, value in rows.items())


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_checkpoint_of_each_row_predicts_as_its_run_did(encoders, batch, name):
    method = build(encoders, **ROWS[name])
    optimiser = method.optimizer(method.settings)
    start = method.predict(batch).score
    total(method, batch).backward()
    optimiser.step()
    method.after_step(1)
    moved = {key for key, value in method.diagnostics().items() if key.startswith("movement_") and value > 0}
    torch.manual_seed(99)
    again = HCEP(CLASSES, SIZES, encoders, method.settings)  # as `score` does: built, filled, no `begin`
    again.load_state_dict(method.state_dict())
    one, other = method.predict(batch), again.predict(batch)
    torch.testing.assert_close(other.logits, one.logits)
    torch.testing.assert_close(other.score, one.score)
    assert torch.isfinite(one.score).all() and not torch.equal(one.score, start)
    prompts = {part for part in learnable(method) if not part.startswith("head.") and part != "points.radius"}
    assert len(moved) == len(prompts), (moved, prompts)


def combinations():
    """Losses with all settings that bear on them."""
    points = [("prompted", "head"), ("prompted", "modality_sum"), ("prompted", "text"), ("free", "head")]
    points += [("prompted_negative", kind) for kind in ("head", "modality_sum", "text")] + [("free_negative", "head")]
    emo = list(product(("text", "head"), ("fused", "modality_mean")))
    for losses, places, targets in (
        (["emo"], [points[0], points[-1]], emo),
        (["osr"], points, emo[:1]),
        (["emo", "osr"], points, emo),
    ):
        for (kind, features), (target, clips) in product(places, targets):
            yield {
                "losses": losses,
                "points": kind,
                "point_features": features,
                "emo_points": target,
                "emo_features": clips,
            }


def test_whatever_the_combination_exactly_what_the_losses_reach_is_learnable(encoders):
    batch = media_batch(encoders, 1)
    for changes in combinations():
        method = build(encoders, class_text="tokens_label", **changes)
        wanted = learnable(method)
        method.requires_grad_(True)
        total(method, batch).backward()
        reached = {name for name, value in method.named_parameters() if value.grad is not None and value.grad.any()}
        assert {name.removesuffix(".weight").removesuffix(".bias") for name in reached} == wanted, changes


@pytest.mark.parametrize("name", ["smep_only", "smep_emo"])
def test_random_negative_points_are_arpl_on_the_prompted_feature(encoders, batch, name):
    method = build(encoders, **ROWS[name])
    with torch.no_grad():
        method.points.radius.fill_(0.3)
    points = method.points.vectors
    assert points.shape == (1, 3, 32) and points.std().item() == pytest.approx(0.1, rel=0.2)
    terms, x = method.loss(batch), fused_clips(method, encoders, batch)
    logits = distance(x, points[0])
    own = torch.stack([((a - points[0, k]) ** 2).mean() for a, k in zip(x, batch.label, strict=True)])
    torch.testing.assert_close(terms["loss_osr"], cross_entropy(logits, batch.label))
    torch.testing.assert_close(terms["loss_margin"], 0.1 * torch.clamp(own - 0.3 + 1, min=0).mean())
    if name == "smep_emo":
        emotion = cosines(x, sentence_features(encoders, "This video is {}"))
        torch.testing.assert_close(terms["loss_emo"], cross_entropy(emotion, batch.label))
    # ARPL's official score: the largest raw logit, |x|^2 / m included
    torch.testing.assert_close(method.predict(batch).score.float(), logits.max(1).values, atol=1e-5, rtol=1e-5)


def test_the_margin_by_hand_and_as_a_sum():
    x, points, label = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.arange(2)
    # d_y = (4 + 4) / 2 = 4 and 1 / 2; R = 2: max(0, 3) and max(0, -0.5)
    radius = torch.tensor([2.0])
    assert arpl_margin(x, points, label, radius).item() == pytest.approx(0.1 * 3 / 2)
    assert arpl_margin(x, points, label, radius, "sum").item() == pytest.approx(0.1 * 3)


def test_a_sum_multiplies_the_margin_too(encoders, batch):
    mean, added = (
        build(encoders, **ROWS["smep_only"], loss_reduction=kind).loss(batch)["loss_margin"] for kind in ("mean", "sum")
    )
    torch.testing.assert_close(added, mean * len(batch.row))


def test_cuep_osr_has_no_prompt_on_the_clips(encoders, batch):
    method = build(encoders, **ROWS["cuep_osr"])
    features = encoded(encoders, batch)
    for own, theirs in zip(method.features(batch), features, strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-5, rtol=1e-4)
    x = on_head(method, *features)
    positive = class_points(method, encoders, sentence_features(encoders, "This video is {}"), "pos")
    negative = class_points(method, encoders, sentence_features(encoders, "This video is not {}"), "neg")
    logits = distance(x, negative) - distance(x, positive)
    torch.testing.assert_close(method.loss(batch)["loss_osr"], cross_entropy(logits, batch.label))
    # what enters a clip never moves: it is encoded once
    blank = batch._replace(frames=None, tokens=None, waveform=None)
    torch.testing.assert_close(method.features(blank).audio, method.features(batch).audio, atol=0, rtol=0)
    # the class prompts start as HCEP's do
    torch.testing.assert_close(method.cuep.delta_a_neg, build(encoders).cuep.delta_a_neg, atol=0, rtol=0)


def test_no_emo_is_hcep_without_its_first_term(encoders, batch):
    whole, method = build(encoders), build(encoders, **ROWS["no_emo"])
    torch.testing.assert_close(method.loss(batch)["loss_osr"], whole.loss(batch)["loss_osr"], atol=0, rtol=0)
    torch.testing.assert_close(method.predict(batch).score, whole.predict(batch).score, atol=0, rtol=0)


def test_prompted_negatives_alone_classify_by_their_distance(encoders, batch):
    method = build(encoders, **ROWS["points_prompted_neg"])
    x = fused_clips(method, encoders, batch)
    negative = class_points(method, encoders, sentence_features(encoders, "This video is not {}"), "neg")
    logits = distance(x, negative)
    terms, out = method.loss(batch), method.predict(batch)
    torch.testing.assert_close(terms["loss_osr"], cross_entropy(logits, batch.label))
    torch.testing.assert_close(terms["loss_emo"], build(encoders).loss(batch)["loss_emo"])
    torch.testing.assert_close(out.score.exp().float(), torch.softmax(logits, 1).max(1).values)
    with torch.no_grad():
        method.cuep.delta_v_pos.zero_()
        method.cuep.delta_a_pos.zero_()
    method.after_step(1)
    torch.testing.assert_close(method.predict(batch).score, out.score, atol=0, rtol=0)


def test_cosine_only_classifies_and_scores_by_the_cosines(encoders, batch):
    method = build(encoders, **ROWS["cosine_only"])
    logits = cosines(fused_clips(method, encoders, batch), sentence_features(encoders, "This video is {}"))
    terms, out = method.loss(batch), method.predict(batch)
    torch.testing.assert_close(terms["loss_emo"], cross_entropy(logits, batch.label))
    assert terms["accuracy"].item() == (logits.argmax(1) == batch.label).float().mean().item()
    torch.testing.assert_close(out.logits.float(), logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out.score.exp().float(), torch.softmax(logits, 1).max(1).values)


def test_learned_class_tokens_with_the_word_after_them(encoders, batch):
    method = build(encoders, **ROWS["text_tokens_label"])
    texts = method.texts
    assert texts.tokens_pos.shape == texts.tokens_neg.shape == (16, 32)
    start = torch.cat([texts.tokens_pos, texts.tokens_neg])
    assert start.std().item() == pytest.approx(0.02, rel=0.1) and abs(start.mean().item()) < 0.002
    end = encoders.text.tokenize([""])
    text = {}
    for sign, tokens in (("pos", texts.tokens_pos), ("neg", texts.tokens_neg)):
        # [start, t_1 .. t_16, word, end], the word's own vectors written into the sequence by hand
        words = [encoders.text.word_vectors(WORDS[name]) for name in CLASSES]
        text[sign] = torch.cat([encoders.text(end, torch.cat([tokens, word])) for word in words])
        wrong = torch.cat([encoders.text(end, torch.cat([word, tokens])) for word in words])
        assert not torch.allclose(text[sign], wrong, atol=1e-4)
    for own, theirs in zip(method.class_text(), text.values(), strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-5, rtol=1e-4)
    # eq. 5 takes them as it takes the sentences
    emotion = cosines(fused_clips(method, encoders, batch), text["pos"])
    torch.testing.assert_close(method.loss(batch)["loss_emo"], cross_entropy(emotion, batch.label))


def test_words_behind_learned_tokens_follow_the_class_ids(encoders):
    method = build(encoders, **ROWS["text_tokens_label"])
    turned = HCEP(CLASSES[::-1], SIZES, encoders, method.settings)
    with torch.no_grad():
        turned.texts.tokens_pos.copy_(method.texts.tokens_pos)
    torch.testing.assert_close(turned.class_text()[0], method.class_text()[0].flip(0), atol=1e-5, rtol=1e-4)


def test_learned_class_tokens_without_a_word(encoders):
    method = build(encoders, **ROWS["text_tokens_no_label"])
    assert method.texts.tokens_pos.shape == method.texts.tokens_neg.shape == (3, 16, 32)
    end = encoders.text.tokenize([""])
    for own, tokens in zip(method.class_text(), (method.texts.tokens_pos, method.texts.tokens_neg), strict=True):
        theirs = torch.cat([encoders.text(end, tokens[k]) for k in range(3)])
        torch.testing.assert_close(own, theirs, atol=1e-5, rtol=1e-4)


def test_frozen_class_tokens_are_encoded_once_and_kept(encoders):
    method = build(encoders, **ROWS["text_tokens_label"], prompts="frozen")
    assert learnable(method) == HEAD
    learned = build(encoders, **ROWS["text_tokens_label"])
    torch.testing.assert_close(method.text_positive, learned.class_text()[0], atol=1e-6, rtol=1e-5)


def test_adam_moves_the_class_tokens_as_it_moves_the_text_prompts(encoders):
    method = build(encoders, **ROWS["text_tokens_label"], prompt_step="adam")
    groups = {group.name: group for group in method.parameter_groups(method.settings)}
    semantic = {id(value) for value in groups["semantic"].params}
    assert semantic == {
        id(value) for value in (*method.smep.parameters(), method.texts.tokens_pos, method.texts.tokens_neg)
    }
    assert groups["semantic"].rule == "adam" and len(groups["pixels"].params) == 4


def test_text_features_alone_are_the_points_of_table_7(encoders, batch):
    for unit in (False, True):
        method = build(encoders, **ROWS["features_text"], normalise_features=unit)
        x = method.head(*method.features(batch))
        positive = sentence_features(encoders, "This video is {}")
        negative = sentence_features(encoders, "This video is not {}")
        if unit:
            positive, negative = (value / value.norm(dim=1, keepdim=True) for value in (positive, negative))
        logits = distance(x, negative) - distance(x, positive)
        torch.testing.assert_close(method.loss(batch)["loss_osr"], cross_entropy(logits, batch.label))


def test_multimodal_features_alone_are_the_targets_of_table_7(encoders, batch):
    method = build(encoders, **ROWS["features_multimodal"])
    positive = class_points(method, encoders, sentence_features(encoders, "This video is {}"), "pos")
    emotion = cosines(fused_clips(method, encoders, batch), positive)
    terms = method.loss(batch)
    torch.testing.assert_close(terms["loss_emo"], cross_entropy(emotion, batch.label))
    torch.testing.assert_close(terms["loss_osr"], build(encoders).loss(batch)["loss_osr"])


@pytest.mark.parametrize(
    ("name", "guide", "maps"),
    [("guided_visual", "delta_v", ("n_t", None, "n_a")), ("guided_audio", "delta_a", ("n_t", "n_v", None))],
)
def test_the_guide_is_learned_and_mapped_to_the_other_two(encoders, batch, name, guide, maps):
    method = build(encoders, **ROWS[name])
    learned = getattr(method.smep, guide)
    assert learned.std().item() == pytest.approx(0.02, rel=0.3)
    prompts = method.smep()
    assert [tuple(value.shape) for value in prompts] == [(2, 32), (2, encoders.vision.width), (2, 400)]
    own = dict(method.smep.named_parameters())
    for value, mapping in zip(prompts, maps, strict=True):
        key = "n_v.0" if mapping == "n_v" else mapping
        by_hand = learned if mapping is None else learned @ own[f"{key}.weight"].T + own[f"{key}.bias"]
        torch.testing.assert_close(value, by_hand)
    # the guide learns from all three modalities, through its maps
    for modality in ("text", "vision", "audio"):
        method.zero_grad()
        getattr(method.features(batch), modality).sum().backward()
        assert learned.grad.abs().sum() > 0, modality


def test_without_a_guide_the_three_prompts_are_independent(encoders, batch):
    method = build(encoders, **ROWS["guided_none"])
    prompts = dict(zip(("text", "vision", "audio"), method.smep(), strict=True))
    assert [tuple(value.shape) for value in prompts.values()] == [(2, 32), (2, 48), (2, 400)]
    torch.testing.assert_close(prompts["text"].data, encoders.text.word_vectors("facial expression"))
    assert prompts["audio"].std().item() == pytest.approx(0.02, rel=0.1)
    assert prompts["vision"].std().item() == pytest.approx(0.02, rel=0.25)
    for modality in prompts:
        method.zero_grad()
        getattr(method.features(batch), modality).sum().backward()
        touched = {key for key, value in prompts.items() if value.grad is not None}
        assert touched == {modality}


def test_numbers_of_text_prompts(encoders):
    ids = encoders.text.tokenizer.encode("facial expression")
    words = encoders.text.token_embedding(torch.tensor(ids))
    facial = encoders.text.word_vectors("facial")
    one = build(encoders, **ROWS["tokens_m1"]).smep.delta_t
    torch.testing.assert_close(one.data, facial, atol=0, rtol=0)
    for count in (2, 4, 8, 16):
        start = build(encoders, **ROWS["hcep" if count == 2 else f"tokens_m{count}"]).smep.delta_t.data
        assert start.shape == (count, 32)
        torch.testing.assert_close(start[:2], words, atol=0, rtol=0)
    assert start[2:].std().item() == pytest.approx(0.02, rel=0.1) and abs(start[2:].mean().item()) < 0.003


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inference": "average", "losses": ["osr"]}, r"average with losses: \['osr'\]"),
        ({"class_text_prompted": True, "class_text": "tokens_label"}, "class_text_prompted without fixed sentences"),
        ({"class_text_prompted": True, "sample_prompts": False}, "class_text_prompted without fixed sentences"),
        ({"class_prompts": "tokens", "prompt_step": "adam"}, "prompt_step: adam with class_prompts: tokens"),
        (
            {"class_prompts": "tokens", "class_text": "tokens_label"},
            "class_text: tokens_label with class_prompts: tokens",
        ),
        ({"class_prompts": "tokens", "pixel_normalisation": True}, "pixel_normalisation: True with class_prompts: tok"),
        ({"class_prompts": "tokens", "class_text_prompted": True}, "class_text_prompted: True with class_prompts: tok"),
        ({"points": "free_negative", "point_features": "text"}, "point_features: text with points: free_negative"),
        ({"guide": "audio", "vision_prompt": "deep"}, "vision_prompt: deep under guide: audio"),
        ({"guide": "none", "text_prompt": "mlp"}, "text_prompt: mlp and vision_prompt: shallow under guide: none"),
    ],
)
def test_contradictions_are_refused(encoders, changes, message):
    with pytest.raises(HcepError, match=message):
        build(encoders, **changes)


# head 1,705,984; delta_T 1,024, N_V 393,984, N_A 4,104,000; per class and sign 150,528 + 80,000 (methods.md section 10)
COUNTS = {
    "hcep": 9_893_440,
    "frozen_prompts": 1_705_984,
    "hcep_tokens": 6_204_992 + 8 * 2 * 4 * (512 + 768 + 768),
    "frozen_tokens": 1_705_984,
    "cosine_only": 1_705_984,
    "smep_only": 6_204_992 + 8 * 512 + 1,
    "smep_emo": 6_204_992 + 8 * 512 + 1,
    "points_random_pos_neg": 6_204_992 + 2 * 8 * 512,
    "points_prompted_neg": 6_204_992 + 8 * 230_528,
    "cuep_osr": 1_705_984 + 8 * 461_056,
    "no_emo": 9_893_440,
    "text_tokens_label": 9_893_440 + 2 * 16 * 512,
    "text_tokens_no_label": 9_893_440 + 8 * 2 * 16 * 512,
    "features_text": 6_204_992,
    "features_multimodal": 9_893_440,
    "guided_visual": 5_394_432 + 2 * 768 + (768 * 512 + 512) + (768 * 8000 + 8000),
    "guided_audio": 5_394_432 + 2 * 8000 + (8000 * 512 + 512) + (8000 * 768 + 768),
    "guided_none": 5_394_432 + 2 * (512 + 768 + 8000),
    "tokens_m1": 9_893_440 - 512,
    "tokens_m16": 9_893_440 + 14 * 512,
}


@pytest.mark.parametrize("name", ["hcep", "hcep_tokens", "frozen_tokens", "text_tokens_label", "text_tokens_no_label"])
def test_scoring_a_clip_is_counted_without_weights_and_class_prompts_cost_nothing(name):
    # the classes' own features are there when a clip is scored
    flops = [
        count_flops(HCEP, CLASSES, SIZES, shape_only(INFO), settings_for("hcep", **row)) for row in (ROWS[name], {})
    ]
    assert flops[0] == flops[1] > 0


def test_learnable_parameters_at_full_size():
    encoders = shape_only(full_size_info())
    sizes = Sizes(8, 224, 80_000, 512, 512, 768)
    classes = [f"class {i}" for i in range(8)]
    found = {}
    for name in COUNTS:
        settings = SETTINGS | dict(Hcep()) | ROWS[name]
        found[name] = count_learnable(HCEP, classes, sizes, encoders, settings)
    assert found == COUNTS
