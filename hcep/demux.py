"""What the packets of an opened file tell: times of the picture, clocks of its streams, their ends and claims."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import av
import numpy as np

from hcep.container import MediaError, Structure, ends_early, truncated

MAX_PACKETS = 2**22
# containers whose duration is an estimate from the bit rate: falling short of it proves nothing
ESTIMATED_DURATION = frozenset({"mp3", "aac", "mpeg"})
# containers whose header tells the length of each stream
STREAM_DURATION = frozenset({"mov", "flac", "aiff", "au"})
# a stream whose time stamps go back by more has parts with clocks of their own
MAX_STEP_BACK = 0.5


def _read(container: Any, streams: Sequence[Any]) -> Iterator[Any]:
    """All packets of these streams that hold something."""
    if not streams:  # PyAV would read all
        return
    try:
        yield from (packet for packet in container.demux(streams) if packet.size)
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


def demux(container: Any, video: Any, deadline: float, streams: Sequence[Any]) -> Packets:
    """Read all packets of `streams`, until this thread's processor time reaches the deadline."""
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
    seen, started = 0, False
    for number, packet in enumerate(_read(container, streams)):
        if number >= MAX_PACKETS or time.thread_time() > deadline:
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
        seen += 1
        if packet.is_keyframe and not started:
            started, stamps = True, []  # nothing decodes before the first key frame
        if not packet.is_discard:
            stamps.append((len(stamps) * step if stamp is None else stamp, packet.duration or 0))
    stamps.sort()
    # of packets that would appear at one time only one gives a frame
    ticks = np.unique(np.array([stamp for stamp, _ in stamps], dtype=np.int64))
    return Packets(ticks, stamps[-1][1] if stamps else 0, seen, begins, ends, back)


def file_start(container: Any, streams: Sequence[Any], packets: Packets) -> float:
    """Start of the file in its own clock, in seconds: that of its first picture or sound.

    Where no packets were read, the header tells it. Elsewhere the library fills in the start of another stream for one
    that it cannot decode; what it says of sound counts if it is near the first packet, since it leaves out what
    decoders throw away.
    """
    begins = []
    for stream in (stream for stream in streams if stream.index in packets.begins):
        begin = packets.begins[stream.index]
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
    return max(min(duration, float(gaps.max())), statistics.median_high(gaps[-8:].tolist()))


def claimed_ends(
    container: Any, streams: Sequence[Any], packets: Packets, start: float, told: Structure
) -> dict[int, float]:
    """Where each stream should end in seconds from the start of the file, by its index; 0 = not told.

    What is written about one stream counts for that stream. The file's own duration is that of its longest stream,
    which may be a subtitle: it counts for a stream of which nothing is written only where no stream at all reaches it.
    """
    name = container.format.name.split(",")[0]
    whole = (container.duration or 0) / av.time_base if name not in ESTIMATED_DURATION else 0.0
    if name in ("asf", "mp3"):
        (whole,) = told.seconds
    # some writers tell when the file ends in its own clock, others how long it is
    whole = max(whole - max(start, 0.0), 0.0) if name in ("matroska", "asf") else whole
    unknown = math.inf if told.is_cut else 0.0
    whole = whole or unknown
    reached = max(packets.ends.values(), default=math.inf) - start
    common = whole if ends_early(reached, whole, cut=told.is_cut) else 0.0
    claims = {stream.index: _claimed_end(name, stream, start) or common for stream in streams}
    if name in ("wav", "w64", "avi"):
        sounds = [stream.index for stream in streams if stream.type == "audio"]
        for index, seconds in zip(sounds, chain(told.seconds, repeat(0.0)), strict=False):
            claims[index] = seconds or unknown
    return claims


def _claimed_end(name: str, stream: Any, start: float) -> float:
    """Where a stream ends according to what is written about this stream alone, 0 = nothing is."""
    if name in STREAM_DURATION and stream.duration:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base) - start
    if name != "matroska":
        return 0.0
    tags = [value for key, value in stream.metadata.items() if key.upper().split("-")[0] == "DURATION"]
    parts = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tags[0]) if tags else None
    end = int(parts[1]) * 3600 + int(parts[2]) * 60 + float(parts[3]) if parts else 0.0
    return max(end - max(start, 0.0), 0.0)


def broken_clock(packets: Packets, index: int, start: float) -> str:
    """Why the time stamps of the stream with this index cannot be used, '' if they can."""
    if index not in packets.back:
        return ""
    left, reached = (moment - start for moment in packets.back[index])
    return f"its clock jumps back from {left:.2f} to {reached:.2f} s, as in files that were joined without a new clock"


def picture_cut(video: Any, packets: Packets, claims: dict[int, float], start: float, cut: bool) -> str:
    """Why the picture is truncated, '' if it is not."""
    held, claimed = packets.ends.get(video.index, start) - start, claims[video.index]
    if video.frames:  # counts are exact where an edit list hides a part of the stream
        if not cut or not packets.seen:
            return ""
        rate = float(video.average_rate or 25)
        held, claimed = packets.seen / rate, video.frames / rate
    return truncated("picture", held, claimed) if ends_early(held, claimed, cut=cut) else ""
