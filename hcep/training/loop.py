"""The training loop: seeded order, schedule, micro-batches, history, resume. It knows no method by name."""

from __future__ import annotations

import copy
import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hcep.errors import HcepError
from hcep.methods.method import Batch, Method
from hcep.progress import progress
from hcep.training.checkpoint import read_state, save_state
from hcep.training.feed import Feed
from hcep.training.graphs import Recorder, padded_tokens
from hcep.training.memory import halved, measured_size, out_of_memory

CHECK_EVERY = 50  # steps between looks at the losses, each of which waits for the device
Monitor = Callable[[Method], dict[str, float]]


def learning_rate_factor(epoch: int, settings: dict[str, Any]) -> float:
    """Step schedule: times `lr_decay` after every `lr_step` epochs (epoch counts from 0)."""
    return settings["lr_decay"] ** (epoch // settings["lr_step"])


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of the clips in an epoch; depends on seed and epoch only, so that a resumed run sees the same."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)


def memory_gb(device: torch.device) -> float:
    """Peak memory so far in GB: the device's on an accelerator, else the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class Diverged(HcepError):
    """A loss was not finite."""


class Trainer:
    """One run.

    Parameters
    ----------
    method : Method
        On its device, freshly built from the run's seed.
    feed : Feed
        Training clips.
    settings : dict
        ``epochs, batch_size, micro_batch, lr, lr_decay, lr_step, precision, selection, cuda_graphs`` and what the
        method reads.
    seed : int
        Of the order of clips.
    work : path
        Folder of the resume state; its name must change with anything that changes the result.
    monitor : callable, optional
        Called after each epoch; returns numbers for the history, among them ``selected`` when the state with the
        largest value is to be kept instead of the last.
    name : str
        What the log calls this run.
    """

    def __init__(
        self,
        method: Method,
        feed: Feed,
        settings: dict[str, Any],
        seed: int,
        work: Path,
        monitor: Monitor | None = None,
        name: str = "train",
    ) -> None:
        self.method, self.feed, self.settings, self.seed = method, feed, settings, seed
        self.state_file, self.monitor, self.name = work / "state.pt", monitor, name
        self.device = feed.device
        self.optimiser = method.optimizer(settings)
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] | None = None
        self.step = 0
        self.micro = settings["micro_batch"]
        if self.micro and not method.splittable:
            raise HcepError(
                f"micro_batch {self.micro}: this method's loss compares the clips of a batch with each other",
                file=name,
                remedy="set its micro_batch to 0 and, if memory is short, lower its batch_size",
            )
        recordable = settings["cuda_graphs"] and method.recordable and self.device.type == "cuda"
        self.recorder = Recorder(name, self.device) if recordable else None

    def run(self, ready: Callable[[], None] | None = None) -> list[dict[str, float]]:
        """Train to the last epoch, from the resume state if there is one.

        Parameters
        ----------
        ready : callable, optional
            Called before the first step.

        Returns
        -------
        list of dict
            The history, one row per epoch.
        """
        with self.recorder.stream() if self.recorder else nullcontext():
            return self._run(ready)

    def _run(self, ready: Callable[[], None] | None) -> list[dict[str, float]]:
        size = self.settings["batch_size"]
        self.method.begin(self.feed.batches(size))
        first = self._resume()
        if not self.micro:
            self.micro = self._fitting_micro_batch()
        if ready is not None:
            ready()
        epochs = self.settings["epochs"] if self.method.learns else 0
        for epoch in progress(range(first, epochs), epochs, self.name, "epoch", done=first):
            self._epoch(epoch)
            self._save(epoch + 1)
        if self.best is not None:
            self.method.load_state_dict(self.best["method"])
            self.method.after_step(self.step)
        self.method.finish(self.feed.batches(size))
        return self.history

    def _epoch(self, epoch: int) -> None:
        settings, start = self.settings, time.perf_counter()
        factor = learning_rate_factor(epoch, settings)
        self.optimiser.set_factor(factor)
        self.method.train()
        sums: dict[str, Tensor] = {}
        waiting: list[tuple[int, dict[str, Tensor]]] = []
        order = epoch_order(len(self.feed), self.seed, epoch)
        for batch in self.feed.batches(settings["batch_size"], order):
            terms = self._step(batch)
            self.step += 1
            for key, value in terms.items():
                sums[key] = sums.get(key, torch.zeros((), device=self.device)) + value * len(batch.row)
            waiting.append((self.step, terms))
            if len(waiting) == CHECK_EVERY:
                self._check(waiting, epoch)
                waiting = []
        self._check(waiting, epoch)
        seconds = time.perf_counter() - start
        means = {key: float(value) / len(self.feed) for key, value in sums.items()}
        row = {"epoch": float(epoch + 1), "lr": settings["lr"] * factor}
        row["loss"] = sum(value for key, value in means.items() if key.startswith("loss_"))
        row |= means | {"samples_per_s": len(self.feed) / seconds, "memory_gb": memory_gb(self.device)}
        self.method.eval()
        row |= self.method.diagnostics()
        if self.monitor is not None:
            seen = self.monitor(self.method)
            chosen = seen.pop("selected", None)
            row |= seen
            if chosen is not None and (self.best is None or chosen > self.best["value"]):
                self.best = {"value": chosen, "epoch": epoch + 1, "method": copy.deepcopy(self.method.state_dict())}
        self.history.append(row)

    def _fitting_micro_batch(self) -> int:
        """Clips per backward pass that fit into memory, measured on the first two; methods on features need little."""
        size = min(self.settings["batch_size"], len(self.feed))
        if self.method.inputs == "features" or size < 2 or not (self.method.splittable and self.method.learns):
            return size
        self.method.train()
        micro, per_clip, twice = measured_size(self.method, self.feed.batch(torch.arange(2)), size)
        if not twice:
            # a recording keeps its memory, and batches of another shape run beside it
            self.recorder = None
        if micro < size:
            print(
                f"{self.name}: {micro} of {size} clips per backward pass, same gradient: "
                f"a clip keeps {per_clip / 1e9:.2f} GB",
                file=sys.stderr,
                flush=True,
            )
        return micro

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step on the effective batch."""
        if self.recorder:
            batch = padded_tokens(batch)
        terms = self.recorder.replay(self._all_gradients, batch) if self.recorder else None
        if terms is None:
            terms = self._gradients_that_fit(batch)
        self.optimiser.step()
        self.method.after_step(self.step)
        return terms

    def _gradients_that_fit(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients and terms of a batch; when memory runs out, again with half as many clips at a time."""
        rng = torch.get_rng_state(), torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        while (terms := self._gradients(batch)) is None:
            torch.set_rng_state(rng[0])
            if rng[1] is not None:
                torch.cuda.empty_cache()
                torch.cuda.set_rng_state(rng[1], self.device)
        return terms

    def _gradients(self, batch: Batch) -> dict[str, Tensor] | None:
        """Gradients and terms of a batch; None when memory ran out, with `micro` halved."""
        size = self._part_size(batch)
        try:
            return self._all_gradients(batch)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if size == 1 or not self.method.splittable:
                raise HcepError(
                    f"a backward pass of {size} clips, which cannot be split, does not fit into memory ({error})",
                    file=self.name,
                    remedy="use a device with more memory, `precision: bf16`, or a smaller `batch_size`",
                ) from error
            self.micro = halved(size)
        if self.recorder:
            self.recorder.warm_up_again()
        print(
            f"{self.name}: out of memory with {size} clips per backward pass; goes on with {self.micro}, same gradient",
            file=sys.stderr,
            flush=True,
        )
        return None

    def _part_size(self, batch: Batch) -> int:
        return min(self.micro or len(batch.row), len(batch.row))

    def _all_gradients(self, batch: Batch) -> dict[str, Tensor]:
        """What comes before the optimiser's step: this is what a recording holds."""
        terms = self._accumulate(batch, self._part_size(batch))
        self.method.before_step()
        return terms

    def _accumulate(self, batch: Batch, size: int) -> dict[str, Tensor]:
        """Gradients of the effective batch from parts of at most `size` clips, and the terms per clip."""
        # a recording writes gradients to where they lay when it was made
        self.optimiser.zero_grad(keep=self.recorder is not None)
        total = len(batch.row)
        terms: dict[str, Tensor] = {}
        parts = batch.split(size)
        self.method.begin_step(len(parts))
        for part in parts:
            share = len(part.row) / total
            values = self.method.loss(part)
            losses = [value for key, value in values.items() if key.startswith("loss_")]
            # a mean over the batch is the share-weighted mean of its parts; a sum is the sum of its parts
            weight = share if self.method.reduction == "mean" else 1.0
            (torch.stack(losses).sum() * weight).backward()
            for key, value in values.items():
                summed = key.startswith("loss_") and self.method.reduction == "sum"
                scale = 1 / total if summed else share  # the history holds means per clip either way
                terms[key] = terms.get(key, torch.zeros((), device=self.device)) + value.detach() * scale
        return terms

    def _check(self, waiting: list[tuple[int, dict[str, Tensor]]], epoch: int) -> None:
        for step, terms in waiting:
            for key, value in terms.items():
                if not math.isfinite(float(value)):
                    kept = (
                        f"the state after epoch {epoch} is kept in {self.state_file}" if epoch else "no epoch was done"
                    )
                    raise Diverged(
                        f"{key} is {float(value)} in epoch {epoch + 1}, step {step}, "
                        f"at lr {self.settings['lr'] * learning_rate_factor(epoch, self.settings):g}",
                        file=self.name,
                        remedy=f"lower `lr` (and `cosine_scale`, whose gradients it multiplies); {kept}",
                    )

    def _save(self, epochs_done: int) -> None:
        state = {
            "epochs_done": epochs_done,
            "step": self.step,
            "micro": self.micro,
            "recorded": self.recorder is not None,
            "method": self.method.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": self.history,
            "best": self.best,
            "rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        save_state(self.state_file, state)

    def _resume(self) -> int:
        state = read_state(self.state_file)
        if state is None:
            return 0
        self.method.load_state_dict(state["method"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.history, self.best, self.step = state["history"], state["best"], state["step"]
        self.micro = state["micro"]
        if not state["recorded"]:
            self.recorder = None
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["device_rng"], self.device)
        print(f"{self.name}: goes on after epoch {state['epochs_done']}", file=sys.stderr, flush=True)
        return int(state["epochs_done"])
