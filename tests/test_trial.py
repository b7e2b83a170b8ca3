"""Which way to compute something is taken on a GPU; here the times are given and the tensors lie on the CPU."""

from __future__ import annotations

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional

from hcep.encoders import trial
from hcep.encoders.operations import plain_attention
from hcep.encoders.trial import fastest, outcomes

UNIT = (8,)


@pytest.fixture(autouse=True)
def no_outcomes(monkeypatch):
    monkeypatch.setattr(trial, "_outcomes", {})
    monkeypatch.setattr(trial, "_recording", lambda: False)
    monkeypatch.setattr(trial, "VALUES", 320)


@pytest.fixture
def clock(monkeypatch):
    """Times to hand out, one a way; the results of what was timed are kept."""
    handed: list[float] = []
    timed = []

    def milliseconds(works):
        timed.extend(work() for work in works)
        return handed[len(timed) - len(works) : len(timed)]

    monkeypatch.setattr(trial, "_milliseconds", milliseconds)
    return handed, timed


def library(x):
    return functional.gelu(x)


def good(x):
    return x * 0.5 * (1 + torch.erf(x * 0.5**0.5))


def wrong(x):
    return functional.silu(x)


def wrong_in_its_last_row(x):
    return torch.cat([functional.gelu(x[:-1]), functional.silu(x[-1:])])


def wrong_only_backward(x):
    return functional.gelu(x) + 0.1 * (x - x.detach())


def not_finite(x):
    return functional.gelu(x) * float("nan")


@pytest.mark.parametrize("times, taken", [((2.0, 1.0), good), ((1.0, 2.0), library), ((1.0, 0.98), library)])
def test_the_faster_is_taken_by_more_than_a_tie_and_tried_once_whatever_the_batch(clock, times, taken, capsys):
    handed, timed = clock
    handed.extend(times)
    x = torch.randn(40, 8, requires_grad=True)
    assert fastest("gelu", [library, good], x, UNIT) is taken
    # results and gradients were timed, on values of the trial's own
    assert [[value.shape for value in found] for found in timed] == [[(40, 8)] * 2] * 2 and x.grad is None
    for count in (1, 40, 1000):
        assert fastest("gelu", [library, good], torch.zeros(count, 8, requires_grad=True), UNIT) is taken
    assert len(timed) == 2
    ((key, outcome),) = outcomes().items()
    assert key == ("gelu", UNIT, torch.float32, torch.device("cpu"), True)
    assert outcome.milliseconds == times
    verdict = "taken" if taken is good else "not used"
    said = f"gelu of (8,), both passes: {times[0]:.3f} ms, as a fused kernel {times[1]:.3f} ms, which is {verdict}\n"
    assert capsys.readouterr().err == said


def test_lengths_and_passes_without_gradients_have_trials_of_their_own(clock):
    handed, timed = clock
    handed.extend([2.0, 1.0, 1.0, 2.0, 1.0, 2.0])
    x = torch.randn(40, 8, requires_grad=True)
    assert fastest("gelu", [library, good], x, UNIT) is good
    assert fastest("gelu", [library, good], x, (1000,)) is library
    with torch.no_grad():
        assert fastest("gelu", [library, good], x, UNIT) is library
    assert [[value.shape for value in found] for found in timed[::2]] == [[(40, 8)] * 2, [(1, 1000)] * 2, [(40, 8)]]


@pytest.mark.parametrize("bad", [wrong, wrong_in_its_last_row, wrong_only_backward, not_finite])
def test_a_way_that_differs_is_not_taken_and_named(clock, bad, capsys):
    clock[0].append(1.0)
    assert fastest("gelu", [library, bad], torch.randn(40, 8, requires_grad=True), UNIT) is library
    said = capsys.readouterr().err
    assert said.count("gelu of (8,), both passes: a fused kernel differs") == 1
    (outcome,) = outcomes().values()
    assert outcome == (0, (1.0, None))


def test_a_way_that_fails_is_not_taken_and_named_and_keeps_no_memory(clock, capsys):
    clock[0].append(1.0)
    made = []

    def failing(x):
        y = x.exp()  # which autograd keeps
        made.append(StorageWeakRef(y.untyped_storage()))
        raise RuntimeError("no registers left")

    assert fastest("gelu", [library, failing], torch.zeros(1, requires_grad=True), UNIT) is library
    assert "a fused kernel failed and is not used (RuntimeError('no registers left'))" in capsys.readouterr().err
    (outcome,) = outcomes().values()
    assert outcome == (0, (1.0, None)) and [value.expired() for value in made] == [True]


def test_a_trial_without_memory_decides_nothing(clock):
    def greedy(x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    x = torch.zeros(1, requires_grad=True)
    assert fastest("gelu", [library, greedy], x, UNIT) is library and not outcomes()
    clock[0].extend([2.0, 1.0])
    assert fastest("gelu", [library, good], x, UNIT) is good


def test_nothing_is_tried_while_a_graph_is_recorded(clock, monkeypatch):
    x = torch.randn(40, 8, requires_grad=True)
    assert fastest("gelu", [library, good], x[:0], UNIT) is library and not outcomes()
    monkeypatch.setattr(trial, "_recording", lambda: True)
    assert fastest("gelu", [library, good], x, UNIT) is library and not outcomes()
    monkeypatch.setattr(trial, "_recording", lambda: False)
    clock[0].extend([2.0, 1.0])
    assert fastest("gelu", [library, good], x, UNIT) is good
    monkeypatch.setattr(trial, "_recording", lambda: True)
    assert fastest("gelu", [library, good], x, UNIT) is good


def test_a_trial_moves_neither_random_numbers_nor_gradients_nor_what_is_counted(clock):
    clock[0].extend([2.0, 1.0])
    x = torch.randn(40, 8, requires_grad=True)
    kept = []
    state = torch.get_rng_state()
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):
        fastest("gelu", [library, good], x, UNIT)
    assert not kept and x.grad is None and torch.equal(torch.get_rng_state(), state)


def test_results_of_another_shape_than_what_is_given_have_gradients_too(clock):
    clock[0].extend([2.0, 1.0])
    joined = torch.randn(2, 5, 96, requires_grad=True)
    ways = [lambda x: plain_attention(x, 2, causal=True), lambda x: plain_attention(x.double(), 2, causal=True).float()]
    assert fastest("causal attention", ways, joined, (5, 96)) is ways[1]
    assert [value.shape for value in clock[1][0]] == [(1, 5, 32), (1, 5, 96)]


class Event:
    """A device that has run all calls as soon as they are handed over, until it pauses for long enough."""

    asked = 0

    def __init__(self, enable_timing):
        pass

    def record(self):
        pass

    def query(self):
        Event.asked += 1
        return Event.asked < 3

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return 10.0


def test_a_call_is_timed_behind_a_pause_that_outlasts_the_processor(monkeypatch):
    pauses, calls = [], []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", pauses.append)
    found = trial._call_milliseconds(lambda: calls.append(1))
    assert found == 10.0 / trial.CALLS and pauses == trial.PAUSES[:3] and len(calls) == 3 * trial.CALLS
