"""The one place that starts ffmpeg or opens media with PyAV: whitelists, limits, probing, decoding.

A media file is of unknown origin. It is opened only if it is a regular file and its content is in a container of
`FORMATS` (a playlist or a concat script is not, whatever its name), none of which opens other files. Its path is data:
it reaches ffmpeg as one argument behind ``file:``, so no part of it is read as an option, a pattern or a protocol.
"""

from __future__ import annotations

import functools
import mmap
import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
from av.stream import Disposition

from hcep.container import MediaError, check_file, is_cut
from hcep.errors import HcepError

# demuxers that read one self-contained file; hls, concat, dash, image2, sdp and the like open others
FORMATS = "mov,mp4,matroska,webm,avi,flv,asf,mpegts,mpeg,wav,w64,aiff,flac,ogg,mp3,aac,au"
PROTOCOLS = "file,pipe"
MAX_PIXELS = 2**26
MAX_ASPECT = 64
MAX_PACKETS = 2**22
MAX_SECONDS = 2 * 3600
RATE = 16_000
# containers whose duration is an estimate from the bit rate: falling short of it proves nothing
ESTIMATED_DURATION = frozenset({"mp3", "aac", "mpeg"})


class TooFewFrames(MediaError):
    """ffmpeg ended without an error but did not give every frame asked for."""


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


@functools.cache
def _runs(executable: str) -> str:
    """Return `executable` once it has answered ``-version``."""
    remedy = "install imageio-ffmpeg with its binary, or set HCEP_FFMPEG to the path of a working ffmpeg"
    try:
        done = subprocess.run([executable, "-version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise HcepError(f"ffmpeg does not run: {error}", file=executable, remedy=remedy) from error
    if done.returncode or b"ffmpeg" not in done.stdout[:200]:
        raise HcepError(f"not a working ffmpeg (exit status {done.returncode})", file=executable, remedy=remedy)
    return executable


def ffmpeg_executable() -> str:
    """Path of the ffmpeg to use: ``HCEP_FFMPEG`` when set, else imageio-ffmpeg's static binary.

    Raises
    ------
    HcepError
        When it is not there or does not run.
    """
    chosen = os.environ.get("HCEP_FFMPEG")
    if not chosen:
        try:
            chosen = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as error:
            raise HcepError(str(error), remedy="set HCEP_FFMPEG to the path of a working ffmpeg") from error
    return _runs(chosen)


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
    for packet in container.demux(streams):
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
            if all(s.width and s.height for s in container.streams.video):
                return _describe(path, container, time.monotonic() + timeout)
        with _open(path, timeout, max_pixels=str(MAX_PIXELS)) as container:
            return _describe(path, container, time.monotonic() + timeout)
    except (av.error.FFmpegError, ValueError) as error:  # a ValueError is a path that is not UTF-8
        text = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise MediaError(f"cannot be read as video or audio ({text})", file=path) from error


def _open(path: Path, timeout: float, **options: str) -> Any:
    allowed = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS}
    return av.open(f"file:{path}", mode="r", options=allowed | options, timeout=(timeout, timeout))


def _describe(path: Path, container: Any, deadline: float) -> Probe:
    name = container.format.name.split(",")[0]
    # a cover picture in an audio file is listed as a video stream
    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    video = videos[0] if videos else None
    audio = container.streams.audio[0] if container.streams.audio else None
    if video is None and audio is None:
        raise MediaError("holds neither video nor audio", file=path)
    times, end = np.zeros(0), 0.0
    if video is not None:
        if not video.width or not video.height:
            raise MediaError("has a video stream without a frame size", file=path)
        if video.width * video.height > MAX_PIXELS:
            raise MediaError(f"claims frames of {video.width}x{video.height} pixels, above the limit", file=path)
        if max(video.width, video.height) > MAX_ASPECT * min(video.width, video.height):
            raise MediaError(f"claims frames of {video.width}x{video.height} pixels, an implausible shape", file=path)
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
        width=video.width if video is not None else 0,
        height=video.height if video is not None else 0,
        sample_rate=int(audio.sample_rate or 0) if audio is not None else 0,
        audio_duration=sound or (duration if audio is not None and video is None else 0.0),
        container=name,
        times=times,
    )


def _run(path: Path, output: Any, timeout: float) -> bytes | mmap.mmap:
    """Run one ffmpeg command built with ffmpeg-python and return what it wrote to its standard output."""
    command = [ffmpeg_executable(), "-nostdin", "-hide_banner", "-loglevel", "error", "-filter_complex_threads", "1"]
    command = output.compile(cmd=command)
    # into a file in memory: a pipe would cost a switch between the processes for every 64 KiB
    with _memory_file() as written, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=written, stderr=errors)
        except OSError as error:
            raise HcepError(f"ffmpeg could not be started: {error}", file=command[0]) from error
        try:
            ended = _wait(process, timeout)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if not ended:
            raise MediaError(f"decoding took longer than {timeout:g} s", file=path)
        if process.returncode:
            errors.seek(0)
            raise MediaError(f"ffmpeg: {_first_line(errors.read(65536))}", file=path)
        length = os.fstat(written.fileno()).st_size
        # mapped, not copied
        return mmap.mmap(written.fileno(), length, prot=mmap.PROT_READ) if length else b""


def _memory_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("hcep"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Whether a process ends within `timeout` seconds; `Popen.wait` would sleep between looks."""
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or a sandbox that forbids it
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(1000 * timeout))
    finally:
        os.close(handle)


def _first_line(stderr: bytes) -> str:
    """First error line of ffmpeg without addresses and paths, which differ from run to run."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines() or ["failed without a message"]
    line = re.sub(r"\[[^\]]*@ 0x[0-9a-f]+\]\s*", "", lines[0])
    return re.sub(r"file:\S+", "file", line)[:200]


def _input(path: Path, media: Probe, threads: int) -> Any:
    return ffmpeg.input(
        f"file:{path}",
        f=media.container,
        format_whitelist=FORMATS,
        protocol_whitelist=PROTOCOLS,
        max_pixels=MAX_PIXELS,
        threads=threads,
    )


def _select(indices: Sequence[int]) -> str:
    """Expression true at the frame numbers `indices` (ascending): a search tree, since ffmpeg limits the depth."""
    if len(indices) <= 8:
        return "+".join(f"eq(n,{index})" for index in indices)
    middle = len(indices) // 2
    return f"if(lt(n,{indices[middle]}),{_select(indices[:middle])},{_select(indices[middle:])})"


def read_frames(
    path: str | Path,
    media: Probe,
    indices: Sequence[int],
    *,
    size: int,
    box: tuple[int, int, int, int] | None = None,
    timeout: float = 60.0,
    threads: int = 1,
) -> np.ndarray:
    """Decode chosen frames in one pass, the short side resized to `size` (bicubic), then cropped at the centre.

    Parameters
    ----------
    path : path
        The file that `media` was probed from.
    media : Probe
        Its description.
    indices : sequence of int
        Frame numbers, strictly ascending; the pass ends at the last one.
    size : int
        Side S of the returned frames in pixels.
    box : tuple of int, optional
        x, y, width, height in source pixels, cut out before resizing.
    timeout : float
        Seconds after which ffmpeg is stopped.
    threads : int
        Decoder threads.

    Returns
    -------
    ndarray of uint8, shape (len(indices), S, S, 3), RGB

    Raises
    ------
    MediaError
        When there is no video, ffmpeg fails, runs out of time, or returns another number of frames than asked for.
    """
    path = Path(path).absolute()
    if not media.has_video:
        raise MediaError("has no video stream", file=path, absent=True)
    stream = _input(path, media, threads)["V:0"].filter("select", _select(list(indices)))
    if box is not None:
        x, y, width, height = box
        stream = stream.filter("crop", f"min({width},iw-{x})", f"min({height},ih-{y})", x, y, exact=1)
    # dar and not iw/ih: pixels need not be square
    stream = stream.filter(
        "scale", f"if(gte(dar,1),round({size}*dar),{size})", f"if(gte(dar,1),{size},round({size}/dar))", flags="bicubic"
    )
    # the crop is placed to the pixel only in a format without subsampled planes
    stream = stream.filter("format", "rgb24").filter("crop", size, size)
    output = ffmpeg.output(
        stream, "pipe:1", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough", **{"frames:v": len(indices)}
    )
    raw = _run(path, output, timeout)
    expected = len(indices) * size * size * 3
    if len(raw) != expected:  # ffmpeg exits 0 on a file that ends early
        raise TooFewFrames(f"gave {len(raw) // (size * size * 3)} of {len(indices)} frames", file=path)
    return np.frombuffer(raw, dtype=np.uint8).reshape(len(indices), size, size, 3)


def count_frames(path: str | Path, media: Probe, *, timeout: float = 60.0) -> int:
    """Number of frames that really decode; slower than `probe`, for files whose packets are not all frames."""
    path = Path(path).absolute()
    stream = _input(path, media, 1)["V:0"].filter("scale", 4, 4).filter("format", "gray")
    raw = _run(path, ffmpeg.output(stream, "pipe:1", format="rawvideo", fps_mode="passthrough"), timeout)
    return len(raw) // 16


def read_audio(
    path: str | Path, media: Probe, *, seconds: float | None = None, timeout: float = 60.0, threads: int = 1
) -> np.ndarray:
    """Decode the first audio stream to 16 kHz mono, from the start of the file.

    Parameters
    ----------
    path : path
        The file that `media` was probed from.
    media : Probe
        Its description.
    seconds : float, optional
        Stop after this much sound.
    timeout : float
        Seconds after which ffmpeg is stopped.
    threads : int
        Decoder threads.

    Returns
    -------
    ndarray of int16, shape (samples,), at 16,000 Hz; sample 0 is the start of the file, so that it lines up with
    `Probe.times`

    Raises
    ------
    MediaError
        When there is no audio stream (``absent``), ffmpeg fails, runs out of time or returns much less than expected.
    """
    path = Path(path).absolute()
    if not media.has_audio:
        raise MediaError("has no audio stream", file=path, absent=True)
    if seconds is None and media.audio_duration > MAX_SECONDS:
        raise MediaError(f"claims {media.audio_duration:.0f} s of sound, above the limit", file=path)
    limit = MAX_SECONDS if seconds is None else min(seconds, MAX_SECONDS)
    stream = _input(path, media, threads)["a:0"]
    # a stream that starts late is padded at the front, gaps are filled
    stream = stream.filter("aresample", RATE, **{"async": 1, "first_pts": 0})
    output = ffmpeg.output(stream, "pipe:1", format="s16le", acodec="pcm_s16le", ac=1, t=f"{limit:.6f}")
    raw = _run(path, output, timeout)
    waveform = np.frombuffer(raw, dtype="<i2", count=len(raw) // 2)
    if not len(waveform):
        raise MediaError("has an audio stream without samples", file=path)
    expected = min(media.audio_duration, limit)
    if media.container not in ESTIMATED_DURATION and len(waveform) / RATE < 0.9 * expected - 0.5:
        raise MediaError(f"is truncated: {len(waveform) / RATE:.2f} of {expected:.2f} s of sound", file=path)
    return waveform
