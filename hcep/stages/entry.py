"""What an entry of the table of stages is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

REQUIRED = object()


class Argument(NamedTuple):
    """One option of a verb, which is also an argument of its function.

    Attributes
    ----------
    name : str
        ``--name`` on the command line.
    help : str
        What `hcep VERB --help` says.
    place : str
        Where a rule of the workflow has the value, as ``input.scores``; '' for an option that no rule sets.
    kind : callable
        From the text on the command line to the value; `bool` for an option without one, which is true where given.
    default
        `REQUIRED`, or the value of an option that is left out.
    nargs : str, int or None
        As `argparse` takes it: '+' one or more, '*' any number.
    metavar : str or None
        What the help shows for the value.
    positional : bool
        Written without its name, and may be left out.
    """

    name: str
    help: str = ""
    place: str = ""
    kind: Callable[[str], Any] = Path
    default: Any = REQUIRED
    nargs: str | int | None = None
    metavar: str | None = None
    positional: bool = False


class Keys(NamedTuple):
    """The settings of a stage: fields of a model of `hcep.config`, all of which must be given, and others that may be.

    Without names the whole model is taken, and every field that has a default may be left out.
    """

    model: str
    names: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


class Stage(NamedTuple):
    """One verb.

    Attributes
    ----------
    function : str
        ``"module:function"``; it takes the arguments by name.
    help : str
        One sentence for ``hcep --help``.
    arguments : tuple of Argument
    keys : Keys or None
        Settings with fixed names, which the function takes by name; see `hcep.verbs.options`.
    code : tuple of str
        Modules whose digest the rule compares, apart from those of a method, an adapter or a figure; the function's
        own where none is named.
    """

    function: str
    help: str
    arguments: tuple[Argument, ...]
    keys: Keys | None = None
    code: tuple[str, ...] = ()


def reads(name: str, text: str, place: str = "", **more: Any) -> Argument:
    """A file that the rule has as an input of this name."""
    return Argument(name, text, place or f"input.{name}", **more)


def writes(name: str, text: str, place: str = "") -> Argument:
    """A file that the rule has as an output of this name."""
    return Argument(name, text, place or f"output.{name}")


def names(name: str, text: str = "", **more: Any) -> Argument:
    """A name that the rule has as a wildcard."""
    return Argument(name, text, f"wildcards.{name}", str, **more)


def value(name: str, text: str, kind: Callable[[str], Any] = str, default: Any = REQUIRED, **more: Any) -> Argument:
    """A value that the rule has as a parameter of this name."""
    return Argument(name, text, more.pop("place", f"params.{name}"), kind, default, **more)


def option(name: str, text: str, **more: Any) -> Argument:
    """An option for people, which no rule sets."""
    return Argument(name, text, "", **more)


DATASET, EVALUATION = "hcep.config.entries:Dataset", "hcep.config.entries:Evaluation"
SETTINGS = value("settings", "JSON text, or a file of it", metavar="JSON")
