"""Sound of a media file at 16 kHz in mono: sample i is what is heard i/16,000 s after the start of the file.

Plain sound files are read by libsndfile, everything else by ffmpeg. Whatever changes in the middle of a stream (rate,
channels, gaps), each piece is put where its time stamp says; a stream whose clock cannot be used is an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from hcep.container import MediaError, ends_early, truncated
from hcep.decoder import DEFAULT, Limits
from hcep.ffmpeg import RATE, all_finite, read_track
from hcep.packet_errors import PacketErrors, packet_errors
from hcep.probe import Probe, Track

MAX_SECONDS = 2 * 3600
FULL_SCALE = 32768
# -90 dB of full scale: about one step of 16 bits
SILENCE = FULL_SCALE * 10 ** (-90 / 20)
# mono that is quieter than -50 dB may be two channels that cancel each other
QUIET = FULL_SCALE * 10 ** (-50 / 20)
# what libsndfile reads to the sample: containers whose header describes one stream, and codings in which every sample
# stands by itself (of the others its header may tell the wrong number) or that are FLAC
PLAIN = frozenset({"wav", "w64", "aiff", "au", "flac"})
CODINGS = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
# containers without time stamps: what follows in the file follows in time
UNTIMED = PLAIN | {"mp3", "aac"}
# a gap of more is believed at once, a smaller one or an overlap if it lasts; below that stamps are merely rounded
JUMP, SHIFT = round(0.1 * RATE), round(0.01 * RATE)
# pieces before and behind a piece that tell whether a small jump lasts
AROUND = 21
# an encoder fills up its last block; a decoder that keeps this makes the sound longer than its stream says
PADDING = round(0.1 * RATE)
# gaps that add up to less are what any recording over a network has
TOLD_GAP = 1.0
CHUNK = 2**20
ODD = "holds samples that are not finite numbers"
# sound that ffmpeg reads beyond what is needed, since the last piece of some containers ends a little early
BEYOND = 0.05


class Sound(NamedTuple):
    """int16 samples ``(n,)`` at 16 kHz from the start of the file, and what one should know of them.

    `errors` tells where ffmpeg reported any in decoding them, None where it reported none.
    """

    samples: np.ndarray
    notes: tuple[str, ...] = ()
    errors: PacketErrors | None = None


def is_silent(samples: np.ndarray) -> bool:
    """Whether int16 samples are constant or below -90 dB of full scale throughout; no samples at all are silent too."""
    if not len(samples):
        return True
    if np.ptp(samples[:1024]) > 4 * SILENCE:  # most sounds are told from their beginning
        return False
    middle = float(samples.mean())
    return max(float(samples.max()) - middle, middle - float(samples.min())) < SILENCE


def read_audio(path: str | Path, media: Probe, *, seconds: float | None = None, limits: Limits = DEFAULT) -> Sound:
    """Read the sound of a file as a player would choose it: 16 kHz, mono, from the start of the file.

    Of several streams the first that is marked as default is read, then the others in order, until one is not silent. A
    mono mix whose channels cancel each other is replaced by the louder channel. Both are told in `notes`.

    Parameters
    ----------
    path, media, limits
        As in `read_frames`.
    seconds : float, optional
        Stop after this time, counted from the start of the file.

    Returns
    -------
    Sound
        Sample 0 is the start of the file, so that it lines up with `Probe.times`.

    Raises
    ------
    MediaError
        When there is no stream of sound (``absent``), none can be decoded, its clock cannot be used, or it ends before
        its header says.
    """
    path = Path(path).absolute()
    if not media.has_audio:
        raise MediaError("has no audio stream", file=path, absent=True)
    order = sorted(media.tracks, key=lambda track: not track.default)
    read: list[tuple[Track, Sound]] = []
    errors: list[MediaError] = []
    for track in order:
        try:
            read.append((track, _read(path, media, track, seconds, limits)))
            if not is_silent(read[-1][1].samples):
                break
        except MediaError as error:
            errors.append(error)
    if not read:
        raise errors[0]
    # the last one is the one that sounds; if none does, players would have chosen the first
    track, sound = read[0] if is_silent(read[-1][1].samples) else read[-1]
    if len(order) == 1:
        return sound
    why = "the default one" if track.default else "the first"
    if track is not order[0]:
        why = "the first that can be read" if errors else "the first that sounds"
    return sound._replace(notes=(f"track {track.number + 1} of {len(order)} is read, {why}", *sound.notes))


def _read(path: Path, media: Probe, track: Track, seconds: float | None, limits: Limits) -> Sound:
    if track.fault:
        raise MediaError(track.fault, file=path)
    if seconds is None and track.end > MAX_SECONDS and np.isfinite(track.end):
        raise MediaError(f"claims {track.end:.0f} s of sound, above the limit", file=path)
    limit = MAX_SECONDS if seconds is None else min(seconds, MAX_SECONDS)

    def decoded(count: int) -> tuple[np.ndarray, float, bool]:
        """The sound in `count` channels ``(n, count)``, the seconds of gaps in it, and whether there were errors."""
        pieces = read_track(path, media, track.number, channels=count, seconds=limit + BEYOND, limits=limits)
        samples, starts, lengths, erred = pieces
        if media.container in UNTIMED:
            starts = np.cumsum(lengths) - lengths
        placed, missing = _place(path, samples, starts, lengths)
        return placed[: round(limit * RATE)], missing, erred

    simple = media.container in PLAIN and not media.has_video and track.channels <= 2
    plain = _read_plain(path, limit) if simple else None
    mixed, gap, erred = decoded(1) if plain is None else (_mixed(plain), 0.0, False)
    unseen = track.floating and plain is None
    if unseen and not all_finite(path, media, track.number, seconds=limit + BEYOND, limits=limits):
        raise MediaError(ODD, file=path)
    mono = mixed[:, 0]
    if not len(mono):
        raise MediaError("has an audio stream without samples", file=path)
    held, claimed = len(mono) / RATE, min(track.end, limit)
    # the header of a plain file counts its samples
    if ends_early(held, claimed, cut=media.cut or plain is not None):
        raise MediaError(truncated("sound", held, claimed), file=path)
    notes = [media.remark] if media.remark else []
    if gap >= TOLD_GAP:
        notes.append(f"{gap:.2f} s of sound are missing in the middle and filled with zeros")
    if track.channels != 1 and _loudness(mono) < QUIET:
        every = plain if plain is not None else decoded(track.channels or 2)[0]
        loudest = int(np.argmax([_loudness(channel) for channel in every.T]))
        # a tenth of the amplitude is left of it in the mix
        if _loudness(every[:, loudest]) > 10 * _loudness(mono) + SILENCE:
            mono = every[:, loudest]
            notes.append(f"the channels cancel each other, channel {loudest + 1} of {every.shape[1]} is read")
    end = round(track.end * RATE) if np.isfinite(track.end) else 0
    if 0 < end < len(mono) <= end + PADDING:
        mono = mono[:end]
    finish = media.start + limit
    errors = packet_errors(path, "audio", track.number, end=finish, limits=limits) if erred else None
    return Sound(mono, tuple(notes), errors)


def _loudness(samples: np.ndarray) -> float:
    """Root mean square around the mean."""
    values = samples.astype(np.float64)
    values -= values.mean()
    return float(np.sqrt(values @ values / len(values)))


def _mixed(channels: np.ndarray) -> np.ndarray:
    """Mean of int16 channels ``(n, c)``, rounded down, as one channel."""
    if channels.shape[1] == 1:
        return channels
    return (channels.sum(axis=1, keepdims=True, dtype=np.int32) // channels.shape[1]).astype(np.int16)


def _place(path: Path, samples: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, float]:
    """Put pieces of sound at their times.

    Parameters
    ----------
    samples : ndarray (n, channels)
        All pieces behind each other.
    starts, lengths : ndarray of int (pieces,)
        Of each piece, in samples.

    Returns
    -------
    ndarray (m, channels) and float
        Zeros where there is no piece; where two overlap the later one counts. The seconds of gaps between pieces.
    """
    if not len(starts):
        return samples, 0.0
    before = np.cumsum(lengths) - lengths
    # how far each piece lies from where it would be if all followed each other without a gap
    offset = _without_guesses(starts - before)
    runs = [(0, int(offset[0]))]
    if int(np.ptp(offset)) > SHIFT:
        from scipy.ndimage import median_filter  # half a second, for a few files

        lasting = median_filter(offset, size=2 * AROUND + 1, mode="reflect")
        for piece, (here, around) in enumerate(zip(offset.tolist(), lasting.tolist(), strict=True)):
            moved, moved_for_long = here - runs[-1][1], around - runs[-1][1]
            if moved > JUMP:
                runs.append((piece, here))
            elif abs(moved) > SHIFT < abs(moved_for_long) and moved_for_long <= JUMP:
                runs.append((piece, around))
    bounds = [int(before[piece]) for piece, _ in runs] + [len(samples)]
    total = max(stop + level for stop, (_, level) in zip(bounds[1:], runs, strict=True))
    if total > (MAX_SECONDS + 1) * RATE:
        raise MediaError(f"its time stamps claim {total / RATE:.0f} s of sound, above the limit", file=path)
    if len(runs) == 1 and runs[0][1] == 0:
        return samples, 0.0
    placed = np.zeros((max(total, 0), samples.shape[1]), samples.dtype)
    for first, stop, (_, level) in zip(bounds, bounds[1:], runs, strict=False):
        skip = max(-(first + level), 0)
        if stop - first > skip:
            placed[first + level + skip : stop + level] = samples[first + skip : stop]
    gaps = sum(max(level - last, 0) for (_, last), (_, level) in itertools.pairwise(runs))
    return placed, gaps / RATE


def _without_guesses(offset: np.ndarray) -> np.ndarray:
    """Offsets of pieces with those replaced that a demuxer has guessed from a wrong length of its blocks.

    A transport stream tells the time of every n-th block only; where the rate changes, those between are off by the
    same amount from one to the next, and the next that is told goes back. Real gaps do not.
    """
    step = np.diff(offset, prepend=offset[:1])
    if (np.abs(step) <= 8).all():
        return offset
    alike = np.abs(np.diff(step)) <= 2
    regular = (np.abs(step) > 8) & (np.append(alike, False) | np.insert(alike, 0, False))
    edges = np.flatnonzero(np.diff(regular, prepend=False, append=False))
    trusted, guessing = offset.copy(), False
    for first, stop in edges.reshape(-1, 2).tolist():
        base = int(trusted[first - 1])
        excursion = abs(int(offset[stop - 1]) - base)
        if stop < len(offset):
            guessing = abs(int(offset[stop]) - base) < excursion / 2
        if guessing:
            trusted[first:stop] = base
    return trusted


def _read_plain(path: Path, seconds: float) -> np.ndarray | None:
    """Channels int16 ``(n, c)`` of a plain sound file at 16 kHz, read in blocks, so that memory holds no more.

    None for a file that libsndfile does not know, or not to the sample: ffmpeg may.
    """
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        return None
    with file:
        # a recorder that stopped before it could write the length leaves 0, one that wrote to a pipe the largest number
        if file.subtype not in CODINGS or not 0 < file.frames < 2**62:
            return None
        wanted = min(round(seconds * file.samplerate), file.frames)
        try:
            if file.subtype == "PCM_16" and file.samplerate == RATE:
                return file.read(wanted, dtype="int16", always_2d=True)
            parts = [np.zeros((0, file.channels), np.int16)]
            for part in _resampled(file, wanted):
                if not np.isfinite(part).all():
                    raise MediaError(ODD, file=path)
                levels = np.clip(np.rint(part * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
                parts.append(levels.astype(np.int16))
        except soundfile.LibsndfileError as error:
            raise MediaError(f"libsndfile: {error.error_string}", file=path) from error
        return np.concatenate(parts)


def _resampled(file: soundfile.SoundFile, count: int) -> Iterator[np.ndarray]:
    """The first `count` moments of a sound file at 16 kHz, as blocks (n, channels) between -1 and 1."""
    common = int(np.gcd(file.samplerate, RATE))
    up, down = RATE // common, file.samplerate // common
    # blocks begin where an output sample falls on an input sample, and see as much beside them as the filter does
    size, beside = down * -(-CHUNK // down), down * (10 * max(up, down) // (up * down) + 2)
    for first in range(0, count, size):
        low, high = max(first - beside, 0), min(first + size + beside, count)
        file.seek(low)
        block = file.read(high - low, dtype="float32", always_2d=True)
        if up == down:
            yield block[first - low : first - low + size]
            continue
        from scipy.signal import resample_poly  # a second, which jobs on clips of video need not wait

        part = resample_poly(block, up, down, axis=0)
        begin = (first - low) * up // down
        yield part[begin : begin + size * up // down if first + size < count else None]
