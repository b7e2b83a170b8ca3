"""What figures read from run folders: who the run is, and columns of numbers, with errors that name file and row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcep.errors import HcepError, shown
from hcep.files import read_table
from hcep.protocol.openness import openness_value, parse_openness
from hcep.seal import read_sealed_json

Floats = NDArray[np.float64]


class RunFiles(NamedTuple):
    """A run's folder and identity; `metrics` is the content of metrics.json."""

    folder: Path
    method: str
    openness: str
    split: str
    metrics: dict[str, Any]


def read_run_files(folders: Sequence[str | Path]) -> list[RunFiles]:
    """Identity and metrics of evaluated runs, in the order given.

    Raises
    ------
    HcepError
        No run, no metrics.json, or a metrics.json that lacks a field.
    """
    check_any(folders)
    return [_read_run(Path(folder)) for folder in folders]


def _read_run(folder: Path) -> RunFiles:
    file = folder / "metrics.json"
    again = "run the evaluate step of this run again"
    try:
        metrics = read_sealed_json(file, again)
        method, openness, split = str(metrics["method"]), str(metrics["openness"]), str(metrics["split"])
        run = RunFiles(folder, method, openness, split, metrics)
        areas = [float(metrics[name]["value"]) for name in ("auroc", "oscr")]
        usable = bool(metrics["classes"]) and isinstance(metrics["stand_in"], bool) and all(map(math.isfinite, areas))
    except (ValueError, KeyError, TypeError) as error:
        raise HcepError(f"not a metrics file ({error!r})", file=file, remedy=again) from error
    if not usable:
        raise HcepError("no known class, stand_in is no truth value, or an area is not finite", file=file, remedy=again)
    return run


def check_any(folders: Sequence[str | Path]) -> None:
    """Refuse to draw no run at all."""
    if not folders:
        raise HcepError("no run to draw", remedy="name at least one run folder")


def one_table(sources: Sequence[str | Path], name: str) -> Path:
    """The table of a figure that is drawn from one file.

    Raises
    ------
    HcepError
        There is none, or more than one.
    """
    if len(sources) != 1:
        raise HcepError(f"one {name} is drawn, not {len(sources)}", remedy="draw one figure per table")
    return Path(sources[0])


def sorted_openness(names: Iterable[str]) -> list[str]:
    """Distinct openness names, from few to many unknown classes."""
    return sorted(set(names), key=lambda name: (openness_value(*parse_openness(name)), name))


def openness_title(name: str) -> str:
    """Panel title: ``"O(8:2) = 0.11"`` for ``"k8u2"``."""
    known, unknown = parse_openness(name)
    return f"O({known}:{unknown}) = {openness_value(known, unknown):.2f}"


def short_openness(name: str) -> str:
    """Heading of a narrow panel: ``"O(8:2)"`` for ``"k8u2"``."""
    known, unknown = parse_openness(name)
    return f"O({known}:{unknown})"


def split_count(runs: Sequence[RunFiles]) -> int:
    """Number of class splits among the runs."""
    return len({run.split for run in runs})


def splits_of(rows: Sequence[tuple[int, dict[str, str]]]) -> str:
    """Numbers of splits in the column of that name: ``"6"``, or ``"2 to 6"`` where rows differ."""
    counts = sorted({int(row["splits"]) for _, row in rows})
    return f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"


def read_thresholds(runs: Sequence[RunFiles], columns: Sequence[str]) -> tuple[Floats, dict[str, Floats]]:
    """Acceptance rates (n,) of thresholds.csv, and its columns, each (runs, n).

    Raises
    ------
    HcepError
        A file is missing or unreadable, or the runs have different acceptance rates.
    """
    tables = [read_numbers(run.folder / "thresholds.csv", ("acceptance", *columns)) for run in runs]
    rates = tables[0]["acceptance"]
    for run, table in zip(runs, tables, strict=True):
        if not np.array_equal(table["acceptance"], rates):
            cause, remedy = f"other acceptance rates than {runs[0].folder}", "evaluate all runs with the same rates"
            raise HcepError(cause, file=run.folder / "thresholds.csv", remedy=remedy)
    return rates, {column: np.array([table[column] for table in tables]) for column in columns}


def read_numbers(file: Path, columns: Sequence[str]) -> dict[str, Floats]:
    """Columns of numbers from a CSV file, each (rows,).

    Raises
    ------
    HcepError
        No file, no row, a missing column, or a cell that is not a number.
    """
    rows = read_rows(file, columns)
    return {column: np.array([number(row, column, file, line) for line, row in rows]) for column in columns}


def read_rows(file: Path, columns: Sequence[str], *, delimiter: str = ",") -> list[tuple[int, dict[str, str]]]:
    """Rows of a table with their row numbers (the header is row 1); `columns` must be there.

    Raises
    ------
    HcepError
        No file, no row, a missing column, or a row with more or fewer cells than the header.
    """
    try:
        rows = read_table(file, delimiter=delimiter)
    except FileNotFoundError as error:
        raise HcepError("the file does not exist", file=file, remedy="run the step that writes it") from error
    if not rows:
        raise HcepError("the table has no row", file=file, remedy="run the step that writes it again")
    missing = [column for column in columns if column not in rows[0]]
    if missing:
        raise HcepError(f"no column {', '.join(missing)}", file=file, row=1, remedy="run the step that writes it again")
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise HcepError("not as many cells as the header", file=file, row=line)
    return list(enumerate(({name: shown(cell) for name, cell in row.items()} for row in rows), 2))


def number(row: dict[str, str], column: str, file: Path, line: int) -> float:
    """One cell as a number; ``inf`` and ``nan`` count as numbers."""
    try:
        return float(row[column])
    except ValueError as error:
        raise HcepError(f"{column} is {row[column]!r}, no number", file=file, row=line) from error
