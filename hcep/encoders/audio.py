"""wav2vec 2.0 (or HuBERT, WavLM) with a place for prompts: waveforms -> features.

Shapes: B waveforms, A samples at 16 kHz, P prompts of A/10 samples each, T positions, D feature dimension (768), L
hidden states: what enters the first block, and the output of each block (13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from hcep.encoders.fast.conv_stack import positions
from hcep.encoders.frozen import FrozenModule, compute_type, own_types
from hcep.encoders.info import hidden_states

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hcep.encoders.plain.wav2vec2 import Wav2Vec2Model


class AudioEncoder(FrozenModule):
    """Frozen waveform encoder; a feature, of size `dim`, is the mean of hidden states over time.

    `dim` is also the size of a token, behind the convolutions.

    `layers` says which hidden states, as the setting ``audio_layers`` (hcep.config.entries): the last, or the mean over
    several. Of a model with the norm before each part ("stable layer norm") the last one has gone through the final
    norm and the others have not, as in SUPERB (Yang et al., Interspeech 2021).

    Attributes
    ----------
    states : int
        L where ``learned`` keeps the hidden states apart for a method to weight, else 0.
    """

    def __init__(self, model: Wav2Vec2Model | PreTrainedModel, layers: str | list[int] = "last") -> None:
        super().__init__(type(model))
        self.model: Any = model
        self.dim: int = model.config.hidden_size
        self.read = hidden_states(layers, model.config.num_hidden_layers)
        self.states = len(self.read) if layers == "learned" else 0

    def normalise(self, waveform: Tensor, samples: Tensor | None = None) -> Tensor:
        """int16 waveforms ``(B, A)`` -> zero mean, unit variance over each clip's own `samples` ``(B,)``, then zeros.

        wav2vec 2.0's feature extractor does the same (`zero_mean_unit_var_norm` of transformers): padding is no part of
        the statistics and stays 0, and silence stays 0 too. Without `samples` the waveforms have no padding.
        """
        x = waveform.to(torch.float32) / 32768
        if samples is None:
            x = x - x.mean(dim=-1, keepdim=True)
            return x / torch.sqrt(x.var(dim=-1, keepdim=True, unbiased=False) + 1e-7)
        own = torch.arange(x.shape[-1], device=x.device) < samples.to(x.device).unsqueeze(-1)
        count = own.sum(dim=-1, keepdim=True).clamp(min=1)
        x = (x - (x * own).sum(dim=-1, keepdim=True) / count) * own
        return x / torch.sqrt(x.square().sum(dim=-1, keepdim=True) / count + 1e-7)

    def frames(self, samples: int) -> int:
        """Number of hidden states that `samples` give."""
        return positions(samples, self.model.config.conv_kernel, self.model.config.conv_stride)

    def forward(
        self,
        waveform: Tensor,
        prompts: Tensor | None = None,
        place: Literal["prepend", "append"] = "prepend",
        pool: Literal["all", "clip"] = "all",
    ) -> Tensor:
        """Features ``(B, D)``, or ``(B, L, D)`` where the hidden states are kept apart.

        Parameters
        ----------
        waveform : Tensor (B, A)
            Normalised waveforms, all of one length, because the first layer's group norm runs over the whole length.
        prompts : Tensor (P, A/10), optional
            Joined to one stretch of samples before (or after) the waveform (paper eq. 3, third term; Table 1).
        place : {"prepend", "append"}
            Side on which the prompts stand.
        pool : {"all", "clip"}
            Average over all positions, or over as many as the bare clip would give: the last ones, or the first ones
            when the prompts are appended.
        """
        x, learned = waveform, None
        if prompts is not None:
            stretch = prompts.to(x.dtype).reshape(1, -1).expand(len(x), -1)
            x = torch.cat([stretch, x] if place == "prepend" else [x, stretch], dim=1)
            if not waveform.requires_grad:
                start = 0 if place == "prepend" else waveform.shape[1]
                learned = slice(start, start + stretch.shape[1])
        form = self.form(compute_type(x))
        if form is None:
            hidden = self._library_states(self.model, x)
        else:
            with own_types(x):
                hidden = form(x.float(), self.read, learned)
        if pool == "clip" and prompts is not None:
            keep = self.frames(waveform.shape[1])
            hidden = [each[:, -keep:] if place == "prepend" else each[:, :keep] for each in hidden]
        return self._feature(hidden)

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Features ``(B, D)`` of sequences of tokens ``(B, P, D)`` in the place of what the projection gives.

        They enter behind the strided convolutions and before the positional convolution, which gives them their order;
        one stands for 20 ms of sound. The feature is the mean over all of them.
        """
        form = self.form(compute_type(tokens))
        if form is None:
            model = self.model
            hidden = self._library_states(model.encoder, tokens)
            if getattr(model, "adapter", None) is not None and self.read[-1] == model.config.num_hidden_layers:
                hidden[-1] = model.adapter(hidden[-1])
        else:
            with own_types(tokens):
                hidden = form.encode(tokens.to(form.project.weight.dtype), self.read)
        return self._feature(hidden)

    def _library_states(self, module: Any, x: Tensor) -> list[Tensor]:
        """The hidden states ``(B, T, D)`` that are read, by the library's model or its part behind the convolutions."""
        model = self.model
        blocks = list(model.encoder.layers)
        states: dict[int, Tensor] = {}
        # collected by hooks, since the part by itself hands out no hidden states for some kinds of models
        hooks = [blocks[0].register_forward_pre_hook(lambda block, given: states.update({0: given[0]}))]
        for number, block in enumerate(blocks[:-1], 1):
            hooks.append(block.register_forward_hook(_keeps(states, number)))
        try:
            # the last one as the model hands it out, behind the final norm
            states[len(blocks)] = module(x).last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        return [states[number] for number in self.read]

    def _feature(self, hidden: list[Tensor]) -> Tensor:
        """The feature ``(B, D)`` of hidden states that are read; ``(B, L, D)`` where a method weights them."""
        features = torch.stack([each.mean(dim=1, dtype=torch.float32) for each in hidden], dim=1)
        return features if self.states else features.mean(dim=1)


def _keeps(states: dict[int, Tensor], number: int) -> Any:
    """A hook that keeps what a block gives, which is a tensor, or a tuple that begins with it."""

    def hook(block: Any, given: Any, found: Any) -> None:
        states[number] = found if isinstance(found, Tensor) else found[0]

    return hook
