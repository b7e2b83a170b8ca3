"""What the tests of the rivals on frames share: runs in memory, broken off and resumed, and full-size shapes."""

from __future__ import annotations

from pathlib import Path

import torch
from small import CLASSES, SIZES, MemoryFeed, media_batch, settings_for, small_encoders
from torch import Tensor

from hcep import registry
from hcep.config.methods import base_method
from hcep.encoders.fetch import full_size_info
from hcep.encoders.folder import Encoders
from hcep.methods.method import Batch, Method, Sizes
from hcep.training.complexity import parameters, shape_only
from hcep.training.loop import Trainer

FULL = Sizes(8, 224, 80_000, 512, 512, 768)


def build_on_features(base, classes=CLASSES, sizes=SIZES, seed=0, **changes):
    torch.manual_seed(seed)
    return registry.load(base_method(base).target)(classes, sizes, None, settings_for(base, **changes)).eval()


def build(base: str, encoders: Encoders, seed: int = 0, classes=CLASSES, **changes) -> Method:
    """A method of small size after its `begin`, in training mode."""
    torch.manual_seed(seed)
    method = registry.load(base_method(base).target)(classes, SIZES, encoders, settings_for(base, **changes))
    method.begin([])
    return method


def trainer(base: str, encoders: Encoders, work: Path, clips: int = 5, **changes) -> Trainer:
    """A run of a method over clips in memory."""
    torch.manual_seed(0)
    settings = settings_for(base, **changes)
    method = registry.load(base_method(base).target)(CLASSES, SIZES, encoders, settings)
    return Trainer(method, MemoryFeed(media_batch(encoders, clips)), settings, 0, work)


def check_resumed_run(base: str, encoders: Encoders, folder: Path, stops=(1,), **changes) -> None:
    """A run broken off after each of these epochs ends with the same bits as one that went through."""
    whole = trainer(base, encoders, folder / "whole", epochs=3, **changes)
    whole.run()
    wanted = whole.method.state_dict()
    for stop in stops:
        broken = trainer(base, encoders, folder / f"broken{stop}", epochs=3, **changes)
        save = broken._save

        def stopping(done: int, save=save, stop=stop) -> None:
            save(done)
            if done == stop:
                raise KeyboardInterrupt

        broken._save = stopping
        try:
            broken.run()
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("the run was not broken off")
        # whatever another process drew in between
        torch.manual_seed(stop)
        again = trainer(base, encoders, folder / f"broken{stop}", epochs=3, **changes)
        again.run()
        found = again.method.state_dict()
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert torch.equal(found[name], value), f"{name} differs after a stop at epoch {stop}"


def full_size_count(base: str, known: int, **changes) -> int:
    """Learnable parameters with CLIP ViT-B/32 and frames of 224 pixels, counted without memory."""
    return parameters(full_size(base, known, **changes), learnable=True)


def full_size(base: str, known: int, **changes) -> Method:
    """A method with CLIP ViT-B/32 and frames of 224 pixels on the meta device."""
    encoders = shape_only(full_size_info())
    sizes = Sizes(8, 224, 80_000, encoders.text.dim, encoders.vision.dim, encoders.audio.dim)
    settings = settings_for(base, cssr_depth=40, cssr_widen=4, **changes)
    with torch.device("meta"):
        return registry.load(base_method(base).target)([str(k) for k in range(known)], sizes, encoders, settings)


def gradients(method: Method, batch: Batch) -> dict[str, Tensor]:
    """The losses of a batch after their backward pass."""
    terms = method.loss(batch)
    torch.stack([value for key, value in terms.items() if key.startswith("loss_")]).sum().backward()
    return terms


def one_step(method: Method, batch: Batch) -> None:
    """A step of the method's own optimiser, as the loop takes it."""
    optimiser = method.optimizer(method.settings)
    gradients(method, batch)
    method.before_step()
    optimiser.step()
    method.after_step(0)


def check_clip_untouched(base: str) -> None:
    """After a step and the end of training the frozen encoders hold the same weights, no gradient, and eval mode."""
    encoders = small_encoders()
    before = [{name: value.clone() for name, value in part.state_dict().items()} for part in encoders.modules()]
    method = build(base, encoders)
    one_step(method, media_batch(encoders))
    method.finish([])
    for part, state in zip(encoders.modules(), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in part.state_dict().items())
        assert not any(inner.training for inner in part.modules())
        assert not any(value.requires_grad or value.grad is not None for value in part.parameters())


def check_two_classes(base: str, encoders: Encoders) -> None:
    """K = 2 works, training frames vary and scored ones do not."""
    method = build(base, encoders, classes=("anger", "fear"))
    batch = media_batch(encoders)._replace(label=torch.tensor([0, 1, 0, 1, 0]))
    losses = [method.loss(batch) for _ in range(2)]
    assert all(
        not torch.equal(losses[0][name], losses[1][name]) for name in losses[0] if name.endswith(("cls", "text"))
    )
    method.eval()
    found = method.predict(batch)
    assert found.logits.shape == (5, 2) and torch.isfinite(found.score).all()
    assert torch.equal(found.logits, method.predict(batch).logits)
