"""A decoder that is killed, starved or stopped: the clip's fault is stored, the machine's ends the job."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from sample_media import grey_numbers, make_clip, read_frames, run_ffmpeg

from hcep.container import MachineFault, MediaError, check_file
from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.decoder import DEFAULT, GIB, Limits, run_child
from hcep.errors import HcepError
from hcep.ffmpeg import ffmpeg_executable
from hcep.media.frames import decode_frames
from hcep.media.shards import verify_shard
from hcep.probe import probe


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Have a line of shell run in place of every decoding; questions about the version are answered."""
    real = ffmpeg_executable()

    def use(line: str) -> None:
        script = tmp_path / f"ffmpeg{len(list(tmp_path.glob('ffmpeg*')))}"
        asked = f'case "$*" in *-version|*-decoders) exec "{real}" "$@";; esac'
        script.write_text(f'#!/bin/sh\n{asked}\nreal="{real}"\n{line}\n')
        script.chmod(0o755)
        monkeypatch.setenv("HCEP_FFMPEG", str(script))

    return use


def read(path: Path, limits: Limits = DEFAULT) -> np.ndarray:
    return read_frames(path, probe(path), [0, 7], size=16, limits=limits)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("kill -KILL $$", "was killed (SIGKILL)"),
        ("kill -TERM $$", "was killed (SIGTERM)"),
        ("kill -XCPU $$", "was killed (SIGXCPU)"),
        ("kill -BUS $$", "was killed (SIGBUS)"),
        # a shell that goes on after its child was killed
        ("sh -c 'kill -KILL $$'; exit $?", "was killed (SIGKILL)"),
        # ffmpeg itself, asked to end while it decodes
        ('"$real" -v error -nostdin -re -f lavfi -i color -f null - & sleep 1; kill $!; wait $!', "SIGTERM or SIGINT"),
        ("echo 'av_interleaved_write_frame(): No space left on device' >&2; exit 228", "No space left on device"),
        ("echo 'pthread_create() failed: Resource temporarily unavailable' >&2; exit 245", "pthread_create"),
        ("echo 'file:a.mp4: Too many open files' >&2; exit 232", "Too many open files"),
    ],
)
def test_what_comes_from_outside_is_no_fault_of_the_clip(tmp_path, instead, line, told):
    path = make_clip(tmp_path / "a.mp4")
    instead(line)
    with pytest.raises(MachineFault) as caught:
        read(path)
    assert told in caught.value.cause and caught.value.file == path and caught.value.remedy
    assert not isinstance(caught.value, MediaError)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("kill -SEGV $$", "ffmpeg crashed (SIGSEGV)"),
        ("kill -ABRT $$", "ffmpeg crashed (SIGABRT)"),
        ("echo 'Invalid data found when processing input' >&2; exit 183", "ffmpeg: Invalid data found"),
    ],
)
def test_what_comes_from_the_content_is_the_clips(tmp_path, instead, line, told):
    path = make_clip(tmp_path / "a.mp4")
    instead(line)
    with pytest.raises(MediaError) as caught:
        read(path)
    assert caught.value.reason.startswith(told)


def shard_of_two(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / name)
    clips = [Clip(clip=name, video=f"{name}.mp4", audio=f"{name}.mp4", label="x") for name in ("a", "b")]
    write_manifest(tmp_path / "manifest.tsv", clips)
    return tmp_path / "manifest.tsv", tmp_path / "out.h5"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_killed_decoder_ends_the_job_and_stores_nothing(tmp_path, instead, threads):
    manifest, output = shard_of_two(tmp_path)
    decoding = {"frames": 2, "size": 16, "threads": threads}
    instead('case "$*" in *b.mp4*) kill -KILL $$;; esac\nexec "$real" "$@"')
    with pytest.raises(HcepError, match=r"b\.mp4, clip 'b': ffmpeg was killed \(SIGKILL\).*Remedy: run again"):
        decode_frames(manifest, tmp_path, "000-of-001", output, **decoding)
    assert not output.exists()
    instead('exec "$real" "$@"')
    decode_frames(manifest, tmp_path, "000-of-001", output, **decoding)
    assert verify_shard(output, "frames").reasons == ["", ""]


def test_a_clip_that_needs_too_much_memory_fails_and_the_job_goes_on(tmp_path, monkeypatch):
    manifest, output = shard_of_two(tmp_path)
    # frames of 33 million pixels, several at once, in 100 kB
    run_ffmpeg("-f", "lavfi", "-i", "color=s=8192x4096:r=25:d=0.2", "-c:v", "libx264", "-preset", "ultrafast",
               "-bf", "3", "-refs", "4", tmp_path / "b.mp4")  # fmt: skip
    options = {"frames": 2, "size": 16, "decoder_memory": 0.5}
    decode_frames(manifest, tmp_path, "000-of-001", output, **options)
    assert verify_shard(output, "frames").reasons == ["", "failed: needs more memory than the limit of 0.5 GiB"]
    # the same where the machine itself has less
    least = psutil.virtual_memory()._replace(available=GIB // 5)
    monkeypatch.setattr("psutil.virtual_memory", lambda: least)
    with pytest.raises(MachineFault, match=r"b\.mp4, clip 'b': memory ran out, and the machine has 0\.2 GiB left"):
        decode_frames(manifest, tmp_path, "000-of-001", output, **options)


def test_a_lower_limit_of_the_job_itself_is_named(tmp_path):
    """As under `ulimit -v`: below the setting, a large clip cannot be told from a small limit."""
    path = make_clip(tmp_path / "a.mp4")
    code = (
        "import resource, sys; from hcep.ffmpeg import read_frames; from hcep.probe import probe\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        "read_frames(sys.argv[1], probe(sys.argv[1]), [0, 3], size=16)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    told = "MachineFault: this job may take 3.0 GiB of address space (`ulimit -v`), less than a decoder may"
    assert told in done.stderr and "lower `decoder_memory`" in done.stderr


def test_a_decoder_that_hardly_runs_is_not_the_clips(tmp_path, instead):
    path = make_clip(tmp_path / "a.mp4")
    instead("kill -STOP $$")
    begun = time.monotonic()
    with pytest.raises(MachineFault, match=r"ffmpeg got 0\.\d s of processor time in 2 s.*raise `timeout`"):
        read(path, Limits(0.2))
    assert time.monotonic() - begun >= 2


def test_a_decoder_that_burns_its_time_is_the_clips(tmp_path, instead):
    path = make_clip(tmp_path / "a.mp4")
    instead("while :; do :; done")
    with pytest.raises(MediaError, match=r"longer than 0\.6 s of processor time"):
        read(path, Limits(0.6))


def test_limits_are_those_of_the_child_and_no_core_is_written(tmp_path):
    with (tmp_path / "said").open("w+") as said:
        ended = run_child(
            ["sh", "-c", "sleep 0.3; ulimit -v; ulimit -t; ulimit -c; kill -SEGV $$"], Limits(7, 2), stdout=said
        )
        said.seek(0)
        assert said.read().split() == [str(2 * GIB // 1024), "8", "0"] and ended.status == -signal.SIGSEGV
    assert resource.getrlimit(resource.RLIMIT_AS)[1] == resource.RLIM_INFINITY


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_decoders_end_with_their_parent(tmp_path, number):
    """A stopped child of a child cannot hear of anything but SIGKILL."""
    note = tmp_path / "pids"
    script = f"sleep 300 & echo $$ $! > {note}; kill -STOP $!; kill -STOP $$"
    # a job that a shell started in the background would not hear of SIGINT
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += f"from hcep.decoder import Limits, run_child\nrun_child(['sh', '-c', {script!r}], Limits(100))"
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    children = [psutil.Process(int(pid)) for pid in _wait_for(note)]
    assert os.getpgid(children[1].pid) == children[0].pid != os.getpgid(0)
    parent.send_signal(number)
    parent.wait(30)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]


def _wait_for(path: Path) -> list[str]:
    for _ in range(600):
        if path.is_file() and len(words := path.read_text().split()) == 2:
            return words
        time.sleep(0.05)
    raise AssertionError("the child did not start")


def test_no_descriptor_and_no_process_is_left(tmp_path):
    path = make_clip(tmp_path / "a.mp4")
    read(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        assert grey_numbers(read(path)) == [0, 7]
    assert len(list(Path("/proc/self/fd").iterdir())) == before and not psutil.Process().children()


def test_a_machine_without_descriptors_is_named(tmp_path):
    path = make_clip(tmp_path / "a.mp4")
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(opened[0], 64) + 1, own[1]))
    try:
        with pytest.raises(OSError):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(MachineFault, match="Too many open files"):
            check_file(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, own)
        for descriptor in opened:
            os.close(descriptor)


def test_a_file_system_that_does_not_answer_is_no_fault_of_the_clip(tmp_path, monkeypatch):
    """PyAV stops reading by the clock: here it stops at once, before any processor time was used."""
    path = make_clip(tmp_path / "a.mp4")
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)
    with pytest.raises(MachineFault, match="could not be read in"):
        probe(path, timeout=1e-9)
