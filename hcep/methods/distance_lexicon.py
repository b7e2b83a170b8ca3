"""`distance_mm` with a third part in its score: whether the words of the known classes fit the picture best.

CLIP can tell how well any word fits a frame. Among a fixed list of emotion words, the share that goes to the known
classes falls where another emotion is seen. The list names emotions that are no known class, so the method knows more
of the world than its rivals: every table marks it (`lexicon`), and a second row has a list without any class name of
the corpus.

Shapes: B clips, N words, D width of the text and vision features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hcep.evaluation.distance import LOWEST
from hcep.methods.distance_mm import DistanceMM
from hcep.methods.emotion_words import EMOTION_WORDS
from hcep.methods.method import MODALITIES, Batch, Prediction, Sizes, cached_features

VISION = MODALITIES.index("vision")


class DistanceLexicon(DistanceMM):
    """Label: that of `DistanceMM`. Score: z(-D) + z(max L) + z(log P).

    P is the share of the known classes' words in a softmax over all words w of ``lexicon_scale * cos(v, t_w)``: v is
    the clip's vision feature, t_w that of CLIP's text tower for "This video is <w>". z() of log P takes mean and
    deviation over the training clips, which nothing in P was fitted to. A clip without video gets 0, the training mean.

    Settings read: those of `DistanceMM`, ``lexicon``, ``lexicon_scale`` and ``words``.

    Attributes
    ----------
    others : list of str
        The words that stand against those of the known classes.
    word_features : float64 Tensor (N, D)
        Unit length, the known classes first.
    share_centre, share_scale : float64 Tensor ()
        Mean and deviation of log P over the training clips.
    """

    word_features: Tensor
    share_centre: Tensor
    share_scale: Tensor

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        corpus = settings["words"]
        excluded = set(self.words)
        if settings["lexicon"] == "outside":
            excluded |= {name.replace("_", " ").lower() for pair in corpus.items() for name in pair}
        self.others = [word for word in EMOTION_WORDS if word not in excluded]
        count = len(self.words) + len(self.others)
        self.register_buffer("word_features", torch.zeros(count, sizes.text, dtype=torch.float64))
        self.register_buffer("share_centre", torch.zeros((), dtype=torch.float64))
        self.register_buffer("share_scale", torch.ones((), dtype=torch.float64))

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Encode the words, and fit on the training clips."""
        batches = list(batches)
        super().finish(batches)
        texts = [f"This video is {word}" for word in (*self.words, *self.others)]
        tokens = self.encoders.text.tokenize(texts).to(self.word_features.device)
        self.word_features.copy_(functional.normalize(self.encoders.text(tokens).double(), dim=1))
        shares = torch.cat([self.log_share(batch)[~batch.missing[:, VISION]] for batch in batches])
        if len(shares):
            self.share_centre.copy_(shares.mean())
            deviation = shares.std(correction=0)
            self.share_scale.copy_(torch.where(deviation > 0, deviation, 1.0))

    def training_score(self, batches: Iterable[Batch]) -> Tensor:
        """As `DistanceMM`; no training clip has decided its share."""
        batches = list(batches)
        return super().training_score(batches) + torch.cat([self._third(batch).cpu() for batch in batches])

    def _third(self, batch: Batch) -> Tensor:
        """z(log P) ``(B,)``, 0 without video."""
        part = (self.log_share(batch) - self.share_centre) / self.share_scale
        return part.masked_fill(batch.missing[:, VISION], 0.0)

    def log_share(self, batch: Batch) -> Tensor:
        """log P ``(B,)`` in float64."""
        vision = functional.normalize(cached_features(batch).vision.double(), dim=1)
        fits = (self.settings["lexicon_scale"] * vision @ self.word_features.T).log_softmax(dim=1)
        return fits[:, : len(self.words)].logsumexp(dim=1)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """As `DistanceMM`, with the third part in the score."""
        found = super().predict(batch)
        score = found.score.to(self.word_features.device)
        return found._replace(score=torch.where(score > LOWEST, score + self._third(batch), score))
