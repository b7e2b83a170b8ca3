"""Verbs of single clips: the export of a run, and answers from it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hcep.errors import HcepError, shown
from hcep.files import write_text
from hcep.verbs.options import config_files

if TYPE_CHECKING:
    from hcep.inference.answer import Answer


def export(
    run: Path | None,
    base: str | None,
    index: Sequence[Path],
    encoder: Path | None,
    output: Path,
    with_encoder: bool,
    configfile: Sequence[Path],
) -> None:
    """Write a run as a model that stands alone; what is not named is looked for where the workflow puts it."""
    from hcep.inference.export import export as write
    from hcep.training.checkpoint import read_checkpoint

    if run is None:
        raise HcepError(
            "no run is given", remedy="name its folder, as `hcep export results/demo/hcep/k8u2/split1/seed0`"
        )
    if not run.is_dir():
        raise HcepError("there is no such folder", file=run, remedy="name the folder of a run, which ends in /seed0")
    _, trained = read_checkpoint(run / "model.safetensors")
    index = index or _indexes(run)
    encoder = encoder or _encoder(trained["encoder"]["name"])
    write(run, base or _base(trained["method"], configfile), index, encoder, output, with_encoder=with_encoder)


def _indexes(run: Path) -> list[Path]:
    from hcep.evaluation.scores import read_scores

    names = sorted(set(read_scores(run / "scores.h5", features=False).dataset.tolist()))
    found = [Path("resources", name, "index.h5") for name in names]
    lost = next((path for path in found if not path.is_file()), None)
    if lost is not None:
        remedy = "run from the folder of the workflow, or name the index of every dataset with --index"
        raise HcepError("the index of the run's clips is not there", file=lost, remedy=remedy)
    return found


def _encoder(name: str) -> Path:
    found = Path("resources/encoders", name)
    if not found.is_dir():
        remedy = "run from the folder of the workflow, or name the encoder's folder with --encoder"
        raise HcepError("the run's encoder is not there", file=found, remedy=remedy)
    return found


def _base(method: str, configfile: Sequence[Path]) -> str:
    """The base of a method, as the configuration has it."""
    from hcep.config.whole import read_config

    try:
        return read_config(config_files(configfile)).method(method).base
    except HcepError as error:
        remedy = "name the files of its configuration with --configfile, or its base method with --base"
        raise HcepError(f"the method {method!r} is not in the configuration", remedy=remedy) from error


def predict(
    model: Path | None,
    clips: Sequence[Path],
    table: Path | None,
    text: str | None,
    text_kind: str,
    text_asr: str | None,
    start: float | None,
    end: float | None,
    windows: str | None,
    acceptance: float | None,
    format: str | None,
    output: Path | None,
    encoder: Path | None,
    device: str,
    timeout: float,
    threads: int,
) -> None:
    """Answers for clips; one that cannot be read is told in its row, and at the end."""
    from hcep.inference.clips import clip_of, read_clip_table, windows_of
    from hcep.inference.output import FORMATS, written

    if model is None:
        raise HcepError(
            "no model is given", remedy="name its folder, then the clips, as `hcep predict model/ clip.mp4`"
        )
    if bool(clips) == (table is not None):
        cause = "clips are given and a table of clips" if clips else "no clip is given"
        raise HcepError(cause, remedy="name files behind the model, or one table with --table")
    given = [name for name, value in (("text", text), ("start", start), ("end", end)) if value is not None]
    if given and (table is not None or len(clips) > 1):
        raise HcepError(
            f"--{given[0]} is for one file", remedy="name one file, or write a table and give it with --table"
        )
    if format is not None and format not in FORMATS:
        raise HcepError(f"unknown format {format!r}", remedy=f"use {', '.join(FORMATS)}")
    if table is not None:
        asked = read_clip_table(table)
    else:
        asked = [clip_of(file, text=text or "", text_kind=text_kind, start=start, end=end) for file in clips]
    if windows is not None:
        asked = [part for clip in asked for part in windows_of(clip, _seconds(windows), timeout=timeout)]
    from hcep.inference.model import load

    loaded = load(model, encoder=encoder, device=device)
    asr = None
    if text_asr is not None:
        from hcep.media.transcribe import Recogniser

        asr = Recogniser(text_asr, str(loaded.device))
    answers = loaded.predict_many(asked, acceptance=acceptance, timeout=timeout, threads=threads, asr=asr)
    silent: list[str] = []

    def noting() -> Iterator[Answer]:
        for answer in answers:
            if answer.accepted is None:
                silent.append(f"{answer.clip}: {answer.reason}")
            yield answer

    form = format or ("table" if output is None and sys.stdout.isatty() else "jsonl")
    pieces = written(noting(), form, loaded.about.classes)
    if output is None:
        for piece in pieces:
            # a table has styles of its own, and is safe
            safe = piece if form == "table" or not sys.stdout.isatty() else shown(piece)
            print(safe, end="", flush=True)
    else:
        write_text(output, "".join(pieces))
    if silent:
        raise HcepError(f"{len(silent)} of {len(asked)} clips gave no answer, the first is {silent[0]}")


def page(model: Path | None, encoder: Path | None, device: str, port: int, max_mb: float, timeout: float) -> None:
    """A page on this machine that answers for clips."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        cause = f"the page needs {' and '.join(missing)}, which {'are' if missing[1:] else 'is'} not installed"
        raise HcepError(cause, remedy="run `pip install 'hcep[page]'`")
    if model is None:
        raise HcepError("no model is given", remedy="name its folder, as `hcep page model/`")
    from hcep.inference.model import load
    from hcep.page.server import serve

    serve(load(model, encoder=encoder, device=device), port=port, max_mb=max_mb, timeout=timeout)


def _seconds(text: str) -> float:
    """A length as ``5s`` or ``5``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*s?", text.strip())
    if found is None:
        raise HcepError(f"{text!r} is no length of windows", remedy="give seconds, as 5s")
    return float(found[1])
