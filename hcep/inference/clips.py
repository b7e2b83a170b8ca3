"""Clips that somebody asks about: from files and tables to frames, sound and words, read as for training.

Everything is opened by `hcep.media`, so with the whitelists, limits and timeouts of the cache. A path is data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hcep.container import MediaError
from hcep.datasets.bad_rows import BadRows
from hcep.datasets.manifest import Manifest
from hcep.datasets.manifest_file import Clip, check_clips, note_faults, open_table
from hcep.decoder import Limits
from hcep.errors import HcepError
from hcep.ffmpeg import RATE
from hcep.inference.folder import Preprocessing
from hcep.media.audio import read_sound, windowed
from hcep.media.frames import read_video
from hcep.media.index import Place, qc_row
from hcep.media.shards import ABSENT, Row, noted
from hcep.media.sources import Rows, read_sources
from hcep.probe import glance, probe

if TYPE_CHECKING:
    from hcep.media.transcribe import Recogniser

# what the recogniser hears at once
HEARD = 30 * RATE


class Media(NamedTuple):
    """A clip as a model sees it.

    `frames` is uint8 (F, S, S, 3), RGB, `waveform` int16 (A,) at 16 kHz, `samples` of which are the clip's own; either
    is None where it is absent or cannot be read. `flags` and `reason` are as in qc.tsv, `failed` says that picture or
    sound is there and cannot be read.
    """

    clip: Clip
    frames: np.ndarray | None
    waveform: np.ndarray | None
    samples: int
    text: str
    text_kind: str
    flags: tuple[str, ...]
    reason: str
    failed: bool


def clip_of(
    file: str | Path,
    *,
    name: str = "",
    text: str = "",
    text_kind: str = "transcript",
    start: float | None = None,
    end: float | None = None,
    box: str = "",
) -> Clip:
    """A file, or a part of it from `start` to `end` in seconds, with the words that belong to it.

    Raises
    ------
    HcepError
        For a part that ends before it starts, a box that is none, or an unknown kind of words.
    """
    place = str(Path(file).absolute())
    kind = text_kind if text.strip() else "none"
    clip = Clip(name or str(file), start=start, end=end, text=text, text_kind=kind, box=box)
    if text.strip() and text_kind == "none":
        raise HcepError("words are given, and their kind is none", file=file, remedy="name their kind, as transcript")
    try:
        # the name of a file is its id here, whatever signs it has
        check_clips([clip._replace(clip="clip")], Path(file))
    except HcepError as error:
        raise HcepError(error.cause, file=file, remedy=error.remedy) from error
    return clip._replace(video=place, audio=place)


def read_clip_table(path: Path) -> list[Clip]:
    """The clips of a table as that of your own data (docs/own_data.md), of which no label is asked.

    Raises
    ------
    HcepError
        For a missing column, a bad number or a path that leaves the folder of the table.
    """
    return _ClipTable(path.parent, {"file": path.name}).clips()


class _ClipTable(Manifest):
    """A list of clips in which labels are not needed, and a missing file is told in its row's answer."""

    def clips(self) -> list[Clip]:
        clips: dict[int, Clip] = {}
        with BadRows(self.table, clips) as bad:
            delimiter = "," if self.table.suffix.lower() == ".csv" else "\t"
            for row, cells in open_table(self.table, delimiter, ("clip",), bad=bad, quoted=True):
                if not {"video", "audio"} & {*cells}:
                    raise HcepError("has neither a column video nor a column audio", file=self.table, row=1)
                clips[row] = self._clip(row, {"video": "", **cells}, bad)
            if not clips and not bad.faults:
                raise HcepError("lists no clips", file=self.table, remedy="add one row per clip")
            note_faults(clips, bad)
        root = self.root.absolute()

        def place(media: str) -> str:
            return str(root / media) if media else ""

        return [clip._replace(video=place(clip.video), audio=place(clip.audio)) for clip in clips.values()]


def windows_of(clip: Clip, seconds: float, *, timeout: float = 60.0) -> list[Clip]:
    """Consecutive parts of a clip, each `seconds` long but the last, which takes a rest of less than half a window.

    A file that cannot be read is one part.

    Raises
    ------
    HcepError
        When `seconds` is not a positive number, or the clip has words.
    """
    if clip.text.strip():
        cause = f"clip {clip.clip!r} has words, and which part they belong to is not known"
        raise HcepError(cause, remedy="give a table with a row for each part, or let --text-asr listen to each part")
    if not (math.isfinite(seconds) and seconds > 0):
        raise HcepError(f"windows of {seconds:g} s", remedy="give a length above 0, as 5s")
    begin, finish = max(clip.start or 0.0, 0.0), clip.end
    try:
        if finish is None:
            # the header tells it in a millisecond, or the packets do
            finish = glance(clip.video).duration or probe(clip.video, timeout=timeout).duration
    except MediaError:
        return [clip]
    count = max(math.floor((finish - begin) / seconds + 0.5), 1)
    edges = [begin + number * seconds for number in range(count)] + [finish]
    pairs = itertools.pairwise(edges)
    return [clip._replace(clip=f"{clip.clip}#{a:g}-{b:g}", start=a, end=b) for a, b in pairs]


def read_clips(
    clips: Sequence[Clip],
    settings: Preprocessing,
    *,
    timeout: float = 60.0,
    threads: int = 1,
    recogniser: Recogniser | None = None,
) -> list[Media]:
    """Decode clips; all clips of one file are read together, and what cannot be read is told in its clip's `reason`.

    Parameters
    ----------
    clips : sequence of Clip
        With absolute paths.
    timeout : float
        Seconds of processor time that decoding one clip may take.
    threads : int
        Files decoded at once.
    recogniser : Recogniser, optional
        Listens to the first 30 s of clips without words.
    """
    longest = settings.samples if settings.audio_window == "start" else None
    if recogniser is not None and longest is not None:
        longest = max(longest, HEARD)

    def picture(video: str, positions: list[int]) -> Rows:
        return read_video(
            Path(video), clips, positions, settings.frames, settings.size, settings.frame_sampling, Limits(timeout)
        )

    def sound(audio: str, positions: list[int]) -> Rows:
        return read_sound(Path(audio), clips, positions, longest=longest, limits=Limits(timeout))

    frames = dict(read_sources(clips, "video", picture, threads))
    sounds = dict(read_sources(clips, "audio", sound, threads))
    words = _words(clips, sounds, recogniser)
    waves = {
        n: r if r.value is None else windowed(r, settings.samples, settings.audio_window) for n, r in sounds.items()
    }
    return [_media(clip, frames[n], waves[n], words[n]) for n, clip in enumerate(clips)]


def _words(clips: Sequence[Clip], sounds: dict[int, Row], recogniser: Recogniser | None) -> dict[int, Row]:
    rows = {}
    for number, clip in enumerate(clips):
        given = clip.text.strip() and clip.text_kind != "none"
        rows[number] = Row((clip.text, clip.text_kind)) if given else Row(None, "absent: no words were given")
        sound = sounds[number].value
        if recogniser is not None and not given and sound is not None:
            (text,) = recogniser([sound[:HEARD]])
            note = noted("only the first 30 s were heard" if len(sound) > HEARD else "")
            rows[number] = Row((text, "asr"), note) if text else Row(None, "absent: no words were recognised")
    return rows


def _media(clip: Clip, frames: Row, sound: Row, words: Row) -> Media:
    rows = {"frames": frames, "audio": sound, "text": words}
    flags = {kind: ABSENT[kind] if row.value is None else row.flag for kind, row in rows.items()}
    place = Place("", 0, flags, {k: r.reason for k, r in rows.items()}, {k: r.seconds for k, r in rows.items()})
    told = qc_row(clip, place, {})
    text, kind = words.value or ("", "none")
    failed = "failed" in (told["frames"], told["audio"])
    own = tuple(filter(None, told["flags"].split(";")))
    return Media(clip, frames.value, sound.value, sound.samples, text, kind, own, told["reason"], failed)
