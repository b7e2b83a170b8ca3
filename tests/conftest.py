"""Fixtures of the tests that run the workflow."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # Triton's interpreter stands in for a GPU; it is chosen when Triton is first imported
    os.environ.setdefault("TRITON_INTERPRET", "1")

from sample_model import trained  # noqa: F401 (a fixture of several folders)
from sample_page import served  # noqa: F401 (a fixture)
from small_cache import cache  # noqa: F401 (a fixture of several folders)
from workspace import Workspace, copy_workspace, lay_out, locked


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory) -> Path:
    """The tiny benchmark before its first run; shared by all test processes, not to be changed."""
    shared = shared_folder(tmp_path_factory)
    with locked(shared / "laid_out.lock"):
        root = shared / "laid_out"
        if not (root / "tiny.yaml").exists():
            lay_out(root)
    return root


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory, laid_out) -> Path:
    """The tiny benchmark after a run of everything; shared by all test processes, not to be changed."""
    shared = shared_folder(tmp_path_factory)
    with locked(shared / "finished.lock"):
        root = shared / "finished"
        if not (root / "run.log").exists():
            outcome = copy_workspace(laid_out, root).snakemake()
            (root / "run.log").write_text(outcome.text)
    return root


@pytest.fixture(scope="session")
def commands(finished_once) -> dict[str, list[str]]:
    """Verb -> the words behind ``hcep`` of one of its jobs, as the workflow starts them in the finished benchmark.

    Of `run` it is that of HCEP, which reads media and encoders and keeps a state.
    """
    said = Workspace(finished_once).snakemake("-n", "-p", "--forceall").text
    found = [shlex.split(line) for line in re.findall(r"^Shell command: hcep (.*?) 2> logs/", said, re.MULTILINE)]
    return {words[0]: words for words in sorted(found, key=lambda words: "hcep" in words)}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch, as in the workflow's jobs: with more a verb's results differ in their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fresh(laid_out, tmp_path) -> Workspace:
    """A copy of the benchmark before its first run."""
    return copy_workspace(laid_out, tmp_path / "fresh")


@pytest.fixture
def finished(finished_once, tmp_path) -> Workspace:
    """A copy of the benchmark after a run of everything."""
    return copy_workspace(finished_once, tmp_path / "finished")


def shared_folder(tmp_path_factory) -> Path:
    """One folder for all processes of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return base if base.name.startswith("pytest-") else base.parent
