"""The training loop: seeded order, schedule, epochs, history, resume. It knows no method by name."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hcep.errors import HcepError
from hcep.methods.method import Batch, Method
from hcep.progress import progress, say
from hcep.termination import MayEnd, finishing
from hcep.training.checkpoint import STATE_FILE, read_state, save_state
from hcep.training.feed import Feed
from hcep.training.memory import peak_memory_gb
from hcep.training.step import StepRunner, random_state, set_random_state

REMEDY = "correct `trained_as` or `SCORING` in hcep/config/methods.py: the rows do not take the same steps"
CHECK_EVERY = 50  # steps between looks at the losses, each of which waits for the device
Monitor = Callable[[Method], dict[str, float]]


def learning_rate_factor(epoch: int, settings: dict[str, Any]) -> float:
    """Step schedule: times `lr_decay` after every `lr_step` epochs (epoch counts from 0)."""
    return settings["lr_decay"] ** (epoch // settings["lr_step"])


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of the clips in an epoch; depends on seed and epoch only, so that a resumed run sees the same."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


class Diverged(HcepError):
    """A loss was not finite."""


class Trainer:
    """Trains a method epoch by epoch.

    Parameters
    ----------
    method : Method
        On its device, freshly built from the run's seed.
    feed, seed
        Training clips, and the seed of their order.
    settings : dict
        ``epochs, lr, lr_decay, lr_step``, what `StepRunner` reads, and what the method reads.
    work : path or None
        Folder of the resume state; its name must change with anything that changes the result. None: no state is kept.
    monitor : callable, optional
        Called after each epoch with the method; returns numbers for the history, among them ``selected`` when the state
        with the largest value is to be kept instead of the last.
    name : str
        What the log calls this run.

    Attributes
    ----------
    runner, history : StepRunner, list of dict
        What takes the steps, and one row per epoch.
    best : dict or None
        ``value``, ``epoch`` and ``method`` (its state) of the largest ``selected`` so far.
    """

    def __init__(
        self,
        method: Method,
        feed: Feed,
        settings: dict[str, Any],
        seed: int,
        work: Path | None,
        monitor: Monitor | None = None,
        name: str = "train",
    ) -> None:
        self.method, self.feed, self.settings, self.seed = method, feed, settings, seed
        self.state_file = None if work is None else work / STATE_FILE
        self.monitor, self.name = monitor, name
        self.runner = StepRunner(method, settings, feed.device, name)
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] | None = None
        # of an epoch that a job left in the middle: steps taken, and the sums of their terms
        self._left: dict[str, Any] = {"steps": 0, "sums": {}}
        self._may_end: MayEnd = lambda save: None

    def run(self, ready: Callable[[], None] | None = None) -> list[dict[str, float]]:
        """Train to the last epoch, from the resume state if there is one, and return the history.

        `ready` is called before the first step. A run that keeps its state ends on SIGTERM after the step.

        Raises
        ------
        Terminated
            On SIGTERM; the state after the step is kept.
        Diverged
            When a loss is not finite; the state after the epoch before stays.
        """
        self._be_deterministic()
        with self.runner.stream():
            return self._run(ready)

    def _be_deterministic(self) -> None:
        # some kernels of an accelerator have no deterministic form, and those that have are slower
        # (`use_deterministic_algorithms` sets the same and imports the compiler, which takes as long as torch)
        torch.set_deterministic_debug_mode("error" if self.feed.device.type == "cpu" else "default")

    def finish(self, state: Mapping[str, Tensor]) -> None:
        """Do what comes after the last step, with the state of a method whose steps were the same."""
        self._be_deterministic()
        self.method.begin(self._batches())
        own = self.method.state_dict()
        lacking = [name for name, _ in self.method.named_parameters() if name not in state]
        if lacking:
            raise HcepError(f"the other row's model has no {lacking[0]}", file=self.name, remedy=REMEDY)
        self.method.load_state_dict(own | {name: value for name, value in state.items() if name in own})
        self.method.eval()
        self.method.finish(self._batches())

    def _batches(self) -> Iterator[Batch]:
        return self.feed.batches(self.settings["batch_size"])

    def _run(self, ready: Callable[[], None] | None) -> list[dict[str, float]]:
        epochs = self.settings["epochs"] if self.method.learns else 0
        self.method.begin(self._batches())
        first = self._resume()
        self.runner.fit(self.feed)
        if ready is not None:
            ready()
        with finishing() if self.state_file else nullcontext(self._may_end) as self._may_end:
            for epoch in progress(range(first, epochs), epochs, self.name, "epoch", done=first):
                self._epoch(epoch)
                self._save(epoch + 1)
                self._may_end(lambda: None)
        if self.best is not None:
            self.method.load_state_dict(self.best["method"])
            self.method.after_step(self.runner.done)
        self.method.finish(self._batches())
        return self.history

    def _epoch(self, epoch: int) -> None:
        start = time.perf_counter()
        factor = learning_rate_factor(epoch, self.settings)
        lr = self.settings["lr"] * factor
        self.runner.optimiser.set_factor(factor)
        self.method.train()
        done, size = self._left["steps"], self.settings["batch_size"]
        sums = {key: value.to(self.feed.device) for key, value in self._left["sums"].items()}
        self._left = {"steps": 0, "sums": {}}
        waiting: list[dict[str, Tensor]] = []
        order = epoch_order(len(self.feed), self.seed, epoch)[done * size :]

        def save() -> None:
            self._check(waiting, epoch, lr)
            self._left = {"steps": done, "sums": sums}
            self._save(epoch)

        for batch in self.feed.batches(size, order):
            waiting.append(self.runner.step(batch))
            done += 1
            for key, value in waiting[-1].items():
                sums[key] = sums.get(key, torch.zeros((), device=self.feed.device)) + value * len(batch.row)
            if len(waiting) == CHECK_EVERY:
                self._check(waiting, epoch, lr)
                waiting = []
            self._may_end(save)
        self._check(waiting, epoch, lr)
        seconds = time.perf_counter() - start
        means = {key: float(value) / len(self.feed) for key, value in sums.items()}
        loss = sum(value for key, value in means.items() if key.startswith("loss_"))
        row = {"epoch": float(epoch + 1), "lr": lr, "loss": loss, **means}
        row |= {"samples_per_s": len(order) / seconds, "memory_gb": peak_memory_gb(self.feed.device)}
        self.method.eval()
        row |= self.method.diagnostics()
        if self.monitor is not None:
            seen = self.monitor(self.method)
            chosen = seen.pop("selected", None)
            row |= seen
            allowed = chosen is not None and self.method.selectable
            if allowed and (self.best is None or chosen > self.best["value"]):
                self.best = {"value": chosen, "epoch": epoch + 1, "method": copy.deepcopy(self.method.state_dict())}
        self.history.append(row)

    def _check(self, waiting: list[dict[str, Tensor]], epoch: int, lr: float) -> None:
        """Stop the run where one of the last steps' terms is not finite."""
        for step, terms in enumerate(waiting, self.runner.done - len(waiting) + 1):
            for key, value in terms.items():
                if not math.isfinite(float(value)):
                    cause = f"{key} is {float(value)} in epoch {epoch + 1}, step {step}, at lr {lr:g}"
                    kept = f"the state after epoch {epoch} is kept in {self.state_file}"
                    remedy = "lower `lr` (and `cosine_scale`, whose gradients it multiplies); "
                    kept = kept if epoch and self.state_file else "no state is kept" if epoch else "no epoch was done"
                    raise Diverged(cause, file=self.name, remedy=remedy + kept)

    def _save(self, epochs_done: int) -> None:
        if self.state_file is None:
            return
        state = {"epochs_done": epochs_done, "left": self._left, "history": self.history, "best": self.best}
        state |= {"method": self.method.state_dict(), "runner": self.runner.state_dict()}
        save_state(self.state_file, state | {"random": random_state(self.feed.device)})

    def _resume(self) -> int:
        """Epochs that an earlier job has done, whose state is taken over; 0 without one."""
        state = None if self.state_file is None else read_state(self.state_file)
        if state is None:
            return 0
        self._left, self.history, self.best = state["left"], state["history"], state["best"]
        self.method.load_state_dict(state["method"])
        self.runner.load_state_dict(state["runner"])
        set_random_state(state["random"], self.feed.device)
        inside = f", step {steps}" if (steps := self._left["steps"]) else ""
        say(f"{self.name}: goes on after epoch {state['epochs_done']}{inside}")
        return int(state["epochs_done"])
