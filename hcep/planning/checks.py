"""Mistakes in a configuration that its declarations cannot see, found and explained before anything runs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hcep import registry
from hcep.config.base import Settings
from hcep.config.entries import Encoder
from hcep.config.methods import Changes, base_method
from hcep.config.tables import PaperTable
from hcep.config.whole import Config, check_value
from hcep.encoders.info import check_layers, read_info
from hcep.errors import HcepError
from hcep.evaluation.versus_paper import MEAN
from hcep.protocol.class_splits import check_class_splits
from hcep.protocol.openness import parse_openness


def check_config(config: Config) -> None:
    """Refuse names that lead nowhere and settings that contradict each other: Snakemake is silent about old outputs.

    Raises
    ------
    HcepError
        On the first mistake, with its place in the configuration.
    """
    for name, entry in config.datasets.items():
        place = f"datasets.{name}"
        target = _at(place, registry.dataset, entry.adapter)
        _at(place, registry.load(target), entry.root, entry.options | {"text": entry.text})
        for path in (
            entry.root,
            *(str(entry.options.get(key, "")) for key in ("file", "boxes")),
            *entry.features_files.values(),
        ):
            _at(place, _no_wildcard, path)
        for encoder_name in entry.features_files:
            _at(f"{place}.features_files", config.encoder, encoder_name)
    for name, encoder in config.encoders.items():
        if encoder.source == "import" and not encoder.width:
            remedy = "set `width` to the size of its features"
            raise HcepError("imported features need a width", file="config", row=f"encoders.{name}", remedy=remedy)
        _at(f"encoders.{name}", _audio_layers, encoder)
    for name, method in config.methods.items():
        _at(f"methods.{name}", base_method, method.base)
        _at(f"methods.{name}.tune", _tuned_values, method.tune)
        _at(f"methods.{name}", _own_encoder, config, name)
    labels = {label: name for name, task in config.task_definitions.items() for label in task.labels}
    for label in config.words:
        # one of another task, whose definition was removed, does no harm
        if label not in labels and difflib.get_close_matches(label, labels, n=1, cutoff=0.85):
            _at("words", registry.pick, "class", label, labels)
    for name in config.tasks:
        _at("tasks", config.task, name)
    for name in config.task_definitions:
        _check_task(config, name)
    for name, table in config.tables.items():
        _at(f"tables.{name}", _check_table, config, table)
    for name, other in config.table_tasks.items():
        for task in (name, other):
            _at("table_tasks", config.task, task)


def _check_task(config: Config, name: str) -> None:
    task, place = config.task_definitions[name], f"task_definitions.{name}"
    for dataset in task.dataset:
        _at(place, config.dataset, dataset)
    _at(place, config.encoder, task.encoder)
    if name in config.tasks:
        _at(place, _frames_fit_encoder, config, name)
    both = sorted({*task.labels} & {*task.other_labels})
    if both:
        cause = f"{both[0]!r} is in labels and in other_labels"
        raise HcepError(cause, file="config", row=place, remedy="keep it in one of them")
    for openness in task.openness:
        _at(f"{place}.openness", parse_openness, openness)
    for method in task.methods:
        _at(place, config.run_settings, name, method)
        if task.series:
            _at(f"{place}.series", _fits_series, config, method)
        if name in config.tasks:
            _at(place, _check_run, config, name, method)
    for method in task.method_settings:
        _at(f"{place}.method_settings", config.method, method)
    path = config.class_splits(name)
    _at(f"{place}.class_splits", _no_wildcard, path)
    if not Path(path).is_file():
        raise HcepError(
            f"task {name!r} has no file of class splits",
            file=path,
            remedy=f"draw them once with `hcep draw_splits --task {name} --labels ... --openness ... --output {path}`"
            ", or set the task's class_splits",
        )
    check_class_splits(path, task.openness, task.splits, task.labels)


def _at(key: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and say where in the config its error comes from."""
    try:
        return function(*arguments)
    except HcepError as error:
        raise HcepError(error.cause, file="config", row=key, remedy=error.remedy) from error


def _no_wildcard(path: str) -> None:
    """Refuse a path of the config that is to be an input of a rule and that Snakemake would read as a pattern."""
    if re.search(r"\{.*\}", path, re.DOTALL):
        raise HcepError(
            f"the path {path!r} has {{ and }} in it, which Snakemake reads as a wildcard",
            remedy="rename it, or lay a link to it whose path has none",
        )


def _tuned_values(grid: dict[str, list[Any]]) -> None:
    """Refuse values to try that their setting may not have."""
    for key in {"device", "selection"} & set(grid):
        raise HcepError(f"{key} cannot be tuned", remedy="give it one value; what is tuned is judged by accuracy")
    for key, values in grid.items():
        for value in values if key in Changes.model_fields else ():
            check_value(Changes, key, value)


def _audio_layers(encoder: Encoder) -> None:
    """Refuse layers that the package's encoder does not have, and any choice of them for imported features."""
    if encoder.source == "import" and encoder.audio_layers != "last":
        remedy = "remove the key, and choose the layers where the features are made"
        raise HcepError("imported features have no audio_layers to choose from", remedy=remedy)
    # others are asked when they are fetched
    if encoder.source == "package" and encoder.audio_layers != "last":
        weights = Path(registry.__file__).parent / "demo/weights"
        check_layers(read_info(weights) | {"audio_layers": encoder.audio_layers})


def _own_encoder(config: Config, name: str) -> None:
    """Refuse an encoder of a method that has none of its own: only cached features can be those of another encoder."""
    encoder = config.method(name).encoder
    if encoder is None:
        return
    config.encoder(encoder)
    if config.base(name).inputs != "features":
        raise HcepError(
            f"base {config.method(name).base!r} reads frames, sound and words, and takes the encoder of its task",
            remedy="remove `encoder`, or set that of the task",
        )


def _check_run(config: Config, task: str, name: str) -> None:
    """Refuse what a run would lack: epochs, held-out clips to choose one by, media, or weights of audio layers."""
    config.encoder_of(task, name)
    table, values = config.task(task), config.run_settings(task, name)
    settings: Settings = config.base(name).model_validate(values)
    if values.get("epochs") == 0 and settings.learns:  # type: ignore[attr-defined]
        raise HcepError(f"{name} has epochs: 0, and would learn nothing", file="config", remedy="give it at least 1")
    if values.get("selection") == "val_known" and not (table.val_folds or table.val_fraction):
        raise HcepError(
            f"{name} has selection: val_known, which needs held-out clips",
            file="config",
            remedy="set the task's val_fraction or val_folds",
        )
    base, encoder = config.base(name), config.encoder_of(task, name)
    if (base.inputs == "media" or base.text_tower) and config.encoder(encoder).source == "import":
        reads = "frames, sound and words" if base.inputs == "media" else "words with the encoder"
        raise HcepError(
            f"{name} reads {reads}, and encoder {encoder} is a file of features",
            remedy="give the task another encoder, or run only methods on cached features",
        )


def _fits_series(config: Config, method: str) -> None:
    """Refuse, in a job of many runs, a method whose runs are long or ask for a job before them."""
    if method not in config.series_methods():
        why = "tunes its settings" if config.method(method).tune else "reads frames, sound and words"
        remedy = "remove it from this task, or remove `series`"
        raise HcepError(f"{method} {why}, and its runs cannot share a job", remedy=remedy)


def _frames_fit_encoder(config: Config, name: str) -> None:
    """Refuse a size of frames that the encoder does not take, where the encoder is there to be asked."""
    encoder = config.task(name).encoder
    folder = Path(f"resources/encoders/{encoder}")
    if config.encoder(encoder).source == "package":
        folder = Path(registry.__file__).parent / "demo/weights"
    if config.encoder(encoder).source == "import" or not (folder / "encoder.json").is_file():
        return
    side = read_info(folder)["clip"]["vision_cfg"]["image_size"]
    for dataset in config.task(name).dataset:
        size = config.dataset(dataset).size
        if size != side:
            raise HcepError(
                f"dataset {dataset} has frames of size {size}, encoder {encoder} takes {side}",
                remedy=f"set the dataset entry's size to {side}, or choose another encoder",
            )


def _check_table(config: Config, table: Any) -> None:
    """Refuse a table of tasks or methods that are not there."""
    for method in table.methods():
        config.method(method)
    for task in table.tasks():
        config.task(task)
    if not isinstance(table, PaperTable):
        return
    # a level that the task does not have leaves a cell empty, with its reason
    for _, openness in table.places():
        if openness != MEAN:
            parse_openness(openness)
    for metric in table.costs:
        registry.pick("metric of this table", metric, table.metrics)
