"""Reading evaluated runs back: identity, metrics, bootstrap replicates, and the checks that make them comparable."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hcep.errors import HcepError
from hcep.evaluation.bootstrap import bootstrap
from hcep.evaluation.corpora import corpora_of, corpus_metrics
from hcep.evaluation.evaluate import IDENTITY
from hcep.evaluation.metrics import Floats, open_set, open_set_metrics
from hcep.evaluation.scores import Scores, clip_keys, group_keys, read_scores
from hcep.files import read_table
from hcep.progress import progress

HISTORY_PREFIXES = ("movement_", "gap_")
_AGAIN = "run the evaluate step of this run again"


class Run(NamedTuple):
    """One evaluated run.

    Attributes
    ----------
    folder : Path
    task, method, openness, split : str
    seed : int
    metrics : mapping
        Content of metrics.json.
    replicates : dict of metric name to (R,) float64
        NaN marks a dropped replicate; those of `corpus_metrics` too, where the run has several corpora.
    dropped : int
        Number of those.
    history : dict of column to str
        Movement and gap columns of the last row of history.csv; empty without that file.
    selection : str
        How the epoch was selected, empty when the scores do not say.
    """

    folder: Path
    task: str
    method: str
    openness: str
    split: str
    seed: int
    metrics: Mapping[str, Any]
    replicates: dict[str, Floats]
    dropped: int
    history: dict[str, str]
    selection: str


Clips = dict[str, tuple[str, str]]


def read_runs(folders: Sequence[str | Path], task: str, *, replicates: int, seed: int) -> list[Run]:
    """Read evaluated runs of one task and draw their paired bootstrap replicates.

    Parameters
    ----------
    folders : sequence of path
        Each with scores.h5, metrics.json and, where the method trains, history.csv.
    task : str
        The task that all runs must belong to.
    replicates, seed : int
        Of the bootstrap; runs with the same test groups share their draws.

    Raises
    ------
    HcepError
        No run; a file is missing or unreadable; metrics.json does not belong to scores.h5; a run is of another task;
        two runs of one openness level and split have different classes or test clips (the clip is named).
    """
    if not folders:
        raise HcepError(f"no run of task {task} to aggregate", remedy="list at least one run folder")
    runs: list[Run] = []
    first: dict[tuple[str, str], tuple[Path, tuple[str, ...], Clips]] = {}
    for folder in progress(map(Path, folders), len(folders), "aggregate", "run"):
        scores = read_scores(folder / "scores.h5", features=False)
        if scores.task != task:
            raise HcepError(f"the run is of task {scores.task!r}, expected {task!r}", file=folder / "scores.h5")
        extra = corpus_metrics(scores, replicates=replicates, seed=seed)
        values = open_set_metrics(open_set(scores)) | {name: metric.value for name, metric in extra.items()}
        metrics = _read_metrics(folder / "metrics.json", scores, values)
        clips, classes = _test_clips(scores), tuple(sorted(scores.classes))
        other = first.setdefault((scores.openness, scores.split), (folder, classes, clips))
        _refuse_other_clips(folder, classes, clips, other)
        test = scores.part == "test"
        draws = bootstrap(open_set(scores), group_keys(scores)[test], replicates=replicates, seed=seed)
        identity = {name: getattr(scores, name) for name in IDENTITY}
        history = _kept_history(folder / "history.csv", scores.settings.get("epoch"))
        selection = str(scores.settings.get("selection", ""))
        runs.append(
            Run(
                folder,
                **identity,
                metrics=metrics,
                replicates=draws.values | {name: metric.replicates for name, metric in extra.items()},
                dropped=draws.dropped,
                history=history,
                selection=selection,
            )
        )
    check_grid(runs)
    return runs


def _read_metrics(file: Path, scores: Scores, recomputed: Mapping[str, float]) -> Mapping[str, Any]:
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        found = [metrics[name] for name in IDENTITY]
        values = {name: float(metrics[name]["value"]) for name in recomputed}
        marks = (metrics["text_kind"], metrics["stand_in"], metrics["left_out"], metrics["corpora"])
    except FileNotFoundError as error:
        raise HcepError("the file does not exist", file=file, remedy=_AGAIN) from error
    except (ValueError, KeyError, TypeError) as error:
        raise HcepError(f"not a metrics file ({error!r})", file=file, remedy=_AGAIN) from error
    wanted = [getattr(scores, name) for name in IDENTITY]
    if found != wanted or marks != (scores.text_kind, scores.stand_in, [*scores.left_out], [*corpora_of(scores)]):
        raise HcepError(f"the metrics are of run {found}, the scores beside them of {wanted}", file=file, remedy=_AGAIN)
    for name, value in recomputed.items():
        if not math.isclose(value, values[name], abs_tol=1e-9):
            raise HcepError(f"{name} is {values[name]}, but the scores give {value}", file=file, remedy=_AGAIN)
    return metrics


def _test_clips(scores: Scores) -> Clips:
    test = scores.part == "test"
    keys, groups = clip_keys(scores)[test].tolist(), group_keys(scores)[test].tolist()
    return dict(zip(keys, zip(scores.label[test].tolist(), groups, strict=True), strict=True))


def _refuse_other_clips(
    folder: Path, classes: tuple[str, ...], clips: Clips, other: tuple[Path, tuple[str, ...], Clips]
) -> None:
    if classes != other[1]:
        raise HcepError(f"the known classes {classes} differ from {other[1]} of {other[0]}", file=folder / "scores.h5")
    if clips == other[2]:
        return
    clip = min(key for key in clips.keys() | other[2].keys() if clips.get(key) != other[2].get(key))
    raise HcepError(
        f"the test clips differ from those of {other[0]}: {clips.get(clip)} here, {other[2].get(clip)} there",
        file=folder / "scores.h5",
        row=f"clip {clip.partition(chr(31))[2]}",
        remedy="score both runs on the same split",
    )


def _kept_history(file: Path, epoch: int | None) -> dict[str, str]:
    """Movement and gaps of the epoch that was kept; of the last one where the scores name none."""
    rows = read_table(file) if file.exists() else []
    kept = [row for row in rows if epoch is not None and float(row.get("epoch", "nan")) == epoch] or rows[-1:]
    return {name: value for row in kept for name, value in row.items() if name.startswith(HISTORY_PREFIXES)}


def check_grid(runs: Iterable[Run]) -> None:
    """Refuse a method that lacks a split or seed that another method has, and a run that is listed twice.

    Raises
    ------
    HcepError
        Naming the method and the run.
    """
    found: dict[str, dict[tuple[str, str, int], Path]] = {}
    for run in runs:
        key = (run.openness, run.split, run.seed)
        other = found.setdefault(run.method, {}).setdefault(key, run.folder)
        if other is not run.folder:
            raise HcepError(f"the run of {run.method}, {_name(key)} is listed twice, also as {other}", file=run.folder)
    union = {key for keys in found.values() for key in keys}
    splits = {(openness, split) for openness, split, _ in union}
    seeds = {seed for _, _, seed in union}
    wanted = sorted((openness, split, seed) for openness, split in splits for seed in seeds)
    for method, keys in found.items():
        missing = [key for key in wanted if key not in keys]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise HcepError(
                f"method {method} has no run {_name(missing[0])}{more}, but other runs need it for a fair mean",
                remedy="run it, or leave that split or seed out for every method",
            )


def _name(key: tuple[str, str, int]) -> str:
    return f"{key[0]}/{key[1]}/seed{key[2]}"


class Cell(NamedTuple):
    """One method at one openness level, or its mean over the levels; S splits, N seeds, R replicates.

    Attributes
    ----------
    runs : tuple of Run
    splits : tuple of str
    seeds : tuple of int
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
    # a corpus without known test clips in one split has no mean over the splits
    names = [name for name in runs[0].replicates if all(name in run.replicates for run in runs)]
    values = {name: np.array([[run.metrics[name]["value"] for run in row] for row in ordered]) for name in names}
    draws = {name: np.mean([run.replicates[name] for run in runs], axis=0) for name in names}
    return Cell(tuple(runs), splits, seeds, values, {name: float(values[name].mean()) for name in names}, draws)


def mean_cell(cells: Sequence[Cell]) -> Cell:
    """Average one method's openness levels, each with the same weight."""
    splits = tuple(sorted({split for cell in cells for split in cell.splits}))
    names = [name for name in cells[0].mean if all(name in cell.mean for cell in cells)]
    tables = [cell.values for cell in cells if cell.values is not None and cell.splits == splits]
    values = None
    if len(tables) == len(cells):
        values = {name: np.mean([table[name] for table in tables], axis=0) for name in names}
    mean = {name: float(np.mean([cell.mean[name] for cell in cells])) for name in names}
    draws = {name: np.mean([cell.replicates[name] for cell in cells], axis=0) for name in names}
    return Cell(tuple(run for cell in cells for run in cell.runs), splits, cells[0].seeds, values, mean, draws)
