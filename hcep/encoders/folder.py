"""An encoder on disk: ``encoder.json`` beside ``clip.safetensors`` and ``audio.safetensors``.

``encoder.json`` holds ``name``, ``stand_in`` (true for anything but the paper's features), ``clip`` (open_clip's model
configuration), ``audio`` (transformers' configuration with its ``model_type``), ``mean`` and ``std`` of the pixels, and
``sha256`` of both weight files; also ``audio_layers`` where the audio feature is not that of the last hidden states.
Small encoders store only the token rows that their pretraining has seen (``token_embedding.rows``,
``token_embedding.values``); the others are drawn from ``token_seed`` on loading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hcep.encoders.audio import AudioEncoder
from hcep.encoders.info import AUDIO_FILE, CLIP_FILE, CONFIG_FILE, read_info
from hcep.encoders.plain.clip import plain_clip
from hcep.encoders.plain.wav2vec2 import plain_audio
from hcep.encoders.text import TextEncoder
from hcep.encoders.vision import VisionEncoder
from hcep.errors import HcepError
from hcep.files import sha256_file, write_bytes
from hcep.seal import write_sealed_json

if TYPE_CHECKING:
    from open_clip import CLIP
    from transformers import PreTrainedModel

TOKEN_STD = 0.02  # open_clip's own start value for token vectors


class Encoders(NamedTuple):
    """The three frozen encoders, in eval mode and without gradients to their own weights."""

    text: TextEncoder
    vision: VisionEncoder
    audio: AudioEncoder
    info: dict[str, Any]

    def modules(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """The encoders without their description."""
        return self.text, self.vision, self.audio


def build_clip(config: dict[str, Any]) -> CLIP:
    """open_clip's CLIP from a model configuration (``embed_dim``, ``vision_cfg``, ``text_cfg``, ``quick_gelu``)."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision, text = CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"])
    return CLIP(config["embed_dim"], vision, text, quick_gelu=config.get("quick_gelu", False))


def build_audio(config: dict[str, Any]) -> PreTrainedModel:
    """A transformers waveform encoder from its configuration; ``model_type`` chooses wav2vec2, hubert or wavlm."""
    from transformers import AutoConfig, AutoModel

    values = dict(config)
    return AutoModel.from_config(AutoConfig.for_model(values.pop("model_type"), **values))


def build_towers(info: Mapping[str, Any]) -> tuple[Any, Any]:
    """Both models of an ``encoder.json``, whose weights are still to be filled.

    They are modules of this package where it has what the configuration asks for; only else are the libraries imported.
    """
    clip, audio = plain_clip(info["clip"]), plain_audio(info["audio"])
    return (
        build_clip(info["clip"]) if clip is None else clip,
        build_audio(info["audio"]) if audio is None else audio,
    )


def assemble(clip: Any, audio: Any, info: dict[str, Any]) -> Encoders:
    """Freeze both models, put them in eval mode for good, and wrap their towers."""
    for model in (clip, audio):
        model.requires_grad_(False).float().eval()
    vision, layers = VisionEncoder(clip, info["mean"], info["std"]), info.get("audio_layers", "last")
    return Encoders(TextEncoder(clip).eval(), vision.eval(), AudioEncoder(audio, layers).eval(), info)


def load_encoders(folder: str | Path) -> Encoders:
    """Load a folder that `save_encoders` or ``hcep fetch_encoders`` wrote, on the CPU in float32.

    Raises
    ------
    HcepError
        When a file is missing, differs from its digest in ``encoder.json``, or does not fit the configuration.
    """
    folder = Path(folder)
    info = read_info(folder)
    weights = {}
    for name in (CLIP_FILE, AUDIO_FILE):
        path = folder / name
        if not path.is_file():
            raise HcepError("weight file missing", file=path, remedy="run `hcep fetch_encoders` again")
        if sha256_file(path) != info["sha256"][name]:
            remedy = "delete the folder and fetch it again"
            raise HcepError("sha256 differs from encoder.json", file=path, remedy=remedy)
        weights[name] = load_file(path)
    clip, audio = build_towers(info)
    state = weights[CLIP_FILE]
    if "token_embedding.rows" in state:
        vocabulary, width = clip.token_embedding.weight.shape
        table = unseen_tokens(vocabulary, width, info["token_seed"])
        table[state.pop("token_embedding.rows")] = state.pop("token_embedding.values").to(table.dtype)
        state["token_embedding.weight"] = table
    for model, name in ((clip, CLIP_FILE), (audio, AUDIO_FILE)):
        try:
            model.load_state_dict(weights[name])
        except RuntimeError as error:
            raise HcepError(f"weights do not fit {CONFIG_FILE} ({error})", file=folder / name) from error
    return assemble(clip, audio, info)


def save_encoders(
    folder: str | Path, clip: nn.Module, audio: nn.Module, info: dict[str, Any], *, seen_tokens: Tensor | None = None
) -> None:
    """Write an encoder folder; `info` needs ``name, stand_in, clip, audio, mean, std`` and gets ``sha256``.

    With `seen_tokens` (int64) only these rows of the token table are kept; on loading the others are drawn from
    ``info["token_seed"]``.
    """
    folder = Path(folder)
    state = clip.state_dict()
    if seen_tokens is not None:
        table = state.pop("token_embedding.weight")
        state["token_embedding.rows"] = seen_tokens
        state["token_embedding.values"] = table[seen_tokens]
    digests = {}
    for name, values in ((CLIP_FILE, state), (AUDIO_FILE, audio.state_dict())):
        content = save({key: value.contiguous() for key, value in values.items()})
        write_bytes(folder / name, content)
        digests[name] = hashlib.sha256(content).hexdigest()
    write_sealed_json(folder / CONFIG_FILE, info | {"sha256": digests})


def unseen_tokens(vocabulary: int, width: int, seed: int) -> Tensor:
    """The token table ``(vocabulary, width)`` from which rows never seen in pretraining are taken."""
    return torch.randn((vocabulary, width), generator=torch.Generator().manual_seed(seed)) * TOKEN_STD
