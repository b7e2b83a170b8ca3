"""The command line: one verb per workflow rule, each of which calls one function of the library.

Imports happen inside the verbs, so that ``hcep --help`` and verbs without a model start at once.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Any

from hcep.errors import HcepError, shown
from hcep.files import REFUSALS
from hcep.stages import STAGES
from hcep.termination import Terminated, sigterm_interrupts, wait_for_slurm
from hcep.verbs.options import add_stage, call

STDOUT = 1  # the file descriptor


class Version(argparse.Action):
    """``--version``, which is looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print it and end."""
        from importlib.metadata import version

        print(f"hcep {version('hcep')}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser with all verbs."""
    parser = argparse.ArgumentParser(
        prog="hcep",
        description="Open-set multimodal emotion recognition. Each verb is a rule of the workflow and can be typed by "
        "hand; `snakemake --cores 2 results/demo/summary.csv` runs them all.",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("--version", action=Version, nargs=0, help="show the version and exit")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for name, stage in STAGES.items():
        add_stage(verbs.add_parser(name, help=stage.help, description=stage.help), stage)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code (0, or 1 with one message on standard error)."""
    args = build_parser().parse_args(argv)
    try:
        with sigterm_interrupts():
            call(STAGES[args.verb], vars(args))
            sys.stdout.flush()
    except HcepError as error:
        if args.debug:
            raise
        print(f"hcep {args.verb}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # a full disk, a folder without write permission, a file that is not there
        if isinstance(error, BrokenPipeError) and _reader_has_left():
            return 1
        if args.debug:
            raise
        said = str(error) or type(error).__name__
        if error.errno in REFUSALS and error.filename is None:
            # hcep names the files that it writes itself
            said += ", on standard output or in the folder of temporary files (TMPDIR)"
            _drop_output()
        print(shown(f"hcep {args.verb}: {said} (`hcep --debug {args.verb} ...` shows where)"), file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"hcep {args.verb}: interrupted", file=sys.stderr, flush=True)
        if not isinstance(error, Terminated):
            return 128 + signal.SIGINT
        wait_for_slurm(args.verb)
        return 128 + signal.SIGTERM
    except Exception as error:
        if args.debug:
            raise
        said = f"{type(error).__name__}: {error} (an error of hcep itself; `hcep --debug {args.verb} ...` shows where)"
        print(shown(f"hcep {args.verb}: {said}"), file=sys.stderr)
        return 1
    return 0


def _reader_has_left() -> bool:
    """Whether the program that read our output has ended, as behind ``| head``; the rest of the output is dropped."""
    poll = select.poll()
    poll.register(STDOUT, 0)  # no event is asked for, since errors are reported in any case
    left = any(event & select.POLLERR for _, event in poll.poll(0))
    if left:
        _drop_output()
    return left


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


if __name__ == "__main__":
    sys.exit(main())
