"""The one place that opens media with PyAV: whitelists, limits, and what a file says about itself.

A media file is of unknown origin. It is opened only if it is a regular file and its content is in a container of
`FORMATS` (a playlist or a concat script is not, whatever its name), none of which opens other files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.stream import Disposition

from hcep.container import MachineFault, MediaError, check_file, refuse_shortage, structure
from hcep.decoder import DEFAULT, check_memory
from hcep.demux import STREAM_DURATION, broken_clock, claimed_ends, demux, file_start, last_step, picture_cut

# demuxers that read one self-contained file; hls, concat, dash, image2, sdp and the like open others
FORMATS = "mov,mp4,matroska,webm,avi,flv,asf,mpegts,mpeg,wav,w64,aiff,flac,ogg,mp3,aac,au"
PROTOCOLS = "file,pipe"
MAX_PIXELS = 2**26
MAX_ASPECT = 64
# no recording of people is longer; a clock that says so has jumped
MAX_PICTURE = 24 * 3600.0
# containers that keep a table of their packets: one clock, and nothing to learn from reading all of them
TABLED = STREAM_DURATION | {"avi", "wav", "w64"}
# codecs whose packets are not in the order in which their frames are shown
REORDERED = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video", "vc1"})


class Track(NamedTuple):
    """One stream of sound as its header describes it.

    `number` counts the streams of sound from 0, `default` says that players choose it, `end` is where it ends, in
    seconds from the start of the file (0 = not told), `fault` why its time stamps cannot be used ('' = they can),
    `floating` that its samples are stored as floating-point numbers, which need not be finite.
    """

    number: int
    default: bool
    channels: int
    sample_rate: int
    end: float
    fault: str
    floating: bool = False


class Probe(NamedTuple):
    """What a media file says about itself, found without decoding it.

    `ticks` are the presentation times of the packets of the first video stream that are to be shown, ascending, int64,
    in units of `time_base` seconds; `times` the same in seconds from the start of the file, which is at `start` seconds
    of the file's own clock. `picture_end` is the time at which the last of them leaves the screen, `picture_fault` why
    the picture cannot be used ('' = it can). `duration` is in seconds; a number that is not told is 0.
    `cut` says that the file is shorter than its structure claims, `tracks` lists the streams of sound, `container` is
    ffmpeg's format name. `guessed` says that the container tells no presentation times for a picture whose packets are
    in another order than its frames, `remark` what else should be known.
    """

    has_video: bool
    fps: float
    duration: float
    width: int
    height: int
    container: str
    times: np.ndarray
    ticks: np.ndarray
    time_base: Fraction
    start: float
    picture_end: float
    picture_fault: str
    cut: bool
    tracks: tuple[Track, ...]
    guessed: bool = False
    remark: str = ""

    @property
    def frames(self) -> int:
        """Number of packets of the picture that are to be shown; a packet need not give a frame."""
        return len(self.ticks)

    @property
    def has_audio(self) -> bool:
        """Whether there is a stream of sound."""
        return bool(self.tracks)

    def with_ticks(self, ticks: np.ndarray) -> Probe:
        """The same file with other frames, those that were found by decoding it.

        Where the container tells no presentation times, those of the decoder are guesses. If every packet gave a frame,
        the frames follow each other as the packets do, the first one at the start.
        """
        times = ticks * float(self.time_base) - self.start
        if self.guessed and len(ticks):
            times = self.times if len(ticks) == len(self.times) else times
            times = times - times[0]
        end = float(times[-1]) + last_step(times, 0.0, self.fps) if len(times) else 0.0
        return self._replace(times=times, ticks=ticks, picture_end=end)


class Glance(NamedTuple):
    """What a file's header says: whether there is picture and sound, and the duration in seconds (0 = not told)."""

    has_video: bool
    has_audio: bool
    duration: float


def probe(path: str | Path, *, timeout: float = 60.0, picture: bool = True) -> Probe:
    """Read what a media file holds by demuxing it, without decoding.

    Parameters
    ----------
    path : path
        Any path; nothing in it is interpreted.
    timeout : float
        Seconds of processor time after which reading is given up.
    picture : bool
        False where only the sound is wanted: the packets of the picture are then not listed if the container keeps
        the streams apart, which is faster. `ticks` and `times` are empty in that case.

    Returns
    -------
    Probe

    Raises
    ------
    MediaError
        When the file is missing, empty, a folder, a git-LFS pointer, in a container outside the whitelist, damaged, of
        zero duration, without any video or audio stream, or larger than the limits.
    MachineFault
        When memory runs out, or its file system does not answer.
    """
    path = Path(path).absolute()
    # no decoder runs in this process unless the header leaves no choice: that would be six times slower, and a hostile
    # stream had better meet it in a child
    with _opened(path, timeout, codec_whitelist="none") as container:
        if all(s.width and s.height for s in container.streams.video if s.codec_context):
            return _describe(path, container, time.thread_time() + timeout, picture)
    with _opened(path, timeout, max_pixels=str(MAX_PIXELS)) as container:
        return _describe(path, container, time.monotonic() + timeout, picture)


def glance(path: str | Path) -> Glance:
    """Read a media file's header and no more, about a millisecond.

    Raises
    ------
    MediaError
        When it is missing, empty, a folder, a git-LFS pointer, or in no container of the whitelist.
    """
    with _opened(path, 60.0, codec_whitelist="none") as container:
        duration = (container.duration or 0) / av.time_base
        return Glance(bool(_videos(container)), bool(container.streams.audio), duration)


@contextmanager
def _opened(path: str | Path, timeout: float, **options: str) -> Iterator[Any]:
    """A media file as PyAV's container; what is wrong with it, now or while it is read, is a MediaError."""
    path = Path(path).absolute()
    check_file(path)
    allowed = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS}
    begun = time.thread_time()
    try:
        with av.open(f"file:{path}", mode="r", options=allowed | options, timeout=(timeout, timeout)) as container:
            yield container
    except (av.error.FFmpegError, ValueError) as error:  # a ValueError is a path that is not UTF-8
        if isinstance(error, av.error.ExitError) and time.thread_time() - begun < timeout / 2:
            remedy = "run again when the machine or its file system is less busy"
            raise MachineFault(f"could not be read in {timeout:g} s", file=path, remedy=remedy) from error
        if isinstance(error, MemoryError):
            check_memory(DEFAULT, path)
        if isinstance(error, OSError):
            refuse_shortage(error, path)
        text = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise MediaError(f"cannot be read as video or audio ({text})", file=path) from error


def _videos(container: Any) -> list[Any]:
    # a cover picture in an audio file is listed as a video stream
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def _describe(path: Path, container: Any, deadline: float, picture: bool) -> Probe:
    name = container.format.name.split(",")[0]
    videos, sounds = _videos(container), list(container.streams.audio)
    video: Any = videos[0] if videos else None
    if video is None and not sounds:
        raise MediaError("holds neither video nor audio", file=path)
    # where the codec is not known here, ffmpeg has to say what it makes of it
    codec = video.codec_context if video is not None else None
    width, height = (video.width, video.height) if codec else (0, 0)
    if codec and not (width and height):
        raise MediaError("has a video stream without a frame size", file=path)
    if width * height > MAX_PIXELS:
        raise MediaError(f"claims frames of {width}x{height} pixels, above the limit", file=path)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(f"claims frames of {width}x{height} pixels, an implausible shape", file=path)
    told, tabled = structure(path, name), name in TABLED
    wanted = ([video] if picture and video is not None else []) if tabled else list(container.streams)
    packets = demux(container, video, deadline, wanted)
    used = [*videos[:1], *sounds]
    start = file_start(container, [] if tabled else used, packets)
    claims = claimed_ends(container, used, packets, start, told)
    times, fps, end, fault = np.zeros(0), 0.0, 0.0, ""
    if video is not None:
        fps = float(video.average_rate or 0)
        times = packets.ticks * float(video.time_base) - start
        fault = broken_clock(packets, video.index, start) or picture_cut(video, packets, claims, start, told.is_cut)
        if len(times):
            end = float(times[-1]) + last_step(times, packets.last * float(video.time_base), fps)
            if times[-1] > MAX_PICTURE:
                fault = f"its time stamps claim {times[-1]:.0f} s of picture, above the limit"
        elif video in wanted:
            raise MediaError("has a video stream without frames (zero duration)", file=path)
    duration = (container.duration or 0) / av.time_base or max(packets.ends.values(), default=start) - start
    # a table without a length, as of FLAC written to a pipe, is no empty file
    if duration <= 0 and not len(times) and not tabled:
        raise MediaError("has zero duration", file=path)
    return Probe(
        has_video=video is not None,
        fps=fps,
        duration=duration,
        width=width,
        height=height,
        container=name,
        times=times,
        ticks=packets.ticks,
        time_base=Fraction(video.time_base if video is not None else 0),
        start=start,
        picture_end=end,
        picture_fault=fault,
        cut=told.is_cut,
        tracks=tuple(
            _track(number, stream, claims[stream.index], broken_clock(packets, stream.index, start))
            for number, stream in enumerate(sounds)
        ),
        guessed=name == "avi" and codec is not None and codec.codec.canonical_name in REORDERED,
        remark="the file has no end mark and may be cut" if told.lacks_end_mark else "",
    )


def _track(number: int, stream: Any, end: float, fault: str) -> Track:
    default, codec = bool(stream.disposition & Disposition.default), stream.codec_context
    channels, rate = (int(codec.channels or 0), int(codec.sample_rate or 0)) if codec else (0, 0)
    floating = codec is not None and codec.codec.name.startswith("pcm_f")
    return Track(number, default, channels, rate, end, fault, floating)
