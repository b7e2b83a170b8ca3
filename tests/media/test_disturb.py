"""Disturbed clips: what is asked for is what comes out, whatever the order, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from hcep.media.disturb import KINDS, DisturbedStore, add_noise, blur, drop_frames, shift, wrong_words
from hcep.media.store import Store

FRAMES, SIDE, SAMPLES = 8, 20, 4000
TRAINED = [f"train{number}" for number in range(9)]
TESTED = ["whole", "short", "deaf", "blind", "mute", "silent", "words alone"]
FLAGS = {"deaf": "no_audio", "blind": "no_video", "mute": "no_text", "silent": "silent_audio"}
FLAGS["words alone"] = "no_audio;no_video"
LEVELS = {"white_noise_db": 5, "babble_db": 5, "dropped_frames": 0.5, "blur": 0.05, "shift_ms": 100, "word_errors": 1}


class Memory(Store):
    """Clips in memory, as a cache has them: zeros and empty text for what is missing."""

    digest, digests, faces = "d", ["d"], ""

    def __init__(self) -> None:
        self.held = {}
        for number, clip in enumerate([*TRAINED, *TESTED]):
            random, flags = np.random.default_rng(number), FLAGS.get(clip, "")
            own = {"deaf": 0, "words alone": 0, "short": 1000}.get(clip, 3000)
            sound = np.zeros(SAMPLES, np.int16)
            sound[:own] = 0 if clip == "silent" else random.normal(scale=500, size=own)
            frames = random.integers(0, 256, (FRAMES, SIDE, SIDE, 3)).astype(np.uint8)
            text = " ".join(random.permutation([f"word{i}" for i in range(12)])) * ("no_text" not in flags)
            self.held[clip] = {
                "frames": frames * np.uint8("no_video" not in flags), "audio": sound, "samples": own,
                "text": text, "text_kind": "asr" if text else "none", "flags": flags,
            }  # fmt: skip

    def flags(self, clips):
        return [self.held[clip]["flags"] for clip in clips]

    def _read(self, kind, clips):
        return np.stack([self.held[clip][kind] for clip in clips])

    def _column(self, kind, column, clips):
        return [self.held[clip][column] for clip in clips]


def disturbed(kind, level, trained=TRAINED, seed=0):
    return DisturbedStore(Memory(), kind, level, trained=trained, seed=seed)


def content(store, clips):
    """Everything that a method reads of every clip."""
    columns = (store.frames(clips), store.waveforms(clips), store.samples(clips), store.texts(clips))
    return [[np.asarray(value).tobytes() for value in clip] for clip in zip(*columns, store.flags(clips), strict=True)]


@pytest.mark.parametrize("kind, level", [*LEVELS.items(), ("missing", "audio")])
def test_a_clip_is_disturbed_alike_in_every_order_and_only_where_it_can_be(kind, level):
    store, clean = disturbed(kind, level), content(Memory(), TESTED)
    found = content(store, TESTED)
    assert found == content(disturbed(kind, level), TESTED)
    backwards = disturbed(kind, level, trained=TRAINED[::-1])
    assert found == [content(backwards, [clip])[0] for clip in TESTED[::-1]][::-1]
    changed = {clip for clip, new, old in zip(TESTED, found, clean, strict=True) if new != old}
    assert (
        changed
        == store.changed
        == {clip for clip, reason in zip(TESTED, store.left_alone(TESTED), strict=True) if not reason}
    )
    part = {"frames": 0, "audio": 1, "text": 3}[store.part]
    if kind != "missing":
        assert all(new[i] == old[i] for new, old in zip(found, clean, strict=True) for i in range(5) if i != part)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("shift_ms", "blur")])
def test_another_seed_and_another_clip_draw_otherwise(kind):
    found = []
    for seed in (0, 1):
        store = disturbed(kind, LEVELS[kind], seed=seed)
        store.store.held["twin"] = store.store.held["whole"]
        found += content(store, ["whole", "twin"])
    assert all(one != other for i, one in enumerate(found) for other in found[:i])


@pytest.mark.parametrize("kind", ["dropped_frames", "blur", "shift_ms", "word_errors"])
def test_level_zero_changes_nothing(kind):
    store = disturbed(kind, 0)
    assert content(store, TESTED) == content(Memory(), TESTED) and not store.changed


def test_what_cannot_be_disturbed_is_named():
    reasons = {
        kind: dict(zip(TESTED, disturbed(kind, level).left_alone(TESTED), strict=True))
        for kind, level in LEVELS.items()
    }
    for kind in ("white_noise_db", "babble_db", "shift_ms"):
        assert reasons[kind]["deaf"] == "without sound" and reasons[kind]["silent"] == "with silent sound"
    assert reasons["shift_ms"]["blind"] == "without video" and reasons["blur"]["blind"] == "without video"
    assert reasons["shift_ms"]["short"] == "with sound shorter than twice the shift"
    assert reasons["word_errors"]["mute"] == "without words" and reasons["word_errors"]["whole"] == ""
    assert disturbed("missing", "text").left_alone(["words alone", "mute", "whole"]) == [
        "with no other modality", "without words", "",
    ]  # fmt: skip
    assert disturbed("babble_db", 0, trained=["deaf", "silent"]).left_alone(["whole"]) == [
        "without a training clip that can be heard"
    ]
    assert disturbed("word_errors", 0.5, trained=["mute"]).left_alone(["whole"]) == [
        "without two words in the training clips"
    ]


@pytest.mark.parametrize("kind", ["white_noise_db", "babble_db"])
@pytest.mark.parametrize("ratio", [20, 0, -10])
def test_the_ratio_on_the_output_is_the_one_asked_for(kind, ratio):
    clean = Memory().waveforms(["whole"])[0].astype(float)
    noisy = disturbed(kind, ratio).waveforms(["whole"])[0].astype(float)
    assert not noisy[3000:].any()
    measured = 10 * np.log10(clean[:3000].var() / (noisy - clean)[:3000].var())
    assert measured == pytest.approx(ratio, abs=0.01)


def test_a_loud_mixture_is_not_clipped():
    sound, noise = np.int16([30000, -30000] * 500), np.random.default_rng(0).normal(size=1000)
    mixed = add_noise(sound, noise, 0).astype(float)
    assert np.abs(mixed).max() == 32767 and (np.abs(mixed) == 32767).sum() == 1
    exact = sound + (noise - noise.mean()) * 30000 / noise.std()
    assert np.abs(mixed - exact * 32767 / np.abs(exact).max()).max() <= 0.5
    assert (add_noise(sound, np.ones(1000), 0) == sound).all()


def test_noise_frames_and_words_of_a_low_level_are_among_those_of_a_higher_one():
    clean = Memory().waveforms(["whole"])[0].astype(float)
    noises = [disturbed("white_noise_db", ratio).waveforms(["whole"])[0] - clean for ratio in (10, 20)]
    assert np.corrcoef(noises)[0, 1] > 0.999
    assert noises[0].std() / noises[1].std() == pytest.approx(10**0.5, rel=0.01)
    frames = Memory().frames(["whole"])[0]
    lost = [
        {i for i in range(FRAMES) if (disturbed("dropped_frames", share).frames(["whole"])[0][i] != frames[i]).any()}
        for share in (0.25, 0.5, 0.75)
    ]
    assert [len(each) for each in lost] == [2, 4, 6] and lost[0] < lost[1] < lost[2] and 0 not in lost[2]
    words = Memory().texts(["whole"])[0].split()
    kept = [set(words) & {*disturbed("word_errors", rate).texts(["whole"])[0].split()} for rate in (0.2, 0.6)]
    assert kept[1] <= kept[0]


def test_dropped_frames_show_the_last_one_that_was_kept():
    frames = np.arange(FRAMES, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    found = drop_frames(frames, 0.5, np.random.default_rng(3))[:, 0, 0, 0].tolist()
    assert all(new in (old, found[i - 1]) for i, (old, new) in enumerate(zip(range(FRAMES), found, strict=True)))
    assert found[0] == 0 and sum(new != old for old, new in enumerate(found)) == 4
    # the first frame has none before it
    assert drop_frames(frames, 1, np.random.default_rng(3)).max() == 0


def test_blur_spreads_a_point_by_the_sigma_asked_for_and_leaves_an_even_picture():
    point = np.zeros((1, 40, 40, 3), np.uint8)
    point[0, 20, 20] = 255
    row = blur(point * np.uint8(1), 0.02)[0, 20, :, 0].astype(float)
    assert row[19] / row[20] == pytest.approx(np.exp(-1 / (2 * 0.8**2)), abs=0.02)
    even = np.full((1, 40, 40, 3), 77, np.uint8)
    assert (blur(even, 0.1) == even).all()


def test_late_sound_loses_its_end_and_early_sound_its_start():
    sound = np.arange(1, 7, dtype=np.int16)
    assert shift(sound, 2).tolist() == [0, 0, 1, 2, 3, 4] and shift(sound, -2).tolist() == [3, 4, 5, 6, 0, 0]
    late = disturbed("shift_ms", 50).waveforms(["whole"])[0]
    clean = Memory().waveforms(["whole"])[0]
    assert (late[800:3000] == clean[:2200]).all() and not late[:800].any() and not late[3000:].any()


def test_the_word_error_rate_is_the_one_asked_for():
    words, vocabulary = [f"w{i}" for i in range(4000)], ["x", "y"]
    found = wrong_words(" ".join(words), 0.3, vocabulary, np.random.default_rng(0)).split()
    kept = [word for word in found if word.startswith("w")]
    spoilt, added = len(words) - len(kept), len(found) - len(kept)
    # an insertion keeps its word: 3/4 of the errors spoil one, 1/2 + 1/4 of them add one
    assert spoilt == pytest.approx(0.3 * 0.75 * 4000, rel=0.1) and added == pytest.approx(0.3 * 0.75 * 4000, rel=0.1)
    assert wrong_words("x  x", 0, vocabulary, np.random.default_rng(0)) == "x  x"
    everything = wrong_words("x " * 400, 1, vocabulary, np.random.default_rng(0)).split()
    assert everything.count("y") > 150


def test_words_that_are_all_lost_are_missing_words():
    store = disturbed("word_errors", 1)
    store.store.held |= {f"one{i}": Memory().held["whole"] | {"text": "hello"} for i in range(20)}
    clips = [f"one{i}" for i in range(20)]
    gone = [text == "" for text in store.texts(clips)]
    assert any(gone) and [flag == "no_text" for flag in store.flags(clips)] == gone


def test_a_modality_that_is_taken_away_looks_like_one_that_was_never_there():
    for level, part in (("audio", 1), ("vision", 0), ("text", 3)):
        found = content(disturbed("missing", level), ["whole"])[0]
        lacking = {"audio": "deaf", "vision": "blind", "text": "mute"}[level]
        assert found[part] == content(Memory(), [lacking])[0][part]
        assert found[4] == content(Memory(), [lacking])[0][4]
    assert disturbed("missing", "audio").samples(["whole"]).tolist() == [0]
    assert disturbed("missing", "text").text_kinds(["whole", "mute"]) == ["none", "none"]
