"""What a method costs: learnable and frozen parameters and floating-point operations per clip (paper Table 8).

Counting needs shapes only: everything is built on torch's ``meta`` device, so the full-size encoders cost nothing.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hcep.encoders.folder import Encoders, assemble, build_audio, build_clip
from hcep.files import write_table
from hcep.model.method import Batch, Method, Sizes

COLUMNS = (
    "method",
    "known",
    "learnable",
    "learnable_m",
    "paper_m",
    "difference_m",
    "frozen",
    "gflop_per_clip",
    "encoder",
    "clips",
    "inference_s",
    "memory_gb",
    "device",
)


def parameters(module: torch.nn.Module, *, learnable: bool) -> int:
    """Number of parameters with (or without) gradients; shared tensors count once."""
    return sum(value.numel() for value in module.parameters() if value.requires_grad is learnable)


def shape_only(info: dict[str, Any]) -> Encoders:
    """The encoders of an ``encoder.json`` on the meta device: shapes without weights."""
    with torch.device("meta"):
        return assemble(build_clip(info["clip"]), build_audio(info["audio"]), info)


def blank_batch(sizes: Sizes, context: int, inputs: str) -> Batch:
    """One clip of zeros on the meta device, as media or as features."""
    with torch.device("meta"):
        base = (torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 3).bool())
        if inputs == "features":
            return Batch(*base, None, None, None, *(torch.zeros(1, dim) for dim in sizes[3:]))
        frames = torch.zeros(1, sizes.frames, sizes.side, sizes.side, 3, dtype=torch.uint8)
        waveform = torch.zeros(1, sizes.samples, dtype=torch.int16)
        return Batch(*base, torch.zeros(1, context, dtype=torch.int64), frames, waveform)


def _encoder_flops(encoders: Encoders, sizes: Sizes, extra: tuple[int, int, int]) -> float:
    """Floating-point operations of one clip's forward pass with (text tokens, vision tokens, samples) of prompts."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        tower = encoders.text
        tower.transformer(torch.zeros(1, tower.context, tower.width), attn_mask=tower.mask)
        vision = encoders.vision
        prompts = torch.zeros(extra[1], vision.width) if extra[1] else None
        vision(torch.zeros(sizes.frames, 3, sizes.side, sizes.side), prompts)
        encoders.audio(torch.zeros(1, sizes.samples + extra[2]))
    return float(counter.get_total_flops())


def complexity(
    info: dict[str, Any],
    frames: int,
    samples: int,
    methods: Mapping[str, tuple[type[Method], dict[str, Any]]],
    known: Sequence[int],
    paper: Path | None,
) -> list[dict[str, Any]]:
    """One row per method and number of known classes.

    Parameters
    ----------
    info : dict
        ``encoder.json``.
    frames, samples : int
        F and A of the dataset entry.
    methods : mapping
        Name to class and settings.
    known : sequence of int
        Values of K.
    paper : path, optional
        ``paper_results.csv``; its ``params_m`` of Table 8 stand beside ours.
    """
    encoders = shape_only(info)
    sizes = Sizes(frames, encoders.vision.size, samples, encoders.text.dim, encoders.vision.dim, encoders.audio.dim)
    printed = _printed(paper)
    clip = parameters(encoders.text, learnable=False) + parameters(encoders.vision, learnable=False)
    frozen = clip + 1 + parameters(encoders.audio, learnable=False)  # + 1: CLIP's logit scale, in neither tower
    rows = []
    for name, (method_class, settings) in methods.items():
        media = method_class.inputs == "media"
        prompts = settings.get("prompt_tokens", 0)
        extra = (prompts, prompts, prompts * (samples // 10)) if media else (0, 0, 0)
        flops = _encoder_flops(encoders, sizes, extra)
        for count in known:
            classes = [f"class {i}" for i in range(count)]
            learnable = count_learnable(method_class, classes, sizes, encoders, settings)
            row: dict[str, Any] = {
                "method": name,
                "known": count,
                "learnable": learnable,
                "learnable_m": f"{learnable / 1e6:.4f}",
                "frozen": frozen,
                "gflop_per_clip": f"{flops / 1e9:.3f}",
                "encoder": info["name"],
            }
            if supplied := method_class.features_of:
                # features from a file: their encoder is not here to be counted
                row |= {"frozen": "", "gflop_per_clip": "", "encoder": supplied}
            if (name, count) in printed and not _small(info):
                row["paper_m"] = printed[name, count]
                row["difference_m"] = f"{learnable / 1e6 - printed[name, count]:+.4f}"
            rows.append(row)
    return rows


def count_learnable(
    method_class: type[Method], classes: Sequence[str], sizes: Sizes, encoders: Encoders, settings: dict[str, Any]
) -> int:
    """Learnable parameters of a method, built without memory for its tensors."""
    if width := method_class.features_width:
        sizes = sizes._replace(text=width, vision=width, audio=width)
    with torch.device("meta"):
        method = method_class(classes, sizes, encoders if method_class.inputs == "media" else None, settings)
    return parameters(method, learnable=True)


def default_methods() -> dict[str, dict[str, Any]]:
    """HCEP and its baseline with the settings that decide a count, at the paper's values."""
    hcep = {
        "loss_reduction": "mean",
        "pixel_normalisation": False,
        "points": "prompted",
        "prompt_tokens": 2,
        "prompt_words": "facial expression",
        "prompts": "learned",
        "text_prompt": "embedding",
        "vision_prompt": "shallow",
        "words": {},
    }
    return {"hcep": {"base": "hcep", "settings": hcep}, "arpl_mm": {"base": "arpl_mm", "settings": {}}}


def add_timings(rows: Sequence[dict[str, Any]], timings: Sequence[Path]) -> None:
    """Fill ``clips``, ``inference_s``, ``memory_gb`` and ``device`` from the runs' ``timing.json``, means over runs."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for path in timings:
        timing = json.loads(path.read_text(encoding="utf-8"))
        found[timing["method"], timing["known"]].append(timing)
    for row in rows:
        runs = found.get((row["method"], int(row["known"])))
        if runs:
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


def write_complexity(rows: Sequence[dict[str, Any]], output: Path) -> None:
    """Write the rows as CSV."""
    write_table(output, COLUMNS, rows)


def _small(info: dict[str, Any]) -> bool:
    """Printed counts compare with encoders of the paper's size only."""
    return info["clip"]["embed_dim"] != 512


def _printed(paper: Path | None) -> dict[tuple[str, int], float]:
    if paper is None:
        return {}
    with paper.open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["source"] == "table8" and row["metric"] == "params_m"]
    return {(row["method"], int(row["openness"][1:].partition("u")[0])): float(row["value"]) for row in rows}
