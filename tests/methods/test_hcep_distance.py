"""HCEP with the score of `distance_mm`: its labels stay, and the score is measured on the features of eq. 3."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import CLASSES, SIZES, media_batch, settings_for, small_encoders

from hcep.evaluation.distance import LOWEST
from hcep.methods.distance_mm import DistanceMM
from hcep.methods.hcep import HCEP
from hcep.methods.hcep_distance import HCEPDistance
from hcep.methods.method import MODALITIES, Features


def trained(prompts="learned"):
    """HCEP and HCEP with distance from the same seed, and clips; the latter has seen them in two batches."""
    encoders = small_encoders()
    batch = media_batch(encoders, 18)._replace(group=torch.arange(18) // 3)
    built = []
    for base, method in (("hcep", HCEP), ("hcep_distance", HCEPDistance)):
        torch.manual_seed(3)
        built.append(method(CLASSES, SIZES, encoders, settings_for(base, prompts=prompts)).eval())
        built[-1].begin([batch])
    built[1].finish(batch.split(10))
    return *built, batch


def features_of(found):
    """The features of eq. 3."""
    return Features(*(found.features[name] for name in MODALITIES))


def as_features(batch, found):
    """The same clips with features in the place of media."""
    return batch._replace(tokens=None, frames=None, waveform=None, **features_of(found)._asdict())


@pytest.mark.parametrize("prompts", ["learned", "frozen"])
def test_labels_are_those_of_hcep_and_the_score_is_that_of_distance_mm_on_its_features(prompts):
    plain, method, batch = trained(prompts)
    found, own = method.predict(batch), plain.predict(batch)
    # encoded in batches of other sizes, which round differently
    assert torch.allclose(found.logits, own.logits, atol=1e-5)
    assert not torch.allclose(found.score, own.score.double(), atol=0.1)
    distance = DistanceMM(CLASSES, SIZES, None, settings_for("distance_mm"))
    features = as_features(batch, found)
    distance.finish([features])
    assert torch.allclose(found.score, distance.predict(features).score, atol=1e-3)
    # the class texts and points of HCEP have no part in it
    assert np.corrcoef(found.score, own.score)[0, 1] < 0.999


def test_a_missing_modality_is_left_out_and_a_clip_without_any_is_last():
    _, method, batch = trained()
    lacking = batch.missing[:, 2]
    found = method.predict(batch)
    # the same features, as if the sound were there: what stands in for it would enter
    clip_score = method.clip_score(
        batch._replace(missing=torch.zeros_like(batch.missing)), features_of(found), found.logits
    )
    assert torch.equal(clip_score[~batch.missing.any(dim=1)], found.score[~batch.missing.any(dim=1)])
    assert lacking.any() and not torch.isclose(clip_score[lacking], found.score[lacking]).any()
    nothing = method.predict(batch._replace(missing=torch.ones_like(batch.missing)))
    assert (nothing.score == LOWEST).all()


def test_a_checkpoint_holds_what_was_fitted():
    _, method, batch = trained()
    torch.manual_seed(4)
    other = HCEPDistance(CLASSES, SIZES, method.encoders, settings_for("hcep_distance")).eval()
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.predict(batch).score, method.predict(batch).score)
