"""Runs over several corpora: does the score tell unknown clips from known ones, or one corpus from the other?

Where the unknown clips come from one corpus only, a score that knows the corpus looks like one that knows the emotion.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hcep.evaluation.bootstrap import bootstrap
from hcep.evaluation.metrics import Floats, OpenSet, open_set, open_set_metrics
from hcep.evaluation.scores import Scores, group_keys

PER_CORPUS = ("auroc", "oscr")
APART = "corpus_auroc"


class CorpusMetric(NamedTuple):
    """One metric: its value (fraction) and its bootstrap replicates, (R,) float64, NaN where dropped."""

    value: float
    replicates: Floats


def corpora_of(run: Scores) -> tuple[str, ...]:
    """Names of the datasets of a run's known test clips, sorted."""
    return tuple(sorted(set(run.dataset[(run.part == "test") & run.known].tolist())))


def known_name(metric: str, corpus: str) -> str:
    """Name of a metric over one corpus's known clips, e.g. ``auroc_known_mafw``."""
    return f"{metric}_known_{corpus}"


def corpus_metrics(run: Scores, *, replicates: int, seed: int) -> dict[str, CorpusMetric]:
    """Metrics per corpus, and how well the score separates the corpora.

    The bootstrap's draws are those of the run's own metrics, so the intervals are paired with them.

    Returns
    -------
    dict
        Empty unless the known test clips are of at least two corpora; else, per corpus, ``auroc_known_<corpus>`` and
        ``oscr_known_<corpus>`` of that corpus's known clips against all unknown clips, and ``corpus_auroc``: the
        probability that a known clip of the first corpus by name outranks a known clip of another one. 0.5 = the
        score does not tell the corpora apart; above 0.5 = known clips of the first corpus look more known.

    Raises
    ------
    HcepError
        A score is not finite, or there is no unknown test clip.
    """
    corpora = corpora_of(run)
    if len(corpora) < 2:
        return {}
    test = run.part == "test"
    data, dataset, groups = open_set(run), run.dataset[test], group_keys(run)[test]
    found: dict[str, CorpusMetric] = {}
    for corpus in corpora:
        rows = ~data.known | (dataset == corpus)
        part = data._replace(**{name: getattr(data, name)[rows] for name in OpenSet._fields[:4]})
        values = open_set_metrics(part)
        draws = bootstrap(part, groups[rows], replicates=replicates, seed=seed, drawn_from=groups).values
        found |= {known_name(name, corpus): CorpusMetric(values[name], draws[name]) for name in PER_CORPUS}
    first = dataset[data.known] == corpora[0]
    ids = np.zeros(len(first), dtype=np.intp)
    apart = OpenSet(data.score[data.known], first, np.where(first, 0, -1), ids, 1)
    # both sides are known clips here, so the draw for known clips resamples both of them
    options: dict[str, Any] = {"replicates": replicates, "seed": seed, "drawn_from": groups}
    draws = bootstrap(apart, groups[data.known], sides=("known", "known"), **options).values
    found[APART] = CorpusMetric(open_set_metrics(apart)["auroc"], draws["auroc"])
    return found
