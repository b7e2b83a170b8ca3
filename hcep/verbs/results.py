"""Verbs that make what a reader sees: tables, figures, pages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcep import registry
from hcep.config.methods import base_method
from hcep.errors import HcepError
from hcep.verbs.options import check_keys


def aggregate(
    task: str,
    runs: Sequence[Path],
    paper: Path | None,
    runs_table: Path,
    summary: Path,
    comparisons: Path,
    corpora: Path,
    **more: Any,
) -> None:
    """All runs of a task in four tables."""
    from hcep.evaluation.aggregate import aggregate as run

    run(runs, paper, task, runs_table, summary, comparisons, corpora_csv=corpora, **more)


def complexity(
    encoder: Path | None,
    known: Sequence[int],
    settings: dict[str, Any] | None,
    paper: Path | None,
    timings: Sequence[Path],
    output: Path | None,
) -> None:
    """Learnable and frozen parameters and operations per clip."""
    from hcep.config.entries import Dataset
    from hcep.encoders.fetch import full_size_info
    from hcep.encoders.info import read_info
    from hcep.files import write_table
    from hcep.training.complexity import COLUMNS, Counted, add_timings, print_complexity
    from hcep.training.complexity import complexity as run

    folder = encoder.parent if encoder and encoder.name == "encoder.json" else encoder
    info = read_info(folder) if folder else full_size_info()
    if settings is None:
        methods = {base: {"base": base, "settings": dict(base_method(base)())} for base in ("hcep", "arpl_mm")}
        sizes = Dataset.model_fields
        settings = {"frames": sizes["frames"].default, "samples": sizes["samples"].default, "methods": methods}
    check_keys(settings, ("frames", "samples", "methods"))
    chosen = {
        name: Counted(
            registry.load(base_method(value["base"]).target),
            value["settings"],
            value.get("encoder", ""),
            value.get("width", 0),
            value.get("audio_layers", ""),
        )
        for name, value in settings["methods"].items()
    }
    counted = f"{settings['frames']} frames and {settings['samples']} samples of sound a clip"
    print(f"complexity of {info['name']}: {counted}", file=sys.stderr)
    if min(known) < 1:
        raise HcepError(f"--known has {min(known)}", remedy="give numbers of known classes, 1 or more")
    printed = paper or (Path("config/paper_results.csv") if Path("config/paper_results.csv").is_file() else None)
    rows = run(info, settings["frames"], settings["samples"], chosen, known, printed)
    add_timings(rows, timings)
    if output:
        write_table(output, COLUMNS, rows)
    else:
        print_complexity(rows)


def figure(name: str, task: str, sources: Sequence[Path], output: Path) -> None:
    """Draw one figure of a task."""
    from hcep.figures.style import draw_figure

    figures = {key: entry.target for key, entry in registry.FIGURES.items()} | registry.TABLE_FIGURES
    draw_figure(registry.load(registry.pick("figure", name, figures)), sources, output, title=task)


def table(
    name: str,
    settings: dict[str, Any],
    summaries: Sequence[Path],
    paper: Path,
    complexity: Sequence[Path],
    output: Path,
    markdown: Path,
) -> None:
    """One of the paper's tables in its layout."""
    from hcep.evaluation.tables import write_paper_table

    check_keys(settings, ("definition", "stand_in_for", "absent"))
    costs = complexity[0] if complexity else None
    definition = settings.pop("definition")
    write_paper_table(name, definition, summaries, paper, output, markdown, complexity=costs, **settings)
