"""Names that a user writes in the config, and the classes behind them, loaded on use.

Strings, not imports: adding an entry here changes no other stage's code digest and costs nothing at start-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, Literal, NamedTuple, TypeVar

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


class MethodEntry(NamedTuple):
    """A base method: class, what it reads (media, or the features that `encode` caches), and its own settings.

    `features_of` names the encoder whose features the user supplies in a file, for methods on none of ours. `learns` is
    False for a method that takes no step, which then reads none of `LEARNING_SETTINGS`; a method that learns or not by
    a setting of its own has that setting's name there.
    """

    target: str
    inputs: Literal["media", "features"]
    settings: tuple[str, ...]
    features_of: str = ""
    learns: bool | str = True

    @property
    def readable(self) -> frozenset[str]:
        """All settings of a run, the loop's included."""
        return frozenset({*LOOP_SETTINGS, *self.settings}) - (frozenset() if self.learns else LEARNING_SETTINGS)

    def learns_with(self, settings: Mapping[str, Any]) -> bool:
        """Whether a run with these settings learns anything."""
        return bool(settings[self.learns]) if isinstance(self.learns, str) else self.learns


# what the training loop itself reads, for every method
LOOP_SETTINGS: Final = (
    "batch_size",
    "cuda_graphs",
    "device",
    "epochs",
    "lr",
    "lr_decay",
    "lr_step",
    "micro_batch",
    "momentum",
    "precision",
    "resident_gb",
    "selection",
    "weight_decay",
)

# those of the loop's settings that nothing reads where nothing is learned
LEARNING_SETTINGS: Final = frozenset({"epochs", "lr", "lr_decay", "lr_step", "momentum", "weight_decay"})

HCEP_SETTINGS: Final = (
    "audio_pool",
    "audio_prompt",
    "class_text",
    "class_text_prompted",
    "cosine_scale",
    "emo_features",
    "emo_points",
    "guide",
    "inference",
    "loss_reduction",
    "losses",
    "missing",
    "normalise_features",
    "pixel_normalisation",
    "point_features",
    "points",
    "prompt_lr_pixels",
    "prompt_lr_semantic",
    "prompt_step",
    "prompt_step_rms",
    "prompt_tokens",
    "prompt_words",
    "prompts",
    "sample_prompts",
    "score",
    "text_prompt",
    "vision_prompt",
    "words",
)

# every method of the config names one of these as its `base`; a method gets its settings and the loop's, no others
METHODS: Final = {
    "hcep": MethodEntry("hcep.methods.hcep:HCEP", "media", HCEP_SETTINGS),
    "arpl_mm": MethodEntry("hcep.methods.arpl_mm:ArplMM", "features", ("missing", "rival_score")),
    "linear": MethodEntry("hcep.methods.linear:Linear", "features", ("missing", "score")),
    "cpn_mm": MethodEntry(
        "hcep.methods.cpn_mm:CpnMM", "features", ("cpn_delta", "missing", "rival_optimiser", "rival_score")
    ),
    "lpl_mm": MethodEntry("hcep.methods.lpl_mm:LplMM", "features", ("missing", "rival_score")),
    "cssr_mm": MethodEntry("hcep.methods.cssr_mm:CssrMM", "features", ("cssr_logits", "missing", "rival_score")),
    "arpl": MethodEntry("hcep.methods.arpl:Arpl", "media", ("augmentation", "rival_score")),
    "cssr": MethodEntry(
        "hcep.methods.cssr:Cssr", "media", ("augmentation", "cssr_depth", "cssr_logits", "cssr_widen", "rival_score")
    ),
    "hesp": MethodEntry(
        "hcep.methods.hesp:HESP",
        "media",
        ("augmentation", "cosine_scale", "hesp_defects", "hesp_step_norm", "rival_score", "words"),
    ),
    "open_vclip": MethodEntry(
        "hcep.methods.open_vclip:OpenVclip",
        "media",
        ("augmentation", "cosine_scale", "fine_tune", "score", "words"),
        learns="fine_tune",
    ),
    "momke": MethodEntry("hcep.methods.momke:Momke", "features", ("rival_optimiser", "score")),
    "arpl_imagebind": MethodEntry(
        "hcep.methods.arpl_features:ArplImageBind", "features", ("missing", "rival_score"), "imagebind"
    ),
    "arpl_languagebind": MethodEntry(
        "hcep.methods.arpl_features:ArplLanguageBind", "features", ("missing", "rival_score"), "languagebind"
    ),
}

# figure name -> function(sources, output, *, title)
FIGURES: Final = {
    "curves": "hcep.figures.curves:draw_curves",
    "scores": "hcep.figures.score_histogram:draw_score_histogram",
    "summary_bars": "hcep.figures.summary_bars:draw_summary_bars",
    "training": "hcep.figures.training:draw_training",
    "thresholds": "hcep.figures.thresholds:draw_thresholds",
}

# drawn from a table of the paper instead of a task
TABLE_FIGURES: Final = {"fig4": "hcep.figures.fig4:draw_fig4"}


def pick(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of a table; an unknown name is an HcepError that offers the nearest one."""
    if name not in table:
        near = closest(name, table)
        hint = f"did you mean {near!r}? " if near else ""
        raise HcepError(f"there is no {kind} {name!r}", remedy=f"{hint}known: {', '.join(sorted(table))}")
    return table[name]


def method(base: str) -> MethodEntry:
    """The entry of a base method."""
    return pick("base method", base, METHODS)


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
