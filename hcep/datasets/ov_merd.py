"""OV-MERD: clips of Chinese films and series with open-vocabulary emotion words (Lian et al. 2024).

Released for MER2025 (332 clips) and, with other clips and labels, for MER2026 (1,532, there called Human-OV).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hcep.datasets.corpus import TEXTS, Corpus
from hcep.datasets.limits import TooDeep, read_literal
from hcep.datasets.manifest_file import Clip, open_table
from hcep.datasets.spellings import find, names_in
from hcep.datasets.survey import Survey, warning
from hcep.errors import HcepError
from hcep.files import digest, sha256_file

# noun and plain adjective only: joyful, worried, mad and the like are words of the open vocabulary
BASIC_WORDS = {
    "anger": ("anger", "angry"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "fearful"),
    "happiness": ("happiness", "happy"),
    "sadness": ("sadness", "sad"),
    "surprise": ("surprise", "surprised"),
}
EMOTION_OF_WORD = {word: emotion for emotion, words in BASIC_WORDS.items() for word in words}
# label of a row none of whose words is basic; it stands for all other words together
OPEN = "open"
# label file of a release; all else lies at the same places
LABELS = {"mer2025": "track2_train_ovmerd.csv", "mer2026": "track2_train_human.csv"}
SUBTITLES = "subtitle_chieng.csv"
FACE_FOLDER = "openface_face"
SOURCE = (
    "get it from huggingface.co/datasets/MERChallenge (MER2025 or MER2026, as the option `release`) and set the "
    "dataset's `root` to its folder"
)
# two strings side by side, as numpy prints them: Python would join them to one word
ADJACENT = re.compile(r"""['"]\s*['"]""")
APOSTROPHE = re.compile(r"\w'\w")


class Row(NamedTuple):
    """A row of the label file: name of the clip and its emotion words in their order."""

    name: str
    words: list[str]

    @property
    def label(self) -> str:
        """The first basic emotion of the words, `OPEN` when none is basic, '' when there are no words."""
        basic = basic_emotions(self.words)
        return basic[0] if basic else OPEN if self.words else ""


class Places(NamedTuple):
    """Where the parts lie: label file, subtitle file (None = missing), folders (perhaps not there)."""

    labels: Path
    subtitles: Path | None
    video: Path
    audio: Path


def basic_emotions(words: Sequence[str]) -> list[str]:
    """Names of the basic emotions among the words (by `BASIC_WORDS`), each once, in the order of the words."""
    found = [EMOTION_OF_WORD[word.casefold()] for word in words if word.casefold() in EMOTION_OF_WORD]
    return list(dict.fromkeys(found))


def parse_openset(cell: str) -> list[str]:
    """Read a cell of the column `openset`, normally the text of a Python list of strings.

    What is no Python list is read as the official code does (MERTools, `string_to_list`): without the outer brackets,
    split at quotes and commas. An empty cell or list has no words; the official code makes ['neutral'] of it, which is
    a label that nobody gave.

    Raises
    ------
    ValueError
        When the words cannot be told apart: brackets that do not match, an apostrophe inside a word, or no words.
    """
    text = cell.strip()
    if not text:
        return []
    value = _split_at_quotes(text) if ADJACENT.search(text) else _evaluate(text)
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError("it is not a list of words")
    return [word.strip() for word in value if word.strip()]


def _evaluate(text: str) -> Any:
    """The Python value, or the words by the official rule where the text is no Python."""
    try:
        return read_literal(text)
    except TooDeep:
        raise
    except (SyntaxError, TypeError, ValueError):
        return _split_at_quotes(text)


def _split_at_quotes(text: str) -> list[str]:
    if text.startswith("[") != text.endswith("]"):
        raise ValueError("its brackets do not match")
    inner = text[1:-1] if text.startswith("[") else text
    if APOSTROPHE.search(inner):
        raise ValueError("it has an apostrophe inside a word")
    if set(inner) & set("[]{}"):
        raise ValueError("it has brackets inside")
    return re.split("['\",]", inner)


def draw_folds(labels: Mapping[str, str], seed: int) -> dict[str, str]:
    """Divide clips 80:20 into ``train`` and ``test``, each label by itself; `labels` maps a clip to its label.

    Within a label, clips stand in the order of the SHA-256 of ``seed/clip``; the first fifth, rounded, is test. A clip
    more moves at most one other clip.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for clip in sorted(labels, key=lambda clip: hashlib.sha256(f"{seed}/{clip}".encode()).digest()):
        members[labels[clip]].append(clip)
    folds: dict[str, str] = {}
    for clips in members.values():
        tested = (2 * len(clips) + 5) // 10
        folds.update((clip, "test" if place < tested else "train") for place, clip in enumerate(clips))
    return folds


class OvMerd(Corpus):
    """The folder mer2025-dataset or mer2026-dataset.

    It holds label and subtitle file, ``video/<name>.mp4``, ``audio/<name>.wav``, ``openface_face/<name>/<name>.npy``.

    A row has a list of emotion words, known and unknown ones side by side. Its label is the first word of it that names
    a basic emotion (`BASIC_WORDS`), or `OPEN` when no word does; a row without words has no label. `labels` holds all
    words. The release has no folds: train and test are drawn by `draw_folds`. Films and series of the clips are not
    told, so a clip is its own group. The words of a clip are the English subtitle, a machine translation. The root
    holds the label file, or is one of the folders above it.

    Settings: ``release``: mer2025 or mer2026, whose label file is read; ``text``: manifest, none or asr; ``seed``:
    whole number of the division into train and test; ``faces``: release = the arrays of ``openface_face``.
    """

    name = "ov_merd"
    choices: ClassVar = {"release": tuple(LABELS), "text": TEXTS}
    ships_faces = True
    others: ClassVar = {"seed": 0}

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        super().__init__(root, settings)
        seed = self.settings["seed"]
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise HcepError(f"setting 'seed' of the ov_merd adapter is {seed!r}", remedy="use a whole number")

    def watch(self) -> list[str]:
        """Digests of label and subtitle file, and of the names of the listed clips' media."""
        try:
            places = self._places()
            wanted = {row.name for row in read_rows(places.labels)}
        except HcepError as error:
            return [f"labels: {error.cause}"]
        lines = [f"labels: {sha256_file(places.labels)}"]
        if self.settings["text"] == "manifest":
            lines.append(f"subtitles: {sha256_file(places.subtitles) if places.subtitles else 'missing'}")
        for name, folder, suffix in (("video", places.video, ".mp4"), ("audio", places.audio, ".wav")):
            there = sorted(wanted & _stems(folder, suffix))
            lines.append(f"{name}: {len(there)} {digest(there)}")
        return lines

    def _places(self) -> Places:
        name = LABELS[self.settings["release"]]
        labels = find(self.root, [name], depth=3, kind="file")
        if labels is None:
            others = {other: release for release, other in LABELS.items() if other != name}
            there = [other for other in others if find(self.root, [other], depth=3, kind="file")]
            instead = f"; or set `release: {others[there[0]]}`, whose {there[0]} is there" if there else ""
            raise HcepError(f"the label file {name} is not below it", file=self.root, remedy=SOURCE + instead)
        base = labels.parent
        video, audio = (find(base, [name], depth=1, kind="folder") or base / name for name in ("video", "audio"))
        return Places(labels, find(base, [SUBTITLES], depth=1, kind="file"), video, audio)

    def face_place(self) -> Path | None:
        """The folder ``openface_face`` beside the label file."""
        return find(self._places().labels.parent, [FACE_FOLDER], depth=1, kind="folder")

    def face_paths(self, place: Path) -> dict[str, str]:
        """One array per clip, in a folder of its name."""
        names = sorted(row.name for row in read_rows(self._places().labels))
        there = [name for name in names if (place / name / f"{name}.npy").is_file()]
        return {name: f"{self.below(place)}/{name}/{name}.npy" for name in there}

    def clips(self) -> list[Clip]:
        """One clip per row of the label file.

        Raises
        ------
        HcepError
            When the label file or (with ``text: manifest``) the subtitle file is missing or cannot be read.
        """
        places = self._places()
        rows = read_rows(places.labels)
        english: dict[str, str] = {}
        if self.settings["text"] == "manifest":
            if places.subtitles is None:
                remedy = "get it with the release, or set `text` of the dataset entry to none or asr"
                raise HcepError(f"the subtitle file {SUBTITLES} is missing", file=places.labels.parent, remedy=remedy)
            texts = read_subtitles(places.subtitles, {row.name for row in rows})
            english = {name: words for name, (_, words) in texts.items()}
        sounds = _stems(places.audio, ".wav")
        folds = draw_folds({row.name: row.label for row in rows}, self.settings["seed"])
        clips = []
        for row in rows:
            video = self.below(places.video / f"{row.name}.mp4")
            audio = self.below(places.audio / f"{row.name}.wav") if row.name in sounds else video
            clips.append(self._clip(row, video, audio, english.get(row.name, ""), folds[row.name]))
        counts = Counter(row.label for row in rows)
        known = len(rows) - counts[OPEN] - counts[""]
        self.tell(
            f"{len(rows)} clips; {known} with a basic emotion, {counts[OPEN]} with other words only (label {OPEN}), "
            f"{counts['']} without words (no label); {sum(clip.text_kind == 'none' for clip in clips)} without text"
        )
        return clips

    def _clip(self, row: Row, video: str, audio: str, english: str, fold: str) -> Clip:
        text, kind = self.words(english)
        return Clip(
            clip=row.name,
            video=video,
            audio=audio,
            text=text,
            text_kind=kind,
            language="en",
            label=row.label,
            labels=";".join(word.replace(";", ",") for word in row.words),
            group=row.name,
            fold=fold,
        )

    def survey(self, clips: Sequence[Clip]) -> Survey:
        """Where the parts lie, how the words are distributed, and which subtitles are empty."""
        places = self._places()
        rows = read_rows(places.labels)
        found = {name: self.below(place) for name, place in places._asdict().items() if place and place.exists()}
        counts = count_words(rows)
        absent = [emotion for emotion, number in counts["rows with a basic emotion"].items() if not number]
        faults = [
            *warning("basic emotions that no row has", absent, "they cannot be known classes of this dataset alone"),
            *warning("rows without words (no label, in no split)", [row.name for row in rows if not row.words]),
        ]
        if places.subtitles is not None:
            texts = read_subtitles(places.subtitles, {row.name for row in rows})
            pairs = [texts.get(row.name, ("", "")) for row in rows]
            counts["subtitles"] = {
                "none in English": sum(not english for _, english in pairs),
                "none in both languages": sum(not any(pair) for pair in pairs),
            }
            unlisted = [row.name for row in rows if row.name not in texts]
            faults += warning("clips that the subtitle file does not list (no text)", unlisted, "get the file anew")
        mute = [clip.clip for clip in clips if not clip.audio.endswith(".wav")]
        faults += warning("clips without a .wav (the sound of the .mp4 is used)", mute, "unpack the folder audio")
        return Survey(found, counts, faults)


def read_rows(path: Path) -> list[Row]:
    """Read the label file.

    Raises
    ------
    HcepError
        When a column is missing, a name is empty or there twice, words cannot be read, or there are no rows.
    """
    rows: list[Row] = []
    first: dict[str, int] = {}
    for number, cells in open_table(path, ",", ("name", "openset"), SOURCE):
        name = cells["name"].strip()
        if not name or name in first:
            cause = f"clip {name!r} is already in row {first[name]}" if name else "the name is empty"
            raise HcepError(cause, file=path, row=number, remedy=SOURCE)
        first[name] = number
        try:
            rows.append(Row(name, parse_openset(cells["openset"])))
        except ValueError as error:
            cause = f"openset {cells['openset'][:100]!r} of {name} cannot be read: {error}"
            remedy = "write it as a list of quoted words, ['sad', 'tired']"
            raise HcepError(cause, file=path, row=number, remedy=remedy) from error
    if not rows:
        raise HcepError("lists no clips", file=path, remedy=SOURCE)
    return rows


def count_words(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Section -> name -> number: distinct words, words per row, basic emotions per row, rows per basic emotion."""
    lengths = Counter(len(row.words) for row in rows)
    basic = [basic_emotions(row.words) for row in rows]
    worded = [found for row, found in zip(rows, basic, strict=True) if row.words]
    return {
        "open set": {
            "rows": len(rows),
            "distinct labels": len({word for row in rows for word in row.words}),
            "rows without labels": lengths[0],
        },
        "labels per row": {str(length): lengths[length] for length in sorted(lengths)},
        "basic emotions per row": {
            "none": sum(not found for found in worded),
            "one": sum(len(found) == 1 for found in worded),
            "several": sum(len(found) > 1 for found in worded),
        },
        "rows with a basic emotion": {emotion: sum(emotion in found for found in worded) for emotion in BASIC_WORDS},
    }


def read_subtitles(path: Path, names: Collection[str]) -> dict[str, tuple[str, str]]:
    """Read the wanted rows of `subtitle_chieng.csv`: name -> (Chinese, English), either may be ''.

    Raises
    ------
    HcepError
        When a column is missing, a row is cut off, or a wanted name is there twice.
    """
    texts: dict[str, tuple[str, str]] = {}
    for number, cells in open_table(path, ",", ("name", "chinese", "english"), SOURCE):
        name = cells["name"].strip()
        if name not in names:
            continue
        if name in texts:
            raise HcepError(f"clip {name!r} is there twice", file=path, row=number, remedy="remove one of the rows")
        texts[name] = (cells["chinese"].strip(), cells["english"].strip())
    return texts


def _stems(folder: Path, suffix: str) -> set[str]:
    """Names, without the suffix, of the files of a folder that has up to 132,171 of them."""
    return {name.removesuffix(suffix) for name in names_in(folder) if name.endswith(suffix)}
