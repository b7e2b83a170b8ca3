"""ARPL on features of ImageBind or LanguageBind that the user supplies (paper Table 8).

Neither encoder is part of this package: the features come from a file (hcep.training.features_file). The head is the
one that reproduces all eight parameter counts of the table: a linear map to 512 per modality, joined, and one more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from hcep.methods.arpl_mm import ArplMM
from hcep.methods.method import Sizes

HEAD_DIM = 512


class ArplFeatures(ArplMM):
    """`ArplMM` behind a head of 512 whatever the width of the features; settings as there.

    Attributes
    ----------
    features_of : str
        The encoder that the features file must name.
    features_width : int
        Size of every feature in it.
    """

    def __init__(self, classes: Sequence[str], sizes: Sizes, encoders: Any, settings: dict[str, Any]) -> None:
        super().__init__(classes, sizes._replace(text=HEAD_DIM), encoders, settings)
        self.sizes = sizes
        self.head.text = nn.Linear(sizes.text, HEAD_DIM)


class ArplImageBind(ArplFeatures):
    """ImageBind-huge (Girdhar et al., CVPR 2023); 2,361,344 + 512 K + 1 learnable parameters."""

    features_of = "imagebind"
    features_width = 1024


class ArplLanguageBind(ArplFeatures):
    """LanguageBind (Zhu et al., ICLR 2024); 1,968,128 + 512 K + 1 learnable parameters."""

    features_of = "languagebind"
    features_width = 768
