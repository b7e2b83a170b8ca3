"""Names that a user writes in the config, and the classes behind them, loaded on use.

Strings, not imports: adding an entry here changes no other stage's code digest and costs nothing at start-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple, TypeVar

from hcep.errors import HcepError, closest

T = TypeVar("T")

DATASETS: Final = {
    "cmu_mosei": "hcep.datasets.cmu_mosei:CmuMosei",
    "crema_d": "hcep.datasets.crema_d:CremaD",
    "mafw": "hcep.datasets.mafw:Mafw",
    "manifest": "hcep.datasets.manifest:Manifest",
    "meld": "hcep.datasets.meld:Meld",
    "ov_merd": "hcep.datasets.ov_merd:OvMerd",
    "ravdess": "hcep.datasets.ravdess:Ravdess",
}


class FigureEntry(NamedTuple):
    """A figure: its function(sources, task), which returns it with its data, and the files that it reads.

    They are files of every run of a task, or with `of_task` files of the task itself. With `one_split` they are those
    of one run a method: the most open level, its first split and seed. With `media` the figure also reads the clips:
    the index and the shards of the task's datasets. Without `by_default` plain `snakemake` does not draw it. `shows`
    is its name for people, in a few words.
    """

    target: str
    shows: str
    reads: tuple[str, ...]
    of_task: bool = False
    by_default: bool = True
    one_split: bool = False
    media: bool = False


FIGURES: Final = {
    "calibration": FigureEntry(
        "hcep.figures.calibration:calibration_figure", "calibration", ("scores.h5", "thresholds.csv", "metrics.json")
    ),
    "fig5": FigureEntry(
        "hcep.figures.fig5:fig5_figure",
        "example clips and decisions",
        ("scores.h5", "thresholds.csv"),
        by_default=False,
        one_split=True,
        media=True,
    ),
    "fig6": FigureEntry(
        "hcep.figures.fig6:fig6_figure",
        "t-SNE, one known and one unknown class",
        ("scores.h5",),
        by_default=False,
        one_split=True,
    ),
    "fig7": FigureEntry("hcep.figures.fig7:fig7_figure", "scores of known and unknown clips", ("scores.h5",)),
    "fig8": FigureEntry(
        "hcep.figures.fig8:fig8_figure", "t-SNE of all classes", ("scores.h5",), by_default=False, one_split=True
    ),
    "fig9": FigureEntry("hcep.figures.fig9:fig9_figure", "curves over all thresholds", ("scores.h5", "metrics.json")),
    "fig10": FigureEntry("hcep.figures.fig10:fig10_figure", "one fixed threshold", ("thresholds.csv", "metrics.json")),
    "fig11": FigureEntry("hcep.figures.fig11:fig11_figure", "confusion matrices", ("scores.h5", "metrics.json")),
    "forest": FigureEntry(
        "hcep.figures.forest:forest_figure", "paired differences", ("comparisons.csv",), of_task=True
    ),
    "movement": FigureEntry(
        "hcep.figures.movement:movement_figure", "movement of the prompts", ("history.csv", "metrics.json")
    ),
    "openness": FigureEntry(
        "hcep.figures.openness:openness_figure", "AUROC and OSCR by openness", ("summary.csv",), of_task=True
    ),
    "posthoc": FigureEntry(
        "hcep.figures.posthoc:posthoc_figure",
        "other scores of the same runs",
        ("posthoc.csv",),
        of_task=True,
        by_default=False,
    ),
    "robustness": FigureEntry(
        "hcep.figures.robustness:robustness_figure",
        "disturbed test clips",
        ("robustness.csv",),
        of_task=True,
        by_default=False,
    ),
    "training": FigureEntry("hcep.figures.training:training_figure", "training", ("history.csv", "metrics.json")),
}

# drawn from a table of the paper instead of a task
TABLE_FIGURES: Final = {"fig4": "hcep.figures.fig4:fig4_figure"}


def pick(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of a table; an unknown name is an HcepError that offers the nearest one."""
    if name not in table:
        near = closest(name, table)
        hint = f"did you mean {near!r}? " if near else ""
        raise HcepError(f"there is no {kind} {name!r}", remedy=f"{hint}known: {', '.join(sorted(table))}")
    return table[name]


def dataset(adapter: str) -> str:
    """The ``"module:Class"`` string of a dataset adapter."""
    return pick("dataset adapter", adapter, DATASETS)


def module_of(target: str) -> str:
    """The module in a ``"module:Class"`` string."""
    return target.partition(":")[0]


def load(target: str) -> Any:
    """Import and return the class behind a ``"module:Class"`` string."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
