"""Clips a second of decode_frames and decode_audio against a bare ffmpeg command, and memory over the number of clips.

Both sides run on one core, on the same files, with the same selection and scaling, in turns; JSON lines on standard
output. Neither side overwrites a file: ext4 flushes a replaced one to the disk at once, which a first run never meets.
A ratio of 1 means that probing, checks, Python and HDF5 cost nothing on top of ffmpeg.

Usage: python benchmarks/decode.py RELEASE [--rounds 3]      RELEASE: folder with media files, e.g. RAVDESS takes
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.ffmpeg import ffmpeg_executable
from hcep.media.audio import decode_audio
from hcep.media.frames import choose_frames, decode_frames
from hcep.probe import probe

FRAMES, SIZE, SAMPLES = 8, 224, 80_000


def manifest_of(media: list[Path], folder: Path, count: int) -> Path:
    """A manifest of `count` clips, each a file of its own below the folder (links to the media files, in turn)."""
    clips = []
    for number in range(count):
        name = f"{number}{media[number % len(media)].suffix}"
        if not (folder / name).exists():
            (folder / name).symlink_to(media[number % len(media)].resolve())
        clips.append(Clip(str(number), "d", name, name, None, None, "", "none", "", "", "", "", "", "", ""))
    path = folder / f"manifest{count}.tsv"
    write_manifest(path, clips)
    return path


def bare_frames(path: Path, output: Path) -> list[str]:
    """What a user would type: the same frames, the same scaling, one decoder thread."""
    chosen, _ = choose_frames(probe(path), None, None, FRAMES)
    select = "+".join(f"eq(n\\,{number})" for number in chosen)
    scale = f"scale={SIZE}:{SIZE}:force_original_aspect_ratio=increase:flags=bicubic,format=rgb24,crop={SIZE}:{SIZE}"
    picture = ["-vf", f"select={select},{scale}", "-fps_mode", "passthrough", "-frames:v", str(FRAMES), "-an"]
    return [*bare(path), *picture, "-f", "rawvideo", str(output)]


def bare_audio(path: Path, output: Path) -> list[str]:
    return [*bare(path), "-vn", "-ac", "1", "-ar", "16000", "-f", "s16le", str(output)]


def bare(path: Path) -> list[str]:
    return [ffmpeg_executable(), "-nostdin", "-loglevel", "error", "-y", "-threads", "1", "-i", str(path)]


def clock(work: Callable[[], None]) -> tuple[float, float]:
    """Wall-clock seconds, and seconds of processor time of this process and its children."""
    start, used = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - start, sum(os.times()[:4]) - used


def enlarge(media: list[Path], folder: Path) -> list[Path]:
    """The same takes as a camera records them: 1280x720 at 25 frames a second, as clips of film and television are."""
    larger = []
    for number, path in enumerate(media):
        larger.append(folder / f"large{number}.mp4")
        options = ["-vf", "scale=1280:720,fps=25", "-c:v", "libx264", "-preset", "veryfast", "-c:a", "copy"]
        line = [ffmpeg_executable(), "-nostdin", "-loglevel", "error", "-i", str(path), *options, str(larger[-1])]
        subprocess.run(line, check=True, stdin=subprocess.DEVNULL)
    return larger


def speed(kind: str, media: list[Path], folder: Path, rounds: int) -> None:
    """Print clips a second of ours and of the bare command, the median of several rounds in turns."""
    folder.mkdir(exist_ok=True)
    media_info = probe(media[0])
    manifest, output = manifest_of(media, folder, len(media)), folder / "shard.h5"
    command = bare_frames if kind == "frames" else bare_audio
    raw = [folder / f"bare{number}.raw" for number in range(len(media))]
    commands = [command(path, out) for path, out in zip(media, raw, strict=True)]

    def ours() -> None:
        if kind == "frames":
            decode_frames(manifest, folder, "000-of-001", output, frames=FRAMES, size=SIZE)
        else:
            decode_audio(manifest, folder, "000-of-001", output, samples=SAMPLES)

    def theirs() -> None:
        for line in commands:
            subprocess.run(line, check=True, stdin=subprocess.DEVNULL)

    pairs = []
    for _ in range(rounds):
        for path in (output, *raw):  # a workflow starts a job without its output
            path.unlink(missing_ok=True)
        pairs.append((clock(ours), clock(theirs)))
    result = {
        "benchmark": f"decode_{kind}",
        "clips": len(media),
        "source": f"{media_info.width}x{media_info.height}, {media_info.frames} frames",
        "rounds": rounds,
        "ours_clips_per_s": round(len(media) / statistics.median(a[0] for a, _ in pairs), 2),
        "bare_ffmpeg_clips_per_s": round(len(media) / statistics.median(b[0] for _, b in pairs), 2),
        "ratio": round(statistics.median(b[0] / a[0] for a, b in pairs), 3),
        "ratios": [round(b[0] / a[0], 3) for a, b in pairs],
        # does not depend on what else the machine does
        "processor_time_ratio": round(statistics.median(b[1] / a[1] for a, b in pairs), 3),
    }
    print(json.dumps(result), flush=True)


def memory(media: list[Path], folder: Path) -> None:
    """Print the largest resident memory of a process that decodes 50 clips, and 500."""
    code = (
        "import resource, sys; from pathlib import Path; from hcep.media.frames import decode_frames; "
        "decode_frames(Path(sys.argv[1]), Path(sys.argv[2]), '000-of-001', Path(sys.argv[3]), frames=8, size=224); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peak = {}
    for count in (50, 500):
        manifest = manifest_of(media, folder, count)
        line = [sys.executable, "-c", code, str(manifest), str(folder), str(folder / "shard.h5")]
        done = subprocess.run(line, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        peak[count] = int(done.stdout) / 1024
    result = {
        "benchmark": "decode_memory",
        "resident_mb_50_clips": round(peak[50], 1),
        "resident_mb_500_clips": round(peak[500], 1),
        "growth": round(peak[500] / peak[50], 3),
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("release", type=Path, help="folder with media files")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    media = sorted(p for p in args.release.rglob("*") if p.suffix.lower() in (".mp4", ".mkv", ".avi", ".mov"))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("frames", "audio"):
            speed(kind, media, Path(folder) / "takes", args.rounds)
        speed("frames", enlarge(media[:10], Path(folder)), Path(folder) / "large", args.rounds)
        memory(media, Path(folder))


if __name__ == "__main__":
    main()
