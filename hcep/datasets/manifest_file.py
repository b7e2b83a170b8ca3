"""manifest.tsv: one row a clip, the only description of a dataset that later stages read."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from hcep.datasets.bad_rows import BadRows
from hcep.datasets.limits import LONGEST_CELL, MOST_COLUMNS, MOST_ROWS, lines_of, too_large
from hcep.errors import CONTROL_OR_BREAK, HcepError, closest
from hcep.files import check_table, write_table
from hcep.spreadsheet import from_cell

SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon"}
TEXT_KINDS = ("caption", "transcript", "asr", "none")
FLAGS = ("no_audio", "no_video", "no_text")
NUMBERS = ("start", "end", "seconds")
# columns that tables and messages show again
NAMES = ("clip", "dataset", "language", "label", "labels", "group", "fold")
LINE_END = re.compile(r"\r\n|\r|\n")
MARKS = 'double every quotation mark that belongs to a text (""), and put one mark at each end of that cell'


class Clip(NamedTuple):
    """One clip: a file, or a segment of one.

    `video` and `audio` are posix paths below the release root ('' = none), `start` and `end` seconds (None = the
    file's own), `text_kind` one of `TEXT_KINDS`, `label` a class name ('' = unlabelled), `labels` all names joined by
    ';', `group` what must not be split over train and test, `flags` a ';'-joined subset of `FLAGS`, `box` 'x,y,w,h' in
    source pixels or '', `seconds` the length that the release's list states (None = it states none). `faces` is what
    the frames are taken from in place of the whole pictures of `video` ('' = those), see `hcep.datasets.faces`.
    """

    clip: str
    dataset: str = ""
    video: str = ""
    audio: str = ""
    start: float | None = None
    end: float | None = None
    text: str = ""
    text_kind: str = "none"
    language: str = ""
    label: str = ""
    labels: str = ""
    group: str = ""
    fold: str = ""
    flags: str = ""
    box: str = ""
    seconds: float | None = None
    faces: str = ""


# the last column, which a manifest has only where faces are used
FACES = "faces"
COLUMNS = tuple(name for name in Clip._fields if name != FACES)


def join_flags(flags: Iterable[str]) -> str:
    """Join flags with ';', each once: those of `FLAGS` in their order, then what decoding found."""
    wanted = set(flags) - {""}
    return ";".join([*(flag for flag in FLAGS if flag in wanted), *sorted(wanted - set(FLAGS))])


def parse_box(box: str) -> tuple[int, int, int, int] | None:
    """Read 'x,y,w,h' (whole pixels, width and height above 0) or ''; a ValueError says what is wrong."""
    if not box:
        return None
    found = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", box.replace(" ", ""))
    x, y, width, height = map(int, found.groups()) if found else (0, 0, 0, 0)
    if min(width, height) < 1:
        raise ValueError(f"not a box x,y,w,h: {box!r}")
    return x, y, width, height


def parse_seconds(text: str) -> float | None:
    """Read seconds; '' is None; a ValueError for what is not a finite number."""
    if not text.strip():
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"not a finite number: {text!r}")
    return value


def lengths_differ(a: float, b: float) -> bool:
    """Whether two lengths in seconds differ by more than one second and by more than a fifth of the longer one."""
    return abs(a - b) > max(1.0, 0.2 * max(a, b))


def open_table(
    path: Path,
    delimiter: str = "\t",
    required: Iterable[str] = (),
    remedy: str = "",
    bad: BadRows | None = None,
    most: int = MOST_ROWS,
    quoted: bool = False,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number of the row's first line, cells) of a UTF-8 table with a header that has the required columns.

    A cell in quotation marks may hold line breaks. A mark that opens in one row and closes in a later one is told from
    them by the number of delimiters in its first and last line, see `_swallows_rows`. With `bad`, a row that is refused
    is noted there and passed over. With `quoted`, cells are those of a table that `write_table` may have written.

    Raises
    ------
    HcepError
        When the file is missing, is not UTF-8, has no header or one that repeats a column or breaks a line, lacks a
        column (`remedy` says what to do then), a row has another number of cells than the header, or a quotation mark
        swallows rows, or it has more than `most` rows, or anything above `hcep.datasets.limits`.
    """
    try:
        handle = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise HcepError(f"cannot be read: {error.strerror}", file=path) from error
    with handle:
        reader = csv.reader(lines_of(handle, path), delimiter=delimiter, strict=True)
        line, rows = 1, 0
        try:
            header = next(reader, [])
            _check_header(header, path, delimiter)
            line = reader.line_num + 1
            for cells in reader:
                row, line, rows = line, reader.line_num + 1, rows + 1
                if rows > most:
                    raise too_large(path, "has", most, "rows", row)
                try:
                    _check_row(cells, header, path, row, delimiter)
                except HcepError as error:
                    if bad is None:
                        raise
                    bad.faults.append(error)
                    continue
                # spreadsheets write rows of nothing behind the last one
                if any(cells):
                    check_columns(path, header, required, remedy)
                    required = ()
                    yield row, dict(zip(header, map(from_cell, cells) if quoted else cells, strict=True))
        except UnicodeDecodeError as error:
            raise HcepError(f"is not UTF-8 ({error.reason})", file=path, remedy="save it as UTF-8") from error
        except csv.Error as error:
            if "field limit" in str(error):
                raise too_large(path, "has a cell of", LONGEST_CELL, "characters", line) from error
            look = f"look at the quotation marks of this row: {MARKS}"
            cause = f"is not a table: {error}; the rows behind this one were not read"
            raise HcepError(cause, file=path, row=line, remedy=look) from error


def _check_header(header: Sequence[str], path: Path, delimiter: str) -> None:
    if not header:
        raise HcepError("has no header", file=path, row=1, remedy="write the column names in the first line")
    if len(header) > MOST_COLUMNS:
        raise too_large(path, "has", MOST_COLUMNS, "columns", 1)
    if header[0].strip().casefold().startswith("sep=") and not any(header[1:]):
        remedy = f"remove that line, and save the table with {SEPARATORS[delimiter]}s between its cells"
        cause = f"its first line {delimiter.join(header)!r} is a note for spreadsheet programs, not the column names"
        raise HcepError(cause, file=path, row=1, remedy=remedy)
    repeated = next((name for name in header if name and header.count(name) > 1), None)
    if repeated:
        cause = f"has the column {repeated} twice"
        raise HcepError(cause, file=path, row=1, remedy="remove or rename one of them")
    broken = next((name for name in header if LINE_END.search(name)), None)
    if broken is not None:
        cause = f"a quotation mark opens in the header before {broken[:20]!r} and closes in a later line"
        raise HcepError(cause, file=path, row=1, remedy="remove the mark; a column name is one line")


def _check_row(cells: Sequence[str], header: Sequence[str], path: Path, line: int, delimiter: str) -> None:
    """Refuse a row with another number of cells than the header, and one with rows inside a cell."""
    if not cells:
        return
    for place, cell in enumerate(cells):
        breaks = len(LINE_END.findall(cell))
        if breaks and (len(cells) != len(header) or _swallows_rows(cell, place, len(header), delimiter)):
            begins = LINE_END.split(cell)[0][:20]
            cause = f"a quotation mark opens before {begins!r} and closes in row {line + breaks}, "
            if len(cells) != len(header):
                cause += f"which leaves {len(cells)} cells where the header has {len(header)}"
            else:
                cause += "which makes one cell of several rows"
            remedy = f"remove the mark, or {MARKS}; if the line breaks are meant, replace them by spaces"
            raise HcepError(cause, file=path, row=line, remedy=remedy)
        line += breaks
    if len(cells) != len(header):
        cause = f"has {len(cells)} cells, the header has {len(header)}"
        remedy = f"quote cells that hold {SEPARATORS[delimiter]}s or newlines"
        other = next((sign for sign in SEPARATORS if sign != delimiter and sign in header[0]), None)
        if len(header) == 1 and other:
            remedy = f"its header is separated by {SEPARATORS[other]}s, save it with {SEPARATORS[delimiter]}s"
        raise HcepError(cause, file=path, row=line, remedy=remedy)


def _swallows_rows(cell: str, place: int, columns: int, delimiter: str) -> bool:
    """Whether a cell of several lines looks like the tail of its row, perhaps whole rows, and the head of another.

    The tail then has as many delimiters as there are columns after `place`, the head as many as before it. A text of
    two lines can have the same number of commas; there each is followed by a space or a line's end, in rows hardly one.
    """
    lines = LINE_END.split(cell)
    tail, head = lines[0], lines[-1]
    if (tail.count(delimiter), head.count(delimiter)) != (columns - 1 - place, place):
        return False
    after = re.findall(f"{delimiter}(.?)", f"{tail}\n{head}")
    return not (delimiter == "," and after and all(not sign.strip() for sign in after))


def read_numbers(cells: Mapping[str, str], bad: BadRows, row: int) -> dict[str, float | None]:
    """The columns `NUMBERS` of a row, None where one is empty, not there, or no number, which `bad` notes."""
    numbers: dict[str, float | None] = {}
    for name in NUMBERS:
        text = cells.get(name, "")
        try:
            numbers[name] = parse_seconds(text)
        except ValueError:
            numbers[name] = None
            bad.add(f"{name} {text!r} is not a number of seconds", row, "write seconds with a point, or nothing")
    return numbers


def check_columns(path: Path, present: Collection[str], required: Iterable[str], remedy: str = "") -> None:
    """Refuse a table without one of the required columns; without a `remedy`, one is found in the header."""
    missing = [name for name in required if name not in present]
    if missing:
        near = [f"{other} to {name}" for name in missing if (other := closest(name, present)) is not None]
        if near:
            advice = f"rename {', '.join(near)}"
        else:
            separator = "; the separator is a tab, in a .csv file a comma" if len(present) == 1 else ""
            advice = f"add it to the header{separator}"
        raise HcepError(f"lacks the column {', '.join(missing)}", file=path, row=1, remedy=remedy or advice)


def check_clips(clips: Iterable[Clip], path: Path, rows: Iterable[int] | None = None) -> None:
    """Refuse clips that no later stage could use.

    Errors name the file `path` and the clip's line number in `rows`, counted from 2 when left out.

    Raises
    ------
    HcepError
        For an empty or repeated clip id, an unknown text kind or flag, a bad box or segment, or a path that leaves the
        release root; one error for all clips.
    """
    with BadRows(path) as bad:
        note_faults(dict(zip(count(2) if rows is None else rows, clips, strict=False)), bad)


def note_faults(clips: Mapping[int, Clip], bad: BadRows) -> None:
    """Note what `check_clips` refuses, for clips by row."""
    first: dict[str, int] = {}
    for row, clip in clips.items():
        for cause, remedy in _faults(clip):
            bad.add(cause, row, remedy)
        if clip.clip in first:
            bad.add(f"clip {clip.clip!r} is already in row {first[clip.clip]}", row, "give every clip an id of its own")
        elif clip.clip:
            first[clip.clip] = row


def leaves_root(path: str) -> bool:
    """Whether a path of a table leads out of the release."""
    return path.startswith("/") or ".." in path.split("/")


def _is_long(cell: str) -> bool:
    return len(cell) > LONGEST_CELL


def _faults(clip: Clip) -> Iterator[tuple[str, str]]:
    """What is wrong with one clip, each with what to do about it."""
    if not clip.clip:
        yield "the clip id is empty", "name the clip"
    if "\0" in "".join(str(value) for value in clip):
        yield "a cell holds a NUL character", "remove it"
    long = next((name for name, value in clip._asdict().items() if isinstance(value, str) and _is_long(value)), None)
    if long is not None:
        yield f"{long} has more than {LONGEST_CELL:,} characters", "shorten it: no model reads so many"
    # a group that is the clip's name has no fault of its own
    for value, name in {getattr(clip, name): name for name in reversed(NAMES)}.items():
        if CONTROL_OR_BREAK.search(value):
            yield f"{name} {value!r} holds a control character or a line break", "remove it"
    if clip.text_kind not in TEXT_KINDS:
        yield f"unknown text_kind {clip.text_kind!r}", f"use one of {', '.join(TEXT_KINDS)}"
    for flag in dict.fromkeys(clip.flags.split(";")):
        if flag and flag not in FLAGS:
            yield f"unknown flag {flag!r}", f"use a subset of {';'.join(FLAGS)}"
    # a sound that is that of the video has no fault of its own
    names = [name for name in ("video", "audio", "faces") if name != "audio" or clip.audio != clip.video]
    for name in names:
        if leaves_root(getattr(clip, name)):
            yield f"{name} {getattr(clip, name)!r} leaves the release root", "give a path below the root"
    if clip.start is not None and clip.end is not None and clip.end <= max(clip.start, 0.0):
        yield f"the segment ends at {clip.end:g} s, not after its start {clip.start:g} s", "correct start and end"
    elif clip.end is not None and clip.end <= 0:
        yield f"the segment ends at {clip.end:g} s", "correct end"
    if clip.seconds is not None and clip.seconds <= 0:
        yield f"seconds is {clip.seconds:g}", "write the length of the clip, above 0, or nothing"
    try:
        parse_box(clip.box)
    except ValueError as error:
        yield str(error), "write x,y,w,h in whole pixels"


def read_manifest(path: str | Path) -> list[Clip]:
    """Read and check a manifest.tsv.

    Raises
    ------
    HcepError
        Naming file, row, cause and remedy; see `check_clips`. Or it was changed after it was written.
    """
    path = Path(path)
    check_table(path)
    clips: dict[int, Clip] = {}
    with BadRows(path, clips) as bad:
        for row, cells in open_table(path, bad=bad, quoted=True):
            if not clips:
                if {*COLUMNS} - {*cells} == {"seconds"}:
                    cause = "lacks the column seconds: an older version of hcep wrote it"
                    raise HcepError(cause, file=path, row=1, remedy="run the workflow again, or `hcep manifest`")
                check_columns(path, cells, COLUMNS)
            texts = {name: cells[name] for name in COLUMNS if name not in NUMBERS} | {FACES: cells.get(FACES, "")}
            clips[row] = Clip(**texts, **read_numbers(cells, bad, row))  # type: ignore[arg-type]
        if not clips and not bad.faults:
            raise HcepError("holds no clips", file=path, remedy="rebuild it with `hcep manifest`")
        note_faults(clips, bad)
    return [*clips.values()]


def write_manifest(path: str | Path, clips: Iterable[Clip]) -> None:
    """Check clips and write them as manifest.tsv, atomically, in the order given."""
    clips = list(clips)
    check_clips(clips, Path(path))
    rows = []
    for clip in clips:
        # repr keeps every digit, so that a segment is the same after a round trip
        values = clip._asdict()
        numbers = {name: "" if values[name] is None else repr(float(values[name])) for name in NUMBERS}
        rows.append({**values, **numbers})
    shown = [*COLUMNS, FACES] if any(clip.faces for clip in clips) else COLUMNS
    write_table(path, shown, [{name: row[name] for name in shown} for row in rows], delimiter="\t")
