"""CSSR as its authors run it: a wide residual network on face frames, trained from scratch, and an autoencoder a class.

Network and recipe are those of the authors' repository (hcep.methods.cssr_score cites both;
``methods/wideresnet.py``, ``methods/cssr.py``, ``configs/basic.json``, ``configs/rcssr/cifar10.json``). Its number of
parameters is the one that the paper's Table 8 prints for CSSR, so this, without any pretrained encoder, is what that
row stands for.

Shapes: B clips, F frames, N = B F images, K classes; feature maps are C x 8 x 8, C = 256.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.methods.cssr_score import ClassAutoencoders, Maps, ScoreStatistics, log_probabilities, reconstruction_logits
from hcep.methods.frames import absent_images, frames_of, shift_and_flip, small_images, strong_variants, uniform
from hcep.methods.method import Batch, Method, Prediction, Sizes, accuracy

SIDE = 32
SHIFT = 4  # pixels
MEAN, STD = 0.5, 0.25  # of pixels
CONTRAST = (0.1, 2.0)
SLOPE = 0.1
NORM_MOMENTUM = 0.001
PART = 64  # images whose Gram matrices are held at a time


class ResidualUnit(nn.Module):
    """Two 3 x 3 convolutions, each after normalisation and leaky ReLU, and a shortcut.

    Where the width changes, the authors wire the groups differently, which is kept. In the first group (`early`) both
    paths start after the normalisation. In the others both start before it, and nothing uses that normalisation.
    """

    def __init__(self, before: int, width: int, stride: int, *, early: bool) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(before, width, 1, stride, bias=False) if before != width else None
        self.early = early

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``(N, width, ...)`` from ``(N, before, ...)``."""
        start = functional.leaky_relu(self.norm1(x), SLOPE) if self.early or self.shortcut is None else x
        kept = x if self.shortcut is None else self.shortcut(start)
        inner = functional.leaky_relu(self.norm2(self.conv1(start)), SLOPE)
        return kept + self.conv2(inner)


class WideResNet(nn.Module):
    """WRN-`depth`-`widen` without its classifier; 8,946,640 parameters as WRN-40-4.

    The authors' running statistics move by 0.001 a step. Here they are the plain mean until step 1,000, so that a short
    run is not scored with the statistics that it started from. For a long run this makes no difference.
    """

    def __init__(self, depth: int, widen: int) -> None:
        super().__init__()
        width = 16
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.units = nn.Sequential()
        for group in range(3):
            for unit in range((depth - 4) // 6):
                stride = 2 if group and not unit else 1
                self.units.append(ResidualUnit(width, 16 * widen * 2**group, stride, early=group == 0))
                width = 16 * widen * 2**group
        self.norm = nn.BatchNorm2d(width)
        self.dim = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size)
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan_out))

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps ``(N, C, 8, 8)`` of normalised images ``(N, 3, 32, 32)``; C is 64 `widen`."""
        if self.training:
            assert self.norm.num_batches_tracked is not None
            momentum = max(NORM_MOMENTUM, 1 / (1 + int(self.norm.num_batches_tracked)))
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = momentum
        return functional.leaky_relu(self.norm(self.units(self.stem(images))), SLOPE)


class Cssr(Method):
    """Autoencoders 256 -> 64 -> 256 over `WideResNet`; 8,946,640 + 32,768 K learnable parameters.

    As for ARPL (hcep.methods.arpl), every frame is an image of 32 pixels, here with the clip's label. A clip's class
    probabilities are the mean over its frames, and so is its score: each frame is scored for the class that it is
    itself predicted as.

    Recipe (``basic.json``), the row ``cssr`` of the configuration: SGD without momentum, lr 0.4, decay 5e-4, 200
    epochs, 128 images a batch (16 clips of 8 frames). The rate falls to a tenth at epoch 120. Its second fall, at 190,
    is left out, since the loop knows equal steps only. Augmentation: mirroring, crop with 4 mirrored pixels of margin,
    two operations of the authors' pool with probability 1/2 each, a grey square, contrast times U(0.1, 2). The row is
    r-CSSR, whose released CIFAR configuration is the one with this network; `cssr_logits` ``p`` gives p-CSSR.

    The score's statistics are taken after training, over the training frames without augmentation. The release takes
    the means and deviations of S0, S1, S2 with augmentation, since by then it has left its test mode again. Before
    `finish` (and so for ``selection: best_on_test``) the score is S0 alone.

    `rival_score`: ``official`` = S0 + S1 + S2, ``msp`` = log of the largest probability. The release too chooses its
    network by configuration (`cssr_depth`, `cssr_widen`). A batch in parts (`micro_batch`) has other batch statistics.
    """

    inputs: ClassVar[Literal["media", "features"]] = "media"
    towers: ClassVar[tuple[str, ...]] = ()
    splittable: ClassVar[bool] = False

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.network = WideResNet(settings["cssr_depth"], settings["cssr_widen"])
        self.autoencoders = ClassAutoencoders(len(self.classes), self.network.dim)
        self.statistics = ScoreStatistics(len(self.classes), self.network.dim, settings["cssr_logits"])

    def maps(self, images: Tensor, absent: Tensor) -> Maps:
        """Feature maps and logits of images uint8 ``(N, 3, 32, 32)``; an absent video is zeros after normalisation."""
        varied = self.training and self.settings["augmentation"] == "official"
        if varied:
            images = strong_variants(shift_and_flip(images, SHIFT, reflect=True))
        pixels = (images.float() / 255 - MEAN) / STD
        if varied:
            pixels = pixels * uniform(len(pixels), *CONTRAST, pixels.device)[:, None, None, None]
        with self.encoding():
            features = self.network(pixels.masked_fill(absent, 0.0)).float()
        return Maps(features, reconstruction_logits(self.autoencoders(features), self.settings["cssr_logits"]))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``: minus the log probability of the clip's class, mean over clips and frames."""
        frames = frames_of(batch)
        maps = self.maps(small_images(frames, SIDE), absent_images(batch))
        by_frame = log_probabilities(maps.logits).unflatten(0, frames.shape[:2])
        label = batch.label[:, None].expand(by_frame.shape[:2])
        return {
            "loss_cls": functional.nll_loss(by_frame.flatten(0, 1), label.flatten()),
            "accuracy": accuracy(_mean_over_frames(by_frame), batch.label),
        }

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Gather what the score compares a frame with, over all training frames."""
        self.eval()
        # the images are small, and are read twice
        held = [(small_images(frames_of(batch), SIDE), absent_images(batch)) for batch in batches]

        def read() -> Iterator[Maps]:
            for images, absent in held:
                for part in zip(images.split(PART), absent.split(PART), strict=True):
                    yield self.maps(*part)

        self.statistics.fit(read)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Log probabilities, mean over frames, as logits; the official score is S0 + S1 + S2, mean over frames."""
        shape = frames_of(batch).shape[:2]
        maps = self.maps(small_images(frames_of(batch), SIDE), absent_images(batch))
        logits = _mean_over_frames(log_probabilities(maps.logits.double()).unflatten(0, shape))
        if self.settings["rival_score"] == "official":
            parts = zip(maps.features.split(PART), maps.logits.split(PART), strict=True)
            score = torch.cat([self.statistics(Maps(*part)) for part in parts]).unflatten(0, shape).mean(dim=1)
        else:
            score = logits.max(dim=1).values
        features = maps.features.mean(dim=(2, 3)).unflatten(0, shape).mean(dim=1)
        return Prediction(logits, score, {"vision": features})


def _mean_over_frames(by_frame: Tensor) -> Tensor:
    """Log of the mean probability ``(B, K)`` from log probabilities of frames ``(B, F, K)``."""
    return by_frame.logsumexp(dim=1) - math.log(by_frame.shape[1])
