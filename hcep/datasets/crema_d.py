"""CREMA-D: 91 actors speak 12 sentences in six emotions (Cao et al. 2014, Open Database License)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from hcep.container import LFS_POINTER
from hcep.datasets.bad_rows import BadRows
from hcep.datasets.corpus import TEXTS, Corpus
from hcep.datasets.manifest_file import Clip, open_table
from hcep.datasets.spellings import find, names_in
from hcep.datasets.survey import EXAMPLES, Fault, Survey, counted, warning
from hcep.errors import HcepError
from hcep.files import digest, sha256_file

# codes of the file names, as the class names of MAFW
EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
# letters of the votes
VOTES = {name[0]: emotion for name, emotion in EMOTIONS.items()}
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
NAME = re.compile(r"([0-9]{4})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX)")
# what the authors and users of the corpus report of single files
DEFECTS = {
    "1064_IEO_DIS_MD.flv": "is about a minute long",
    "1064_TIE_SAD_XX.flv": "tells no duration",
    "1076_MTI_NEU_XX.flv": "has no sound",
    "1076_MTI_SAD_XX.flv": "shows an error picture",
    "1076_MTI_SAD_XX.wav": "is silent",
    "1040_ITH_SAD_X.wav": "should end in _XX, as it does in copies since October 2022",
}
FOLDS = 5
LIST = "SentenceFilenames.csv"
SUMMARY = "summaryTable.csv"
SOURCE = (
    "clone gitlab.com/cs-cooper-lab/crema-d-mirror (or github.com/CheyneyComputerScience/CREMA-D) with git-lfs "
    "installed, and set the dataset's `root` to its folder"
)


class Places(NamedTuple):
    """Where the parts lie, None = not there: list of clips, table of votes, folders of .flv and .wav."""

    names: Path | None
    votes: Path | None
    video: Path | None
    audio: Path | None


class CremaD(Corpus):
    """``VideoFlash/*.flv`` and ``AudioWAV/*.wav``, named actor_sentence_emotion_level, ``SentenceFilenames.csv``.

    The clips are those that the list names, or those on disk when there is no list. Five folds disjoint by speaker:
    place of the actor among the actors mod 5 + 1; group = actor. Sound is the .wav, or that of the .flv where there is
    none. The files of `DEFECTS` are used as they are. The words are the sentence that the actor was to say, the same
    twelve with every emotion. The root is the folder of the repository, or the one above it.

    Settings: ``text``: manifest (the sentence), none or asr; ``label``: acted (the emotion to be played, of the file
    name) or vote (what most raters saw and heard, MultiModalVote of ``summaryTable.csv``; a tie has no label).
    """

    name = "crema_d"
    choices: ClassVar = {"text": TEXTS, "label": ("acted", "vote")}

    def watch(self) -> list[str]:
        """Digests of the list of clips, of the votes when they are used, and of the names of the media."""
        places = self._places()
        tables = {"names": places.names} | ({"votes": places.votes} if self.settings["label"] == "vote" else {})
        lines = [f"{name}: {sha256_file(path) if path else 'missing'}" for name, path in tables.items()]
        for name, folder, suffix in (("video", places.video, ".flv"), ("audio", places.audio, ".wav")):
            names = sorted(_media(folder, suffix).values())
            lines.append(f"{name}: {len(names)} {digest(names)}")
        return lines

    def _places(self) -> Places:
        return Places(
            find(self.root, [LIST], depth=2, kind="file"),
            find(self.root, [SUMMARY], depth=4, kind="file"),
            find(self.root, ["VideoFlash"], depth=2, kind="folder"),
            find(self.root, ["AudioWAV"], depth=2, kind="folder"),
        )

    def clips(self) -> list[Clip]:
        """One clip per name of the list, or per file.

        Raises
        ------
        HcepError
            When there is no clip, a name has an unknown code or is listed twice, or the votes are wanted and missing.
        """
        places = self._places()
        videos, sounds = _media(places.video, ".flv"), _media(places.audio, ".wav")
        files = videos | sounds
        if places.names:
            names = _read_list(places.names)
        else:
            names = sorted(files)
            for name, file in files.items():
                _check_name(name, places.video or self.root, file)
        if not names:
            raise HcepError(f"neither {LIST} nor VideoFlash/*.flv is below it", file=self.root, remedy=SOURCE)
        voted: dict[str, list[str]] = {}
        if self.settings["label"] == "vote":
            if places.votes is None:
                remedy = "get processedResults/summaryTable.csv of the repository, or set `label: acted`"
                raise HcepError(f"{SUMMARY} is missing", file=self.root, remedy=remedy)
            voted = read_votes(places.votes)
        actors = sorted({name[:4] for name in names})
        folds = {actor: str(place % FOLDS + 1) for place, actor in enumerate(actors)}
        pictures = self.below(places.video) if places.video else "VideoFlash"
        clips = []
        for name in names:
            labels = voted.get(name, []) if self.settings["label"] == "vote" else [acted(name)]
            video = f"{pictures}/{videos.get(name, f'{name}.flv')}"
            audio = self.below(places.audio / sounds[name]) if places.audio and name in sounds else video
            clips.append(self._clip(name, video, audio, labels, folds[name[:4]]))
        unlisted = len(files.keys() - set(names))
        self.tell(
            f"{len(clips)} clips of {len(actors)} actors; {sum(not clip.label for clip in clips)} without label (tied "
            f"or no votes); {unlisted} files that the list does not name are not used"
        )
        return clips

    def _clip(self, name: str, video: str, audio: str, labels: list[str], fold: str) -> Clip:
        text, kind = self.words(SENTENCES[name.split("_")[1]])
        return Clip(
            clip=name,
            video=video,
            audio=audio,
            text=text,
            text_kind=kind,
            language="en",
            label=labels[0] if len(labels) == 1 else "",
            labels=";".join(labels),
            group=f"actor{name[:4]}",
            fold=fold,
        )

    def survey(self, clips: Sequence[Clip]) -> Survey:
        """Where the parts lie, acted and voted emotions, git-LFS pointers in the media's place, published defects."""
        places = self._places()
        videos, sounds = _media(places.video, ".flv"), _media(places.audio, ".wav")
        names = {clip.clip for clip in clips}
        counts = {
            "release": {
                "actors": len({clip.group for clip in clips}),
                "sentences": len({clip.clip.split("_")[1] for clip in clips}),
                "flv files": len(videos),
                "wav files": len(sounds),
            },
            "acted": counted(map(acted, names), EMOTIONS.values()),
        }
        faults = _pointers(self.root, places, videos, sounds)
        if places.votes:
            voted = read_votes(places.votes)
            single = {name: found[0] for name, found in voted.items() if len(found) == 1}
            counts["voted"] = counted(single.values(), EMOTIONS.values()) | {"tie": len(voted) - len(single)}
            counts["votes"] = {"as acted": sum(name in names and single[name] == acted(name) for name in single)}
            faults += warning("clips without votes", sorted(names - voted.keys()), "get summaryTable.csv anew")
        extra = sorted((videos.keys() | sounds.keys()) - names)
        faults += warning("files that the list of clips does not name (not used)", extra)
        mute = sorted(names - sounds.keys())
        faults += warning("clips without a .wav (the sound of the .flv is used)", mute, "get AudioWAV")
        held = {*videos.values(), *sounds.values()}
        defects = [f"{name} {defect}" for name, defect in DEFECTS.items() if name in held]
        what = "published defects in this copy (they stay in the data, flagged where decoding finds them)"
        faults += warning(what, defects, shown=len(DEFECTS))
        found = {name: self.below(place) for name, place in places._asdict().items() if place}
        return Survey(found, counts, faults)


def acted(name: str) -> str:
    """The emotion that a clip's name says was to be played."""
    return EMOTIONS[name.split("_")[2]]


def read_votes(path: Path) -> dict[str, list[str]]:
    """Read `summaryTable.csv`: clip -> the emotions with the most votes on sound and picture together.

    Raises
    ------
    HcepError
        When a column is missing, a clip is there twice, or a vote has an unknown letter.
    """
    votes: dict[str, list[str]] = {}
    with BadRows(path) as bad:
        for row, cells in open_table(path, ",", ("FileName", "MultiModalVote"), SOURCE, bad):
            name, letters = cells["FileName"].strip(), cells["MultiModalVote"].strip()
            unknown = [letter for letter in letters.split(":") if letter not in VOTES]
            if name in votes:
                bad.add(f"clip {name!r} is there twice", row, "remove one of the rows")
            elif unknown:
                remedy = f"votes are {', '.join(VOTES)}, ties joined by ':'; get the table anew"
                bad.add(f"unknown vote {unknown[0]!r} in {letters!r}", row, remedy)
            votes[name] = [VOTES[letter] for letter in letters.split(":") if letter in VOTES]
    return votes


def _read_list(path: Path) -> list[str]:
    rows: dict[str, int] = {}
    with BadRows(path) as bad:
        for row, cells in open_table(path, ",", ("Filename",), SOURCE, bad):
            name = cells["Filename"].strip()
            if name in rows:
                bad.add(f"clip {name!r} is already in row {rows[name]}", row, "remove one of the rows")
            with bad.collected():
                _check_name(name, path, row)
            rows.setdefault(name, row)
    return list(rows)


def _check_name(name: str, file: Path, row: int | str) -> None:
    match = NAME.fullmatch(name)
    if match is None:
        cause = f"{name!r} is not a name actor_sentence_emotion_level"
    elif match[2] not in SENTENCES:
        cause = f"{name!r} has the unknown sentence {match[2]!r}"
    elif match[3] not in EMOTIONS:
        cause = f"{name!r} has the unknown emotion {match[3]!r}"
    else:
        return
    remedy = f"sentences are {', '.join(SENTENCES)}; emotions {', '.join(EMOTIONS)}; levels LO, MD, HI, XX"
    raise HcepError(cause, file=file, row=row, remedy=remedy)


def _media(folder: Path | None, suffix: str) -> dict[str, str]:
    """Clip -> file name; one official .wav ends in _X where list and video say _XX."""
    files = [name for name in names_in(folder) if name.lower().endswith(suffix) and name[0] != "."]
    stems = {file[: -len(suffix)]: file for file in sorted(files)}
    return {f"{stem}X" if stem.endswith("_X") else stem: file for stem, file in stems.items()}


def _pointers(root: Path, places: Places, videos: dict[str, str], sounds: dict[str, str]) -> list[Fault]:
    """An error when some of the media are texts of git-LFS; a few of each folder are looked at."""
    bad = []
    for folder, files in ((places.video, sorted(videos.values())), (places.audio, sorted(sounds.values()))):
        for path in [folder / name for name in files[:: max(1, len(files) // EXAMPLES)]] if folder else []:
            with path.open("rb") as handle:
                if handle.read(len(LFS_POINTER)) == LFS_POINTER:
                    bad.append(path.relative_to(root).as_posix())
    remedy = f"run `git lfs pull` in the repository; if GitHub's quota is used up, {SOURCE}"
    what = "of a few media files looked at are git-LFS pointers, not media"
    return [Fault("error", what, len(bad), bad[:EXAMPLES], remedy)] if bad else []
