"""What a combination of HCEP's settings leaves in use, and the combinations that contradict each other."""

from __future__ import annotations

from typing import Any

from hcep.errors import HcepError


def reached_by_losses(settings: dict[str, Any]) -> frozenset[str]:
    """Names of the parts on which at least one term of `losses` depends; no other part is learned, or encoded.

    ``smep`` (the prompts inside every clip), ``delta_v_pos`` and the like (eq. 4), ``tokens_pos`` and ``tokens_neg``
    (the class texts), ``points`` and ``radius`` (free vectors instead of eq. 4), ``fuse`` (the head's last map).
    """
    emo, osr = ("emo" in settings["losses"], "osr" in settings["losses"])
    kind, features = settings["points"], settings["point_features"]
    emo_on_head = emo and settings["emo_points"] == "head"
    positive, negative = osr and kind == "prompted", osr and kind in ("prompted", "prompted_negative")
    from_media = features != "text"
    parts = {
        "smep": settings["sample_prompts"],
        "tokens_pos": emo or positive,
        "tokens_neg": negative,
        "delta_v_pos": (positive and from_media) or emo_on_head,
        "delta_a_pos": (positive and from_media) or emo_on_head,
        "delta_v_neg": negative and from_media,
        "delta_a_neg": negative and from_media,
        "points": osr and kind in ("free", "free_negative"),
        "radius": osr and kind == "free_negative",
        "fuse": (osr and features != "modality_sum") or emo_on_head or (emo and settings["emo_features"] == "fused"),
    }
    return frozenset(name for name, used in parts.items() if used)


def refuse_contradictions(settings: dict[str, Any]) -> None:
    """Raise HcepError for settings of which one would silently have no effect, or no meaning."""
    if settings["inference"] == "average" and set(settings["losses"]) != {"emo", "osr"}:
        raise HcepError(
            f"inference: average with losses: {settings['losses']}", remedy="averaging the logits needs both losses"
        )
    if settings["class_text_prompted"] and (settings["class_text"] != "fixed" or not settings["sample_prompts"]):
        raise HcepError(
            "class_text_prompted without fixed sentences or without the prompts that would enter them",
            remedy="it goes with class_text: fixed and sample_prompts: true only",
        )
    if settings["points"] in ("free", "free_negative") and settings["point_features"] != "head":
        raise HcepError(
            f"point_features: {settings['point_features']} with points: {settings['points']}",
            remedy="free points are vectors in the fused space: leave point_features at head",
        )
