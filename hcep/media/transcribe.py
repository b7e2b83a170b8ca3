"""Words of a shard's clips: those of the manifest, none, or speech recognition by Whisper (Radford et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hcep.datasets.manifest_file import Clip
from hcep.decoder import Limits
from hcep.errors import HcepError
from hcep.ffmpeg import RATE
from hcep.media.audio import read_sound
from hcep.media.shards import Row, clips_of_shard, noted, write_shard
from hcep.media.sources import Rows, read_sources
from hcep.media.words import write_words
from hcep.progress import progress

if TYPE_CHECKING:
    import torch

# what Whisper hears at once
SECONDS = 30
BATCH = 8


def transcribe(
    manifest: Path,
    root: Path,
    shard: str,
    output: Path,
    *,
    source: Literal["manifest", "none", "asr"],
    model: str | None = None,
    device: str | None = None,
    timeout: float = 60.0,
    decoder_memory: float = 4.0,
) -> None:
    """Write the words of one shard's clips and where they come from.

    Parameters
    ----------
    manifest, root, shard, output
        As in `decode_frames`.
    source : {"manifest", "none", "asr"}
        The manifest's text, no text, or speech recognition of the first 30 s of every clip.
    model : str, optional
        For asr: a Whisper model's id on the hub, or its local folder.
    device : str, optional
        For asr: torch device; an accelerator if there is one when left out.
    timeout : float
        For asr: seconds of processor time that decoding one clip's sound may take.
    decoder_memory : float
        For asr: GiB of address space that ffmpeg may take.

    Raises
    ------
    HcepError
        For a bad manifest or source, or a model that cannot be loaded.
    """
    clips = clips_of_shard(manifest, shard)
    if source != "asr":
        write_words(output, clips, source)
        return
    if not model:
        raise HcepError("speech recognition has no model", remedy="set `asr_model` of the dataset entry")
    rows = _heard(clips, root, model, device, Limits(timeout, decoder_memory))
    settings = {"source": source, "model": Path(model).name}
    names = [clip.clip for clip in clips]
    write_shard(output, "text", names, progress(rows, len(clips), f"transcribe {shard}"), settings)


def _heard(
    clips: Sequence[Clip], root: Path, model: str, device: str | None, limits: Limits
) -> Iterator[tuple[int, Row]]:
    """Rows of all clips by speech recognition, in batches."""
    longest = SECONDS * RATE

    def read(audio: str, positions: list[int]) -> Rows:
        return read_sound(root / audio, clips, positions, longest=longest, limits=limits)

    recogniser: Recogniser | None = None
    sounds = read_sources(clips, "audio", read, threads=1)
    while batch := list(islice(sounds, BATCH)):
        heard = [(position, row) for position, row in batch if row.value is not None]
        yield from ((position, row) for position, row in batch if row.value is None)
        if not heard:
            continue
        recogniser = recogniser or Recogniser(model, device)
        words = recogniser([row.value for _, row in heard])
        for (position, row), text in zip(heard, words, strict=True):
            note = f"only the first {SECONDS} s were heard" if len(row.value) >= longest else ""
            yield position, Row((text, "asr"), noted(note)) if text else Row(None, "absent: no words were recognised")


class Recogniser:
    """Whisper: `model` and `device` are those of `transcribe`; a folder holds at least weights, config and tokeniser.

    Raises
    ------
    HcepError
        When it cannot be loaded or is no Whisper model.
    """

    def __init__(self, model: str, device: str | None = None) -> None:
        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # in a log it is one long line
        self.device: torch.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        local = Path(model).is_dir()
        remedy = "set `asr_model` to a Whisper model's id (fetched once, online) or to its local folder"
        if not local and (model.startswith(("/", ".", "~")) or model.count("/") > 1):
            raise HcepError("no such folder of a Whisper model", file=model, remedy=remedy)
        try:
            self.processor: Any = WhisperProcessor.from_pretrained(model, local_files_only=local)
            whisper: Any = WhisperForConditionalGeneration
            self.network: Any = whisper.from_pretrained(model, dtype=torch.float32, local_files_only=local)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            cause = f"the Whisper model cannot be loaded: {str(error).splitlines()[0].rstrip('.')}"
            raise HcepError(cause, file=model, remedy=remedy) from error
        self.network.to(self.device).eval()
        self._complete_generation_config()

    def _complete_generation_config(self) -> None:
        """Fill in what a folder without generation_config.json lacks: the decoder's prefix tokens."""
        config, tokenizer = self.network.generation_config, self.processor.tokenizer
        if getattr(config, "no_timestamps_token_id", None) is not None:
            return
        config.no_timestamps_token_id = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
        # multilingual vocabularies have one token more
        config.is_multilingual = self.network.config.vocab_size >= 51865
        config.max_length = self.network.config.max_target_positions
        if config.is_multilingual:
            added = tokenizer.get_added_vocab()
            config.lang_to_id = {token: added[token] for token in added if len(token.strip("<|>")) in (2, 3)}
            tasks = ("transcribe", "translate")
            config.task_to_id = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in tasks}

    def __call__(self, sounds: Sequence[np.ndarray]) -> list[str]:
        """Words of several sounds, int16 (samples,) at 16 kHz, at most 30 s each, decoded greedily."""
        import torch

        waveforms = [sound.astype(np.float32) / 32768 for sound in sounds]
        inputs = self.processor(waveforms, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
        options = {"task": "transcribe", "language": "en"} if self.network.generation_config.is_multilingual else {}
        with torch.inference_mode():
            features, mask = inputs.input_features.to(self.device), inputs.attention_mask.to(self.device)
            tokens = self.network.generate(features, attention_mask=mask, do_sample=False, num_beams=1, **options)
        return [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]
