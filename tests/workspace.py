"""A tiny benchmark in a folder of its own, and `snakemake` run on it as a user would.

The folder holds a copy of the package, first on the path of Snakemake and its jobs: a test may edit the code.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import yaml
from sample_media import make_clip, run_ffmpeg, write_list

from hcep.training.kept import KEPT

REPOSITORY = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
LABELS = ["anger", "fear", "happiness", "sadness"]
METHODS = ["hcep", "arpl_mm", "linear_msp"]
FIGURES = ["calibration", "fig10", "fig11", "fig7", "fig9", "forest", "movement", "openness", "training"]
RUN = "k2u2/split1/seed0"
# verbs of the workflow that make the tiny benchmark, `fetch_encoders` aside: its encoder is laid out
VERBS = [
    *("manifest", "check_tasks", "make_split", "decode_frames", "decode_audio", "words", "index_cache", "encode"),
    *("run", "aggregate", "versus_paper", "complexity", "figure", "method_figures"),
    *("summary_page", "table_page", "costs_page", "qc_page", "overview"),
]
CHECKED = "labels and folds of tiny against the tasks"
# above the 1 MB up to which Snakemake compares content when no profile says otherwise
LARGE = "sadness_5"

CONFIG: dict[str, Any] = {
    "tasks": ["tiny"],
    "datasets": {
        "tiny": {
            "adapter": "manifest",
            "root": "data/tiny",
            "options": {"labels": LABELS},
            "frames": 2,
            "size": 32,
            "samples": 4000,
            "shards": 2,
        }
    },
    "encoders": {"tiny": {"source": "random"}},
    "evaluation": {"replicates": 200},
    "task_definitions": {
        "tiny": {
            "dataset": "tiny",
            "encoder": "tiny",
            "labels": LABELS,
            "openness": ["k2u2"],
            "splits": ["split1"],
            "class_splits": "config/splits/tiny.yaml",
            "methods": METHODS,
            "training": {"device": "cpu", "batch_size": 4, "epochs": 8, "lr": 0.005, "lr_step": 4, "cosine_scale": 1},
        }
    },
}
SPLITS = {
    "k2u2": {
        "split1": {"known": ["anger", "happiness"], "unknown": ["fear", "sadness"]},
        "split2": {"known": ["fear", "sadness"], "unknown": ["anger", "happiness"]},
    }
}


class Outcome(NamedTuple):
    """What a run of Snakemake said: exit code, all its text, and the messages of jobs begun and of jobs finished."""

    code: int
    text: str
    begun: list[str]
    finished: list[str]


def read_outcome(code: int, text: str) -> Outcome:
    """Messages of jobs (without the targets `all`, which have none)."""
    numbers = dict(re.findall(r"^Job (\d+): (.*)$", text, re.MULTILINE))
    done = re.findall(r"^Finished jobid: (\d+) ", text, re.MULTILINE)
    return Outcome(code, text, sorted(numbers.values()), sorted(numbers[key] for key in done if key in numbers))


class Workspace:
    """One folder with the workflow and the tiny benchmark."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """A file below the folder."""
        return self.root / name

    def environment(self) -> dict[str, str]:
        """One thread per job, no network, the folder's own package."""
        added = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        return {**os.environ, **added}

    def command(self, *arguments: str, config: dict[str, Any] | None = None, cores: int = 2) -> list[str]:
        """The command line; `config` is laid over the benchmark's own."""
        files = ["tiny.yaml"]
        if config is not None:
            self.path("change.yaml").write_text(yaml.safe_dump(config))
            files.append("change.yaml")
        # targets first: --configfile takes all words up to the next option
        return [str(BIN / "snakemake"), *arguments, "--cores", str(cores), "--configfile", *files]

    def run(self, command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in a folder, by default this one, with its own package; both its streams are in `stdout`."""
        return subprocess.run(
            command,
            cwd=folder or self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )

    def start(self, command: list[str], log: IO[str]) -> subprocess.Popen[str]:
        """Start a command here with the own package, in a session of its own; both its streams go to `log`."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )

    def snakemake(
        self, *arguments: str, config: dict[str, Any] | None = None, fails: bool = False, cores: int = 2
    ) -> Outcome:
        """Run Snakemake to its end; its exit code must be 0, or not when `fails`."""
        done = self.run(self.command(*arguments, config=config, cores=cores))
        assert (done.returncode != 0) == fails, done.stdout
        return read_outcome(done.returncode, done.stdout)

    def kill_during(
        self, moment: Callable[[], int | None], *arguments: str, number: int = signal.SIGKILL, cores: int = 1
    ) -> str:
        """Start Snakemake, wait for `moment` to name a process, kill that one; 0 kills Snakemake with all its jobs.

        `number` is the signal that they get then.
        """
        log = self.path("killed.log")
        with log.open("w") as handle:
            process = self.start(self.command(*arguments, cores=cores), handle)
            try:
                victim = wait_for(moment, lambda: process.poll() is None)
                if victim:
                    os.kill(victim, signal.SIGKILL)
                    process.wait(timeout=120)
            finally:
                if process.poll() is None:
                    # the session's group: Snakemake and every job that it started
                    os.killpg(process.pid, number)
                    process.wait(timeout=120)
        return log.read_text()

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a piece of a file that is there exactly once."""
        path = self.path(name)
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new))

    def append(self, name: str, text: str) -> None:
        """Add text at the end of a file."""
        with self.path(name).open("a") as handle:
            handle.write(text)

    def dates(self, folder: str) -> dict[str, int]:
        """Modification time of every file below a folder."""
        files = sorted(path for path in self.path(folder).rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.stat().st_mtime_ns for path in files}


def wait_for(moment: Callable[[], int | None], alive: Callable[[], bool], seconds: float = 180) -> int:
    """Poll until `moment` gives a number."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = moment()
        if found is not None:
            return found
        assert alive(), "Snakemake ended before the moment came"
        time.sleep(0.002)
    raise AssertionError("the moment did not come")


# what holds times of this machine, and what hangs on these
TIMED = {"history.csv", "timing.json", "complexity.csv", "costs.html"}


def results_of(root: Path) -> dict[str, bytes]:
    """Content of every file of the tiny benchmark that two runs make alike."""
    found = [path for name in ("resources/tiny", "results/tiny") for path in (root / name).rglob("*") if path.is_file()]
    # a digest of a table goes with it; Snakemake keeps the date of a folder in an empty hidden file,
    of = {path: path.name.removeprefix(".").removesuffix(".sha256") for path in found}
    # and what a kill left half written goes with the next writing of its file
    hidden = {path for path in found if path.name.startswith(".") and path.suffix != ".sha256"}
    names = [path for path in found if of[path] not in TIMED and path not in hidden]
    return {str(path.relative_to(root)): path.read_bytes() for path in names}


def differing(root: Path, wanted: Path, *, partly: bool = False) -> list[str]:
    """Names of files that two folders do not share byte for byte; with `partly` the first may lack some."""
    one, other = results_of(root), results_of(wanted)
    names = one if partly else one | other
    return sorted(name for name in names if one.get(name) != other.get(name))


def left_half_written(root: Path) -> list[Path]:
    """Files under a temporary name in the tiny benchmark."""
    places = (root / name for name in ("resources", "results", "work"))
    hidden = [path for place in places for path in place.rglob(".*")]
    # the others are digests of tables, Snakemake's date of a folder, and links to whole files of a run
    return [path for path in hidden if path.suffix != ".sha256" and path.name not in (".snakemake_timestamp", KEPT)]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one test process at a time."""
    import fcntl

    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def copy_workspace(source: Path, target: Path) -> Workspace:
    """Copy with dates, as `cp -a`."""
    shutil.copytree(source, target, symlinks=True)
    return Workspace(target)


def lay_out(root: Path) -> Workspace:
    """Write the folder: workflow, package, configuration, clips and encoders; nothing is run."""
    # the weights of the package are large and not used here
    skip = shutil.ignore_patterns("__pycache__", "weights", ".*")
    for name in ("workflow", "config", "profiles", "hcep"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=skip)
    # or the first job of each copy does it
    compileall.compile_dir(root / "hcep", quiet=1)
    shutil.copy2(REPOSITORY / "Snakefile", root)
    (root / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    (root / "config/splits/tiny.yaml").write_text(yaml.safe_dump(SPLITS))
    write_clips(root / "data/tiny")
    write_encoders(root / "resources/encoders/tiny")
    return Workspace(root)


def write_clips(folder: Path) -> None:
    """Six clips a class, four to train on and two to test; class and clip set grey level and tone."""
    rows = []
    for number, label in enumerate(LABELS):
        for take in range(6):
            name = f"{label}_{take}"
            path = folder / f"{name}.mp4"
            if name == LARGE:
                noise = ("-f", "lavfi", "-i", "color=gray:s=320x240:r=5:d=2,noise=alls=90:allf=t")
                run_ffmpeg(*noise, "-f", "lavfi", "-i", "sine=d=2", "-c:v", "libx264", "-qp", "0", path)
                assert path.stat().st_size > 1_000_000
            else:
                make_clip(path, seconds=0.6, fps=5, size="40x32", step=4 + 9 * number, hertz=200 + 150 * number + take)
            text = f"clip {take} says {label}" if take % 3 else ""
            rows.append(
                {
                    "clip": name,
                    "video": path.name,
                    "label": label,
                    "fold": "test" if take > 3 else "train",
                    "text": text,
                }
            )
    write_list(folder / "clips.tsv", rows)


def write_encoders(folder: Path) -> None:
    """Small random encoders that keep ten rows of the token table, so that a copy is cheap."""
    import torch
    from small import AUDIO, CLIP, INFO

    from hcep.encoders.folder import build_audio, build_clip, save_encoders

    torch.manual_seed(0)
    info = INFO | {"name": "tiny", "token_seed": 0, "source": "random"}
    save_encoders(folder, build_clip(CLIP), build_audio(AUDIO), info, seen_tokens=torch.arange(10))


def runs_of(*methods: str, run: str = "k2u2 split1 seed 0", task: str = "tiny") -> list[str]:
    """Messages of the jobs that train, score and evaluate: one a run for HCEP, one a method on cached features."""
    single = f"on {task} {run}"
    return [f"run hcep {single}" if method == "hcep" else f"runs of {method} on {task}" for method in methods]


def aggregates(*figures: str, task: str = "tiny") -> list[str]:
    """Messages of the tables and pages made of all runs, and of these figures."""
    tables = [f"summary of {task}", f"summary page of {task}", f"{task} beside the paper's numbers"]
    tables += [f"page of {name} of {task}" for name in ("comparisons", "corpora", "runs", "versus_paper")]
    tables += [f"complexity and run times of {task}", f"first page of {task}'s report"]
    return [*tables, f"figures of single methods on {task}", *(f"figure {name} of {task}" for name in figures)]
