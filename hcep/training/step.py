"""One optimiser step on a batch: in parts that fit into memory, and recorded on an accelerator."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from hcep.errors import HcepError
from hcep.methods.method import Batch, Method
from hcep.progress import say
from hcep.training.feed import Feed
from hcep.training.graphs import Recorder, padded_tokens
from hcep.training.memory import halved, measured_size, out_of_memory


class StepRunner:
    """Takes the steps of a run: gradients of a batch, part by part, then the optimiser.

    `settings` are ``batch_size, micro_batch, cuda_graphs`` and what the method's optimiser reads. The method and the
    batches are on `device`, and the log calls the run `name`.

    Attributes
    ----------
    done : int
        Steps taken so far, also by jobs that this one continues.
    micro : int
        Clips per backward pass; 0 as long as `fit` has not found out how many fit.
    recorder : Recorder or None
        None where steps are not recorded.

    Raises
    ------
    HcepError
        When ``micro_batch`` splits the batches of a method whose loss compares clips with each other.
    """

    def __init__(self, method: Method, settings: dict[str, Any], device: torch.device, name: str) -> None:
        self.method, self.device, self.name = method, device, name
        self.batch_size, self.micro = settings["batch_size"], settings["micro_batch"]
        self.optimiser = method.optimizer(settings)
        self.done = 0
        if self.micro and not method.splittable:
            cause = f"micro_batch {self.micro}: this method's loss compares the clips of a batch with each other"
            remedy = "set its micro_batch to 0 and, if memory is short, lower its batch_size"
            raise HcepError(cause, file=name, remedy=remedy)
        recordable = settings["cuda_graphs"] and method.recordable and device.type == "cuda"
        self.recorder = Recorder(name, device) if recordable else None

    def stream(self) -> AbstractContextManager[None]:
        """Where all work of the run should happen, so that its steps can be recorded."""
        return self.recorder.stream() if self.recorder else nullcontext()

    def fit(self, feed: Feed) -> None:
        """Find out how many clips of a feed fit into a backward pass, unless it is known already."""
        if self.micro:
            return
        self.micro = size = min(self.batch_size, len(feed))
        # methods on features need little memory
        if self.method.inputs == "features" or size < 2 or not (self.method.splittable and self.method.learns):
            return
        self.method.train()
        self.micro, per_clip, twice = measured_size(self.method, feed.batch(torch.arange(2)), size)
        # a recording keeps its memory, and batches of another shape run beside it
        self.recorder = self.recorder if twice else None
        if self.micro < size:
            passes = f"{self.micro} of {size} clips per backward pass, same gradient"
            say(f"{self.name}: {passes}: a clip keeps {per_clip / 1e9:.2f} GB")

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Take one step on a batch; the result is the method's terms, means per clip ``()``, on the device.

        Raises
        ------
        HcepError
            When a backward pass that cannot be split does not fit into memory.
        """
        if self.recorder:
            batch = padded_tokens(batch)
        terms = self.recorder.replay(self._gradients, batch) if self.recorder else None
        if terms is None:
            terms = self._gradients_that_fit(batch)
        self.optimiser.step()
        self.method.after_step(self.done)
        self.done += 1
        return terms

    def state_dict(self) -> dict[str, Any]:
        """What a later job needs to go on: optimiser, number of steps, clips per backward pass, whether it records."""
        recorded = self.recorder is not None
        return {"optimiser": self.optimiser.state_dict(), "done": self.done, "micro": self.micro, "recorded": recorded}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.done, self.micro = state["done"], state["micro"]
        self.recorder = self.recorder if state["recorded"] else None

    def _gradients_that_fit(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients and terms of a batch; when memory runs out, again with half as many clips at a time."""
        before = random_state(self.device)
        while True:
            size = self._part_size(batch)
            try:
                return self._gradients(batch)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if size == 1 or not self.method.splittable:
                    whole = f"a backward pass of {size} clips, which cannot be split,"
                    remedy = "use a device with more memory, `precision: bf16`, or a smaller `batch_size`"
                    cause = f"{whole} does not fit into memory ({error})"
                    raise HcepError(cause, file=self.name, remedy=remedy) from error
            # only here is the error gone, whose traceback holds on to the tensors that filled the memory
            self.micro = halved(size)
            if self.recorder:
                self.recorder.warm_up_again()
            short = f"{self.name}: out of memory with {size} clips per backward pass"
            say(f"{short}; goes on with {self.micro}, same gradient")
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            set_random_state(before, self.device)

    def _part_size(self, batch: Batch) -> int:
        return min(self.micro or len(batch.row), len(batch.row))

    def _gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients and terms per clip of a batch, from parts of it: all that a recording holds."""
        # a recording writes gradients to where they lay when it was made
        self.optimiser.zero_grad(keep=self.recorder is not None)
        total = len(batch.row)
        terms: dict[str, Tensor] = {}
        parts = batch.split(self._part_size(batch))
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
        self.method.before_step()
        return terms


def random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """State of torch's random numbers on the CPU, and on the device where that is another."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    """Draw the numbers again that were drawn after `random_state`."""
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
