"""Random clips as shards and as video files, for benchmarks of speed: what is in them does not matter."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.ffmpeg import ffmpeg_executable
from hcep.media.index import index_cache
from hcep.media.shards import Row, shard_names, shard_of, write_shard
from hcep.media.store import ClipStore
from hcep.methods.method import Sizes

WORDS = ["a", "man", "woman", "talk", "about", "the", "house", "with", "open", "door", "child", "looks", "out", "of"]


def captions(count: int, least: int, most: int) -> list[str]:
    """Sentences of `least` to `most` common words, one token each."""
    rng = np.random.default_rng(1)
    return [" ".join(rng.choice(WORDS, rng.integers(least, most + 1))) for _ in range(count)]


def write_shards(folder: Path, texts: Sequence[str], sizes: Sizes, shards: int = 4) -> ClipStore:
    """Shards with one clip of noise per text; the noise repeats after 64 clips."""
    clips = [
        Clip(f"{n:06d}", "d", f"{n}.mp4", "", None, None, "", "none", "", "", "", "", "", "", "")
        for n in range(len(texts))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder / "manifest.tsv", clips)
    rng = np.random.default_rng(0)
    shape = (sizes.frames, sizes.side, sizes.side, 3)
    pictures = rng.integers(0, 256, (64, *shape), dtype=np.uint8)
    sounds = rng.integers(-9000, 9000, (64, sizes.samples), dtype=np.int16)
    paths: dict[str, list[Path]] = {"frames": [], "audio": [], "text": []}
    for name in shard_names(shards):
        numbers = [n for n, clip in enumerate(clips) if shard_of(clip, shards) == name]
        names = [clips[n].clip for n in numbers]
        for kind in paths:
            paths[kind].append(folder / kind / f"{name}.h5")
        frames = ((row, Row(pictures[n % 64])) for row, n in enumerate(numbers))
        sound = ((row, Row(sounds[n % 64])) for row, n in enumerate(numbers))
        words = ((row, Row((texts[n], "caption"))) for row, n in enumerate(numbers))
        write_shard(paths["frames"][-1], "frames", names, frames, {}, shape=shape, dtype=np.uint8)
        write_shard(paths["audio"][-1], "audio", names, sound, {}, shape=(sizes.samples,), dtype=np.int16)
        write_shard(paths["text"][-1], "text", names, words, {})
    index_cache(folder / "manifest.tsv", paths, folder / "index.h5", folder / "qc.tsv")
    return ClipStore(folder / "index.h5", folder)


def write_videos(folder: Path, count: int, seconds: float) -> list[Path]:
    """H.264 and AAC files of 640 x 360 at 25 frames a second, as a release has them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{n}.mp4" for n in range(count)]
    for n, path in enumerate(paths):
        picture = f"testsrc2=s=640x360:r=25:d={seconds},hue=h={40 * n},noise=alls=12:allf=t"
        sound = f"sine=frequency={200 + 40 * n}:sample_rate=44100:duration={seconds}"
        command = [ffmpeg_executable(), "-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", picture]
        command += ["-f", "lavfi", "-i", sound, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "26", str(path)]
        subprocess.run(command, check=True)
    return paths
