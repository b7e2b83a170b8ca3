"""A loaded model, and what it says of clips."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from hcep import registry
from hcep.config.methods import base_method
from hcep.datasets.manifest_file import Clip
from hcep.encoders.folder import Encoders, load_encoders
from hcep.encoders.info import CONFIG_FILE, made_by, read_info
from hcep.errors import HcepError
from hcep.evaluation.thresholds import choose_thresholds
from hcep.inference.answer import OTHER_TEXT, UNKNOWN, WHOLE_PICTURE, Answer
from hcep.inference.clips import Media, clip_of, read_clips
from hcep.inference.folder import (
    AGAIN,
    ENCODER,
    STATE,
    Description,
    Preprocessing,
    first_of,
    read_folder,
    read_training_scores,
)
from hcep.inference.rows import FilledRows
from hcep.media.store import Store
from hcep.methods.audio_layers import build_method
from hcep.methods.features import encode_media
from hcep.methods.method import MODALITIES, Batch, Prediction, Sizes
from hcep.training.checkpoint import read_checkpoint
from hcep.training.devices import choose_device
from hcep.training.feed import MISSING_FLAGS, MediaFeed

# clips that pass through the encoders together; with the row that `FilledRows` adds as many as in `hcep encode`
BATCH = 15
# clips of one file that are decoded together; more would fill the memory
TOGETHER = 512


class HeldStore(Store):
    """Clips in memory in the place of a cache; their names are their numbers."""

    def __init__(self, media: Sequence[Media], settings: Preprocessing) -> None:
        self._media = {str(number): one for number, one in enumerate(media)}
        self._blank: dict[str, np.ndarray] = {
            "frames": np.zeros((settings.frames, settings.size, settings.size, 3), np.uint8),
            "audio": np.zeros(settings.samples, np.int16),
        }

    def flags(self, clips: Sequence[str]) -> list[str]:
        return [";".join(self._media[clip].flags) for clip in clips]

    def _read(self, kind: str, clips: Sequence[str]) -> np.ndarray:
        name = {"frames": "frames", "audio": "waveform"}[kind]
        values = [getattr(self._media[clip], name) for clip in clips]
        held: list[np.ndarray] = [self._blank[kind] if value is None else value for value in values]
        return np.stack(held)

    def _column(self, kind: str, column: str, clips: Sequence[str]) -> list[Any]:
        return [getattr(self._media[clip], column) for clip in clips]


class Model:
    """A method with its state, its encoders, and the scores of its training clips; `load` makes one."""

    def __init__(self, folder: Path, encoder: Path | None, device: str) -> None:
        self.folder, self.about = folder, read_folder(folder)
        self._reservation = choose_device(device)
        self.device = self._reservation.device
        about = self.about
        self.training_scores, self.training_classes = read_training_scores(folder, about.classes)
        entry = base_method(about.base)
        settings = _checked_settings(about, folder)
        self.encoders = _load_encoders(_encoder_folder(about, folder, encoder))
        self._media = entry.inputs == "media"
        # methods that do not hear read frames alone
        self._reads = MODALITIES if entry.hears else ("vision",)
        self._precision = settings["precision"]
        state, _ = read_checkpoint(folder / STATE)
        torch.manual_seed(about.seed)
        own = self.encoders if self._media or entry.text_tower else None
        method = build_method(registry.load(entry.target), about.classes, self._sizes(), own, settings)
        try:
            method.load_state_dict(state)
        except RuntimeError as error:
            raise HcepError(f"does not fit its description ({error})", file=folder / STATE, remedy=AGAIN) from error
        for module in self.encoders.modules():
            module.to(self.device)
        self.method = method.to(self.device).eval()
        self._lock = threading.Lock()
        # numbers of clips, which must all differ: methods keep what they know of one by it
        self._numbers = 1
        self._filled = FilledRows(self.encoders, about.preprocessing.tokens)

    def _sizes(self) -> Sizes:
        chosen, encoders = self.about.preprocessing, self.encoders
        if chosen.size != encoders.vision.size:
            cause = f"frames are {chosen.size} x {chosen.size}, its encoder takes {encoders.vision.size}"
            raise HcepError(cause, file=self.folder, remedy=AGAIN)
        media = (chosen.frames, chosen.size, chosen.samples) if self._media else (0, 0, 0)
        dims = encoders.text.dim, encoders.vision.dim, encoders.audio.dim
        return Sizes(*media, *dims, encoders.audio.states)

    def threshold(self, acceptance: float | None = None) -> float:
        """The score that at least this share of the known training clips reaches; None: the model's own share."""
        share = self.about.acceptance if acceptance is None else acceptance
        return float(choose_thresholds(self.training_scores, [share])[0])

    def predict(
        self,
        file: str | Path,
        *,
        text: str = "",
        text_kind: str = "transcript",
        start: float | None = None,
        end: float | None = None,
        box: str = "",
        acceptance: float | None = None,
        timeout: float = 60.0,
    ) -> Answer:
        """The answer for one file, or for a part of it.

        Parameters
        ----------
        file : path
            Video with sound, video, or sound.
        text, text_kind : str
            Words, and what they are: ``transcript`` (what is said), ``caption`` (what is seen) or ``asr``.
        start, end : float, optional
            Part of the file in seconds.
        box : str
            ``x,y,w,h`` in pixels of the picture: the part of it that is looked at.
        acceptance : float, optional
            Share of known training clips that the threshold accepts; the model's own where not given.
        timeout : float
            Seconds that decoding may take.

        Raises
        ------
        HcepError
            The file gives no answer; the message says why.
        """
        clip = clip_of(file, text=text, text_kind=text_kind, start=start, end=end, box=box)
        (answer,) = self.predict_many([clip], acceptance=acceptance, timeout=timeout)
        if answer.accepted is None:
            raise HcepError(answer.reason, file=file)
        return answer

    def predict_many(
        self,
        clips: Iterable[Clip],
        *,
        acceptance: float | None = None,
        timeout: float = 60.0,
        threads: int = 1,
        asr: Any = None,
    ) -> Iterator[Answer]:
        """Answers in the order of `clips`, the next ones decoded while these are computed; see `read` and `answer`."""
        self.threshold(acceptance)  # a share that is none is told before anything is decoded
        with ThreadPoolExecutor(1) as reader:
            waiting = None
            for part in _parts(clips):
                job = reader.submit(self.read, part, timeout=timeout, threads=threads, asr=asr)
                if waiting is not None:
                    yield from self.answer(waiting.result(), acceptance)
                waiting = job
            if waiting is not None:
                yield from self.answer(waiting.result(), acceptance)

    def read(self, clips: Sequence[Clip], *, timeout: float = 60.0, threads: int = 1, asr: Any = None) -> list[Media]:
        """Decode clips as for training; `asr` is a `hcep.media.transcribe.Recogniser` for those without words."""
        return read_clips(clips, self.about.preprocessing, timeout=timeout, threads=threads, recogniser=asr)

    def answer(self, media: Sequence[Media], acceptance: float | None = None) -> list[Answer]:
        """What the model says of decoded clips."""
        share = self.about.acceptance if acceptance is None else acceptance
        threshold = self.threshold(share)
        reasons = [self._refusal(one) for one in media]
        asked = [one for one, reason in zip(media, reasons, strict=True) if not reason]
        with self._lock:  # a page asks from several threads
            found = iter(list(self._predict(asked)) if asked else [])
        return [
            self._answer(one, reason, None if reason else next(found), threshold, share)
            for one, reason in zip(media, reasons, strict=True)
        ]

    def _refusal(self, one: Media) -> str:
        """Why a clip gives no answer; '' where it gives one."""
        seen = self._modalities(one)
        if one.failed and not {"vision", "audio"} & {*seen}:
            return one.reason
        wanted = " or ".join(self._reads)
        return "" if seen else f"has no {wanted}, which {self.about.method} reads; {one.reason}"

    def _modalities(self, one: Media) -> tuple[str, ...]:
        there = [name for name, flag in zip(MODALITIES, MISSING_FLAGS, strict=True) if flag not in one.flags]
        return tuple(name for name in there if name in self._reads)

    def _answer(
        self, one: Media, refusal: str, found: tuple[np.ndarray, float] | None, threshold: float, share: float
    ) -> Answer:
        chosen, clip = self.about.preprocessing, one.clip
        flags = list(one.flags)
        if one.text_kind not in {*chosen.text_kinds, "none"} and "text" in self._reads:
            flags.append(OTHER_TEXT)
        if chosen.faces != "none" and one.frames is not None and not clip.box:
            flags.append(WHOLE_PICTURE)
        label, nearest, accepted, score = "", "", None, None
        probabilities: dict[str, float] = {}
        if found is not None:
            logits, score = found
            raised = np.exp(logits - logits.max())
            probabilities = dict(zip(self.about.classes, (raised / raised.sum()).tolist(), strict=True))
            nearest, accepted = self.about.classes[int(logits.argmax())], score >= threshold
            label = nearest if accepted else UNKNOWN
        return Answer(
            clip=clip.clip, file=clip.video or clip.audio, start=clip.start, end=clip.end, label=label,
            accepted=accepted, score=score, threshold=threshold, acceptance=share, nearest=nearest,
            probabilities=probabilities, modalities=self._modalities(one), text=one.text, text_kind=one.text_kind,
            flags=tuple(flags), reason=refusal or one.reason,
        )  # fmt: skip

    @torch.no_grad()
    def _predict(self, media: Sequence[Media]) -> Iterator[tuple[np.ndarray, float]]:
        """Logits (K,) in float64 and score of every clip."""
        store, names = HeldStore(media, self.about.preprocessing), [str(number) for number in range(len(media))]
        feed = MediaFeed(store, names, [-1] * len(names), self.encoders.text.tokenize, self.device, 0)
        feed.first, self._numbers = self._numbers, self._numbers + len(names)
        for batch in feed.batches(BATCH):
            found = self._of_batch(batch)
            if not bool(found.score.isfinite().all() and found.logits.isfinite().all()):
                raise HcepError("gives a score that is not finite", file=self.folder, remedy="train the run again")
            yield from zip(found.logits.double().cpu().numpy(), found.score.double().tolist(), strict=True)

    def _of_batch(self, batch: Batch) -> Prediction:
        batch = self._filled(batch)
        if not self._media:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
                features = encode_media(self.encoders, batch)
            own: dict[str, Tensor] = features._asdict()
            batch = Batch(batch.row, batch.label, batch.missing, **own)
        return self._filled.own(self.method.predict(batch))


def load(folder: str | Path, *, encoder: str | Path | None = None, device: str = "auto") -> Model:
    """Load a model that `hcep export` has written.

    Parameters
    ----------
    folder : path
        The model.
    encoder : path, optional
        Folder of its encoder; where not given, the one in the model, else ``resources/encoders/NAME`` here.
    device : str
        ``auto`` (an accelerator where there is one), ``cpu``, ``cuda`` or ``cuda:0``.

    Raises
    ------
    HcepError
        The folder is damaged, of a newer version or not a model, or the encoder is missing or another one.
    """
    return Model(Path(folder), None if encoder is None else Path(encoder), device)


def _parts(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
    """Clips in parts of at least `BATCH`, which end where the file changes, or at `TOGETHER`."""
    part: list[Clip] = []
    for clip in clips:
        same = bool(part) and (clip.video, clip.audio) == (part[-1].video, part[-1].audio)
        if len(part) >= (TOGETHER if same else BATCH):
            yield part
            part = []
        part.append(clip)
    if part:
        yield part


def _checked_settings(about: Description, folder: Path) -> dict[str, Any]:
    """The settings of a run, as training would have taken them."""
    entry = base_method(about.base)
    try:
        entry.model_validate(about.settings)
        lacking = {*entry.model_fields} - {*about.settings}
    except ValidationError as error:
        raise HcepError(f"its settings are not those of {about.base}: {first_of(error)}", file=folder) from error
    if lacking:
        raise HcepError(f"its settings lack {', '.join(sorted(lacking))}", file=folder, remedy=AGAIN)
    return about.settings


def _encoder_folder(about: Description, folder: Path, given: Path | None) -> Path:
    """Where the encoder is, which must be the one that the model was trained with."""
    wanted = about.encoder
    place = given or (folder / ENCODER if wanted.included else Path("resources/encoders") / wanted.name)
    if given is None and not place.is_dir():
        cause = f"the encoder {wanted.name!r} ({wanted.source}) is not in the model and not here"
        remedy = "name its folder with --encoder (encoder=... in Python), or export with --with-encoder"
        raise HcepError(cause, file=place, remedy=remedy)
    info = read_info(place)
    if "clip" not in info or json.loads(json.dumps(made_by(info))) != wanted.made_by:
        cause = f"is not the encoder {wanted.name!r} that the model was trained with: its digests differ"
        raise HcepError(cause, file=place, remedy=f"use that of {wanted.source}")
    return place


def _load_encoders(folder: Path) -> Encoders:
    """The encoders of a folder of unknown origin: nothing that it names may be fetched from elsewhere."""
    info = read_info(folder)
    try:
        parts = {**info["clip"]["vision_cfg"], **info["clip"]["text_cfg"]}
        fetched = [key for key in parts if key.startswith(("hf_", "timm_"))]
        if fetched:
            raise HcepError(f"asks for a model of another library ({fetched[0]})", file=folder, remedy=AGAIN)
        return load_encoders(folder)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HcepError(f"does not describe encoders ({error!r})", file=folder / CONFIG_FILE, remedy=AGAIN) from error
