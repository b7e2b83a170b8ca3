"""CMU-MOSEI: sentences of YouTube monologues with six emotion intensities (Zadeh et al. 2018)."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from hcep.datasets.manifest_file import Clip
from hcep.datasets.mosei_folds import NONE
from hcep.datasets.mosei_labels import EMOTIONS, RULES, Labels, Segment, positive, read_labels, single_label
from hcep.datasets.mosei_layouts import (
    LAYOUTS,
    Listing,
    Part,
    Places,
    fault,
    find_places,
    names_in,
    read_listing,
)
from hcep.datasets.settings import choose, fill
from hcep.datasets.survey import Fault, Survey
from hcep.errors import HcepError
from hcep.files import digest, sha256_file

DEFAULTS: dict[str, Any] = {"text": "manifest", "layout": "auto", "single_label": "unique_maximum", "folds": ""}


class Release(NamedTuple):
    """What was found, read and listed."""

    places: Places
    labels: Labels
    listing: Listing


class CmuMosei:
    """The raw release (full videos, cut by the times of the csd) or MMSA's copy (one file per clip).

    A clip is a labelled sentence, its group and the unit of folds is the video. Folds are train, valid, test, and none
    for videos outside the standard folds. The corpus is multi-label: `labels` of a clip names every emotion that is
    present, `label` the single one by the setting `single_label`, or '' when the rule gives none.

    Parameters
    ----------
    root : path
        Folder with CMU_MOSEI/Raw or MOSEI/label.csv, and with CMU_MOSEI_Labels.csd.
    settings : dict
        ``text``: manifest, none or asr; ``layout``: auto, raw or mmsa; ``single_label``: unique_maximum or exactly_one;
        ``folds``: a file of folds, '' = the SDK's cmu_mosei_std_folds.py (raw) or the column mode (mmsa).
    """

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        self.root = Path(root)
        self.settings = fill("cmu_mosei", settings, DEFAULTS)
        choose("cmu_mosei", "text", self.settings["text"], ("manifest", "none", "asr"))
        choose("cmu_mosei", "layout", self.settings["layout"], LAYOUTS)
        choose("cmu_mosei", "single_label", self.settings["single_label"], RULES)
        if not isinstance(self.settings["folds"], str):
            raise HcepError("setting 'folds' of the cmu_mosei adapter is not a file name", remedy="name a file, or ''")

    def watch(self) -> list[str]:
        """Digests of labels, folds and label.csv, and of the names of videos and transcripts."""
        try:
            places = self._places()
        except HcepError as error:
            return [f"release: {error.cause}"]
        files = {"labels": places.labels, "folds": places.folds, "table": places.table}
        lines = [f"{name}: {sha256_file(path)}" for name, path in files.items() if path is not None]
        names = {"videos": self._video_names(places)}
        if places.layout == "raw":
            names["transcripts"] = sorted(names_in(places.transcripts))
            names["segmented"] = sorted(names_in(places.segmented))
        return [*lines, *(f"{name}: {len(found)} {digest(found)}" for name, found in names.items())]

    @staticmethod
    def _video_names(places: Places) -> list[str]:
        names = sorted(names_in(places.videos))
        if places.layout == "raw":
            return names
        return [f"{name}/{clip}" for name in names for clip in sorted(names_in(places.videos / name))]

    def _places(self) -> Places:
        return find_places(self.root, self.settings["layout"], self.settings["folds"])

    @cached_property
    def _release(self) -> Release:
        places = self._places()
        labels = read_labels(places.labels)
        return Release(places, labels, read_listing(places, labels))

    def clips(self) -> list[Clip]:
        """One clip per labelled segment (raw) or per row of label.csv (mmsa).

        Raises
        ------
        HcepError
            When labels, folds or videos are not found or cannot be read.
        """
        release = self._release
        folder = release.places.videos.relative_to(self.root).as_posix()
        clips = [self._clip(part, folder) for part in release.listing.parts]
        single = sum(bool(clip.label) for clip in clips)
        several = sum(bool(clip.labels) and not clip.label for clip in clips)
        print(
            f"cmu_mosei: {release.places.layout} layout, {len(clips)} clips of {len({clip.group for clip in clips})} "
            f"videos; by {self.settings['single_label']} {single} have a single label, {several} have several emotions "
            f"and none of them alone, {len(clips) - single - several} have none",
            file=sys.stderr,
        )
        for found in self._faults():
            more = ", ..." if found.cases > len(found.examples) else ""
            print(f"cmu_mosei: {found.cases} {found.what}: {', '.join(found.examples)}{more}", file=sys.stderr)
        return clips

    def _clip(self, part: Part, folder: str) -> Clip:
        segment = part.segment
        emotions = segment.emotions if segment is not None else (0.0,) * len(EMOTIONS)
        # a file of MMSA's is the segment; of a full video one without length would be read whole
        cut = segment if self._release.places.layout == "raw" else None
        usable = cut is None or cut.usable
        media = f"{folder}/{part.path}" if usable else ""
        return Clip(
            clip=part.clip,
            dataset="",
            video=media,
            audio=media,
            start=cut.start if cut is not None and usable else None,
            end=cut.end if cut is not None and usable else None,
            text=part.text if self.settings["text"] == "manifest" else "",
            text_kind={"manifest": "transcript"}.get(self.settings["text"], self.settings["text"]),
            language="en",
            label=single_label(emotions, self.settings["single_label"]),
            labels=";".join(positive(emotions)),
            group=part.video,
            fold=part.fold,
            flags="" if usable else "no_video;no_audio",
            box="",
        )

    def _faults(self) -> list[Fault]:
        release = self._release
        segments = release.labels.segments
        empty = [
            f"{video}_{segment.row}: {segment.start:g} to {segment.end:g} s"
            for video, rows in segments.items()
            for segment in rows
            if not segment.usable
        ]
        return [
            *release.listing.faults,
            *fault("segments that end before they start (no picture, no sound)", empty, "their times are wrong"),
            *fault("rows with an emotion above 3, taken as 3", release.labels.clamped, "get the csd anew: it is old"),
            *fault("remarks on the labels", filter(None, [release.labels.remark]), "compare with the SDK's README"),
        ]

    def survey(self, clips: Sequence[Clip]) -> Survey:
        """Where the parts lie, and what the csd holds as a whole: its segments without a clip count too."""
        release = self._release
        found = {
            name: place.relative_to(self.root).as_posix() if place.is_relative_to(self.root) else str(place)
            for name, place in release.places._asdict().items()
            if isinstance(place, Path)
        }
        segments, folds = release.labels.segments, release.listing.folds
        counts = {**count_segments(segments), **count_folds(segments, folds), **release.listing.counts}
        return Survey(found, counts, self._faults())


def count_segments(segments: Mapping[str, Sequence[Segment]]) -> dict[str, dict[str, int]]:
    """Numbers of the csd alone: videos, segments, emotions, and what happens at the edges of segments."""
    rows = [segment for video in segments.values() for segment in video]
    present = [positive(segment.emotions) for segment in rows]
    ordered = [sorted(video, key=lambda segment: segment.start) for video in segments.values()]
    pairs = [pair for video in ordered for pair in pairwise(video)]
    return {
        "release": {"videos": len(segments), "segments": len(rows)},
        "times": {
            "negative starts": sum(segment.start < 0 for segment in rows),
            "neighbours": len(pairs),
            "neighbours that overlap": sum(later.start < earlier.end for earlier, later in pairs),
        },
        "positives": in_order(name for names in present for name in names),
        "emotions per segment": {
            str(number): sum(len(names) == number for names in present) for number in range(len(EMOTIONS) + 1)
        },
        **{rule: in_order(single_label(segment.emotions, rule) for segment in rows) for rule in RULES},
    }


def count_folds(segments: Mapping[str, Sequence[Segment]], folds: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Videos, segments and single labels of every fold."""
    videos = Counter(folds.get(video, NONE) for video in segments)
    counts = {
        "videos per fold": dict(videos),
        "segments per fold": {
            fold: sum(len(rows) for video, rows in segments.items() if folds.get(video, NONE) == fold)
            for fold in videos
        },
        "fold file": {"videos without labels": len(set(folds) - set(segments))},
    }
    for rule in RULES:
        for fold in videos:
            rows = [row for video, rows in segments.items() if folds.get(video, NONE) == fold for row in rows]
            counts[f"{rule} {fold}"] = in_order(single_label(row.emotions, rule) for row in rows)
    return counts


def in_order(names: Iterable[str]) -> dict[str, int]:
    """Emotion -> how often it is named, every emotion listed; '' does not count."""
    count = Counter(names)
    return {name: count[name] for name in EMOTIONS}
