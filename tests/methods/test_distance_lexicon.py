"""The third part of the score of `distance_lexicon`: the share of the known classes' words."""

from __future__ import annotations

import pytest
import torch
from small import CLASSES, SIZES, feature_batch, settings_for, small_encoders
from torch.nn import functional

from hcep.evaluation.distance import LOWEST
from hcep.methods.distance_lexicon import DistanceLexicon
from hcep.methods.distance_mm import DistanceMM
from hcep.methods.emotion_words import EMOTION_WORDS

CORPUS = {"anger": "angry", "fear": "fearful", "happiness": "happy", "sadness": "sad", "total_boredom": "bored"}


def fitted(batch, cls=DistanceLexicon, base="distance_lexicon", **changes):
    encoders = small_encoders() if cls is DistanceLexicon else None
    method = cls(CLASSES, SIZES, encoders, settings_for(base, words=CORPUS, **changes))
    method.finish(batch.split(7))
    return method


def test_the_list_has_every_word_once_in_order_and_the_usual_classes():
    assert list(EMOTION_WORDS) == sorted(set(EMOTION_WORDS))
    assert {*CORPUS.values(), "surprised", "disgusted", "contemptuous", "anxious", "helpless"} <= set(EMOTION_WORDS)


def test_the_share_is_that_of_a_softmax_over_all_words():
    train, test = feature_batch(30), feature_batch(5, seed=1)
    method, plain = fitted(train), fitted(train, DistanceMM, "distance_mm")
    encoders, known = small_encoders(), [CORPUS[name] for name in CLASSES]
    words = known + [word for word in EMOTION_WORDS if word not in known]
    texts = [encoders.text(encoders.text.tokenize([f"This video is {word}"])) for word in words]
    cosines = functional.cosine_similarity(test.vision[:, None], torch.cat(texts)[None], dim=2).double()
    shares = [torch.softmax(100 * row, dim=0)[:3].sum().log() for row in cosines]
    assert torch.allclose(method.log_share(test), torch.stack(shares), atol=1e-3)
    own = method.log_share(train)
    third = (method.log_share(test) - own.mean()) / own.std(correction=0)
    found, before = method.predict(test), plain.predict(test)
    assert torch.equal(found.logits, before.logits)
    assert torch.allclose(found.score, before.score + third)


def test_the_list_outside_the_corpus_has_no_class_name_but_keeps_the_known_words():
    method = fitted(feature_batch(12), lexicon="outside")
    assert not {"sad", "bored", "angry", "fearful", "happy"} & set(method.others)
    assert method.words == ["angry", "fearful", "happy"]
    assert len(method.word_features) == 3 + len(EMOTION_WORDS) - 5
    assert {"sad", "bored"} < set(fitted(feature_batch(12)).others)


def test_a_clip_without_video_has_the_mean_share_and_one_without_anything_the_lowest_score():
    batch = feature_batch(30)
    missing = batch.missing.clone()
    missing[3, 1], missing[4] = True, True
    batch = batch._replace(missing=missing)
    method, plain = fitted(batch), fitted(batch, DistanceMM, "distance_mm")
    found, before = method.predict(batch).score, plain.predict(batch).score
    assert torch.equal(found[3:5], before[3:5]) and found[4] == LOWEST
    seen = torch.arange(30)[~missing[:, 1]]
    assert method.share_centre == pytest.approx(float(method.log_share(batch)[seen].mean()))
    assert not torch.isclose(found[seen], before[seen]).any()


def test_training_clips_without_video_give_the_share_no_scale():
    batch = feature_batch(30)
    missing = batch.missing.clone()
    missing[:, 1] = True
    method = fitted(batch._replace(missing=missing))
    assert (float(method.share_centre), float(method.share_scale)) == (0, 1)
    assert torch.isfinite(method.predict(batch).score).all()


def test_a_checkpoint_needs_no_encoder():
    batch = feature_batch(30)
    method = fitted(batch)
    other = DistanceLexicon(CLASSES, SIZES, None, settings_for("distance_lexicon", words=CORPUS))
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.predict(batch).score, method.predict(batch).score)
