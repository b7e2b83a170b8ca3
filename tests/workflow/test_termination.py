"""SIGTERM, as batch systems send it: a short message, nothing half written, and the rerun makes the same."""

from __future__ import annotations

import os
import shutil
import signal
import sys

import pytest
from workspace import RUN, VERBS, differing, left_half_written

from hcep.cli import main
from hcep.training.kept import KEPT

pytestmark = pytest.mark.slow


class AtRename:
    """SIGTERM to this process in place of the n-th rename that it asks for; 0 is never."""

    def __init__(self) -> None:
        self.left = 0
        sys.addaudithook(self)  # stays until the process ends

    def __call__(self, event: str, _: tuple[object, ...]) -> None:
        if event == "os.rename" and self.left:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGTERM)


AT_RENAME = AtRename()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_interrupted_at_any_write_leaves_nothing_and_then_makes_the_same(
    finished, finished_once, commands, verb, monkeypatch, capsys
):
    monkeypatch.chdir(finished.root)
    before = signal.getsignal(signal.SIGTERM)
    number, code = 0, 143
    try:
        while code:
            number += 1
            AT_RENAME.left = number
            capsys.readouterr()
            if verb == "run":  # or it would train nothing
                shutil.rmtree(finished.path(f"results/tiny/hcep/{RUN}/{KEPT}"), ignore_errors=True)
            code = main(commands[verb])
            assert left_half_written(finished.root) == []
            if code:
                assert code == 143 and capsys.readouterr().err.splitlines()[-1] == f"hcep {verb}: interrupted"
    finally:
        AT_RENAME.left = 0
    assert number > 1, "the verb renames nothing"
    assert signal.getsignal(signal.SIGTERM) is before
    assert differing(finished.root, finished_once) == []


def test_sigterm_to_snakemake_and_its_jobs_ends_both_with_the_verbs_message(finished, finished_once):
    model = finished.path(f"results/tiny/hcep/{RUN}/model.safetensors")
    shutil.rmtree(model.parent)

    def epoch_is_saved() -> int | None:
        return 0 if list(finished.path("work").glob("*/state.pt")) else None

    log = finished.kill_during(epoch_is_saved, str(model.relative_to(finished.root)), number=signal.SIGTERM)
    assert "hcep run: interrupted" in log and "Traceback" not in log
    assert left_half_written(finished.root) == [] and not model.exists()
    # Snakemake has ended in its own way, so no lock is left
    finished.snakemake(str(model.relative_to(finished.root)))
    assert "goes on after epoch" in finished.path(f"logs/run/tiny/hcep/{RUN}.log").read_text()
    assert model.read_bytes() == (finished_once / model.relative_to(finished.root)).read_bytes()
