"""Post-hoc open-set scores of a trained run, from its logits and features alone: nothing is trained again.

All scores are computed in float64 by the definitions of pytorch-ood's detectors (0.4.0), the tests' reference. Three of
its detectors lose what open-set ranks need: its max-softmax is the probability, which rounds to 1; its entropy clips
probabilities at 1e-7, which ties confident clips; its ViM is float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.neighbors import NearestNeighbors

from hcep.errors import HcepError
from hcep.evaluation.bootstrap import CONFIDENCE, REPLICATES, bootstrap, interval
from hcep.evaluation.metrics import Floats, log_max_softmax, open_set, open_set_metrics
from hcep.evaluation.scores import FEATURES, IDENTITY, Scores, group_keys, read_scores
from hcep.files import shown_columns, write_table

METRICS = ("auroc", "oscr", "fpr95")
OWN = "own"
COLUMNS = (
    *(*IDENTITY, "score", "feature"),
    *(f"{name}{part}" for name in METRICS for part in ("", "_lo", "_hi")),
    *("note", "text_kind", "stand_in", "selection"),
)
# Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022: 50 for CIFAR-10
NEIGHBOURS = 50
# ViM is defined where a linear layer gives the logits back with at most this error, as a share of their spread
LINEAR = 1e-3


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


def posthoc(
    scores: str | Path,
    output: str | Path,
    *,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> None:
    """Write the metrics of every post-hoc score of one run, beside the method's own score (row ``own``).

    Fitted are Mahalanobis, nearest neighbours and ViM, on the known training clips' fused feature, or on the modalities
    joined where a method stores no fused one. Test clips decide nothing but whether ViM's linear layer fits. OSCR takes
    the method's own predictions, whatever the score.

    ``posthoc.csv`` has one row a score, in percent, with the intervals of the run's own bootstrap draws. A score that
    is not defined for the run has empty cells and says why in `note`.

    Raises
    ------
    HcepError
        The scores file is unusable, a feature or a score is not finite, or a known class has no training clip.
    """
    source = Path(scores)
    run = read_scores(source)
    test = run.part == "test"
    groups = group_keys(run)[test]
    identity: dict[str, Any] = {name: getattr(run, name) for name in IDENTITY}
    identity |= {"text_kind": run.text_kind, "stand_in": "true" if run.stand_in else "false"}
    identity |= {"selection": run.settings.get("selection", ""), **({"faces": run.faces} if run.faces else {})}
    rows = []
    for name, feature, values, note in _all_scores(run, source):
        row = identity | {"score": name, "feature": feature, "note": note}
        if values is not None:
            bad = ~np.isfinite(values)
            if bad.any():
                cause, place = f"post-hoc score {name} is not finite for {bad.sum()} clips", run.clip[bad.argmax()]
                raise HcepError(cause, file=source, row=f"clip {place}", remedy="look for a diverged run")
            data = open_set(run)._replace(score=values[test])
            draws = bootstrap(data, groups, replicates=replicates, seed=seed)
            found = open_set_metrics(data)
            for metric in METRICS:
                low, high = interval(draws.values[metric], confidence)
                shown = {"": found[metric], "_lo": low, "_hi": high}
                row |= {f"{metric}{part}": f"{100 * value:.4f}" for part, value in shown.items()}
        rows.append(row)
    write_table(output, shown_columns(COLUMNS, rows), rows)


def _all_scores(run: Scores, source: Path) -> Iterator[tuple[str, str, Floats | None, str]]:
    """Name, feature, (clips,) values or None, and note of every score, in the order of the table."""
    yield OWN, "", run.score, ""
    for name, of_logits in LOGIT_SCORES.items():
        yield name, "logits", of_logits(run.logits), ""
    feature, features = pooled_feature(run)
    if not len(features):
        for name in FEATURE_SCORES:
            yield name, "", None, "no feature is stored"
        return
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        cause = f"feature {feature} is not finite, so {', '.join(FEATURE_SCORES)} cannot be computed"
        raise HcepError(cause, file=source, row=f"clip {run.clip[bad.argmax()]}", remedy="train the run again")
    train = run.part == "train"
    names = run.label[train].tolist()
    label = np.array([run.classes.index(name) for name in names], dtype=np.int64)
    absent = sorted(set(run.classes) - set(names))
    if absent:
        raise HcepError(f"no training clip of {absent[0]} to fit mahalanobis", file=source, remedy="score again")
    parts = Parts(run.logits, features, train, label)
    for name, of_features in FEATURE_SCORES.items():
        values, note = of_features(parts)
        yield name, feature, values, note


def pooled_feature(run: Scores) -> tuple[str, Floats]:
    """The fused feature, or the modalities' features side by side; name and (n, d) float64, (0, 0) without any."""
    names = ["fused"] if "fused" in run.features else [name for name in FEATURES if name in run.features]
    if not names:
        return "", np.zeros((0, 0))
    return "+".join(names), np.concatenate([run.features[name] for name in names], axis=1).astype(np.float64)


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


def nearest_neighbours(parts: Parts) -> tuple[Floats, str]:
    """Minus the distance to the 50th nearest training clip, unit length (Sun et al., 2022); all clips where fewer."""
    k = min(NEIGHBOURS, int(parts.train.sum()))
    length = np.linalg.norm(parts.features, axis=1, keepdims=True)
    # a feature of zeros has no direction and stays zero
    unit = parts.features / np.maximum(length, 1e-12)
    distances, _ = NearestNeighbors(n_neighbors=k).fit(unit[parts.train]).kneighbors(unit)
    return -distances[:, -1], "" if k == NEIGHBOURS else f"k = {k}, all training clips"


def vim(parts: Parts) -> tuple[Floats | None, str]:
    """Energy minus the virtual logit (Wang et al., "ViM", CVPR 2022), in float64.

    The virtual logit is alpha times the norm of the feature, centred at -pinv(W) b, outside the training clips'
    principal subspace. No run stores W and b as such, so they are fitted by least squares of the logits on the training
    clips' features; where the logits are not linear in the feature, of the logits less their mean over the classes,
    which softmax does not see (ARPL's have a term in the feature's squared norm); else ViM is not defined.
    """
    n, d = int(parts.train.sum()), parts.features.shape[1]
    if n <= d:
        return None, f"{n} training clips do not determine a linear layer on {d} features"
    centred = parts.logits - parts.logits.mean(axis=1, keepdims=True)
    for logits, note in ((parts.logits, ""), (centred, "logits less their mean over the classes")):
        weight, bias, residual = last_layer(parts.features, logits, parts.train)
        if residual <= LINEAR:
            return vim_score(parts.features, parts.features[parts.train], weight, bias), note
    return None, f"the logits are not linear in the feature (residual {residual:.2g} of their spread)"


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
}
FEATURE_SCORES: dict[str, Callable[[Parts], tuple[Floats | None, str]]] = {
    "mahalanobis": mahalanobis,
    "knn": nearest_neighbours,
    "vim": vim,
}
