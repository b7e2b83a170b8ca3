"""Words: from the manifest, none, or recognised; the recognition itself on real takes and real weights."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import h5py
import pytest
from sample_media import make_clip, write_list

from hcep.datasets.build import build_manifest
from hcep.errors import HcepError
from hcep.media import transcribe as module
from hcep.media.transcribe import Recogniser, transcribe

STATEMENTS = {"01": "kids are talking by the door", "02": "dogs are sitting by the door"}


def written(path: Path) -> dict[str, tuple[str, str, str, str]]:
    """Clip -> text, kind, flags, reason."""
    with h5py.File(path) as file:
        columns = [file[name].asstr()[:] for name in ("clip", "text", "text_kind", "flags", "reason")]
    return {row[0]: tuple(row[1:]) for row in zip(*columns, strict=True)}


@pytest.fixture
def manifest(tmp_path) -> Path:
    make_clip(tmp_path / "r/a.mp4", seconds=1)
    make_clip(tmp_path / "r/mute.mp4", seconds=1, audio=False)
    rows = [
        {"clip": "a", "video": "a.mp4", "label": "x", "text": "Well.", "text_kind": "caption"},
        {"clip": "b", "video": "a.mp4", "label": "x", "text": ""},
        {"clip": "mute", "video": "mute.mp4", "label": "x", "text": "Hidden", "flags": "no_text"},
    ]
    write_list(tmp_path / "r/clips.tsv", rows)
    build_manifest("manifest", tmp_path / "r", "d", {}, tmp_path / "manifest.tsv")
    return tmp_path / "manifest.tsv"


def test_words_of_the_manifest(manifest, tmp_path):
    transcribe(manifest, tmp_path / "r", "000-of-001", tmp_path / "t.h5", source="manifest")
    absent = ("", "none", "no_text", "absent: the manifest has no words")
    assert written(tmp_path / "t.h5") == {"a": ("Well.", "caption", "", ""), "b": absent, "mute": absent}


def test_no_words(manifest, tmp_path):
    transcribe(manifest, tmp_path / "r", "000-of-001", tmp_path / "t.h5", source="none")
    assert {row[:3] for row in written(tmp_path / "t.h5").values()} == {("", "none", "no_text")}


def test_recognised_words_go_to_their_clips(manifest, tmp_path, monkeypatch):
    """The recogniser is replaced by one that says how long the sound was; batches are smaller than the shard."""
    heard = []

    class Measure:
        def __init__(self, model: str, device: str | None) -> None:
            heard.append((model, device))

        def __call__(self, sounds):
            return [f"{len(sound) / 16_000:.1f} s" if len(sound) < 20_000 else "" for sound in sounds]

    monkeypatch.setattr(module, "Recogniser", Measure)
    monkeypatch.setattr(module, "BATCH", 2)
    transcribe(manifest, tmp_path / "r", "000-of-001", tmp_path / "t.h5", source="asr", model="m", device="cpu")
    assert heard == [("m", "cpu")]
    rows = written(tmp_path / "t.h5")
    assert rows["a"] == rows["b"] == ("1.0 s", "asr", "", "")
    assert rows["mute"] == ("", "none", "no_text", "absent: has no audio stream")


def test_long_and_wordless_clips(tmp_path, monkeypatch):
    make_clip(tmp_path / "r/long.wav", video=False, seconds=31)
    rows = [
        {"clip": "long", "video": "", "audio": "long.wav", "label": "x"},
        {"clip": "end", "video": "", "audio": "long.wav", "label": "x", "start": "30"},
    ]
    write_list(tmp_path / "r/clips.tsv", rows)
    build_manifest("manifest", tmp_path / "r", "d", {"text": "asr"}, tmp_path / "m.tsv")

    class Count:
        def __init__(self, model: str, device: str | None) -> None:
            pass

        def __call__(self, sounds):
            return [str(len(sound)) if len(sound) > 20_000 else "" for sound in sounds]

    monkeypatch.setattr(module, "Recogniser", Count)
    transcribe(tmp_path / "m.tsv", tmp_path / "r", "000-of-001", tmp_path / "t.h5", source="asr", model="m")
    assert written(tmp_path / "t.h5") == {
        "long": ("480000", "asr", "", "note: only the first 30 s were heard"),
        "end": ("", "none", "no_text", "absent: no words were recognised"),
    }


def test_wrong_settings_are_named(manifest, tmp_path):
    output = tmp_path / "t.h5"
    with pytest.raises(HcepError, match=r"no such folder of a Whisper model.*asr_model"):
        Recogniser(str(tmp_path / "none"))
    with pytest.raises(HcepError, match="asr_model"):
        transcribe(manifest, tmp_path, "000-of-001", output, source="asr")
    with pytest.raises(HcepError, match="unknown source of words 'subtitles'"):
        transcribe(manifest, tmp_path, "000-of-001", output, source="subtitles")  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    with pytest.raises(HcepError, match="Whisper model cannot be loaded"):
        Recogniser(str(tmp_path / "empty"), "cpu")
    assert not output.exists()


def normalise(text: str) -> list[str]:
    return re.sub(r"[^a-z' ]", "", text.lower()).split()


@pytest.mark.slow
@pytest.mark.skipif(
    not ("HCEP_RAVDESS" in os.environ and "HCEP_WHISPER" in os.environ),
    reason="HCEP_RAVDESS (folder of real takes) and HCEP_WHISPER (folder of Whisper weights) are not set",
)
def test_real_takes_are_understood(tmp_path):
    release = Path(os.environ["HCEP_RAVDESS"])
    found = [next(release.rglob(f"01-01-05-02-{statement}-01-*.mp4")) for statement in STATEMENTS]
    for path in found:
        (tmp_path / "r/Actor_01").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, tmp_path / "r/Actor_01" / path.name)
    build_manifest("ravdess", tmp_path / "r", "ravdess", {"text": "asr"}, tmp_path / "m.tsv")
    model = os.environ["HCEP_WHISPER"]
    output = tmp_path / "t.h5"
    transcribe(tmp_path / "m.tsv", tmp_path / "r", "000-of-001", output, source="asr", model=model, device="cpu")
    for clip, (text, kind, flags, _) in written(output).items():
        assert normalise(text) == STATEMENTS[clip.split("-")[4]].split() and (kind, flags) == ("asr", "")
