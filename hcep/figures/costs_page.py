"""What the methods of a task cost: parameters, operations, and what their runs took on the machine that they ran on."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from hcep.errors import HcepError
from hcep.figures.page import html_page, html_table, html_text
from hcep.figures.run_files import RunFiles, read_numbers, read_rows, read_run_files
from hcep.files import read_table, write_text
from hcep.seal import read_sealed_json

COUNTS = ("learnable_m", "paper_m", "frozen_m", "gflop_per_clip")
TIMED = ("clips", "seconds", "memory_gb", "device")


def write_costs_page(complexity: Path, runs: Sequence[Path], output: Path, *, task: str) -> None:
    """Write the page of one task.

    Parameters
    ----------
    complexity : path
        ``complexity.csv`` of the task.
    runs : sequence of path
        Run folders with ``timing.json`` (scoring), ``history.csv`` (training) and ``metrics.json``.
    output : path
        HTML file to write; it loads nothing from elsewhere.

    Raises
    ------
    HcepError
        A file is missing or unusable.
    """
    counted = [row for _, row in read_rows(Path(complexity), ("method", "known", *COUNTS, "note"))]
    columns = [name for name in COUNTS if any(row[name] for row in counted)]
    named = {"learnable_m": "learnable, millions", "paper_m": "the paper's, millions"}
    named |= {"frozen_m": "frozen, millions", "gflop_per_clip": "GFLOP per clip"}
    notes = dict.fromkeys(f"{row['method']}: {row['note']}." for row in counted if row["note"])
    counts = [[row["method"], row["known"], *(row[name] for name in columns)] for row in counted]
    head = ["method", "runs", "epochs", "training, s per run", "clips/s", "scoring, clips/s", "memory, GB", "device"]
    parts = [
        f"<h1>Complexity and run times of {html_text(task)}</h1>",
        "<h2>Parameters and operations</h2>",
        '<p class="caption">Counted, not measured. K: number of known classes. Learnable: what training changes; '
        "frozen: the encoders. GFLOP: thousand million operations to score one clip, with the class prompts computed "
        "beforehand.</p>",
        html_table(["method", "K", *(named[name] for name in columns)], counts, stay=2),
        *(f'<p class="caption">{html_text(note)}</p>' for note in notes),
        "<h2>What the runs took</h2>",
        '<p class="caption">Medians over the runs of a method, on the machine and beside the other jobs that '
        "happened to run. Training: seconds of all epochs, from the clips per second that every epoch noted; start-up "
        "and reading are not in it. Memory: the largest while the test clips were scored. A method without epochs "
        "takes no step. These times compare methods roughly; <code>benchmarks/train.py</code> measures them.</p>",
        html_table(head, _took(read_run_files(runs)), stay=2),
    ]
    write_text(output, html_page(f"{task}: complexity and run times", parts))


def _took(runs: Sequence[RunFiles]) -> list[list[str]]:
    rows = []
    for method in dict.fromkeys(run.method for run in runs):
        own = [run for run in runs if run.method == method]
        timed = [_timing(run.folder / "timing.json") for run in own]
        trained = [_training(run) for run in own if read_table(run.folder / "history.csv")]
        epochs, seconds, rate = (_median([found[i] for found in trained]) for i in range(3))
        scoring = _median([found["clips"] / found["seconds"] for found in timed])
        memory = max(found["memory_gb"] for found in timed)
        devices = ", ".join(sorted({str(found["device"]) for found in timed}))
        rows.append([method, str(len(own)), epochs, seconds, rate, scoring, f"{memory:.2f}", devices])
    return rows


def _training(run: RunFiles) -> tuple[float, float, float]:
    """Epochs, seconds of all of them, and clips per second."""
    speed = read_numbers(run.folder / "history.csv", ("samples_per_s",))["samples_per_s"]
    seconds = float((run.metrics["n_train"] / speed).sum())
    return len(speed), seconds, float(len(speed) * run.metrics["n_train"] / seconds)


def _timing(file: Path) -> dict[str, float]:
    again = "run the score step of this run again"
    found = read_sealed_json(file, again)
    try:
        return {name: found[name] for name in TIMED}
    except KeyError as error:
        raise HcepError(f"cannot be read as the times of a run ({error!r})", file=file, remedy=again) from error


def _median(values: Sequence[float]) -> str:
    """Three significant digits; empty where nothing was measured."""
    if not values:
        return ""
    value = statistics.median(values)
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
