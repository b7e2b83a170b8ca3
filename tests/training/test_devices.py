"""Jobs of one machine spread over its devices by file locks; devices here are names, processes are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch

from hcep.errors import HcepError
from hcep.training import devices
from hcep.training.devices import choose_device
from hcep.training.slots import SLOTS, slot_folder, take_slot, visible_devices

HOLDER = """
import sys
from pathlib import Path
from hcep.training.slots import take_slot, visible_devices
import os
names = visible_devices(int(sys.argv[2]), os.environ)
slot = take_slot(names, Path(sys.argv[1]))
print(names[slot.device], slot.device, slot.place, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def hold(tmp_path):
    """Start processes that take a slot and keep it until told; returns what each took and the process."""
    running = []

    def start(count: int, of: int, environment: dict[str, str] | None = None):
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "slots"), str(of)]
        own = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        # all are started before the first is asked, so they compete
        new = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own | (environment or {})
            )
            for _ in range(count)
        ]
        running.extend(new)
        return [(process.stdout.readline().split(), process) for process in new]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_competing_jobs_take_different_devices_and_share_evenly_beyond_that(hold):
    taken = hold(5, 3)
    names = Counter(name for (name, _, _), _ in taken)
    assert sorted(names.values()) == [1, 2, 2] and set(names) == {"0", "1", "2"}
    assert sorted(place for (_, _, place), _ in taken) == ["0", "0", "0", "1", "1"]


def test_a_slot_is_free_again_when_its_holder_ends_or_is_killed(hold, tmp_path):
    (first, ended), (second, killed) = hold(2, 2)
    ended.communicate("\n")
    assert hold(1, 2)[0][0] == first
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert hold(1, 2)[0][0] == second


def test_devices_are_told_apart_by_their_names_on_the_machine_not_by_a_jobs_numbers(hold):
    # two jobs that see one device each, under the same number 0
    (one, _), (other, _) = hold(1, 1, {"CUDA_VISIBLE_DEVICES": "2"}) + hold(1, 1, {"CUDA_VISIBLE_DEVICES": "3"})
    assert (one, other) == (["2", "0", "0"], ["3", "0", "0"])
    # a third sees both and takes the second place on its own number 0, which is device 3
    assert hold(1, 2, {"CUDA_VISIBLE_DEVICES": "3,2"})[0][0] == ["3", "0", "1"]
    assert hold(1, 2, {"CUDA_VISIBLE_DEVICES": "GPU-8f1,4"})[0][0] == ["GPU-8f1", "0", "0"]


def test_names_of_visible_devices():
    assert visible_devices(2, {}) == ["0", "1"]
    assert visible_devices(2, {"CUDA_VISIBLE_DEVICES": ""}) == ["0", "1"]
    assert visible_devices(2, {"CUDA_VISIBLE_DEVICES": " 3, GPU-a1 "}) == ["3", "GPU-a1"]
    # an entry that the driver does not know hides the rest; the numbers are then all there is
    assert visible_devices(3, {"CUDA_VISIBLE_DEVICES": "3,9"}) == ["0", "1", "2"]


def test_too_many_jobs_are_an_error_with_a_remedy(tmp_path):
    held = [take_slot(["0"], tmp_path) for _ in range(SLOTS)]
    assert [slot.place for slot in held] == list(range(SLOTS))
    with pytest.raises(HcepError, match=r"16 jobs already share.*--resources gpu"):
        take_slot(["0"], tmp_path)
    held[3].lock.close()
    assert take_slot(["0"], tmp_path).place == 3


def test_settings_choose_the_device(tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(devices, "slot_folder", lambda: tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    first, second = choose_device("auto"), choose_device("cuda")
    assert [first.device.index, second.device.index] == [0, 1] and chosen == [first.device, second.device]
    literal = choose_device("cuda:1")
    assert literal.device.index == 1 and literal.slot is None
    assert choose_device("cpu") == (torch.device("cpu"), None)


def test_cuda_without_a_device_is_an_error_and_auto_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").device.type == "cpu"
    with pytest.raises(HcepError, match="finds no CUDA device"):
        choose_device("cuda")


def test_the_lock_folder_is_the_machines_and_the_users(monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    folder = slot_folder()
    assert folder.parent == Path(tempfile.gettempdir()) and str(os.getuid()) in folder.name
