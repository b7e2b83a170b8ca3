"""How time and memory grow: with the number of clips, and with classes, frames and batch size; JSON lines.

python benchmarks/growth.py [--clips 1000 5000 20000 50000] [--device auto] [--rounds 5]

Small encoders and small clips of noise, so that reading, batching and the loop weigh as much as they can; one thread,
as Snakemake gives a job. Every number of clips is a process of its own that reads all media from the shards in every
epoch (`resident_gb: 0`). `flat` is the times per clip, and the memory, of the largest run over the smallest;
`line_error` how far the times lie from the straight line through them, as a share of the largest.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from synthetic import captions, write_shards
from train import NAMES, settings_of

from hcep.encoders.fetch import CLIP_MEAN, CLIP_STD
from hcep.encoders.folder import Encoders, assemble, build_audio, build_clip
from hcep.methods.hcep import HCEP
from hcep.methods.method import Sizes
from hcep.training.feed import MediaFeed
from hcep.training.loop import Trainer

CLIP = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"layers": 2, "width": 48, "head_width": 16, "patch_size": 16, "image_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
AUDIO = {"model_type": "wav2vec2", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
AUDIO |= {"intermediate_size": 64, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 8}
AUDIO |= {"num_conv_pos_embedding_groups": 2, "feat_extract_norm": "group"}
DEFAULT = {"known": 4, "frames": 2, "batch": 64}
AXES = {"known": (2, 4, 8), "frames": (2, 4, 8, 16), "batch": (32, 64, 128, 256)}


def small_encoders(device: torch.device) -> Encoders:
    """CLIP and wav2vec 2.0 of a few thousand weights."""
    torch.manual_seed(0)
    info = {"name": "tiny", "stand_in": True, "clip": CLIP, "audio": AUDIO, "mean": CLIP_MEAN, "std": CLIP_STD}
    encoders = assemble(build_clip(CLIP), build_audio(AUDIO), info)
    for module in encoders.modules():
        module.to(device)
    return encoders


def trainer(folder: Path, clips: int, device: torch.device, *, known: int, frames: int, batch: int) -> Trainer:
    """A run over freshly written shards."""
    encoders = small_encoders(device)
    sizes = Sizes(frames, 32, 1600, encoders.text.dim, encoders.vision.dim, encoders.audio.dim)
    store = write_shards(folder, captions(clips, 5, 30), sizes, shards=8)
    settings = settings_of("fp32", str(device), batch) | {"micro_batch": batch}
    method = HCEP(NAMES[:known], sizes, encoders, settings).to(device)
    labels = [n % known for n in range(clips)]
    feed = MediaFeed(store, store.clips(), labels, encoders.text.tokenize, device, 0)
    method.begin([])
    return Trainer(method, feed, settings, 0, folder / "work", name="growth")


def own_memory() -> float:
    """MB that the process holds itself; pages of shards that are mapped into it may be dropped at any time."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("RssAnon")) / 1e3


def one_size(clips: int, device: torch.device) -> None:
    """One epoch over `clips`, then as many as make 20,000; prints their wall and CPU time per clip, and memory."""
    with tempfile.TemporaryDirectory() as folder:
        running = trainer(Path(folder), clips, device, **DEFAULT)
        running._epoch(0)
        epochs = max(1, 20_000 // clips)
        start = time.perf_counter(), time.process_time()
        for number in range(epochs):
            running._epoch(number + 1)
        per_clip = 1e3 / (epochs * clips)
        wall, busy = (time.perf_counter() - start[0]) * per_clip, (time.process_time() - start[1]) * per_clip
        print(json.dumps({"clips": clips, "ms_per_clip": wall, "cpu_ms_per_clip": busy, "mb": own_memory()}))


def step_time(device: torch.device, rounds: int, **sizes: int) -> float:
    """Seconds of a step, the median of several over the same batch."""
    with tempfile.TemporaryDirectory() as folder:
        running = trainer(Path(folder), sizes["batch"], device, **sizes)
        batch = running.feed.batch(torch.arange(sizes["batch"]))
        times = []
        for _ in range(rounds + 1):
            start = time.perf_counter()
            running.runner.step(batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def line_error(values: tuple[int, ...], times: list[float]) -> float:
    """Largest distance of a time from the straight line through all of them, as a share of the largest time."""
    slope, start = np.polyfit(values, times, 1)
    return float(np.abs(start + slope * np.array(values) - times).max() / max(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 5000, 20_000, 50_000])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    name = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    device = torch.device(name)
    torch.set_num_threads(1)
    if args.one:
        one_size(args.one, device)
        return
    rows: list[dict[str, Any]] = []
    for clips in args.clips:
        command = [sys.executable, __file__, "--one", str(clips), "--device", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        rows.append(json.loads(done.stdout))
        print(done.stdout, end="", flush=True)
    flat = {key: rows[-1][key] / rows[0][key] for key in ("ms_per_clip", "cpu_ms_per_clip", "mb")}
    print(json.dumps({"benchmark": "growth", "axis": "clips", "flat": flat}), flush=True)
    for axis, values in AXES.items():
        times = [step_time(device, args.rounds, **(DEFAULT | {axis: value})) for value in values]
        steps = {str(value): 1e3 * seconds for value, seconds in zip(values, times, strict=True)}
        result = {"benchmark": "growth", "axis": axis, "ms_per_step": steps, "line_error": line_error(values, times)}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
