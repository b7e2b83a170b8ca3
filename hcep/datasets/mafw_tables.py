"""MAFW's optional Excel tables, held against the fold lists."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hcep.datasets.limits import too_large
from hcep.datasets.mafw_lists import DEPTH, EMOTIONS, FoldLists
from hcep.datasets.spellings import find, normal
from hcep.datasets.survey import Fault, warning
from hcep.errors import HcepError

# table -> columns of the clip and of what is compared (None: no header, and the English caption is third)
TABLES: dict[str, tuple[str, str] | None] = {
    "annotation.xlsx": ("clip", "clip"),
    "single-set.xlsx": ("clip", "single_label"),
    "multi-set.xlsx": ("clip", "multi_label"),
    "descriptive_text.xlsx": None,
}
# a hundred times the release's; openpyxl fills up rows that the numbers of cells leave out
MOST_UNPACKED, MOST_ROWS, MOST_COLUMNS = 2**28, 1_000_000, 1_000
# of a zip archive, its members, and XML
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError),
    *(LookupError, ValueError, SyntaxError, TypeError, AttributeError, OverflowError),
)
REMEDY = "the fold lists are used; unpack both again to see which of them was changed"
NAMES = {str(number): name for number, name in enumerate(EMOTIONS, start=1)}


def find_tables(root: Path) -> dict[str, Path]:
    """Those of the tables that are there: name -> path."""
    places = {name: find(root, [name], depth=DEPTH, kind="file") for name in TABLES}
    return {name: path for name, path in places.items() if path is not None}


def compare_tables(
    tables: Mapping[str, Path], lists: FoldLists, kind: str, captions: str
) -> tuple[dict[str, int], list[Fault]]:
    """Count the rows of the tables of `find_tables`, and say where they disagree with the fold lists in use.

    `kind` and `captions` name the family of the lists, as in `list_folder`.

    Returns
    -------
    dict and list of Fault
        Name of each readable table -> rows, and a warning per kind of disagreement.
    """
    rows: dict[str, int] = {}
    faults: list[Fault] = []
    for name, path in tables.items():
        try:
            pairs = [(_clip_id(clip), value) for clip, value in _read(path, TABLES[name])]
        except HcepError as error:
            faults += warning("tables that are not compared", [f"{name} {error.cause}"], error.remedy or "")
            continue
        rows[name] = len(pairs)
        repeated = [clip for clip, count in Counter(clip for clip, _ in pairs).items() if count > 1]
        faults += _missing(f"clips that are more than once in {name}", repeated)
        faults += _compare(name, dict(pairs), lists, kind, captions)
    return rows, faults


def _compare(name: str, content: Mapping[str, Any], lists: FoldLists, kind: str, captions: str) -> Iterator[Fault]:
    clips = lists.clips
    lacking = clips.keys() - content.keys()
    if name == "annotation.xlsx":
        yield from _missing(f"clips of the fold lists that {name} lacks", lacking)
    elif name == "descriptive_text.xlsx" and captions == "with":
        yield from _missing(f"clips with a caption that {name} lacks", lacking)
        pairs = {clip: (row.caption, str(content[clip])) for clip, row in clips.items() if clip in content}
        yield from _differing(f"captions that {name} has otherwise than the fold lists", pairs)
    elif name == "single-set.xlsx":
        yield from _missing(f"clips of the fold lists that {name} lacks", lacking)
        labels = {clip: _label(value) for clip, value in content.items()}
        if kind == "single":
            wanted = {clip for clip, label in labels.items() if captions == "without" or label != "neutral"}
            yield from _missing(f"clips of {name} that are in no fold list", wanted - set(clips))
        pairs = {clip: (row.label, labels[clip]) for clip, row in clips.items() if clip in labels}
        pairs = {clip: (here, there) for clip, (here, there) in pairs.items() if there not in here.split("_")}
        yield from _differing(f"clips whose label in {name} is not that of the fold lists", pairs)
    elif name == "multi-set.xlsx" and kind == "compound":
        labels = {clip: _label(value) for clip, value in content.items()}
        compound = {clip: row.label for clip, row in clips.items() if "_" in row.label}
        yield from _missing(f"compound clips of the fold lists that {name} lacks", set(compound) - set(labels))
        yield from _missing(f"clips of {name} that are not compound in the fold lists", set(labels) - set(compound))
        pairs = {clip: (label, labels[clip]) for clip, label in compound.items() if clip in labels}
        yield from _differing(f"clips whose label in {name} is not that of the fold lists", pairs)


def _missing(what: str, clips: Iterable[str]) -> list[Fault]:
    return warning(what, sorted(clips), REMEDY)


def _differing(what: str, pairs: Mapping[str, tuple[str, str]]) -> list[Fault]:
    found = [f"{clip} ({here!r}, {there!r})" for clip, (here, there) in pairs.items() if here.split() != there.split()]
    return warning(what, found, REMEDY)


def _clip_id(value: Any) -> str:
    """Clip id of a cell: ``"00025.mp4"``, ``"00025"`` or a number."""
    return f"{value:05.0f}" if isinstance(value, int | float) else str(value).strip().split(".")[0].zfill(5)


def _label(value: Any) -> str:
    """Label of a cell of ids that count from 1, such as ``3`` or ``"1,2"``; an id that is none stays as it is."""
    ids = [f"{value:.0f}"] if isinstance(value, int | float) else [part.strip() for part in str(value).split(",")]
    return "_".join(NAMES.get(number, number) for number in ids)


def _read(path: Path, columns: tuple[str, str] | None) -> Iterator[tuple[Any, Any]]:
    """Two cells of every row: those of two columns of the header, or without a header the first and the third."""
    # here, since only `hcep check` reads tables and the import takes a third of a second
    from openpyxl import load_workbook

    try:
        _check_size(path)
        with closing(load_workbook(path, read_only=True, data_only=True)) as book:
            sheet = book.worksheets[0]
            # some programs write a wrong size, which would cut rows off
            sheet.reset_dimensions()
            rows = _rows(sheet.iter_rows(values_only=True), path)
            first, second = (0, 2) if columns is None else _places(next(rows, ()), columns)
            for row in rows:
                yield row[first], row[second]
    except UNREADABLE as error:
        raise HcepError(f"cannot be read: {error}", file=path, remedy="unpack it again, or remove it") from error


def _check_size(path: Path) -> None:
    """Refuse a table that would fill the memory when it is unpacked, and one with a password."""
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MOST_UNPACKED:
            raise too_large(path, "unpacks to", MOST_UNPACKED, "bytes")


def _rows(found: Iterable[tuple[Any, ...]], path: Path) -> Iterator[tuple[Any, ...]]:
    """The rows that hold anything; those that a wrong number left out in between count as well."""
    for number, row in enumerate(found, start=1):
        if number > MOST_ROWS:
            raise too_large(path, "has", MOST_ROWS, "rows", number)
        if len(row) > MOST_COLUMNS:
            raise too_large(path, "has", MOST_COLUMNS, "columns", number)
        if any(cell is not None for cell in row):
            yield row


def _places(header: tuple[Any, ...], columns: tuple[str, str]) -> tuple[int, int]:
    names = [normal(str(cell)) for cell in header]
    for column in columns:
        if normal(column) not in names:
            raise ValueError(f"it has no column {column}")
    return names.index(normal(columns[0])), names.index(normal(columns[1]))
