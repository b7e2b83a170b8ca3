"""Agreement of clusters with labels, for the clips as they are and for many drawings of their groups at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from hcep.evaluation.metrics import Floats

AGREEMENT = ("nmi", "ari")


def agreement(
    member: NDArray[np.int64], label: NDArray[np.str_], group: NDArray[np.int64], weights: Floats
) -> dict[str, Floats]:
    """NMI and ARI of clusters with labels for R weightings of the groups.

    NMI is the mutual information over the mean of the two entropies (Strehl and Ghosh, Journal of Machine Learning
    Research 2002). ARI (Hubert and Arabie, Journal of Classification 1985, equation 5) counts pairs of clips; a clip
    that was drawn twice makes no pair with itself, which would count as an agreement: ``N_ij^2`` is lessened by the
    squares of the clips' weights. With every weight 1 both are scikit-learn's.

    Parameters
    ----------
    member, label : (n,)
        Cluster and label of every clip.
    group : (n,) int64
        Group of every clip, 0 ... G - 1.
    weights : (R, G) float64
        How often every group's clips count.

    Returns
    -------
    dict of 'nmi' and 'ari' to (R,) float64
        NaN where there is but one label and one cluster, or no pair of clips.
    """
    _, row = np.unique(member, return_inverse=True)
    _, column = np.unique(label, return_inverse=True)
    rows, columns = row.max() + 1, column.max() + 1
    cell = np.zeros((weights.shape[1], rows * columns))
    np.add.at(cell, (group, row * columns + column), 1.0)
    shape = (len(weights), rows, columns)
    counts, squares = (weights @ cell).reshape(shape), (weights**2 @ cell).reshape(shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"nmi": _nmi(counts), "ari": _ari(counts, squares)}


def _nmi(counts: Floats) -> Floats:
    share = counts / counts.sum(axis=(1, 2), keepdims=True)
    of_rows, of_columns = (-xlogy(part, part).sum(axis=1) for part in (share.sum(axis=2), share.sum(axis=1)))
    both = -xlogy(share, share).sum(axis=(1, 2))
    # rounding may leave a little below 0
    return np.maximum(of_rows + of_columns - both, 0.0) / ((of_rows + of_columns) / 2)


def _ari(counts: Floats, squares: Floats) -> Floats:
    """Of (R, clusters, labels) weights of the cells, and their clips' squared weights."""

    def pairs(axis: tuple[int, ...]) -> Floats:
        within = counts.sum(axis=axis) ** 2 - squares.sum(axis=axis)
        return within.reshape(len(counts), -1).sum(axis=1) / 2

    same, in_rows, in_columns, total = pairs(()), pairs((2,)), pairs((1,)), pairs((1, 2))
    expected = in_rows * in_columns / total
    return (same - expected) / ((in_rows + in_columns) / 2 - expected)
