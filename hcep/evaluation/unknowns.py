"""The test clips that a run rejects, in clusters: what is unknown is not one thing. Exploration, not a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from hcep.config.entries import Unknowns
from hcep.errors import HcepError
from hcep.evaluation.agreement import AGREEMENT, agreement
from hcep.evaluation.bootstrap import CONFIDENCE, REPLICATES, SIDES, Replicates, group_draws, interval
from hcep.evaluation.clusters import LEAST_CLIPS, Clusters, cut, find_clusters
from hcep.evaluation.distance import Regression, class_means, fit_regression
from hcep.evaluation.evaluate import facts
from hcep.evaluation.groups import groups_note
from hcep.evaluation.marks import marks_of, shown_columns
from hcep.evaluation.metrics import Floats
from hcep.evaluation.posthoc import ABSENT
from hcep.evaluation.replicates import digests, write_replicates
from hcep.evaluation.scores import FEATURES, IDENTITY, Scores, group_keys, read_scores
from hcep.evaluation.thresholds import choose_thresholds
from hcep.files import write_table
from hcep.seal import write_sealed_json

DECLARED = Unknowns()
NEAREST = tuple(f"nearest_{name}" for name in FEATURES)
COLUMNS = (
    *(*IDENTITY, "dataset", "clip", "group", "label", "known", "prediction", "score", "threshold"),
    *("cluster", "distance", "rank", "exemplar", *NEAREST, "flags", "text_kind", "stand_in", "selection"),
)
# which rejected clips the agreement is taken over, and which cut of the tree: at the largest silhouette, which knows no
# label, or in as many clusters as these clips have labels
OVER, CUTS = ("all", "unknown"), ("chosen", "given")


class Rejected(NamedTuple):
    """The m rejected clips of a run.

    Attributes
    ----------
    at : (m,) intp
        Their positions in the scores.
    threshold : float
    points : (m, D) float64
        What is clustered; (m, 0) without a usable feature.
    nearest : dict of feature to (m,) str
        The known class whose mean is nearest; '' where the clip lacks the modality.
    """

    at: NDArray[np.intp]
    threshold: float
    points: Floats
    nearest: dict[str, NDArray[np.str_]]


def unknowns(
    scores: str | Path,
    output: str | Path,
    report: str | Path,
    replicates_h5: str | Path,
    *,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    acceptance: float = DECLARED.acceptance,
    most_clusters: int = DECLARED.most_clusters,
    exemplars: int = DECLARED.exemplars,
) -> None:
    """Cluster the test clips that one run rejects, and compare the clusters with the labels, where there are any.

    Rejected is what scores below the threshold that accepts a share `acceptance` of the training clips. Clips are
    clustered in the stored features, each at unit length, standardised by the training clips, divided by the root of
    its width and joined; a modality that a clip lacks is 0, the training mean. Labels enter the agreement alone.

    Parameters
    ----------
    output : path
        ``unknowns.csv``: a row per rejected clip, by cluster and distance from its mean.
    report : path
        ``unknowns.json``: counts, clusters, and agreement as fractions with the intervals of the bootstrap over groups;
        clusters stay as they are while their clips are drawn.
    replicates_h5 : path
        ``unknowns.h5``: the replicates of the agreement, for `unknowns_summary`.
    most_clusters, exemplars : int
        At most so many clusters, and so many exemplars of each: the clips nearest to its mean, of different groups as
        far as there are.

    Raises
    ------
    HcepError
        The scores file is unusable, has no training clip, or a feature is not finite.
    """
    source = Path(scores)
    run = read_scores(source)
    try:
        rejected = reject(run, acceptance)
    except HcepError as error:
        raise HcepError(error.cause, file=source, row=error.row, remedy=error.remedy) from error
    notes, found = [], None
    if not rejected.points.shape[1]:
        notes.append("no feature to cluster")
    elif len(rejected.at) < LEAST_CLIPS:
        notes.append(f"{len(rejected.at)} rejected clips, too few to cluster ({LEAST_CLIPS})")
    else:
        found = find_clusters(rejected.points, most_clusters)
    groups = group_keys(run)
    rows = _rows(run, rejected, found, groups, exemplars)
    tested = np.unique(groups[run.part == "test"])
    draws = Replicates({}, 0, len(tested))
    content = facts(run, draws, replicates=replicates, confidence=confidence, seed=seed)
    content |= _counts(run, rejected, acceptance)
    agree: dict[str, Any] = {}
    drawn: dict[str, Floats] = {}
    if found is not None:
        content |= {"cut": len(set(found.member.tolist())), "clusters": found.found, "p": found.p}
        content["silhouettes"] = {str(k): value for k, value in found.silhouettes.items()}
        content["of_clusters"] = _of_clusters(rows)
        content["ari_group"] = float(adjusted_rand_score(groups[rejected.at], found.member))
        weights = [np.concatenate([*group_draws(tested.tolist(), side, replicates, seed)]) for side in SIDES]
        agree, drawn = _agreement(run, rejected, found, groups, tested, np.concatenate(weights, axis=1), confidence)
        notes += filter(None, [groups_note(len(tested))])
    content |= {"agreement": agree, "note": "; ".join(notes)}
    content["digests"] = digests(run, source, drawn)
    write_table(output, shown_columns(COLUMNS, rows), rows)
    write_replicates(replicates_h5, content, drawn)
    write_sealed_json(report, content)


def reject(run: Scores, acceptance: float) -> Rejected:
    """The rejected test clips, what is clustered of them, and their nearest known class in every feature."""
    train = run.part == "train"
    threshold = float(choose_thresholds(run.score[train], [acceptance])[0])
    at = np.flatnonzero((run.part == "test") & (run.score < threshold))
    features = {name: run.features[name] for name in FEATURES if name in run.features}
    for name, values in features.items():
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            cause, place = f"feature {name} is not finite, so no clip can be clustered", run.clip[bad.argmax()]
            raise HcepError(cause, row=f"clip {place}", remedy="train the run again")
    if not features:
        return Rejected(at, threshold, np.zeros((len(at), 0)), {})
    lacks = [set(text.split(";")) for text in run.flags.tolist()]
    missing = np.array([[ABSENT.get(name) in flags for name in features] for flags in lacks])
    label = np.array([run.classes.index(name) for name in run.label[train].tolist()], dtype=np.int64)
    trained = {name: values[train] for name, values in features.items()}
    fitted = fit_regression(trained, missing[train], label, len(run.classes), c=None)
    z, there = fitted.standardised(features, missing), fitted.there(missing)
    nearest = _nearest(run, fitted, z, there, label, at)
    points = fitted.joint(z)[at] if fitted.used.any() else np.zeros((len(at), 0))
    return Rejected(at, threshold, points, nearest)


def _nearest(
    run: Scores, fitted: Regression, z: Floats, there: NDArray[np.bool_], label: NDArray[np.int64], at: NDArray[np.intp]
) -> dict[str, NDArray[np.str_]]:
    """By feature, the class whose mean over the training clips that have it is nearest in standardised features."""
    train, names, found = run.part == "train", np.array(run.classes), {}
    for (name, has), part in zip(zip(fitted.widths, there.T, strict=True), fitted.split(z), strict=True):
        own = has[train]
        means = class_means(part[train][own], label[own], len(names))
        apart = ((part[at][:, None] - means) ** 2).sum(axis=2)
        apart[:, np.bincount(label[own], minlength=len(names)) == 0] = np.inf
        found[name] = np.where(has[at], names[apart.argmin(axis=1)], "")
    return found


def _rows(
    run: Scores, rejected: Rejected, found: Clusters | None, groups: NDArray[np.str_], exemplars: int
) -> list[dict[str, Any]]:
    """The table, sorted by cluster and rank; without clusters in the order of the scores."""
    shared: dict[str, Any] = {name: getattr(run, name) for name in IDENTITY} | {"text_kind": run.text_kind}
    shared |= {"stand_in": str(run.stand_in).lower(), "selection": run.settings.get("selection", ""), **marks_of(run)}
    rows = []
    for i, at in enumerate(rejected.at.tolist()):
        own = {name: str(getattr(run, name)[at]) for name in ("dataset", "clip", "group", "label", "prediction")}
        own |= {"known": str(bool(run.known[at])).lower(), "flags": str(run.flags[at])}
        own |= {"score": f"{run.score[at]:.6g}", "threshold": f"{rejected.threshold:.6g}"}
        own |= {f"nearest_{name}": str(names[i]) for name, names in rejected.nearest.items()}
        rows.append(shared | own)
    if found is None:
        return rows
    ordered = []
    for cluster in range(1, found.member.max() + 1):
        inside = np.flatnonzero(found.member == cluster)
        points = rejected.points[inside]
        away = np.linalg.norm(points - points.mean(axis=0), axis=1)
        order = inside[np.argsort(away, kind="stable")]
        chosen = _exemplars(groups[rejected.at[order]].tolist(), exemplars)
        for place, (i, distance) in enumerate(zip(order.tolist(), np.sort(away).tolist(), strict=True)):
            more = {"cluster": cluster, "distance": f"{distance:.6g}", "rank": place + 1}
            more["exemplar"] = str(place in chosen).lower()
            ordered.append(rows[i] | more)
    return ordered


def _exemplars(groups: list[str], count: int) -> set[int]:
    """Positions of the first clip of every group, then of the others, at most `count`."""
    first = [i for i, name in enumerate(groups) if name not in groups[:i]]
    return set((first + [i for i in range(len(groups)) if i not in first])[:count])


def _counts(run: Scores, rejected: Rejected, acceptance: float) -> dict[str, Any]:
    """How many clips are rejected, and which known ones wrongly."""
    known = run.known[rejected.at]
    unseen = set(run.label[(run.part == "test") & ~run.known].tolist()) - {""}
    return {
        "acceptance": acceptance,
        "threshold": rejected.threshold,
        "n_rejected": len(known),
        "n_rejected_unknown": int((~known).sum()),
        "wrongly_rejected": _tally(run.label[rejected.at][known].tolist()),
        "unknown_classes": len(unseen),
        "features": list(rejected.nearest),
    }


def _tally(names: Iterable[str]) -> dict[str, int]:
    """Names with their counts, the most frequent first, of equal ones the first by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _of_clusters(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is in every cluster: its true labels too, and the modalities that its clips lack."""
    found = []
    for cluster in dict.fromkeys(row["cluster"] for row in rows):
        own = [row for row in rows if row["cluster"] == cluster]
        labels = _tally(row["label"] for row in own if row["label"])
        entry: dict[str, Any] = {"cluster": cluster, "clips": len(own)}
        entry |= {"groups": len({(row["dataset"], row["group"]) for row in own})}
        entry |= {"wrongly_rejected": sum(row["known"] == "true" for row in own), "labels": labels}
        entry |= {"purity": max(labels.values()) / sum(labels.values()) if labels else None}
        entry |= {name: _tally(row[name] for row in own if row[name]) for name in NEAREST if name in own[0]}
        entry["flags"] = _tally(flag for row in own for flag in row["flags"].split(";") if flag)
        found.append(entry)
    return found


def _agreement(
    run: Scores,
    rejected: Rejected,
    found: Clusters,
    groups: NDArray[np.str_],
    tested: NDArray[np.str_],
    weights: NDArray[np.int64],
    confidence: float,
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Agreement of each cut with the labels, over each set of clips, and its replicates.

    `weights` (R, 2G): how often the known, then the unknown clips of every tested group are drawn.
    """
    label, known = run.label[rejected.at], run.known[rejected.at]
    group = np.searchsorted(tested, groups[rejected.at]) + np.where(known, 0, len(tested))
    agree: dict[str, Any] = {}
    drawn: dict[str, Floats] = {}
    for over, some in zip(OVER, (label != "", (label != "") & ~known), strict=True):
        labels = len(set(label[some].tolist()))
        agree[over] = {"clips": int(some.sum()), "labels": labels}
        # one label agrees with everything and nothing
        for name in CUTS if labels > 1 else ():
            member = (found.member if name == "chosen" else cut(rejected.points, labels))[some]
            arguments = member, label[some], group[some]
            point = agreement(*arguments, np.ones((1, weights.shape[1])))
            draws = agreement(*arguments, weights.astype(np.float64))
            entry: dict[str, Any] = {"clusters": len(set(member.tolist()))}
            entry["ami"] = float(adjusted_mutual_info_score(label[some], member))
            for metric in AGREEMENT:
                low, high = interval(draws[metric], confidence)
                entry[metric] = {"value": float(point[metric][0]), "lo": low, "hi": high}
                drawn[f"{over} {name} {metric}"] = draws[metric]
            agree[over][name] = entry
    return agree, drawn
