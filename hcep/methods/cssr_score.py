"""CSSR's reconstruction, logits, probabilities and score on feature maps.

Huang, Wang, Hu, Cheng: "Class-Specific Semantic Reconstruction for Open Set Recognition", TPAMI 2023; constants from
the authors' repository (xyzedd/CSSR@d5a99e9: ``methods/cssr.py``, ``configs/basic.json``). One autoencoder per class,
without bias and with one tanh, reconstructs every position of a feature map; how badly it does is the class's logit.

Shapes: N images, K classes, C channels, H x W positions, L latent size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Variant = Literal["p", "r"]

LATENT = 64
GAMMA = 0.1
LIMIT = 100.0  # on |logit|
GRAM_POWER = 8
TINY = 1e-8  # against division by 0; the release adds as much to a deviation


class Maps(NamedTuple):
    """Of N images: feature map ``(N, C, H, W)`` and logits ``(N, K, H, W)``."""

    features: Tensor
    logits: Tensor


class ClassAutoencoders(nn.Module):
    """K autoencoders C -> L -> C over channels; ``2 K C L`` parameters."""

    def __init__(self, classes: int, channels: int, latent: int = LATENT) -> None:
        super().__init__()
        # the start values of torch's convolution without bias
        self.encode = nn.Parameter(torch.empty(classes, latent, channels).uniform_(-1, 1) / math.sqrt(channels))
        self.decode = nn.Parameter(torch.empty(classes, channels, latent).uniform_(-1, 1) / math.sqrt(latent))

    def forward(self, features: Tensor) -> Tensor:
        """Errors ``|D_k tanh(E_k z) - z|_1`` over channels, ``(N, K, H, W)``, of features z ``(N, C, H, W)``."""
        positions = features.flatten(2)
        latent = torch.tanh(torch.einsum("klc,ncp->nklp", self.encode, positions))
        rebuilt = torch.einsum("kcl,nklp->nkcp", self.decode, latent)
        errors = (rebuilt - positions[:, None]).abs().sum(dim=2)
        return errors.unflatten(2, features.shape[2:])


def reconstruction_logits(errors: Tensor, variant: Variant) -> Tensor:
    """``-gamma e`` (p-CSSR: the own class rebuilds best) or ``+gamma e`` (r-CSSR: it rebuilds worst), within +-100."""
    sign = -1.0 if variant == "p" else 1.0
    return (sign * GAMMA * errors).clamp(-LIMIT, LIMIT)


def log_probabilities(logits: Tensor) -> Tensor:
    """Log of the mean over positions of softmax over classes: ``(N, K)`` from logits ``(N, K, H, W)``."""
    by_position = logits.log_softmax(dim=1).flatten(2)
    return by_position.logsumexp(dim=2) - math.log(by_position.shape[2])


def logit_score(maps: Maps, prediction: Tensor, variant: Variant) -> Tensor:
    """S0 ``(N,)``: mean over positions of the predicted class's logit; p-CSSR divides it twice by the mean ``|z|``."""
    own = maps.logits.flatten(2)[torch.arange(len(prediction), device=prediction.device), prediction]
    if variant == "p":
        # without video an untrained network has features of exactly 0
        own = own / maps.features.abs().mean(dim=1).flatten(1).square().clamp_min(TINY)
    return own.mean(dim=1)


def activation_score(features: Tensor, shares: Tensor, prediction: Tensor) -> Tensor:
    """S1 ``(N,)``: mean over channels and positions of ``omega z``, omega = row `prediction` of `shares` ``(K, C)``."""
    return (features.flatten(2).mean(dim=2) * shares[prediction]).mean(dim=1)


def gram(features: Tensor) -> Tensor:
    """``|z^8 (z^8)^T|^(1/8)`` over positions ``(N, C, C)``, float64: an eighth power leaves float32's range early."""
    powers = features.flatten(2).double() ** GRAM_POWER
    return (powers @ powers.transpose(1, 2)) ** (1 / GRAM_POWER)  # an even power: no sign to keep


def gram_score(features: Tensor, grams: Tensor, prediction: Tensor) -> Tensor:
    """S2 ``(N,)``: the image's Gram matrix times that of its predicted class, row of `grams` ``(K, C, C)``, summed."""
    return (gram(features) * grams[prediction]).sum(dim=(1, 2))


class ScoreStatistics(nn.Module):
    """What the score needs to know of the training images; buffers only.

    Attributes
    ----------
    shares : Tensor (K, C)
        Mean ``|z|`` of the images predicted as each class, normalised over classes (omega); 0 for a class that no
        image was predicted as.
    grams : Tensor (K, C, C)
        Mean Gram matrix of the same images.
    mean, std : Tensor (3,)
        Of S0, S1, S2 over the training images. Until `fit` they are 0 and 1, and the score is S0 alone.
    """

    def __init__(self, classes: int, channels: int, variant: Variant) -> None:
        super().__init__()
        self.variant: Variant = variant
        self.shares = nn.Buffer(torch.zeros(classes, channels, dtype=torch.float64))
        self.grams = nn.Buffer(torch.zeros(classes, channels, channels, dtype=torch.float64))
        self.mean = nn.Buffer(torch.zeros(3, dtype=torch.float64))
        self.std = nn.Buffer(torch.ones(3, dtype=torch.float64))

    @torch.no_grad()
    def fit(self, read: Callable[[], Iterable[Maps]]) -> None:
        """Take the statistics of the training images; `read` is called twice and gives them in parts of any size.

        Images are grouped by predicted class, as in the release, not by label.
        """
        counts = torch.zeros(len(self.shares), dtype=torch.float64, device=self.shares.device)
        activation, grams = torch.zeros_like(self.shares), torch.zeros_like(self.grams)
        for maps in read():
            prediction = log_probabilities(maps.logits).argmax(dim=1)
            counts.index_add_(0, prediction, torch.ones_like(prediction, dtype=torch.float64))
            activation.index_add_(0, prediction, maps.features.abs().flatten(2).double().mean(dim=2))
            grams.index_add_(0, prediction, gram(maps.features))
        seen = counts.clamp_min(1)
        activation /= seen[:, None]
        self.shares.copy_(activation / activation.sum(dim=0).clamp_min(TINY))
        self.grams.copy_(grams / seen[:, None, None])
        parts = torch.cat([self.parts(maps) for maps in read()])
        self.mean.copy_(parts.mean(dim=0))
        self.std.copy_(parts.std(dim=0, correction=0) + TINY)

    def parts(self, maps: Maps) -> Tensor:
        """S0, S1 and S2 of every image: ``(N, 3)``, float64."""
        maps = Maps(maps.features.double(), maps.logits.double())
        prediction = log_probabilities(maps.logits).argmax(dim=1)
        s0 = logit_score(maps, prediction, self.variant)
        s1 = activation_score(maps.features, self.shares, prediction)
        return torch.stack([s0, s1, gram_score(maps.features, self.grams, prediction)], dim=1)

    def forward(self, maps: Maps) -> Tensor:
        """Score ``(N,)``, higher = more known: the sum of the z-scored S0, S1, S2."""
        return ((self.parts(maps) - self.mean) / self.std).sum(dim=1)
