"""What the verbs' options have in common."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from hcep.errors import HcepError, closest

Arguments = argparse.Namespace
# adds a verb's options to its parser, and runs it
Verb = tuple[Callable[[argparse.ArgumentParser], None], Callable[[Arguments], None]]


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
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError("not an object: write {...}")
    return values


def add_paths(parser: argparse.ArgumentParser, *names: str, **options: Any) -> None:
    """Required options that are paths unless said otherwise."""
    for name in names:
        parser.add_argument(f"--{name}", required=True, **{"type": Path, **options})


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


def add_settings(parser: argparse.ArgumentParser, *keys: str, optional: Collection[str] = ()) -> None:
    """The option ``--settings`` with these keys, each of which must be there unless it is optional."""

    def read(text: str) -> dict[str, Any]:
        settings = settings_argument(text)
        try:
            check_keys(settings, keys, optional)
        except HcepError as error:
            raise argparse.ArgumentTypeError(f"{error.cause}; {error.remedy}") from error
        return settings

    named = ", ".join([*keys, *(f"{key} (optional)" for key in optional)])
    parser.add_argument(
        "--settings", type=read, required=True, metavar="JSON", help=f"JSON text, or a file of it, with {named}"
    )


def add_run_settings(parser: argparse.ArgumentParser) -> None:
    """The option ``--settings`` of a run, whose keys depend on its base method."""
    parser.add_argument(
        "--settings",
        type=settings_argument,
        required=True,
        metavar="JSON",
        help="JSON text, or a file of it, with what the loop and the method read",
    )
