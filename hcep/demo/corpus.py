"""The demo corpus: 200 short H.264 and AAC files of drawn talking faces, ten emotions, twenty speakers.

A rule and a seed give every clip. Face, voice and words each carry the clip's emotion, or nothing (neutral), or that of
a confusable neighbour; at least one that the file contains carries the true one.
"""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ffmpeg
import numpy as np
import soundfile

from hcep.demo import face, voice
from hcep.demo.face import SIDE, Action, draw_face
from hcep.demo.prototypes import CONFUSABLE, EMOTIONS, FACES, VOICES, load_transcripts, write_sentence
from hcep.demo.speaker import demo_speaker_numbers, draw_speaker
from hcep.demo.voice import RATE, Prosody, speak
from hcep.errors import HcepError
from hcep.ffmpeg import ffmpeg_executable
from hcep.files import atomic_folder, write_table, writing
from hcep.progress import progress

COLUMNS = ("clip", "video", "text", "text_kind", "language", "label", "group", "fold")
SPEAKERS, TRAIN_SPEAKERS = 20, 12
FPS = 25
NEUTRAL_SHARE, MISLEADING_SHARE = 0.15, 0.05
WITHOUT_SOUND, WITHOUT_WORDS = 5, 5
# standard deviations of one clip around its prototype
FACE_JITTER, VOICE_JITTER = 0.12, Prosody(1.0, 0.7, 1.2, 0.4, 0.10, 0.08, 0.10, 0.015)


class DemoClip(NamedTuple):
    """One clip before it is drawn; an emotion of None is a neutral modality."""

    order: int
    speaker: int  # number that draw_speaker takes
    label: str
    group: str
    fold: str
    face: str | None
    voice: str | None
    words: str | None
    sentence: str
    has_sound: bool
    has_words: bool

    @property
    def name(self) -> str:
        """Clip id and file stem."""
        return f"demo_{self.order:03d}"

    def row(self) -> dict[str, str]:
        """The clip's line of clips.tsv."""
        text, kind = (self.sentence, "transcript") if self.has_words else ("", "none")
        cells = (self.name, f"video/{self.name}.mp4", text, kind, "en", self.label, self.group, self.fold)
        return dict(zip(COLUMNS, cells, strict=True))


def plan_clips(seed: int) -> list[DemoClip]:
    """Who shows which emotion in which modality, for all 200 clips; nothing is drawn yet.

    Every speaker shows every emotion once. The first twelve speakers are fold ``train``, the others ``test``.
    """
    rng = np.random.default_rng([seed, 1])
    transcripts = load_transcripts()
    pairs = [(k, emotion) for k in range(SPEAKERS) for emotion in EMOTIONS]
    pairs = [pairs[k] for k in rng.permutation(len(pairs))]  # ids tell nothing about labels
    missing = rng.permutation(len(pairs))
    silent = set(missing[:WITHOUT_SOUND].tolist())
    wordless = set(missing[WITHOUT_SOUND : WITHOUT_SOUND + WITHOUT_WORDS].tolist())
    numbers = demo_speaker_numbers(seed, SPEAKERS)
    clips = []
    for index, (k, label) in enumerate(pairs):
        sound, text = index not in silent, index not in wordless
        seen = heard = words = None
        while not (seen == label or (sound and heard == label) or (text and words == label)):
            seen, heard, words = (_shown(label, rng) for _ in range(3))
        group, fold = f"speaker{k + 1:02d}", "train" if k < TRAIN_SPEAKERS else "test"
        sentence = write_sentence(words, transcripts, rng)
        clips.append(DemoClip(index, numbers[k], label, group, fold, seen, heard, words, sentence, sound, text))
    return clips


def _shown(label: str, rng: np.random.Generator) -> str | None:
    """What one modality shows: the label, nothing, or a neighbour of the label."""
    draw = rng.random()
    if draw < NEUTRAL_SHARE:
        return None
    return str(rng.choice(CONFUSABLE[label])) if draw < NEUTRAL_SHARE + MISLEADING_SHARE else label


def render_sound(clip: DemoClip, seed: int) -> np.ndarray:
    """The clip's voice, float32 ``(A,)`` at 16 kHz."""
    rng = np.random.default_rng([seed, 2, clip.order])
    speaker = draw_speaker(clip.speaker)
    target, neutral = np.array(VOICES[clip.voice]), np.array(VOICES[None])
    strength = rng.uniform(0.8, 1.1) * speaker.expressiveness
    values = neutral + strength * (target - neutral) + rng.normal(0, VOICE_JITTER)
    return speak(speaker, clip.sentence, voice.clamp(values), rng)


def render_frames(clip: DemoClip, sound: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """The clip's frames, uint8 ``(96, 96, 3)``, 25 a second; the jaw follows the voice's level.

    The expression grows from rest within the first 0.4 s; blinks and a slow sway of the head lie over it.
    """
    rng = np.random.default_rng([seed, 3, clip.order])
    speaker = draw_speaker(clip.speaker)
    target = rng.uniform(0.8, 1.1) * speaker.expressiveness * np.array(FACES[clip.face])
    for name in ("skew", "tilt", "gaze_x"):  # a sided action takes either side
        target[Action._fields.index(name)] *= rng.choice([-1, 1])
    target += rng.normal(0, FACE_JITTER, len(target))
    count = int(len(sound) / RATE * FPS)
    level = np.sqrt([np.mean(part**2) for part in np.array_split(sound[: count * RATE // FPS], count)])
    talk = 0.35 * np.clip(level / max(float(level.max()), 1e-6), 0, 1)
    onset, blink = rng.uniform(0.1, 0.4) * FPS, rng.uniform(0.2, 1.0) * count
    sway = rng.uniform(0.1, 0.3) * np.sin(np.arange(count) / FPS * rng.uniform(2, 5) + rng.uniform(0, 6))
    for k in range(count):
        action = face.clamp(target * min((k + 1) / onset, 1.0))
        lids = -1.0 if blink <= k < blink + 3 else action.lids
        opening = min(action.open + talk[k] * (1 - 0.5 * action.press), 1.0)
        press = action.press * (1 - 0.5 * talk[k] / 0.35)
        moved = action._replace(lids=lids, open=opening, press=press, tilt=float(np.clip(action.tilt + sway[k], -1, 1)))
        yield draw_face(speaker, moved)


def write_clip(clip: DemoClip, folder: Path, seed: int) -> None:
    """Draw, speak and encode one clip to ``folder/<name>.mp4``; an HcepError says why ffmpeg failed."""
    sound = render_sound(clip, seed)
    frames = b"".join(frame.tobytes() for frame in render_frames(clip, sound, seed))
    picture = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{SIDE}x{SIDE}", r=FPS)
    # one thread and bit-exact muxing: the same binary writes the same bytes
    settings: dict[str, Any] = {"c:v": "libx264", "preset": "veryfast", "crf": 20, "pix_fmt": "yuv420p", "threads": 1}
    settings |= {"map_metadata": -1, "fflags": "+bitexact", "flags:v": "+bitexact", "movflags": "+faststart"}
    target = folder / f"{clip.name}.mp4"
    spoken = target.with_suffix(".wav")
    streams = [picture]
    if clip.has_sound:
        content = io.BytesIO()
        soundfile.write(content, np.round(sound * 32767).astype(np.int16), RATE, "PCM_16", format="WAV")
        with writing(spoken, content.tell()):
            spoken.write_bytes(content.getbuffer())
        streams.append(ffmpeg.input(f"file:{spoken}"))
        settings |= {"c:a": "aac", "b:a": "64k", "flags:a": "+bitexact"}
    job = ffmpeg.output(*streams, f"file:{target}", **settings).global_args("-hide_banner", "-loglevel", "error")
    try:
        job.run(cmd=ffmpeg_executable(), input=frames, quiet=True, overwrite_output=True)
    except ffmpeg.Error as error:
        cause = f"ffmpeg could not write the clip ({error.stderr.decode(errors='replace').strip()})"
        raise HcepError(cause, file=target, remedy="check HCEP_FFMPEG and the free disk space") from error
    finally:
        spoken.unlink(missing_ok=True)


def generate_demo(
    output: Path,
    *,
    seed: int,
    workers: int,
    speakers: tuple[int, int] = (TRAIN_SPEAKERS, SPEAKERS - TRAIN_SPEAKERS),
) -> None:
    """Write the demo corpus: ``clips.tsv`` (columns `COLUMNS`) and ``video/*.mp4`` below `output`.

    The videos are complete before they take their place, and the table comes last.

    Parameters
    ----------
    output : path
        Folder to fill; an earlier demo in it is replaced.
    seed : int
        Same seed, same ffmpeg: same bytes.
    workers : int
        Processes; the result does not depend on it.
    speakers : pair of int
        Training and test speakers, ten clips each; fewer give a part of the whole corpus.

    Raises
    ------
    HcepError
        When ffmpeg is missing or fails, or a number is out of range.
    """
    if seed < 0 or workers < 1:
        raise HcepError(f"seed {seed} and workers {workers} must be at least 0 and 1", remedy="choose others")
    output.mkdir(parents=True, exist_ok=True)
    train, test = speakers
    if not (1 <= train <= TRAIN_SPEAKERS and 1 <= test <= SPEAKERS - TRAIN_SPEAKERS):
        most = f"{TRAIN_SPEAKERS} and {SPEAKERS - TRAIN_SPEAKERS}"
        raise HcepError(f"{train} training and {test} test speakers", remedy=f"choose at least 1 and at most {most}")
    kept = {f"speaker{k + 1:02d}" for k in (*range(train), *range(TRAIN_SPEAKERS, TRAIN_SPEAKERS + test))}
    clips = [clip for clip in plan_clips(seed) if clip.group in kept]
    with atomic_folder(output / "video") as scratch:
        write = partial(write_clip, folder=scratch, seed=seed)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, spawn) if workers > 1 else nullcontext() as pool:
            written = pool.map(write, clips, chunksize=5) if pool else map(write, clips)
            for _ in progress(written, len(clips), "generate_demo"):
                pass
    write_table(output / "clips.tsv", COLUMNS, (clip.row() for clip in clips), delimiter="\t", seal=False)
