"""The one place that opens media with PyAV: whitelists, limits, and what a file says about itself.

A media file is of unknown origin. It is opened only if it is a regular file and its content is in a container of
`FORMATS` (a playlist or a concat script is not, whatever its name), none of which opens other files.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.stream import Disposition

from hcep.container import MediaError, check_file, ends_early, is_cut, lacks_end_mark, told_seconds

# demuxers that read one self-contained file; hls, concat, dash, image2, sdp and the like open others
FORMATS = "mov,mp4,matroska,webm,avi,flv,asf,mpegts,mpeg,wav,w64,aiff,flac,ogg,mp3,aac,au"
PROTOCOLS = "file,pipe"
MAX_PIXELS = 2**26
MAX_ASPECT = 64
MAX_PACKETS = 2**22
# containers whose duration is an estimate from the bit rate: falling short of it proves nothing
ESTIMATED_DURATION = frozenset({"mp3", "aac", "mpeg"})
# containers whose header tells the length of each stream
STREAM_DURATION = frozenset({"mov", "flac", "aiff", "au"})
# containers that keep a table of their packets: one clock, and nothing to learn from reading all of them
TABLED = STREAM_DURATION | {"avi", "wav", "w64"}
# no recording of people is longer; a clock that says so has jumped
MAX_PICTURE = 24 * 3600.0
# codecs whose packets are not in the order in which their frames are shown
REORDERED = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video", "vc1"})
# a stream whose time stamps go back by more has parts with clocks of their own
MAX_STEP_BACK = 0.5


class Track(NamedTuple):
    """One stream of sound as its header describes it.

    `number` counts the streams of sound from 0, `default` says that players choose it, `end` is where it ends, in
    seconds from the start of the file (0 = not told), `fault` why its time stamps cannot be used ('' = they can).
    """

    number: int
    default: bool
    channels: int
    sample_rate: int
    end: float
    fault: str


class Probe(NamedTuple):
    """What a media file says about itself, found without decoding it.

    `ticks` are the presentation times of the packets of the first video stream that are to be shown, ascending, int64,
    in units of `time_base` seconds; `times` the same in seconds from the start of the file, which is at `start` seconds
    of the file's own clock. `picture_end` is the time at which the last of them leaves the screen, `picture_fault` why
    the picture cannot be used ('' = it can). `frames` is their number: a packet need not give a frame. `duration` is in
    seconds; a number that does not apply or is not told is 0. `cut` says that the file is shorter than its structure
    claims, `tracks` lists the streams of sound, `container` is ffmpeg's format name. `guessed` says that the container
    tells no presentation times for a picture whose packets are in another order than its frames, `remark` what else
    should be known.
    """

    has_video: bool
    has_audio: bool
    frames: int
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
        return self._replace(frames=len(times), times=times, ticks=ticks, picture_end=end)


class Glance(NamedTuple):
    """What a file's header says: whether there is picture and sound, and the duration in seconds (0 = not told)."""

    has_video: bool
    has_audio: bool
    duration: float


def _packets(container: Any, streams: Sequence[Any]) -> Iterator[Any]:
    """All packets of these streams."""
    try:
        yield from container.demux(streams)
    except (IndexError, BlockingIOError):
        # behind the last packet PyAV looks for streams that began in the middle of the file, which it does not list;
        # zeros behind a transport stream are an end that may go on
        return


class Packets(NamedTuple):
    """What demuxing tells, in the clock of the file.

    Of the picture: `ticks` (sorted), the `last` packet's duration in ticks, and how many were `seen`. Of each stream
    that was read, by its index: where it `begins` and `ends` in seconds, and where its clock jumps `back` from and to.
    """

    ticks: np.ndarray
    last: int
    seen: int
    begins: dict[int, float]
    ends: dict[int, float]
    back: dict[int, tuple[float, float]]


def _demux(container: Any, video: Any, deadline: float, streams: Sequence[Any]) -> Packets:
    """Read all packets of `streams`."""
    bases = {stream.index: float(stream.time_base) for stream in streams}  # a Fraction per packet would be slow
    picture = video.index if video is not None else -1
    step = round(float(1 / (video.average_rate or 25) / video.time_base)) if video is not None else 0
    stamps: list[tuple[int, int]] = []
    begins: dict[int, float] = {}
    ends: dict[int, float] = {}
    latest: dict[int, float] = {}
    back: dict[int, tuple[float, float]] = {}
    # Matroska tells no decoding times: those that the library guesses go back where frames are few
    matroska = container.format.name.startswith("matroska")
    untold = {stream.index for stream in streams if matroska and stream.type == "video"}
    seen, pictures, started = 0, 0, False
    # of an empty list PyAV would make all streams
    for packet in _packets(container, streams) if streams else ():
        if not packet.size:
            continue
        seen += 1
        if seen > MAX_PACKETS or time.monotonic() > deadline:
            raise MediaError("has more packets than are read within the limits", file=container.name)
        index = packet.stream_index
        base = bases.get(index)
        if base is None:  # a stream that began in the middle of the file
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        clock = packet.dts if index not in untold else packet.pts if packet.is_keyframe else None
        if clock is not None:
            moment = clock * base
            if moment < latest.get(index, moment) - MAX_STEP_BACK:
                back.setdefault(index, (latest[index], moment))
            latest[index] = moment
        if stamp is not None and not packet.is_corrupt:
            begin = stamp * base
            begins[index] = min(begins.get(index, begin), begin)
            ends[index] = max(ends.get(index, begin), begin + (packet.duration or 0) * base)
        if index != picture or packet.is_corrupt:
            continue
        pictures += 1
        if packet.is_keyframe and not started:
            started, stamps = True, []  # nothing decodes before the first key frame
        if not packet.is_discard:
            stamps.append((len(stamps) * step if stamp is None else stamp, packet.duration or 0))
    stamps.sort()
    # of packets that would appear at one time only one gives a frame
    ticks = np.unique(np.array([stamp for stamp, _ in stamps], dtype=np.int64))
    return Packets(ticks, stamps[-1][1] if stamps else 0, pictures, begins, ends, back)


def _start(container: Any, streams: Sequence[Any], packets: Packets) -> float:
    """Start of the file in its own clock, in seconds: that of its first picture or sound.

    Where no packets were read, the header tells it. Elsewhere the library fills in the start of another stream for one
    that it cannot decode; what it says of sound counts if it is near the first packet, since it leaves out what
    decoders throw away.
    """
    begins = []
    for stream in streams:
        begin = packets.begins.get(stream.index)
        if begin is None:
            continue
        told = float(stream.start_time * stream.time_base) if stream.start_time is not None else begin
        begins.append(told if stream.type == "audio" and begin <= told <= begin + 0.2 else begin)
    return min(begins) if begins else (container.start_time or 0) / av.time_base


def last_step(times: np.ndarray, duration: float, fps: float) -> float:
    """Seconds for which the last frame is shown: what its packet says, if the frames before it bear it out.

    Writers often give the last packet no length, or that of an average frame: it lasts as long as those before it.
    """
    gaps = np.diff(times)
    if not len(gaps):
        return duration or (1 / fps if fps else 0.04)
    usual = sorted(gaps[-8:].tolist())[len(gaps[-8:]) // 2]
    return max(min(duration, float(gaps.max())), usual)


def _claims(
    path: Path, container: Any, streams: Sequence[Any], packets: Packets, start: float, cut: bool
) -> dict[int, float]:
    """Where each stream should end in seconds from the start of the file, by its index; 0 = not told.

    What is written about one stream counts for that stream. The file's own duration is that of its longest stream,
    which may be a subtitle: it counts for a stream of which nothing is written only where no stream at all reaches it.
    """
    name = container.format.name.split(",")[0]
    told = told_seconds(path, name)
    whole = (container.duration or 0) / av.time_base if name not in ESTIMATED_DURATION else 0.0
    if name in ("asf", "mp3") and told:
        whole = told[0]
    # some writers tell when the file ends in its own clock, others how long it is
    whole = max(whole - max(start, 0.0), 0.0) if name in ("matroska", "asf") else whole
    if cut and not whole:
        whole = float("inf")
    reached = max(packets.ends.values(), default=float("inf")) - start
    common = whole if ends_early(reached, whole, cut=cut) else 0.0
    claims = {stream.index: _claimed_end(name, stream, start) or common for stream in streams}
    sounds = [stream for stream in streams if stream.type == "audio"]
    if name in ("wav", "w64", "avi"):
        unknown = float("inf") if cut else 0.0
        for number, stream in enumerate(sounds):
            claims[stream.index] = (told[number] if number < len(told) else 0.0) or unknown
    return claims


def _claimed_end(name: str, stream: Any, start: float) -> float:
    """Where a stream ends according to what is written about this stream alone, 0 = nothing is."""
    if name in STREAM_DURATION and stream.duration:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base) - start
    if name == "matroska":
        tags = [value for key, value in stream.metadata.items() if key.upper().split("-")[0] == "DURATION"]
        parts = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tags[0]) if tags else None
        end = int(parts[1]) * 3600 + int(parts[2]) * 60 + float(parts[3]) if parts else 0.0
        return max(end - max(start, 0.0), 0.0)
    return 0.0


def truncated(what: str, held: float, claimed: float) -> str:
    """The reason of a part that ends early."""
    told = f"its header says {claimed:.2f} s" if np.isfinite(claimed) else "the file is shorter than its header says"
    return f"is truncated: the {what} ends at {held:.2f} s, {told}"


def probe(path: str | Path, *, timeout: float = 60.0, picture: bool = True) -> Probe:
    """Read what a media file holds by demuxing it, without decoding.

    Parameters
    ----------
    path : path
        Any path; nothing in it is interpreted.
    timeout : float
        Seconds after which reading is given up.
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
    """
    path = Path(path).absolute()
    check_file(path)
    try:
        # no decoder runs in this process unless the header leaves no choice: that would be six times slower, and a
        # hostile stream had better meet it in a child
        with _open(path, timeout, codec_whitelist="none") as container:
            if all(all(_size(s)) for s in container.streams.video if s.codec_context):
                return _describe(path, container, time.monotonic() + timeout, picture)
        with _open(path, timeout, max_pixels=str(MAX_PIXELS)) as container:
            return _describe(path, container, time.monotonic() + timeout, picture)
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


def _codec(video: Any) -> str:
    return str(video.codec_context.codec.canonical_name) if video.codec_context else ""


def _open(path: Path, timeout: float, **options: str) -> Any:
    allowed = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS}
    return av.open(f"file:{path}", mode="r", options=allowed | options, timeout=(timeout, timeout))


def _describe(path: Path, container: Any, deadline: float, picture: bool) -> Probe:
    name = container.format.name.split(",")[0]
    videos = _videos(container)
    video = videos[0] if videos else None
    sounds = list(container.streams.audio)
    if video is None and not sounds:
        raise MediaError("holds neither video nor audio", file=path)
    width, height = _size(video) if video is not None else (0, 0)
    if video is not None:
        # where the codec is not known here, ffmpeg has to say what it makes of it
        if video.codec_context and not (width and height):
            raise MediaError("has a video stream without a frame size", file=path)
        if width * height > MAX_PIXELS:
            raise MediaError(f"claims frames of {width}x{height} pixels, above the limit", file=path)
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise MediaError(f"claims frames of {width}x{height} pixels, an implausible shape", file=path)
    cut = is_cut(path, name)
    tabled = name in TABLED
    wanted = ([video] if picture and video is not None else []) if tabled else list(container.streams)
    packets = _demux(container, video, deadline, wanted)
    used = [*videos[:1], *sounds]
    start = _start(container, [] if tabled else used, packets)
    claims = _claims(path, container, used, packets, start, cut)
    times, fps, step, fault = np.zeros(0), 0.0, 0.0, ""
    if video is not None:
        fps = float(video.average_rate or 0)
        times = packets.ticks * float(video.time_base) - start
        if len(times):
            step = last_step(times, packets.last * float(video.time_base), fps)
        fault = _broken(packets, video, start) or _picture_cut(video, packets, claims, start, cut)
        if len(times) and times[-1] > MAX_PICTURE:
            fault = f"its time stamps claim {times[-1]:.0f} s of picture, above the limit"
        if video in wanted and not len(times):
            raise MediaError("has a video stream without frames (zero duration)", file=path)
    duration = (container.duration or 0) / av.time_base or max(packets.ends.values(), default=start) - start
    # a table without a length, as of FLAC written to a pipe, is no empty file
    if duration <= 0 and not len(times) and not tabled:
        raise MediaError("has zero duration", file=path)
    return Probe(
        has_video=video is not None,
        has_audio=bool(sounds),
        frames=len(times),
        fps=fps,
        duration=duration,
        width=width,
        height=height,
        container=name,
        times=times,
        ticks=packets.ticks,
        time_base=Fraction(video.time_base) if video is not None else Fraction(0),
        start=start,
        picture_end=float(times[-1]) + step if len(times) else 0.0,
        picture_fault=fault,
        cut=cut,
        guessed=name == "avi" and video is not None and _codec(video) in REORDERED,
        remark="the file has no end mark and may be cut" if lacks_end_mark(path, name) else "",
        tracks=tuple(_track(n, stream, claims, _broken(packets, stream, start)) for n, stream in enumerate(sounds)),
    )


def _broken(packets: Packets, stream: Any, start: float) -> str:
    """Why the time stamps of a stream cannot be used, '' if they can."""
    if stream.index not in packets.back:
        return ""
    left, reached = (moment - start for moment in packets.back[stream.index])
    return f"its clock jumps back from {left:.2f} to {reached:.2f} s, as in files that were joined without a new clock"


def _picture_cut(video: Any, packets: Packets, claims: dict[int, float], start: float, cut: bool) -> str:
    """Why the picture is truncated, '' if it is not."""
    if video.frames:  # counts are exact where an edit list hides a part of the stream
        if not cut or not packets.seen:
            return ""
        rate = float(video.average_rate or 25)
        held, claimed = packets.seen / rate, video.frames / rate
    else:
        held, claimed = packets.ends.get(video.index, start) - start, claims[video.index]
    return truncated("picture", held, claimed) if ends_early(held, claimed, cut=cut) else ""


def _track(number: int, stream: Any, claims: dict[int, float], fault: str) -> Track:
    context = stream.codec_context
    return Track(
        number=number,
        default=bool(stream.disposition & Disposition.default),
        channels=int(context.channels or 0) if context else 0,
        sample_rate=int(context.sample_rate or 0) if context else 0,
        end=claims[stream.index],
        fault=fault,
    )
