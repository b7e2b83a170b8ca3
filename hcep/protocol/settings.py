"""Config -> the settings of one run: defaults, then the task's, then the method's, then the task's for that method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hcep import registry
from hcep.errors import HcepError


def method_definition(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The entry of a method in ``methods``: ``base`` and what it changes."""
    return registry.pick("method", name, config["methods"])


def run_settings(config: Mapping[str, Any], task: str, name: str) -> dict[str, Any]:
    """Exactly the settings that a run of this method on this task reads, sorted.

    Raises
    ------
    HcepError
        When a task or method changes a setting that the method does not read, or leaves one without a value.
    """
    definition = method_definition(config, name)
    entry = registry.method(definition["base"])
    readable = entry.readable
    table = task_definition(config, task)
    own = {key: value for key, value in definition.items() if key not in ("base", "tune")}
    for key in definition.get("tune", {}):
        if key not in readable:
            raise HcepError(
                f"methods: {name} tunes {key!r}, which base {definition['base']!r} does not read",
                file="config",
                remedy=f"tune one of {', '.join(sorted(readable))}",
            )
    for place, values in ((f"methods: {name}", own), (f"{task}: method_settings: {name}", _own(table, name))):
        for key in values:
            if key not in readable:
                raise HcepError(
                    f"{place} sets {key!r}, which base {definition['base']!r} does not read",
                    file="config",
                    remedy=f"remove it; it reads {', '.join(sorted(readable))}",
                )
    merged = {**config["training"], **table.get("training", {}), **own, **_own(table, name)}
    merged["words"] = {label: config["words"].get(label, label) for label in table["labels"]}
    missing = readable - set(merged)
    if missing:
        raise HcepError(f"training has no value for {', '.join(sorted(missing))}", file="config")
    return {key: merged[key] for key in sorted(readable)}


def check_run(config: Mapping[str, Any], task: str, name: str) -> None:
    """Refuse no epochs where something is to be learnt, and epochs chosen on held-out clips where none are."""
    table, settings = task_definition(config, task), run_settings(config, task, name)
    entry = registry.method(method_definition(config, name)["base"])
    if settings.get("epochs") == 0 and entry.learns_with(settings):
        raise HcepError(f"{name} has epochs: 0, and would learn nothing", file="config", remedy="give it at least 1")
    if settings["selection"] == "val_known" and not (table.get("val_folds") or table.get("val_fraction")):
        raise HcepError(
            f"{name} has selection: val_known, which needs held-out clips",
            file="config",
            remedy="set the task's val_fraction or val_folds",
        )


def tuning_grid(config: Mapping[str, Any], name: str) -> dict[str, list[Any]]:
    """Setting -> values that a `<method>_tuned` run tries; empty for a method with fixed settings."""
    return dict(method_definition(config, name).get("tune", {}))


def task_datasets(config: Mapping[str, Any], task: str) -> list[str]:
    """The dataset entries that a task spans, one or several."""
    named = task_definition(config, task)["dataset"]
    return [named] if isinstance(named, str) else list(named)


def task_definition(config: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The entry of a task in ``task_definitions``."""
    return registry.pick("task", task, config["task_definitions"])


def task_names(config: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What a task calls its classes and folds, as `make_split` and `check_tasks` read it; defaults as in the schema."""
    table = task_definition(config, task)
    words = config.get("words", {})
    return {
        "labels": table["labels"],
        "other_labels": table.get("other_labels", []),
        "test_folds": table.get("test_folds", ["test"]),
        "train_folds": table.get("train_folds"),
        "val_folds": table.get("val_folds", []),
        "words": {label: words[label] for label in table["labels"] or () if label in words},
    }


def _own(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    return table.get("method_settings", {}).get(name, {})
