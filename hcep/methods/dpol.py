"""DPOL, dual-stream prompt-driven open-set learning (paper section 3.5, eq. 5-8, and Algorithm 1).

Shapes: B clips, K classes, m feature dimension.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from hcep.methods.head import arpl_distance


def emotion_logits(fused: Tensor, text_positive: Tensor, scale: float) -> Tensor:
    """``scale * cos(F_M, F_T^+)`` ``(B, K)``, the logits of eq. 5.

    The printed formula has scale 1; CLIP's (and HESP's) frozen ``exp(logit_scale)`` is 100.
    """
    return scale * functional.normalize(fused, dim=-1) @ functional.normalize(text_positive, dim=-1).T


def opposing_logits(fused: Tensor, positive: Tensor | None, negative: Tensor) -> Tensor:
    """``D_neg - D_pos`` ``(B, K)`` from points ``(K, m)``: eq. 6-8; without positive points ``D_neg`` alone, as ARPL.

    Written as the two distances of the paper; ``|x|^2`` cancels, so the difference equals the linear function
    ``(1 + 2/m) x . (p_k - n_k) + (|n_k|^2 - |p_k|^2) / m``. It stays in ``D_neg`` alone, the same for every class.
    """
    distance = arpl_distance(fused, negative)
    return distance if positive is None else distance - arpl_distance(fused, positive)
