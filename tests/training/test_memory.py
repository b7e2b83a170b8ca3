"""How many clips fit into a backward pass: counted before the first step, halved when memory runs out after all."""

from __future__ import annotations

import psutil
import pytest
import torch
from small import CLASSES, SIZES, MemoryFeed, media_batch, note_images, settings_for, small_encoders
from torch import nn

from hcep.errors import HcepError
from hcep.methods.hcep import HCEP
from hcep.methods.method import Method
from hcep.training import memory, step
from hcep.training.loop import Trainer
from hcep.training.memory import fitting_size, free_bytes, halved, kept_bytes, measured_size


def trainer(work, limit=None, count=7, **changes) -> Trainer:
    """HCEP on `count` clips; more than `limit` of them in one pass are more than memory holds."""
    encoders = small_encoders()
    settings = settings_for("hcep", batch_size=count, epochs=2, **changes)
    torch.manual_seed(0)
    method = HCEP(CLASSES, SIZES, encoders, settings)
    loss = method.loss

    def scarce(batch):
        torch.rand(3)  # random numbers drawn in vain are drawn again
        terms = loss(batch)
        if limit is not None and len(batch.row) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return terms | {"loss_noise": 1e-3 * torch.rand(()) * method.head.fuse.weight.square().sum()}

    method.loss = scarce
    return Trainer(method, MemoryFeed(media_batch(encoders, count)), settings, 0, work, name="train hcep")


def test_out_of_memory_halves_the_clips_until_they_fit_and_changes_nothing_else(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(step, "measured_size", lambda method, batch, size: (size, 0, True))
    short = trainer(tmp_path / "short", limit=2)
    rows = short.run()
    said = [line for line in capsys.readouterr().err.splitlines() if "out of memory" in line]
    assert said == [
        "train hcep: out of memory with 7 clips per backward pass; goes on with 4, same gradient",
        "train hcep: out of memory with 4 clips per backward pass; goes on with 2, same gradient",
    ]
    asked = trainer(tmp_path / "asked", micro_batch=2)
    wanted = asked.run()
    assert [row["loss"] for row in rows] == [row["loss"] for row in wanted]
    for key, value in asked.method.state_dict().items():
        assert torch.equal(short.method.state_dict()[key], value), key


def test_running_out_of_memory_behind_the_last_part_halves_the_clips_too(tmp_path, capsys, monkeypatch):
    # where several parts share the class prompts, their backward pass comes last
    monkeypatch.setattr(step, "measured_size", lambda method, batch, size: (4, 0, True))
    short = trainer(tmp_path / "short")
    before_step = short.method.before_step

    def scarce():
        if short.runner.micro > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        before_step()

    short.method.before_step = scarce
    rows = short.run()
    assert "out of memory with 4 clips per backward pass; goes on with 2, same gradient" in capsys.readouterr().err
    asked = trainer(tmp_path / "asked", micro_batch=2)
    assert [row["loss"] for row in rows] == [row["loss"] for row in asked.run()]
    for key, value in asked.method.state_dict().items():
        assert torch.equal(short.method.state_dict()[key], value), key


def test_one_clip_that_does_not_fit_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "measured_size", lambda method, batch, size: (size, 0, True))
    with pytest.raises(HcepError, match=r"pass of 1 clips, which cannot be split, does not fit.*Remedy: use a device"):
        trainer(tmp_path, limit=0).run()


def test_a_batch_that_means_something_as_a_whole_is_never_split(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "measured_size", lambda method, batch, size: (3, 10**9, False))
    monkeypatch.setattr(HCEP, "splittable", False)
    whole = trainer(tmp_path / "a")
    whole.run()
    assert whole.runner.micro == 7
    with pytest.raises(HcepError, match=r"pass of 7 clips, which cannot be split, does not fit"):
        trainer(tmp_path / "b", limit=4).run()
    with pytest.raises(HcepError, match=r"micro_batch 2: this method's loss compares the clips of a batch"):
        trainer(tmp_path / "c", micro_batch=2)


def test_a_resumed_run_keeps_its_micro_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "measured_size", lambda method, batch, size: (3, 10**9, False))
    first = trainer(tmp_path)
    first.settings = first.settings | {"epochs": 1}
    first.run()
    monkeypatch.setattr(step, "measured_size", lambda *given: pytest.fail("measured again"))
    again = trainer(tmp_path)
    again.run()
    assert again.runner.micro == 3


def test_a_smaller_pass_is_said_with_the_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1)
    trainer(tmp_path).run()
    assert "train hcep: 1 of 7 clips per backward pass, same gradient: a clip keeps 0.00 GB" in capsys.readouterr().err


class Squares(Method):
    """Keeps one float32 tensor of 100 numbers per clip, one of 50 whatever the clips, and counts its calls."""

    inputs = "media"

    def __init__(self):
        super().__init__([], None, None, {})
        self.weight = nn.Parameter(torch.ones(100))
        self.register_buffer("calls", torch.zeros(()))

    def loss(self, batch):
        self.calls += 1
        shared = self.weight[:50] * 2
        clips = torch.rand(len(batch.row), 100) * self.weight
        return {"loss_x": (clips * clips).sum() + (shared * shared).sum()}


def test_what_autograd_keeps_is_counted_and_nothing_is_left_behind():
    method, batch = Squares(), media_batch(small_encoders(), 4)
    before = torch.get_rng_state()
    # of each product one result and one factor: the random numbers are a leaf and do not count
    assert kept_bytes(method, batch.split(1)[0]) == 4 * (100 + 50)
    assert kept_bytes(method, batch) == 4 * (4 * 100 + 50)
    assert torch.equal(torch.get_rng_state(), before) and float(method.calls) == 0 and method.weight.grad is None


def test_the_pass_is_measured_by_its_first_clips(monkeypatch):
    method, batch = Squares(), media_batch(small_encoders(), 2)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 20_000)
    # 1.25 x (200 + 400 n) bytes within 0.9 x 20,000: n = 35, so 32 of 64
    assert measured_size(method, batch, 64) == (32, 400, False)
    assert measured_size(method, batch, 35) == (35, 400, False)
    assert measured_size(method, batch, 36) == (18, 400, False)
    assert measured_size(method, batch, 16) == (16, 400, True)


def test_sizes_are_halves_of_the_batch():
    assert [fitting_size(64, 0, 100, free) for free in (8889, 8888, 600, 1)] == [64, 32, 4, 1]
    assert [halved(size) for size in (64, 7, 3, 2)] == [32, 4, 2, 1]


def test_free_memory_is_what_the_system_says(monkeypatch):
    cpu = torch.device("cpu")
    assert 0 < free_bytes(cpu) < psutil.virtual_memory().total
    said = psutil.virtual_memory()._replace(total=24_000_000, free=100_000, available=12_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: said)
    assert free_bytes(cpu) == 12_000_000


def test_bf16_keeps_about_half():
    encoders = small_encoders()
    method = HCEP(CLASSES, SIZES, encoders, settings_for("hcep"))
    method.begin([])
    batch = media_batch(encoders, 2)
    kept = {}
    for precision in ("fp32", "bf16"):
        method.settings = settings_for("hcep", precision=precision)
        kept[precision] = kept_bytes(method, batch) - kept_bytes(method, batch.split(1)[0])
    assert 0.5 <= kept["bf16"] / kept["fp32"] < 0.65


def test_micro_batches_of_a_step_share_the_class_prompts(tmp_path, monkeypatch):
    encoders = small_encoders()
    grads, images = [], []
    noted = note_images(monkeypatch, encoders.vision)
    for micro, changes in ((5, {}), (2, {}), (5, {"class_text_prompted": True}), (2, {"class_text_prompted": True})):
        settings = settings_for("hcep", micro_batch=micro, batch_size=5, prompt_step="normalised", **changes)
        torch.manual_seed(0)
        method = HCEP(CLASSES, SIZES, encoders, settings)
        method.begin([])
        noted.clear()
        Trainer(method, MemoryFeed(media_batch(encoders)), settings, 0, tmp_path).runner.step(media_batch(encoders))
        images.append(list(noted))
        grads.append({name: value.grad for name, value in method.named_parameters() if value.grad is not None})
    assert images[:2] == [[15, 6], [6, 6, 6, 3]]
    for whole, parts in (grads[:2], grads[2:]):
        assert set(whole) == set(parts) and "cuep.delta_a_neg" in parts
        for name, value in whole.items():
            torch.testing.assert_close(parts[name], value, atol=1e-6, rtol=1e-3, msg=name)


def test_nothing_of_the_measured_graph_stays_alive():
    encoders = small_encoders()
    method = HCEP(CLASSES, SIZES, encoders, settings_for("hcep"))
    method.begin([])

    def node(value: torch.Tensor):
        """Where the gradient of a parameter ends: made anew unless a graph still holds it."""
        return value.expand_as(value).grad_fn.next_functions[0][0]

    learnable = [value for value in method.parameters() if value.requires_grad]
    nodes = [node(value) for value in learnable]
    for found in nodes:
        found.metadata["before"] = True
    assert kept_bytes(method, media_batch(encoders, 2)) > 0
    del nodes, found
    assert learnable and not any("before" in node(value).metadata for value in learnable)
