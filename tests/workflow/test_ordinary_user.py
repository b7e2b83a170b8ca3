"""Somebody who may read the checkout, the release and the environment, and may write one folder of his own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from workspace import BIN, RUN, Workspace, copy_workspace

pytestmark = pytest.mark.slow

NOBODY = 54321  # a number without a name, as in a container
MODEL = f"results/tiny/linear_msp/{RUN}"
ALONE = {"task_definitions": {"tiny": {"methods": ["linear_msp"]}}}


def as_ordinary() -> list[str]:
    """What stands before a command so that root runs it as somebody else; nothing where the tests are not root's."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv to become an ordinary user")
    # he may read what root may, since Python or the folder of the tests can lie in root's home; he writes as anybody
    allowed = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *allowed]


class Ordinary:
    """The checkout, which cannot be written, and the folder of a user, from which he runs commands."""

    def __init__(self, checkout: Workspace, own: Path) -> None:
        self.checkout, self.own, self.before = checkout, own, as_ordinary()
        self.own.mkdir()

    def give(self) -> None:
        """Make everything in the folder the user's."""
        if self.before:
            for path in (self.own, *self.own.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def run(self, *command: str, folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command without a home, a name or a cache other than those given; its streams are in `stdout`."""
        kept = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(self.checkout.root)}
        kept |= {"OMP_NUM_THREADS": "1", "HOME": "/proc/nowhere", "LANG": "C.UTF-8"}
        return subprocess.run(
            [*self.before, *command],
            cwd=folder or self.own,
            env=kept | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )

    def snakemake(self, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the checkout's workflow, in the user's folder."""
        snakefile = str(self.checkout.path("Snakefile"))
        given = ["snakemake", *words, "--cores", "2", "--snakefile", snakefile, "--directory", str(folder or self.own)]
        # Snakemake ends with a traceback, before it reads the workflow, where it may not make its cache
        return self.run(*given, folder=self.checkout.root, XDG_CACHE_HOME=str(self.own / "cache"))


def may_write(root: Path, allowed: bool) -> None:
    """Take from all, or give back to the owner, the right to write anything below a folder."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200 if allowed else path.stat().st_mode & ~0o222)


@pytest.fixture
def ordinary(fresh, tmp_path):
    made = Ordinary(fresh, tmp_path / "own folder")
    fresh.command(config=ALONE)  # writes change.yaml
    may_write(fresh.root, False)
    yield made
    may_write(fresh.root, True)


def state(root: Path) -> dict[Path, tuple[int, int]]:
    """Every file and folder below a folder, with its date and mode."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in (root, *root.rglob("*"))}


def test_a_folder_that_cannot_be_written_is_told_and_the_printed_commands_make_one(ordinary):
    ordinary.give()
    checkout, own = ordinary.checkout.root, ordinary.own
    refused = ordinary.snakemake("-n", folder=checkout)
    assert refused.returncode and "may not write there" in refused.stdout and "Traceback" not in refused.stdout
    assert ordinary.snakemake("--list-rules", folder=checkout).returncode == 0
    refused = ordinary.snakemake("-n")
    assert refused.returncode and "no such file in the working folder" in refused.stdout
    copy = f"cp -r {checkout}/config '{own}'`, then `chmod -R u+w '{own}'/config"
    assert f"Remedy: to work in this one, `{copy}`\n" in refused.stdout
    assert ordinary.run("bash", "-c", copy.replace("`, then `", " && ")).returncode == 0
    done = ordinary.snakemake("--list-rules")
    assert done.returncode == 0 and os.access(own / "config/config.yaml", os.W_OK)


def test_a_benchmark_and_the_verbs_run_in_a_folder_of_ones_own(ordinary, finished_once):
    checkout, own = ordinary.checkout, ordinary.own
    shutil.copytree(checkout.path("config"), own / "config")
    may_write(own, True)
    # the release and the encoder stay where nobody but their owner writes
    (own / "data").symlink_to(checkout.path("data"))
    (own / "resources/encoders").mkdir(parents=True)
    (own / "resources/encoders/tiny").symlink_to(checkout.path("resources/encoders/tiny"))
    ordinary.give()
    before = state(checkout.root)
    files = ["--configfile", str(checkout.path("tiny.yaml")), str(checkout.path("change.yaml"))]
    done = ordinary.snakemake("results/tiny/summary.csv", f"{MODEL}/model", "results/tiny/figures/fig7.svg", *files)
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout
    for name in ("model.safetensors", "scores.h5", "metrics.json"):
        assert (own / MODEL / name).read_bytes() == (finished_once / MODEL / name).read_bytes()

    clip = str(checkout.path("data/tiny/anger_0.mp4"))
    for command, told in (
        (["check", "tiny", *files], "tiny"),
        (["verify", "results", "resources"], " 0 damaged"),
        (["show", "results/tiny"], "linear_msp"),
        (["predict", f"{MODEL}/model", clip], "anger_0"),
        (["export", MODEL, "--output", "model"], ""),
        (["init", str(checkout.path("data/tiny")), "--table", str(checkout.path("data/tiny/clips.tsv"))], "mydata"),
    ):
        done = ordinary.run("hcep", *command)
        assert done.returncode == 0 and told in done.stdout and "Traceback" not in done.stdout, done.stdout
    assert state(checkout.root) == before

    # where he may not write, a verb says so
    done = ordinary.run("hcep", "predict", f"{MODEL}/model", clip, "--output", str(checkout.path("answers.tsv")))
    assert done.returncode == 1 and "may not write into its folder" in done.stdout and "Traceback" not in done.stdout


def test_a_cache_of_others_is_used_with_its_settings_and_refused_with_others(finished, tmp_path):
    # a folder of its own with the cache of another one, which it may not write
    checkout = finished
    one = Ordinary(checkout, tmp_path / "second")
    for name in ("config", "tiny.yaml", "data"):
        source = checkout.path(name)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, one.own / name)
    (one.own / "resources").symlink_to(checkout.path("resources"))
    one.give()
    may_write(checkout.path("resources"), False)
    try:
        summary = ["results/tiny/summary.csv", "--configfile", "tiny.yaml"]
        planned = one.snakemake("-n", *summary)
        assert planned.returncode == 0, planned.stdout
        assert "decode frames of tiny" not in planned.stdout and "runs of linear_msp" in planned.stdout
        for setting, file, told in (
            ({"frames": 4}, "frames/000-of-002.h5", "frames 2 there, 4 here"),
            ({"shards": 3}, "resources/tiny/index.h5", "shards 2 there, 3 here"),
        ):
            changed = {"datasets": {"tiny": setting}}
            (one.own / "change.yaml").write_text(yaml.safe_dump(changed))
            refused = one.snakemake("-n", *summary, str(one.own / "change.yaml"))
            assert refused.returncode and told in refused.stdout, refused.stdout
            cause = f"{file}: another working folder made this file with other settings than this configuration's"
            assert cause in refused.stdout, refused.stdout
        made = one.snakemake(f"{MODEL}/metrics.json", "--configfile", "tiny.yaml")
        assert made.returncode == 0, made.stdout
        of = Path(MODEL, "metrics.json")
        assert (one.own / of).read_bytes() == checkout.path(str(of)).read_bytes()
        # in the folder that made it, the same change makes the stages again
        may_write(checkout.path("resources"), True)
        again = checkout.snakemake("-n", config={"datasets": {"tiny": {"frames": 4}}}).text
        assert "decode frames of tiny" in again
    finally:
        may_write(checkout.path("resources"), True)


def test_a_record_of_an_own_cache_does_not_stand_for_that_of_others_in_its_place(finished, tmp_path):
    own, four = copy_workspace(finished.root, tmp_path / "own"), {"datasets": {"tiny": {"frames": 4}}}
    own.snakemake("resources/tiny/index.h5", config=four)
    assert own.snakemake("-n", "resources/tiny/index.h5", config=four).begun == []
    # what was made from the own cache stays as it is; what is new would be made from that of others
    for folder in ("resources", "results"):
        shutil.rmtree(own.path(folder))
    own.path("resources").symlink_to(finished.path("resources"))
    refused = own.snakemake("-n", config=four, fails=True).text
    assert "frames 2 there, 4 here" in refused
    # with the remedy, the cache is one of others, to be used with its own settings
    remedy = re.search(r"snakemake --cleanup-metadata [^`]*", refused)
    assert remedy and own.run(["bash", "-c", remedy[0]]).returncode == 0
    assert "this configuration's" in own.snakemake("-n", config=four, fails=True).text
    assert "decode frames" not in own.snakemake("-n").text
