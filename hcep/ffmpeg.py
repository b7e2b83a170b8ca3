"""The one place that starts ffmpeg: chosen frames and sound of files that `hcep.probe` has let through.

A file's path is data: it reaches ffmpeg as one argument behind ``file:``, so no part of it is read as an option, a
pattern or a protocol; the whitelists of `hcep.probe` hold here too.
"""

from __future__ import annotations

import functools
import mmap
import os
import re
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import ffmpeg
import imageio_ffmpeg
import numpy as np

from hcep.container import MediaError
from hcep.errors import HcepError
from hcep.probe import ESTIMATED_DURATION, FORMATS, MAX_PIXELS, PROTOCOLS, Probe

MAX_SECONDS = 2 * 3600
RATE = 16_000
# one heap for all threads that keeps what is freed: a short process spends 3 % of its time on getting pages anew
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "16777216", "MALLOC_TRIM_THRESHOLD_": "67108864"}
# all pages at once: finding them one by one, while they are copied, costs more than the copy
MAPPING = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
# containers whose header tells all of the sound: that its decoder is shut out makes ffmpeg read no more of the file
TOLD_BY_HEADER = frozenset({"mov"})
# what differs from file to file in a kept command
PATH, SELECT, COUNT, SECONDS = "<path>", "<select>", "<count>", "<seconds>"


class TooFewFrames(MediaError):
    """ffmpeg ended without an error but did not give every frame asked for."""


@functools.cache
def _answer(executable: str, question: str) -> str:
    """What `executable` prints when it is asked for ``-version`` or ``-decoders``."""
    remedy = "install imageio-ffmpeg with its binary, or set HCEP_FFMPEG to the path of a working ffmpeg"
    command = [executable, "-hide_banner", question]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise HcepError(f"ffmpeg does not run: {error}", file=executable, remedy=remedy) from error
    if done.returncode or not done.stdout.startswith((b"ffmpeg version", b"Decoders:")):
        raise HcepError(f"not a working ffmpeg (exit status {done.returncode})", file=executable, remedy=remedy)
    return done.stdout.decode("utf-8", "replace")


@functools.cache
def _picture_decoders(executable: str) -> str:
    """Names of its video decoders, joined by commas."""
    return ",".join(re.findall(r"^ V[A-Z.]{5} (\w\S*)", _answer(executable, "-decoders"), re.MULTILINE))


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
    _answer(chosen, "-version")
    return chosen


def _run(path: Path, arguments: Sequence[str], timeout: float) -> bytes | mmap.mmap:
    """Run ffmpeg and return what it wrote to its standard output."""
    command = [ffmpeg_executable(), *arguments]
    # into a file in memory: a pipe would cost a switch between the processes for every 64 KiB
    with _memory_file() as written, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=written, stderr=errors, env=ALLOCATOR | os.environ
            )
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
        return mmap.mmap(written.fileno(), length, flags=MAPPING, prot=mmap.PROT_READ) if length else b""


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
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    # that the sound's decoder is shut out is no error
    lines = [line for line in lines if not re.search(r"not on whitelist|Last message repeated", line)]
    line = re.sub(r"\[[^\]]*@ 0x[0-9a-f]+\]\s*", "", (lines or ["failed without a message"])[0])
    return re.sub(r"file:\S+", "file", line)[:200]


def _input(container: str, threads: int, decoders: str = "") -> Any:
    limits = {"codec_whitelist": decoders} if decoders else {}
    return ffmpeg.input(
        PATH,
        f=container,
        format_whitelist=FORMATS,
        protocol_whitelist=PROTOCOLS,
        max_pixels=MAX_PIXELS,
        threads=threads,
        **limits,
    )


def _compile(output: Any) -> tuple[str, ...]:
    fixed = ["-nostdin", "-hide_banner", "-loglevel", "error", "-filter_complex_threads", "1"]
    return tuple(output.compile(cmd=fixed))


# kept: ffmpeg-python takes half a millisecond to put one together
@functools.lru_cache(maxsize=256)
def _frames_command(
    container: str, decoders: str, size: int, box: tuple[int, int, int, int] | None, threads: int
) -> tuple[str, ...]:
    stream = _input(container, threads, decoders)["V:0"].filter("select", SELECT)
    if box is not None:
        x, y, width, height = box
        stream = stream.filter("crop", f"min({width},iw-{x})", f"min({height},ih-{y})", x, y, exact=1)
    # dar and not iw/ih: pixels need not be square
    stream = stream.filter(
        "scale", f"if(gte(dar,1),round({size}*dar),{size})", f"if(gte(dar,1),{size},round({size}/dar))", flags="bicubic"
    )
    # the crop is placed to the pixel only in a format without subsampled planes
    stream = stream.filter("format", "rgb24").filter("crop", size, size)
    return _compile(
        ffmpeg.output(
            stream, "pipe:1", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough", **{"frames:v": COUNT}
        )
    )


@functools.lru_cache(maxsize=256)
def _count_command(container: str) -> tuple[str, ...]:
    stream = _input(container, 1)["V:0"].filter("scale", 4, 4).filter("format", "gray")
    return _compile(ffmpeg.output(stream, "pipe:1", format="rawvideo", fps_mode="passthrough"))


@functools.lru_cache(maxsize=256)
def _audio_command(container: str, threads: int) -> tuple[str, ...]:
    # a stream that starts late is padded at the front, gaps are filled
    stream = _input(container, threads)["a:0"].filter("aresample", RATE, **{"async": 1, "first_pts": 0})
    return _compile(ffmpeg.output(stream, "pipe:1", format="s16le", acodec="pcm_s16le", ac=1, t=SECONDS))


def _fill(command: Sequence[str], path: Path, values: Mapping[str, str]) -> list[str]:
    """A kept command for one file: an argument that is a place becomes its value, as does a place in the filters."""
    places = {PATH: f"file:{path}", **values}
    # a bare comma would end the filter
    select = values.get(SELECT, "").replace(",", "\\,")
    return [places[part] if part in places else part.replace(SELECT, select) for part in command]


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
    # no decoder of sound starts, which ffmpeg would do only to describe the file
    decoders = _picture_decoders(ffmpeg_executable()) if media.container in TOLD_BY_HEADER else ""
    command = _frames_command(media.container, decoders, size, box, threads)
    raw = _run(path, _fill(command, path, {SELECT: _select(list(indices)), COUNT: str(len(indices))}), timeout)
    expected = len(indices) * size * size * 3
    if len(raw) != expected:  # ffmpeg exits 0 on a file that ends early
        raise TooFewFrames(f"gave {len(raw) // (size * size * 3)} of {len(indices)} frames", file=path)
    return np.frombuffer(raw, dtype=np.uint8).reshape(len(indices), size, size, 3)


def count_frames(path: str | Path, media: Probe, *, timeout: float = 60.0) -> int:
    """Number of frames that really decode; slower than `probe`, for files whose packets are not all frames."""
    path = Path(path).absolute()
    raw = _run(path, _fill(_count_command(media.container), path, {}), timeout)
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
    command = _fill(_audio_command(media.container, threads), path, {SECONDS: f"{limit:.6f}"})
    raw = _run(path, command, timeout)
    waveform = np.frombuffer(raw, dtype="<i2", count=len(raw) // 2)
    if not len(waveform):
        raise MediaError("has an audio stream without samples", file=path)
    expected = min(media.audio_duration, limit)
    if media.container not in ESTIMATED_DURATION and len(waveform) / RATE < 0.9 * expected - 0.5:
        raise MediaError(f"is truncated: {len(waveform) / RATE:.2f} of {expected:.2f} s of sound", file=path)
    return waveform
