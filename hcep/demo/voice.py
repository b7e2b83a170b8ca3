"""A synthetic voice: a glottal pulse train and noise through formants that step through a sentence's letters.

Source-filter synthesis (Fant 1960; glottal pulse after Klatt and Klatt 1990, resonators after Klatt 1980) at 16 kHz.
The speech is not intelligible; its pitch, rate, effort, breathiness, tremor and pauses follow `Prosody`. Nothing here
knows an emotion.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hcep.demo.speaker import Speaker

RATE = 16_000  # Hz
# samples: 10 ms steps, Hann windows that sum to one, room for the resonators' tail
HOP, WINDOW, SPECTRUM = 160, 320, 512
SHORTEST, LONGEST = 1.2, 2.0  # seconds

Formants = tuple[float, float, float]  # in Hz, of an average tract

VOWELS: dict[str, Formants] = {
    "a": (750, 1250, 2500), "e": (520, 1850, 2500), "i": (300, 2250, 3000),
    "o": (480, 880, 2400), "u": (320, 800, 2250), "y": (300, 2000, 2800),
}  # fmt: skip
SONORANTS: dict[str, Formants] = {
    "m": (260, 1000, 2200), "n": (260, 1500, 2500), "l": (350, 1200, 2700), "r": (350, 1150, 1700),
    "w": (300, 700, 2200),
}  # fmt: skip
CLOSED: Formants = (400, 1500, 2500)  # behind a fricative or a burst
FRICATIVES = {"s": 5200.0, "z": 5000.0, "f": 3800.0, "v": 3400.0, "h": 1500.0, "x": 4500.0, "j": 3000.0, "c": 4200.0}
BANDWIDTHS = (80.0, 110.0, 160.0, 250.0)  # Hz


class Prosody(NamedTuple):
    """How a sentence is said."""

    pitch: float = 0.0  # semitones above the speaker's base
    span: float = 2.0  # semitones that accents rise
    slope: float = -2.0  # semitones from the first to the last sound
    rate: float = 4.6  # syllables per second
    effort: float = 0.45  # 0 soft and dull, 1 loud and bright
    breath: float = 0.15  # share of noise in voiced sounds, 0 to 1
    tremor: float = 0.0  # depth of a 6 Hz shake of pitch and level, 0 to 1
    pause: float = 0.03  # seconds between words


LOWER = Prosody(-8, 0, -10, 2.5, 0, 0, 0, 0)
UPPER = Prosody(10, 8, 10, 7.5, 1, 1, 1, 0.25)


def clamp(values: np.ndarray) -> Prosody:
    """The nearest prosody within the range of every parameter."""
    return Prosody(*(float(x) for x in np.clip(values, LOWER, UPPER)))


class _Sound(NamedTuple):
    """One stretch of speech: length relative to a vowel, formants, levels of voice and noise, the noise's middle."""

    length: float
    formants: Formants
    voiced: float
    noise: float
    centre: float
    accent: float


def speak(speaker: Speaker, sentence: str, prosody: Prosody, rng: np.random.Generator) -> np.ndarray:
    """Waveform float32 ``(A,)`` in -1..1 at 16 kHz, 1.2 to 2.0 s with short margins; longer speech is cut.

    The speaker gives base pitch and tract length, the words of the sentence its syllables; a sentence without letters
    is a hum. Accents, jitter and noise come from `rng`.
    """
    tracks = _tracks(_sounds(sentence, rng), prosody)
    lead = int(rng.integers(5, 13))
    count = int(np.clip(len(tracks) + lead + 8, SHORTEST * RATE / HOP, LONGEST * RATE / HOP))
    frames = np.zeros((count, 7))
    frames[:, :3] = tracks[0, :3]
    spoken = tracks[: count - lead]
    frames[lead : lead + len(spoken)] = spoken
    samples = count * HOP
    pitch = _pitch(frames[:, 6], lead, len(spoken), speaker, prosody, rng)
    f0, voiced = (np.interp(np.arange(samples) / HOP, np.arange(count), track) for track in (pitch, frames[:, 3]))
    shake = 1 + 0.5 * prosody.tremor * np.sin(2 * np.pi * 6.0 * np.arange(samples) / RATE + rng.uniform(0, 6))
    source = _glottal(f0, prosody.effort) + prosody.breath * 0.5 * rng.standard_normal(samples)
    wave = _filter(source * voiced * shake, frames[:, :3], speaker.tract, prosody.effort)
    wave += _hiss(frames[:, 4], frames[:, 5], samples, rng)
    wave *= 0.05 * 10 ** (0.5 * prosody.effort) / max(float(np.sqrt(np.mean(wave**2))), 1e-6)
    wave += 0.0006 * rng.standard_normal(samples)  # a room is never silent
    return np.clip(wave, -0.98, 0.98).astype(np.float32)


def _sounds(sentence: str, rng: np.random.Generator) -> list[list[_Sound]]:
    """The sounds of every word; one accent a word, on its first vowel."""
    words = []
    for word in sentence.lower().split():
        letters = [c for c in word if c.isalpha()]
        if len(letters) > 2 and letters[-1] == "e" and any(c in VOWELS for c in letters[:-1]):
            letters.pop()  # silent
        sounds: list[_Sound] = []
        accent, last = rng.uniform(0.3, 1.0), ""
        for letter in letters:
            if letter in SONORANTS:
                sounds.append(_Sound(0.40, SONORANTS[letter], 0.55, 0.0, 0.0, 0.0))
            elif letter in FRICATIVES:
                sounds.append(_Sound(0.45, CLOSED, 0.0, 0.35, FRICATIVES[letter], 0.0))
            elif letter in "bdgkpqt":
                sounds.append(_Sound(0.30, CLOSED, 0.0, 0.0, 0.0, 0.0))
                sounds.append(_Sound(0.10, CLOSED, 0.2, 0.5, 2500.0, 0.0))
            elif last not in VOWELS:  # a run of vowels is one nucleus; a letter of another script counts as a vowel
                formants = VOWELS.get(letter) or list(VOWELS.values())[ord(letter) % len(VOWELS)]
                sounds.append(_Sound(1.0, formants, 1.0, 0.0, 0.0, accent))
                accent = 0.0
            last = letter
        if sounds:
            words.append(sounds)
    return words or [[_Sound(1.0, VOWELS["u"], 0.8, 0.0, 0.0, 0.0)]]


def _tracks(words: list[list[_Sound]], prosody: Prosody) -> np.ndarray:
    """Control frames ``(T, 7)`` every 10 ms: three formants, voice level, noise level, noise middle, accent."""
    flat = [sound for word in words for sound in word]
    syllables = max(sum(sound.length == 1.0 for sound in flat), 1)
    unit = syllables / prosody.rate / sum(sound.length for sound in flat)  # seconds of a vowel
    rows: list[tuple[float, ...]] = []
    clock = 0.0
    for word in words:
        for sound in word:
            clock += sound.length * unit
            level = sound.voiced * (1 + 0.35 * sound.accent)
            row = (*sound.formants, level, sound.noise, sound.centre, sound.accent)
            rows += [row] * (round(clock * RATE / HOP) - len(rows))
        clock += prosody.pause
        silent = (*word[-1].formants, 0.0, 0.0, 0.0, 0.0)
        rows += [silent] * (round(clock * RATE / HOP) - len(rows))
    tracks = np.array(rows or [(*VOWELS["u"], 0.8, 0.0, 0.0, 0.0)])
    # a triangle of 70 ms on the formants and of 30 ms on the levels stands for the inertia of tongue and folds
    for column, reach in ((0, 3), (1, 3), (2, 3), (3, 1), (6, 5)):
        kernel = np.bartlett(2 * reach + 3)[1:-1]
        padded = np.pad(tracks[:, column], reach, mode="edge")
        tracks[:, column] = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return tracks


def _pitch(
    accents: np.ndarray, lead: int, spoken: int, speaker: Speaker, prosody: Prosody, rng: np.random.Generator
) -> np.ndarray:
    """F0 in Hz per control frame: base, declination, accents, tremor and a slow random walk."""
    count = len(accents)
    time = np.clip((np.arange(count) - lead) / max(spoken, 1), 0, 1) - 0.5
    walk = np.cumsum(rng.normal(0, 0.06, count))
    tremor = 0.8 * prosody.tremor * np.sin(2 * np.pi * 6.0 * np.arange(count) * HOP / RATE + rng.uniform(0, 6))
    semitones = prosody.pitch + prosody.slope * time + prosody.span * accents + tremor + walk - walk.mean()
    return speaker.base_f0 * 2 ** (semitones / 12)


def _glottal(f0: np.ndarray, effort: float) -> np.ndarray:
    """Derivative of the KLGLOTT88 glottal flow; effort closes the folds earlier, which brightens the sound."""
    phase = np.cumsum(f0 / RATE) % 1.0
    share = phase / (0.75 - 0.3 * effort)
    return np.where(share < 1, 2 * share - 3 * share**2, 0.0)


def _filter(source: np.ndarray, formants: np.ndarray, tract: float, effort: float) -> np.ndarray:
    """Overlap-add of `source` through four resonators per control frame and a tilt that effort lifts."""
    z = np.exp(-2j * np.pi * np.arange(SPECTRUM // 2 + 1) / SPECTRUM).astype(np.complex64)
    response = np.ones((len(formants), len(z)), np.complex64)
    columns = [*(formants[:, k] * tract for k in range(3)), np.full(len(formants), 3500 * tract)]
    for middle, bandwidth in zip(columns, BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth / RATE)
        turn = (2 * radius * np.cos(2 * np.pi * middle / RATE)).astype(np.float32)[:, None]
        gain = 1 - turn + np.float32(radius**2)  # unity at 0 Hz
        response *= gain / (1 - turn * z + np.float32(radius**2) * z * z)
    tilt = 1 / (1 + np.fft.rfftfreq(SPECTRUM, 1 / RATE) / (300 * 10**effort))
    return _overlap_add(source, response * tilt.astype(np.float32))


def _hiss(levels: np.ndarray, middles: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of fricatives and bursts: a bump of 1 kHz around its middle."""
    frequencies = np.fft.rfftfreq(SPECTRUM, 1 / RATE)
    shape = np.exp(-0.5 * ((frequencies - middles[:, None]) / 1000) ** 2) * levels[:, None]
    return 0.12 * _overlap_add(rng.standard_normal(samples), shape)


def _overlap_add(source: np.ndarray, response: np.ndarray) -> np.ndarray:
    count = len(response)
    window = np.hanning(WINDOW + 1)[:-1]
    padded = np.pad(source, HOP)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count] * window
    out = np.fft.irfft(np.fft.rfft(pieces, SPECTRUM) * response, SPECTRUM)
    total = np.zeros(count * HOP + SPECTRUM)
    for row, piece in enumerate(out):
        total[row * HOP : row * HOP + SPECTRUM] += piece
    return total[HOP : HOP + len(source)]
