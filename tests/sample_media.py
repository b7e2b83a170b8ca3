"""Small media files for tests, made with the same ffmpeg that the package uses."""

from __future__ import annotations

import csv
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import hcep.ffmpeg
from hcep.ffmpeg import ffmpeg_executable
from hcep.probe import probe
from hcep.sound import Sound, read_audio


def run_ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg and fail with what it said."""
    command = [ffmpeg_executable(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def grey_steps(seconds: float, fps: int, size: str, step: int) -> list[str]:
    """Input arguments: a picture whose luma is 16 + step x frame number, so that a frame tells its number."""
    source = f"color=black:s={size}:r={fps}:d={seconds},format=yuv444p,geq=lum='16+{step}*N':cb=128:cr=128"
    return ["-f", "lavfi", "-i", source]


def make_clip(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: int = 10,
    size: str = "96x64",
    step: int = 7,
    video: bool = True,
    audio: bool = True,
    hertz: int = 440,
    options: tuple[str, ...] = (),
) -> Path:
    """Write a clip of grey steps and a sine tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    inputs: list[str] = []
    if video:
        inputs += grey_steps(seconds, fps, size, step)
    if audio:
        inputs += ["-f", "lavfi", "-i", f"sine=frequency={hertz}:sample_rate=44100:duration={seconds}"]
    coded = ["-c:v", "libx264", "-qp", "0", "-g", "5"] if video and path.suffix in (".mp4", ".mkv", ".mov") else []
    # the file: prefix keeps an output name such as a%d.mp4 from being a pattern
    run_ffmpeg(*inputs, *coded, *options, f"file:{path}")
    return path


def make_still(path: Path, picture: np.ndarray, *options: str) -> Path:
    """Write a video of one second that shows one picture (h, w, 3), lossless unless `options` say otherwise."""
    Image.fromarray(picture).save(path.with_suffix(".png"))
    coded = options or ("-c:v", "ffv1", "-pix_fmt", "bgr0")
    run_ffmpeg("-loop", "1", "-i", path.with_suffix(".png"), "-t", "1", *coded, path)
    return path


def read_frames(*arguments: Any, **options: Any) -> np.ndarray:
    """The frames that `hcep.ffmpeg.read_frames` takes."""
    return hcep.ffmpeg.read_frames(*arguments, **options).frames


def flip_bits(source: Path, target: Path, seed: int, bits: int, *, spare: int = 0) -> Path:
    """Write a file with `bits` random bits of it flipped, none of them in its first `spare` bytes."""
    chance, content = random.Random(f"{source.name} {seed}"), bytearray(source.read_bytes())
    for _ in range(bits):
        content[chance.randrange(spare, len(content))] ^= 1 << chance.randrange(8)
    target.write_bytes(content)
    return target


def heard(path: Path, **options: float) -> Sound:
    """The sound of a file, read as `decode_audio` reads it."""
    return read_audio(path, probe(path, picture=False), **options)


def tone(path: Path, hertz: int, seconds: float, rate: int, *options: str) -> Path:
    """Write a sine tone in any format."""
    run_ffmpeg("-f", "lavfi", "-i", f"sine=frequency={hertz}:sample_rate={rate}:duration={seconds}", *options, path)
    return path


def grey_numbers(frames: np.ndarray, step: int = 7) -> list[int]:
    """Frame numbers that the mean grey of decoded frames stands for."""
    luma = frames.reshape(len(frames), -1).mean(axis=1) * 219 / 255
    return [round(value / step) for value in luma.tolist()]


def write_list(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write clips.tsv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, delimiter="\t", restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
