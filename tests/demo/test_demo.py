"""The demo corpus and the pretraining of its encoders."""

from __future__ import annotations

import re
from collections import Counter

import av
import numpy as np
import pytest
import torch

from hcep.demo import corpus, pretrain, voice
from hcep.demo.corpus import generate_demo, plan_clips, render_frames, render_sound, write_clip
from hcep.demo.describe import describe, draw_action, vocabulary
from hcep.demo.face import Action, draw_face
from hcep.demo.material import make_voice
from hcep.demo.prototypes import CONFUSABLE, EMOTIONS, load_transcripts, write_sentence
from hcep.demo.speaker import demo_speaker_numbers, draw_speaker, pretraining_speaker_numbers
from hcep.demo.voice import RATE, Prosody, speak
from hcep.encoders.fetch import CLIP_MEAN, CLIP_STD
from hcep.encoders.folder import load_encoders, save_encoders, unseen_tokens
from hcep.errors import HcepError
from hcep.files import read_table

WEIGHTS = corpus.Path(corpus.__file__).parent / "weights"
MAFW = {
    "anger", "disgust", "fear", "happiness", "sadness",
    "surprise", "contempt", "anxiety", "helplessness", "disappointment",
}  # fmt: skip


@pytest.fixture(scope="module")
def plan():
    return plan_clips(0)


def test_plan_is_a_function_of_the_seed(plan):
    assert plan == plan_clips(0)
    assert [c.label for c in plan] != [c.label for c in plan_clips(1)]
    assert not {c.speaker for c in plan} & {c.speaker for c in plan_clips(1)}


def test_plan_has_every_emotion_of_every_speaker_once(plan):
    assert set(EMOTIONS) == MAFW
    assert len(plan) == 200 and len({c.name for c in plan}) == 200
    assert set(Counter((c.group, c.label) for c in plan).values()) == {1}
    folds = {fold: {c.group for c in plan if c.fold == fold} for fold in ("train", "test")}
    assert (len(folds["train"]), len(folds["test"])) == (12, 8)
    assert not folds["train"] & folds["test"]
    assert len({c.speaker for c in plan}) == 20


def test_no_clip_is_without_its_emotion(plan):
    for clip in plan:
        shown = [clip.face, *([clip.voice] if clip.has_sound else []), *([clip.words] if clip.has_words else [])]
        assert clip.label in shown, clip
        assert {s for s in shown if s} <= {clip.label, *CONFUSABLE[clip.label]}


def test_modalities_are_sometimes_neutral_and_sometimes_mislead(plan):
    for part in ("face", "voice", "words"):
        own = np.mean([getattr(c, part) == c.label for c in plan])
        neutral = np.mean([getattr(c, part) is None for c in plan])
        assert 0.6 < own < 0.85 and 0.12 < neutral < 0.3 and own + neutral < 1


def test_some_clips_lack_sound_or_words(plan):
    assert sum(not c.has_sound for c in plan) == 5
    assert sum(not c.has_words for c in plan) == 5
    assert all(c.has_sound or c.has_words for c in plan)
    for clip in plan:
        row = clip.row()
        assert (row["text_kind"], bool(row["text"])) == (("transcript", True) if clip.has_words else ("none", False))
        assert row["language"] == "en" and row["label"] == clip.label


def test_sentences_have_no_open_slot_and_name_no_emotion():
    words = load_transcripts()
    assert set(words["emotions"]) == MAFW
    assert all(set(entry["emotions"]) <= MAFW for entry in words["shared"])
    rng = np.random.default_rng(0)
    for emotion in (None, *EMOTIONS):
        for _ in range(60):
            sentence = write_sentence(emotion, words, rng)
            assert re.fullmatch(r"[A-Za-z ]+", sentence), sentence
            assert not MAFW & set(sentence.lower().split())


def test_demo_and_pretraining_share_no_speaker():
    made = [set(pretraining_speaker_numbers(seed, 20_000)) for seed in (0, 7, 99_999)]
    shown = [set(demo_speaker_numbers(seed, 20)) for seed in (0, 7, 99_999)]
    assert not set.union(*made) & set.union(*shown)
    looks = {draw_speaker(n)[1:] for n in pretraining_speaker_numbers(0, 200)}
    assert not looks & {draw_speaker(n)[1:] for n in demo_speaker_numbers(0, 20)}


def test_frames_and_sound_are_deterministic(plan):
    clip = plan[3]
    sound = render_sound(clip, 0)
    assert np.array_equal(sound, render_sound(clip, 0))
    assert not np.array_equal(sound[:RATE], render_sound(clip, 1)[:RATE])
    assert sound.dtype == np.float32 and 1.2 * RATE <= len(sound) <= 2 * RATE and np.abs(sound).max() < 1
    frames = list(render_frames(clip, sound, 0))
    assert len(frames) == int(len(sound) / RATE * corpus.FPS)
    assert frames[0].shape == (96, 96, 3) and frames[0].dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip(frames, render_frames(clip, sound, 0), strict=True))


def test_the_jaw_follows_the_voice(plan):
    clip = plan[3]._replace(face=None)
    sound = np.zeros(int(1.2 * RATE), np.float32)
    still = [f.astype(int) for f in render_frames(clip, sound, 0)]
    sound[RATE // 2 : RATE] = 0.3 * np.sin(np.arange(RATE // 2))
    talking = [f.astype(int) for f in render_frames(clip, sound, 0)]
    moved = [bool(np.abs(a - b).sum()) for a, b in zip(still, talking, strict=True)]
    assert moved == [12 <= k < 25 for k in range(30)]


@pytest.mark.parametrize(
    ("part", "low", "high"),
    [("corner", 54, 84), ("open", 54, 90), ("skew", 54, 84), ("brow", 16, 48), ("slant", 16, 48), ("lids", 32, 52)],
)
def test_an_action_moves_its_own_part_of_the_face(part, low, high):
    speaker = draw_speaker(5)._replace(glasses=False)
    rest = draw_face(speaker, Action()).astype(int)
    rows = np.flatnonzero(np.abs(draw_face(speaker, Action(**{part: 0.9})).astype(int) - rest).sum((1, 2)))
    assert len(rows) and low <= rows.min() and rows.max() <= high


@pytest.mark.parametrize("pitch", [-4.0, 0.0, 6.0])
def test_voice_has_the_pitch_asked_for(pitch):
    speaker = draw_speaker(2)
    prosody = Prosody(pitch=pitch, span=0, slope=0, breath=0)
    wave = speak(speaker, "a a a a a a", prosody, np.random.default_rng(0))[RATE // 4 : RATE]
    correlation = np.correlate(wave, wave, "full")[len(wave) :]
    low, high = RATE // 450, RATE // 60
    f0 = RATE / (1 + low + int(correlation[low:high].argmax()))
    assert abs(12 * np.log2(f0 / (speaker.base_f0 * 2 ** (pitch / 12)))) < 1


def test_voice_follows_rate_effort_and_breath():
    def say(**settings: float) -> np.ndarray:
        return speak(draw_speaker(2), "we will meet at the door", Prosody(**settings), np.random.default_rng(0))

    def centroid(wave: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float((power * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / power.sum())

    assert len(say(rate=3.0)) > len(say(rate=6.0))
    assert centroid(say(effort=0.9)) > 1.3 * centroid(say(effort=0.1))
    assert np.sqrt(np.mean(say(effort=0.9) ** 2)) > 1.5 * np.sqrt(np.mean(say(effort=0.1) ** 2))
    assert centroid(say(breath=0.9)) > centroid(say(breath=0.0))


@pytest.mark.parametrize("sentence", ["", "123 ...", "你好 мир", "rhythm", "x" * 500])
def test_any_sentence_can_be_spoken(sentence):
    wave = speak(draw_speaker(1), sentence, voice.clamp(np.full(8, 99.0)), np.random.default_rng(0))
    assert 1.2 * RATE <= len(wave) <= 2 * RATE and np.isfinite(wave).all()


def test_clips_are_h264_and_aac_and_the_same_twice(plan, tmp_path):
    silent = next(c for c in plan if not c.has_sound)
    for clip in (plan[0], silent):
        write_clip(clip, tmp_path, 0)
        path = tmp_path / f"{clip.name}.mp4"
        first = path.read_bytes()
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
            assert (video.width, video.height, video.average_rate) == (96, 96, corpus.FPS)
            assert [s.codec_context.name for s in container.streams.audio] == (["aac"] if clip.has_sound else [])
            decoded = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        drawn = list(render_frames(clip, render_sound(clip, 0), 0))
        assert len(decoded) == len(drawn)
        assert np.abs(decoded[-1] - drawn[-1]).mean() < 6  # what was drawn is what is seen
        write_clip(clip, tmp_path, 0)
        assert path.read_bytes() == first


def test_generate_demo_replaces_an_older_one(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "plan_clips", lambda seed: plan[:2])
    (tmp_path / "demo" / "video").mkdir(parents=True)
    (tmp_path / "demo" / "video" / "old.mp4").write_bytes(b"old")
    generate_demo(tmp_path / "demo", seed=0, workers=1)
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {"clips.tsv", "video"}
    rows = read_table(tmp_path / "demo" / "clips.tsv", delimiter="\t")
    assert tuple(rows[0]) == corpus.COLUMNS
    assert rows == [clip.row() for clip in plan[:2]]
    assert {p.name for p in (tmp_path / "demo" / "video").iterdir()} == {"demo_000.mp4", "demo_001.mp4"}


def test_generate_demo_leaves_nothing_half_done(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "plan_clips", lambda seed: plan[:2])
    monkeypatch.setattr(corpus, "ffmpeg_executable", lambda: "/bin/false")
    with pytest.raises(HcepError, match=r"demo_000\.mp4"):
        generate_demo(tmp_path, seed=0, workers=1)
    assert not list(tmp_path.iterdir())
    with pytest.raises(HcepError, match="workers"):
        generate_demo(tmp_path, seed=0, workers=0)


def test_pretraining_sentences_name_no_emotion():
    rng = np.random.default_rng(0)
    used: set[str] = set()
    for number in pretraining_speaker_numbers(0, 500):
        used |= set(re.findall(r"[a-z]+", describe(draw_speaker(number), draw_action(rng), rng)[0]))
    assert used <= vocabulary()
    stems = {
        "ang",
        "disgust",
        "fear",
        "happ",
        "sad",
        "surpris",
        "contempt",
        "anxi",
        "helpless",
        "disappoint",
        "smil",
        "frown",
    }
    assert not [word for word in vocabulary() for stem in stems if word.startswith(stem)]


def test_descriptions_tell_the_truth():
    rng = np.random.default_rng(0)
    action = Action(corner=0.9, brow=-0.9)
    text = " ".join(describe(draw_speaker(0), action, rng)[0] for _ in range(200))
    assert "upward at the ends" in text and "brows are low" in text
    assert "downward" not in text and "brows are high" not in text


def test_pretraining_voices_differ_from_each_other():
    first, prosody = make_voice(pretraining_speaker_numbers(0, 2)[0], 0)
    again, _ = make_voice(pretraining_speaker_numbers(0, 2)[0], 0)
    other, _ = make_voice(pretraining_speaker_numbers(0, 2)[1], 0)
    assert first.dtype == np.int16 and first.shape == (16_000,) and first.std() > 100
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert voice.clamp(np.array(prosody)) == prosody


def test_pretraining_runs_is_repeatable_and_survives_saving(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "HELD_OUT", 8)
    faces, voices = pretrain.make_faces(24, 3), pretrain.make_voices(16, 3)
    clip, seen = pretrain.train_clip(faces, seed=3, vision_steps=1, clip_steps=2, batch=8)
    again, _ = pretrain.train_clip(faces, seed=3, vision_steps=1, clip_steps=2, batch=8)
    assert all(torch.equal(a, b) for a, b in zip(clip.state_dict().values(), again.state_dict().values(), strict=True))
    table = clip.token_embedding.weight.detach()
    start = unseen_tokens(*table.shape, 3)
    untouched = torch.ones(len(table), dtype=torch.bool)
    untouched[seen] = False
    assert torch.equal(table[untouched], start[untouched]) and not torch.equal(table[seen], start[seen])
    audio = pretrain.train_audio(voices, seed=3, steps=2, batch=4)
    assert "held-out R2" in capsys.readouterr().err
    info = {
        "name": "x",
        "stand_in": True,
        "token_seed": 3,
        "clip": pretrain.CLIP_CONFIG,
        "audio": pretrain.AUDIO_CONFIG,
    }
    save_encoders(tmp_path, clip, audio, info | {"mean": CLIP_MEAN, "std": CLIP_STD}, seen_tokens=seen)
    loaded = load_encoders(tmp_path)
    assert torch.equal(loaded.text.token_embedding.weight, table)


def test_pretraining_refuses_impossible_numbers(tmp_path):
    with pytest.raises(HcepError, match="positive"):
        pretrain.pretrain_demo_encoders(tmp_path, clip_steps=0)


def test_shipped_weights_load_and_are_small(plan):
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 5_000_000
    encoders = load_encoders(WEIGHTS)
    assert encoders.info["name"] == "demo" and encoders.info["stand_in"] is True
    assert encoders.info["clip"] == pretrain.CLIP_CONFIG and encoders.info["audio"] == pretrain.AUDIO_CONFIG
    assert pretrain.COMMAND in encoders.info["source"]
    assert (encoders.text.dim, encoders.vision.dim, encoders.vision.size) == (64, 64, 64)
    sound = render_sound(plan[0], 0)[None, :16_000]
    wave = encoders.audio.normalise(torch.from_numpy((sound * 32767).astype(np.int16)))
    assert torch.isfinite(encoders.audio(wave)).all()


def test_shipped_encoders_match_faces_with_their_descriptions():
    encoders = load_encoders(WEIGHTS)
    rng = np.random.default_rng(0)
    numbers = pretraining_speaker_numbers(1, 64)  # another seed than the shipped weights were made with
    pictures, actions = zip(*(pretrain.make_face(number, 1) for number in numbers), strict=True)
    sentences = [describe(draw_speaker(n), a, rng)[0] for n, a in zip(numbers, actions, strict=True)]
    with torch.no_grad():
        seen = encoders.vision(encoders.vision.normalise(torch.from_numpy(np.stack(pictures))))
        read = encoders.text(encoders.text.tokenize(sentences))
    assert float((pretrain.ranks(seen, read) <= 5).float().mean()) > 0.4  # chance is 8 %
