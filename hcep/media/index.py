"""All shards of a dataset -> index.h5 (where each clip is) and qc.tsv (what is wrong with which clip)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py

from hcep.concealed import has_concealed
from hcep.datasets.manifest_file import FACES, Clip, join_flags, lengths_differ, read_manifest
from hcep.errors import HcepError
from hcep.files import digest, remake, write_table
from hcep.media.shards import ABSENT, ARRAYS, SILENT, Shard, shard_of, verify_shard
from hcep.progress import progress, say
from hcep.seal import new_hdf5

QC_COLUMNS = ("clip", "dataset", "label", "fold", "flags", "reason", *ARRAYS)
# settings of a shard that name the software that decoded it
DECODERS = ("ffmpeg", "libsndfile")


class Place(NamedTuple):
    """Where a clip is, and what its shards say of it: flag, reason and length in seconds per kind."""

    shard: str
    row: int
    flags: dict[str, str]
    reasons: dict[str, str]
    seconds: dict[str, float]


def index_cache(
    manifest: Path, shards: Mapping[str, Sequence[Path]], output: Path, qc: Path, *, max_failures: float = 0.01
) -> None:
    """Verify every shard, then write the index and the quality-control table.

    Parameters
    ----------
    manifest : path
        manifest.tsv.
    shards : mapping
        Kind (frames, audio, text) to the paths of all its shards, named as 007-of-064.h5.
    output : path
        index.h5.
    qc : path
        qc.tsv: one row a clip with its flags, reasons, and a status per modality: ok, note (used, with something to
        know), absent (nothing to read) or failed (there, but unreadable). A picture and a sound of one clip that differ
        in length get a note, as does either that differs from the length that the release's list states, and what was
        decoded with another version of ffmpeg or libsndfile than most of the dataset.
    max_failures : float
        Share of clips with a failed modality above which the job ends. The table is then left beside `qc`, under a name
        that ends in ``.failed.tsv``.

    Raises
    ------
    HcepError
        When a shard is damaged, a clip is missing, repeated or in the wrong shard, or too many clips failed.
    """
    clips = read_manifest(manifest)
    read = {}
    for kind, paths in shards.items():
        verified = progress(sorted(paths), len(paths), f"verify {kind}", "shard")
        read[kind] = [verify_shard(path, kind) for path in verified]
    places = _places(clips, read)
    odd = _odd_shards(read)
    rows = [qc_row(clip, places[clip.clip], odd) for clip in clips]
    # where faces are used, what the frames of a clip were taken from
    columns = (*QC_COLUMNS, FACES) if any(clip.faces for clip in clips) else QC_COLUMNS
    failed = [row for row in rows if "failed" in [row[kind] for kind in ARRAYS]]
    silent = sum(SILENT in row["flags"].split(";") for row in rows)
    concealed = sum(has_concealed(row["reason"]) for row in rows)
    counts = f"{len(rows)} clips, {len(failed)} with a modality that failed, {silent} with silent sound"
    counts += f", {concealed} with concealed errors" if concealed else ""
    say(f"index_cache: {counts}")
    for (kind, shard), note in odd.items():
        remedy = "delete the shards of all versions but one and run again: what decodes differs by milliseconds"
        say(f"index_cache: {kind} shard {shard}: {note}. Remedy: {remedy}")
    aside = qc.with_name(f"{qc.stem}.failed.tsv")
    if len(failed) > max_failures * len(rows):
        # a declared output is deleted when its job fails; this one is not declared
        write_table(aside, columns, rows, delimiter="\t", seal=False)
        some = "; ".join(f"{row['clip']}: {row['reason']}" for row in failed[:3])
        cause = f"{len(failed)} of {len(rows)} clips failed, the limit is {max_failures:.2%} ({some})"
        raise HcepError(cause, file=aside, remedy="mend the release, or raise `max_failures` of the dataset entry")
    write_table(qc, columns, rows, delimiter="\t")
    aside.unlink(missing_ok=True)
    _write_index(output, clips, places, read)


def _places(clips: Sequence[Clip], read: Mapping[str, Sequence[Shard]]) -> dict[str, Place]:
    """Find every clip of the manifest once in each kind, in the shard of its source and the same row of each."""
    places: dict[str, Place] = {}
    wanted = {clip.clip: clip for clip in clips}
    for kind, shards in read.items():
        seen: set[str] = set()
        for shard in shards:
            lengths = shard.numbers.get("seconds", [0.0] * len(shard.clips))
            columns = zip(shard.clips, shard.flags, shard.reasons, lengths, strict=True)
            for row, (name, flag, reason, seconds) in enumerate(columns):
                if name not in wanted or shard_of(wanted[name], len(shards)) != shard.path.stem:
                    raise HcepError(f"clip {name!r} does not belong to it", file=shard.path, remedy=remake(shard.path))
                if name in seen:
                    raise HcepError(f"clip {name!r} is in it a second time", file=shard.path, remedy=remake(shard.path))
                seen.add(name)
                place = places.setdefault(name, Place(shard.path.stem, row, {}, {}, {}))
                if place.row != row:
                    cause = f"clip {name!r} is in another row than elsewhere"
                    raise HcepError(cause, file=shard.path, remedy=remake(shard.path))
                place.flags[kind], place.reasons[kind], place.seconds[kind] = flag, reason, seconds
        if missing := sorted(set(wanted) - seen):
            cause = f"{len(missing)} clips of the manifest are in no {kind} shard, the first is {missing[0]!r}"
            raise HcepError(cause, file=shards[0].path.parent, remedy=remake(shards[0].path))
    return places


def qc_row(clip: Clip, place: Place, odd: Mapping[tuple[str, str], str]) -> dict[str, str]:
    reasons = [f"{kind} {place.reasons[kind]}" for kind in ARRAYS if place.reasons[kind]]
    status = {kind: place.reasons[kind].partition(":")[0] or "ok" for kind in ARRAYS}
    notes = [((kind,), f"{kind} note: {odd[kind, place.shard]}") for kind in ARRAYS if (kind, place.shard) in odd]
    for kinds, note in [*_length_notes(clip, place), *notes]:
        reasons.append(note)
        status |= {kind: "note" for kind in kinds if status[kind] == "ok"}
    told = (clip.clip, clip.dataset, clip.label, clip.fold, join_flags(place.flags.values()), "; ".join(reasons))
    row = dict(zip(QC_COLUMNS, (*told, *status.values()), strict=True))
    return row | ({FACES: clip.faces} if clip.faces else {})


def _length_notes(clip: Clip, place: Place) -> Iterator[tuple[tuple[str, ...], str]]:
    """What the lengths of a clip's picture and sound say against each other, and against the release's list."""
    words = {"frames": "the picture", "audio": "the sound"}
    lengths = {kind: place.seconds[kind] for kind in words if place.flags[kind] != ABSENT[kind]}
    # pictures of faces tell no length
    lengths = {kind: length for kind, length in lengths.items() if not math.isnan(length)}
    if len(lengths) == 2 and lengths_differ(*lengths.values()):
        told = f"the picture lasts {lengths['frames']:.2f} s, the sound {lengths['audio']:.2f} s"
        yield tuple(lengths), f"clip note: {told}"
    for kind, length in lengths.items():
        if clip.seconds is not None and lengths_differ(length, clip.seconds):
            told = f"the list says {clip.seconds:.2f} s, {words[kind]} lasts {length:.2f} s"
            yield (kind,), f"clip note: {told}"


def _odd_shards(read: Mapping[str, Sequence[Shard]]) -> dict[tuple[str, str], str]:
    """Kind and name of shards that another version of a decoder wrote than most of that kind, with a note on it."""
    odd = {}
    for kind, shards in read.items():
        for program in DECODERS:
            clips: Counter[str] = Counter()
            for shard in shards:
                clips[str(shard.settings.get(program))] += len(shard.clips)
            usual = max(clips, key=clips.__getitem__, default="")
            for shard in shards:
                version = str(shard.settings.get(program))
                if shard.clips and version != usual:
                    odd[kind, shard.path.stem] = f"decoded with {program} {version}, most of the dataset with {usual}"
    return odd


def _write_index(
    output: Path, clips: Sequence[Clip], places: Mapping[str, Place], read: Mapping[str, Sequence[Shard]]
) -> None:
    names = [clip.clip for clip in clips]
    found = [places[name] for name in names]
    flags = [join_flags(place.flags.values()) for place in found]
    columns = {"clip": names, "shard": [place.shard for place in found], "flags": flags}
    rows = [place.row for place in found]
    sums = {kind: {shard.path.stem: shard.sha256 for shard in shards} for kind, shards in sorted(read.items())}
    # a shard without clips does not know whether faces were used
    told = {kind: next((one for one in shards if one.clips), shards[0]) for kind, shards in sorted(read.items())}
    settings = {kind: shard.settings for kind, shard in told.items()}
    with new_hdf5(output) as file:
        for column, values in columns.items():
            file.create_dataset(column, data=values, dtype=h5py.string_dtype(), shape=(len(values),))
        file.create_dataset("row", data=rows, dtype="i8")
        file.attrs["shards"] = json.dumps(sums, sort_keys=True)
        file.attrs["settings"] = json.dumps(settings, sort_keys=True)
        file.attrs["digest"] = digest([columns, rows, sums, settings])
