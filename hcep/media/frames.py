"""Frames of a shard's clips: F per clip, those on screen at the centres of F equal segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from hcep.container import MediaError, ends_early, truncated
from hcep.datasets.boxes import Track, read_boxes
from hcep.datasets.faces import face_source
from hcep.datasets.manifest_file import Clip, parse_box
from hcep.decoder import Limits
from hcep.errors import HcepError
from hcep.ffmpeg import OtherFrames, ffmpeg_version, frame_ticks, read_frames
from hcep.media.faces import read_faces
from hcep.media.shards import Row, clips_of_shard, noted, write_shard
from hcep.media.sources import Rows, read_sources
from hcep.packet_errors import packet_errors
from hcep.probe import Probe, probe
from hcep.progress import progress

# a pass holds its frames in memory: 512 of 224 x 224 are 77 MB
FRAMES_PER_PASS = 512
# time stamps are rounded to the container's time base, where it is a millisecond or finer
EPSILON, COARSEST = 1e-4, 1e-3
# a frame that stands longer, and for most of a clip, is told
STANDSTILL = 10.0
# a box that is further from its frame, in seconds, is told
FAR = 1.0

Sampling = Literal["time", "index"]


class Choice(NamedTuple):
    """The frames of a clip: their positions in `Probe.ticks` (F,), seconds that its picture lasts, and a note."""

    positions: np.ndarray
    seconds: float
    note: str


def decode_frames(
    manifest: Path,
    root: Path,
    shard: str,
    output: Path,
    *,
    frames: int,
    size: int,
    frame_sampling: Sampling = "time",
    timeout: float = 60.0,
    decoder_memory: float = 4.0,
    threads: int = 1,
) -> None:
    """Decode the frames of one shard's clips into HDF5, uint8 (n, F, S, S, 3), RGB.

    A clip is divided into F equal segments, and the frame at the centre of each is taken (TSN, Wang et al. 2016), see
    `choose_frames`; the manifest's face box is cut out if there is one, the short side is resized to S (bicubic), the
    centre is cropped. A clip without video, or with a video that cannot be read, is zeros with flag and reason.
    Where the manifest names faces (`hcep.datasets.faces`), pictures of them are taken in place of whole frames, or each
    frame is cut by the box that is nearest to it in time; a clip without a face then counts as one without video.

    Parameters
    ----------
    manifest : path
        manifest.tsv.
    root : path
        Folder of the release.
    shard : str
        Name of the shard, as 007-of-064.
    output : path
        HDF5 file to write.
    frames : int
        F.
    size : int
        S in pixels.
    frame_sampling : {"time", "index"}
        Whether the segments are equal in time or in number of frames; at a constant rate both are the same frames.
    timeout : float
        Seconds of processor time that one clip may take.
    decoder_memory : float
        GiB of address space that ffmpeg may take.
    threads : int
        Files decoded at once.

    Raises
    ------
    HcepError
        For a bad manifest, sampling or table of boxes, or when ffmpeg does not run or the machine stops it.
    """
    if frame_sampling not in ("time", "index"):
        raise HcepError(f"frame_sampling {frame_sampling!r}", remedy="use time or index")
    clips = clips_of_shard(manifest, shard)
    names = [clip.clip for clip in clips]
    source = face_source(clips)
    options: Any = {"frames": frames, "size": size, "sampling": frame_sampling}
    options["limits"] = Limits(timeout, decoder_memory)
    if source == "boxes":
        tables = {clip.faces for clip in clips}
        options["tracks"] = {k: v for table in tables for k, v in read_boxes(root / table, set(names))[0].items()}

    def read(video: str, positions: list[int]) -> Rows:
        return read_video(root / video, clips, positions, **options)

    def read_pictures(faces: str, positions: list[int]) -> Rows:
        return read_faces(root, faces, positions, frames=frames, size=size)

    if source == "release":
        found = read_sources(clips, "faces", read_pictures, threads, flag="no_video")
    else:
        found = read_sources(clips, "video", read, threads)
    rows = progress(found, len(clips), f"decode_frames {shard}")
    settings = {"frames": frames, "size": size, "frame_sampling": frame_sampling, "ffmpeg": ffmpeg_version()}
    # whole pictures are not named, so that a cache of them stays what it was
    settings |= {"faces": source} if source != "none" else {}
    write_shard(output, "frames", names, rows, settings, shape=(frames, size, size, 3), dtype=np.uint8)


def read_video(
    path: Path,
    clips: Sequence[Clip],
    positions: list[int],
    frames: int,
    size: int,
    sampling: Sampling,
    limits: Limits,
    tracks: Mapping[str, Track] | None = None,
) -> Rows:
    """Rows of all clips of one video, normally in one pass; MediaError when the file as a whole cannot be used.

    With `tracks`, boxes by clip, a clip takes a pass of its own.
    """
    media = probe(path, timeout=limits.seconds)
    if not media.has_video:
        raise MediaError("has no video stream", file=path, absent=True)
    if media.picture_fault:
        raise MediaError(media.picture_fault, file=path)
    # at a constant rate a place in time is a place in number, and the frames that come back have been checked by time
    counted = sampling == "index" and not _is_constant(media.times, media.picture_end, media.time_base)
    wanted = {position: clips[position] for position in positions}
    if tracks is not None:
        # a detector counts the frames that decode, and the packets need not be these
        media = _decodable(path, media, limits)
        return [
            (position, _read_boxed(path, media, clip, tracks.get(clip.clip), frames, size, sampling, limits))
            for position, clip in wanted.items()
        ]
    if not counted and not media.guessed:
        # what decodes may not be what the packets say: a frame that is never shown, time stamps that are missing
        with suppress(OtherFrames):
            return _read_all(path, media, wanted, frames, size, sampling, limits)
    return _read_all(path, _decodable(path, media, limits), wanted, frames, size, sampling, limits)


def _decodable(path: Path, media: Probe, limits: Limits) -> Probe:
    """The same video with the frames that really decode, and a remark where many packets give none."""
    found = media.with_ticks(frame_ticks(path, media, limits=limits))
    if not found.frames:
        raise MediaError("has a video stream of which no frame decodes", file=path)
    if ends_early(found.picture_end, media.picture_end, cut=media.cut):
        raise MediaError(truncated("picture", found.picture_end, media.picture_end), file=path)
    if found.frames < 0.5 * media.frames:
        raise MediaError(f"only {found.frames} of {media.frames} packets of the picture decode", file=path)
    if found.frames >= 0.9 * media.frames:
        return found
    few = f"{found.frames} of {media.frames} packets of the picture give a frame"
    return found._replace(remark=", ".join(filter(None, [media.remark, few])))


def _read_all(
    path: Path, media: Probe, clips: Mapping[int, Clip], frames: int, size: int, sampling: Sampling, limits: Limits
) -> Rows:
    rows: Rows = []
    taken: list[tuple[int, Choice, np.ndarray]] = []
    erred = False
    plans: dict[str, list[tuple[int, Choice]]] = {}
    for position, clip in clips.items():
        try:
            choice = choose_frames(media, clip.start, clip.end, frames, sampling)
            _check_box(clip.box, media)
            plans.setdefault(clip.box, []).append((position, choice))
        except MediaError as error:
            rows.append((position, Row(None, f"failed: {error.reason}")))
    together = max(FRAMES_PER_PASS // frames, 1)
    for box, plan in plans.items():
        plan.sort(key=lambda item: int(item[1].positions[0]))
        for part in (plan[first : first + together] for first in range(0, len(plan), together)):
            needed = np.unique(np.concatenate([choice.positions for _, choice in part]))
            each = limits._replace(seconds=limits.seconds * len(part))
            found = read_frames(path, media, needed.tolist(), size=size, box=parse_box(box), limits=each)
            erred = erred or found.erred
            for position, choice in part:
                # one clip alone, no frame twice: what was taken is the row
                same = len(choice.positions) == len(needed)
                value = found.frames if same else found.frames[np.searchsorted(needed, choice.positions)]
                taken.append((position, choice, value))
    notes = _concealed(path, media, [choice for _, choice, _ in taken], limits) if erred else [""] * len(taken)
    for (position, choice, value), note in zip(taken, notes, strict=True):
        rows.append((position, Row(value, noted(media.remark, choice.note, note), seconds=choice.seconds)))
    return rows


def _concealed(path: Path, media: Probe, choices: Sequence[Choice], limits: Limits) -> list[str]:
    """A note for each clip of one video on the errors that ffmpeg concealed in the frames that were taken."""
    # where packets are in the file's own clock
    spans = media.ticks[np.array([(c.positions[0], c.positions[-1]) for c in choices])] * float(media.time_base)
    each = limits._replace(seconds=limits.seconds * len(choices))
    errors = packet_errors(path, "video", 0, end=float(spans.max()), limits=each)
    return [errors.note(first, last, "picture") for first, last in spans.tolist()]


def _read_boxed(
    path: Path,
    media: Probe,
    clip: Clip,
    track: Track | None,
    frames: int,
    size: int,
    sampling: Sampling,
    limits: Limits,
) -> Row:
    """The row of a clip whose frames are cut by the boxes that are nearest in time, the earlier one of two."""
    if track is None:
        return Row(None, f"absent: {clip.faces} has no box of this clip")
    try:
        choice = choose_frames(media, clip.start, clip.end, frames, sampling)
        late = int(np.searchsorted(track.frames, media.frames))
        if late < len(track.frames):
            told = f"row {track.rows[late]} of {clip.faces} has a box in frame {track.frames[late]}"
            raise MediaError(f"{told}, the video has {media.frames} frames, counted from 0")
        needed = np.unique(choice.positions)
        distance = np.abs(media.times[track.frames] - media.times[needed][:, None])
        nearest, far = distance.argmin(axis=1).tolist(), float(distance.min(axis=1).max())
        boxes = [track.boxes[number] for number in nearest]
        rows = ", ".join(str(row) for row in sorted({track.rows[number] for number in nearest}))
        try:
            for box in boxes:
                _check_box(",".join(map(str, box)), media)
            taken, erred = read_frames(path, media, needed.tolist(), size=size, boxes=boxes, limits=limits)
        except MediaError as error:
            # ffmpeg says so of a box outside the picture where the video may be a rotated one
            raise MediaError(f"{error.reason} (boxes of {clip.faces}, row {rows})") from error
    except MediaError as error:
        return Row(None, f"failed: {error.reason}")
    note = f"a frame is cut by a face box of {far:.1f} s before or after it" if far > FAR else ""
    (concealed,) = _concealed(path, media, [choice], limits) if erred else [""]
    value = taken[np.searchsorted(needed, choice.positions)]
    return Row(value, noted(media.remark, choice.note, note, concealed), seconds=choice.seconds)


def choose_frames(
    media: Probe, start: float | None, end: float | None, frames: int, sampling: Sampling = "time"
) -> Choice:
    """The F frames of a segment.

    The frames of a segment are those that appear in it, N in number. At a constant rate, or with `sampling` index,
    number floor((i + 0.5) N / F) of them is taken for i = 0 ... F - 1. At a variable rate the one is taken that is on
    screen at (i + 0.5) / F of the segment's time.

    Parameters
    ----------
    media : Probe
        The video.
    start, end : float, optional
        Seconds; a negative start is the start of the file.
    frames : int
        F.
    sampling : {"time", "index"}
        See above.

    Returns
    -------
    Choice
        With a note when the segment reaches past the end of the picture, or one frame stands for most of it.

    Raises
    ------
    MediaError
        When the segment begins after the last frame.
    """
    times, last = media.times, media.picture_end
    near = min(max(EPSILON, 0.6 * float(media.time_base)), COARSEST)
    begin = max(start or 0.0, 0.0)
    if begin > 0 and begin >= last:
        raise MediaError(f"the segment starts at {begin:g} s, the picture ends at {last:.2f} s")
    first = int(np.searchsorted(times, begin - near)) if begin > 0 else 0
    stop = len(times) if end is None else int(np.searchsorted(times, end - near))
    if stop <= first:  # shorter than a frame: the one that is on screen
        first = min(max(stop - 1, 0), len(times) - 1)
        stop = first + 1
    begin, finish = max(begin, float(times[0])), last if end is None else min(end, last)
    after = float(times[stop]) if stop < len(times) else last
    # twice the number of the segment plus one: whole numbers, as 254.99 would be another frame than 255
    halves = 2 * np.arange(frames) + 1
    if sampling == "index" or stop - first == 1 or _is_constant(times[first:stop], after, media.time_base):
        chosen = first + halves * (stop - first) // (2 * frames)
    else:
        moments = begin + halves * (finish - begin) / (2 * frames)
        chosen = np.clip(np.searchsorted(times, moments + near, side="right") - 1, 0, stop - 1)
    seconds, notes = finish - begin, []
    if end is not None and end > last + 1.0:
        notes.append(f"the segment ends at {end:g} s, the picture at {last:.2f} s")
    stands = float(np.diff(np.append(times[first:stop], min(after, finish))).max())
    if stands > max(STANDSTILL, 0.5 * seconds):
        notes.append(f"one frame stands still for {stands:.1f} s of {seconds:.1f} s")
    return Choice(chosen, max(seconds, 0.0), ", ".join(notes))


def _is_constant(times: np.ndarray, after: float, tick: Fraction) -> bool:
    """Whether frames follow each other, and `after` the last one, at one rate up to the rounding of the clock."""
    step = (after - float(times[0])) / len(times)
    line = times[0] + step * np.arange(len(times) + 1)
    return bool(np.abs(np.append(times, after) - line).max() <= min(1.5 * float(tick), 0.4 * step) + 1e-9)


def _check_box(box: str, media: Probe) -> None:
    parsed = parse_box(box)
    # a rotated video is turned upright before the box is cut out
    side = max(media.width, media.height)
    if parsed is not None and 0 < side <= max(parsed[:2]):
        raise MediaError(f"the face box {box} lies outside the {media.width}x{media.height} picture")
