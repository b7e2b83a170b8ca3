"""summary.csv and comparisons.csv as tables to read: what the summary page and `hcep show` have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hcep.errors import HcepError
from hcep.evaluation.aggregate import COMPARED, COMPARISON_COLUMNS
from hcep.evaluation.groups import LEAST_GROUPS, groups_of
from hcep.evaluation.versus_paper import MEAN
from hcep.figures.run_files import number, read_rows
from hcep.files import read_table

Row = Mapping[str, str]

PLACE = ("openness", "method")
COUNTS = ("splits", "seeds")
NEEDED = (*PLACE, *COUNTS, "stand_in", "text_kind", "selection", "note")
MOVEMENT = "movement_"
PARTS = ("", "_sd", "_lo", "_hi")
# what stands behind the name of a row that is not compared with the others, and why
STAND_IN, ON_TEST, LEXICON = "†", "‡", "§"
NOT_RANKED = {
    STAND_IN: "stand-in encoders or composite data",
    ON_TEST: "epoch selected on test clips",
    LEXICON: "its score knows words outside the known classes",
}


HIGHER, LOWER = "↑", "↓"
SUMMARY_CAPTION = (
    "Percent: the mean over class splits and seeds, ± its standard deviation over splits (over seeds where there is "
    "one split). kKuU: K known and U unknown classes; mean: over the levels. ↑ higher is better, ↓ lower."
)
SUMMARY_INTERVAL = "In brackets: the bootstrap interval over groups of test clips, class splits held fixed."
COMPARISON_CAPTION = (
    "Percentage points: the method minus the one in the column “minus”, both evaluated on the same draws of test "
    "clips; above zero the method is better. p is not corrected for the number of rows: among twenty rows without any "
    "effect one below 0.05 is to be expected."
)
COMPARISON_INTERVAL = "In brackets: the bootstrap interval of the difference."


class Metric(NamedTuple):
    """A column: name in the CSV, heading, and an arrow to the better side; none for a number that is not ours."""

    name: str
    label: str
    arrow: str = HIGHER

    @property
    def heading(self) -> str:
        """The heading with its arrow."""
        return f"{self.label} {self.arrow}".strip()


METRICS = {
    metric.name: metric
    for metric in (
        Metric("auroc", "AUROC"),
        Metric("oscr", "OSCR"),
        Metric("accuracy", "accuracy"),
        Metric("macro_f1", "macro F1"),
        Metric("fpr95", "FPR95", LOWER),
        Metric("aupr_known", "AUPR known"),
        Metric("aupr_unknown", "AUPR unknown"),
    )
}
PRINTED = (Metric("paper_auroc", "paper's AUROC", ""), Metric("paper_oscr", "paper's OSCR", ""))
SHOWN = ("auroc", "oscr", "accuracy", "macro_f1", "fpr95")


class Cell(NamedTuple):
    """A number as it is printed.

    Attributes
    ----------
    value : str
        '' where there is none.
    beside : str
        Its deviation over splits, or p.
    under : str
        Its interval, or why there is none.
    mark : str
        ``best``, ``second``, ``few`` (too few groups of test clips), or ''.
    """

    value: str = ""
    beside: str = ""
    under: str = ""
    mark: str = ""


class Line(NamedTuple):
    """A row: what stands in the first columns, and its numbers."""

    place: tuple[str, ...]
    cells: tuple[Cell, ...]


class Table(NamedTuple):
    """A table to read.

    Attributes
    ----------
    place : tuple of str
        Headings of the first columns.
    metrics : tuple of Metric
        One for every cell of a line.
    lines : list of Line
    caption, interval : str
        How to read it, and the intervals of its cells.
    best, second : str
        What the marks ``best`` and ``second`` mean; '' for one that no cell has.
    notes : list of str
        What a reader must know of some lines.
    """

    place: tuple[str, ...]
    metrics: tuple[Metric, ...]
    lines: list[Line]
    caption: str
    interval: str
    best: str
    second: str
    notes: list[str]


def read_summary(file: str | Path, metrics: Sequence[str] = SHOWN) -> list[dict[str, str]]:
    """Rows of a summary, level by level; their numbers are numbers or empty.

    Raises
    ------
    HcepError
        The table is missing, empty, or lacks a column, or a cell is no number.
    """
    columns = [f"{name}{part}" for name in metrics for part in PARTS]
    read = read_rows(Path(file), [*NEEDED, *columns])
    _check_numbers(read, columns, Path(file))
    levels = list(dict.fromkeys(row["openness"] for _, row in read))
    return sorted((row for _, row in read), key=lambda row: levels.index(row["openness"]))


def read_comparisons(file: str | Path) -> list[dict[str, str]]:
    """Rows of the paired comparisons; none where a task has no method to compare with.

    Raises
    ------
    HcepError
        The table is missing or lacks a column, or a cell is no number.
    """
    path = Path(file)
    if path.is_file() and not read_table(path):
        return []
    read = read_rows(path, COMPARISON_COLUMNS)
    _check_numbers(read, ("difference", "lo", "hi", "p"), path)
    return [row for _, row in read]


def _check_numbers(read: Sequence[tuple[int, dict[str, str]]], columns: Sequence[str], file: Path) -> None:
    for line, row in read:
        for column in columns:
            if row[column]:
                number(row, column, file, line)


def summary_table(rows: Sequence[Row], metrics: Sequence[str] = SHOWN) -> Table:
    """Mean, deviation and interval of every metric; the best and the second best of a level and column are marked.

    Equal numbers share a mark. Rows are ranked among their like alone: none whose epoch was selected on test clips or
    whose score knows more words, no stand-in beside a row that is none, and none with too few groups of test clips.
    """
    shown = [row for row in rows if any(row[name] for name in metrics)]
    varying = [name for name in COUNTS if len({row[name] for row in shown}) > 1]
    printed = [metric for metric in PRINTED if any(row.get(metric.name) for row in shown)]
    reasons = [_reasons(row, shown) for row in shown]
    ranked = [row for row, own in zip(shown, reasons, strict=True) if not own and not _few(row)]
    marks = _marks(ranked, metrics)
    lines = []
    for row, own in zip(shown, reasons, strict=True):
        place = (row["openness"], " ".join([row["method"], *own]), *(row[name] for name in varying))
        cells = [_cell(row, name, marks.get((id(row), name), "")) for name in metrics]
        lines.append(Line(place, (*cells, *(Cell(row[metric.name]) for metric in printed))))
    said = {mark for own in reasons for mark in own}
    notes = [f"{mark} {reason}: not ranked." for mark, reason in NOT_RANKED.items() if mark in said]
    if any(map(_few, shown)):
        notes.append(f"Grey or in italics: fewer than {LEAST_GROUPS} groups of test clips, so no interval and no rank.")
    classes = dict.fromkeys((row["openness"], row.get("left_out", "")) for row in rows)
    notes += [
        f"Left out of the known classes, too few training clips: {openness}: {names.replace(';', ', ')}."
        for openness, names in classes
        if names and openness != MEAN
    ]
    left = [f"{row['method']} {row['openness']}" for row in rows if row not in shown]
    notes += [f"Without any number: {', '.join(left)}."] if left else []
    same = [f"{shown[0][name]} {name}" for name in COUNTS if shown and name not in varying]
    counts = f" Every row: {', '.join(same).replace('1 seeds', '1 seed')}." if same else ""
    return Table(
        (*PLACE, *varying),
        (*(METRICS[name] for name in metrics), *printed),
        lines,
        caption=SUMMARY_CAPTION + counts,
        interval=SUMMARY_INTERVAL if any(cell.under.startswith("[") for line in lines for cell in line.cells) else "",
        best="the best of an openness and column" if marks else "",
        second="the second best" if "second" in marks.values() else "",
        notes=notes,
    )


def comparison_table(comparisons: Sequence[Row], summary: Sequence[Row], openness: str | None = None) -> Table:
    """Method minus reference on the same clips, level by level or at one level, with interval and p.

    The summary says which rows have too few groups of test clips for either.

    Raises
    ------
    HcepError
        A pair is not in the summary.
    """
    few = {(row["method"], row["openness"]): _few(row) for row in summary}
    metrics = [name for name in COMPARED if any(row["metric"] == name for row in comparisons)]
    found: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for row in comparisons:
        if openness in (None, row["openness"]):
            pair = [(name, row["openness"]) for name in (row["method"], row["reference"])]
            if not few.keys() >= {*pair}:
                names = f"{row['method']} and {row['reference']} at {row['openness']}"
                cause = f"the comparison of {names} is of other runs than the summary"
                raise HcepError(cause, remedy="make both tables again, in one run of `aggregate`")
            groups = [few[key] for key in pair]
            cells = found.setdefault((row["openness"], row["method"], row["reference"]), {})
            cells[row["metric"]] = _difference(row, min(filter(None, groups), default=None))
    levels = list(dict.fromkeys(row["openness"] for row in summary))
    lines = [
        Line(place, tuple(cells.get(name, Cell()) for name in metrics))
        for place, cells in sorted(found.items(), key=lambda item: levels.index(item[0][0]))
    ]
    cells_shown = [cell for line in lines for cell in line.cells]
    notes = []
    if any(cell.mark == "few" for cell in cells_shown):
        notes.append(f"Grey or in italics: fewer than {LEAST_GROUPS} groups of test clips, so no interval and no p.")
    return Table(
        (*PLACE, "minus"),
        tuple(METRICS[name] for name in metrics),
        lines,
        caption=COMPARISON_CAPTION,
        interval=COMPARISON_INTERVAL if any(cell.under.startswith("[") for cell in cells_shown) else "",
        best="an interval that leaves 0 out" if any(cell.mark == "best" for cell in cells_shown) else "",
        second="",
        notes=notes,
    )


def facts(rows: Sequence[Row]) -> list[str]:
    """What is true of a whole summary, in sentences."""
    found = [f"Words: {', '.join(sorted({row['text_kind'] for row in rows}))}."]
    found.append(f"Epoch: {', '.join(sorted({row['selection'] for row in rows}))}.")
    found += [f"Protocol: {text}." for text in dict.fromkeys(row.get("protocol", "") for row in rows) if text]
    stand_ins = {row["stand_in"] == "true" for row in rows}
    if stand_ins == {True}:
        found.append("Stand-in encoders or composite data: not comparable with published results.")
    elif True in stand_ins:
        found.append("Rows with stand-in encoders or composite data: not comparable with published results.")
    return found


def remarks(rows: Sequence[Row]) -> list[str]:
    """What the notes of rows say beside that, once for all rows of which it is true."""
    places: dict[str, list[str]] = {}
    for row in rows:
        for part in note_parts(row):
            # the page has a table of movements, and stand-ins are named above the table
            if part and not part.startswith((MOVEMENT, "stand-in")):
                places.setdefault(part, []).append(f"{row['method']} {row['openness']}")
    named = {part: "all rows" if len(where) == len(rows) else ", ".join(where) for part, where in places.items()}
    return [f"{part} ({where})." for part, where in named.items()]


def common_notes(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """What the notes of all rows say, and the rest for every row; stand-ins are left out, since pages name them."""
    parts = [[part for part in note_parts(row) if part and not part.startswith("stand-in")] for row in rows]
    common = [part for part in parts[0] if all(part in others for others in parts)]
    return common, ["; ".join(part for part in own if part not in common) for own in parts]


def with_interval(row: Row, name: str) -> str:
    """A number of a row and its interval, from the columns ``name``, ``name_lo`` and ``name_hi``; '' without one."""
    return f"{row[name]} [{row[f'{name}_lo']}, {row[f'{name}_hi']}]" if row[name] else ""


def note_parts(row: Row) -> list[str]:
    """The parts of the note of a row."""
    return row["note"].split("; ")


def _reasons(row: Row, rows: Sequence[Row]) -> list[str]:
    """The marks of a row that is not ranked."""
    beside = {other["stand_in"] for other in rows if other["openness"] == row["openness"]}
    found = {
        STAND_IN: row["stand_in"] == "true" and len(beside) > 1,
        ON_TEST: "best_on_test" in row["selection"].split(";"),
        LEXICON: bool(row.get("lexicon")),
    }
    return [mark for mark, applies in found.items() if applies]


def _marks(ranked: Sequence[Row], metrics: Sequence[str]) -> dict[tuple[int, str], str]:
    """The mark of a row, by its identity, and a metric; a row that is alone at its level has none."""
    marks = {}
    for openness in dict.fromkeys(row["openness"] for row in ranked):
        for name in metrics:
            rows = [row for row in ranked if row["openness"] == openness and row[name]]
            order = sorted({float(row[name]) for row in rows}, reverse=METRICS[name].arrow == HIGHER)
            for row in rows if len(rows) > 1 else ():
                place = order.index(float(row[name]))
                if place < 2:
                    marks[id(row), name] = ("best", "second")[place]
    return marks


def _cell(row: Row, name: str, mark: str) -> Cell:
    if not row[name]:
        return Cell()
    spread = f"± {row[f'{name}_sd']}" if row[f"{name}_sd"] else ""
    groups = _few(row)
    if groups is not None:
        return Cell(row[name], spread, _no_interval(groups), "few")
    return Cell(row[name], spread, _interval(row[f"{name}_lo"], row[f"{name}_hi"]), mark)


def _difference(row: Row, groups: int | None) -> Cell:
    if not row["difference"]:
        return Cell()
    value = f"{float(row['difference']):+.2f}"
    if groups is not None:
        return Cell(value, "", _no_interval(groups), "few")
    apart = bool(row["lo"]) and (float(row["lo"]) > 0 or float(row["hi"]) < 0)
    return Cell(value, f"p {row['p']}" if row["p"] else "", _interval(row["lo"], row["hi"]), "best" if apart else "")


def _interval(low: str, high: str) -> str:
    return f"[{low}, {high}]" if low else ""


def _few(row: Row) -> int | None:
    """The number of groups of test clips where they are too few; None elsewhere."""
    groups = groups_of(row["note"])
    return groups if groups is not None and groups < LEAST_GROUPS else None


def _no_interval(groups: int) -> str:
    return f"{groups} test group{'' if groups == 1 else 's'}"
