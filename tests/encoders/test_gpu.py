"""On a CUDA device, at full size with random weights: fast is plain, recorded is unrecorded, small cards train."""

from __future__ import annotations

import gc
import math
import sys
from pathlib import Path

import pytest
import torch
from small import ROUNDING, MemoryFeed, distance, settings_for

from hcep.encoders.fast.norms import triton_norm
from hcep.encoders.fetch import full_size_info
from hcep.encoders.folder import assemble, build_audio, build_clip
from hcep.methods.hcep import HCEP
from hcep.methods.method import Batch, Sizes
from hcep.training.devices import choose_device
from hcep.training.loop import Trainer

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain import Clips, PlainHCEP
from synthetic import captions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

WORDS = ["angry", "fearful", "happy", "sad"]
DEVICE = torch.device("cuda")


@pytest.fixture(scope="module")
def encoders():
    torch.backends.cudnn.allow_tf32 = False
    info = full_size_info()
    torch.manual_seed(0)
    found = assemble(build_clip(info["clip"]), build_audio(info["audio"]), info)
    for module in found.modules():
        module.to(DEVICE)
    return found


def sizes_of(encoders) -> Sizes:
    return Sizes(8, 224, 80_000, encoders.text.dim, encoders.vision.dim, encoders.audio.dim)


def clips(encoders, count: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        torch.arange(count),
        torch.arange(count) % len(WORDS),
        torch.zeros(count, 3, dtype=torch.bool),
        encoders.text.tokenize(captions(count, 5, 30)),
        torch.randint(0, 256, (count, 8, 224, 224, 3), dtype=torch.uint8, generator=generator),
        (torch.randn(count, 80_000, generator=generator) * 3000).to(torch.int16),
    )


def method_of(encoders, **changes) -> HCEP:
    torch.manual_seed(1)
    settings = settings_for("hcep", device="cuda", **changes)
    method = HCEP(WORDS, sizes_of(encoders), encoders, settings).to(DEVICE)
    method.begin([])
    return method


def gradients(method, batch) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Of a step, by name, and the features."""
    method.zero_grad()
    terms = method.loss(batch)
    (terms["loss_emo"] + terms["loss_osr"]).backward()
    with torch.no_grad():
        features = list(method.features(batch))
    return {name: value.grad for name, value in method.named_parameters() if value.grad is not None}, features


@pytest.fixture(autouse=True)
def empty_device():
    """What the test before left behind takes no memory."""
    gc.collect()
    torch.cuda.empty_cache()


def test_fast_is_plain_at_full_size(encoders, capsys):
    plain = PlainHCEP(WORDS, encoders, 224, 80_000, "facial expression").to(DEVICE)
    batch = clips(encoders, 4).to(DEVICE)
    sound = encoders.audio.normalise(batch.waveform)
    given = Clips(batch.tokens, encoders.vision.normalise(batch.frames), sound, batch.label)
    plain(given).backward()
    exact = {name: value.grad for name, value in plain.named_parameters()}
    with torch.no_grad():
        features = plain.features(given)
    errors = {}
    for precision in ("fp32", "bf16"):
        method = method_of(encoders, cosine_scale=100.0, precision=precision)
        method.load_state_dict(plain.state_dict(), strict=False)
        ours, found = gradients(method, batch)
        assert set(ours) == set(exact)
        whole = torch.cat([value.flatten() for value in exact.values()]).norm()
        errors[precision] = (
            max(distance(one, other) for one, other in zip(found, features, strict=True)),
            max(
                float((ours[name] - value).norm() / value.norm().clamp_min(1e-3 * whole))
                for name, value in exact.items()
            ),
        )
    with capsys.disabled():
        print("\nlargest error of features and gradients:", errors)
    assert errors["fp32"][0] < 1e-5 and errors["fp32"][1] < 1e-4
    # twelve blocks of some ten sums, each rounded: rounding x sqrt(120) for features, twice as far back for gradients
    assert errors["bf16"][0] < ROUNDING * 120**0.5 and errors["bf16"][1] < 2 * ROUNDING * 120**0.5
    # with the fused norms, not only with what stands in for them
    assert triton_norm(DEVICE) is not None


@pytest.mark.parametrize(
    "micro, step, precision, bound",
    # attention adds up its gradients in no fixed order; in bf16 such a difference grows to one of rounding
    [(0, "sgd", "fp32", 1e-4), (4, "normalised", "fp32", 1e-4), (0, "sgd", "bf16", ROUNDING)],
)
def test_recorded_steps_are_the_unrecorded_ones(encoders, tmp_path, micro, step, precision, bound):
    # 14 clips in batches of 6: the last batch has a shape of its own, and its own recording from the second epoch on
    states, kinds = {}, {}
    for graphs in (False, True):
        method = method_of(
            encoders,
            cuda_graphs=graphs,
            epochs=3,
            batch_size=6,
            micro_batch=micro,
            prompt_step=step,
            precision=precision,
            lr=1e-3,
        )
        trainer = Trainer(method, MemoryFeed(clips(encoders, 14), DEVICE), method.settings, 0, tmp_path / str(graphs))
        rows = trainer.run()
        kinds[graphs] = 0 if trainer.runner.recorder is None else len(trainer.runner.recorder.recordings)
        states[graphs] = (method.state_dict(), [row["loss"] for row in rows])
    assert kinds[False] == 0 and kinds[True] >= 2
    assert states[True][1] == pytest.approx(states[False][1], rel=bound)
    for name, value in states[False][0].items():
        assert distance(states[True][0][name], value) < bound, name


def test_a_recorded_step_waits_for_nothing(encoders, tmp_path):
    method = method_of(encoders, batch_size=4, precision="bf16")
    batch = clips(encoders, 4)
    trainer = Trainer(method, MemoryFeed(batch, DEVICE), method.settings, 0, tmp_path)
    assert trainer.runner.recorder is not None
    with trainer.runner.recorder.stream():
        batch = batch.to(DEVICE)
        for _ in range(2):
            trainer.runner.step(batch)
        torch.cuda.set_sync_debug_mode("error")
        try:
            terms = trainer.runner.step(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(bool(torch.isfinite(value)) for value in terms.values())


@pytest.mark.parametrize("card, precision", [(24, "fp32"), (24, "bf16"), (16, "fp32"), (16, "bf16")])
def test_smaller_cards_train_with_the_default_settings(encoders, tmp_path, card, precision, capsys, monkeypatch):
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_per_process_memory_fraction(card * 1e9 / total)
    monkeypatch.setattr(
        "hcep.training.memory.free_bytes", lambda device: int(card * 1e9) - torch.cuda.memory_allocated(device)
    )
    try:
        method = method_of(encoders, batch_size=64, epochs=2, precision=precision)
        trainer = Trainer(method, MemoryFeed(clips(encoders, 80), DEVICE), method.settings, 0, tmp_path)
        rows = trainer.run()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    peak = torch.cuda.max_memory_reserved() / 1e9
    with capsys.disabled():
        print(f"\n{card} GB, {precision}: micro-batch {trainer.runner.micro}, peak {peak:.1f} GB")
    assert len(rows) == 2 and peak < card
    assert 1 <= trainer.runner.micro <= 64
    assert all(math.isfinite(row["loss"]) for row in rows)


def test_a_job_takes_the_device_and_its_slot():
    held = choose_device("auto")
    assert held.device == torch.device("cuda:0") and held.slot is not None and held.slot.device == 0
