"""What the verbs' options have in common."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error


def add_paths(parser: argparse.ArgumentParser, *names: str, **options: Any) -> None:
    """Required options that are paths unless said otherwise."""
    for name in names:
        parser.add_argument(f"--{name}", required=True, **{"type": Path, **options})


def add_settings(parser: argparse.ArgumentParser, keys: str) -> None:
    parser.add_argument(
        "--settings", type=settings_argument, required=True, metavar="JSON", help=f"JSON text or file with {keys}"
    )
