"""The Triton kernels compute what plain torch does: here interpreted on the CPU, compiled where there is a GPU."""

from __future__ import annotations

import pytest
import torch
from small import ROUNDING, distance
from torch.nn import functional

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
