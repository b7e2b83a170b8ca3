"""When a step is recorded, what is replayed, and that training does not notice; a graph here is its work, run again."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from small import CLASSES, SIZES, MemoryFeed, media_batch, settings_for, small_encoders

from hcep.methods.hcep import HCEP
from hcep.methods.method import Batch
from hcep.training import step
from hcep.training.graphs import Recorder, Recording, padded_tokens
from hcep.training.loop import Trainer
from hcep.training.memory import out_of_memory


class Again:
    """Stands for a CUDA graph: runs the work on the recorded batch and writes to the recorded result."""

    def __init__(self, work, batch: Batch, result: dict[str, torch.Tensor]) -> None:
        self.work, self.batch, self.result = work, batch, result

    def replay(self) -> None:
        for name, value in self.work(self.batch).items():
            self.result[name].copy_(value)


class Imitation(Recorder):
    """Records as on a GPU, in which nothing is computed while it is recorded."""

    short: Exception | None = None

    def _record(self, work, batch: Batch) -> Recording:
        if self.short:
            raise self.short
        own = Batch(**{key: value.clone() for key, value in batch._asdict().items() if value is not None})
        result = {name: torch.zeros(()) for name in self.names}
        return Recording(Again(work, own, result), own, result)


@pytest.fixture
def recorder_of(monkeypatch):
    """A recorder of named numbers."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)

    def make(*names: str) -> Imitation:
        recorder = Imitation("train hcep", torch.device("cpu"))
        recorder.names = names
        return recorder

    return make


def batch_of(count: int, length: int, label: int = 1) -> Batch:
    batch = Batch(torch.arange(count), torch.full((count,), label), torch.zeros(count, 3, dtype=torch.bool))
    return padded_tokens(batch._replace(tokens=torch.ones(count, length, dtype=torch.int64)))


def sums(batch: Batch) -> dict[str, torch.Tensor]:
    return {"labels": batch.label.sum().float(), "tokens": batch.tokens.sum().float()}


def test_from_the_second_batch_of_a_shape_on_the_recording_answers_for_the_batch_it_is_given(recorder_of):
    recorder = recorder_of("labels", "tokens")

    def replay(*shape: int, **values: int):
        return recorder.replay(sums, batch_of(*shape, **values))

    assert replay(4, 5) is None
    first = replay(4, 5, label=2)
    # padded to sixteen tokens: the same shape
    second = replay(4, 16, label=3)
    assert {key: float(value) for key, value in first.items()} == {"labels": 8, "tokens": 20}
    assert {key: float(value) for key, value in second.items()} == {"labels": 12, "tokens": 64}
    assert len(recorder.recordings) == 1
    assert replay(3, 5) is None and replay(4, 17) is None
    assert float(replay(3, 5)["labels"]) == 3


def test_after_memory_ran_out_unrecorded_shapes_run_once_more_before_they_are_recorded(recorder_of):
    recorder = recorder_of("labels", "tokens")
    for length in (5, 5, 17):
        recorder.replay(sums, batch_of(4, length))
    recorder.warm_up_again()
    assert recorder.replay(sums, batch_of(4, 5)) is not None
    assert recorder.replay(sums, batch_of(4, 17)) is None and recorder.replay(sums, batch_of(4, 17)) is not None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        torch.AcceleratorError("CUDA error: out of memory", 2),
    ],
)
def test_where_memory_is_short_a_shape_stays_unrecorded(recorder_of, capsys, error):
    recorder = recorder_of("labels", "tokens")
    recorder.short = error
    assert [recorder.replay(sums, batch_of(4, 5)) for _ in range(3)] == [None, None, None]
    said = capsys.readouterr().err
    assert said.count("train hcep: no memory to record a step of 4 clips") == 1 and "`micro_batch`" in said
    recorder.short = None
    assert recorder.replay(sums, batch_of(4, 5)) is None


def test_an_error_about_a_recording_that_memory_ended_counts_as_memory():
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")
    except RuntimeError as error:
        assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("operation failed due to a previous error during capture"))


def test_another_error_of_a_recording_ends_the_run(recorder_of):
    recorder = recorder_of("labels", "tokens")
    recorder.short = RuntimeError("operation not permitted when stream is capturing")
    assert recorder.replay(sums, batch_of(4, 5)) is None
    with pytest.raises(RuntimeError, match="not permitted"):
        recorder.replay(sums, batch_of(4, 5))


def trained(work, recorder_of=None, **changes):
    encoders = small_encoders()
    torch.manual_seed(0)
    settings = settings_for("hcep", epochs=3, batch_size=4, micro_batch=2, prompt_step="normalised", **changes)
    method = HCEP(CLASSES, SIZES, encoders, settings)
    trainer = Trainer(method, MemoryFeed(media_batch(encoders, 14)), settings, 0, work)
    if recorder_of is not None:
        trainer.runner.recorder = recorder_of("loss_emo", "loss_osr", "accuracy")
    # as on a GPU, but for the stream
    return trainer, trainer._run(None)


def test_training_by_replaying_is_training(tmp_path, recorder_of):
    # batches of 4, 4, 4 and 2 clips: the last has a recording of its own from the second epoch on
    one, rows = trained(tmp_path / "plain")
    other, again = trained(tmp_path / "replayed", recorder_of)
    assert len(other.runner.recorder.recordings) == 2
    assert [row["loss"] for row in again] == [row["loss"] for row in rows]
    for key, value in one.method.state_dict().items():
        assert torch.equal(other.method.state_dict()[key], value), key


def test_a_run_that_is_over_keeps_no_recording(tmp_path, recorder_of, monkeypatch):
    # their memory on the device is free as soon as nobody knows the run, not when Python next looks for cycles
    monkeypatch.setattr(Again, "__init__", lambda self, work, batch, result: setattr(self, "place", (batch, result)))
    monkeypatch.setattr(Again, "replay", lambda self: None)
    gc.disable()
    try:
        trainer, _ = trained(tmp_path, recorder_of)
        recordings = [weakref.ref(recording.graph) for recording in trainer.runner.recorder.recordings.values()]
        assert len(recordings) == 2 and all(place() is not None for place in recordings)
        del trainer
        assert all(place() is None for place in recordings)
    finally:
        gc.enable()


def test_a_run_that_could_not_be_recorded_is_not_when_it_is_resumed(tmp_path, recorder_of, monkeypatch):
    for twice in (True, False):
        monkeypatch.setattr(step, "measured_size", lambda method, batch, size, twice=twice: (size, 0, twice))
        encoders = small_encoders()
        settings = settings_for("hcep", epochs=1, batch_size=4)
        work = tmp_path / str(twice)
        for epochs in (1, 2):
            method = HCEP(CLASSES, SIZES, encoders, settings)
            trainer = Trainer(method, MemoryFeed(media_batch(encoders)), settings | {"epochs": epochs}, 0, work)
            trainer.runner.recorder = recorder_of("loss_emo", "loss_osr", "accuracy")
            trainer._run(None)
            assert (trainer.runner.recorder is not None) == twice


def test_when_a_run_halves_its_clips_at_a_time_shapes_warm_up_again(tmp_path, recorder_of, monkeypatch):
    monkeypatch.setattr(step, "measured_size", lambda method, batch, size: (size, 0, True))
    encoders = small_encoders()
    settings = settings_for("hcep", epochs=1, batch_size=4)
    method = HCEP(CLASSES, SIZES, encoders, settings)
    trainer = Trainer(method, MemoryFeed(media_batch(encoders, 4)), settings, 0, tmp_path)
    trainer.runner.recorder = recorder_of("loss_emo", "loss_osr", "accuracy")
    before_step = method.before_step

    def scarce():
        if trainer.runner.micro > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        before_step()

    monkeypatch.setattr(method, "before_step", scarce)
    halved = []
    monkeypatch.setattr(trainer.runner.recorder, "warm_up_again", lambda: halved.append(trainer.runner.micro))
    trainer._run(None)
    assert halved == [2]
