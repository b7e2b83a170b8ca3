"""Words of Snakemake's command line that it would take for something else, or leave out, without a word."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from hcep.errors import HcepError

# as far as Snakemake itself lets the option be shortened
OPTION = "--configf"
OUTPUTS = ("results", "resources", "logs", "work")
# no rule writes a file of these kinds, so one in a folder of outputs is a configuration that somebody keeps there
CONFIGURATIONS = (".yaml", ".yml")


def check_command_line(words: Sequence[str]) -> None:
    """Refuse a second ``--configfile`` and an output behind one; `words` are those behind ``snakemake``.

    Raises
    ------
    HcepError
        Snakemake reads the last ``--configfile`` alone, and every word behind it as a configuration, also a target.
    """
    places = [place for place, word in enumerate(words) if word.startswith(OPTION)]
    files = []
    for place in places:
        _, _, joined = words[place].partition("=")
        behind = itertools.takewhile(lambda word: not word.startswith("-"), words[place + 1 :])
        files.append([joined] if joined else [*behind])
    if len(files) > 1:
        left_out = ", ".join(itertools.chain(*files[:-1]))
        raise HcepError(
            f"--configfile is given {len(files)} times; Snakemake reads the last one alone and leaves out {left_out}",
            file="command line",
            remedy=f"give it once: --configfile {' '.join(itertools.chain(*files))}",
        )
    for path in itertools.chain(*files):
        if path.startswith(tuple(f"{folder}/" for folder in OUTPUTS)) and Path(path).suffix not in CONFIGURATIONS:
            raise HcepError(
                f"{path} stands behind --configfile, so Snakemake reads it as a configuration and not as a target",
                file="command line",
                remedy=f"write targets first: snakemake {path} --configfile FILE",
            )
