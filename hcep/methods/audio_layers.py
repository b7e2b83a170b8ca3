"""Learned weights over the hidden states of the audio model, in front of a method on cached features.

Yang et al.: "SUPERB: Speech processing Universal PERformance Benchmark", Interspeech 2021, section 3: a task reads the
sum of all hidden states, weighted by a softmax that is learned with the rest. Features are means over time, which the
sum over layers commutes with, so that the means of every layer can be cached.

Shapes: B clips, L hidden states (what enters the first block, and each block's output), D feature dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from hcep.errors import HcepError
from hcep.methods.method import Batch, Method, Prediction, Sizes
from hcep.methods.optimiser import OptimiserGroup


class LearnedLayers(Method):
    """A method's first base class that hands it one audio feature instead of L, by weights that learn with it.

    Attributes
    ----------
    audio_layers : Tensor (L,)
        The weights are its softmax: at the start, 0, all are the same, and the feature is the mean. Adam moves it, as
        in SUPERB, at a rate of its own, ``audio_layers_lr``.
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.audio_layers = nn.Parameter(torch.zeros(sizes.layers))

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """The method's own, and one for the weights, without decay."""
        own = super().parameter_groups(settings)
        own = [group._replace(params=[p for p in group.params if p is not self.audio_layers]) for group in own]
        return [*own, OptimiserGroup("audio_layers", [self.audio_layers], "adam", settings["audio_layers_lr"])]

    def mixed(self, batch: Batch) -> Batch:
        """The batch with audio features ``(B, D)``."""
        # a method whose loss calls its own prediction has them mixed already
        if batch.audio is None or batch.audio.dim() == 2:
            return batch
        weights = self.audio_layers.softmax(dim=0)
        return batch._replace(audio=(weights[:, None] * batch.audio).sum(dim=1))

    def begin(self, batches: Iterable[Batch]) -> None:
        """As the method, on mixed features."""
        super().begin(map(self.mixed, batches))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """As the method, on mixed features."""
        return super().loss(self.mixed(batch))

    def finish(self, batches: Iterable[Batch]) -> None:
        """As the method, on mixed features."""
        super().finish(map(self.mixed, batches))

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """As the method, on mixed features, and these are what it hands out."""
        return super().predict(self.mixed(batch))

    def diagnostics(self) -> dict[str, float]:
        """The method's own, and the weight of every hidden state, ``audio_layer_0`` to ``audio_layer_{L - 1}``."""
        weights = self.audio_layers.detach().softmax(dim=0).tolist()
        return super().diagnostics() | {f"audio_layer_{number}": weight for number, weight in enumerate(weights)}


def build_method(
    method_class: type[Method], classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]
) -> Method:
    """A method, with weights over the hidden states of the audio model where it gets all of them (`Sizes.layers`).

    Raises
    ------
    HcepError
        When the method gets all of them and does not read ``audio_layers_lr``: because it takes no steps, or encodes
        sound itself.
    """
    if not sizes.layers or "audio" not in method_class.towers:
        return method_class(classes, sizes, encoders, settings)
    if "audio_layers_lr" not in settings:
        cause = f"{method_class.__name__} cannot learn weights of the audio layers"
        raise HcepError(cause, remedy="set the encoder's `audio_layers` to mean or to a list, as [6, 12]")
    learning = cast("type[Method]", type(f"LearnedLayers{method_class.__name__}", (LearnedLayers, method_class), {}))
    return learning(classes, sizes, encoders, settings)
