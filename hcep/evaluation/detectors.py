"""Open-set scores from the logits and features of a trained run, by their published definitions, in float64.

The definitions are those of pytorch-ood's detectors (0.4.0), the tests' reference. Some of these lose what open-set
ranks need: max-softmax is the probability, which rounds to 1; entropy and GEN clip probabilities at 1e-7, which ties
confident clips; ViM, NNGuide and fDBD are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.neighbors import NearestNeighbors

from hcep.evaluation.metrics import Floats, log_max_softmax

# Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022: 50 for CIFAR-10
NEIGHBOURS = 50
# ViM and fDBD are defined where a linear layer gives the logits back with at most this share of their spread as error
LINEAR = 1e-3
# Liu et al., CVPR 2023
GEN_POWER, GEN_CLASSES = 0.1, 100
# Park et al., ICCV 2023
GUIDES = 10
# a feature of zeros has no direction and stays zero
LEAST_LENGTH = 1e-12
# pytorch-ood's guard in fDBD for a clip at the training mean
LEAST_AWAY = 1e-8
CHUNK = 1024
NOT_LINEAR = "the logits are not linear in the feature (residual {:.2g} of their spread)"


class Parts(NamedTuple):
    """A run's clips as the scores need them; n training clips, m test clips, K classes, d features.

    Attributes
    ----------
    logits : (n + m, K) float64
    features : (n + m, d) float64
    train : (n + m,) bool
    label : (n,) int64
        Class ids of the training clips.
    """

    logits: Floats
    features: Floats
    train: NDArray[np.bool_]
    label: NDArray[np.int64]


# (n + m,) values or None, and a note
FeatureScore = Callable[[Parts], tuple[Floats | None, str]]


def negative_entropy(logits: Floats) -> Floats:
    """Minus the entropy of the softmax, (n,); exact for probabilities that round to 0 or 1."""
    log_p = logits - logits.max(axis=1, keepdims=True) + log_max_softmax(logits)[:, None]
    return (np.exp(log_p) * log_p).sum(axis=1)


def max_logit(logits: Floats) -> Floats:
    """Largest raw logit (Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", 2022)."""
    return logits.max(axis=1)


def negative_energy(logits: Floats) -> Floats:
    """Log-sum-exp of the logits (Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020), T = 1."""
    return logsumexp(logits, axis=1)


def generalised_entropy(logits: Floats) -> Floats:
    """Minus the sum of (p (1 - p))^0.1 over the 100 likeliest classes (Liu et al., "GEN", CVPR 2023)."""
    whole = logsumexp(logits, axis=1, keepdims=True)
    # 1 - p is the sum of the other classes, which keeps its value where p rounds to 1
    others = np.where(np.eye(logits.shape[1], dtype=bool), -np.inf, logits[:, None, :])
    terms = np.exp(GEN_POWER * (logits + logsumexp(others, axis=2) - 2 * whole))
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :GEN_CLASSES]
    return -np.take_along_axis(terms, likeliest, axis=1).sum(axis=1)


def mahalanobis(parts: Parts) -> tuple[Floats, str]:
    """Minus half the squared distance to the nearest class mean, shared covariance (Lee et al., NeurIPS 2018).

    The covariance is the scatter matrix plus 1e-6 on its diagonal: n times the covariance, which gives the same order.
    """
    train, d = parts.features[parts.train], parts.features.shape[1]
    classes = np.unique(parts.label)
    means = [train[parts.label == k].mean(axis=0) for k in classes]
    centred = [train[parts.label == k] - mean for k, mean in zip(classes, means, strict=True)]
    precision = np.linalg.inv(sum((part.T @ part for part in centred), np.zeros((d, d))) + 1e-6 * np.eye(d))
    apart = [parts.features - mean for mean in means]
    distance = np.min([((part @ precision) * part).sum(axis=1) for part in apart], axis=0)
    n, rank = len(train), len(train) - len(classes)
    singular = f"the covariance of {n} training clips in {d} dimensions is singular, its ridge of 1e-6 decides"
    return -0.5 * distance, singular if rank < d else ""


def relative_mahalanobis(parts: Parts) -> tuple[Floats, str]:
    """`mahalanobis` less the same for all training clips as one class (Ren et al., 2021).

    "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection". Both matrices are sums, not means.
    """
    nearest, note = mahalanobis(parts)
    whole, _ = mahalanobis(parts._replace(label=np.zeros_like(parts.label)))
    return nearest - whole, note


def mahalanobis_l2(parts: Parts) -> tuple[Floats, str]:
    """`mahalanobis` of features at unit length (Mueller and Hein, "Mahalanobis++", ICML 2025)."""
    return mahalanobis(parts._replace(features=unit_length(parts.features)))


def unit_length(features: Floats) -> Floats:
    """Features (n, d) over their length."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), LEAST_LENGTH)


def nearest_neighbours(parts: Parts) -> tuple[Floats, str]:
    """Minus the distance to the 50th nearest training clip, unit length (Sun et al., 2022); all clips where fewer."""
    k = min(NEIGHBOURS, int(parts.train.sum()))
    return _minus_distance(parts, k), "" if k == NEIGHBOURS else f"k = {k}, all training clips"


def nearest_of_class(wanted: int) -> FeatureScore:
    """The same for the `wanted`th nearest, and at most as many as the smallest class has training clips."""

    def score(parts: Parts) -> tuple[Floats, str]:
        smallest = int(np.unique(parts.label, return_counts=True)[1].min())
        k = min(wanted, smallest)
        return _minus_distance(parts, k), "" if k == wanted else f"k = {k}, the clips of the smallest class"

    return score


def _minus_distance(parts: Parts, k: int) -> Floats:
    unit = unit_length(parts.features)
    distances, _ = NearestNeighbors(n_neighbors=k).fit(unit[parts.train]).kneighbors(unit)
    return -distances[:, -1]


def nnguide(parts: Parts) -> tuple[Floats, str]:
    """Energy times the mean of its 10 largest products with training clips (Park et al., "NNGuide", ICCV 2023).

    A product is the cosine of two features times the training clip's energy; all training clips are in the bank.
    """
    energy, unit = negative_energy(parts.logits), unit_length(parts.features)
    bank = (unit * energy[:, None])[parts.train]
    k = min(GUIDES, len(bank))
    # in chunks: all products at once would be clips times training clips
    chunks = (unit[start : start + CHUNK] @ bank.T for start in range(0, len(unit), CHUNK))
    guidance = np.concatenate([np.partition(products, -k, axis=1)[:, -k:].mean(axis=1) for products in chunks])
    notes = [f"k = {k}, all training clips"] * (k < GUIDES)
    below = int((energy < 0).sum())
    notes += [f"the energy of {below} clips is below 0, where the product turns its order"] * (below > 0)
    return guidance * energy, "; ".join(notes)


def vim(parts: Parts) -> tuple[Floats | None, str]:
    """Energy minus the virtual logit (Wang et al., "ViM", CVPR 2022), in float64.

    The virtual logit is alpha times the norm of the feature, centred at -pinv(W) b, outside the training clips'
    principal subspace. No run stores W and b as such, so they are fitted by least squares of the logits on the training
    clips' features; where the logits are not linear in the feature, of the logits less their mean over the classes,
    which softmax does not see (ARPL's have a term in the feature's squared norm); else ViM is not defined.
    """
    if reason := _undetermined(parts):
        return None, reason
    for logits, note in ((parts.logits, ""), (_centred(parts.logits), "logits less their mean over the classes")):
        weight, bias, residual = last_layer(parts.features, logits, parts.train)
        if residual <= LINEAR:
            return vim_score(parts.features, parts.features[parts.train], weight, bias), note
    return None, NOT_LINEAR.format(residual)


def fdbd(parts: Parts) -> tuple[Floats | None, str]:
    """Mean distance to the other classes' boundaries, over that to the training mean (Liu and Qin, "fDBD", ICML 2024).

    The weights are those of a linear layer that is fitted as for `vim`; their differences, which alone count, do not
    see a term that all classes' logits have in common.
    """
    if reason := _undetermined(parts):
        return None, reason
    weight, _, residual = last_layer(parts.features, _centred(parts.logits), parts.train)
    if residual > LINEAR:
        return None, NOT_LINEAR.format(residual)
    count = len(weight)
    apart = np.linalg.norm(weight[:, None] - weight, axis=2) + np.eye(count)
    if not apart.all():
        return None, "two classes have the same weights, and no boundary"
    gaps = parts.logits.max(axis=1, keepdims=True) - parts.logits
    boundary = (gaps / apart[parts.logits.argmax(axis=1)]).sum(axis=1) / (count - 1)
    away = np.linalg.norm(parts.features - parts.features[parts.train].mean(axis=0), axis=1)
    return boundary / np.maximum(away, LEAST_AWAY), ""


def _undetermined(parts: Parts) -> str:
    """Why no linear layer can be fitted, or ''."""
    n, d = int(parts.train.sum()), parts.features.shape[1]
    return f"{n} training clips do not determine a linear layer on {d} features" if n <= d else ""


def _centred(logits: Floats) -> Floats:
    return logits - logits.mean(axis=1, keepdims=True)


def last_layer(features: Floats, logits: Floats, train: NDArray[np.bool_]) -> tuple[Floats, Floats, float]:
    """Weight (K, d) and bias (K,) fitted on the training clips, and the residual over all clips relative to spread."""
    inputs = np.column_stack([features, np.ones(len(features))])
    solution = np.asarray(np.linalg.lstsq(inputs[train], logits[train], rcond=None)[0], dtype=np.float64)
    spread = np.linalg.norm(logits - logits[train].mean(axis=0))
    residual = np.linalg.norm(inputs @ solution - logits)
    return solution[:-1].T, solution[-1], float(residual / spread) if spread > 0 else float("inf")


def principal_dimensions(d: int) -> int:
    """Size of ViM's principal subspace: 1,000 from 2,048 features, 512 from 768 (its authors' values), else half."""
    return 1000 if d >= 2048 else 512 if d >= 768 else d // 2


def vim_score(features: Floats, train: Floats, weight: Floats, bias: Floats) -> Floats:
    """Energy minus virtual logit, (n,), of features (n, d) with training features (t, d), W (K, d) and b (K,)."""
    origin = -np.linalg.pinv(weight) @ bias
    centred = train - origin
    # eigh sorts eigenvalues upwards, so the first vectors span the directions that training clips hardly use
    vectors = np.linalg.eigh(centred.T @ centred / len(train))[1]
    null = vectors[:, : train.shape[1] - principal_dimensions(train.shape[1])]
    alpha = (train @ weight.T + bias).max(axis=1).mean() / np.linalg.norm(centred @ null, axis=1).mean()
    virtual = alpha * np.linalg.norm((features - origin) @ null, axis=1)
    return logsumexp(features @ weight.T + bias, axis=1) - virtual


LOGIT_SCORES: dict[str, Callable[[Floats], Floats]] = {
    "max_softmax": log_max_softmax,
    "max_logit": max_logit,
    "energy": negative_energy,
    "entropy": negative_entropy,
    "gen": generalised_entropy,
}
FEATURE_SCORES: dict[str, FeatureScore] = {
    "mahalanobis": mahalanobis,
    "relative_mahalanobis": relative_mahalanobis,
    "mahalanobis_l2": mahalanobis_l2,
    "knn": nearest_neighbours,
    **{f"knn_{k}": nearest_of_class(k) for k in (1, 5, 10, 50)},
    "vim": vim,
    "nnguide": nnguide,
    "fdbd": fdbd,
}
