"""`hcep check`: what lies in a release, its counts beside the published ones, and what is wrong. Nothing is decoded."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from hcep import registry
from hcep.container import MediaError
from hcep.datasets.build import require_root
from hcep.datasets.manifest_file import FLAGS, Clip, check_clips, check_columns, lengths_differ, open_table
from hcep.datasets.spellings import other_spelling
from hcep.datasets.survey import Fault, Survey
from hcep.errors import HcepError
from hcep.probe import Glance, glance
from hcep.yaml_file import read_yaml

EXAMPLES = 5
NONE = "(none)"
# a path with one of these cannot be an input of a rule
UNWATCHED = set("{}\n\r")


class Count(NamedTuple):
    """One number of a release beside the published one (None = none is published)."""

    section: str
    name: str
    here: int
    published: int | None


class Check(NamedTuple):
    """Everything `hcep check` says of a dataset; `table` holds the clips per label and fold, '' where there is none."""

    dataset: str
    root: Path
    found: dict[str, str]
    counts: list[Count]
    table: Counter[tuple[str, str]]
    faults: list[Fault]

    @property
    def usable(self) -> bool:
        """Whether no fault is an error."""
        return all(fault.severity != "error" for fault in self.faults)


def check_release(
    adapter: str,
    root: Path,
    dataset: str,
    settings: Mapping[str, Any],
    *,
    expected: Path | None = None,
    max_failures: float = 0.01,
    qc: Path | None = None,
    workers: int = 8,
) -> Check:
    """Read a release's lists, look at the headers of its media, and compare the counts with the published ones.

    Parameters
    ----------
    adapter, root, dataset, settings
        As in `build_manifest`.
    expected : path, optional
        YAML with the published numbers: ``clips``, ``labels``, ``folds`` and ``sections``, each name -> number.
    max_failures : float
        Share of clips with missing or unreadable media above which the release counts as unusable.
    qc : path, optional
        qc.tsv of a cache that was made from this release: what only decoding tells, such as silent sound, is counted.
    workers : int
        Headers read at a time.

    Raises
    ------
    HcepError
        When the root or a list is missing or wrong: there is nothing to count then.
    """
    root = require_root(root, dataset)
    reader = registry.load(registry.dataset(adapter))(root, dict(settings))
    clips: list[Clip] = reader.clips()
    check_clips(clips, root)
    survey = reader.survey(clips) if hasattr(reader, "survey") else Survey({}, {}, [])
    counts = [*_clip_counts(clips), *_survey_counts(survey)]
    faults = [*survey.faults, *_media_faults(root, clips, max_failures, workers), *_path_faults(clips)]
    faults += _decoded_faults(qc) if qc is not None else []
    table = Counter((clip.label, clip.fold) for clip in clips)
    return Check(dataset, root, dict(survey.found), _beside(counts, table, expected), table, faults)


def _clip_counts(clips: Sequence[Clip]) -> Iterator[tuple[str, str, int]]:
    yield "clips", "all", len(clips)
    columns = {"labels": "label", "folds": "fold", "text": "text_kind"}
    for section, column in columns.items():
        for name, count in sorted(Counter(getattr(clip, column) for clip in clips).items()):
            yield section, name or NONE, count


def _survey_counts(survey: Survey) -> Iterator[tuple[str, str, int]]:
    for section, numbers in survey.counts.items():
        for name, count in numbers.items():
            yield section, name, count


def _beside(
    counts: Sequence[tuple[str, str, int]], table: Mapping[tuple[str, str], int], expected: Path | None
) -> list[Count]:
    """Counts beside the published numbers; a published name that is not here counts 0."""
    published = _published(expected) if expected is not None else {}
    here = {(section, name): count for section, name, count in counts}
    # labels within a fold are in the table anyway, and compared only where such numbers are published
    within = {(f"fold {fold or NONE}", label or NONE): number for (label, fold), number in table.items()}
    here |= {key: number for key, number in within.items() if key in published}
    sections = list(dict.fromkeys(section for section, _ in [*here, *published]))
    names: dict[str, list[str]] = {section: [] for section in sections}
    for section, name in [*here, *published]:
        if name not in names[section]:
            names[section].append(name)
    return [
        Count(section, name, here.get((section, name), 0), published.get((section, name)))
        for section in sections
        for name in names[section]
    ]


def _published(path: Path) -> dict[tuple[str, str], int]:
    try:
        content = read_yaml(path)
    except OSError as error:
        raise HcepError(f"cannot be read: {error.strerror}", file=path) from error
    numbers: dict[tuple[str, str], int] = {}
    tables = {key: content[key] for key in ("labels", "folds") if key in content} | content.get("sections", {})
    if "clips" in content:
        tables["clips"] = {"all": content["clips"]}
    for section, table in tables.items():
        for name, value in table.items():
            if not isinstance(value, int):
                raise HcepError(f"{value!r} is not a number", file=path, row=f"{section}.{name}")
            numbers[section, str(name)] = value
    return numbers


def _media_faults(root: Path, clips: Sequence[Clip], max_failures: float, workers: int) -> Iterator[Fault]:
    """Missing and unreadable files, and clips without sound or picture, from the headers alone."""
    users: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        for path in {clip.video, clip.audio} - {""}:
            users[path].append(clip)
    present = _present(root, list(users))
    with ThreadPoolExecutor(workers) as pool:
        seen = dict(zip(present, pool.map(lambda path: _look(root / path), present), strict=True))
    broken: dict[str, list[str]] = defaultdict(list)
    for path in users:
        if path not in seen:
            broken["media file is missing"].append(path)
        elif isinstance(seen[path], str):
            broken[f"media file {seen[path]}"].append(path)
    for reason, paths in sorted(broken.items()):
        names = sorted({clip.clip for path in paths for clip in users[path]})
        severity = "error" if len(names) > max_failures * len(clips) else "warning"
        files = "" if len(paths) == len(names) else f" ({len(paths)} files)"
        remedy = "complete the release, or raise max_failures of the dataset entry if it is meant to be like this"
        others = [(path, other) for path in paths[:EXAMPLES] if (other := other_spelling(root, path)) is not None]
        if others:
            remedy = f"{', '.join(f'{path} is there as {other}' for path, other in others)}: rename them; or {remedy}"
        yield Fault(severity, f"clips whose {reason}{files}", len(names), names[:EXAMPLES], remedy)  # type: ignore[arg-type]
    silent = [clip.clip for clip in clips if not _has(clip.audio, seen, "has_audio")]
    blind = [clip.clip for clip in clips if not _has(clip.video, seen, "has_video")]
    for what, lost in (("sound", silent), ("picture", blind)):
        if lost:
            yield Fault(
                "warning", f"clips without {what} (kept, flagged, zeros in the cache)", len(lost), lost[:EXAMPLES]
            )
    yield from _length_faults(clips, seen)
    late = [clip.clip for clip in clips if clip.end is not None and clip.end > _end(clip.video, seen) + 1]
    if late:
        yield Fault("warning", "segments that end after their video does", len(late), late[:EXAMPLES])


def _length_faults(clips: Sequence[Clip], seen: Mapping[str, Glance | str]) -> Iterator[Fault]:
    """Clips whose length in the release's list is not that of the file or segment."""
    differing = []
    for clip in clips:
        end = _end(clip.video or clip.audio, seen) if clip.end is None else clip.end
        length = max(0.0, end - max(0.0, clip.start or 0.0))
        if clip.seconds is not None and length < float("inf") and lengths_differ(clip.seconds, length):
            differing.append(f"{clip.clip}: {clip.seconds:.4g} s listed, {length:.4g} s here")
    if differing:
        what = "clips that are longer or shorter than their list says, by more than a second and a fifth"
        remedy = "look at a few of them: a row may name another clip's file, or the file may be cut off"
        yield Fault("warning", what, len(differing), differing[:EXAMPLES], remedy)


def _look(path: Path) -> Glance | str:
    """Header of a file, or why it has none."""
    try:
        return glance(path)
    except MediaError as error:
        return error.reason


def _has(path: str, seen: Mapping[str, Glance | str], what: str) -> bool:
    """False where no file is named or its header lacks the stream; a broken file is a fault of its own."""
    header = seen.get(path)
    return bool(path) and (not isinstance(header, Glance) or getattr(header, what))


def _end(path: str, seen: Mapping[str, Glance | str]) -> float:
    """Duration in seconds, endless where the header tells none."""
    header = seen.get(path)
    return header.duration if isinstance(header, Glance) and header.duration else float("inf")


def _present(root: Path, paths: Sequence[str]) -> list[str]:
    """Those of the paths that exist, by listing each folder once."""
    folders: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folders[path.rpartition("/")[0]].append(path)
    found = []
    for folder, wanted in folders.items():
        try:
            names = set(os.listdir(root / folder))  # noqa: PTH208 - names alone, for folders of 10,000 files
        except (FileNotFoundError, NotADirectoryError):
            continue
        found += [path for path in wanted if path.rpartition("/")[2] in names]
    return found


def _decoded_faults(qc: Path) -> Iterator[Fault]:
    """What decoding found with clips that are used all the same: flags, and notes on lengths."""
    flagged: dict[str, list[str]] = defaultdict(list)
    for row, cells in open_table(qc):
        if row == 2:
            check_columns(qc, cells, ("clip", "flags", "reason"))
        # a missing part is told from the headers already
        for flag in {*cells["flags"].split(";")} - {"", *FLAGS}:
            flagged[f"clips that decoding flagged {flag}"].append(cells["clip"])
        if "clip note: " in cells["reason"]:
            flagged["clips with a note on the lengths of their parts"].append(cells["clip"])
    for what, names in sorted(flagged.items()):
        yield Fault("warning", what, len(names), names[:EXAMPLES], f"see {qc}")


def _path_faults(clips: Sequence[Clip]) -> Iterator[Fault]:
    """Files whose replacement Snakemake cannot see."""
    unwatched = sorted({path for clip in clips for path in (clip.video, clip.audio) if set(path) & UNWATCHED})
    if unwatched:
        what = "media files whose name has a brace or a line break: they are used, but their replacement is not noticed"
        yield Fault("warning", what, len(unwatched), unwatched[:EXAMPLES], "rename them")


def report_text(check: Check) -> str:
    """The check as text to read."""
    lines = [f"{check.dataset}: {check.root}", ""]
    if check.found:
        width = max(map(len, check.found))
        lines += ["found", *(f"  {name:{width}}  {place}" for name, place in check.found.items()), ""]
    width = max(len(count.name) for count in check.counts)
    lines.append(f"{'counts':{width + 2}}  {'here':>8}  {'published':>9}")
    for section in dict.fromkeys(count.section for count in check.counts):
        lines.append(section)
        for count in (count for count in check.counts if count.section == section):
            published = "" if count.published is None else str(count.published)
            note = "" if count.published in (None, count.here) else f"  {count.here - count.published:+d}"  # type: ignore[operator]
            lines.append(f"  {count.name:{width}}  {count.here:>8}  {published:>9}{note}")
    lines += ["", *_matrix({(label or NONE, fold or NONE): n for (label, fold), n in check.table.items()})]
    for severity, title in (("warning", "warnings"), ("error", "errors: this release cannot be used as it is")):
        faults = [fault for fault in check.faults if fault.severity == severity]
        if faults:
            lines += ["", title]
        for fault in faults:
            examples = ", ".join(fault.examples)
            more = ", …" if fault.cases > len(fault.examples) and examples else ""
            lines.append(f"  {fault.what}: {fault.cases}" + (f" ({examples}{more})" if examples else ""))
            if fault.remedy:
                lines.append(f"    remedy: {fault.remedy}")
    if not check.faults:
        lines += ["", "nothing is missing"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _matrix(table: Mapping[tuple[str, str], int]) -> list[str]:
    """Clips per label (rows) and fold (columns)."""
    labels, folds = (sorted({key[i] for key in table}) for i in (0, 1))
    if len(folds) > 20:
        return [f"{len(folds)} folds, {len(labels)} labels"]
    width = max(map(len, ["label", *labels]))
    cells = [max(7, len(fold) + 2) for fold in folds]
    lines = [f"{'label':{width}}" + "".join(f"{fold:>{w}}" for fold, w in zip(folds, cells, strict=True))]
    for label in labels:
        numbers = (f"{table.get((label, fold), 0):>{w}}" for fold, w in zip(folds, cells, strict=True))
        lines.append(f"{label:{width}}" + "".join(numbers))
    return ["clips per label and fold", *(f"  {line}" for line in lines)]
