"""Invented releases in the shape of CREMA-D: actors, takes and votes are made up, forms and hazards real."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sample_media import make_clip

EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
LEVELS = ("XX", "LO", "MD", "HI")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 414429\n"


class Made(NamedTuple):
    """One clip: its name, and the letters of the raters' vote, joined by ':' in a tie."""

    name: str
    vote: str


def make_release(
    root: Path,
    *,
    clips_per_class: int = 10,
    media: bool = True,
    faults: bool = False,
    seed: int = 0,
) -> list[Made]:
    """Write a release and return its clips.

    Clips of an emotion go round the actors, of whom there are ten or, above 480 clips, as many as are needed; so of 10
    clips per class each of the five folds has two. 1,240 give the size of the real release.

    Parameters
    ----------
    root : path
        Folder to write ``CREMA-D`` into.
    clips_per_class : int
        10 or more, so that every emotion is in every fold twice.
    media : bool
        Whether there are media files, real but few in kind.
    faults : bool
        Whether the things are wrong that go wrong: clip 0 has no .flv, clip 1 no .wav, the .wav of clip 2 (of level XX)
        ends in _X, clip 3 has no votes, clip 4 a tie, a stray .flv is in no list, and the .flv of clip 5 is a text of
        git-LFS.
    seed : int
        Another seed gives other votes.
    """
    chance = random.Random(seed)
    actors = max(10, -(-clips_per_class // (len(SENTENCES) * len(LEVELS))))
    names = []
    for place in range(clips_per_class):
        take, actor = divmod(place, actors)
        level, sentence = divmod(take, len(SENTENCES))
        names += [f"{1001 + actor}_{SENTENCES[sentence]}_{emotion}_{LEVELS[level]}" for emotion in EMOTIONS]
    names.sort()
    made = [Made(name, _vote(name.split("_")[2][0], chance)) for name in names]
    if faults:
        made[4] = made[4]._replace(vote="A:D:N")
    base = root / "CREMA-D"
    # R quotes every text and no number
    _write(
        base / "SentenceFilenames.csv", ["Stimulus_Number", "Filename"], [[n, m.name] for n, m in enumerate(made, 1)]
    )
    header = ["", "FileName", "VoiceVote", "VoiceLevel", "FaceVote", "FaceLevel", "MultiModalVote", "MultiModalLevel"]
    voted = made[:3] + made[4:] if faults else made
    levels = {clip.name: ":".join(["61.5"] * len(clip.vote.split(":"))) for clip in voted}
    rows = [[str(n), m.name, "N", "70", "A:D", "37.2:58.6", m.vote, levels[m.name]] for n, m in enumerate(voted, 1)]
    _write(base / "processedResults/summaryTable.csv", header, rows)
    if media:
        _media(base, names, faults)
    return made


def _vote(acted: str, chance: random.Random) -> str:
    """Mostly what was acted; sometimes neutral, sometimes both."""
    return chance.choices((acted, "N", ":".join(sorted({acted, "N"}))), (6, 2, 1))[0]


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(header)
        writer.writerows(rows)


def _media(base: Path, names: Sequence[str], faults: bool) -> None:
    video = make_clip(base / "VideoFlash" / f"{names[0]}.flv", seconds=0.6, fps=5, size="40x32")
    audio = make_clip(base / "AudioWAV" / f"{names[0]}.wav", seconds=0.6, video=False, options=("-ar", "16000"))
    for name in names[1:]:
        (base / "VideoFlash" / f"{name}.flv").hardlink_to(video)
        (base / "AudioWAV" / f"{name}.wav").hardlink_to(audio)
    if faults:
        (base / "VideoFlash" / "1999_IEO_ANG_XX.flv").hardlink_to(video)
        for index in (0, 5):
            (base / "VideoFlash" / f"{names[index]}.flv").unlink()
        (base / "VideoFlash" / f"{names[5]}.flv").write_text(POINTER)
        (base / "AudioWAV" / f"{names[1]}.wav").unlink()
        sound = base / "AudioWAV" / f"{names[2]}.wav"
        sound.rename(sound.with_stem(sound.stem.removesuffix("X")))
