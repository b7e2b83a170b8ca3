"""Sound of a shard's clips: 16 kHz, mono, one length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from hcep.datasets.manifest_file import Clip
from hcep.decoder import Limits
from hcep.errors import HcepError
from hcep.ffmpeg import RATE, ffmpeg_version
from hcep.media.shards import SILENT, Row, clips_of_shard, noted, write_shard
from hcep.media.sources import Rows, read_sources
from hcep.probe import probe
from hcep.progress import progress
from hcep.sound import is_silent, read_audio


def decode_audio(
    manifest: Path,
    root: Path,
    shard: str,
    output: Path,
    *,
    samples: int,
    window: Literal["centre", "start"] = "centre",
    timeout: float = 60.0,
    decoder_memory: float = 4.0,
    threads: int = 1,
) -> None:
    """Decode the sound of one shard's clips into HDF5, int16 (n, A), 16 kHz, mono.

    Of a longer sound the middle or the first A samples are kept, a shorter one is padded with zeros at its end; the
    number of samples that are the clip's own is stored beside it. A clip without sound, or with sound that cannot be
    read, is zeros with flag and reason. One that is constant or below -90 dB of full scale is kept and flagged
    `silent_audio`.

    Parameters
    ----------
    manifest, root, shard, output, timeout, decoder_memory, threads
        As in `decode_frames`.
    samples : int
        A.
    window : {"centre", "start"}
        Which part of a longer sound.

    Raises
    ------
    HcepError
        For a bad manifest or window, or when ffmpeg does not run or the machine stops it.
    """
    if window not in ("centre", "start"):
        raise HcepError(f"audio window {window!r}", remedy="use centre or start")
    clips = clips_of_shard(manifest, shard)

    def read(audio: str, positions: list[int]) -> Rows:
        longest = samples if window == "start" else None
        rows = read_sound(root / audio, clips, positions, longest=longest, limits=Limits(timeout, decoder_memory))
        return [(position, row if row.value is None else windowed(row, samples, window)) for position, row in rows]

    rows = progress(read_sources(clips, "audio", read, threads), len(clips), f"decode_audio {shard}")
    decoders = {"ffmpeg": ffmpeg_version(), "libsndfile": soundfile.__libsndfile_version__}
    settings = {"samples": samples, "window": window, "rate": RATE, **decoders}
    names = [clip.clip for clip in clips]
    write_shard(output, "audio", names, rows, settings, shape=(samples,), dtype=np.int16)


def windowed(row: Row, samples: int, window: str) -> Row:
    """The part of a clip's sound that is kept, and whether it is silent."""
    value, own = fit(row.value, samples, window), min(len(row.value), samples)
    row = row._replace(value=value, samples=own)
    if not is_silent(value[:own]):
        return row
    level = "constant" if not np.ptp(value[:own]) else "below -90 dB of full scale"
    return row._replace(reason=noted(row.reason, f"silent: {level} throughout"), flag=SILENT)


def read_sound(path: Path, clips: Sequence[Clip], positions: list[int], *, longest: int | None, limits: Limits) -> Rows:
    """Sound of all clips of one file, decoded in one pass.

    Parameters
    ----------
    clips, positions
        All clips of the shard, and which of them are in this file.
    longest : int, optional
        How many samples of a clip are needed from its start; None = all.
    limits : Limits
        Per clip.

    Returns
    -------
    list of (position, Row)
        Values are int16 (samples,), of the clip's own length.

    Raises
    ------
    MediaError
        When the file as a whole cannot be used.
    """
    media = probe(path, timeout=limits.seconds, picture=False)
    spans = [_span(clips[position], longest) for position in positions]
    ends = [end for _, end in spans if end is not None]
    seconds = max(ends) / RATE if len(ends) == len(spans) else None
    each = limits._replace(seconds=limits.seconds * len(positions))
    sound, notes, errors = read_audio(path, media, seconds=seconds, limits=each)
    rows: Rows = []
    held = len(sound) / RATE
    for position, (first, stop) in zip(positions, spans, strict=True):
        part, end = sound[first:stop], clips[position].end
        late = longest is None and end is not None and end > held + 1.0
        note = f"the segment ends at {end:g} s, the sound at {held:.2f} s" if late else ""
        place = media.start + first / RATE
        concealed = errors.note(place, place + (len(part) - 1) / RATE, "sound") if errors is not None else ""
        row = Row(part, noted(*notes, note, concealed), seconds=len(part) / RATE)
        if not len(part):
            row = Row(None, f"failed: the segment starts at {first / RATE:g} s, the sound ends at {held:.2f} s")
        rows.append((position, row))
    return rows


def _span(clip: Clip, longest: int | None) -> tuple[int, int | None]:
    """First and last sample of a clip in its file."""
    first = round(max(clip.start or 0.0, 0.0) * RATE)
    stops = [] if clip.end is None else [max(round(clip.end * RATE), first + 1)]
    if longest is not None:
        stops.append(first + longest)
    return first, min(stops, default=None)


def fit(sound: np.ndarray, samples: int, window: str) -> np.ndarray:
    """Cut (n,) to `samples` at the centre or the start, or pad it with zeros at the end."""
    first = max(len(sound) - samples, 0) // 2 if window == "centre" else 0
    return np.pad(sound[first : first + samples], (0, max(samples - len(sound), 0)))
