"""Verbs that make what a reader sees: tables, figures, pages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hcep import registry
from hcep.errors import HcepError
from hcep.verbs.options import Arguments, Verb, add_paths, add_settings, settings_argument

FIGURES = registry.FIGURES | registry.TABLE_FIGURES


def _aggregate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True)
    add_paths(parser, "runs", nargs="+", help="run folders")
    parser.add_argument("--paper", type=Path, help="paper_results.csv")
    parser.add_argument("--protocol", default="", help="what the task chose where the paper leaves a choice")
    add_paths(parser, "runs-table", "summary", "comparisons", "corpora", help="CSV to write")


def aggregate(args: Arguments) -> None:
    """All runs of a task: runs.csv, summary.csv, comparisons.csv and corpora.csv."""
    from hcep.evaluation.aggregate import aggregate as run

    outputs = (args.runs_table, args.summary, args.comparisons)
    run(args.runs, args.paper, args.task, *outputs, corpora_csv=args.corpora, protocol=args.protocol)


def _paper_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True)
    add_paths(parser, "summary", help="summary.csv")
    add_paths(parser, "paper", help="paper_results.csv")
    add_paths(parser, "output", help="CSV to write")


def versus_paper(args: Arguments) -> None:
    """Our numbers beside the paper's, with the difference, whatever its sign."""
    from hcep.evaluation.versus_paper import versus_paper as run

    run(args.summary, args.paper, args.task, args.output)


def _complexity_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", type=Path, help="encoder folder; without it CLIP ViT-B/32 and wav2vec2-base")
    parser.add_argument("--known", type=int, nargs="+", default=[8, 6, 4, 2], help="values of K")
    parser.add_argument("--settings", type=settings_argument, metavar="JSON", help="frames, samples and methods")
    parser.add_argument("--paper", type=Path, help="paper_results.csv")
    parser.add_argument("--timings", type=Path, nargs="*", default=[], help="timing.json of runs")
    parser.add_argument("--output", type=Path, help="CSV to write; without it a table is printed")


def complexity(args: Arguments) -> None:
    """Learnable and frozen parameters and operations per clip (Table 8), counted without weights."""
    from hcep.encoders.fetch import full_size_info
    from hcep.encoders.info import read_info
    from hcep.training.complexity import add_timings, default_methods, print_complexity, write_complexity
    from hcep.training.complexity import complexity as run

    folder = args.encoder.parent if args.encoder and args.encoder.name == "encoder.json" else args.encoder
    info = read_info(folder) if folder else full_size_info()
    settings = args.settings or {"frames": 8, "samples": 80_000, "methods": default_methods()}
    methods = {
        name: (registry.load(registry.method(value["base"]).target), value["settings"])
        for name, value in settings["methods"].items()
    }
    counted = f"{settings['frames']} frames and {settings['samples']} samples of sound a clip"
    print(f"complexity of {info['name']}: {counted}", file=sys.stderr)
    if min(args.known) < 1:
        raise HcepError(f"--known has {min(args.known)}", remedy="give numbers of known classes, 1 or more")
    paper = args.paper or (Path("config/paper_results.csv") if Path("config/paper_results.csv").is_file() else None)
    rows = run(info, settings["frames"], settings["samples"], methods, args.known, paper)
    add_timings(rows, args.timings)
    if args.output:
        write_complexity(rows, args.output)
    else:
        print_complexity(rows)


def _figure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, choices=sorted(FIGURES), help="which figure")
    parser.add_argument("--task", required=True)
    add_paths(parser, "sources", nargs="+", help="run folders (summary.csv for summary_bars)")
    add_paths(parser, "output", help="SVG to write")


def figure(args: Arguments) -> None:
    """Draw one figure of a task."""
    from hcep.figures.style import draw_figure

    draw_figure(registry.load(FIGURES[args.name]), args.sources, args.output, title=args.task)


def _qc_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "qc", nargs="+", help="qc.tsv of every dataset of the task")
    add_paths(parser, "output", help="HTML page to write")


def qc_page(args: Arguments) -> None:
    """The quality-control page of a dataset."""
    from hcep.figures.qc_page import write_qc_page

    write_qc_page(args.qc, args.output)


def _summary_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True)
    add_paths(parser, "summary", help="summary.csv")
    add_paths(parser, "output", help="HTML page to write")


def summary_page(args: Arguments) -> None:
    """The summary table as a page for the report."""
    from hcep.figures.summary_page import write_summary_page

    write_summary_page(args.summary, args.output, title=args.task)


def _table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="table2 ... table8, fig4 or headline")
    add_settings(parser, "definition", "stand_in_for", "absent")
    parser.add_argument("--summaries", type=Path, nargs="+", required=True, help="summary.csv of every task")
    add_paths(parser, "paper", help="paper_results.csv")
    parser.add_argument("--complexity", type=Path, nargs="*", default=[], help="complexity.csv, for Table 8")
    add_paths(parser, "output", help="CSV to write")
    add_paths(parser, "markdown", help="Markdown to write")


def table(args: Arguments) -> None:
    """One of the paper's tables in its layout: our number, the printed one, the difference."""
    from hcep.evaluation.tables import write_paper_table

    write_paper_table(
        args.name,
        args.settings["definition"],
        args.summaries,
        args.paper,
        args.output,
        args.markdown,
        complexity=args.complexity[0] if args.complexity else None,
        stand_in_for=args.settings["stand_in_for"],
        absent=args.settings["absent"],
    )


VERBS: dict[str, Verb] = {
    "aggregate": (_aggregate_arguments, aggregate),
    "versus_paper": (_paper_arguments, versus_paper),
    "table": (_table_arguments, table),
    "complexity": (_complexity_arguments, complexity),
    "figure": (_figure_arguments, figure),
    "qc_page": (_qc_arguments, qc_page),
    "summary_page": (_summary_arguments, summary_page),
}
