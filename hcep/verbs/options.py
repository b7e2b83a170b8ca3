"""Options of the command line, made from the table of stages, and the check of the settings that they carry."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcep import registry
from hcep.errors import HcepError, closest
from hcep.stages.entry import REQUIRED, Argument, Keys, Stage

if TYPE_CHECKING:
    from hcep.config.base import Settings

JSON = ("settings", "grid", "evaluation", "posthoc")


def add_stage(parser: argparse.ArgumentParser, stage: Stage) -> None:
    """Give the parser of a verb its options."""
    for argument in stage.arguments:
        _add(parser, argument, stage.keys if argument.name == "settings" else None)


def _add(parser: argparse.ArgumentParser, argument: Argument, keys: Keys | None) -> None:
    if argument.kind is bool:
        parser.add_argument(f"--{argument.name}", action="store_true", help=argument.help)
        return
    more: dict[str, Any] = {"help": argument.help, "type": argument.kind}
    if argument.name in JSON:
        more["type"] = settings_argument
    if keys is not None and (keys.names or keys.optional):
        named = ", ".join([*keys.names, *(f"{name} (optional)" for name in keys.optional)])
        more["help"] += f", with {named}"
    if argument.nargs is not None:
        more["nargs"] = argument.nargs
    if argument.metavar is not None:
        more["metavar"] = argument.metavar
    if argument.positional:
        parser.add_argument(argument.name, **{"nargs": "?", **more})
    elif argument.default is REQUIRED:
        parser.add_argument(f"--{argument.name}", required=True, **more)
    else:
        parser.add_argument(f"--{argument.name}", default=argument.default, **more)


def call(stage: Stage, given: Mapping[str, Any]) -> None:
    """Run a stage's function with the values of its options.

    Raises
    ------
    HcepError
        When its settings are not those that it reads, and whatever the function raises.
    """
    arguments = {name.replace("-", "_"): given[name.replace("-", "_")] for name, *_ in stage.arguments}
    if stage.keys is not None and arguments["settings"] is not None:
        arguments |= check_settings(arguments.pop("settings"), stage.keys)
    registry.load(stage.function)(**arguments)


def config_files(given: Sequence[Path]) -> list[Path]:
    """The files of a configuration: config/config.yaml, where it is there or no other is given, and those over it."""
    own = [path for path in [Path("config/config.yaml")] if path.is_file() or not given]
    return [*own, *given]


def settings_argument(text: str) -> dict[str, Any]:
    """Settings given as JSON, or as the path of a JSON file.

    Raises
    ------
    argparse.ArgumentTypeError
        When the text is neither.
    """
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise argparse.ArgumentTypeError(f"neither JSON nor a readable file: {error}") from error
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError("not an object: write {...}")
    return values


def check_settings(settings: Mapping[str, Any], keys: Keys) -> dict[str, Any]:
    """The settings of a stage, each with a value that it may have.

    Raises
    ------
    HcepError
        Naming the first key or value that may not be there, or that lacks.
    """
    model: type[Settings] = registry.load(keys.model)
    if not keys.names:
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        return check_model(settings, model, required, [*model.model_fields])
    return check_model(settings, model, keys.names, keys.optional)


def check_model(
    settings: Mapping[str, Any], model: type[Settings], required: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """Settings that must be there and settings that may be, all of them fields of a model."""
    from hcep.config.whole import check_value

    check_keys(settings, required, optional)
    for name, value in settings.items():
        try:
            check_value(model, name, value)
        except HcepError as error:
            raise HcepError(error.cause, file="--settings", remedy=error.remedy) from error
    return dict(settings)


def check_keys(settings: Mapping[str, Any], keys: Collection[str], optional: Collection[str] = ()) -> None:
    """Refuse settings that lack one of `keys`, or have one that is in neither.

    Raises
    ------
    HcepError
        Naming the first such key.
    """
    lacking = [key for key in keys if key not in settings]
    if lacking:
        raise HcepError(f"has no {lacking[0]!r}", file="--settings", remedy=f"give {', '.join(sorted(keys))}")
    unknown = [key for key in settings if key not in keys and key not in optional]
    if unknown:
        near = closest(unknown[0], [*keys, *optional])
        raise HcepError(
            f"{unknown[0]!r} is not read here",
            file="--settings",
            remedy=f"did you mean {near!r}?" if near else "remove it",
        )
