"""The Triton kernels compute what plain torch does: here interpreted on the CPU, compiled where there is a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small import ROUNDING, distance, media_batch, small_encoders
from torch.nn import functional

from hcep.encoders.audio import AudioEncoder
from hcep.encoders.fast import norms

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def kernels():
    pytest.importorskip("triton")
    from hcep.encoders.fast import norm_kernels

    return norm_kernels


def plain(x, y, weight, bias, twice):
    total = x if y is None else x + y
    normed = functional.layer_norm(total, total.shape[-1:], weight, bias, 1e-5)
    return (normed, normed) if twice else (total, normed)


CASES = [
    # added, twice, which of the two results is read
    (True, False, ("first", "second")),
    (True, False, ("first",)),
    (True, False, ("second",)),
    (True, True, ("first", "second")),
    (True, True, ("first",)),
    (False, False, ("first", "second")),
]


@pytest.mark.parametrize("width", [48, 768])
@pytest.mark.parametrize("added, twice, read", CASES)
def test_sums_and_norms(kernels, width, added, twice, read):
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(2, 5, width, generator=generator).to(DEVICE) for name in ("x", "y", "first", "second")}
    weight, bias = (torch.randn(width, generator=generator).to(DEVICE) for _ in range(2))

    def results(make):
        x = drawn["x"].clone().requires_grad_()
        y = drawn["y"].clone().requires_grad_() if added else None
        first, second = make(x, y)
        named = {"first": first, "second": second}
        loss = torch.stack([(named[name] * drawn[name]).sum() for name in read]).sum()
        return [first, second, *torch.autograd.grad(loss, [x, y] if added else [x])]

    ours = results(lambda x, y: kernels.AddNorm.apply(x, y, weight, bias, 1e-5, twice))
    theirs = results(lambda x, y: plain(x, y, weight, bias, twice))
    for one, other in zip(ours, theirs, strict=True):
        assert distance(one, other) < 1e-6


def test_sums_and_norms_in_bf16_and_without_gradients(kernels):
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(7, 96, generator=generator).to(DEVICE, torch.bfloat16) for _ in range(2))
    weight, bias = (
        torch.ones(96, device=DEVICE, dtype=torch.bfloat16),
        torch.zeros(96, device=DEVICE, dtype=torch.bfloat16),
    )
    total, normed = kernels.AddNorm.apply(x, y, weight, bias, 1e-5, False)
    # the interpreter cuts where a GPU rounds
    assert distance(total, x.float() + y.float()) < ROUNDING and normed.dtype == torch.bfloat16
    assert distance(normed, functional.layer_norm(total.float(), (96,))) < 2 * ROUNDING
    one, other = kernels.AddNorm.apply(x, y, weight, bias, 1e-5, True)
    assert torch.equal(one, other) and torch.equal(one, normed)


@pytest.mark.parametrize(
    "broken, cause", [("add_norm", "Python.h: No such file"), ("triton", "ModuleNotFoundError"), (None, "")]
)
def test_where_triton_does_not_run_the_encoders_run_unfused_and_say_why(kernels, broken, cause, monkeypatch, capsys):
    def fail(*given):
        raise RuntimeError(cause)

    if broken == "add_norm":
        monkeypatch.setattr(kernels.AddNorm, "apply", fail)
    if broken == "triton":
        monkeypatch.delitem(sys.modules, "hcep.encoders.fast.norm_kernels", raising=False)
        monkeypatch.delattr("hcep.encoders.fast.norm_kernels", raising=False)
        monkeypatch.setitem(sys.modules, "triton", None)
    found = norms.triton_norm.__wrapped__(DEVICE)
    said = capsys.readouterr().err
    if broken is None:
        assert found is not None and not said
    else:
        assert found is None and "run unfused" in said and "C compiler" in said and cause in said


@pytest.mark.skipif(DEVICE.type == "cuda", reason="tests/encoders/test_gpu.py does this at full size")
def test_towers_give_the_same_through_the_kernels(kernels, monkeypatch):
    encoders = small_encoders()
    batch = media_batch(encoders)
    sound, images = encoders.audio.normalise(batch.waveform), encoders.vision.normalise(batch.frames.flatten(0, 1))
    generator = torch.Generator().manual_seed(0)
    towers = {
        "text": (lambda p: encoders.text(batch.tokens, p), torch.randn(2, encoders.text.width, generator=generator)),
        "vision": (lambda p: encoders.vision(images, p), torch.randn(2, encoders.vision.width, generator=generator)),
        "audio": (lambda p: encoders.audio(sound, p), torch.randn(2, sound.shape[1] // 10, generator=generator)),
    }
    every_layer = AudioEncoder(encoders.audio.model, "learned")
    towers["layers"] = lambda p: every_layer(sound, p), towers["audio"][1]

    def results():
        found = {}
        for name, (encode, prompts) in towers.items():
            prompts = prompts.clone().requires_grad_()
            feature = encode(prompts)
            feature.square().sum().backward()
            found[name] = (feature, prompts.grad)
        return found

    plain = results()
    taken = set()

    def the_kernel(x, y, weight, bias, eps, twice):
        taken.add((y is not None, twice))
        return kernels.AddNorm.apply(x, y, weight, bias, eps, twice)

    monkeypatch.setattr(norms, "fused_norm", lambda x: the_kernel)
    for name, values in results().items():
        assert all(distance(one, other) < 1e-5 for one, other in zip(values, plain[name], strict=True)), name
    assert taken == {(False, False), (True, False), (True, True)}


@pytest.mark.parametrize("capability, shared", [(80, 163), (89, 99), (90, 227)])
def test_kernels_compile_for_cards_and_stay_in_registers_and_shared_memory(capability, shared):
    pytest.importorskip("triton")
    script = Path(__file__).parents[2] / "benchmarks/compiled_kernels.py"
    command = [sys.executable, "-W", "ignore", script, "--capability", str(capability)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    made = [line for line in lines if "kernel" in line]
    assert len(made) == 2 and all(line["capability"] == capability for line in made)
    assert all(line["spills"] == 0 and line["shared_bytes"] <= shared * 1024 for line in made)
