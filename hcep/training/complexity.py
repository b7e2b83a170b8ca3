"""What a method costs: learnable and frozen parameters and floating-point operations per clip (paper Table 8).

Counting needs shapes only: everything is built on torch's ``meta`` device, so the full-size encoders cost nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from hcep.encoders.folder import Encoders, assemble, build_towers
from hcep.files import read_table
from hcep.methods.audio_layers import build_method
from hcep.methods.features import encode_media
from hcep.methods.method import Batch, Method, Sizes
from hcep.seal import read_sealed_json

COLUMNS = (
    "method", "known", "learnable", "learnable_m", "paper_m", "difference_m", "frozen", "frozen_m", "gflop_per_clip",
    "encoder", "clips", "inference_s", "memory_gb", "device", "note",
)  # fmt: skip


class Counted(NamedTuple):
    """A method to count: its class and settings; for imported features also their encoder and the width of each.

    `audio_layers` is what its own encoder reads of the audio model, where that is not what the task's encoder reads.
    """

    method_class: type[Method]
    settings: dict[str, Any]
    encoder: str = ""
    width: int = 0
    audio_layers: str | list[int] = ""


def parameters(module: torch.nn.Module, *, learnable: bool) -> int:
    """Number of parameters with (or without) gradients; shared tensors count once."""
    return sum(value.numel() for value in module.parameters() if value.requires_grad is learnable)


def shape_only(info: dict[str, Any]) -> Encoders:
    """The encoders of an ``encoder.json`` on the meta device: shapes without weights."""
    with torch.device("meta"):
        return assemble(*build_towers(info), info)


def blank_batch(sizes: Sizes, context: int, inputs: str) -> Batch:
    """One clip of zeros on the meta device, as media or as features."""
    with torch.device("meta"):
        base = (torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 3).bool())
        if inputs == "features":
            audio = torch.zeros((1, sizes.layers, sizes.audio) if sizes.layers else (1, sizes.audio))
            return Batch(*base, None, None, None, torch.zeros(1, sizes.text), torch.zeros(1, sizes.vision), audio)
        frames = torch.zeros(1, sizes.frames, sizes.side, sizes.side, 3, dtype=torch.uint8)
        waveform = torch.zeros(1, sizes.samples, dtype=torch.int16)
        return Batch(*base, torch.zeros(1, context, dtype=torch.int64), frames, waveform)


def count_flops(
    method_class: type[Method], classes: Sequence[str], sizes: Sizes, encoders: Encoders, settings: dict[str, Any]
) -> int:
    """Floating-point operations of scoring one clip from its media, the classes' own features being there already.

    A method on cached features is charged with the encoders that make them.
    """
    method = build_shapes(method_class, classes, sizes, encoders, settings).eval()
    batch = blank_batch(sizes, encoders.text.context, method_class.inputs)
    with torch.device("meta"), torch.no_grad():
        # the first clip also pays for features that the method keeps; the second, another clip, is what counts
        method.predict(batch._replace(row=torch.tensor([0], device="cpu")))
        with FlopCounterMode(display=False) as counter:
            method.predict(batch._replace(row=torch.tensor([1], device="cpu")))
            if method_class.inputs == "features":
                encode_media(encoders, blank_batch(sizes, encoders.text.context, "media"))
    return int(counter.get_total_flops())


def complexity(
    info: dict[str, Any],
    frames: int,
    samples: int,
    methods: Mapping[str, Counted],
    known: Sequence[int],
    paper: Path | None,
) -> list[dict[str, Any]]:
    """Count what every method costs: one row of `COLUMNS` per method and number of known classes.

    Parameters
    ----------
    info : dict
        ``encoder.json``.
    frames, samples : int
        F and A of the dataset entry.
    methods, known
        What is counted, by name, and the values of K.
    paper : path, optional
        ``paper_results.csv``; its ``params_m`` of Table 8 stand beside ours.
    """
    of_task = shape_only(info)
    printed = _printed(paper)
    rows = []
    classes = [f"class {i}" for i in range(max(known))]
    for name, (method_class, settings, own_encoder, width, layers) in methods.items():
        settings = settings | {"precision": "fp32"}
        encoders = shape_only(info | {"audio_layers": layers}) if layers else of_task
        dims = encoders.text.dim, encoders.vision.dim, encoders.audio.dim
        sizes = Sizes(frames, encoders.vision.size, samples, *dims, encoders.audio.states)
        if own_encoder:
            # the features come from a file, and the encoder that made them is not here to be counted
            own_sizes = sizes._replace(text=width, vision=width, audio=width, layers=0)
            passed: dict[str, Any] = {"frozen": "", "frozen_m": "", "gflop_per_clip": "", "encoder": own_encoder}
        else:
            own_sizes = sizes
            frozen = sum(parameters(getattr(encoders, tower), learnable=False) for tower in method_class.towers)
            frozen += "text" in method_class.towers  # one more: CLIP's logit scale, which is in neither tower
            flops = count_flops(method_class, classes, sizes, encoders, settings)
            passed = {"frozen": frozen, "frozen_m": f"{frozen / 1e6:.4f}", "gflop_per_clip": f"{flops / 1e9:.3f}"}
            passed["encoder"] = info["name"] if method_class.towers else ""
        for count in known:
            method = build_shapes(method_class, classes[:count], own_sizes, encoders, settings)
            learnable = parameters(method, learnable=True)
            row: dict[str, Any] = {"method": name, "known": count, "learnable": learnable, **passed}
            row["learnable_m"] = f"{learnable / 1e6:.4f}"
            # printed counts are those of encoders of the paper's size
            if (name, count) in printed and info["clip"]["embed_dim"] == 512:
                row["paper_m"] = printed[name, count]
                row["difference_m"] = f"{learnable / 1e6 - printed[name, count]:+.4f}"
                if twice := getattr(method, "paper_count_extra", 0):
                    row["note"] = f"the paper counts {twice / 1e6:.4f} M parameters twice"
            rows.append(row)
    return rows


def build_shapes(
    method_class: type[Method], classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]
) -> Method:
    """A method on the meta device: shapes without memory for its tensors."""
    with torch.device("meta"):
        given = encoders if method_class.inputs == "media" else None
        return build_method(method_class, classes, sizes, given, settings)


def add_timings(rows: Sequence[dict[str, Any]], timings: Sequence[Path]) -> None:
    """Fill ``clips``, ``inference_s``, ``memory_gb`` and ``device`` from the runs' ``timing.json``, means over runs."""
    found = [read_sealed_json(path) for path in timings]
    for row in rows:
        if runs := [run for run in found if (run["method"], run["known"]) == (row["method"], row["known"])]:
            row["clips"] = round(statistics.mean(run["clips"] for run in runs))
            row["inference_s"] = f"{statistics.mean(run['seconds'] for run in runs):.4g}"
            row["memory_gb"] = f"{max(run['memory_gb'] for run in runs):.3f}"
            row["device"] = ";".join(sorted({run["device"] for run in runs}))


def print_complexity(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    lines = [COLUMNS, *([str(row.get(column, "")) for column in COLUMNS] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _printed(paper: Path | None) -> dict[tuple[str, int], float]:
    """Millions of parameters that the paper prints, by method and number of known classes."""
    rows = read_table(paper) if paper else []
    rows = [row for row in rows if row["source"] == "table8" and row["metric"] == "params_m"]
    return {(row["method"], int(row["openness"][1:].partition("u")[0])): float(row["value"]) for row in rows}
