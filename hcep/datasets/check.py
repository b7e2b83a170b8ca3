"""`hcep check`: what lies in a release, its counts beside the published ones, and what is wrong. Nothing is decoded."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hcep import registry
from hcep.concealed import has_concealed
from hcep.container import MediaError
from hcep.datasets.bad_rows import BadTable
from hcep.datasets.build import require_root
from hcep.datasets.links import REMEDY, clips_out
from hcep.datasets.manifest_file import FLAGS, Clip, check_clips, lengths_differ, open_table
from hcep.datasets.spellings import names_in, other_spelling
from hcep.datasets.survey import EXAMPLES, Fault, Survey, warning
from hcep.errors import HcepError, shown
from hcep.probe import Glance, glance
from hcep.yaml_file import read_yaml

NONE = "(none)"
# a path with one of these cannot be an input of a rule
UNWATCHED = set("{}\n\r")
Made = TypeVar("Made")


class Count(NamedTuple):
    """One number of a release beside the published one (None = none is published)."""

    section: str
    name: str
    here: int
    published: int | None


class Check(NamedTuple):
    """Everything `hcep check` says of a dataset.

    `table` holds the clips per label and fold, '' where there is none; `bad` the tables with bad rows, which are left
    out of all counts.
    """

    dataset: str
    root: Path
    found: dict[str, str]
    counts: list[Count]
    table: Counter[tuple[str, str]]
    faults: list[Fault]
    bad: Sequence[BadTable] = ()

    @property
    def usable(self) -> bool:
        """Whether no fault is an error."""
        return not self.bad and all(fault.severity != "error" for fault in self.faults)


def check_release(
    adapter: str,
    root: Path,
    dataset: str,
    settings: Mapping[str, Any],
    *,
    expected: Path | None = None,
    max_failures: float = 0.01,
    follow_links: bool = False,
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
    follow_links : bool
        Whether media may lie behind links that leave the release.
    qc : path, optional
        qc.tsv of a cache that was made from this release: what only decoding tells, such as silent sound, is counted.
    workers : int
        Headers read at a time.

    Raises
    ------
    HcepError
        When the root or a list is missing, or has no row that can be read: there is nothing to count then.
    """
    root = require_root(root, dataset)
    reader = registry.load(registry.dataset(adapter))(root, dict(settings))
    bad: list[BadTable] = []
    clips = _attempt(reader.clips, bad)
    if clips is None:
        clips = bad[0].usable
    if not clips and bad:
        raise bad[0]
    if not bad:
        check_clips(clips, root)
    if hasattr(reader, "with_faces"):
        clips = _attempt(lambda: reader.with_faces(clips), bad) or clips
    survey = (_attempt(lambda: reader.survey(clips), bad) if hasattr(reader, "survey") else None) or Survey({}, {}, [])
    # a table of boxes with bad rows has been told
    faces = hasattr(reader, "survey_faces") and not bad
    found, faceless = reader.survey_faces(clips) if faces else ({}, [])
    faults = [*survey.faults, *faceless, *_media_faults(root, clips, max_failures, workers), *_path_faults(clips)]
    faults += [] if follow_links else _link_faults(root, clips)
    faults += _decoded_faults(qc) if qc is not None else []
    table = Counter((clip.label, clip.fold) for clip in clips)
    counts = _counts(clips, survey, table, expected)
    return Check(dataset, root, {**survey.found, **found}, counts, table, faults, bad)


def _attempt(make: Callable[[], Made], bad: list[BadTable]) -> Made | None:
    """What a part of the check makes; None where a table has bad rows, which are told beside the rest."""
    try:
        return make()
    except BadTable as error:
        bad.append(error)
        return None


def _counts(
    clips: Sequence[Clip], survey: Survey, table: Mapping[tuple[str, str], int], expected: Path | None
) -> list[Count]:
    """Counts by section beside the published numbers; a published name that is not here counts 0."""
    here = {("clips", "all"): len(clips)}
    for section, column in (("labels", "label"), ("folds", "fold"), ("text", "text_kind")):
        found = Counter(getattr(clip, column) for clip in clips)
        here |= {(section, name or NONE): found[name] for name in sorted(found)}
    for section, numbers in survey.counts.items():
        here |= {(section, name): number for name, number in numbers.items()}
    published = _published(expected) if expected is not None else {}
    # labels within a fold are in the table anyway, and compared only where such numbers are published
    within = {(f"fold {fold or NONE}", label or NONE): number for (label, fold), number in table.items()}
    here |= {key: number for key, number in within.items() if key in published}
    keys = [*here, *(key for key in published if key not in here)]
    sections = [section for section, _ in keys]
    keys.sort(key=lambda key: sections.index(key[0]))
    return [Count(*key, here.get(key, 0), published.get(key)) for key in keys]


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
        yield from warning(f"clips without {what} (kept, flagged, zeros in the cache)", lost)
    yield from _length_faults(clips, seen)
    late = [clip.clip for clip in clips if clip.end is not None and clip.end > _end(clip.video, seen) + 1]
    yield from warning("segments that end after their video does", late)


def _length_faults(clips: Sequence[Clip], seen: Mapping[str, Glance | str]) -> list[Fault]:
    """Clips whose length in the release's list is not that of the file or segment."""
    differing = []
    for clip in clips:
        end = _end(clip.video or clip.audio, seen) if clip.end is None else clip.end
        length = max(0.0, end - max(0.0, clip.start or 0.0))
        if clip.seconds is not None and length < float("inf") and lengths_differ(clip.seconds, length):
            differing.append(f"{clip.clip}: {clip.seconds:.4g} s listed, {length:.4g} s here")
    what = "clips that are longer or shorter than their list says, by more than a second and a fifth"
    remedy = "look at a few of them: a row may name another clip's file, or the file may be cut off"
    return warning(what, differing, remedy)


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
    places = {path: path.rpartition("/") for path in paths}
    names = {folder: names_in(root / folder) for folder in {folder for folder, _, _ in places.values()}}
    return [path for path, (folder, _, name) in places.items() if name in names[folder]]


def _decoded_faults(qc: Path) -> Iterator[Fault]:
    """What decoding found with clips that are used all the same: flags, and notes on lengths."""
    flagged: dict[str, list[str]] = defaultdict(list)
    for _, cells in open_table(qc, required=("clip", "flags", "reason"), quoted=True):
        # a missing part is told from the headers already
        for flag in {*cells["flags"].split(";")} - {"", *FLAGS}:
            flagged[f"clips that decoding flagged {flag}"].append(cells["clip"])
        if "clip note: " in cells["reason"]:
            flagged["clips with a note on the lengths of their parts"].append(cells["clip"])
        if has_concealed(cells["reason"]):
            flagged["clips with errors that ffmpeg concealed in decoding them"].append(cells["clip"])
    for what, names in sorted(flagged.items()):
        yield from warning(what, names, f"see {qc}")


def _link_faults(root: Path, clips: Sequence[Clip]) -> list[Fault]:
    """Media behind links that leave the release, which `hcep manifest` refuses."""
    found = [f"{path} -> {place}" for path, place in clips_out(root, clips).items()]
    what = "media files that are links, or lie behind one, which leaves the release"
    return [Fault("error", what, len(found), found[:EXAMPLES], REMEDY)] if found else []


def _path_faults(clips: Sequence[Clip]) -> list[Fault]:
    """Files that cannot be inputs of a rule, so that only their digests in `planning/contents.py` are compared."""
    unwatched = sorted({path for clip in clips for path in (clip.video, clip.audio) if set(path) & UNWATCHED})
    what = (
        "media files whose name has a brace or a line break: they are used, but a replacement is not noticed where its "
        "size, beginning, middle and end are the same"
    )
    return warning(what, unwatched, "rename them")


def report_text(check: Check) -> str:
    """The check as text to read."""
    lines = [f"{check.dataset}: {check.root}", ""]
    if check.found:
        width = max(map(len, check.found))
        lines += ["found", *(f"  {name:{width}}  {place}" for name, place in check.found.items()), ""]
    width = max(len(count.name) for count in check.counts)
    lines.append(f"{'counts':{width + 2}}  {'here':>8}  {'published':>9}")
    for section, counts in groupby(check.counts, lambda count: count.section):
        lines.append(section)
        for count in counts:
            published = "" if count.published is None else str(count.published)
            note = "" if count.published in (None, count.here) else f"  {count.here - count.published:+d}"  # type: ignore[operator]
            lines.append(f"  {count.name:{width}}  {count.here:>8}  {published:>9}{note}")
    lines += ["", *_matrix({(label or NONE, fold or NONE): n for (label, fold), n in check.table.items()})]
    for severity, title in (("warning", "warnings"), ("error", "errors: this release cannot be used as it is")):
        faults = [fault for fault in check.faults if fault.severity == severity]
        if faults or (severity == "error" and check.bad):
            lines += ["", title]
        for fault in faults:
            examples = ", ".join(fault.examples)
            more = ", …" if fault.cases > len(fault.examples) and examples else ""
            lines.append(f"  {fault.what}: {fault.cases}" + (f" ({examples}{more})" if examples else ""))
            if fault.remedy:
                lines.append(f"    remedy: {fault.remedy}")
    for table in check.bad:
        lines += [f"  {line}" for line in str(table).splitlines()]
        lines.append("    the counts above are without these rows")
    if not check.faults and not check.bad:
        lines += ["", "nothing is missing"]
    return shown("\n".join(line.rstrip() for line in lines) + "\n")


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
