"""Frames of clips as small images, for the networks that learn from scratch, and random variants of frames in training.

All numbers are drawn from torch's own generator on the CPU. The training loop saves and restores it, so that a resumed
run sees the same images, and the numbers do not depend on the device.

Shapes: B clips, F frames, N = B F images, S side in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hcep.methods.method import Batch

MAGNITUDES = 10  # the release's scale; it draws 1 ... 9
GREY = 127


def image_ops() -> Any:
    """torchvision's operations on images; importing them takes longer than torch, and few runs ask for any."""
    from torchvision.transforms.v2 import functional as operations

    return operations


def _shear(image: Tensor, x: float, y: float) -> Tensor:
    """Move every row by `x` times its place, or every column by `y` times its place."""
    shear = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return image_ops().affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=shear, center=[0.0, 0.0])


# CSSR's operations on an image uint8 (3, S, S), given the share of the full magnitude without and with a sign
POOL: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "brightness": lambda image, share, _: image_ops().adjust_brightness(image, 1.8 * share + 0.1),
    "colour": lambda image, share, _: image_ops().adjust_saturation(image, 0.9 * share + 0.05),
    "equalise": lambda image, share, _: image_ops().equalize(image),
    "identity": lambda image, share, _: image,
    "posterise": lambda image, share, _: image_ops().posterize(image, int(4 * share) + 4),
    "rotate": lambda image, share, signed: image_ops().rotate(image, 15 * signed),
    "sharpness": lambda image, share, _: image_ops().adjust_sharpness(image, 1.8 * share + 0.05),
    "shear_x": lambda image, share, signed: _shear(image, 0.3 * signed, 0.0),
    "shear_y": lambda image, share, signed: _shear(image, 0.0, 0.3 * signed),
    "solarise": lambda image, share, _: image_ops().solarize(image, 256 - int(256 * share)),
}


def frames_of(batch: Batch) -> Tensor:
    """The frames uint8 ``(B, F, S, S, 3)`` of a batch of media."""
    if batch.frames is None:
        raise ValueError("this batch holds cached features, not media")
    return batch.frames


def small_images(frames: Tensor, side: int) -> Tensor:
    """Frames uint8 ``(B, F, S, S, 3)`` as images uint8 ``(N, 3, side, side)``: bilinear, with antialiasing."""
    images = frames.flatten(0, 1).movedim(-1, -3).float()
    if images.shape[-1] != side:
        images = functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
    return images.round().clamp(0, 255).to(torch.uint8)


def absent_images(batch: Batch) -> Tensor:
    """bool ``(N, 1, 1, 1)``: images of clips without video."""
    return batch.missing[:, 1].repeat_interleave(frames_of(batch).shape[1])[:, None, None, None]


def uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    """Uniform numbers ``(count,)`` in [low, high)."""
    return (low + (high - low) * torch.rand(count)).to(device)


def shift_and_flip(images: Tensor, margin: int, *, reflect: bool) -> Tensor:
    """Move each image by up to `margin` pixels either way and mirror half of them.

    The result is a random crop from the padded image. What comes in from outside is black, or mirrored with `reflect`.
    """
    count, _, side, _ = images.shape
    device = images.device
    shift = torch.randint(-margin, margin + 1, (2, count, 1)).to(device)
    place = torch.arange(side, device=device)
    mirrored = (torch.rand(count, 1) < 0.5).to(device)
    rows, columns = place + shift[0], torch.where(mirrored, side - 1 - place, place) + shift[1]
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    # a place past an edge takes the pixel that lies as far inside; the edge itself is not repeated
    rows, columns = (side - 1 - (side - 1 - index.abs()).abs() for index in (rows, columns))
    picture = torch.arange(count, device=device)[:, None, None]
    moved = images[picture, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
    return moved if reflect else moved.masked_fill(~inside[:, None], 0)


def zoom_and_flip(clips: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Enlarge a randomly placed box of each clip to full size, the same in all its frames, and mirror half the clips.

    Parameters
    ----------
    clips : float Tensor (B, F, 3, S, S)
    height, width : Tensor (B,)
        Sides of the boxes as shares of the image's, at most 1.
    """
    count, frames, _, side, _ = clips.shape
    y, x = (uniform(count, 0.0, 1.0, clips.device) * (1 - share) * 2 + share - 1 for share in (height, width))
    mirror = torch.where((torch.rand(count) < 0.5).to(clips.device), -1.0, 1.0)
    none = torch.zeros_like(x)
    theta = torch.stack([torch.stack([width * mirror, none, x], 1), torch.stack([none, height, y], 1)], 1)
    grid = functional.affine_grid(theta.repeat_interleave(frames, 0), [count * frames, 3, side, side], False)
    boxes = functional.grid_sample(clips.flatten(0, 1), grid, "bilinear", "border", False)
    return boxes.unflatten(0, (count, frames))


def strong_variants(images: Tensor) -> Tensor:
    """Two operations of the pool, each taken with probability 1/2, and a grey square on every image uint8 (CSSR).

    Pool, ranges and square are those of xyzedd/CSSR@d5a99e9 (``configs/basic.json``, ``methods/augtools.py``).
    """
    count, side, names = len(images), images.shape[-1], list(POOL)
    chosen = torch.randint(len(names), (count, 2)).tolist()
    magnitudes = torch.randint(1, MAGNITUDES, (count, 2)).tolist()
    taken, negative = (torch.rand(2, count, 2) < 0.5).tolist()
    changed = []
    for i, image in enumerate(images):
        for slot in range(2):
            if taken[i][slot]:
                image = pool_operation(image, names[chosen[i][slot]], magnitudes[i][slot], negative=negative[i][slot])
        changed.append(image)
    return cut_out(torch.stack(changed), side // 2)


def pool_operation(image: Tensor, name: str, magnitude: int, *, negative: bool) -> Tensor:
    """One operation of `POOL` on an image uint8 ``(3, S, S)``; `negative` turns rotation and shear the other way."""
    share = magnitude / MAGNITUDES
    return POOL[name](image, share, -share if negative else share)


def cut_out(images: Tensor, square: int) -> Tensor:
    """Put a grey square on every image uint8 ``(N, 3, S, S)``: `square` pixels a side, less at the far two edges."""
    count, side = len(images), images.shape[-1]
    corner = ((torch.rand(2, count, 1) * side - square / 2).clamp_min(0)).long().to(images.device)
    place = torch.arange(side, device=images.device)
    rows, columns = ((place >= start) & (place < start + square) for start in corner)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], GREY)
