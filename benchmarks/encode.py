"""`hcep encode` at full size, against the encoders' bare forward pass and against the libraries' modules; JSON lines.

python benchmarks/encode.py [--device cuda] [--clips N] [--batch N] [--rounds 3]

CLIP ViT-B/32 and wav2vec2-base with random weights, 8 frames, 5 s of sound, captions of 5 to 30 words. `encode` reads
shards, encodes and writes the features; `forward` is the same towers on batches that already lie on the device;
`libraries` is open_clip's and transformers' modules on prepared input with text padded to 77. All in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from counting import clock
from plain import PlainHCEP
from synthetic import captions, write_shards
from train import device_name

from hcep.encoders.fetch import full_size_info
from hcep.encoders.folder import Encoders, assemble, build_audio, build_clip
from hcep.media.store import ClipStore
from hcep.methods.features import encode_media
from hcep.methods.method import Batch, Sizes
from hcep.training.devices import choose_device
from hcep.training.encode import encode
from hcep.training.feed import MediaFeed


def libraries_side(plain: PlainHCEP, encoders: Encoders, batches: list[Batch]) -> Callable[[], None]:
    """What a pass through the libraries' modules over prepared batches is."""
    prepared = []
    for batch in batches:
        assert batch.tokens is not None and batch.frames is not None and batch.waveform is not None
        tokens = torch.nn.functional.pad(batch.tokens, (0, encoders.text.context - batch.tokens.shape[1]))
        images = encoders.vision.normalise(batch.frames.flatten(0, 1))
        prepared.append((tokens, images, encoders.audio.normalise(batch.waveform)))

    def work() -> None:
        for tokens, images, sound in prepared:
            plain.encode_text(tokens, None)
            plain.encode_vision(images, None)
            plain.encode_audio(sound, None)

    return work


def sides(store: ClipStore, encoders: Encoders, sizes: Sizes, settings: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """The three ways over the one shard of `store`."""
    device = torch.device(settings["device"])
    clips = store.clips()
    feed = MediaFeed(store, clips, [-1] * len(clips), encoders.text.tokenize, device, 0)
    batches = list(feed.batches(settings["batch_size"]))
    plain = PlainHCEP(["calm"], encoders, sizes.side, sizes.samples, "calm").to(device)
    index, output = store.folder / "index.h5", store.folder / "features.h5"
    return {
        "encode": lambda: encode(index, "000-of-001", output, encoders, settings),
        "forward": lambda: [encode_media(encoders, batch) for batch in batches],
        "libraries": libraries_side(plain, encoders, batches),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clips", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    large = args.device.startswith("cuda")
    clips, batch = args.clips or (1024 if large else 8), args.batch or (64 if large else 4)
    info = full_size_info() | {"sha256": {}}  # random weights have no digest
    torch.manual_seed(0)
    encoders = assemble(build_clip(info["clip"]), build_audio(info["audio"]), info)
    reservation = choose_device(args.device)
    device = reservation.device
    for module in encoders.modules():
        module.to(device)
    sizes = Sizes(8, 224, 80_000, encoders.text.dim, encoders.vision.dim, encoders.audio.dim)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        store = write_shards(Path(folder), captions(clips, 5, 30), sizes, shards=1)
        for precision in ("fp32", "bf16"):
            settings = {"batch_size": batch, "precision": precision, "device": str(device)}
            ways = sides(store, encoders, sizes, settings)
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                for number in range(args.rounds + 1):
                    for name, work in ways.items():
                        took = clock(work, device)
                        if number:  # the first round warms up
                            seconds[name].append(took)
            middle = {name: statistics.median(values) for name, values in seconds.items()}
            line = {
                "benchmark": "encode",
                "device": device_name(device),
                "precision": precision,
                "batch": batch,
                "clips_per_s": {name: clips / value for name, value in middle.items()},
                "share_of_forward": middle["forward"] / middle["encode"],
                "ratio_to_libraries": middle["libraries"] / middle["encode"],
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
