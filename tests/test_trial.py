"""Which way to compute something is taken on a GPU; here the times are given and the tensors lie on the CPU."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hcep.encoders import trial
from hcep.encoders.operations import plain_attention
from hcep.encoders.trial import fastest, libraries_only, outcomes


@pytest.fixture(autouse=True)
def no_outcomes(monkeypatch):
    monkeypatch.setattr(trial, "_outcomes", {})
    monkeypatch.setattr(trial, "_recording", lambda: False)


@pytest.fixture
def clock(monkeypatch):
    """Times to hand out, one a way; what was timed is kept, and run."""
    handed: list[float] = []
    timed = []

    def milliseconds(work, device):
        timed.append(work())
        return handed[len(timed) - 1]

    monkeypatch.setattr(trial, "_milliseconds", milliseconds)
    return handed, timed


def library(x):
    return functional.gelu(x)


def good(x):
    return x * 0.5 * (1 + torch.erf(x * 0.5**0.5))


def wrong(x):
    return functional.silu(x)


def wrong_only_backward(x):
    return functional.gelu(x) + 0.1 * (x - x.detach())


def not_finite(x):
    return functional.gelu(x) * float("nan")


@pytest.mark.parametrize("times, taken", [((2.0, 1.0), good), ((1.0, 2.0), library)])
def test_the_faster_is_taken_and_tried_once_a_shape(clock, times, taken):
    handed, timed = clock
    handed.extend(times)
    x = torch.randn(40, 8, requires_grad=True)
    assert fastest("gelu", [library, good], x) is taken
    # results and gradients were timed, on values of the trial's own
    assert [len(found) for found in timed] == [2, 2] and x.grad is None
    assert fastest("gelu", [library, good], torch.zeros(40, 8, requires_grad=True)) is taken and len(timed) == 2
    ((key, outcome),) = outcomes().items()
    assert key == ("gelu", (40, 8), torch.float32, torch.device("cpu"), True)
    assert outcome.milliseconds == times


def test_shapes_and_passes_without_gradients_have_trials_of_their_own(clock):
    handed, timed = clock
    handed.extend([2.0, 1.0, 1.0, 2.0, 1.0, 2.0])
    x = torch.randn(40, 8, requires_grad=True)
    assert fastest("gelu", [library, good], x) is good
    assert fastest("gelu", [library, good], x[:20]) is library
    with torch.no_grad():
        assert fastest("gelu", [library, good], x) is library
    assert [len(found) for found in timed] == [2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("bad", [wrong, wrong_only_backward, not_finite])
def test_a_way_that_differs_is_not_taken_and_named(clock, bad, capsys):
    clock[0].append(1.0)
    assert fastest("gelu", [library, bad], torch.randn(40, 8, requires_grad=True)) is library
    said = capsys.readouterr().err
    assert said.count("gelu, (40, 8): a fused kernel differs") == 1
    (outcome,) = outcomes().values()
    assert outcome == (0, (1.0, None))


def test_nothing_is_tried_while_a_graph_is_recorded_or_operations_are_counted(clock, monkeypatch):
    x = torch.randn(40, 8, requires_grad=True)
    with libraries_only():
        assert fastest("gelu", [library, good], x) is library
    monkeypatch.setattr(trial, "_recording", lambda: True)
    assert fastest("gelu", [library, good], x) is library and not outcomes()
    assert fastest("gelu", [library, good], x[:0]) is library and not outcomes()
    monkeypatch.setattr(trial, "_recording", lambda: False)
    clock[0].extend([2.0, 1.0])
    assert fastest("gelu", [library, good], x) is good
    monkeypatch.setattr(trial, "_recording", lambda: True)
    assert fastest("gelu", [library, good], x) is good
    with libraries_only():
        assert fastest("gelu", [library, good], x) is library


def test_a_trial_moves_neither_random_numbers_nor_gradients_nor_what_is_counted(clock):
    clock[0].extend([2.0, 1.0])
    x = torch.randn(40, 8, requires_grad=True)
    kept = []
    state = torch.get_rng_state()
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):
        fastest("gelu", [library, good], x)
    assert not kept and x.grad is None and torch.equal(torch.get_rng_state(), state)


def test_results_of_another_shape_than_what_is_given_have_gradients_too(clock):
    clock[0].extend([2.0, 1.0])
    joined = torch.randn(2, 5, 96, requires_grad=True)
    ways = [lambda x: plain_attention(x, 2, causal=True), lambda x: plain_attention(x.double(), 2, causal=True).float()]
    assert fastest("causal attention", ways, joined) is ways[1]
    assert [value.shape for value in clock[1][0]] == [(2, 5, 32), (2, 5, 96)]


def test_a_trial_on_large_tensors_needs_little_memory(clock, monkeypatch):
    monkeypatch.setattr(trial, "VALUES", 100)
    clock[0].extend([2.0, 1.0, 2.0, 1.0])
    assert fastest("gelu", [library, good], torch.zeros(40, 8, requires_grad=True)) is good
    assert fastest("gelu", [library, good], torch.zeros(3, 400, requires_grad=True)) is good
    assert [found[0].shape for found in clock[1]] == [(12, 8), (12, 8), (1, 400), (1, 400)]
