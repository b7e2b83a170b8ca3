"""Features of test clips in the plane by t-SNE, and the two numbers that say the same without it.

Features are taken as directions: divided by their length, so that every distance is the cosine distance.

Shapes: n clips, d width of a feature, K known classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from sklearn.metrics import roc_auc_score, silhouette_score
from threadpoolctl import threadpool_limits

from hcep.errors import HcepError
from hcep.evaluation.scores import Scores
from hcep.figures.one_split import identity
from hcep.figures.run_files import Floats

PERPLEXITY = 30.0
SEED = 0
# of more test clips than this, so many are drawn at random; the numbers take all
MOST = 1000
# with fewer the perplexity would be below 1
LEAST = 4
COLUMNS = (
    *("task", "method", "openness", "split", "seed", "feature", "dataset", "clip", "label", "known", "x", "y"),
    *("silhouette", "auroc", "clips", "perplexity", "stand_in"),
)
# modality -> the flag of a clip that lacks it
_LACKS = {"text": "no_text", "vision": "no_video", "audio": "no_audio"}


class Picture(NamedTuple):
    """One panel: m drawn clips of one feature.

    Attributes
    ----------
    methods : tuple of str
        Those whose features are the same numbers; `run` is the first one's.
    run : Scores
    feature : str
    drawn : (m,) intp
        Positions in `run`.
    place : (m, 2) float64
        Where t-SNE puts them; only which clips are neighbours means something.
    silhouette : float or None
        Mean silhouette of the clips in their classes, -1 to 1, by cosine distance (Rousseeuw 1987); None where fewer
        than two classes have a clip.
    auroc : float
        Known against unknown by the cosine distance to the nearest mean of a known class's training clips, in percent.
    clips : int
        How many clips the two numbers are taken over.
    perplexity : float
    """

    methods: tuple[str, ...]
    run: Scores
    feature: str
    drawn: NDArray[np.intp]
    place: Floats
    silhouette: float | None
    auroc: float
    clips: int
    perplexity: float


def with_feature(run: Scores, feature: str, clips: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of these clips that have the modality; the fused feature all have."""
    flag = _LACKS.get(feature)
    return np.array([at for at in clips if flag not in run.flags[at].split(";")], dtype=np.intp)


def picture(
    run: Scores, feature: str, clips: NDArray[np.intp], methods: tuple[str, ...], *, clustered: NDArray[np.bool_]
) -> Picture:
    """Put clips of one run into the plane and take the two numbers.

    Parameters
    ----------
    clips : (n,) intp
        Positions of known and unknown test clips that have the feature.
    methods : tuple of str
        Those that have the same numbers as `run`, itself included.
    clustered : (n,) bool
        Those whose silhouette in their classes is taken.

    Raises
    ------
    HcepError
        A feature is not finite, there are fewer than `LEAST` clips, none is known or none unknown, or no known training
        clip has the feature.
    """
    place = f"{feature} of {run.method}, {run.openness}, {run.split}"
    trained = with_feature(run, feature, np.flatnonzero(run.part == "train"))
    for cause, wrong in (
        (f"{len(clips)} test clips have {place}, and t-SNE needs {LEAST}", len(clips) < LEAST),
        (f"no known, or no unknown test clip has {place}", len(set(run.known[clips])) < 2),
        (f"no training clip has {place}", not len(trained)),
    ):
        if wrong:
            raise HcepError(cause, remedy="choose a task with more test clips that have this modality")
    unit, means = _directions(run, feature, clips), _class_means(run, feature, trained)
    drawn = np.arange(len(clips))
    if len(clips) > MOST:
        drawn = np.sort(np.random.default_rng(SEED).choice(len(clips), MOST, replace=False))
    perplexity = min(PERPLEXITY, (len(drawn) - 1) / 3)
    return Picture(
        methods=methods,
        run=run,
        feature=feature,
        drawn=clips[drawn],
        place=_plane(unit[drawn], perplexity),
        silhouette=_silhouette(unit[clustered], run.label[clips][clustered]),
        auroc=100 * float(roc_auc_score(run.known[clips], (unit @ means.T).max(axis=1))),
        clips=len(clips),
        perplexity=perplexity,
    )


def _directions(run: Scores, feature: str, clips: NDArray[np.intp]) -> Floats:
    """Features over their length, (n, d); a feature of zeros stays zero."""
    values = run.features[feature][clips].astype(np.float64)
    broken = ~np.isfinite(values).all(axis=1)
    if broken.any():
        cause, clip = f"a {feature} feature of {run.method} is not finite", run.clip[clips[broken.argmax()]]
        raise HcepError(cause, row=f"clip {clip}", remedy="look for a diverged training run")
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def _class_means(run: Scores, feature: str, trained: NDArray[np.intp]) -> Floats:
    """Mean direction of every known class that has a training clip, (K, d)."""
    unit, label = _directions(run, feature, trained), run.label[trained]
    means = np.array([unit[label == name].mean(axis=0) for name in run.classes if (label == name).any()])
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def _plane(unit: Floats, perplexity: float) -> Floats:
    if not np.ptp(unit, axis=0).any():
        # all are one point; t-SNE would divide by their spread
        return np.zeros((len(unit), 2))
    # sums over several threads have no fixed order, and t-SNE makes a visible difference of the last digit
    with threadpool_limits(1):
        space = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=SEED, n_jobs=1)
        return np.asarray(space.fit_transform(unit), dtype=np.float64)


def _silhouette(unit: Floats, label: NDArray[np.str_]) -> float | None:
    classes = len(set(label))
    return float(silhouette_score(unit, label, metric="cosine")) if 1 < classes < len(label) else None


def numbers(shown: Picture) -> str:
    """The two numbers of a panel in words."""
    silhouette = "none" if shown.silhouette is None else f"{shown.silhouette:.2f}".replace("-", "−")
    return f"silhouette {silhouette}, AUROC {shown.auroc:.1f}"


def scatter(axes: Axes, shown: Picture, own: NDArray[np.bool_], *, name: str, size: float, **style: Any) -> None:
    """Those of the drawn clips, (m,) bool, that have this name in the legend."""
    # thousands of outlines would make the file large; a small picture of them does not
    x, y = shown.place[own].T
    axes.scatter(x, y, s=size, label=name, rasterized=len(shown.drawn) > MOST // 2, **style)


def bare(axes: Axes) -> None:
    """A frame without ticks: places and distances have no unit."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.margins(0.06)
    axes.spines[:].set_visible(True)


def picture_rows(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """The table of a figure: a row per drawn clip of every panel and method, with the numbers of the panel."""
    rows = []
    for shown in pictures:
        run = shown.run
        panel = {
            "silhouette": "" if shown.silhouette is None else round(shown.silhouette, 4),
            "auroc": round(shown.auroc, 2),
            "clips": shown.clips,
            "perplexity": round(shown.perplexity, 2),
            "stand_in": str(run.stand_in).lower(),
        }
        for method in shown.methods:
            for at, (x, y) in zip(shown.drawn, shown.place, strict=True):
                clip = {name: str(getattr(run, name)[at]) for name in ("dataset", "clip", "label")}
                clip |= {"known": str(bool(run.known[at])).lower()}
                place = {"x": round(float(x), 3), "y": round(float(y), 3)}
                rows.append(identity(run) | {"method": method, "feature": shown.feature} | clip | place | panel)
    return rows
