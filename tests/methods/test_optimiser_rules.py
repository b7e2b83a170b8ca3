"""The optimisers without their wrappers for torch's compiler step exactly as torch's own do."""

from __future__ import annotations

import pytest
import torch

from hcep.methods.optimiser import RULES, Optimiser, OptimiserGroup

TORCHS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def values() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in ((5, 4), (4,))]


def learn(params, step, zero_grad) -> list[list[torch.Tensor]]:
    """Four steps on a bent bowl, and where each leads."""
    places = []
    for _ in range(4):
        zero_grad()
        sum((value**4 + value).sum() for value in params).backward()
        step()
        places.append([value.detach().clone() for value in params])
    return places


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_steps_as_torchs(rule):
    options = {"lr": 0.01, "weight_decay": 0.1} | ({"momentum": 0.9} if rule == "sgd" else {})
    theirs = values()
    library = TORCHS[rule]([{"params": theirs, **options}], lr=0.0, fused=True)
    ours = values()
    optimiser = Optimiser([OptimiserGroup("all", ours, rule, **options)])
    wanted, found = learn(theirs, library.step, library.zero_grad), learn(ours, optimiser.step, optimiser.zero_grad)
    assert all(
        torch.equal(a, b) for one, other in zip(wanted, found, strict=True) for a, b in zip(one, other, strict=True)
    )
    assert not torch.equal(found[-1][0], found[0][0])
    # what it saves is what torch's saves, and either goes on from it
    state, saved = library.state_dict(), optimiser.state_dict()[0]
    del saved["param_groups"][0]["start_lr"]
    assert saved["param_groups"] == state["param_groups"] and saved["state"].keys() == state["state"].keys()
    again = Optimiser([OptimiserGroup("all", ours, rule, **options)])
    again.load_state_dict(optimiser.state_dict())
    assert torch.equal(
        learn(theirs, library.step, library.zero_grad)[-1][0], learn(ours, again.step, again.zero_grad)[-1][0]
    )


def test_a_step_writes_no_graph_and_leaves_the_gradients_switch_alone():
    params = values()
    optimiser = Optimiser([OptimiserGroup("all", params, "sgd", 0.1)])
    learn(params, optimiser.step, optimiser.zero_grad)
    assert torch.is_grad_enabled() and all(value.is_leaf and value.requires_grad for value in params)
    optimiser.zero_grad()
    assert all(value.grad is None for value in params)
