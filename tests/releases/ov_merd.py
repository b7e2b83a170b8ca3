"""Invented releases in the shape of MER2025's OV-MERD: names and words are made up, forms and hazards real."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

from sample_media import make_clip

# basic word of a row -> words that stand beside it; nobody in the real file is disgusted
BASIC = {
    "angry": ("furious", "blame", "complaining"),
    "happy": ("joyful", "relieved", "proud of himself"),
    "sadness": ("grief", "missing home", "tired"),
    "surprised": ("puzzled", "shocked", "curious"),
    "fear": ("tense", "worried", "hiding"),
}
LABELS = {"mer2025": "track2_train_ovmerd.csv", "mer2026": "track2_train_human.csv"}
NEITHER = ("worried", "doubtful", "looking around", "self-mocking", "warm", "nostalgic")


def make_release(
    root: Path,
    *,
    clips_per_class: int = 10,
    media: bool = True,
    faults: bool = False,
    seed: int = 0,
    others: int = 20,
    edition: str = "mer2025",
) -> dict[str, list[str]]:
    """Write a release and return the words of every clip.

    There are five basic emotions (anger, happiness, sadness, surprise, fear) and as many rows without one: six labels
    of `clips_per_class` rows each.

    Parameters
    ----------
    root : path
        Folder to write ``mer2025-dataset`` (the edition) into.
    clips_per_class : int
        8 or more, so that every label has two clips to test and six to train on.
    media : bool
        Whether there are media files, real but few in kind.
    faults : bool
        Whether the things are wrong that go wrong: the words of clip 0 are an empty list and of clip 1 an empty cell,
        those of clip 2 stand side by side as numpy prints them, those of clip 3 are not quoted, one of clip 4 has a
        semicolon; the subtitle of clip 5 is empty in English, of clip 6 in both languages, clip 7 has none; the .wav of
        clip 8 and the .mp4 of clip 9 are missing, the .mp4 of clip 10 has no sound and no .wav, that of clip 11 no
        picture, and that of clip 12 is a text of git-LFS.
    seed : int
        Another seed gives other words.
    others : int
        Subtitles (and, with media, videos) of clips that no row is about.
    edition : str
        mer2025, or mer2026: another label file, whose lists have neither brackets nor quotes.
    """
    chance = random.Random(seed)
    base = root / f"{edition}-dataset"
    base.mkdir(parents=True, exist_ok=True)
    words = [_words(index % 6, chance) for index in range(6 * clips_per_class)]
    # names have gaps, and the file is sorted by them
    names = [f"sample_{7 * index + chance.randrange(7):08d}" for index in range(len(words))]
    cells = [str(found) for found in words]
    if faults:
        changed = [], [], ["grief", "sad"], ["tired", "sad"], ["happy", "warm; calm"]
        for index, found in enumerate(changed):
            words[index] = found
        cells[:5] = ["[]", "", "['grief' 'sad']", "[tired, sad]", str(words[4])]
    if edition == "mer2026":
        cells = [",".join(found) for found in words]
    _write(base / LABELS[edition], ["name", "openset"], list(zip(names, cells, strict=True)))
    subtitles = [[name, f"第{index}句话。", f'They said, "line {index}".'] for index, name in enumerate(names)]
    if faults:
        subtitles[5][2] = subtitles[6][1] = subtitles[6][2] = ""
        del subtitles[7]
    strangers = [f"samplenew3_{index:08d}" for index in range(others)]
    subtitles += [[name, "别人的话", ""] for name in strangers]
    chance.shuffle(subtitles)
    _write(base / "subtitle_chieng.csv", ["name", "chinese", "english"], subtitles)
    if media:
        _media(base, [*names, *strangers], faults)
    return dict(zip(names, words, strict=True))


def _words(kind: int, chance: random.Random) -> list[str]:
    if kind == 5:
        return chance.sample(NEITHER, chance.randrange(1, 4))
    basic, beside = list(BASIC.items())[kind]
    words = [*chance.sample(beside, chance.randrange(len(beside) + 1)), basic]
    chance.shuffle(words)
    return words


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As pandas does: a list of one word has no comma and so no double quotes."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _media(base: Path, names: Sequence[str], faults: bool) -> None:
    video = make_clip(base / "video" / f"{names[0]}.mp4", seconds=0.6, fps=5, size="40x32")
    audio = make_clip(base / "audio" / f"{names[0]}.wav", seconds=0.6, video=False, options=("-ar", "16000"))
    for name in names[1:]:
        (base / "video" / f"{name}.mp4").hardlink_to(video)
        (base / "audio" / f"{name}.wav").hardlink_to(audio)
    if faults:
        for index in (8, 10):
            (base / "audio" / f"{names[index]}.wav").unlink()
        for index in (9, 10, 11, 12):
            (base / "video" / f"{names[index]}.mp4").unlink()
        make_clip(base / "video" / f"{names[10]}.mp4", seconds=0.6, fps=5, size="40x32", audio=False)
        make_clip(base / "video" / f"{names[11]}.mp4", seconds=0.6, video=False)
        (base / "video" / f"{names[12]}.mp4").write_text(
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
        )
