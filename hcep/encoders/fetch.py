"""Encoder folders: the paper's weights from their hubs, the small ones of the package, or full-size random ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hcep.encoders.info import AUDIO_FILE, CLIP_FILE, CONFIG_FILE, check_layers, read_info
from hcep.errors import HcepError
from hcep.files import atomic_path, sha256_file
from hcep.seal import write_sealed_json

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
PAPER = {
    "clip": "ViT-B-32-quickgelu",
    "pretrained": "openai",
    "audio": "facebook/wav2vec2-base",
    "audio_layers": "last",
}
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


def fetch_encoders(output: Path, settings: dict[str, Any], name: str) -> None:
    """Make the folder of an encoder, whose `name` results carry.

    Parameters
    ----------
    output : path
        Folder to write.
    settings : dict
        ``source``: ``package`` (small, pretrained here), ``hub`` (``clip`` and ``pretrained`` of open_clip, ``audio``
        of the Hugging Face hub or a local folder) or ``random`` (the same architecture without a download, for counting
        and speed). ``revision`` pins the audio model, ``sha256`` (file name -> digest) the result. ``audio_layers``
        says which hidden states of the audio model give a feature.

    Raises
    ------
    HcepError
        When a download fails, a digest differs, or the audio model lacks a layer.
    """
    settings = PAPER | settings
    source = settings["source"]
    if source == "package":
        weights, choice = Path(__file__).parents[1] / "demo" / "weights", _choice(settings)
        check_layers(read_info(weights) | choice)
        for file in (CLIP_FILE, AUDIO_FILE, CONFIG_FILE):
            with atomic_path(output / file, (weights / file).stat().st_size) as temporary:
                shutil.copyfile(weights / file, temporary)
        if choice:
            write_sealed_json(output / CONFIG_FILE, read_info(weights) | choice | {"name": name})
    elif source in ("hub", "random"):
        _build(output, settings, name)
    else:
        raise HcepError(f"encoder {name!r} has source {source!r}", remedy="use package, hub or random")
    for file, wanted in settings.get("sha256", {}).items():
        found = sha256_file(output / file)
        if found != wanted:
            raise HcepError(f"sha256 is {found}, the config expects {wanted}", file=output / file)


def _choice(settings: dict[str, Any]) -> dict[str, Any]:
    """What ``encoder.json`` says of the audio layers: nothing where they are the paper's, the last one."""
    return {} if settings["audio_layers"] == "last" else {"audio_layers": settings["audio_layers"]}


def full_size_info() -> dict[str, Any]:
    """``encoder.json`` of CLIP ViT-B/32 and wav2vec2-base without weights, for counting."""
    import open_clip
    from transformers import AutoConfig

    config = open_clip.get_model_config("ViT-B-32-quickgelu")
    return _describe("clip_wav2vec2", config, AutoConfig.for_model("wav2vec2"), True, "architecture only", {})


def _describe(
    name: str, config: dict[str, Any], audio: Any, stand_in: bool, source: str, weights: dict[str, Any]
) -> dict[str, Any]:
    """``encoder.json``; `weights` is what open_clip knows of pretrained weights, ``mean`` and ``std`` among it."""
    clip = {key: config[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}
    described = {key: value for key, value in audio.to_diff_dict().items() if key != "dtype"}
    return {
        "name": name,
        "stand_in": stand_in,
        "clip": clip | {"quick_gelu": config.get("quick_gelu", False)},
        "audio": described | {"model_type": audio.model_type},
        "mean": list(weights.get("mean", CLIP_MEAN)),
        "std": list(weights.get("std", CLIP_STD)),
        "source": source,
    }


def _build(output: Path, settings: dict[str, Any], name: str) -> None:
    # here, not at the top: copying the package's weights needs neither library
    import open_clip
    import torch
    from transformers import AutoConfig, AutoModel

    from hcep.encoders.folder import build_clip, save_encoders

    config = open_clip.get_model_config(settings["clip"])
    if config is None:
        raise HcepError(f"open_clip has no model {settings['clip']!r}", remedy="see open_clip.list_models()")
    random = settings["source"] == "random"
    if not random and settings["pretrained"] == "openai" and not config.get("quick_gelu", False):
        cause = f"{settings['clip']} has GELU, OpenAI's weights need QuickGELU"
        raise HcepError(cause, remedy="use ViT-B-32-quickgelu")
    try:
        if random:
            torch.manual_seed(0)  # the same weights wherever they are made
            clip, audio = build_clip(config), AutoModel.from_config(AutoConfig.for_model("wav2vec2"))
        else:
            # plain ViT-B-32 with `openai` weights would run with the wrong activation: the name must say quickgelu
            clip = open_clip.create_model(settings["clip"], pretrained=settings["pretrained"])
            audio = AutoModel.from_pretrained(settings["audio"], revision=settings.get("revision"), dtype=torch.float32)
    except (OSError, RuntimeError) as error:
        elsewhere = f"run `hcep fetch_encoders` on a machine with network access and copy the folder {output}"
        remedy = f"{elsewhere}, or set `audio` to a local folder"
        raise HcepError(f"encoder {name!r} could not be fetched ({error})", remedy=remedy) from error
    source = "random weights" if random else f"{settings['clip']} {settings['pretrained']}, {settings['audio']}"
    # any other features than the paper's stand in for them, and every table says so
    stand_in = random or any(settings[key] != value for key, value in PAPER.items())
    # some weights were trained with another mean and deviation of the pixels than OpenAI's
    weights = {} if random else open_clip.get_pretrained_cfg(settings["clip"], settings["pretrained"])
    info = _describe(name, config, audio.config, stand_in, source, weights) | _choice(settings)
    check_layers(info)
    save_encoders(output, clip, audio, info)
