"""replicates.h5: the bootstrap replicates of an evaluated run, bound by digests to metrics.json and scores.h5.

`evaluate` draws once; whoever averages or compares runs reads the draws from here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hcep.errors import HcepError
from hcep.evaluation.metrics import Floats
from hcep.evaluation.scores import IDENTITY, Scores, clip_keys, group_keys
from hcep.files import digest, sha256_file
from hcep.seal import check_file, new_hdf5, open_hdf5, read_sealed_json

AGAIN = "run the evaluate step of this run again"

# clip across datasets -> its label and its group
Clips = dict[str, tuple[str, str]]


def tested_clips(run: Scores) -> Clips:
    """The test clips of a run: the key of every clip (`clip_keys`) with its label and its group key."""
    test = run.part == "test"
    keys, groups = clip_keys(run)[test].tolist(), group_keys(run)[test].tolist()
    return dict(zip(keys, zip(run.label[test].tolist(), groups, strict=True), strict=True))


def digests(run: Scores, scores: str | Path, values: Mapping[str, Floats]) -> dict[str, str]:
    """What metrics.json keeps of the files and clips that it was made from, each as a hex digest.

    ``scores``: the bytes of scores.h5, the file that `run` was read from. ``test_clips``: the known classes, and name,
    label and group of every test clip. The draws follow from the groups, the number of replicates and the seed, so runs
    that agree in these are paired. ``replicates``: the replicates (R,) of all metrics.
    """
    clips = digest([sorted(run.classes), tested_clips(run)])
    return {"scores": sha256_file(scores), "test_clips": clips, "replicates": _digest_of(values)}


def _digest_of(values: Mapping[str, Floats]) -> str:
    total = hashlib.sha256()
    for name, replicates in sorted(values.items()):
        total.update(f"{name} {len(replicates)}\n".encode())
        total.update(replicates.astype("<f8").tobytes())
    return total.hexdigest()


def write_replicates(path: str | Path, metrics: Mapping[str, Any], values: Mapping[str, Floats]) -> None:
    """Write the replicates of every metric, (R,) float64, as ``replicates/<metric>``; NaN marks a dropped replicate.

    Beside them stands a copy of `metrics`, the content of metrics.json with its `digests`. The same values give the
    same bytes.
    """
    with new_hdf5(path) as handle:
        handle["metrics"] = json.dumps(metrics, ensure_ascii=False, sort_keys=True)
        for name, replicates in values.items():
            handle[f"replicates/{name}"] = np.asarray(replicates, dtype=np.float64)


def read_evaluated(folder: Path) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Content of metrics.json and the replicates of every metric, (R,) float64, of one evaluated run.

    Raises
    ------
    HcepError
        A file is missing or unreadable, metrics.json is not the one that was written with the replicates, or scores.h5
        is not the file that was evaluated.
    """
    file = folder / "metrics.json"
    metrics = _read_metrics(file)
    written, values = _read_replicates(folder / "replicates.h5", AGAIN)
    _refuse_changed(file, metrics, written)
    if metrics["digests"]["replicates"] != _digest_of(values):
        raise HcepError("the replicates are not those of metrics.json", file=folder / "replicates.h5", remedy=AGAIN)
    _refuse_other_scores(folder, metrics, AGAIN)
    # in the order of metrics.json: HDF5 sorts by name
    return metrics, {name: values[name] for name in metrics if name in values}


def read_posthoc(folder: Path) -> tuple[dict[str, Any], dict[str, Floats]]:
    """The same of the post-hoc scores of one run, from its posthoc.h5; a metric is called ``<score> <metric>``."""
    return _read_drawn(folder, "posthoc")


def read_robustness(folder: Path) -> tuple[dict[str, Any], dict[str, Floats]]:
    """The same of disturbed test clips, from robustness.h5: ``<kind> <level> <metric>``, or ``clean <metric>``."""
    return _read_drawn(folder, "robustness")


def _read_drawn(folder: Path, step: str) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Content of the file that a step left of a run.

    Raises
    ------
    HcepError
        The file is missing or unreadable, its replicates are not those that its digest names, or scores.h5 is not the
        file that it was computed from.
    """
    file, again = folder / f"{step}.h5", f"run the {step} step of this run again"
    metrics, values = _read_replicates(file, again)
    if metrics["digests"]["replicates"] != _digest_of(values):
        raise HcepError("the replicates are not those that were written", file=file, remedy=again)
    _refuse_other_scores(folder, metrics, again)
    return metrics, {name: values[name] for name in metrics if name in values}


def _refuse_other_scores(folder: Path, metrics: Mapping[str, Any], again: str) -> None:
    scores = folder / "scores.h5"
    if not scores.is_file():
        raise HcepError("the file does not exist", file=scores, remedy="run the score step of this run again")
    if metrics["digests"]["scores"] != sha256_file(scores):
        raise HcepError("the scores were replaced after they were evaluated", file=scores, remedy=again)


def _read_metrics(file: Path) -> dict[str, Any]:
    try:
        metrics = read_sealed_json(file, AGAIN)
        for name in IDENTITY:
            metrics[name]
    except (KeyError, TypeError) as error:
        raise HcepError(f"not a metrics file ({error!r})", file=file, remedy=AGAIN) from error
    return metrics


def _read_replicates(file: Path, again: str) -> tuple[dict[str, Any], dict[str, Floats]]:
    with open_hdf5(file, again) as handle:
        check_file(handle, file, again)
        written = json.loads(handle["metrics"].asstr()[()])
        return written, {name: values[()] for name, values in handle["replicates"].items()}


def _refuse_changed(file: Path, metrics: dict[str, Any], written: dict[str, Any]) -> None:
    """Refuse a metrics.json that is not the one that was written with the replicates, and name the difference."""
    found, wanted = ([content[name] for name in IDENTITY] for content in (metrics, written))
    if found != wanted:
        raise HcepError(f"the metrics are of run {found}, the scores beside them of {wanted}", file=file, remedy=AGAIN)
    for name in dict.fromkeys([*written, *metrics]):
        ours, theirs = metrics.get(name), written.get(name)
        if ours != theirs:
            cause = f"{name} is {ours}, but the scores give {theirs}"
            raise HcepError(f"{cause}: these are not the metrics of the scores beside them", file=file, remedy=AGAIN)
