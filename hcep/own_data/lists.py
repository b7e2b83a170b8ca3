"""Clips of somebody's own table: separators, names of columns and ways to write a path as they are found."""

from __future__ import annotations

import csv
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from hcep.datasets.bad_rows import BadRows
from hcep.datasets.limits import LONGEST_CELL, lines_of, too_large
from hcep.datasets.manifest_file import COLUMNS, SEPARATORS, open_table, read_numbers
from hcep.datasets.settings import nearest
from hcep.datasets.spellings import normal
from hcep.errors import HcepError
from hcep.own_data.folders import Reading
from hcep.own_data.media_files import SOUND, Media, clip_ids, counted

# column of the clip table -> what it is called elsewhere, in small letters and digits alone
_NAMES = {
    "clip": "clipid id sampleid segmentid uid",
    "video": "path file filename filepath videopath videofile videofilename videoname media clippath",
    "audio": "audiopath audiofile audiofilename wav wavfile sound",
    "start": "starttime begin onset startseconds startsec starts",
    "end": "endtime stop offset endseconds endsec ends",
    "text": "transcript transcription utterance sentence words caption description subtitle",
    "label": "emotion class emotionlabel category",
    "labels": "emotions",
    "group": "speaker subject actor participant person speakerid subjectid actorid participantid",
    "fold": "split set partition subset",
}
ALIASES = {role: names.split() for role, names in _NAMES.items()}
ROLES = tuple(name for name in COLUMNS if name != "dataset")
CAPTIONS = ("caption", "description")
ONE_HOT = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True, "": False}


def read_list(
    root: Path, media: Media, table: Path, columns: Mapping[str, str], ignore: Sequence[str], text_kind: str | None
) -> Reading:
    """Rows of a table of clips that lie below `root`.

    `columns` maps a column of the clip table to its name in `table` where that is none of the usual ones, `ignore`
    names columns that are not used.

    Raises
    ------
    HcepError
        For a column that is not certain or not known, a file that is not there, several labels in a cell, two rows of
        one file and segment, or what `open_table` refuses.
    """
    with BadRows(table) as bad:
        rows = list(open_table(table, separator(table), bad=bad))
    if not rows:
        raise HcepError("lists no clips", file=table, remedy="add one row per clip")
    header = list(rows[0][1])
    chosen = _columns(header, columns, ignore, table)
    unnamed = [name for name in header if name and name not in chosen.values() and name not in ignore]
    labels = _one_hot(unnamed, rows) if "label" not in chosen else []
    _check_known([name for name in unnamed if name not in labels], table)
    if "video" not in chosen and "audio" not in chosen:
        cause = f"no column has the files: {', '.join(header)}"
        raise HcepError(cause, file=table, row=1, remedy="say --column video=NAME")
    if "label" not in chosen and not labels:
        remedy = "say --column label=NAME; columns of 0 and 1, one per label, are read too"
        raise HcepError(f"no column has the labels: {', '.join(header)}", file=table, row=1, remedy=remedy)
    with BadRows(table) as bad:
        found = [_row(cells, chosen, labels, bad, row) for row, cells in rows]
    told = [f"columns of {table}: {', '.join(f'{role} = {name}' for role, name in chosen.items())}"]
    told += [f"label = the column with 1 of {', '.join(labels)}"] if labels else []
    unused = [*ignore, *(["(no name)"] if "" in header else [])]
    told += [f"columns not used: {', '.join(unused)}"] if unused else []
    lines = [row for row, _ in rows]
    for role in ("video", "audio"):
        if role in chosen:
            told += _find_files(root, media, table, role, found, lines)
    # a file of sound alone is no picture
    for one in found:
        if not one["audio"] and PurePosixPath(one["video"]).suffix.lower() in SOUND:
            one["audio"], one["video"] = one["video"], ""
    _name_clips(found, lines, table)
    kind = text_kind or ("caption" if normal(chosen.get("text", "")) in CAPTIONS else "transcript")
    with_words = [one for one in found if one["text"]]
    for one in with_words if "text_kind" not in chosen else ():
        one["text_kind"] = kind
    if with_words and "text_kind" not in chosen:
        told.append(f"words of {counted(len(with_words), 'clip')}: taken as {kind} (--text-kind)")
    return Reading(found, told)


def separator(table: Path) -> str:
    """The sign that most often separates the names in the first line of a table."""
    try:
        with table.open(encoding="utf-8-sig", newline="", errors="replace") as handle:
            first = next(lines_of(handle, table), "")
    except OSError as error:
        raise HcepError(f"cannot be read: {error.strerror}", file=table, remedy="name the table of clips") from error
    try:
        count = {sign: len(next(csv.reader([first], delimiter=sign), [])) for sign in SEPARATORS}
    except csv.Error as error:
        raise too_large(table, "has a cell of", LONGEST_CELL, "characters", 1) from error
    best = [sign for sign in count if count[sign] == max(count.values())]
    if count[best[0]] < 2:
        return ","
    if len(best) > 1:
        cause = f"its first line may be separated by {' or '.join(SEPARATORS[sign] for sign in best)}s"
        raise HcepError(cause, file=table, row=1, remedy="put names that hold such a sign in quotation marks")
    return best[0]


def _columns(header: Sequence[str], given: Mapping[str, str], ignore: Sequence[str], table: Path) -> dict[str, str]:
    """Column of the clip table -> column of this table."""
    for option, names in (("--column", [*given.values()]), ("--ignore", list(ignore))):
        for name in names:
            if name not in header:
                cause = f"{option} names {name!r}, which is no column{nearest(name, header)}"
                raise HcepError(cause, file=table, row=1, remedy=f"its columns are {', '.join(header)}")
    for role in given:
        if role not in ROLES:
            cause = f"--column {role}=… is no column of the clip table{nearest(role, ROLES)}"
            raise HcepError(cause, remedy=f"these are {', '.join(ROLES)}")
    free = [name for name in header if name not in given.values() and name not in ignore]
    claims: dict[str, list[str]] = defaultdict(list)
    for role in ROLES:
        if role not in given:
            spellings = {normal(role), *ALIASES.get(role, [])}
            claims[role] = [name for name in free if normal(name) in spellings]
    # a column called clip has the files where no other one has, else ids
    files = given.keys() & {"video", "audio"} or claims["video"] or claims["audio"]
    if not files and [normal(name) for name in claims["clip"]] == ["clip"]:
        claims["video"] = claims.pop("clip")
    for role, names in claims.items():
        if len(names) > 1:
            column = shlex.quote(f"{role}={names[0]}")
            remedy = f"say --column {column} --ignore {shlex.join(names[1:])}, or the other way round"
            cause = f"{' and '.join(map(repr, names))} may both be the {role}"
            raise HcepError(cause, file=table, row=1, remedy=remedy)
    usual = {role: names[0] for role, names in claims.items() if names}
    return {role: name for role in ROLES if (name := given.get(role) or usual.get(role, ""))}


def _one_hot(names: Sequence[str], rows: Sequence[tuple[int, dict[str, str]]]) -> list[str]:
    found = [name for name in names if all(cells[name].strip().casefold() in ONE_HOT for _, cells in rows)]
    return found if len(found) > 1 and len(found) == len(names) else []


def _check_known(unknown: Sequence[str], table: Path) -> None:
    if unknown:
        cause = f"these columns are not known: {', '.join(map(repr, unknown))}"
        remedy = (
            f"leave them out with --ignore {shlex.join(unknown)}; one that is used is named, as --column group=NAME"
        )
        raise HcepError(cause, file=table, row=1, remedy=remedy)


def _row(
    cells: dict[str, str], chosen: Mapping[str, str], labels: Sequence[str], bad: BadRows, row: int
) -> dict[str, str]:
    found = {role: " ".join(cells[chosen[role]].split()) if role in chosen else "" for role in ROLES}
    # a path may have two spaces in a row
    found |= {role: cells[chosen[role]].strip() for role in ("video", "audio", "clip") if role in chosen}
    read_numbers(found, bad, row)
    marked = [name for name in labels if ONE_HOT[cells[name].strip().casefold()]]
    if len(marked) > 1:
        bad.add(f"has several labels: {', '.join(marked)}", row, "mark one; this task has one label per clip")
    if marked:
        found["label"] = marked[0]
    return found


def _find_files(
    root: Path, media: Media, table: Path, role: str, rows: Sequence[dict[str, str]], lines: Sequence[int]
) -> list[str]:
    """Write the column as paths below `root`; the whole column is read in one way, the first that finds every file."""
    named = [(line, one) for line, one in zip(lines, rows, strict=True) if one[role]]
    best: dict[str, str] = {}
    # of a picture and a sound of one name, the picture is meant
    pictures = {str(PurePosixPath(path).with_suffix("")) for path in media.video}
    alone = [path for path in media.sound if str(PurePosixPath(path).with_suffix("")) not in pictures]
    for way, place in _ways(root, table, media.sound if role == "audio" else [*media.video, *alone]):
        found = {one[role]: path for _, one in named if (path := place(one[role]))}
        if len(found) > len(best):
            best = found
        if all(one[role] in found for _, one in named):
            for _, one in named:
                one[role] = found[one[role]]
            return [f"{role}: {counted(len(named), 'row')} with {way}"]
    missing = [(line, one[role]) for line, one in named if one[role] not in best]
    row, cell = missing[0]
    why = next((reason for reason, paths in media.left_out.items() if cell in paths), "")
    cause = f"{len(missing)} of {len(named)} rows name a {role} that is not there, such as {cell!r}"
    remedy = f"complete the folder or remove these rows; a path may be below {root} or {table.parent}, or a name alone"
    raise HcepError(f"{cause} ({why})" if why else cause, file=table, row=row, remedy=remedy)


def _ways(root: Path, table: Path, usable: Sequence[str]) -> Iterator[tuple[str, Callable[[str], str]]]:
    """How cells may name files, in words, each with a function from a cell to the path below the root or ''."""
    there, home = {*usable}, os.path.abspath(root)  # noqa: PTH100 - links stay as they are written

    def below(folder: Path) -> Callable[[str], str]:
        def place(cell: str) -> str:
            path = os.path.relpath(os.path.join(os.path.abspath(folder), cell.replace("\\", "/")), home)  # noqa: PTH100, PTH118
            return path if path in there else ""

        return place

    def unique(key: Callable[[PurePosixPath], str]) -> Callable[[str], str]:
        groups: dict[str, list[str]] = defaultdict(list)
        for path in usable:
            groups[key(PurePosixPath(path))].append(path)
        return lambda cell: groups[cell][0] if len(groups.get(cell, [])) == 1 else ""

    yield f"paths below {root}", lambda cell: cell if cell in there else below(root)(cell)
    yield f"paths below {table.parent}", below(table.parent)
    yield "paths below the working directory", below(Path())
    yield "names of files", unique(lambda path: path.name)
    yield f"paths below {root} without their ending", unique(lambda path: str(path.with_suffix("")))
    yield "names of files without their ending", unique(lambda path: path.stem)


def _name_clips(rows: Sequence[dict[str, str]], lines: Sequence[int], table: Path) -> None:
    """Refuse two rows of the same file and segment, and name the clips that have no id."""
    first: dict[tuple[str, ...], int] = {}
    for line, one in zip(lines, rows, strict=True):
        key = tuple(one[name] for name in ("video", "audio", "start", "end"))
        if not any(key[:2]):
            raise HcepError("names no file", file=table, row=line, remedy="name one, or remove the row")
        if key in first:
            cause = f"is of the same file as row {first[key]}, {one['video'] or one['audio']!r}"
            remedy = "one row per clip, with one label; parts of a file need start and end"
            raise HcepError(cause, file=table, row=line, remedy=remedy)
        first[key] = line
    given = Counter(one["clip"] for one in rows if one["clip"])
    names = clip_ids([str(PurePosixPath(one["video"] or one["audio"]).with_suffix("")) for one in rows])
    if given:
        repeated = next((name for name, count in given.items() if count > 1), None)
        if repeated or sum(given.values()) < len(rows):
            cause = f"clip {repeated!r} is there twice" if repeated else "some rows have no clip id"
            remedy = (
                "give every clip an id of its own, or leave the column out with --ignore: ids are made of the paths"
            )
            raise HcepError(cause, file=table, remedy=remedy)
        return
    for one, name in zip(rows, names, strict=True):
        one["clip"] = name
