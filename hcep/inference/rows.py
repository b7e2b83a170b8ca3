"""Batches in which a clip gets the same numbers whatever stands beside it, and the numbers of the run's own scores.

On the CPU the last bits of a product depend on how many rows it has: what is left over of them behind the last four
goes through other code of the library. A sum over the tokens of a text takes another order where the longest text of
the batch is longer. Neither matters for a decision, but both would make an answer depend on the other clips of a
command. So every batch gets further rows, to a multiple of `ROWS`, and the first of these has words as long as the
longest of the run's test clips, so that the numbers are also those in its scores.h5 (docs/predict.md says when).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hcep.encoders.folder import Encoders
from hcep.methods.method import Batch, Prediction

# each of as many rows gets the same bits in products of them, of twice as many, and so on
ROWS = 4


class FilledRows:
    """Fills up batches, and takes the further rows from what they gave.

    Parameters
    ----------
    encoders : Encoders
        What the batches go to; the frames of further rows, which are those of the first row, are encoded again
        only where a clip has few.
    tokens : int
        Length that words are brought to, start and end mark included.
    """

    def __init__(self, encoders: Encoders, tokens: int) -> None:
        room = min(tokens, encoders.text.context)
        self._ruler = encoders.text.tokenize(["a " * (room - 2)])[0, :room]
        self._share = (0, 0)
        vision: Any = encoders.vision
        plain = vision.encode_frames

        def encode_frames(frames: Tensor, absent: Tensor, prompts: Tensor | None = None) -> Tensor:
            own, rows = self._share
            each = len(frames) // max(rows, 1)
            if not rows or each * rows != len(frames):
                return plain(frames, absent, prompts)
            encoded = max(own, -(-ROWS // each))
            found = plain(frames[: encoded * each], absent[: encoded * each], prompts)
            return torch.cat([found, *[found[:each]] * (rows - encoded)])

        vision.encode_frames = encode_frames

    def __call__(self, batch: Batch) -> Batch:
        """The batch with its further rows."""
        own = len(batch.row)
        rows = -(-(own + 1) // ROWS) * ROWS
        self._share = (own, rows)
        place = torch.tensor([*range(own), *[0] * (rows - own)])
        held = {name: value for name, value in batch._asdict().items() if value is not None}
        found = {name: value[place.to(value.device)] for name, value in held.items()}
        # no clip has the number 0
        found["row"][own:] = 0
        ruler, tokens = self._ruler.to(batch.missing.device), found["tokens"]
        longest = max(tokens.shape[1], len(ruler))
        found["tokens"] = torch.nn.functional.pad(tokens, (0, longest - tokens.shape[1]))
        found["tokens"][own] = torch.nn.functional.pad(ruler, (0, longest - len(ruler)))
        return Batch(**found)

    def own(self, found: Prediction) -> Prediction:
        """What was predicted of the batch's own clips."""
        own, self._share = self._share[0], (0, 0)
        return Prediction(found.logits[:own], found.score[:own], {})
