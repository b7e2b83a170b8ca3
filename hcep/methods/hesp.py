"""HESP, human emotion-specific prompting: CLIP with class contexts, a pixel patch, and a negative image for each class.

Liu, Huang, Liu, Zhan, Chen, Chen: "Open-set video-based facial expression recognition with human expression-sensitive
prompting", ACM MM 2024; equations and constants from the authors' repository (GoldExperiencejojo/HESP@9cb5536:
``HESP_main.py``, ``core/train.py``, ``prompt/prompt.py``, ``loss/MYARPLoss.py``, ``loss/ConLoss.py``). Vision only.

Shapes: B clips, F frames, K classes, S side in pixels, m feature dimension (512).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from hcep.methods.dpol import emotion_logits
from hcep.methods.frames import absent_images, frames_of, uniform, zoom_and_flip
from hcep.methods.head import POINT_STD, arpl_distance, arpl_margin
from hcep.methods.method import Batch, Method, Prediction, Sizes, accuracy, movements

CONTEXTS = 16
CONTEXT_STD = 0.02
PATCH_SHARE = 4  # the patch is 56 of 224 pixels
# the release takes steps of one L2 norm on an image of 224 and a patch of 56 pixels; written as RMS it fits any size
IMAGE_RMS = 1 / math.sqrt(3 * 224 * 224)
PATCH_RMS = 1 / math.sqrt(3 * 56 * 56)
CONTRAST_TEMPERATURE = 0.5
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop
# parameters of CLIP's text tower that learn, by their name in it; the logarithm of the scale is the fifth
TOWER = {
    "position": "positional_embedding",
    "norm_weight": "ln_final.weight",
    "norm_bias": "ln_final.bias",
    "projection": "text_projection",
}


def supervised_contrast(features: Tensor, label: Tensor) -> Tensor:
    """Supervised contrastive loss of features ``(B, m)``, times its temperature 0.5, over anchors with a positive.

    ``-log`` of each other clip's share ``exp(cos / t)`` among all other clips, averaged over those of the anchor's
    class (Khosla et al., NeurIPS 2020). 0 when no class appears twice.
    """
    unit = functional.normalize(features, dim=1)
    own = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / CONTRAST_TEMPERATURE).masked_fill(own, -torch.inf)
    positive = (label[:, None] == label[None]) & ~own
    log_share = (logits - logits.logsumexp(dim=1, keepdim=True)).masked_fill(~positive, 0.0)
    count = positive.sum(dim=1)
    by_anchor = -log_share.sum(dim=1) / count.clamp_min(1)
    return CONTRAST_TEMPERATURE * by_anchor.sum() / (count > 0).sum().clamp_min(1)


class HESP(Method):
    """HESP, as meant (`hesp_defects: false`) or as released (``true``).

    Logits: ``a_k = s cos(x, T_k)``, x the mean over frames of CLIP's un-normalised features and T_k the text feature of
    [16 contexts of class k, its word, "."]; ``b_k`` = ARPL's distance of x to C_k, CLIP's feature of class k's negative
    image. Score and class are the largest ``(a_k + b_k) / 2``, raw. Five losses of equal weight: cross-entropy of a, of
    b with ARPL's margin, of (a + b) / 2, of ``s cos(C_i, N_j)`` with target i (N_j: "This video is not <word>."), and
    supervised contrast of x. The patch is added to every frame's pixels before CLIP's normalisation.

    Besides SGD, patch and negative images take a step of fixed size along their gradient, whatever the learning rate:
    L2 norm 50 at the release's sizes, which is an RMS of 0.52 on the patch, whose pixels span 1. So the frames change
    much at every step, and what the other losses learn has to follow. A run of a few hundred steps is too short for
    that and takes a smaller norm.

    As released: (1) all gradients of prompts and text tower are cleared after the backward pass and before the
    optimiser's step, so that only the manual steps, the negative images and the radius learn; (2) the words are in
    alphabetical order, the labels in that of their ids; (3) one manual step, along the mean gradient over classes,
    moves all negative images. That test clips choose the epoch is set in the configuration (``best_on_test``).

    Our own choices: the patch lies in the centre (the release finds a place by a map of randomly drawn weights on the
    first frame that it meets); no sentences are written by a language model; frames are at fixed places, since the
    cache holds no others. Sizes follow the encoder: patch S / 4, steps of equal RMS.

    Parameters: 302,593 of CLIP's text tower (position, last norm, projection, scale), which HESP does not freeze, so
    that this class owns copies of them; 9,409 of patch and radius; 199,169 per class, of which 39,937 are never used.
    In sum 1,905,354 / 1,507,016 / 1,108,678 / 710,340 at K = 8/6/4/2. The paper's 2.21 / 1.81 / 1.41 / 1.01 M counts
    the text tower's share twice (`paper_count_extra`).

    Recipe, the rows ``hesp`` and ``hesp_released``: SGD, lr 0.01, momentum 0.9, decay 1e-4, batch 64, 100 epochs, a
    tenth of the rate every 30. Augmentation: mirroring and a random crop (8 to 100 % of the area), alike in all frames.

    `cosine_scale` is the start of s, `hesp_step_norm` the norm of the steps of fixed size. Of a batch in parts
    (`micro_batch`), only clips of the same part are contrasted.
    """

    inputs: ClassVar[Literal["media", "features"]] = "media"
    towers: ClassVar[tuple[str, ...]] = ("vision",)
    splittable: ClassVar[bool] = False

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        text, count = encoders.text, len(self.classes)
        words = sorted(self.words) if settings["hesp_defects"] else self.words
        self.prompt_tokens = nn.Buffer(text.tokenize([f"{word}." for word in words]), persistent=False)
        sentences = [f"This video is not {word}." for word in words]
        self.negative_tokens = nn.Buffer(text.tokenize(sentences), persistent=False)
        self.contexts = nn.Parameter(CONTEXT_STD * torch.randn(count, CONTEXTS, text.width))
        self.patch = nn.Parameter(torch.zeros(3, sizes.side // PATCH_SHARE, sizes.side // PATCH_SHARE))
        self.negatives = nn.Parameter(torch.randn(count, 3, sizes.side, sizes.side))
        self.radius = nn.Parameter(torch.zeros(1))
        copies = {name: text.get_parameter(path) for name, path in TOWER.items()}
        copies["log_scale"] = torch.tensor(math.log(settings["cosine_scale"]))
        self.text_tower = nn.ParameterDict({name: nn.Parameter(own.detach().clone()) for name, own in copies.items()})
        # the release registers these beside its prompts and never uses them; its count holds them
        shapes = {"negative_text": (count, text.context, text.width), "points": (count, sizes.vision)}
        self.unused = nn.ParameterDict({name: POINT_STD * torch.randn(shape) for name, shape in shapes.items()})
        self.unused_classifier = nn.Linear(sizes.vision, count)
        self.start = {name: getattr(self, name).detach().clone() for name in ("contexts", "negatives")}
        self._prototypes: tuple[Tensor, Tensor] | None = None

    @property
    def paper_count_extra(self) -> int:
        """Parameters that the paper's Table 8 counts a second time: the unfrozen ones of the text tower."""
        return sum(value.numel() for value in self.text_tower.values())

    def text_features(self, tokens: Tensor, contexts: Tensor | None = None) -> Tensor:
        """Text features ``(K, m)`` with the learnt copies in the tower's place, and contexts ``(K, 16, W)``."""
        replaced = {path: self.text_tower[name] for name, path in TOWER.items()}
        with self.encoding():
            return functional_call(self.encoders.text, replaced, (tokens, contexts)).float()

    def prototypes(self) -> tuple[Tensor, Tensor]:
        """T and C ``(K, m)`` of the present prompts; negative images enter without normalisation, as in the release."""
        with self.encoding():
            image = self.encoders.vision(self.negatives).float()
        return self.text_features(self.prompt_tokens, self.contexts), image

    def images(self, batch: Batch) -> Tensor:
        """Normalised frames ``(B F, 3, S, S)`` with the patch; a clip without video is the patch on zeros."""
        vision = self.encoders.vision
        clips = frames_of(batch).movedim(-1, -3).float() / 255
        if self.training and self.settings["augmentation"] == "official":
            area = uniform(len(clips), *AREA, clips.device)
            ratio = uniform(len(clips), *RATIO, clips.device)
            clips = zoom_and_flip(clips, (area / ratio).sqrt().clamp_max(1), (area * ratio).sqrt().clamp_max(1))
        images = ((clips.flatten(0, 1) - vision.mean) / vision.std).masked_fill(absent_images(batch), 0.0)
        spare = images.shape[-1] - self.patch.shape[-1]
        before, after = spare // 2, spare - spare // 2
        return images + functional.pad(self.patch / vision.std, (before, after, before, after))

    def features(self, batch: Batch) -> Tensor:
        """x: mean over frames of CLIP's un-normalised features ``(B, m)``."""
        shape = frames_of(batch).shape[:2]
        with self.encoding():
            features = self.encoders.vision(self.images(batch))
        return features.float().unflatten(0, shape).mean(dim=1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The five losses, that of ARPL in its two terms."""
        features, label = self.features(batch), batch.label
        (text, image), scale = self.prototypes(), self.text_tower["log_scale"].exp()
        by_text = emotion_logits(features, text, scale)
        by_image = arpl_distance(features, image)
        # the backward pass adds up gradients in the reverse of this order, which decides the last digits of results
        osr = functional.cross_entropy(by_image, label)
        margin = arpl_margin(features, image, label, self.radius)
        opposing = emotion_logits(image, self.text_features(self.negative_tokens), scale)
        mean = (by_text + by_image) / 2
        return {
            "loss_text": functional.cross_entropy(by_text, label),
            "loss_contrast": supervised_contrast(features, label),
            "loss_osr": osr,
            "loss_margin": margin,
            "loss_opposing": functional.cross_entropy(opposing, torch.arange(len(opposing), device=label.device)),
            "loss_mean": functional.cross_entropy(mean, label),
            "accuracy": accuracy(mean, label),
        }

    @torch.no_grad()
    def before_step(self) -> None:
        """Take the manual steps; as released, then drop the gradients that the release's `prompt.zero_grad()` drops."""
        defects, norm = self.settings["hesp_defects"], self.settings["hesp_step_norm"]
        for values, rms, axes in ((self.patch, PATCH_RMS, (0, 1, 2)), (self.negatives, IMAGE_RMS, (1, 2, 3))):
            assert values.grad is not None
            # as released, the step is the same for every class
            slope = values.grad.mean(0, keepdim=True) if defects and values is self.negatives else values.grad
            values.sub_(norm * rms * slope / slope.square().mean(axes, keepdim=True).sqrt().clamp_min(1e-20))
        if defects:
            for value in (self.contexts, self.patch, *self.text_tower.values()):
                value.grad = None

    def after_step(self, step: int) -> None:
        """Prototypes are stale after a step."""
        self._prototypes = None

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """``(a + b) / 2`` as logits; the official score is the largest of them, raw."""
        if self._prototypes is None:
            self._prototypes = self.prototypes()
        features, (text, image) = self.features(batch), self._prototypes
        by_text = emotion_logits(features.double(), text.double(), self.text_tower["log_scale"].exp())
        logits = (by_text + arpl_distance(features.double(), image.double())) / 2
        return Prediction(logits, self.usual_score(logits), {"vision": features})

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """``movement_*`` = |now - start| / |start| of contexts and negative images."""
        return movements({name: self.get_parameter(name) for name in self.start}, self.start)
