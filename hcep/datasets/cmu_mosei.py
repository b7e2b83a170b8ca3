"""CMU-MOSEI: sentences of YouTube monologues with six emotion intensities (Zadeh et al. 2018)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, ClassVar

from hcep.datasets.corpus import TEXTS, Corpus
from hcep.datasets.manifest_file import Clip
from hcep.datasets.mosei_folds import NONE
from hcep.datasets.mosei_labels import EMOTIONS, RULES, Labels, Segment, positive, read_labels, single_label
from hcep.datasets.mosei_layouts import LAYOUTS, Listing, Part, Places, fault, find_places, read_listing
from hcep.datasets.spellings import names_in
from hcep.datasets.survey import Fault, Survey, counted
from hcep.errors import HcepError
from hcep.files import digest, sha256_file


class CmuMosei(Corpus):
    """The raw release (full videos, cut by the times of the csd) or MMSA's copy (one file per clip).

    A clip is a labelled sentence, its group and the unit of folds is the video. Folds are train, valid, test, and none
    for videos outside the standard folds. The corpus is multi-label: `labels` of a clip names every emotion that is
    present, `label` the single one by the setting `single_label`, or '' when the rule gives none. The root holds
    CMU_MOSEI/Raw or MOSEI/label.csv, and CMU_MOSEI_Labels.csd.

    Settings: ``text``: manifest, none or asr; ``layout``: auto, raw or mmsa; ``single_label``: unique_maximum or
    exactly_one; ``folds``: a file of folds, '' = the SDK's cmu_mosei_std_folds.py (raw) or the column mode (mmsa).
    """

    name = "cmu_mosei"
    choices: ClassVar = {"text": TEXTS, "layout": LAYOUTS, "single_label": RULES}
    others: ClassVar = {"folds": ""}

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        super().__init__(root, settings)
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
        names = {"videos": sorted(names_in(places.videos))}
        if places.layout == "raw":
            names["transcripts"] = sorted(names_in(places.transcripts))
            names["segmented"] = sorted(names_in(places.segmented))
        else:
            folders = names["videos"]
            names["videos"] = [f"{name}/{clip}" for name in folders for clip in sorted(names_in(places.videos / name))]
        return [*lines, *(f"{name}: {len(found)} {digest(found)}" for name, found in names.items())]

    def _places(self) -> Places:
        return find_places(self.root, self.settings["layout"], self.settings["folds"])

    @cached_property
    def _release(self) -> tuple[Places, Labels, Listing]:
        places = self._places()
        labels = read_labels(places.labels)
        return places, labels, read_listing(places, labels)

    def clips(self) -> list[Clip]:
        """One clip per labelled segment (raw) or per row of label.csv (mmsa).

        Raises
        ------
        HcepError
            When labels, folds or videos are not found or cannot be read.
        """
        places, _, listing = self._release
        clips = [self._clip(part, places) for part in listing.parts]
        single = sum(bool(clip.label) for clip in clips)
        several = sum(bool(clip.labels) and not clip.label for clip in clips)
        self.tell(
            f"{places.layout} layout, {len(clips)} clips of {len({clip.group for clip in clips})} videos; by "
            f"{self.settings['single_label']} {single} have a single label, {several} have several emotions and none "
            f"of them alone, {len(clips) - single - several} have none"
        )
        for found in self._faults():
            more = ", ..." if found.cases > len(found.examples) else ""
            self.tell(f"{found.cases} {found.what}: {', '.join(found.examples)}{more}")
        return clips

    def _clip(self, part: Part, places: Places) -> Clip:
        segment, source = part.segment, self.settings["text"]
        emotions = segment.emotions if segment is not None else (0.0,) * len(EMOTIONS)
        # a file of MMSA's is the segment; of a full video one without length would be read whole
        cut = segment if places.layout == "raw" else None
        usable = cut is None or cut.usable
        media = self.below(places.videos / part.path) if usable else ""
        return Clip(
            clip=part.clip,
            video=media,
            audio=media,
            start=cut.start if cut is not None and usable else None,
            end=cut.end if cut is not None and usable else None,
            text=part.text if source == "manifest" else "",
            text_kind="transcript" if source == "manifest" else source,
            language="en",
            label=single_label(emotions, self.settings["single_label"]),
            labels=";".join(positive(emotions)),
            group=part.video,
            fold=part.fold,
            flags="" if usable else "no_video;no_audio",
        )

    def _faults(self) -> list[Fault]:
        _, labels, listing = self._release
        empty = [
            f"{video}_{segment.row}: {segment.start:g} to {segment.end:g} s"
            for video, rows in labels.segments.items()
            for segment in rows
            if not segment.usable
        ]
        return [
            *listing.faults,
            *fault("segments that end before they start (no picture, no sound)", empty, "their times are wrong"),
            *fault("rows with an emotion above 3, taken as 3", labels.clamped, "get the csd anew: it is old"),
            *fault("remarks on the labels", filter(None, [labels.remark]), "compare with the SDK's README"),
        ]

    def survey(self, clips: Sequence[Clip]) -> Survey:
        """Where the parts lie, and what the csd holds as a whole: its segments without a clip count too."""
        places, labels, listing = self._release
        found = {
            name: self.below(place) if place.is_relative_to(self.root) else str(place)
            for name, place in places._asdict().items()
            if place is not None
        }
        counts = {**count_segments(labels.segments), **count_folds(labels.segments, listing.folds), **listing.counts}
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
        "positives": counted((name for names in present for name in names), EMOTIONS),
        "emotions per segment": counted((str(len(names)) for names in present), map(str, range(len(EMOTIONS) + 1))),
        **{rule: count_labels(rows, rule) for rule in RULES},
    }


def count_folds(segments: Mapping[str, Sequence[Segment]], folds: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Videos, segments and single labels of every fold."""
    videos: dict[str, list[Sequence[Segment]]] = defaultdict(list)
    for video, rows in segments.items():
        videos[folds.get(video, NONE)].append(rows)
    members = {fold: [*chain.from_iterable(rows)] for fold, rows in videos.items()}
    return {
        "videos per fold": {fold: len(rows) for fold, rows in videos.items()},
        "segments per fold": {fold: len(rows) for fold, rows in members.items()},
        "fold file": {"videos without labels": len(set(folds) - set(segments))},
        **{f"{rule} {fold}": count_labels(rows, rule) for rule in RULES for fold, rows in members.items()},
    }


def count_labels(rows: Sequence[Segment], rule: str) -> dict[str, int]:
    """Emotion -> segments that have it as their single label."""
    return counted((single_label(row.emotions, rule) for row in rows), EMOTIONS)
