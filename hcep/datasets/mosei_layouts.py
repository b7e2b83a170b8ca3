"""The two shapes in which CMU-MOSEI lies on disks: the raw release of CMU, and the cut copy of MMSA."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from hcep.datasets.limits import read_bytes
from hcep.datasets.manifest_file import open_table, parse_seconds
from hcep.datasets.mosei_folds import LISTS, NONE, REMEDY, find_folds, read_folds
from hcep.datasets.mosei_labels import Labels, Segment, find_labels
from hcep.datasets.spellings import find, names_in
from hcep.datasets.survey import Fault, warning
from hcep.errors import HcepError

LAYOUTS = ("auto", "raw", "mmsa")
TOP = ("MOSEI", "CMU-MOSEI")
TABLE_COLUMNS = ("video_id", "clip_id", "text", "label", "mode")
# a transcript and a row of the csd are one segment when both times are this close
MILLISECOND = 1e-3 + 1e-9
SENTIMENT = 1e-3
SHOWN = 10
fault = partial(warning, shown=SHOWN)


class Places(NamedTuple):
    """Where the parts of a release lie: raw has `transcripts` and perhaps `segmented`, mmsa has a `table`."""

    labels: Path
    folds: Path | None
    videos: Path
    transcripts: Path | None = None
    segmented: Path | None = None
    table: Path | None = None

    @property
    def layout(self) -> str:
        """``raw`` or ``mmsa``."""
        return "raw" if self.table is None else "mmsa"


class Part(NamedTuple):
    """One clip: id, video id, media path below the folder of videos, words, fold, and its annotation if it has one."""

    clip: str
    video: str
    path: str
    text: str
    fold: str
    segment: Segment | None


class Listing(NamedTuple):
    """All clips, the fold of every video, counts by section and name, and what is wrong."""

    parts: list[Part]
    folds: dict[str, str]
    counts: dict[str, dict[str, int]]
    faults: list[Fault]


def find_places(root: Path, layout: str, folds: str) -> Places:
    """Look for the parts of a release; `layout` and `folds` are the settings of these names.

    With the layout ``auto`` full videos make it raw, else MMSA's label.csv makes it mmsa.

    Raises
    ------
    HcepError
        When the labels, the videos or the folds are not there.
    """
    full = _inside(root, "Videos", "Full") if layout != "mmsa" else None
    table = _find_table(root) if layout != "raw" and full is None else None
    labels = find_labels(root)
    if full is not None:
        place = find_folds(root, folds)
        if place is None:
            raise HcepError("the folds are missing", file=root, remedy=REMEDY)
        transcripts, segmented = _inside(root, "Transcript", "Segmented"), _inside(root, "Videos", "Segmented")
        return Places(labels, place, full, transcripts, segmented)
    if table is not None:
        videos = find(table.parent, ("Raw",), depth=1, kind="folder") or table.parent / "Raw"
        return Places(labels, find_folds(root, folds) if folds else None, videos, table=table)
    looked_for = {"raw": "Videos/Full/Combined", "mmsa": "label.csv"}
    missing = " and no ".join(looked_for.values() if layout == "auto" else [looked_for[layout]])
    remedy = "the raw release has CMU_MOSEI/Raw/Videos/Full/Combined, MMSA's copy MOSEI/label.csv and MOSEI/Raw"
    raise HcepError(f"neither layout of CMU-MOSEI is below it: no {missing}", file=root, remedy=remedy)


def _inside(root: Path, outer: str, inner: str) -> Path | None:
    """Folder outer/inner/Combined, or outer/inner where that is not there."""
    above = find(root, (outer, outer + "s"), depth=3, kind="folder")
    place = above and find(above, (inner,), depth=1, kind="folder")
    return place and (find(place, ("Combined",), depth=1, kind="folder") or place)


def _find_table(root: Path) -> Path | None:
    # MMSA's other corpora have a label.csv too
    top = find(root, TOP, depth=2, kind="folder")
    inside = top and find(top, ("label.csv",), depth=1, kind="file")
    return inside or find(root, ("label.csv",), depth=1, kind="file")


def read_listing(places: Places, labels: Labels) -> Listing:
    """All clips of a release, in either layout.

    Raises
    ------
    HcepError
        When the folds or label.csv cannot be read.
    """
    folds = read_folds(places.folds) if places.folds is not None else {}
    if places.table is None:
        return _read_raw(places, labels, folds)
    return _read_mmsa(places.table, places.videos, labels, folds)


def _read_raw(places: Places, labels: Labels, folds: dict[str, str]) -> Listing:
    """One clip per row of the csd, named ``<video>_<row>``, to be cut out of the full video.

    Words come from the line of the video's transcript with the same start and end. The rows' numbers are not those of
    the sentences.
    """
    present, transcripts = names_in(places.videos), names_in(places.transcripts)
    parts, unread, garbled, broken = [], [], [], []
    words = {"joined": 0, "without words": 0, "not joined": 0}
    for video, segments in labels.segments.items():
        lines: list[tuple[float, float, str]] = []
        if places.transcripts is not None and f"{video}.txt" in transcripts:
            lines, bad, clean = _read_transcript(places.transcripts / f"{video}.txt", video)
            broken += [f"{video}.txt line {number}" for number in bad]
            garbled += [] if clean else [f"{video}.txt"]
        for segment in segments:
            text = _words_of(segment, lines)
            words["not joined" if text is None else "joined" if text else "without words"] += 1
            clip = f"{video}_{segment.row}"
            unread += [clip] if text is None else []
            parts.append(Part(clip, video, f"{video}.mp4", text or "", folds.get(video, NONE), segment))
    there = [video for video in labels.segments if f"{video}.mp4" in present]
    cut = {name.rsplit("_", 1)[0] for name in names_in(places.segmented)}
    faults = [
        *_missing(labels.segments, there, ".mp4", places.videos),
        *fault("clips whose transcript is not found (no words)", unread, "add Raw/Transcript/Segmented/Combined"),
        *fault("transcript lines that cannot be read", broken, "a line is video___number___start___end___text"),
        *fault("transcripts that are not UTF-8 (odd characters replaced)", garbled, "save them as UTF-8"),
        *fault(
            "videos without a file in Videos/Segmented: the times of many such are those of a trimmed copy",
            [video for video in there if cut and video not in cut],
            "look at a few of their clips before trusting them (issue 227 of the SDK)",
        ),
    ]
    return Listing(parts, folds, {"transcripts": words}, faults)


def _missing(wanted: Iterable[str], there: list[str], suffix: str, folder: Path) -> list[Fault]:
    gone = [f"{video}{suffix}" for video in sorted(set(wanted) - set(there))]
    what = f"videos missing in {folder.parent.name}/{folder.name}"
    if gone and not there:
        return [Fault("error", what, len(gone), gone[:SHOWN], f"check that {folder} is the folder of videos")]
    return fault(what, gone, "their clips stay in the manifest without picture and sound")


def _read_transcript(path: Path, video: str) -> tuple[list[tuple[float, float, str]], list[int], bool]:
    """Start (0 at least), end and words of every line; numbers of other lines; whether all was UTF-8."""
    try:
        content = read_bytes(path).decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise HcepError(f"cannot be read: {error.strerror}", file=path) from error
    # the id may hold any number of `_`, so it goes as a whole
    prefix = f"{video}___"
    lines, bad = [], []
    for number, line in enumerate(content.split("\n"), 1):
        fields = line.removeprefix(prefix).split("___", 3) if line.startswith(prefix) else []
        try:
            _, start, end, text = fields
            lines.append((max(float(start), 0.0), float(end), text.strip()))
        except ValueError:
            bad += [number] if line.strip() else []
    return lines, bad, "\ufffd" not in content


def _words_of(segment: Segment, lines: list[tuple[float, float, str]]) -> str | None:
    """Words of the line with the segment's times, None when there is none; before the video starts is its start."""
    begin = max(segment.start, 0.0)
    best, words = MILLISECOND, None
    for start, end, text in lines:
        apart = max(abs(start - begin), abs(end - segment.end))
        if apart <= best:
            best, words = apart, text
    return words


def _read_mmsa(table: Path, videos: Path, labels: Labels, given: dict[str, str]) -> Listing:
    """One clip per row of label.csv, named ``<video>_<clip>``, with the annotation of the csd row of the same rank.

    MMSA's clip ids number the sentences, csd rows are in an order of their own; within a video, both in order of time,
    they are the same segments. A video with another number of rows, or with a sentiment that differs, is not joined:
    its clips stay without a label. Folds that are `given` stand above those of the column mode.
    """
    rows = _read_table(table)
    parts, folds, uneven, differing = [], {}, [], []
    for video, clips in rows.items():
        clips.sort(key=lambda row: int(row["clip_id"]))
        folds[video] = given.get(video, NONE) if given else clips[0]["mode"] or NONE
        segments = sorted(labels.segments.get(video, []), key=lambda segment: (segment.start, segment.end))
        apart = [
            f"{video}_{row['clip_id']}: {row['label']} and {segment.sentiment:g}"
            for row, segment in zip(clips, segments, strict=False)
            if abs(float(row["label"]) - segment.sentiment) > SENTIMENT
        ]
        if len(segments) != len(clips):
            uneven.append(f"{video}: {len(clips)} and {len(segments)}")
            segments = []
        elif apart:
            differing += apart
            segments = []
        for row, segment in zip_longest(clips, segments):
            name = row["clip_id"]
            words = row["text"].strip()
            parts.append(Part(f"{video}_{name}", video, f"{video}/{name}.mp4", words, folds[video], segment))
    unpaired = sum(part.segment is None for part in parts)
    silent = [part.clip for part in parts if not part.text]
    counts = {
        "mmsa": {
            "clips": len(parts),
            "joined": len(parts) - unpaired,
            "not joined": unpaired,
            "videos not joined for their number of rows": len(uneven),
            "sentiments that differ": len(differing),
            "csd rows of videos that are not in label.csv": sum(
                len(segments) for video, segments in labels.segments.items() if video not in rows
            ),
        },
        "transcripts": {"joined": len(parts) - len(silent), "without words": len(silent), "not joined": 0},
    }
    remedy = "nothing can be done: these clips stay without a label"
    faults = [
        *_missing(rows, sorted(names_in(videos) & set(rows)), "", videos),
        *fault("videos with another number of clips in label.csv than rows in the csd", uneven, remedy),
        *fault("sentiments of label.csv and csd that differ (their videos are not joined)", differing, remedy),
        *fault("clips without words", silent, "see the column text of label.csv"),
    ]
    return Listing(parts, folds, counts, faults)


def _read_table(path: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of label.csv by video; ids stay text, so that none loses a zero."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    numbers: dict[tuple[str, int], int] = {}
    for line, cells in open_table(path, ",", TABLE_COLUMNS):
        cells["mode"] = cells["mode"].strip().lower()
        cause = _fault_of(cells, rows[cells["video_id"]], numbers)
        if cause:
            raise HcepError(cause, file=path, row=line, remedy="restore the row from MMSA's label.csv")
        numbers[cells["video_id"], int(cells["clip_id"])] = line
        rows[cells["video_id"]].append(cells)
    if not rows:
        raise HcepError("lists no clips", file=path, remedy="get MMSA's label.csv of MOSEI")
    return dict(rows)


def _fault_of(cells: Mapping[str, str], earlier: list[dict[str, str]], numbers: Mapping[tuple[str, int], int]) -> str:
    video, clip = cells["video_id"], cells["clip_id"]
    if not video or "/" in video or set(video) <= {"."}:
        return f"video_id {video!r} is not a name"
    if not (clip.isascii() and clip.isdecimal() and len(clip) < 10):
        return f"clip_id {clip!r} is not a whole number"
    if (video, int(clip)) in numbers:
        return f"clip {clip} of video {video!r} is already in row {numbers[video, int(clip)]}"
    try:
        if parse_seconds(cells["label"]) is None:
            return "has no label (sentiment)"
    except ValueError:
        return f"label {cells['label']!r} is not a number"
    if cells["mode"] and cells["mode"] not in LISTS.values():
        return f"mode {cells['mode']!r} is not one of {', '.join(LISTS.values())}"
    if earlier and earlier[0]["mode"] != cells["mode"]:
        return f"video {video!r} is in {earlier[0]['mode'] or 'no fold'} and in {cells['mode'] or 'no fold'}"
    return ""
