"""Reading evaluated runs back: identity, metrics, bootstrap replicates, and the checks that make them comparable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hcep.errors import HcepError
from hcep.evaluation.metrics import Floats
from hcep.evaluation.replicates import read_evaluated, read_posthoc, read_robustness, tested_clips
from hcep.evaluation.scores import IDENTITY, read_scores
from hcep.files import read_table
from hcep.progress import progress

HISTORY_PREFIXES = ("movement_", "gap_")
BOOTSTRAP = ("replicates", "confidence", "bootstrap_seed")


class Run(NamedTuple):
    """One evaluated run.

    Attributes
    ----------
    metrics : mapping
        Content of metrics.json, or what the other file says of the run.
    replicates : dict of metric name to (R,) float64
        Bootstrap replicates of all metrics of the run; NaN marks a dropped replicate.
    history : dict of column to str
        Movement and gap columns of the kept epoch's row of history.csv; empty without that file.
    """

    folder: Path
    task: str
    method: str
    openness: str
    split: str
    seed: int
    metrics: Mapping[str, Any]
    replicates: dict[str, Floats]
    history: dict[str, str]


# file of a run -> from the run's folder to what a table must know and the replicates of every metric
READERS: dict[str, Callable[[Path], tuple[dict[str, Any], dict[str, Floats]]]] = {
    "metrics.json": read_evaluated,
    "posthoc.h5": read_posthoc,
    "robustness.h5": read_robustness,
}


def read_runs(folders: Sequence[str | Path], task: str, file: str = "metrics.json") -> list[Run]:
    """Read the evaluated runs of one task from the folders that `aggregate` takes; nothing is computed again.

    `file` is the file of each run that is read, one of `READERS`; all but ``metrics.json`` have no history.

    Raises
    ------
    HcepError
        No run; a file is missing, unreadable or stale; a run is of another task; two runs were evaluated with other
        settings of the bootstrap; two runs of one openness level and split have different classes or test clips (the
        clip is named).
    """
    if not folders:
        raise HcepError(f"no run of task {task} to aggregate", remedy="list at least one run folder")
    runs: list[Run] = []
    first: dict[tuple[str, str], Run] = {}
    for folder in progress(map(Path, folders), len(folders), "aggregate", "run"):
        metrics, replicates = READERS[file](folder)
        if metrics["task"] != task:
            raise HcepError(f"the run is of task {metrics['task']!r}, expected {task!r}", file=folder / file)
        history = _kept_history(folder / "history.csv", metrics["epoch"]) if file == "metrics.json" else {}
        identity = {name: metrics[name] for name in IDENTITY}
        run = Run(folder, **identity, metrics=metrics, replicates=replicates, history=history)
        runs.append(run)
        _refuse_other_bootstrap(run, runs[0], file)
        _refuse_other_clips(run, first.setdefault((run.openness, run.split), run))
    _check_grid(runs)
    return runs


def _refuse_other_bootstrap(run: Run, other: Run, file: str) -> None:
    for name in BOOTSTRAP:
        ours, theirs = run.metrics[name], other.metrics[name]
        if ours != theirs:
            cause = f"{name} is {ours}, but {theirs} in {other.folder / file}"
            remedy = "evaluate both runs with the same settings"
            raise HcepError(cause, file=run.folder / file, remedy=remedy)


def _refuse_other_clips(run: Run, other: Run) -> None:
    """Runs of one openness level and split are paired: they must have the same classes, test clips and groups."""
    file = run.folder / "scores.h5"
    classes, others = (tuple(sorted(one.metrics["classes"])) for one in (run, other))
    if classes != others:
        raise HcepError(f"the known classes {classes} differ from {others} of {other.folder}", file=file)
    if run.metrics["digests"]["test_clips"] == other.metrics["digests"]["test_clips"]:
        return
    # only where the digests differ are the clips themselves read, to name the first that differs
    here, there = (tested_clips(read_scores(one.folder / "scores.h5", features=False)) for one in (run, other))
    clip = min(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
    cause = f"the test clips differ from those of {other.folder}: {here.get(clip)} here, {there.get(clip)} there"
    place = f"clip {clip.partition(chr(31))[2]}"
    raise HcepError(cause, file=file, row=place, remedy="score both runs on the same split")


def _kept_history(file: Path, epoch: int | None) -> dict[str, str]:
    """Movement and gaps of the epoch that was kept; of the last one where the scores name none."""
    rows = read_table(file) if file.exists() else []
    kept = [row for row in rows if epoch is not None and float(row.get("epoch", "nan")) == epoch] or rows[-1:]
    return {name: value for row in kept for name, value in row.items() if name.startswith(HISTORY_PREFIXES)}


def _check_grid(runs: Iterable[Run]) -> None:
    """Refuse a method that lacks a split or seed that another method has, and a run that is listed twice."""
    found: dict[str, dict[tuple[str, str, int], Path]] = {}
    for run in runs:
        key = (run.openness, run.split, run.seed)
        other = found.setdefault(run.method, {}).setdefault(key, run.folder)
        if other is not run.folder:
            raise HcepError(f"the run of {run.method}, {_name(key)} is listed twice, also as {other}", file=run.folder)
    union = {key for keys in found.values() for key in keys}
    seeds = {seed for _, _, seed in union}
    wanted = sorted({(openness, split, seed) for openness, split, _ in union for seed in seeds})
    for method, keys in found.items():
        missing = [key for key in wanted if key not in keys]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            cause = f"method {method} has no run {_name(missing[0])}{more}, but other runs need it for a fair mean"
            raise HcepError(cause, remedy="run it, or leave that split or seed out for every method")


def _name(key: tuple[str, str, int]) -> str:
    return f"{key[0]}/{key[1]}/seed{key[2]}"


class Cell(NamedTuple):
    """One method at one openness level, or its mean over the levels; S splits, N seeds, R replicates.

    Attributes
    ----------
    values : dict of metric name to (S, N) float64, or None
        None when levels with different splits were averaged.
    mean : dict of metric name to float
        All metrics that every run has.
    replicates : dict of metric name to (R,) float64
        Means of paired replicates; NaN where any run's replicate was dropped.
    """

    runs: tuple[Run, ...]
    splits: tuple[str, ...]
    seeds: tuple[int, ...]
    values: dict[str, Floats] | None
    mean: dict[str, float]
    replicates: dict[str, Floats]

    def spread(self, metric: str) -> float | None:
        """Standard deviation over splits of the seed means; with one split over seeds; None with one run."""
        if self.values is None:
            return None
        table = self.values[metric]
        over = table.mean(axis=1) if len(table) > 1 else table[0]
        return float(np.std(over, ddof=1)) if len(over) > 1 else None


def level_cell(runs: Sequence[Run]) -> Cell:
    """Average one method's runs of one openness level: over seeds, then over splits."""
    splits = tuple(sorted({run.split for run in runs}))
    seeds = tuple(sorted({run.seed for run in runs}))
    table = {(run.split, run.seed): run for run in runs}
    ordered = [[table[split, seed] for seed in seeds] for split in splits]
    # where one split has no known test clip of a corpus, there is no mean over the splits for that corpus
    names = [name for name in runs[0].replicates if all(name in run.replicates for run in runs)]
    values = {name: np.array([[run.metrics[name]["value"] for run in row] for row in ordered]) for name in names}
    draws = {name: np.mean([run.replicates[name] for run in runs], axis=0) for name in names}
    return Cell(tuple(runs), splits, seeds, values, {name: float(values[name].mean()) for name in names}, draws)


def mean_cell(cells: Sequence[Cell]) -> Cell:
    """Average one method's openness levels, each with the same weight."""
    splits = tuple(sorted({split for cell in cells for split in cell.splits}))
    names = [name for name in cells[0].mean if all(name in cell.mean for cell in cells)]
    tables = [cell.values for cell in cells if cell.values is not None and cell.splits == splits]
    paired = len(tables) == len(cells)
    values = {name: np.mean([table[name] for table in tables], axis=0) for name in names} if paired else None
    mean = {name: float(np.mean([cell.mean[name] for cell in cells])) for name in names}
    draws = {name: np.mean([cell.replicates[name] for cell in cells], axis=0) for name in names}
    return Cell(tuple(run for cell in cells for run in cell.runs), splits, cells[0].seeds, values, mean, draws)
