"""manifest.tsv: one row a clip, the only description of a dataset that later stages read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hcep.errors import HcepError, closest
from hcep.files import write_table

SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon"}
TEXT_KINDS = ("caption", "transcript", "asr", "none")
FLAGS = ("no_audio", "no_video", "no_text")


class Clip(NamedTuple):
    """One clip: a file, or a segment of one.

    `video` and `audio` are posix paths below the release root ('' = none), `start` and `end` seconds (None = the
    file's own), `text_kind` one of `TEXT_KINDS`, `label` a class name ('' = unlabelled), `labels` all names joined by
    ';', `group` what must not be split over train and test, `flags` a ';'-joined subset of `FLAGS`, `box` 'x,y,w,h' in
    source pixels or ''.
    """

    clip: str
    dataset: str
    video: str
    audio: str
    start: float | None
    end: float | None
    text: str
    text_kind: str
    language: str
    label: str
    labels: str
    group: str
    fold: str
    flags: str
    box: str
    seconds: float | None = None


COLUMNS = Clip._fields


def join_flags(flags: Iterable[str]) -> str:
    """Join flags with ';', each once: those of `FLAGS` in their order, then what decoding found."""
    wanted = set(flags) - {""}
    return ";".join([*(flag for flag in FLAGS if flag in wanted), *sorted(wanted - set(FLAGS))])


def lengths_differ(a: float, b: float) -> bool:
    """Whether two lengths that should be the same differ by more than one second and a fifth of the longer one."""
    return abs(a - b) > max(1.0, 0.2 * max(a, b))


def parse_box(box: str) -> tuple[int, int, int, int] | None:
    """Read 'x,y,w,h' (whole pixels, width and height above 0) or ''; a ValueError says what is wrong."""
    if not box:
        return None
    numbers = [int(part) for part in box.split(",")]
    if len(numbers) != 4 or min(numbers) < 0 or min(numbers[2:]) < 1:
        raise ValueError(f"not a box x,y,w,h: {box!r}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def parse_seconds(text: str) -> float | None:
    """Read seconds; '' is None; a ValueError for what is not a finite number."""
    if not text.strip():
        return None
    value = float(text)
    if value != value or abs(value) == float("inf"):
        raise ValueError(f"not a finite number: {text!r}")
    return value


def open_table(path: Path, delimiter: str = "\t") -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number of the row's first line, cells) of a UTF-8 table with a header.

    Raises
    ------
    HcepError
        When the file is missing, is not UTF-8, has no header or one that repeats a column, or a row has another number
        of cells than the header.
    """
    try:
        handle = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise HcepError(f"cannot be read: {error.strerror}", file=path) from error
    with handle:
        reader = csv.reader(handle, delimiter=delimiter, strict=True)
        line = 1
        try:
            header = next(reader, [])
            if not header:
                raise HcepError("has no header", file=path, row=1, remedy="write the column names in the first line")
            repeated = next((name for name in header if name and header.count(name) > 1), None)
            if repeated:
                cause = f"has the column {repeated} twice"
                raise HcepError(cause, file=path, row=1, remedy="remove or rename one of them")
            line = reader.line_num + 1
            for cells in reader:
                if cells and len(cells) != len(header):
                    cause = f"has {len(cells)} cells, the header has {len(header)}"
                    remedy = f"quote cells that hold {SEPARATORS[delimiter]}s or newlines"
                    other = next((sign for sign in SEPARATORS if sign != delimiter and sign in header[0]), None)
                    if len(header) == 1 and other:
                        remedy = (
                            f"its header is separated by {SEPARATORS[other]}s, save it with {SEPARATORS[delimiter]}s"
                        )
                    raise HcepError(cause, file=path, row=line, remedy=remedy)
                # spreadsheets write rows of nothing behind the last one
                if any(cells):
                    yield line, dict(zip(header, cells, strict=True))
                line = reader.line_num + 1
        except UnicodeDecodeError as error:
            raise HcepError(f"is not UTF-8 ({error.reason})", file=path, remedy="save it as UTF-8") from error
        except csv.Error as error:
            raise HcepError(f"is not a table: {error}", file=path, row=line, remedy="check the quotes") from error


def check_columns(path: Path, present: Iterable[str], required: Iterable[str]) -> None:
    """Refuse a table without one of the required columns."""
    present = list(present)
    missing = [name for name in required if name not in set(present)]
    if missing:
        near = [(name, other) for name in missing if (other := closest(name, present)) is not None]
        remedy = "add it to the header"
        if near:
            remedy = f"rename {', '.join(f'{other} to {name}' for name, other in near)}"
        elif len(present) == 1:
            remedy = "add it to the header; the separator is a tab, in a .csv file a comma"
        raise HcepError(f"lacks the column {', '.join(missing)}", file=path, row=1, remedy=remedy)


def check_clips(clips: Iterable[Clip], path: Path, rows: Iterable[int] | None = None) -> None:
    """Refuse clips that no later stage could use.

    Parameters
    ----------
    clips : iterable of Clip
        The rows in order.
    path : path
        File to name in errors.
    rows : iterable of int, optional
        Line number of each clip; counted from 2 when left out.

    Raises
    ------
    HcepError
        For an empty or repeated clip id, an unknown text kind or flag, a bad box or segment, or a path that leaves the
        release root.
    """
    clips = list(clips)
    numbers = list(rows) if rows is not None else list(range(2, len(clips) + 2))
    first: dict[str, int] = {}
    for row, clip in zip(numbers, clips, strict=True):
        cause, remedy = _fault(clip)
        if clip.clip in first:
            cause = f"clip {clip.clip!r} is already in row {first[clip.clip]}"
            remedy = "give every clip an id of its own"
        if cause:
            raise HcepError(cause, file=path, row=row, remedy=remedy)
        first[clip.clip] = row


def _fault(clip: Clip) -> tuple[str, str]:
    """What is wrong with one clip and what to do about it; two empty strings when nothing is."""
    if not clip.clip:
        return "the clip id is empty", "name the clip"
    if "\0" in "".join(str(value) for value in clip):
        return "a cell holds a NUL character", "remove it"
    if clip.text_kind not in TEXT_KINDS:
        return f"unknown text_kind {clip.text_kind!r}", f"use one of {', '.join(TEXT_KINDS)}"
    unknown = [flag for flag in clip.flags.split(";") if flag and flag not in FLAGS]
    if unknown:
        return f"unknown flag {unknown[0]!r}", f"use a subset of {';'.join(FLAGS)}"
    for name in ("video", "audio"):
        media = PurePosixPath(getattr(clip, name))
        if media.is_absolute() or ".." in media.parts:
            return f"{name} {str(media)!r} leaves the release root", "give a path below the root"
    if clip.start is not None and clip.end is not None and clip.end <= max(clip.start, 0.0):
        return f"the segment ends at {clip.end:g} s, not after its start {clip.start:g} s", "correct start and end"
    if clip.end is not None and clip.end <= 0:
        return f"the segment ends at {clip.end:g} s", "correct end"
    try:
        parse_box(clip.box)
    except ValueError as error:
        return str(error), "write x,y,w,h in whole pixels"
    return "", ""


def read_manifest(path: str | Path) -> list[Clip]:
    """Read and check a manifest.tsv.

    Raises
    ------
    HcepError
        Naming file, row, cause and remedy; see `check_clips`.
    """
    path = Path(path)
    clips: list[Clip] = []
    rows: list[int] = []
    for row, cells in open_table(path):
        if not rows:
            check_columns(path, cells, COLUMNS)
        numbers: dict[str, float | None] = {}
        for name in ("start", "end", "seconds"):
            try:
                numbers[name] = parse_seconds(cells[name])
            except ValueError as error:
                cause = f"{name} {cells[name]!r} is not a number of seconds"
                raise HcepError(cause, file=path, row=row, remedy="write seconds with a point, or nothing") from error
        texts = {name: cells[name] for name in COLUMNS if name not in numbers}
        clips.append(Clip(**texts, **numbers))  # type: ignore[arg-type]
        rows.append(row)
    if not rows:
        raise HcepError("holds no clips", file=path, remedy="rebuild it with `hcep manifest`")
    check_clips(clips, path, rows)
    return clips


def write_manifest(path: str | Path, clips: Iterable[Clip]) -> None:
    """Check clips and write them as manifest.tsv, atomically, in the order given."""
    clips = list(clips)
    check_clips(clips, Path(path))
    rows = []
    for clip in clips:
        # repr keeps every digit, so that a segment is the same after a round trip
        seconds = {name: "" if value is None else repr(float(value)) for name, value in _seconds(clip).items()}
        rows.append({**clip._asdict(), **seconds})
    write_table(path, COLUMNS, rows, delimiter="\t")


def _seconds(clip: Clip) -> dict[str, float | None]:
    return {"start": clip.start, "end": clip.end, "seconds": clip.seconds}
