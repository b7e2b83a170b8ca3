"""A benchmark that is ended again and again at random moments has the results of one that nobody disturbed."""

from __future__ import annotations

import re
import shutil
import signal
import time

import numpy as np
import pytest
from workspace import differing, left_half_written

from hcep.verbs.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.faults]

TARGETS = ["results/tiny/summary.html", "results/tiny/versus_paper.html", "results/tiny/figures/fig7.svg", "--nolock"]


@pytest.mark.parametrize(("number", "times"), [(signal.SIGKILL, 20), (signal.SIGTERM, 10)])
def test_ends_at_random_moments_change_no_byte(fresh, finished_once, number, times, monkeypatch):
    monkeypatch.chdir(fresh.root)
    random = np.random.default_rng(number)
    stages: list[str] = []
    while len(stages) < times:
        # so many jobs may end first, and the next one is under way for so long
        jobs, delay = random.integers(0, 3), random.uniform(0, 2)

        def moment(jobs=jobs, delay=delay) -> int | None:
            text = fresh.path("killed.log").read_text()
            if text.count("Finished jobid") >= jobs and re.search(r"^Job \d+: ", text, re.MULTILINE):
                time.sleep(delay)
                return 0
            # everything is made, and Snakemake ends by itself
            return 0 if "steps (100%) done" in text or "Nothing to be done" in text else None

        said = fresh.kill_during(moment, *TARGETS, number=number, cores=2)
        assert "Traceback" not in said, said
        if "steps (100%) done" in said or "Nothing to be done" in said:
            # the benchmark is whole: from the beginning, for the kills that are left
            assert differing(fresh.root, finished_once, partly=True) == []
            shutil.rmtree(fresh.path("results/tiny"))
            shutil.rmtree(fresh.path("resources/tiny"))
            continue
        begun = re.findall(r"^Job \d+: (.*)$", said, re.MULTILINE)
        stages.append(begun[-1])
        # what has its own name is whole, whenever the end came
        verify([fresh.path(name) for name in ("resources", "results") if fresh.path(name).exists()])
        assert differing(fresh.root, finished_once, partly=True) == []
        if number == signal.SIGTERM:
            assert left_half_written(fresh.root) == []
    fresh.snakemake(*TARGETS)
    assert left_half_written(fresh.root) == []
    assert differing(fresh.root, finished_once, partly=True) == []
    assert all(fresh.path(name).is_file() for name in TARGETS if not name.startswith("-"))
    print(f"{signal.Signals(number).name} during: {', '.join(stages)}")
