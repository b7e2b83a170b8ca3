"""The one place that starts ffmpeg: chosen frames and sound of files that `hcep.probe` has let through.

What ffmpeg decodes arrives with its presentation times, in the clock of the file, so that frames are those that were
asked for and sound can be put where it belongs. A filter's own counter would begin anew where the picture changes its
size.

A file's path is data: it reaches ffmpeg as one argument behind ``file:``, so no part of it is read as an option, a
pattern or a protocol; the whitelists of `hcep.probe` hold here too.
"""

from __future__ import annotations

import functools
import mmap
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import ffmpeg
import imageio_ffmpeg
import numpy as np

from hcep.container import MachineFault, MediaError
from hcep.decoder import DEFAULT, Limits, blame, run_child
from hcep.errors import HcepError
from hcep.probe import FORMATS, MAX_PIXELS, PROTOCOLS, Probe

RATE = 16_000
# one heap for all threads that keeps what is freed: a short process spends 3 % of its time on getting pages anew
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "16777216", "MALLOC_TRIM_THRESHOLD_": "67108864"}
# all pages at once: finding them one by one, while they are copied, costs more than the copy
MAPPING = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
# containers whose header tells all of the sound: that its decoder is shut out makes ffmpeg read no more of the file
TOLD_BY_HEADER = frozenset({"mov"})
# what differs from file to file in a kept command
PATH, SELECT, COUNT, SECONDS, TIMES, BASE = "<path>", "<select>", "<count>", "<seconds>", "<times>", "<base>"
# x, y, width and height in pixels of the source
Box = tuple[int, int, int, int]


class OtherFrames(MediaError):
    """ffmpeg ended without an error but did not give exactly the frames asked for."""


class Decoded(NamedTuple):
    """What ffmpeg wrote: the content, and of each frame or piece of sound its time in units of `base` s, and size."""

    content: bytes | mmap.mmap
    times: np.ndarray
    sizes: np.ndarray
    base: float
    said: bytes

    @property
    def erred(self) -> bool:
        """Whether an error was reported all the same, or something that may be one."""
        return bool(_errors(self.said))


class Taken(NamedTuple):
    """Frames, uint8 (n, S, S, 3), RGB, and whether an error was reported all the same, behind the last one maybe."""

    frames: np.ndarray
    erred: bool


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
    try:
        chosen = os.environ.get("HCEP_FFMPEG") or imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise HcepError(str(error), remedy="set HCEP_FFMPEG to the path of a working ffmpeg") from error
    _answer(chosen, "-version")
    return chosen


def ffmpeg_version() -> str:
    """Version of the ffmpeg in use, as it tells it: what decodes differs between versions."""
    return _answer(ffmpeg_executable(), "-version").split()[2]


def _run(path: Path, arguments: Sequence[str], values: Mapping[str, str], limits: Limits, heed: bool = True) -> Decoded:
    """Run ffmpeg and return what it wrote; `heed` where what it says is of errors alone."""
    # into files in memory: a pipe would cost a switch between the processes for every 64 KiB
    with _memory_file() as written, _memory_file() as times, _memory_file() as errors:
        command = [ffmpeg_executable(), *_fill(arguments, path, {**values, TIMES: str(times.fileno())})]
        streams = {"stdin": subprocess.DEVNULL, "stdout": written, "stderr": errors, "pass_fds": [times.fileno()]}
        try:
            ended = run_child(command, limits, env=ALLOCATOR | os.environ, **streams)
        except OSError as error:
            raise MachineFault(f"ffmpeg could not be started: {error}", file=command[0], remedy="run again") from error
        errors.seek(0)
        said = errors.read(65536)
        # a decoder that gets no memory may leave out frames and exit with 0
        blame(ended, said if heed else b"", limits, path)
        if ended.status:
            raise MediaError(f"ffmpeg: {_first_line(said)}", file=path)
        times.seek(0)
        stamps, sizes, base = _stamps(times.read())
        length = os.fstat(written.fileno()).st_size
        # mapped, not copied
        content = mmap.mmap(written.fileno(), length, flags=MAPPING, prot=mmap.PROT_READ) if length else b""
        return Decoded(content, stamps, sizes, base, said)


def _stamps(text: bytes) -> tuple[np.ndarray, np.ndarray, float]:
    """Times, sizes in bytes and time base of the packets that ffmpeg's `framecrc` lists."""
    base = re.search(rb"^#tb 0: (\d+)/(\d+)", text, re.MULTILINE)
    # a line is: stream, decoding time, presentation time, duration, size, checksum
    lines = re.findall(rb"^0, *-?\d+, *(-?\d+), *-?\d+, *(\d+),", text, re.MULTILINE)
    numbers = np.array([(int(time), int(size)) for time, size in lines], dtype=np.int64).reshape(-1, 2)
    return numbers[:, 0], numbers[:, 1], int(base[1]) / int(base[2]) if base else 0.0


def _memory_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("hcep"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _errors(stderr: bytes) -> list[str]:
    """Lines of ffmpeg that tell of errors."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    # that the sound's decoder is shut out is no error
    return [line for line in lines if not re.search(r"not on whitelist|Last message repeated", line)]


def _first_line(stderr: bytes) -> str:
    """First error line of ffmpeg without addresses and paths, which differ from run to run."""
    line = re.sub(r"\[[^\]]*@ 0x[0-9a-f]+\]\s*", "", (_errors(stderr) or ["failed without a message"])[0])
    return re.sub(r"file:\S+", "file", line)[:200]


def _input(container: str, **limits: str) -> Any:
    allowed = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS, "max_pixels": MAX_PIXELS}
    return ffmpeg.input(PATH, f=container, threads=1, **allowed, **limits)


def _compile(stream: Any, target: str, **options: Any) -> tuple[str, ...]:
    # the file's own clock: ffmpeg would move it to its start, or mend it where it jumps
    fixed = ["-nostdin", "-hide_banner", "-loglevel", "error", "-filter_complex_threads", "1", "-copyts"]
    return tuple(stream.output(target, **options).compile(cmd=fixed))


def _both(form: str) -> str:
    """Target for `tee`: the content as it is, and beside it a list of its times."""
    return f"[f={form}]pipe\\:1|[f=framecrc]pipe\\:{TIMES}"


def _square(stream: Any, size: int, box: Box | None) -> Any:
    """Cut out the box, bring the short side to `size` and crop the centre."""
    if box is not None:
        x, y, width, height = box
        stream = stream.filter("crop", f"min({width},iw-{x})", f"min({height},ih-{y})", x, y, exact=1)
    # dar and not iw/ih: pixels need not be square
    across, down = f"if(gte(dar,1),round({size}*dar),{size})", f"if(gte(dar,1),{size},round({size}/dar))"
    # the crop is placed to the pixel only in a format without subsampled planes
    return stream.filter("scale", across, down, flags="bicubic").filter("format", "rgb24").filter("crop", size, size)


def _frames_of(container: str, decoders: str) -> Any:
    limits = {"codec_whitelist": decoders} if decoders else {}
    return _input(container, **limits)["V:0"]


def _compile_frames(stream: Any) -> tuple[str, ...]:
    options = {"format": "tee", "vcodec": "rawvideo", "pix_fmt": "rgb24", "frames:v": COUNT}
    return _compile(stream, _both("rawvideo"), fps_mode="passthrough", enc_time_base=BASE, **options)


# kept: ffmpeg-python takes half a millisecond to put one together
@functools.lru_cache(maxsize=256)
def _frames_command(container: str, decoders: str, size: int, box: Box | None) -> tuple[str, ...]:
    return _compile_frames(_square(_frames_of(container, decoders).filter("select", SELECT), size, box))


def _boxes_command(container: str, decoders: str, size: int, taken: Mapping[Box, Sequence[int]]) -> tuple[str, ...]:
    """One pass with a branch for every box, which has its own frames; `taken` maps a box to their ticks."""
    # without an end of the stream the branches would wait for each other until the file ends
    last = max(tick for ticks in taken.values() for tick in ticks)
    parts = _frames_of(container, decoders).filter("trim", end_pts=last + 1).filter_multi_output("split", len(taken))
    branches = [
        # rounding leaves pixels of slightly different shapes, which the next filter would not put together
        _square(parts[number].filter("select", _select(ticks)), size, box).filter("setsar", 1)
        for number, (box, ticks) in enumerate(taken.items())
    ]
    return _compile_frames(ffmpeg.filter(branches, "interleave", nb_inputs=len(branches)))


@functools.lru_cache(maxsize=256)
def _times_command(container: str) -> tuple[str, ...]:
    stream = _input(container)["V:0"].filter("scale", 4, 4).filter("format", "gray")
    options = {"format": "framecrc", "vcodec": "rawvideo"}
    return _compile(stream, f"pipe:{TIMES}", fps_mode="passthrough", enc_time_base=BASE, **options)


@functools.lru_cache(maxsize=256)
def _audio_command(container: str, track: int, channels: int) -> tuple[str, ...]:
    stream = _input(container)[f"a:{track}"].filter("aresample", RATE).filter("atrim", end=SECONDS)
    return _compile(stream, _both("s16le"), format="tee", acodec="pcm_s16le", ac=channels)


@functools.lru_cache(maxsize=256)
def _finite_command(container: str, track: int) -> tuple[str, ...]:
    asked = {"measure_perchannel": "none", "measure_overall": "Number_of_NaNs+Number_of_Infs"}
    stream = _input(container)[f"a:{track}"].filter("atrim", end=SECONDS).filter("astats", **asked)
    # what the filter counts is told as information
    return tuple("info" if part == "error" else part for part in _compile(stream, "pipe:1", format="null"))


def _fill(command: Sequence[str], path: Path, values: Mapping[str, str]) -> list[str]:
    """A kept command for one file: an argument that is a place becomes its value, as does a place in a longer one."""
    # a bare comma would end the filter
    inner = {place: value.replace(",", "\\,") for place, value in values.items()}
    pattern = re.compile("|".join(map(re.escape, inner)))
    return [f"file:{path}" if part == PATH else pattern.sub(lambda place: inner[place[0]], part) for part in command]


def _select(ticks: Sequence[int]) -> str:
    """Expression true at the presentation times `ticks` (ascending): a search tree, since ffmpeg limits the depth."""
    if len(ticks) <= 8:
        return "+".join(f"eq(pts,{tick})" for tick in ticks)
    middle = len(ticks) // 2
    return f"if(lt(pts,{ticks[middle]}),{_select(ticks[:middle])},{_select(ticks[middle:])})"


def read_frames(
    path: str | Path,
    media: Probe,
    indices: Sequence[int],
    *,
    size: int,
    box: Box | None = None,
    boxes: Sequence[Box] = (),
    limits: Limits = DEFAULT,
) -> Taken:
    """Decode chosen frames in one pass, the short side resized to `size` (bicubic), then cropped at the centre.

    Parameters
    ----------
    path : path
        The file that `media` was probed from.
    media : Probe
        Its description.
    indices : sequence of int
        Positions in `media.ticks`, strictly ascending; the pass ends at the last one.
    size : int
        Side S of the returned frames in pixels.
    box : tuple of int, optional
        x, y, width, height in source pixels, cut out before resizing.
    boxes : sequence of tuple of int, optional
        In place of `box`, one for each of `indices`.
    limits : Limits
        What the pass may use.

    Returns
    -------
    Taken

    Raises
    ------
    OtherFrames
        When what decodes are not these frames: see `frame_ticks`.
    MediaError
        When there is no video, its time stamps cannot be used, it is truncated, ffmpeg fails over
        it or needs more than the limits.
    MachineFault
        When ffmpeg was stopped from outside.
    """
    path = Path(path).absolute()
    if not media.has_video:
        raise MediaError("has no video stream", file=path, absent=True)
    if media.picture_fault:
        raise MediaError(media.picture_fault, file=path)
    # no decoder of sound starts, which ffmpeg would do only to describe the file
    decoders = _picture_decoders(ffmpeg_executable()) if media.container in TOLD_BY_HEADER else ""
    ticks = media.ticks[list(indices)]
    places = {COUNT: str(len(ticks)), BASE: str(media.time_base)}
    if boxes:
        of_box: dict[Box, list[int]] = {}
        for own, tick in zip(boxes, ticks.tolist(), strict=True):
            of_box.setdefault(own, []).append(tick)
        command = _boxes_command(media.container, decoders, size, of_box)
    else:
        command = _frames_command(media.container, decoders, size, box)
        places[SELECT] = _select(ticks.tolist())
    taken = _run(path, command, places, limits)
    if len(taken.times) != len(ticks):  # ffmpeg exits 0 on a file that ends early
        raise OtherFrames(f"gave {len(taken.times)} of {len(ticks)} frames", file=path)
    if (taken.times != ticks).any():
        why = "time stamps are missing, or two frames have the same one"
        raise OtherFrames(f"gave other frames than those asked for: {why}", file=path)
    frames = np.frombuffer(taken.content, dtype=np.uint8).reshape(len(ticks), size, size, 3)
    return Taken(frames, taken.erred)


def frame_ticks(path: str | Path, media: Probe, *, limits: Limits = DEFAULT) -> np.ndarray:
    """Presentation times of all frames that really decode, for files whose packets are not all frames.

    Returns
    -------
    ndarray of int64, ascending, each once
        In the units of `Probe.ticks`.

    Raises
    ------
    MediaError
        When ffmpeg fails over the content, or needs more than the limits.
    """
    path = Path(path).absolute()
    return np.unique(_run(path, _times_command(media.container), {BASE: str(media.time_base)}, limits).times)


def read_track(
    path: str | Path, media: Probe, track: int, *, channels: int, seconds: float, limits: Limits
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Decode one stream of sound to 16 kHz, as the pieces that come out of the decoder.

    Parameters
    ----------
    path, media, limits
        As in `read_frames`.
    track : int
        Which stream of sound, from 0.
    channels : int
        1 = mixed down to mono.
    seconds : float
        Stop after this time, counted from the start of the file.

    Returns
    -------
    ndarray of int16 (samples, channels), ndarray of int64 (pieces,), ndarray of int64 (pieces,) and bool
        All pieces behind each other; the time of each by the file's time stamps, in samples of 16 kHz from the start of
        the file, and its length in samples; whether an error was reported all the same.

    Raises
    ------
    MediaError
        When ffmpeg fails over the content, or needs more than the limits.
    """
    path = Path(path).absolute()
    command = _audio_command(media.container, track, channels)
    found = _run(path, command, {SECONDS: f"{media.start + seconds:.6f}"}, limits)
    samples = np.frombuffer(found.content, dtype="<i2", count=len(found.content) // 2).reshape(-1, channels)
    starts = np.rint((found.times * found.base - media.start) * RATE).astype(np.int64)
    return samples, starts, found.sizes // (2 * channels), found.erred


def all_finite(path: str | Path, media: Probe, track: int, *, seconds: float, limits: Limits) -> bool:
    """Whether the samples of a stream of floating-point sound are finite numbers, before they become integers.

    Parameters and errors are those of `read_track`.
    """
    path = Path(path).absolute()
    command = _finite_command(media.container, track)
    said = _run(path, command, {SECONDS: f"{media.start + seconds:.6f}"}, limits, heed=False).said
    # means over the channels
    counts = re.findall(rb"Number of (?:NaNs|Infs): ([0-9.]+)", said)
    if len(counts) < 2:
        raise MediaError("its samples cannot be counted", file=path)
    return not any(map(float, counts))
