"""Clips a second of decode_frames and decode_audio against a bare ffmpeg command and torchcodec; memory over clips.

All sides run on one core and one decoder thread, on the same files and frame numbers, in turns; JSON lines on standard
output. No side overwrites a file: ext4 flushes a replaced one to the disk at once, which a first run never meets.

What is included: ours is a whole job (probing, checks, one ffmpeg process a file, a shard in HDF5 read back and
compared). The bare command is one ffmpeg process a file, which writes raw frames to a file. torchcodec decodes inside
this process, whose imports are not counted, and writes the same raw files. The others are told frame numbers and
sizes. ffmpeg resizes with its bicubic filter, torchcodec with torchvision's (antialiased: both average when they
shrink); a second pair of lines has torchcodec's own resize, which knows only bilinear.

Usage: python benchmarks/decode.py RELEASE [--rounds 3] [--torchcodec DIR]
RELEASE: folder with media files, e.g. RAVDESS takes. torchcodec is optional and no dependency of hcep: install it with
`pip install --no-deps --target DIR torchcodec==0.17.0`, beside FFmpeg's shared libraries (Debian: `apt-get install
ffmpeg`), and give DIR.
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
from typing import Any, NamedTuple

import h5py
import numpy as np

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


def frame_numbers(path: Path) -> list[int]:
    """The frames that decode_frames takes of a file."""
    chosen = choose_frames(probe(path), None, None, FRAMES).positions
    return [int(number) for number in chosen]


def bare_frames(path: Path, output: Path) -> list[str]:
    """What a user would type: the same frames, the same scaling, one decoder thread."""
    select = "+".join(f"eq(n\\,{number})" for number in frame_numbers(path))
    scale = f"scale={SIZE}:{SIZE}:force_original_aspect_ratio=increase:flags=bicubic,format=rgb24,crop={SIZE}:{SIZE}"
    picture = ["-vf", f"select={select},{scale}", "-fps_mode", "passthrough", "-frames:v", str(FRAMES), "-an"]
    return [*bare(path), *picture, "-f", "rawvideo", str(output)]


def bare_audio(path: Path, output: Path) -> list[str]:
    return [*bare(path), "-vn", "-ac", "1", "-ar", "16000", "-f", "s16le", str(output)]


def bare(path: Path) -> list[str]:
    return [ffmpeg_executable(), "-nostdin", "-loglevel", "error", "-y", "-threads", "1", "-i", str(path)]


class Peer(NamedTuple):
    """torchcodec, as far as it is used here."""

    resize: Callable[..., Any]
    decoder: Callable[..., Any]
    transforms: Any
    version: str


# line of the result -> how torchcodec finds a frame, and whether its own resize is used
PEER_LINES = {
    "torchcodec_exact": ("exact", False),
    "torchcodec_approximate": ("approximate", False),
    "torchcodec_exact_bilinear": ("exact", True),
    "torchcodec_approximate_bilinear": ("approximate", True),
}


def find_peer(folder: Path | None) -> Peer | None:
    """torchcodec, from this folder where one is given; None, with the reason on standard error, where it is not."""
    if folder is not None:
        sys.path.append(str(folder.resolve()))
    try:
        import torch
        import torchcodec
        from torchcodec import transforms
        from torchcodec.decoders import VideoDecoder
        from torchvision.transforms.v2.functional import InterpolationMode, resize

        # it can be imported without them, and fails at the first file
        if torchcodec.ffmpeg_major_version is None:
            raise ImportError("it finds no shared libraries of FFmpeg")
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        print(f"torchcodec is left out: {reason} (--help says how to install it)", file=sys.stderr)
        return None
    version = f"{torchcodec.__version__}, FFmpeg {torchcodec.ffmpeg_major_version}"
    torch.set_num_threads(1)

    def bicubic(pictures: Any, size: list[int]) -> Any:
        return resize(pictures, size, interpolation=InterpolationMode.BICUBIC, antialias=True)

    return Peer(bicubic, VideoDecoder, transforms, version)


def peer_frames(peer: Peer, path: Path, numbers: list[int], size: list[int], mode: str, own_resize: bool) -> np.ndarray:
    """The same frames by torchcodec: uint8 (F, S, S, 3), RGB; `size` is height and width before the crop."""
    options = {"num_ffmpeg_threads": 1, "device": "cpu", "seek_mode": mode}
    if own_resize:
        steps = [peer.transforms.Resize(size), peer.transforms.CenterCrop([SIZE, SIZE])]
        decoder = peer.decoder(str(path), dimension_order="NHWC", transforms=steps, **options)
        return decoder.get_frames_at(numbers).data.numpy()
    pictures = peer.decoder(str(path), dimension_order="NCHW", **options).get_frames_at(numbers).data
    if size != list(pictures.shape[-2:]):
        pictures = peer.resize(pictures, size)
    top, left = (size[0] - SIZE) // 2, (size[1] - SIZE) // 2
    cut = pictures[:, :, top : top + SIZE, left : left + SIZE]
    return cut.permute(0, 2, 3, 1).contiguous().numpy()


def resized(path: Path) -> list[int]:
    """Height and width of a file's picture once its short side is S."""
    media = probe(path)
    short = min(media.height, media.width)
    return [round(media.height * SIZE / short), round(media.width * SIZE / short)]


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


def speed(kind: str, media: list[Path], folder: Path, rounds: int, peer: Peer | None) -> None:
    """Print clips a second of ours and of the others, the median of several rounds in turns."""
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

    def bare_ffmpeg() -> None:
        for line in commands:
            subprocess.run(line, check=True, stdin=subprocess.DEVNULL)

    sides: dict[str, Callable[[], None]] = {"ours": ours, "bare_ffmpeg": bare_ffmpeg}
    plans = [(path, frame_numbers(path), resized(path)) for path in media] if peer and kind == "frames" else []

    def of_peer(line: str) -> Callable[[], None]:
        def work() -> None:
            assert peer is not None
            for plan, out in zip(plans, raw, strict=True):
                peer_frames(peer, *plan, *PEER_LINES[line]).tofile(out)

        return work

    if peer and kind == "frames":
        sides |= {line: of_peer(line) for line in PEER_LINES}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds):
        # another side begins in every round
        names = [*sides][number % len(sides) :] + [*sides][: number % len(sides)]
        for name in names:
            for path in (output, *raw):  # a workflow starts a job without its output
                path.unlink(missing_ok=True)
            times[name].append(clock(sides[name]))
    result: dict[str, Any] = {
        "benchmark": f"decode_{kind}",
        "clips": len(media),
        "source": f"{media_info.width}x{media_info.height}, {media_info.frames} frames",
        "rounds": rounds,
        "load": [round(value, 1) for value in os.getloadavg()],
    }
    for name in sides:
        result[f"{name}_clips_per_s"] = round(len(media) / statistics.median(wall for wall, _ in times[name]), 2)
    for name in [*sides][1:]:
        pairs = list(zip(times["ours"], times[name], strict=True))
        result[f"ratio_to_{name}"] = round(statistics.median(b[0] / a[0] for a, b in pairs), 3)
        result[f"ratios_to_{name}"] = [round(b[0] / a[0], 3) for a, b in pairs]
        # does not depend on what else the machine does
        result[f"processor_time_ratio_to_{name}"] = round(statistics.median(b[1] / a[1] for a, b in pairs), 3)
    if peer and kind == "frames":
        result["torchcodec"] = peer.version
        ours()
        result["difference"] = difference(peer, plans, output)
    print(json.dumps(result), flush=True)


def difference(peer: Peer, plans: list[tuple[Path, list[int], list[int]]], shard: Path) -> dict[str, list[float]]:
    """Mean absolute difference, of 255, between our frames and torchcodec's: of all clips, and of the worst one."""
    with h5py.File(shard, "r") as file:
        order = {name: row for row, name in enumerate(file["clip"].asstr()[:])}
        frames = file["frames"][:]
    found = {}
    for line, options in PEER_LINES.items():
        means = []
        for number, plan in enumerate(plans):
            theirs = peer_frames(peer, *plan, *options).astype(np.int16)
            means.append(float(np.abs(frames[order[str(number)]] - theirs).mean()))
        found[line] = [round(statistics.mean(means), 2), round(max(means), 2)]
    return found


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path, help="folder with media files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torchcodec", type=Path, metavar="DIR", help="folder that torchcodec was installed to")
    args = parser.parse_args()
    media = sorted(p for p in args.release.rglob("*") if p.suffix.lower() in (".mp4", ".mkv", ".avi", ".mov"))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        # before torch is here: a child's largest memory begins at what its parent had when it was started
        memory(media, Path(folder))
        peer = find_peer(args.torchcodec)
        for kind in ("frames", "audio"):
            speed(kind, media, Path(folder) / "takes", args.rounds, peer)
        speed("frames", enlarge(media[:10], Path(folder)), Path(folder) / "large", args.rounds, peer)


if __name__ == "__main__":
    main()
