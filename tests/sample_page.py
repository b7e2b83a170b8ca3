"""A page that answers, on a small model."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from sample_model import Trained

import hcep
from hcep.inference.model import Model

LIMIT = 300_000  # bytes


class Served(NamedTuple):
    """A server that runs in a thread: its address, its model, where it may put clips, and a clip."""

    address: str
    model: Model
    temporary: Path
    clip: Path


@pytest.fixture(scope="session")
def served(trained: Trained, tmp_path_factory):
    """A server on HCEP, for as long as the tests run."""
    from hcep.page.server import prepare  # of an extra

    temporary = tmp_path_factory.mktemp("outer") / "inner/temporary"
    temporary.mkdir(parents=True)
    model = hcep.load(trained.model("hcep"), device="cpu")
    clip = Path(shutil.copy(trained.media("fear_4"), tmp_path_factory.mktemp("clip") / "fear_4.mp4"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(temporary))
        prepared = prepare(model, max_mb=LIMIT / 1e6)
        running = threading.Thread(target=prepared.run)
        running.start()
        yield Served(prepared.address, model, temporary, clip)
        prepared.server.should_exit = True
        running.join(30)
        assert not running.is_alive()
