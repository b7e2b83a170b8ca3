"""The Triton kernels compute what plain torch does: here interpreted on the CPU, compiled where there is a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
from packaging.version import Version
from small import ROUNDING, distance, media_batch, small_encoders
from torch.nn import functional

from hcep.encoders import operations

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def kernels():
    pytest.importorskip("triton")
    from hcep.encoders import kernels

    return kernels


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


LENGTHS = [1, 20, 50, 64, 65, 130]


@pytest.fixture(scope="module")
def fused():
    pytest.importorskip("triton")
    found = operations.triton_kernels(DEVICE)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def loops():
    """The interpreter of Triton 3.6 knows no loop up to an argument beside numpy 2.4 and later."""
    triton = pytest.importorskip("triton")
    if (
        DEVICE.type == "cpu"
        and Version(triton.__version__) < Version("3.7")
        and Version(numpy.__version__) >= Version("2.4")
    ):
        pytest.skip(f"Triton {triton.__version__} interprets no loops beside numpy {numpy.__version__}")


def attention_both_ways(kernels, length, width, causal, dtype):
    """Results and gradients of the kernel, and of plain torch in float32 on the same values."""
    generator = torch.Generator().manual_seed(length)
    joined = torch.randn(3, length, 3 * 2 * width, generator=generator).to(DEVICE, dtype)
    gradient = torch.randn(3, length, 2 * width, generator=generator).to(DEVICE, dtype)

    def results(values, attend):
        values = values.requires_grad_()
        found = attend(values)
        return [found, *torch.autograd.grad(found, values, gradient.to(values.dtype))]

    ours = results(joined.clone(), lambda x: kernels.attention(x, 2, causal))
    return ours, results(joined.float(), lambda x: operations.plain_attention(x, 2, causal=causal))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("width", [16, 64])
@pytest.mark.parametrize("length", LENGTHS)
def test_attention(fused, loops, length, width, causal):
    # bf16 is what it is for; the interpreter knows no products of bf16
    bounds = {torch.float32: 1e-6, torch.float16: 2**-9} if DEVICE.type == "cpu" else {torch.bfloat16: 2**-6}
    for dtype, bound in bounds.items():
        for one, other in zip(*attention_both_ways(fused, length, width, causal, dtype), strict=True):
            # a lone key has all the weight, and no score has a gradient
            assert distance(one, other) < bound, dtype


def test_attention_is_the_same_in_every_run(fused, loops):
    runs = [attention_both_ways(fused, 130, 16, False, torch.float16)[0] for _ in range(3)]
    assert all(torch.equal(one, other) for run in runs[1:] for one, other in zip(runs[0], run, strict=True))


@pytest.mark.parametrize(
    "broken, cause", [("add_norm", "Python.h: No such file"), ("triton", "ModuleNotFoundError"), (None, "")]
)
def test_where_triton_does_not_run_the_encoders_run_unfused_and_say_why(kernels, broken, cause, monkeypatch, capsys):
    def fail(*given):
        raise RuntimeError(cause)

    if broken == "add_norm":
        monkeypatch.setattr(kernels.AddNorm, "apply", fail)
    if broken == "triton":
        for name in ("kernels", "attention"):
            monkeypatch.delitem(sys.modules, f"hcep.encoders.{name}", raising=False)
            monkeypatch.delattr(f"hcep.encoders.{name}", raising=False)
        monkeypatch.setitem(sys.modules, "triton", None)
    found = operations.triton_kernels.__wrapped__(DEVICE)
    said = capsys.readouterr().err
    if broken is None:
        assert found is not None and not said
    else:
        assert found is None and "run unfused" in said and "C compiler" in said and cause in said


def test_heads_that_the_attention_is_not_made_for_go_to_the_library(fused):
    joined = torch.zeros(1, 4, 3 * 48)
    assert [heads for heads in (1, 2, 3, 6) if fused.attention_fits(joined, heads)] == [3]


@pytest.mark.filterwarnings("ignore:overflow encountered in exp2")  # at -1e9, whose logistic function is zero
@pytest.mark.parametrize("silu", [False, True])
def test_activations(fused, silu):
    # far more values than a block has, no multiple of its size, and the far ends
    x = torch.cat([torch.linspace(-9, 9, 5001), torch.tensor([0.0, -0.0, 60.0, -60.0, 1e9, -1e9])]).to(DEVICE)
    ours, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    y, z = fused.activation(ours, silu), (functional.silu if silu else functional.gelu)(exact)
    assert float((y.double() - z).detach().abs().max()) < 2e-6
    gradient = torch.linspace(-2, 2, len(x), device=DEVICE)
    one, other = torch.autograd.grad(y, ours, gradient)[0], torch.autograd.grad(z, exact, gradient.double())[0]
    # a GPU's quotient is off by up to two roundings more
    assert float((one.double() - other).abs().max()) < (4e-6 if DEVICE.type == "cuda" else 2e-6)


@pytest.mark.skipif(DEVICE.type == "cuda", reason="tests/test_gpu.py does this at full size")
def test_towers_give_the_same_through_the_kernels(fused, loops, monkeypatch):
    encoders = small_encoders()
    batch = media_batch(encoders)
    sound, images = encoders.audio.normalise(batch.waveform), encoders.vision.normalise(batch.frames.flatten(0, 1))
    generator = torch.Generator().manual_seed(0)
    towers = {
        "text": (lambda p: encoders.text(batch.tokens, p), torch.randn(2, encoders.text.width, generator=generator)),
        "vision": (lambda p: encoders.vision(images, p), torch.randn(2, encoders.vision.width, generator=generator)),
        "audio": (lambda p: encoders.audio(sound, p), torch.randn(2, sound.shape[1] // 10, generator=generator)),
    }

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

    def the_kernel(name, ways, x, unit):
        taken.add(name)
        return ways[-1]

    monkeypatch.setattr(operations, "fused_kernels", lambda x: fused)
    monkeypatch.setattr(operations, "COARSE", torch.float32)
    monkeypatch.setattr(operations, "fastest", the_kernel)
    for name, values in results().items():
        assert all(distance(one, other) < 1e-5 for one, other in zip(values, plain[name], strict=True)), name
    assert taken == {"attention", "causal attention", "gelu", "silu"}


@pytest.mark.parametrize("capability, shared", [(80, 163), (89, 99), (90, 227)])
def test_kernels_compile_for_cards_and_stay_in_registers_and_shared_memory(capability, shared):
    pytest.importorskip("triton")
    script = Path(__file__).parents[1] / "benchmarks/kernels.py"
    command = [sys.executable, "-W", "ignore", script, "--capability", str(capability)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    made = [line for line in lines if "kernel" in line]
    assert len(made) == 18 and all(line["capability"] == capability for line in made)
    # for 8.0 the causal gradients of keys store and load one register
    spills = 2 if capability == 80 else 0
    assert all(line["spills"] <= spills and line["shared_bytes"] <= shared * 1024 for line in made)
