"""Training and scoring of HCEP at full size, against the straightforward implementation of `plain.py`; JSON lines.

python benchmarks/train.py [--device auto] [--batch N] [--known K] [--frames 8] [--steps N] [--rounds N]

CLIP ViT-B/32 and wav2vec2-base with random weights, 5 s of sound, captions of 5 to 30 words, both sides in turns on one
device, in float32 and with bf16 in the encoders. Batch 64 and K = 8 with an accelerator; 1 and 2, and one step a round,
without.
The last line sums up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from counting import Traffic, clock, copy_peak, matrix_peak
from plain import Clips, DecodedClips, PlainHCEP, loader
from synthetic import captions, write_shards, write_videos
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hcep.config.methods import base_method
from hcep.encoders.fast import norms
from hcep.encoders.fetch import full_size_info
from hcep.encoders.folder import Encoders, assemble, build_audio, build_clip
from hcep.media.store import ClipStore
from hcep.methods.cuep import OpposingFeatures
from hcep.methods.hcep import HCEP
from hcep.methods.method import Batch, Features, Sizes
from hcep.training.feed import MediaFeed
from hcep.training.memory import peak_memory_gb
from hcep.training.step import StepRunner

ROOT = Path(__file__).parents[1]
SECONDS = 5.0
CLIPS, EPOCHS, RUNS = 5800, 150, 16  # a full MAFW run, and the paper's series
NAMES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "contempt", "anxiety", "help", "hope")


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def settings_of(precision: str, device: str, batch: int) -> dict[str, Any]:
    """The default settings of a run of HCEP."""
    return dict(base_method("hcep")()) | {"precision": precision, "device": device, "batch_size": batch}


class Fast:
    """The project's own loop over shards."""

    def __init__(self, encoders: Encoders, sizes: Sizes, args: argparse.Namespace, store: ClipStore, precision: str):
        self.device, self.batch = args.device, args.batch
        labels = [n % args.known for n in range(len(store.clips()))]
        settings = settings_of(precision, str(args.device), args.batch)
        torch.manual_seed(0)
        self.method = HCEP(NAMES[: args.known], sizes, encoders, settings).to(args.device)
        resident = int(settings["resident_gb"] * 1e9)
        self.feed = MediaFeed(store, store.clips(), labels, encoders.text.tokenize, args.device, resident)
        self.method.begin([])
        self.runner = StepRunner(self.method, settings, args.device, precision)
        # on a CPU the measurement would take as long as the benchmark
        if args.device.type == "cuda":
            self.runner.fit(self.feed)
        else:
            self.runner.micro = args.batch
        self.batches: Iterator[Batch] = iter(())

    def ready(self) -> None:
        """Read the first batch."""
        self.batches = self.feed.batches(self.batch)
        self.now = next(self.batches)

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Steps run kernel by kernel meanwhile, so that they can be counted or taken apart."""
        recorder, self.runner.recorder = self.runner.recorder, None
        yield
        self.runner.recorder = recorder

    def warm_up(self, steps: int) -> None:
        """Record what is dropped between turns: the steps to be timed, twice, so that every shape has come twice."""
        for _ in range(2):
            self.ready()
            for _ in range(steps):
                self.step()

    def release(self) -> None:
        """Drop the recordings, beside which the other sides may have no memory left."""
        if self.runner.recorder:
            self.runner.recorder.recordings.clear()

    def step(self) -> None:
        """One step, while the next batch is read."""
        self.method.train()
        self.runner.step(self.now)
        self.now = next(self.batches, self.now)

    def score(self) -> Any:
        self.method.eval()
        return self.method.predict(self.now).score

    def stream(self) -> AbstractContextManager[None]:
        """Where everything runs, as in `Trainer.run`."""
        return self.runner.stream()


class Slow:
    """`plain.py` with a DataLoader of four decoding processes and SGD."""

    def __init__(self, encoders: Encoders, sizes: Sizes, args: argparse.Namespace, folder: Path):
        self.device, self.batch = args.device, args.batch
        texts = captions(args.batch * (args.steps + 1), 5, 30)
        videos = sorted(args.videos.iterdir()) if args.videos else write_videos(folder / "video", 8, SECONDS)
        paths = [videos[n % len(videos)] for n in range(len(texts))]
        labels = [n % args.known for n in range(len(texts))]
        torch.manual_seed(0)
        words = NAMES[: args.known]
        self.method = PlainHCEP(words, encoders, sizes.side, sizes.samples, "facial expression").to(args.device)
        clips = DecodedClips(paths, encoders.text.tokenize(texts), labels, encoders, sizes)
        self.loader = loader(clips, args.batch)
        self.optimiser = torch.optim.SGD(self.method.parameters(), 0.0005, 0.9, weight_decay=0.0001)
        self.batches: Iterator[Clips] = iter(())

    def ready(self) -> None:
        self.batches = iter(self.loader)
        self.now = next(self.batches)

    def warm_up(self, steps: int) -> None:
        """Nothing is recorded, so that one step does."""
        self.ready()
        self.step()

    def release(self) -> None:
        """Let go of the last gradients."""
        self.optimiser.zero_grad()

    def step(self) -> None:
        self.optimiser.zero_grad()
        loss = self.method(self.now.to(self.device))
        loss.backward()
        self.optimiser.step()
        loss.item()  # for the log
        self.now = next(self.batches, self.now)

    def compute(self) -> None:
        """A step on clips that are already there."""
        self.optimiser.zero_grad()
        self.method(self.now.to(self.device)).backward()
        self.optimiser.step()

    @torch.no_grad()
    def score(self) -> Any:
        return self.method.logits(self.now.to(self.device))[1].softmax(1).amax(1)

    def stream(self) -> AbstractContextManager[None]:
        return nullcontext()

    def unrecorded(self) -> AbstractContextManager[None]:
        return nullcontext()


class Measured(NamedTuple):
    """Of a step: seconds in every round, FLOP (matrix products, convolutions, attention), bytes moved, and operations.

    `memory_gb` is the peak of the device in a timed round, or of the process so far.
    """

    seconds: list[float]
    work: float
    bytes: float
    operations: float
    memory_gb: float


def step_seconds(side: Fast | Slow, steps: int) -> float:
    """Seconds per step, data included; the first batch is there at the start, its successors are read meanwhile."""
    with side.stream():
        side.ready()
        return clock(lambda: [side.step() for _ in range(steps)], side.device) / steps


def turn(side: Fast | Slow, steps: int) -> tuple[float, float]:
    """Seconds per step on an accelerator, warmed up before, and the peak of its memory in GB, recording included."""
    torch.cuda.reset_peak_memory_stats(side.device)
    with side.stream():
        side.warm_up(steps)
    seconds = step_seconds(side, steps)
    side.release()
    return seconds, peak_memory_gb(side.device)


def split(fast: Fast, encoders: Encoders) -> dict[str, float]:
    """Seconds of the parts of a step, each forward and backward by itself; `data` runs beside the others."""
    method, device = fast.method, fast.device
    batch = fast.feed.batch(torch.arange(fast.batch))
    assert batch.tokens is not None and batch.frames is not None and batch.waveform is not None
    tokens, waveform = batch.tokens, encoders.audio.normalise(batch.waveform)
    images = encoders.vision.normalise(batch.frames.flatten(0, 1))

    def both(forward: Callable[[], Tensor]) -> float:
        def work() -> None:
            with method.encoding():
                value = forward()
            value.float().sum().backward()

        work() if device.type == "cuda" else None
        return clock(work, device)

    def convolutions() -> Tensor:
        stretch = method.smep().audio.reshape(1, -1).expand(len(waveform), -1)
        form = encoders.audio.form(torch.bfloat16 if method.settings["precision"] == "bf16" else torch.float32)
        with torch.autocast(device.type, enabled=False):
            return form.convolutions(torch.cat([stretch, waveform], dim=1), slice(0, stretch.shape[1]))

    def classes() -> Tensor:
        sides = method.opposing_features((method.text_positive, method.text_negative))
        return torch.cat([side.vision.sum(1) + side.audio.sum(1) for side in sides if side is not None])

    times = {
        "text": both(lambda: encoders.text(tokens, method.smep().text)),
        "vision": both(lambda: encoders.vision(images, method.smep().vision)),
        "audio_conv": both(convolutions),
        "audio_transformer": both(lambda: encoders.audio(waveform, method.smep().audio)),
        "class_prompts": both(classes),
        "loss": losses(fast, batch),
        "data": clock(lambda: fast.feed.batch(torch.arange(fast.batch)), device),
    }
    times["audio_transformer"] -= times["audio_conv"]
    method.zero_grad()
    return times


def losses(fast: Fast, batch: Batch) -> float:
    """Seconds of head, losses and optimiser, with all features given."""
    method: Any = fast.method
    sizes = method.sizes

    def given(count: int) -> Features:
        dims = (sizes.text, sizes.vision, sizes.audio)
        return Features(*(torch.randn(count, dim, device=fast.device, requires_grad=True) for dim in dims))

    sides = OpposingFeatures(given(len(method.classes)), given(len(method.classes)))
    own = method.features, method.class_features
    method.features = lambda _: given(fast.batch)
    method.class_features = lambda: ((method.text_positive, method.text_negative), sides)
    seconds = [clock(lambda: fast.runner.step(batch), fast.device) for _ in range(3)]
    method.features, method.class_features = own
    return min(seconds)


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    return f"{model}, {torch.get_num_threads()} threads"


def has_amx() -> bool:
    path = Path("/proc/cpuinfo")
    return path.is_file() and "amx_bf16" in path.read_text()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--known", type=int)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--videos", type=Path, help="a folder of clips for the other side instead of made ones")
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    args = parser.parse_args()
    name = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    args.device = torch.device(name)
    large = args.device.type == "cuda"
    if args.device.index is not None:
        torch.cuda.set_device(args.device)
    args.batch = args.batch or (64 if large else 1)
    args.known = args.known or (8 if large else 2)
    args.steps = args.steps or (20 if large else 1)
    args.rounds = args.rounds or (3 if large else 2)
    return args


def main() -> None:
    args = arguments()
    device = args.device
    torch.backends.cudnn.allow_tf32 = False
    peaks = {"fp32": matrix_peak(device, torch.float32), "bf16": matrix_peak(device, torch.bfloat16)}
    ceilings = {f"{name}_peak_tflops": value / 1e12 for name, value in peaks.items()}
    say(device=device_name(device), torch=torch.__version__, **ceilings, copy_gb_per_s=copy_peak(device) / 1e9)
    info = full_size_info()
    torch.manual_seed(0)
    encoders = assemble(build_clip(info["clip"]), build_audio(info["audio"]), info)
    for module in encoders.modules():
        module.to(device)
    sizes = Sizes(args.frames, 224, 80_000, encoders.text.dim, encoders.vision.dim, encoders.audio.dim)
    with tempfile.TemporaryDirectory() as name:
        store = write_shards(Path(name) / "shards", captions(args.batch * (args.steps + 1), 5, 30), sizes)
        sides: dict[str, Fast | Slow] = {p: Fast(encoders, sizes, args, store, p) for p in args.precisions}
        sides["plain"] = Slow(encoders, sizes, args, Path(name))
        compare(args, sides, peaks, encoders)


def take_turns(args: argparse.Namespace, sides: dict[str, Any]) -> dict[str, Measured]:
    """Time all sides in turns, after counting the work of a step, which with an accelerator is a round of its own."""
    found = {side: Measured([], 0.0, 0.0, 0.0, 0.0) for side in sides}
    cuda = args.device.type == "cuda"
    for number in range(args.rounds + cuda):
        for side, running in sides.items():
            if number and cuda:
                seconds, peak = turn(running, args.steps)
                found[side].seconds.append(seconds)
                found[side] = found[side]._replace(memory_gb=max(peak, found[side].memory_gb))
            elif number:
                found[side].seconds.append(step_seconds(running, args.steps))
            else:
                # the counter knows the libraries' operations alone
                with (
                    running.unrecorded(),
                    patch.object(norms, "triton_norm", return_value=None),
                    FlopCounterMode(display=False) as counter,
                    Traffic() as traffic,
                ):
                    seconds = step_seconds(running, 1)
                work, moved, count = counter.get_total_flops(), traffic.bytes, traffic.operations
                first, peak = ([], 0.0) if cuda else ([seconds], peak_memory_gb(args.device))
                found[side] = Measured(first, work, moved, count, peak)
            print(f"round {number + 1}: {side} {found[side].seconds} s a step", file=sys.stderr, flush=True)
    return found


def compare(args: argparse.Namespace, sides: dict[str, Any], peaks: dict[str, float], encoders: Encoders) -> None:
    """Time all sides, then the parts of a step and scoring, and print all lines but the first."""
    found = take_turns(args, sides)
    rows = {}
    for side, (seconds, work, moved, count, _) in found.items():
        step = statistics.median(seconds)
        counts = {"gflop_per_step": work / 1e9, "gb_per_step": moved / 1e9, "operations_per_step": count}
        rows[side] = {
            "clips_per_s": args.batch / step,
            "ratio": statistics.median(p / s for p, s in zip(found["plain"].seconds, seconds, strict=True)),
            "tflops": work / step / 1e12,
            "mfu": work / step / peaks["bf16"],
            "share_of_own_peak": work / step / peaks["bf16" if side == "bf16" else "fp32"],
        }
        micro = sides[side].runner.micro if side != "plain" else args.batch
        say(side=side, batch=args.batch, micro_batch=micro, **counts, step_s=seconds, **rows[side])
    clock(sides["plain"].compute, args.device)
    there = statistics.median(clock(sides["plain"].compute, args.device) for _ in range(args.rounds))
    say(side="plain", step_without_decoding_s=there)
    for side in args.precisions:
        with sides[side].unrecorded():
            parts = split(sides[side], encoders)
        parts["rest"] = statistics.median(found[side].seconds) - sum(
            value for key, value in parts.items() if key != "data"
        )
        say(side=side, seconds_of_a_step=parts)
    for side, running in sides.items():
        if side != "plain" or args.device.type == "cuda":
            running.score()  # encodes the class prompts, once for a checkpoint
        scoring = statistics.median(clock(running.score, args.device) for _ in range(args.rounds))
        say(side=side, scoring_clips_per_s=args.batch / scoring)
    # bf16 counts where the device has units for it
    best = "bf16" if "bf16" in args.precisions and (args.device.type == "cuda" or has_amx()) else args.precisions[0]
    minutes = CLIPS * EPOCHS / rows[best]["clips_per_s"] / 60
    say(
        benchmark="train",
        device=device_name(args.device),
        precision=best,
        batch=args.batch,
        known=args.known,
        frames=args.frames,
        clips_per_s=rows[best]["clips_per_s"],
        ratio=rows[best]["ratio"],
        mfu=rows[best]["mfu"],
        ratio_without_decoding=there / statistics.median(found[best].seconds),
        memory_gb=found[best].memory_gb,
        ratios={side: rows[side]["ratio"] for side in args.precisions},
        mafw_run_minutes=minutes,
        mafw_series_hours=minutes * RUNS / 60,
    )


if __name__ == "__main__":
    main()
