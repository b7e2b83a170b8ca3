"""Every base method can be exported, and its model scores test clips from their files as the run has scored them."""

from __future__ import annotations

import numpy as np
import pytest
from sample_model import METHODS, make_run, of_test

import hcep
from hcep.config.methods import METHODS as BASES
from hcep.inference.export import export

# what a method needs to be quick here
CHANGES = {"open_vclip": {"fine_tune": False, "epochs": 0}, "hesp": {"epochs": 1}}


@pytest.mark.slow
@pytest.mark.parametrize("base", sorted({*BASES} - {*METHODS}))
def test_a_model_of_every_method_answers(trained, base, tmp_path):
    run = tmp_path / "run"
    make_run(trained, base, run, **CHANGES.get(base, {}))
    index, encoder = [trained.root / "resources/small/index.h5"], trained.root / "resources/encoders/small"
    export(run, base, index, encoder, tmp_path / "model", with_encoder=True)
    files, score, _, prediction = of_test(trained, run)
    found = list(hcep.load(tmp_path / "model", device="cpu").predict_many(files))
    assert [one.nearest for one in found] == prediction.tolist()
    # the last bits of towers that a method runs by itself may be others
    assert np.allclose([one.score for one in found], score, rtol=1e-5, atol=1e-6)
