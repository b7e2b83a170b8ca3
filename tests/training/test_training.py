"""The loop: seeded, micro-batches exact, resumed bit for bit, stopped by NaN without losing the last good state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small import CLASSES, SIZES, MemoryFeed, feature_batch, media_batch, settings_for, small_encoders

from hcep.config.methods import METHODS, Common, Head, Missing
from hcep.errors import HcepError
from hcep.methods.class_means import class_means
from hcep.methods.feature_method import FeatureMethod
from hcep.methods.hcep import HCEP
from hcep.methods.linear import Linear
from hcep.termination import Terminated, sigterm_interrupts
from hcep.training.checkpoint import read_checkpoint, read_state, save_checkpoint
from hcep.training.feed import missing_mask
from hcep.training.loop import Trainer, epoch_order, learning_rate_factor


def linear_trainer(work, seed=0, monitor=None, feed=None, **changes):
    settings = settings_for("linear", **changes)
    torch.manual_seed(seed)
    method = Linear(CLASSES, SIZES, None, settings)
    return Trainer(method, feed or MemoryFeed(feature_batch(10)), settings, seed, work, monitor)


def test_schedule_is_a_step_every_30_epochs():
    settings = {"lr_decay": 0.1, "lr_step": 30}
    assert [round(learning_rate_factor(e, settings), 10) for e in (0, 29, 30, 60, 149)] == [1, 1, 0.1, 0.01, 0.0001]


def test_order_depends_on_seed_and_epoch_only():
    assert epoch_order(50, 1, 2).tolist() == epoch_order(50, 1, 2).tolist()
    assert epoch_order(50, 1, 2).tolist() != epoch_order(50, 1, 3).tolist() != epoch_order(50, 2, 3).tolist()
    assert sorted(epoch_order(50, 1, 2).tolist()) == list(range(50))


def test_batches_cover_every_clip_once_in_order():
    feed = MemoryFeed(feature_batch(10))
    order = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    batches = list(feed.batches(4, order))
    assert [len(batch.row) for batch in batches] == [4, 4, 2]
    assert torch.cat([batch.row for batch in batches]).tolist() == order.tolist()
    assert torch.equal(torch.cat([batch.text for batch in batches]), feed.whole.text[order])


def test_an_error_in_reading_reaches_the_caller():
    class Broken(MemoryFeed):
        def content(self, positions):
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(Broken(feature_batch(4)).batches(2))


def test_missing_mask_is_in_the_order_text_vision_audio():
    mask = missing_mask(["", "no_text", "no_video;no_audio"])
    assert mask.tolist() == [[False] * 3, [True, False, False], [False, True, True]]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    runs = []
    for place, seed in (("a", 3), ("b", 3), ("c", 4)):
        trainer = linear_trainer(tmp_path / place, seed)
        trainer.run()
        runs.append(trainer.method.state_dict())
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
    assert not torch.equal(runs[0]["classifier.weight"], runs[2]["classifier.weight"])


def test_history_has_one_row_an_epoch_with_every_term(tmp_path):
    rows = linear_trainer(tmp_path).run()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"lr", "loss", "loss_cls", "accuracy", "samples_per_s", "memory_gb"} <= set(rows[0])
    assert rows[0]["loss"] == pytest.approx(rows[0]["loss_cls"]) and rows[2]["lr"] == pytest.approx(0.0005)
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_micro_batches_give_the_gradients_of_the_whole_batch(tmp_path, reduction):
    encoders = small_encoders()
    grads = []
    for micro in (0, 2):
        settings = settings_for("hcep", micro_batch=micro, batch_size=5, loss_reduction=reduction)
        torch.manual_seed(0)
        method = HCEP(CLASSES, SIZES, encoders, settings)
        method.begin([])
        trainer = Trainer(method, MemoryFeed(media_batch(encoders)), settings, 0, tmp_path)
        terms = trainer.runner.step(media_batch(encoders))
        grads.append(({n: p.grad.clone() for n, p in method.named_parameters()}, terms))
    for name, value in grads[0][0].items():
        torch.testing.assert_close(grads[1][0][name], value, atol=1e-6, rtol=1e-3, msg=name)
    for key, value in grads[0][1].items():
        torch.testing.assert_close(grads[1][1][key], value, atol=1e-5, rtol=1e-4)


def test_a_run_broken_off_after_any_epoch_ends_with_the_same_weights(tmp_path):
    whole = linear_trainer(tmp_path / "whole", epochs=6)
    rows = whole.run()
    for stop in (1, 4):
        broken = linear_trainer(tmp_path / f"broken{stop}", epochs=6)
        real = broken._epoch

        def epoch(number, real=real, stop=stop):
            if number == stop:
                raise KeyboardInterrupt
            real(number)

        broken._epoch = epoch
        with pytest.raises(KeyboardInterrupt):
            broken.run()
        again = linear_trainer(tmp_path / f"broken{stop}", epochs=6)
        resumed = again.run()
        for key, value in whole.method.state_dict().items():
            assert torch.equal(again.method.state_dict()[key], value), key
        assert [row["loss"] for row in resumed] == [row["loss"] for row in rows]


@pytest.mark.parametrize("monitored", [False, True])
def test_sigterm_ends_a_run_after_the_step_and_the_rest_gives_the_same(tmp_path, monitored):
    def trainer(name):
        monitor = (lambda _: {"accuracy": 1.0}) if monitored else None
        return linear_trainer(tmp_path / name, monitor=monitor, epochs=3, batch_size=3)

    whole = trainer("whole")
    rows = whole.run()
    steps = whole.runner.done
    before = signal.getsignal(signal.SIGTERM)
    for stop in range(1, steps + 1):
        broken = trainer(f"broken{stop}")
        take = broken.runner.step

        def step(batch, take=take, runner=broken.runner, stop=stop):
            if runner.done == stop - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return take(batch)

        broken.runner.step = step
        with pytest.raises(Terminated):
            broken.run()
        assert broken.runner.done == stop
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN  # a second one disturbs no removal
        signal.signal(signal.SIGTERM, before)
        again = trainer(f"broken{stop}")
        resumed = again.run()
        assert again.runner.done == steps
        for key, value in whole.method.state_dict().items():
            assert torch.equal(again.method.state_dict()[key], value), key
        for row in (*rows, *resumed):
            row.pop("samples_per_s", None), row.pop("memory_gb", None)
        assert resumed == rows


def test_a_run_that_keeps_no_state_ends_at_once(tmp_path):
    with sigterm_interrupts():
        trainer = linear_trainer(None, epochs=3)
        take = trainer.runner.step

        def step(batch):
            os.kill(os.getpid(), signal.SIGTERM)
            return take(batch)

        trainer.runner.step = step
        with pytest.raises(Terminated):
            trainer.run()
        assert trainer.runner.done == 0


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
sys.path[:0] = {tests!r}
from test_training import hcep_trainer
trainer = hcep_trainer(Path({work!r}))
if {kill}:
    step = trainer.runner.step
    def killed(batch):
        if trainer.runner.done == {kill}:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(batch)
    trainer.runner.step = killed
trainer.run()
torch.save(trainer.method.state_dict(), {output!r})
"""


def hcep_trainer(work):
    encoders = small_encoders()
    settings = settings_for("hcep", epochs=3, batch_size=3, prompt_step="adam")
    torch.manual_seed(0)
    method = HCEP(CLASSES, SIZES, encoders, settings)
    return Trainer(method, MemoryFeed(media_batch(encoders, 6)), settings, 0, work)


def test_sigkill_in_the_middle_of_an_epoch_changes_no_bit(tmp_path):
    def start(work, kill, output):
        code = KILLED.format(
            tests=[str(Path(__file__).parent), str(Path(__file__).parents[1])],
            work=str(tmp_path / work),
            kill=kill,
            output=str(output),
        )
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    assert start("whole", 0, tmp_path / "whole.pt").returncode == 0
    assert start("broken", 3, tmp_path / "none.pt").returncode == -signal.SIGKILL
    assert not (tmp_path / "none.pt").exists()
    again = start("broken", 0, tmp_path / "again.pt")
    assert again.returncode == 0 and "goes on after epoch 1" in again.stderr
    whole, resumed = (torch.load(tmp_path / name, weights_only=True) for name in ("whole.pt", "again.pt"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_nan_loss_stops_with_the_place_and_keeps_the_last_good_state(tmp_path):
    trainer = linear_trainer(tmp_path, epochs=4)
    loss = trainer.method.loss

    def poisoned(batch):
        terms = loss(batch)
        return terms if trainer.runner.done < 5 else terms | {"loss_cls": terms["loss_cls"] * float("nan")}

    trainer.method.loss = poisoned
    with pytest.raises(HcepError, match=r"loss_cls is nan in epoch 2, step 6.*lower `lr`.*epoch 1 is kept"):
        trainer.run()
    state = read_state(tmp_path / "state.pt")
    assert state["epochs_done"] == 1
    assert all(torch.isfinite(value).all() for value in state["method"].values())


def test_selection_keeps_the_best_epoch(tmp_path):
    values = iter([0.2, 0.9, 0.1])
    seen = []

    def monitor(method):
        seen.append({key: value.clone() for key, value in method.state_dict().items()})
        return {"val_accuracy": 0.5, "selected": next(values)}

    trainer = linear_trainer(tmp_path, monitor=monitor)
    rows = trainer.run()
    assert trainer.best["epoch"] == 2 and "selected" not in rows[0] and rows[0]["val_accuracy"] == 0.5
    assert all(torch.equal(seen[1][key], value) for key, value in trainer.method.state_dict().items())


def test_bf16_trains_and_keeps_float32_weights(tmp_path):
    encoders = small_encoders()
    settings = settings_for("hcep", precision="bf16", epochs=1, batch_size=5)
    torch.manual_seed(0)
    method = HCEP(CLASSES, SIZES, encoders, settings)
    rows = Trainer(method, MemoryFeed(media_batch(encoders)), settings, 0, tmp_path).run()
    assert rows[0]["loss"] > 0 and all(value.dtype == torch.float32 for value in method.parameters())


def test_checkpoints_carry_their_settings_and_refuse_other_files(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, {"w": torch.arange(3.0)}, {"classes": ["a", "b"], "settings": {"lr": 0.1}})
    first = path.read_bytes()
    for _ in range(5):
        save_checkpoint(path, {"w": torch.arange(3.0)}, {"settings": {"lr": 0.1}, "classes": ["a", "b"]})
        assert path.read_bytes() == first  # the same run is the same file
    state, metadata = read_checkpoint(path)
    assert torch.equal(state["w"], torch.arange(3.0)) and metadata == {"classes": ["a", "b"], "settings": {"lr": 0.1}}
    path.write_bytes(b"no checkpoint")
    with pytest.raises(HcepError, match=r"model\.safetensors: cannot be read as a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("prompts", ["learned", "frozen"])
@pytest.mark.parametrize("kind", ["media", "tokens"])
def test_hcep_resumes_to_the_same_bits_whatever_the_batches(tmp_path, prompts, kind):
    # a text's feature depends in its last bits on the longest text beside it
    def trainer(work):
        encoders = small_encoders()
        settings = settings_for("hcep", epochs=4, batch_size=3, prompts=prompts, class_prompts=kind)
        batch = media_batch(encoders, 8)
        texts = [" ".join(["word"] * (1 + 9 * i)) for i in range(8)]
        torch.manual_seed(0)
        method = HCEP(CLASSES, SIZES, encoders, settings)
        feed = MemoryFeed(batch._replace(tokens=encoders.text.tokenize(texts)))
        return Trainer(method, feed, settings, 0, work)

    whole = trainer(tmp_path / "whole")
    whole.run()
    broken = trainer(tmp_path / "broken")
    broken.settings = broken.settings | {"epochs": 2}
    broken.run()
    again = trainer(tmp_path / "broken")
    again.run()
    assert all(torch.equal(again.method.state_dict()[key], value) for key, value in whole.method.state_dict().items())


def test_bf16_rounds_the_encoders_alone():
    encoders = small_encoders()
    outputs = {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        method = HCEP(CLASSES, SIZES, encoders, settings_for("hcep", precision=precision))
        method.begin([])
        outputs[precision] = method.predict(media_batch(encoders))
    fine, coarse = outputs["fp32"], outputs["bf16"]
    assert not torch.equal(fine.features["audio"], coarse.features["audio"])
    torch.testing.assert_close(coarse.features["audio"], fine.features["audio"], atol=0.05, rtol=0.05)
    # a head run in bf16 would leave fused features that are all representable in it
    assert not torch.equal(coarse.features["fused"], coarse.features["fused"].bfloat16().float())


def test_no_clips_are_no_batches():
    assert list(MemoryFeed(feature_batch(3)).batches(2, torch.arange(0))) == []


class ClassMeans(FeatureMethod):
    """Learns nothing: minus the squared distance to the class means of the untrained head's output."""

    learns = False

    def __init__(self, *given):
        super().__init__(*given)
        self.register_buffer("means", torch.zeros(len(self.classes), self.head.dim))

    @torch.no_grad()
    def finish(self, batches):
        whole = [(self.fused(batch), batch.label) for batch in batches]
        self.means.copy_(class_means(*(torch.cat(part) for part in zip(*whole, strict=True)), len(self.classes)))

    def logits(self, fused):
        return -torch.cdist(fused, self.means.to(fused.dtype)).square()


def test_a_method_that_learns_nothing_takes_no_step_and_needs_neither_rate_nor_epochs(monkeypatch, tmp_path):
    class Declared(Common, Head, Missing):
        target = "test_training:ClassMeans"
        inputs = "features"

    monkeypatch.setitem(METHODS, "class_means", Declared)
    settings = settings_for("class_means")
    assert not {"epochs", "lr", "lr_step", "lr_decay", "momentum", "weight_decay"} & set(settings)
    method, batch = ClassMeans(CLASSES, SIZES, None, settings), feature_batch()
    before = {name: value.clone() for name, value in method.named_parameters()}
    assert Trainer(method, MemoryFeed(batch), settings, 0, tmp_path).run() == []
    assert all(torch.equal(value, before[name]) for name, value in method.named_parameters())
    found = method.predict(batch)
    mean = method.head(batch.text, batch.vision, batch.audio)[batch.label == 1].mean(0)
    torch.testing.assert_close(method.means[1], mean)
    assert found.logits.argmax(1).tolist() == batch.label.tolist() and found.logits.dtype == torch.float64
    assert torch.equal(found.score, found.logits.amax(1))
