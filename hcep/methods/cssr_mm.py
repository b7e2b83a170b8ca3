"""CSSR on frozen CLIP and wav2vec 2.0 features: an autoencoder per class on the fused feature.

Constants are those of the authors' repository (hcep.methods.cssr_score cites it and their paper; ``pcssr.json``,
``rcssr.json``). This is an extra row: the HCEP paper's CSSR is a network on face frames, trained from scratch.

The fused feature takes the place of a feature map with one position, and the head learns with the autoencoders, as the
authors' backbone does. This has two consequences. The third part of their score compares Gram matrices over positions.
With one position such a matrix is ``|z| |z|^T`` and says nothing more than ``|z|``, so this part is left out. Their
features come out of a ReLU and equal their absolute value. Fused features do not, so ``|z|`` stands for their z in the
second part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hcep.methods.class_means import class_means
from hcep.methods.cssr_score import LATENT, TINY, reconstruction_logits
from hcep.methods.feature_method import FeatureMethod
from hcep.methods.method import Batch, Sizes


class CssrMM(FeatureMethod):
    """Autoencoders m -> 64 -> m without bias, tanh inside; 1,705,984 + 65,536 K learnable parameters at full size.

    `cssr_logits`: ``p`` = minus the reconstruction error, ``r`` = plus it. `rival_score`: ``official`` = sum of the two
    parts, each standardised over the training clips; ``msp`` = log max-softmax.

    Attributes
    ----------
    typical : Tensor (K, m)
        Mean ``|z|`` of the training clips predicted as a class, divided by its sum over classes; 1 / K before `finish`.
    score_mean, score_std : Tensor (2,)
        Mean and deviation of the two parts of the score over the training clips; 0 and 1 before `finish`.
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        count, dim = len(self.classes), self.head.dim
        # start values of a 1 x 1 convolution
        self.encode = nn.Parameter(torch.empty(count, LATENT, dim).uniform_(-(dim**-0.5), dim**-0.5))
        self.decode = nn.Parameter(torch.empty(count, dim, LATENT).uniform_(-(LATENT**-0.5), LATENT**-0.5))
        self.typical = nn.Buffer(torch.full((count, dim), 1 / count))
        self.score_mean = nn.Buffer(torch.zeros(2))
        self.score_std = nn.Buffer(torch.ones(2))

    def logits(self, fused: Tensor) -> Tensor:
        """``-+ 0.1 |AE_k(z) - z|_1`` ``(B, K)``, kept within -100 and 100, of features ``(B, m)``."""
        latent = torch.tanh(torch.einsum("bm,klm->bkl", fused, self.encode.to(fused.dtype)))
        rebuilt = torch.einsum("bkl,kml->bkm", latent, self.decode.to(fused.dtype))
        error = (rebuilt - fused[:, None]).abs().sum(dim=2)
        return reconstruction_logits(error, self.settings["cssr_logits"])

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Typical activations by *predicted* class, then mean and deviation of the score's parts, all in float64."""
        held = [self.fused(batch).double() for batch in batches]
        size, logit = torch.cat(held).abs(), torch.cat([self.logits(fused) for fused in held])
        means = class_means(size, logit.argmax(dim=1), len(self.classes))
        self.typical.copy_(means / means.sum(dim=0).clamp_min(torch.finfo(means.dtype).tiny))
        parts = self._parts(size, logit)
        self.score_mean.copy_(parts.mean(dim=0))
        self.score_std.copy_(parts.std(dim=0, correction=0))

    def score(self, logits: Tensor, fused: Tensor) -> Tensor:
        """The sum of the standardised parts, or log max-softmax (`rival_score`)."""
        if self.settings["rival_score"] == "msp":
            return super().score(logits, fused)
        parts = self._parts(fused.abs(), logits)
        return ((parts - self.score_mean) / (self.score_std.double() + TINY)).sum(dim=1)

    def _parts(self, size: Tensor, logits: Tensor) -> Tensor:
        """Parts ``(B, 2)`` of the score from ``|z|`` ``(B, m)``: the own logit, and agreement with typical ``|z|``."""
        best, predicted = logits.max(dim=1)
        own = best if self.settings["cssr_logits"] == "r" else best / size.mean(dim=1).square()
        return torch.stack([own, (self.typical.double()[predicted] * size).mean(dim=1)], dim=1)
