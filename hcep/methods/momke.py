"""MoMKE on frozen CLIP and wav2vec 2.0 features: the closed-set method of the paper's Fig. 5.

Xu, Jiang, Liang: "Leveraging Knowledge of Modality Experts for Incomplete Multimodal Learning", ACM Multimedia 2024;
constants from the authors' repository (wxxv/MoMKE@2dceb57: ``model_expert_softmoe.py``, ``Attention_softmoe.py``,
``run_MoMKE_cmumosei.sh``). Between the stages the release restores its "best" experts, which changes nothing there, and
it chooses the epoch by test clips. Neither is done here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hcep.methods.method import Batch, Method, Prediction, Sizes, accuracy, cached_features
from hcep.methods.optimiser import OptimiserGroup

WIDTH = 256
DEPTH = 4
DROPOUT = 0.5
EXPERTS = 3  # one per modality


def mlp(width: int, output: int) -> nn.Sequential:
    """Two linear layers with GELU between them and dropout after each."""
    return nn.Sequential(
        nn.Linear(width, width), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(width, output), nn.Dropout(DROPOUT)
    )


class Expert(nn.Module):
    """Transformer of four blocks over one clip.

    The authors let the utterances of a conversation attend to each other. A clip that stands alone attends to itself
    with weight one: a block's attention is then its value projection, and needs neither queries, keys nor heads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)])
        self.mlps = nn.ModuleList([mlp(WIDTH, WIDTH) for _ in range(DEPTH)])

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 256)`` to the same."""
        for value, block in zip(self.values, self.mlps, strict=True):
            seen = value(x)
            x = x + seen + block(seen)
        return x


class Momke(Method):
    """Half of the epochs train an expert per modality, the other half a router that mixes the experts.

    An absent modality is masked: it adds nothing to the experts' loss, and its part of the joint feature is zero.

    Attributes
    ----------
    stage : int64 Tensor ()
        Stage of the next step, 1 or 2.
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes, encoders, settings)
        count = len(self.classes)
        self.enter = nn.ModuleList([nn.Linear(width, WIDTH) for width in (sizes.text, sizes.vision, sizes.audio)])
        self.experts = nn.ModuleList([Expert() for _ in range(EXPERTS)])
        self.expert_heads = nn.ModuleList([nn.Linear(WIDTH, count) for _ in range(EXPERTS)])
        self.routers = nn.ModuleList([mlp(WIDTH, EXPERTS) for _ in range(EXPERTS)])
        self.joint = nn.Linear(EXPERTS * WIDTH, EXPERTS * WIDTH)
        self.classifier = nn.Linear(EXPERTS * WIDTH, count)
        self.dropout = nn.Dropout(DROPOUT)
        self.stage = nn.Buffer(torch.tensor(1))
        self.expert_steps = 0

    def parameter_groups(self, settings: dict[str, Any]) -> list[OptimiserGroup]:
        """Adam for everything, or the run's SGD (`rival_optimiser: shared`)."""
        if settings["rival_optimiser"] == "shared":
            return super().parameter_groups(settings)
        return [OptimiserGroup("all", list(self.parameters()), "adam", settings["lr"], settings["weight_decay"])]

    def begin(self, batches: Iterable[Batch]) -> None:
        """Count the steps of the first stage."""
        self.expert_steps = sum(1 for _ in batches) * (self.settings["epochs"] // 2)
        self.after_step(-1)  # a run of one epoch starts in the second stage

    def after_step(self, step: int) -> None:
        """The stage of the next step, kept as a buffer so that a resumed run has it."""
        self.stage.fill_(1 if step + 1 < self.expert_steps else 2)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_experts``: sum of three cross-entropies in stage 1; ``loss_joint``: of the joint logits in stage 2."""
        entered = self._entered(batch)
        nothing = torch.zeros((), device=batch.label.device)
        if int(self.stage) == 1:
            parts = zip(self.expert_heads, self.experts, entered, strict=True)
            logits = [head(expert(x)) for head, expert, x in parts]
            errors = [functional.cross_entropy(value, batch.label, reduction="none") for value in logits]
            # the mean is over all clips, with 0 for absent ones, so that micro-batches add up to the whole batch
            experts = torch.stack(errors, dim=1).masked_fill(batch.missing, 0.0).mean(dim=0).sum()
            share = torch.stack([accuracy(value, batch.label) for value in logits]).mean()
            return {"loss_experts": experts, "loss_joint": nothing, "accuracy": share}
        joint = self.classifier(self._joint(entered, batch.missing))
        error = functional.cross_entropy(joint, batch.label)
        return {"loss_experts": nothing, "loss_joint": error, "accuracy": accuracy(joint, batch.label)}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Prediction:
        """Logits of the joint feature, and their log max-softmax or the largest (`score`)."""
        hidden = self._joint(self._entered(batch), batch.missing)
        logits = self.classifier(hidden).double()
        return Prediction(logits, self.usual_score(logits), {**cached_features(batch)._asdict(), "fused": hidden})

    def _entered(self, batch: Batch) -> list[Tensor]:
        """The three modalities at the experts' width, each ``(B, 256)``."""
        return [self.dropout(map_(x)) for map_, x in zip(self.enter, cached_features(batch), strict=True)]

    def _joint(self, entered: list[Tensor], missing: Tensor) -> Tensor:
        """Joint feature ``(B, 768)``: each modality through all experts, mixed by its router, then joined."""
        weights = torch.stack([router(x).softmax(dim=1) for router, x in zip(self.routers, entered, strict=True)])
        together = torch.cat(entered)
        outputs = torch.stack([expert(together).view(3, -1, WIDTH) for expert in self.experts], dim=2)
        mixed = (weights[..., None] * outputs).sum(dim=2)
        joined = mixed.masked_fill(missing.T[..., None], 0.0).transpose(0, 1).flatten(1)
        return joined + self.dropout(functional.relu(self.joint(joined)))
