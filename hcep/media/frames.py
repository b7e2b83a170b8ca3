"""Frames of a shard's clips: F per clip, at the centres of F equal segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hcep.container import MediaError
from hcep.datasets.manifest_file import Clip, parse_box
from hcep.ffmpeg import TooFewFrames, count_frames, read_frames
from hcep.media.shards import Row, clips_of_shard, write_shard
from hcep.media.sources import Rows, read_sources
from hcep.probe import Probe, probe
from hcep.progress import progress

# a pass holds its frames in memory: 512 of 224 x 224 are 77 MB
FRAMES_PER_PASS = 512
# time stamps are rounded to the container's time base
EPSILON = 1e-4


def decode_frames(
    manifest: Path,
    root: Path,
    shard: str,
    output: Path,
    *,
    frames: int,
    size: int,
    timeout: float = 60.0,
    threads: int = 1,
) -> None:
    """Decode the frames of one shard's clips into HDF5, uint8 (n, F, S, S, 3), RGB.

    Of a clip's N frames, number floor((i + 0.5) N / F) is taken for i = 0 ... F - 1 (the segment centres of TSN, Wang
    et al. 2016); the manifest's face box is cut out if there is one, the short side is resized to S (bicubic), the
    centre is cropped. A clip without video, or with a video that cannot be read, is zeros with flag and reason.

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
    timeout : float
        Seconds that one clip may take.
    threads : int
        Videos decoded at once.

    Raises
    ------
    HcepError
        For a bad manifest, or when ffmpeg does not run.
    """
    clips = clips_of_shard(manifest, shard)

    def read(video: str, positions: list[int]) -> Rows:
        return read_video(Path(root) / video, clips, positions, frames=frames, size=size, timeout=timeout)

    rows = read_sources(clips, "video", "no_video", read, threads)
    write_shard(
        Path(output),
        "frames",
        [clip.clip for clip in clips],
        progress(rows, len(clips), f"decode_frames {shard}"),
        {"frames": frames, "size": size},
        shape=(frames, size, size, 3),
        dtype=np.uint8,
    )


def read_video(
    path: Path, clips: Sequence[Clip], positions: list[int], *, frames: int, size: int, timeout: float
) -> Rows:
    """Rows of all clips of one video, normally in one pass; MediaError when the file as a whole cannot be used."""
    media = probe(path, timeout=timeout)
    if not media.has_video:
        raise MediaError("has no video stream", file=path, absent=True)
    try:
        return _read_all(path, media, clips, positions, frames, size, timeout)
    except TooFewFrames:
        # packets need not be frames: those before the first key frame never decode
        decodable = count_frames(path, media, timeout=timeout)
        if decodable < 0.9 * media.frames or decodable >= media.frames:
            raise
        media = media._replace(frames=decodable, times=media.times[media.frames - decodable :])
        return _read_all(path, media, clips, positions, frames, size, timeout)


def _read_all(
    path: Path, media: Probe, clips: Sequence[Clip], positions: list[int], frames: int, size: int, timeout: float
) -> Rows:
    rows: Rows = []
    plans: dict[str, list[tuple[int, np.ndarray, str]]] = {}
    for position in positions:
        clip = clips[position]
        try:
            chosen, note = choose_frames(media, clip.start, clip.end, frames)
            _check_box(clip.box, media)
        except MediaError as error:
            rows.append((position, Row(None, f"failed: {error.reason}")))
            continue
        plans.setdefault(clip.box, []).append((position, chosen, note))
    for box, plan in plans.items():
        for part in _passes(plan):
            needed = np.unique(np.concatenate([chosen for _, chosen, _ in part]))
            limit = timeout * len(part)
            taken = read_frames(path, media, needed.tolist(), size=size, box=parse_box(box), timeout=limit)
            for position, chosen, note in part:
                # one clip alone, no frame twice: what was taken is the row
                same = len(chosen) == len(needed)
                rows.append((position, Row(taken if same else taken[np.searchsorted(needed, chosen)], note)))
    return rows


def choose_frames(media: Probe, start: float | None, end: float | None, frames: int) -> tuple[np.ndarray, str]:
    """Numbers of the F frames of a segment, and a note when the segment reaches past the end of the picture.

    Parameters
    ----------
    media : Probe
        The video.
    start, end : float, optional
        Seconds; a negative start is the start of the file.
    frames : int
        F.

    Returns
    -------
    ndarray of int, shape (F,), ascending, and str

    Raises
    ------
    MediaError
        When the segment begins after the last frame.
    """
    times = media.times
    step = 1 / media.fps if media.fps else 0.04
    last = float(times[-1]) + step
    begin = max(start or 0.0, 0.0)
    if begin > 0 and begin >= last:
        raise MediaError(f"the segment starts at {begin:g} s, the picture ends at {last:.2f} s")
    first = int(np.searchsorted(times, begin - EPSILON)) if begin > 0 else 0
    stop = len(times) if end is None else int(np.searchsorted(times, end - EPSILON))
    if stop <= first:  # shorter than a frame: the one that is on screen
        first = min(max(stop - 1, 0), len(times) - 1)
        stop = first + 1
    late = end is not None and end > last + 1.0
    note = f"note: the segment ends at {end:g} s, the picture at {last:.2f} s" if late else ""
    chosen = first + ((np.arange(frames) + 0.5) * (stop - first) / frames).astype(np.int64)
    return chosen, note


def _check_box(box: str, media: Probe) -> None:
    parsed = parse_box(box)
    # a rotated video is turned upright before the box is cut out
    side = max(media.width, media.height)
    if parsed is not None and 0 < side <= max(parsed[:2]):
        raise MediaError(f"the face box {box} lies outside the {media.width}x{media.height} picture")


def _passes(plan: list[tuple[int, np.ndarray, str]]) -> list[list[tuple[int, np.ndarray, str]]]:
    """Split clips, in order of time, into passes of at most `FRAMES_PER_PASS` frames."""
    parts: list[list[tuple[int, np.ndarray, str]]] = [[]]
    count = 0
    for item in sorted(plan, key=lambda item: int(item[1][0])):
        if parts[-1] and count + len(item[1]) > FRAMES_PER_PASS:
            parts.append([])
            count = 0
        parts[-1].append(item)
        count += len(item[1])
    return parts
