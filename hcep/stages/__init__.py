"""The one table of stages: what a verb is called, which function it runs, its arguments, and the code that it covers.

The command line makes its options from this table, and the workflow its commands and digests of code. Functions and
modules are named, not imported, so that reading the table costs nothing.
"""

from __future__ import annotations

from hcep.stages.data import DATA
from hcep.stages.entry import Stage
from hcep.stages.people import PEOPLE
from hcep.stages.results import RESULTS
from hcep.stages.runs import RUNS

STAGES: dict[str, Stage] = DATA | RUNS | RESULTS | PEOPLE


def shell_command(verb: str) -> str:
    """The command of a rule: ``hcep VERB`` with every argument that the rule has a value for, and its log."""
    words = ["hcep", verb]
    for argument in STAGES[verb].arguments:
        if not argument.place:
            continue
        plain = argument.place == "threads" or (argument.kind is int and argument.place.startswith("params."))
        filled = f"{{{argument.place}}}" if plain else f"{{{argument.place}:q}}"
        words += [filled] if argument.positional else [f"--{argument.name}", filled]
    return " ".join([*words, "2> {log:q}"])
