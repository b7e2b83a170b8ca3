"""Clusters of rejected clips in all runs of one task -> unknowns.csv: how many, and how far they are the labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hcep.errors import HcepError
from hcep.evaluation.aggregate import LEVEL_COLUMNS, distinct, level_columns
from hcep.evaluation.agreement import AGREEMENT
from hcep.evaluation.bootstrap import interval
from hcep.evaluation.groups import groups_note
from hcep.evaluation.marks import joined_marks, shown_columns
from hcep.evaluation.metrics import Floats
from hcep.evaluation.unknowns import CUTS, OVER
from hcep.files import sha256_file, write_table
from hcep.protocol.openness import openness_value, parse_openness
from hcep.seal import check_file, open_hdf5

PLACES = tuple((over, name) for over in OVER for name in CUTS)
COUNTS = ("rejected", "wrongly_rejected", "unknown_classes", "clusters", "cut", "ari_group")
COLUMNS = (
    *("task", "method", "openness", *LEVEL_COLUMNS, "splits", "seeds", "runs", "clustered", *COUNTS),
    *(f"{over}_{name}_{rest}" for over, name in PLACES for rest in ("runs", "ami")),
    *(f"{over}_{name}_{m}{part}" for over, name in PLACES for m in AGREEMENT for part in ("", "_lo", "_hi")),
    *("note", "text_kind", "stand_in", "selection"),
)


class Found(NamedTuple):
    """Content of a run's unknowns.h5: what unknowns.json says, and the replicates (R,) of the agreement."""

    content: dict[str, Any]
    replicates: dict[str, Floats]


def unknowns_summary(runs: Sequence[str | Path], task: str, output: str | Path) -> None:
    """Average what the runs of one task found; methods keep the order of the runs, levels go from the least open on.

    Parameters
    ----------
    runs : sequence of path
        Run folders with unknowns.h5 and scores.h5.
    output : path
        ``unknowns.csv``: a row per method and level. Counts are means over the runs, those of clusters over the runs
        that were clustered. Agreement is the mean over the runs that have it (``_runs``), as a fraction; ends of its
        interval are percentiles of the replicates' means.

    Raises
    ------
    HcepError
        No run, a file is missing or unreadable, a run is of another task, made from other scores, or with other
        settings than the first.
    """
    if not runs:
        raise HcepError(f"no run of task {task} to sum up", remedy="list at least one run folder")
    read = [read_unknowns(Path(folder)) for folder in runs]
    _refuse_others(read, list(map(Path, runs)), task)
    contents = [found.content for found in read]
    levels = sorted({one["openness"] for one in contents}, key=lambda name: openness_value(*parse_openness(name)))
    rows = []
    for method in dict.fromkeys(one["method"] for one in contents):
        for openness in levels:
            own = [one for one in read if (one.content["method"], one.content["openness"]) == (method, openness)]
            if own:
                rows.append({"task": task, "method": method, "openness": openness} | _row(own, openness))
    write_table(output, shown_columns(COLUMNS, rows), rows)


def read_unknowns(folder: Path) -> Found:
    """What `unknowns` found in a run.

    Raises
    ------
    HcepError
        unknowns.h5 is missing or unreadable, or was made from other scores than those beside it.
    """
    file, again = folder / "unknowns.h5", "run the unknowns step of this run again"
    with open_hdf5(file, again) as handle:
        check_file(handle, file, again)
        content = json.loads(handle["metrics"].asstr()[()])
        # a run without clusters has no replicates
        drawn = {name: values[()] for name, values in handle.get("replicates", {}).items()}
    scores = folder / "scores.h5"
    if not scores.is_file():
        raise HcepError("the file does not exist", file=scores, remedy="run the score step of this run again")
    if content["digests"]["scores"] != sha256_file(scores):
        raise HcepError("the scores were replaced after their unknown clips were clustered", file=scores, remedy=again)
    return Found(content, drawn)


def _refuse_others(read: Sequence[Found], folders: Sequence[Path], task: str) -> None:
    settings = ("acceptance", "replicates", "confidence", "bootstrap_seed")
    expected = {"task": task} | {name: read[0].content[name] for name in settings}
    for found, folder in zip(read, folders, strict=True):
        for name, wanted in expected.items():
            if found.content[name] != wanted:
                cause = f"{name} is {found.content[name]!r}, expected {wanted!r}"
                raise HcepError(cause, file=folder / "unknowns.h5", remedy="run `unknowns` with the same settings")


def _row(own: Sequence[Found], openness: str) -> dict[str, Any]:
    contents = [found.content for found in own]
    clustered = [one for one in contents if "clusters" in one]
    row = level_columns(openness) | {"runs": len(own), "clustered": len(clustered)}
    row |= {name: len({one[name[:-1]] for one in contents}) for name in ("splits", "seeds")}
    wrongly = [sum(one["wrongly_rejected"].values()) for one in contents]
    row |= {"rejected": _mean([one["n_rejected"] for one in contents], 1), "wrongly_rejected": _mean(wrongly, 1)}
    row["unknown_classes"] = _mean([one["unknown_classes"] for one in contents], 1)
    row |= {name: _mean([one[name] for one in clustered], 1) for name in ("clusters", "cut")}
    row["ari_group"] = _mean([one["ari_group"] for one in clustered], 3)
    for over, name in PLACES:
        having = [one for one in own if name in one.content["agreement"].get(over, {})]
        place, found = f"{over}_{name}", [one.content["agreement"][over][name] for one in having]
        row |= {f"{place}_runs": len(found), f"{place}_ami": _mean([one["ami"] for one in found], 3)}
        for metric in AGREEMENT if found else ():
            draws = np.mean([one.replicates[f"{over} {name} {metric}"] for one in having], axis=0)
            low, high = interval(draws, contents[0]["confidence"])
            row[f"{place}_{metric}"] = _mean([one[metric]["value"] for one in found], 3)
            row |= {f"{place}_{metric}_lo": f"{low:.3f}", f"{place}_{metric}_hi": f"{high:.3f}"}
    notes = ["stand-in encoders or composite data"] * any(one["stand_in"] for one in contents)
    notes += [f"{len(own) - len(clustered)} of {len(own)} runs not clustered"] * (len(clustered) < len(own))
    notes.append(groups_note(min(one["n_groups"] for one in contents)))
    row |= {"note": "; ".join(filter(None, notes)), "text_kind": distinct(one["text_kind"] for one in contents)}
    row |= {"stand_in": "true" if any(one["stand_in"] for one in contents) else "false", **joined_marks(contents)}
    return row | {"selection": distinct(one["selection"] for one in contents)}


def _mean(values: Sequence[float], digits: int) -> str:
    # adding 0.0 turns -0.0 into 0.0
    return f"{round(float(np.mean(values)), digits) + 0.0:.{digits}f}" if values else ""
