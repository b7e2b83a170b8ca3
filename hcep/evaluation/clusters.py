"""Clusters of clips, and whether they are more than one cloud; no label is read."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, ward
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import silhouette_score

from hcep.evaluation.metrics import Floats

Ids = NDArray[np.int64]

# fewer clips than this are not clustered
LEAST_CLIPS = 10
# a cluster has this many clips and this share of them: smaller ones are outliers, which have large silhouettes
LEAST_SIZE, LEAST_SHARE = 3, 0.02
# the number of clusters is chosen on at most so many clips, drawn at random
MOST_CLIPS = 500
REFERENCES = 199
LEVEL = 0.05
SEED = 0


class Clusters(NamedTuple):
    """n clips in clusters.

    Attributes
    ----------
    member : (n,) int64
        Cluster of every clip, 1 ... k from the largest to the smallest; of equal ones, the one of the first clip first.
    silhouettes : dict of int to float
        Mean silhouette by number of clusters, of the numbers at which no cluster is too small.
    p : float
        Share of clouds without clusters, one added to both counts, that look at least as clustered; 1 without any.
    """

    member: Ids
    silhouettes: dict[int, float]
    p: float

    @property
    def found(self) -> int:
        """The number of clusters: 1 where one cloud looks as clustered."""
        return len(set(self.member.tolist())) if self.p <= LEVEL else 1


def find_clusters(points: Floats, most: int) -> Clusters:
    """Cut Ward's tree of points (n, d) where the mean silhouette is largest, and compare with clouds of the same shape.

    Ward, Journal of the American Statistical Association 1963; Rousseeuw, Journal of Computational and Applied
    Mathematics 1987. At most `most` clusters. The comparison is that of Liu, Hayes, Nobel and Marron, "Statistical
    Significance of Clustering for High-Dimension, Low-Sample Size Data" (Journal of the American Statistical
    Association 2008): `REFERENCES` draws from one Gaussian with the sample covariance of the points. Their statistic is
    that of two clusters; here it is the largest mean silhouette over the same numbers of clusters, so that the choice
    of the number is made again in every draw. With more dimensions than clips the sample covariance is longer in its
    long directions than the true one, so the comparison finds clusters too seldom, not too often.
    """
    generator = np.random.default_rng(SEED)
    some = points
    if len(points) > MOST_CLIPS:
        some = points[np.sort(generator.choice(len(points), MOST_CLIPS, replace=False))]
    silhouettes = _silhouettes(some, most)
    if not silhouettes:
        return Clusters(np.ones(len(points), np.int64), {}, 1.0)
    best = max(silhouettes, key=lambda k: silhouettes[k])
    # distances do not change under rotation, so the covariance may be taken as diagonal
    deviation = np.linalg.svd(some - some.mean(axis=0), compute_uv=False) / (len(some) - 1) ** 0.5
    clouds = (generator.normal(size=(len(some), len(deviation))) * deviation for _ in range(REFERENCES))
    reached = sum(max(_silhouettes(cloud, most).values(), default=-1.0) >= silhouettes[best] for cloud in clouds)
    return Clusters(cut(points, best), silhouettes, (1 + reached) / (1 + REFERENCES))


def cut(points: Floats, count: int) -> Ids:
    """Ward's tree of points (n, d) in `count` clusters, numbered as in `Clusters`."""
    return _numbered(fcluster(ward(pdist(points)), count, "maxclust"))


def _numbered(member: NDArray[np.int32]) -> Ids:
    _, first, place, sizes = np.unique(member, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    return (np.argsort(order) + 1)[place].astype(np.int64)


def _silhouettes(points: Floats, most: int) -> dict[int, float]:
    """Mean silhouette of every number of clusters, from two on, at which none is too small."""
    least = max(LEAST_SIZE, math.ceil(LEAST_SHARE * len(points)))
    apart = pdist(points)
    tree, square = ward(apart), squareform(apart)
    found = {}
    for count in range(2, min(most, len(points) // least) + 1):
        member = fcluster(tree, count, "maxclust")
        sizes = np.bincount(member)[1:]
        if len(sizes) == count and sizes.min() >= least:
            found[count] = float(silhouette_score(square, member, metric="precomputed"))
    return found
