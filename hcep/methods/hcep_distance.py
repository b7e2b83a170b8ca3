"""HCEP as it is, with a score that measures how far a clip is from all that is known.

HCEP's own score does not: |x|^2 cancels in its eq. 6 to 8 (`hcep.methods.dpol`). Labels stay those of its logits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from hcep.evaluation.distance import Distance
from hcep.methods.arrays import Arrays, clip_arrays
from hcep.methods.distance_mm import fit, held_out_score
from hcep.methods.hcep import HCEP
from hcep.methods.method import MODALITIES, Batch, Features, Sizes


class HCEPDistance(HCEP):
    """HCEP; its score is that of `distance_mm` on the features of eq. 3: z(-D) + z(max L).

    D and L are fitted after the last step, on the known training clips with SMEP's prompts in them. With frozen prompts
    this is the control. A modality that is missing is left out of D and L, whatever stands in for it in HCEP's own
    logits. Settings read: those of HCEP but `score`, and those of `Options`.
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        self.widths = {name: getattr(sizes, name) for name in MODALITIES}
        self.arrays = Arrays(Distance.blank(self.widths, len(self.classes)).state())

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Encode the training clips once more and fit, on the CPU, in float64."""
        self.arrays.keep(fit(self._encoded(batches), len(self.classes), self.settings).state())

    @torch.no_grad()
    def training_score(self, batches: Iterable[Batch]) -> Tensor:
        """By fits on other groups; the prompts have seen all of them."""
        fitted = Distance.from_state(self.widths, self.arrays.state())
        return held_out_score(fitted, self._encoded(batches), self.settings)

    def _encoded(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Clips with their features of eq. 3 in the place of media."""
        for batch in batches:
            own = self.features(batch)._asdict()
            yield Batch(batch.row, batch.label, batch.missing, group=batch.group, **own)

    def clip_score(self, batch: Batch, features: Features, logits: Tensor) -> Tensor:
        """z(-D) + z(max L) ``(B,)`` in float64; -1e30 for a clip without any modality."""
        if self.arrays.count_products(batch):
            return super().clip_score(batch, features, logits)
        fitted = Distance.from_state(self.widths, self.arrays.state())
        return torch.from_numpy(fitted.predict(*clip_arrays(batch._replace(**features._asdict())))[2])
