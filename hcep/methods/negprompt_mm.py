"""NegPrompt on frozen CLIP: one learned context that says what a class is, and two that say what it is not.

Li, Pang, Bai, Miao, Zheng: "Learning Transferable Negative Prompts for Out-of-Distribution Detection", CVPR 2024;
losses, start values and score from the authors' repository (mala-lab/NegPrompt@c680adf: ``models/models.py``,
``core/train_clip.py``, ``core/test_clip.py``, ``osr_nega_prompt.py``, ``scripts/train_test_openset.py``). Stage 1 is
CoOp: Zhou, Yang, Loy, Liu: "Learning to Prompt for Vision-Language Models", IJCV 2022.

Theirs: two negative contexts, shared by the classes, so that each class has two negative prompts; negatives start at
the learned positive context plus uniform noise of 1e-5; in stage 2 the positive context is frozen; the three losses and
their weights 1, 0.1 and 0.05; SGD with rate 0.1 and neither momentum nor decay; batch 64; 100 epochs, then 15. (The
release sets the 15 under a name that its loop does not read.) CoOp's: 16 tokens from N(0, 0.02^2), rate 0.002,
momentum 0.9, decay 5e-4; the release runs stage 1, too, at 0.1, and, where a template gives words, with its 4 words.
Of what the paper itself prints, only its abstract could be read.

Our own: rates stay as they are within a stage (theirs follow a cosine, which the release advances with every batch, and
CoOp's begins with an epoch at 1e-5); no random crops, since the cache holds frames at fixed places; the last epoch is
kept. The release keeps the epoch with the best AUROC on test clips: ``negprompt_mm_released`` does the like among the
epochs of stage 2, by AUROC + OSCR.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.errors import HcepError
from hcep.methods.class_text import CLASS_TOKENS
from hcep.methods.dpol import emotion_logits
from hcep.methods.frames import absent_images, frames_of
from hcep.methods.method import Batch, Method, Prediction, Sizes, accuracy, log_max_softmax, movements
from hcep.methods.optimiser import OptimiserGroup
from hcep.methods.smep import PROMPT_STD

NEGATIVES = 2
START_NOISE = 1e-5
DISTANCE_WEIGHT = 0.1
SPREAD_WEIGHT = 0.05


def image_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Multi-label soft margin of logits ``(1 + N, B, K)`` of the positive and N negative prompts, a scalar.

    Mean over prompts and clips of a binary cross-entropy whose target is 1 for all prompts of a clip's own class: the
    negative prompts of the other classes are pushed away from the clip, those of its own are not.
    """
    own = functional.one_hot(label, logits.shape[2]).to(logits.dtype).expand_as(logits)
    return functional.binary_cross_entropy_with_logits(logits, own)


def distance_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Minus the mean of ``1 - cos(p_k, n_jk)``, of unit features ``(K, m)`` and ``(N, K, m)``; a scalar."""
    return (negative * positive).sum(dim=2).mean() - 1


def spread_loss(negative: Tensor) -> Tensor:
    """Minus the mean of ``1 - cos(n_jk, mean over j of n_jk)`` of unit features ``(N, K, m)``; a scalar.

    For unit features the mean of these cosines over j is the length of their mean.
    """
    return negative.mean(dim=0).norm(dim=1).mean() - 1


class NegPromptMM(Method):
    """Negative prompts beside learned positive ones, in CLIP's frozen text tower; 3 x 16 x 512 learnable parameters.

    What of a clip is compared with the prompts: F_V, the mean over frames of CLIP's image features, alone, as in HESP
    and Open-VCLIP. Only it shares CLIP's space with the prompts as the authors' images do, so that the method starts
    from zero-shot CLIP, as theirs. The fused feature starts from a random head, and the features of words and sound lie
    elsewhere: with them it would be another method. A clip without video is a frame of zeros after normalisation.

    Prompts: the context's tokens, then the class's word. Cosines ``c_k`` with the positive prompts and ``c_jk`` with
    the negative ones; logits s c, s = `cosine_scale`.

    Stage 1, all epochs but the last `negative_epochs`: ``loss_positive``, the cross-entropy of s c_k. Stage 2:
    ``loss_image`` + 0.1 x ``loss_distance`` + 0.05 x ``loss_spread`` move the negative contexts alone.

    Class: largest c_k. Score: log of the largest share of a positive prompt in the softmax, at temperature 1, of all
    ``(1 + N) K`` cosines (the release's ``msp``; the option that its script names does not exist in its test), or log
    max-softmax of the logits s c_k (`rival_score: msp`).

    Attributes
    ----------
    positive, negative : Parameter (16, W), (2, 16, W)
        Contexts of W-dimensional tokens.
    steps : int64 Tensor ()
        Steps taken so far.
    """

    inputs: ClassVar[Literal["media", "features"]] = "media"
    towers: ClassVar[tuple[str, ...]] = ("vision",)

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        width = encoders.text.width
        self.positive = nn.Parameter(PROMPT_STD * torch.randn(CLASS_TOKENS, width))
        self.negative = nn.Parameter(self.positive.detach().repeat(NEGATIVES, 1, 1))
        self.tokens = nn.Buffer(encoders.text.tokenize(self.words), persistent=False)
        self.steps = nn.Buffer(torch.tensor(0))
        self.positive_steps = 1
        self.start = {name: value.detach().clone() for name, value in self.named_parameters()}
        self._known_images: dict[int, Tensor] = {}
        self._texts: Tensor | None = None

    @property
    def selectable(self) -> bool:
        """No epoch of stage 1 is kept, whose negative contexts have learned nothing."""
        return int(self.steps) > self.positive_steps

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """The run's SGD for the positive context, plain SGD with `negative_lr` for the negative ones."""
        return [
            OptimiserGroup.sgd("positive", [self.positive], settings),
            OptimiserGroup("negative", [self.negative], "sgd", settings["negative_lr"]),
        ]

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Encode all clips once, in a fixed order, and count the steps of stage 1.

        Raises
        ------
        HcepError
            When `negative_epochs` leaves no epoch for stage 1.
        """
        epochs, negative = self.settings["epochs"], self.settings["negative_epochs"]
        if negative >= epochs:
            cause = f"negative_epochs: {negative} of epochs: {epochs}"
            raise HcepError(cause, remedy="leave at least one epoch to the positive context")
        steps = sum(1 for batch in batches if len(self.images(batch)))
        self.positive_steps = steps * (epochs - negative)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Text features are stale; after the last step of stage 1 the negative contexts start from the positive one.

        The steps are counted in a buffer, and the noise comes from the generator that the loop restores, so that a
        resumed run is the same.
        """
        self._texts = None
        self.steps.fill_(step + 1)
        if step + 1 == self.positive_steps:
            noise = torch.empty(self.negative.shape).uniform_(-START_NOISE, START_NOISE)
            self.negative.copy_(self.positive + noise.to(self.negative.device))

    @torch.no_grad()
    def images(self, batch: Batch) -> Tensor:
        """F_V ``(B, m)``, of each clip encoded once: no prompt enters it."""
        rows = batch.row.tolist()
        if not all(row in self._known_images for row in rows):
            frames = frames_of(batch)
            absent = absent_images(batch).flatten()
            with self.encoding():
                encoded = self.encoders.vision.encode_frames(frames.flatten(0, 1), absent).float()
            found = encoded.view(*frames.shape[:2], -1).mean(dim=1)
            self._known_images.update(zip(rows, found, strict=True))
        return torch.stack([self._known_images[row] for row in rows])

    def texts(self, contexts: Tensor) -> Tensor:
        """Unit features ``(C, K, m)`` of the class's words behind contexts ``(C, 16, W)``."""
        count, classes = len(contexts), len(self.classes)
        with self.encoding():
            tokens = self.tokens.repeat(count, 1)
            found = self.encoders.text(tokens, contexts.repeat_interleave(classes, dim=0)).float()
        return functional.normalize(found, dim=1).view(count, classes, -1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of both stages, those of the other stage 0; with their weights."""
        image, scale = self.images(batch), self.settings["cosine_scale"]
        terms = {f"loss_{name}": image.new_zeros(()) for name in ("positive", "image", "distance", "spread")}
        if int(self.steps) < self.positive_steps:
            logits = emotion_logits(image, self.texts(self.positive[None])[0], scale)
            terms["loss_positive"] = functional.cross_entropy(logits, batch.label)
            return terms | {"accuracy": accuracy(logits, batch.label)}
        positive, *negatives = self.texts(torch.cat([self.positive.detach()[None], self.negative]))
        negative = torch.stack(negatives)
        logits = torch.stack([emotion_logits(image, text, scale) for text in (positive, *negative)])
        terms["loss_image"] = image_loss(logits, batch.label)
        terms["loss_distance"] = DISTANCE_WEIGHT * distance_loss(positive, negative)
        terms["loss_spread"] = SPREAD_WEIGHT * spread_loss(negative)
        return terms | {"accuracy": accuracy(logits[0], batch.label)}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Logits s c_k ``(B, K)``, score, and F_V."""
        if self._texts is None:
            self._texts = self.texts(torch.cat([self.positive[None], self.negative]))
        image = self.images(batch)
        cosine = emotion_logits(image.double(), self._texts.flatten(0, 1).double(), 1.0)
        logits = self.settings["cosine_scale"] * cosine[:, : len(self.classes)]
        if self.settings["rival_score"] == "msp":
            score = log_max_softmax(logits)
        else:
            score = cosine[:, : len(self.classes)].amax(dim=1) - torch.logsumexp(cosine, dim=1)
        return Prediction(logits, score, {"vision": image})

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """``movement_*`` of both contexts; ``gap_text`` = mean distance of a class's negative features from its own."""
        texts = self.texts(torch.cat([self.positive[None], self.negative]))
        gap = float((texts[1:] - texts[0]).norm(dim=2).mean())
        return movements({name: self.get_parameter(name) for name in self.start}, self.start) | {"gap_text": gap}
