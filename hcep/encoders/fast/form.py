"""One function for all that makes frozen towers fast: `fast_form`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hcep.encoders.class_name import class_name
from hcep.encoders.fast.clip import TextForm, VisionForm, text_form, vision_form
from hcep.encoders.fast.wav2vec2 import AudioForm, audio_form
from hcep.encoders.plain.clip import Transformer, VisionTransformer
from hcep.encoders.plain.wav2vec2 import Wav2Vec2Model

Form = TextForm | VisionForm | AudioForm | None

# by the class of the module that the encoder wraps, ours or a library's (by its name, so that it need not be imported);
# a subclass may compute something else and has no entry
FORMS: dict[str, Callable[[Any, torch.dtype], Form]] = {
    class_name(Transformer): text_form,
    class_name(VisionTransformer): vision_form,
    class_name(Wav2Vec2Model): audio_form,
    "open_clip.transformer.Transformer": text_form,
    "open_clip.transformer.VisionTransformer": vision_form,
    "transformers.models.wav2vec2.modeling_wav2vec2.Wav2Vec2Model": audio_form,
}


def fast_form(tower: Any, dtype: torch.dtype) -> Form:
    """The frozen weights of a tower in the arrangement that is fastest.

    Parameters
    ----------
    tower : TextEncoder, VisionEncoder or AudioEncoder
        None of its weights may ask for a gradient, for none would get one.
    dtype : torch.dtype
        Type of the weights and of what passes between the blocks, float32 or bfloat16. The text's and the vision
        tower's last norm and projection, the group norm's moments and the positional convolution are never rounded.

    Returns
    -------
    TextForm, VisionForm, AudioForm or None
        None for an architecture without a fast form: then the library's own modules compute the same. A `VisionForm`
        has the steps of `hcep.encoders.vision.VisionSteps` and one more, which takes pixels as they are stored.

    Notes
    -----
    On a GPU each sum and the norm after it are one Triton kernel, forward and backward; all else is plain torch on
    every device. Queries, keys and values come from one product.

    In float32 features agree with the library's to 1e-5 and gradients at the prompts to 1e-4, relative to their norm:
    only the order of sums differs. In bfloat16 the error is that of rounding once per sum, and for clips at most twice
    that of the library under autocast. In `tests/encoders/` test_speed_equality.py and, on a GPU, test_gpu.py hold
    these bounds.
    """
    make = FORMS.get(class_name(tower.kind))
    return None if make is None else make(tower, dtype)
