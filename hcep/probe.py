"""The one place that opens media with PyAV: whitelists, limits, and what a file says about itself.

A media file is of unknown origin. It is opened only if it is a regular file and its content is in a container of
`FORMATS` (a playlist or a concat script is not, whatever its name), none of which opens other files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.stream import Disposition

from hcep.container import MediaError, check_file, is_cut

# demuxers that read one self-contained file; hls, concat, dash, image2, sdp and the like open others
FORMATS = "mov,mp4,matroska,webm,avi,flv,asf,mpegts,mpeg,wav,w64,aiff,flac,ogg,mp3,aac,au"
PROTOCOLS = "file,pipe"
MAX_PIXELS = 2**26
MAX_ASPECT = 64
MAX_PACKETS = 2**22
# containers whose duration is an estimate from the bit rate: falling short of it proves nothing
ESTIMATED_DURATION = frozenset({"mp3", "aac", "mpeg"})


class Probe(NamedTuple):
    """What a media file says about itself, found without decoding it.

    `frames` counts the packets of the first video stream that are to be shown, `times` are their presentation times in
    seconds from the start of the file, ascending, shape (frames,). `duration` and `audio_duration` are in seconds,
    `sample_rate` in hertz; a number that does not apply or is not told is 0. `container` is ffmpeg's format name.
    """

    has_video: bool
    has_audio: bool
    frames: int
    fps: float
    duration: float
    width: int
    height: int
    sample_rate: int
    audio_duration: float
    container: str
    times: np.ndarray


class Glance(NamedTuple):
    """What a file's header says: whether there is picture and sound, and the duration in seconds (0 = not told)."""

    has_video: bool
    has_audio: bool
    duration: float


def _packets(container: Any, streams: Sequence[Any]) -> Iterator[Any]:
    """All packets of these streams."""
    try:
        yield from container.demux(streams)
    except IndexError:
        # behind the last packet PyAV looks for streams that began in the middle of the file, which it does not list
        return


def _packet_times(container: Any, video: Any, deadline: float) -> tuple[np.ndarray, float]:
    """Presentation times of the video frames to be shown, and the end in seconds of the last packet of any stream."""
    start = (container.start_time or 0) / av.time_base
    counted = bool(video.frames)
    # a container that counts its frames needs no other stream to tell whether it is whole
    streams = [video] if counted else [s for s in container.streams if s.type in ("video", "audio")]
    step = float(1 / video.average_rate) if video.average_rate else 0.04
    bases = {stream.index: float(stream.time_base) for stream in streams}  # a Fraction per packet would be slow
    times: list[float] = []
    end, seen, started = 0.0, 0, False
    for packet in _packets(container, streams):
        if not packet.size:
            continue
        seen += 1
        if seen > MAX_PACKETS or time.monotonic() > deadline:
            raise MediaError("has more packets than are read within the limits", file=container.name)
        stamp = packet.pts if packet.pts is not None else packet.dts
        moment = None if stamp is None else stamp * bases[packet.stream_index] - start
        if moment is not None:
            end = max(end, moment + (packet.duration or 0) * bases[packet.stream_index])
        if packet.stream_index != video.index or packet.is_corrupt:
            continue
        if packet.is_keyframe and not started:
            started, times = True, []  # nothing decodes before the first key frame
        if not packet.is_discard:
            times.append(len(times) * step if moment is None else moment)
    return np.sort(np.asarray(times, dtype=np.float64)), end


def _check_whole(path: Path, container: Any, video: Any, end: float) -> None:
    """Refuse a file that ends before its own header says so."""
    name = container.format.name.split(",")[0]
    cut = is_cut(path, name)
    if video is not None and not video.frames and container.duration and name not in ESTIMATED_DURATION:
        cut = cut or end < 0.95 * container.duration / av.time_base - 0.5
    if cut:
        raise MediaError("is truncated: it ends before its header says", file=path)


def probe(path: str | Path, *, timeout: float = 60.0) -> Probe:
    """Read what a media file holds by demuxing it, without decoding.

    Parameters
    ----------
    path : path
        Any path; nothing in it is interpreted.
    timeout : float
        Seconds after which reading is given up.

    Returns
    -------
    Probe

    Raises
    ------
    MediaError
        When the file is missing, empty, a folder, a git-LFS pointer, in a container outside the whitelist, damaged,
        truncated, of zero duration, without any video or audio stream, or larger than the limits.
    """
    path = Path(path).absolute()
    check_file(path)
    try:
        # no decoder runs in this process unless the header leaves no choice: that would be six times slower, and a
        # hostile stream had better meet it in a child
        with _open(path, timeout, codec_whitelist="none") as container:
            if all(all(_size(s)) for s in container.streams.video if s.codec_context):
                return _describe(path, container, time.monotonic() + timeout)
        with _open(path, timeout, max_pixels=str(MAX_PIXELS)) as container:
            return _describe(path, container, time.monotonic() + timeout)
    except (av.error.FFmpegError, ValueError) as error:
        raise _unreadable(path, error) from error


def glance(path: str | Path, *, timeout: float = 60.0) -> Glance:
    """Read a media file's header and no more, about a millisecond.

    Raises
    ------
    MediaError
        When it is missing, empty, a folder, a git-LFS pointer, or in no container of the whitelist.
    """
    path = Path(path).absolute()
    check_file(path)
    try:
        with _open(path, timeout, codec_whitelist="none") as container:
            duration = (container.duration or 0) / av.time_base
            return Glance(bool(_videos(container)), bool(container.streams.audio), duration)
    except (av.error.FFmpegError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> MediaError:
    # a ValueError is a path that is not UTF-8
    text = getattr(error, "strerror", None) or str(error).split("\n")[0]
    return MediaError(f"cannot be read as video or audio ({text})", file=path)


def _videos(container: Any) -> list[Any]:
    # a cover picture in an audio file is listed as a video stream
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def _size(video: Any) -> tuple[int, int]:
    """Width and height; zeros if the header does not tell, or for a codec that is not known here."""
    return (video.width, video.height) if video.codec_context else (0, 0)


def _open(path: Path, timeout: float, **options: str) -> Any:
    allowed = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS}
    return av.open(f"file:{path}", mode="r", options=allowed | options, timeout=(timeout, timeout))


def _describe(path: Path, container: Any, deadline: float) -> Probe:
    name = container.format.name.split(",")[0]
    videos = _videos(container)
    video = videos[0] if videos else None
    audio = container.streams.audio[0] if container.streams.audio else None
    if video is None and audio is None:
        raise MediaError("holds neither video nor audio", file=path)
    times, end = np.zeros(0), 0.0
    width, height = _size(video) if video is not None else (0, 0)
    if video is not None:
        # where the codec is not known here, ffmpeg has to say what it makes of it
        if video.codec_context and not (width and height):
            raise MediaError("has a video stream without a frame size", file=path)
        if width * height > MAX_PIXELS:
            raise MediaError(f"claims frames of {width}x{height} pixels, above the limit", file=path)
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise MediaError(f"claims frames of {width}x{height} pixels, an implausible shape", file=path)
        times, end = _packet_times(container, video, deadline)
    _check_whole(path, container, video, end)
    if video is not None and not len(times):
        raise MediaError("has a video stream without frames (zero duration)", file=path)
    duration = (container.duration or 0) / av.time_base or end
    if duration <= 0 and not len(times):
        raise MediaError("has zero duration", file=path)
    sound = float(audio.duration * audio.time_base) if audio is not None and audio.duration else 0.0
    return Probe(
        has_video=video is not None,
        has_audio=audio is not None,
        frames=len(times),
        fps=float(video.average_rate or 0) if video is not None else 0.0,
        duration=duration,
        width=width,
        height=height,
        sample_rate=int(audio.sample_rate or 0) if audio is not None and audio.codec_context else 0,
        audio_duration=sound or (duration if audio is not None and video is None else 0.0),
        container=name,
        times=times,
    )
