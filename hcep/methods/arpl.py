"""ARPL as its authors run it: a small network on face frames, trained from scratch.

Network and recipe are those of the authors' repository (hcep.methods.head cites both; ``models/models.py``
classifier32, ``osr.py``, ``datasets/osr_dataloader.py``). Its number of parameters is the one that the paper's Table 8
prints for ARPL, so this, without any pretrained encoder, is what that row stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.methods.frames import absent_images, frames_of, shift_and_flip, small_images
from hcep.methods.head import POINT_STD, arpl_distance, arpl_losses
from hcep.methods.method import Batch, Method, Prediction, Sizes

SIDE = 32
SHIFT = 4  # pixels
WIDTHS = (64, 64, 128, 128, 128, 128, 128, 128, 128)  # every third convolution halves the side
DROPOUT = 0.2
SLOPE = 0.2
CONV_STD, NORM_STD = 0.05, 0.02


class Classifier32(nn.Module):
    """Nine 3 x 3 convolutions with batch normalisation and leaky ReLU, averaged over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for i, (before, width) in enumerate(pairwise((3, *WIDTHS))):
            self.convs.append(nn.Conv2d(before, width, 3, stride=2 if i % 3 == 2 else 1, padding=1, bias=False))
            self.norms.append(nn.BatchNorm2d(width))
        self.dim = WIDTHS[-1]
        # the authors' network holds a tenth normalisation that nothing passes through; Table 8 counts it
        self.unused_norm = nn.BatchNorm2d(self.dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, CONV_STD)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, NORM_STD)

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(N, 128)`` of images ``(N, 3, S, S)`` in [0, 1]."""
        x = images
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = functional.dropout2d(x, DROPOUT, self.training) if i % 3 == 0 else x
            x = functional.leaky_relu(norm(conv(x)), SLOPE)
        return x.mean(dim=(2, 3))


class Arpl(Method):
    """Reciprocal points over `Classifier32`; 997,056 + 2,304 + 256 K + 1 learnable parameters.

    The authors take images, the paper does not say what it made of a clip. Here every frame is an image, resized to 32
    pixels (their size), with pixels in [0, 1]; the features of a clip's frames are averaged before the points.

    Recipe (``osr.py``), the row ``arpl`` of the configuration: SGD with lr 0.1, momentum 0.9 and decay 1e-4 on
    everything, points and radius included; 64 clips a batch, 100 epochs, a tenth of the rate every 30. Random crop
    with 4 pixels of black margin and mirroring, for each frame on its own. The last epoch is kept.

    The official score is the largest raw logit (`rival_score`). A batch in parts (`micro_batch`) has other batch
    statistics.
    """

    inputs: ClassVar[Literal["media", "features"]] = "media"
    towers: ClassVar[tuple[str, ...]] = ()
    splittable: ClassVar[bool] = False

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.network = Classifier32()
        self.points = nn.Parameter(POINT_STD * torch.randn(len(self.classes), self.network.dim))
        self.radius = nn.Parameter(torch.zeros(1))
        # the authors' linear layer, whose output their loss does not read; Table 8 counts it
        self.unused_classifier = nn.Linear(self.network.dim, len(self.classes), bias=False)

    def features(self, batch: Batch) -> Tensor:
        """One feature per clip ``(B, 128)``; a clip without video is black."""
        frames = frames_of(batch)
        images = small_images(frames, SIDE)
        if self.training and self.settings["augmentation"] == "official":
            images = shift_and_flip(images, SHIFT, reflect=False)
        pixels = (images.float() / 255).masked_fill(absent_images(batch), 0.0)
        with self.encoding():
            features = self.network(pixels)
        return features.float().unflatten(0, frames.shape[:2]).mean(dim=1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_margin`` of `arpl_losses`."""
        return arpl_losses(self.features(batch), self.points, self.radius, batch.label)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Distances to the reciprocal points as logits; the official score is the largest of them."""
        features = self.features(batch)
        logits = arpl_distance(features.double(), self.points.double())
        return Prediction(logits, self.usual_score(logits), {"vision": features})
