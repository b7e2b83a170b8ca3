"""What a learnable part of HCEP says about itself, so that `HCEP` need not know its parameters by name."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

Sign = Literal["pos", "neg"]
Signs = frozenset[Sign]
NEITHER: Signs = frozenset()
POSITIVE: Signs = frozenset({"pos"})
NEGATIVE: Signs = frozenset({"neg"})


class Part(nn.Module):
    """Prompts, class texts or points.

    Attributes
    ----------
    group : {"head", "pixels", "semantic", "tokens"}
        Optimiser group of the parameters: ``head`` for vectors in the fused space, which learn as the fusion head does;
        ``pixels`` for images and waveforms; ``semantic`` for vectors among tokens, with the maps between them;
        ``tokens`` for class prompts of a token's size, which have a rate of their own.
    signs : set of {"pos", "neg"}
        The class texts, or images and waveforms, that a loss reads; the others are neither learned nor encoded.
    """

    group: ClassVar[Literal["head", "pixels", "semantic", "tokens"]]
    signs: Signs = NEITHER

    def reached(self) -> dict[str, Tensor]:
        """The parameters on which a loss depends, by name, in the order of `parameters`; no other one is learned.

        Without an own definition they are those of the signs in use: their names end in their sign.
        """
        return {name: value for name, value in self.named_parameters() if name[-3:] in self.signs}

    def recorded(self) -> dict[str, Tensor]:
        """The tensors whose movement the history records, by name; by default those that a loss reaches."""
        return self.reached()
