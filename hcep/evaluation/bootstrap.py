"""Group bootstrap of the open-set metrics, paired over splits and methods by shared draws."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcep.errors import HcepError
from hcep.evaluation.metrics import METRICS, Floats, OpenSet, Ranking

SIDES = ("known", "unknown")
REPLICATES = 2000
CONFIDENCE = 0.95
# replicates x clips (or groups) that are computed in one pass: such arrays stay in the cache of a core, however many
# clips there are
CHUNK_CELLS = 1 << 16
# replicates x groups up to which draws are kept for the next bootstrap over the same groups, in two bytes each
KEPT_CELLS = 1 << 24

Draws = NDArray[np.unsignedinteger]


class Replicates(NamedTuple):
    """Metrics of every bootstrap replicate.

    Attributes
    ----------
    values : dict of metric name to (R,) float64
        NaN where the replicate was dropped.
    dropped : int
        Replicates in which no known or no unknown clip was drawn.
    n_groups : int
    """

    values: dict[str, Floats]
    dropped: int
    n_groups: int


def group_draws(
    groups: Sequence[str], side: str, replicates: int, seed: int, chunk: int | None = None
) -> Iterator[Draws]:
    """Draw groups with replacement; how often each was drawn, chunk by chunk.

    The draw depends on the seed, the side and the set of groups alone, so runs with the same test groups get the same
    draw, and the first replicates do not depend on how many there are or how they are chunked.

    Parameters
    ----------
    groups : sequence of str
        Names of all groups of the test part; order and repetition do not matter.
    side : {'known', 'unknown'}
        Known and unknown clips are resampled separately.
    chunk : int, optional
        Replicates per array; all at once by default.

    Yields
    ------
    (r, G) unsigned integers
        Counts in the order of the sorted groups; every row sums to G.

    Raises
    ------
    HcepError
        No group, no replicate, or an unknown side.
    """
    names = sorted(set(groups))
    if side not in SIDES:
        raise HcepError(f"side must be one of {', '.join(SIDES)}, got {side!r}")
    if not names or replicates < 1:
        raise HcepError(f"a bootstrap needs groups and replicates, got {len(names)} and {replicates}")
    step = chunk or replicates
    if replicates * len(names) > KEPT_CELLS:
        yield from _drawn(names, side, replicates, int(seed), step)
        return
    kept = _kept_draws(tuple(names), side, replicates, int(seed))
    yield from (kept[start : start + step] for start in range(0, replicates, step))


def _drawn(names: Sequence[str], side: str, replicates: int, seed: int, step: int) -> Iterator[Draws]:
    key = hashlib.sha256(json.dumps([seed, side, list(names)]).encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))
    share, smallest = np.full(len(names), 1 / len(names)), np.min_scalar_type(len(names))
    for start in range(0, replicates, step):
        yield generator.multinomial(len(names), share, size=min(step, replicates - start)).astype(smallest)


# drawing takes longer than what is computed from it, and all scores of a run, and all runs of a task on the same test
# clips, take the same draws; two entries: one for each side
@lru_cache(maxsize=len(SIDES))
def _kept_draws(names: tuple[str, ...], side: str, replicates: int, seed: int) -> Draws:
    kept = np.concatenate(list(_drawn(names, side, replicates, seed, max(1, CHUNK_CELLS // len(names)))))
    kept.flags.writeable = False
    return kept


def bootstrap(
    data: OpenSet,
    groups: ArrayLike,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    drawn_from: ArrayLike | None = None,
    sides: tuple[str, str] = SIDES,
) -> Replicates:
    """All metrics on resampled groups, by weights on one sort.

    Every replicate draws as many groups as there are, with replacement, once for the known and once for the unknown
    clips (Efron and Tibshirani, 1993, with groups as units).

    Parameters
    ----------
    data : OpenSet
        Test clips of one run.
    groups : (n,) str
        Group of every clip.
    drawn_from : (m,) str, optional
        Groups to draw from, where `data` is only some of a run's test clips: all groups of the run's test part give the
        draws of the run itself. By default `groups`.
    sides : tuple of str
        Which draw resamples the positive clips of `data`, and which the negative ones.

    Raises
    ------
    HcepError
        The metrics cannot be computed, or no replicate has clips on both sides.
    """
    own = np.asarray(groups, dtype=np.str_)
    names = np.unique(own if drawn_from is None else np.asarray(drawn_from, dtype=np.str_))
    index = np.searchsorted(names, own)
    ranking = Ranking(data, index, len(names))
    chunk = max(1, CHUNK_CELLS // max(len(data.score), len(names)))
    draws = (group_draws(names.tolist(), side, replicates, seed, chunk) for side in sides)
    parts = [ranking.metrics(known, unknown) for known, unknown in zip(*draws, strict=True)]
    values = {name: np.concatenate([part[name] for part in parts]) for name in METRICS}
    dropped = int(np.isnan(values["auroc"]).sum())
    if dropped == replicates:
        cause = f"none of {replicates} bootstrap replicates has known and unknown clips"
        raise HcepError(cause, remedy="raise the number of replicates or of test groups")
    return Replicates(values, dropped, len(names))


def interval(values: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Percentile interval over the replicates (R,) that were not dropped; NaN marks a dropped one.

    Raises
    ------
    HcepError
        The confidence is not between 0 and 1, both excluded, or no replicate is left.
    """
    if not 0 < confidence < 1:
        raise HcepError(f"confidence must lie between 0 and 1, got {confidence}")
    tail = 50 * (1 - confidence)
    low, high = np.percentile(_kept(values), [tail, 100 - tail])
    return float(low), float(high)


def paired_p(differences: Floats) -> float:
    """Two-sided bootstrap p: twice the smaller share of paired differences at or past 0, +1 corrected, at most 1.

    NaN marks a dropped replicate in `differences`, (R,); an HcepError says when no other is left.
    """
    kept = _kept(differences)
    past = min(int((kept <= 0).sum()), int((kept >= 0).sum()))
    return min(1.0, 2 * (past + 1) / (len(kept) + 1))


def _kept(values: Floats) -> Floats:
    kept = values[~np.isnan(values)]
    if not len(kept):
        raise HcepError("no bootstrap replicate is left to sum up", remedy="raise the number of replicates")
    return kept
