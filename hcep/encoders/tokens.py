"""CLIP's byte-pair tokeniser: open_clip's own, loaded without the rest of that package."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


@cache
def clip_tokenizer() -> Any:
    """open_clip's ``SimpleTokenizer``, one for the whole process: it is called with texts and a context length.

    The package as a whole takes longer to import than torch; the file of its tokeniser stands by itself.
    """
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("open_clip_torch is not installed; run `pip install open_clip_torch`")
    # under its own name, so that it finds the package's other files should it ever ask for one
    spec = spec_from_file_location("open_clip.tokenizer", Path(package.origin).with_name("tokenizer.py"))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module._tokenizer  # the one that the file makes for its own functions
