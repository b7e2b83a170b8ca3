"""Names that almost match: a label that is nearly a class of the task, a fold that is nearly one that the task names.

Such clips would be left out, or trained on, without a word. Whoever means it says so in the task.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from hcep.errors import HcepError
from hcep.protocol.partition import Folds

# Between two commas stand the forms of one word. Other words are different names, however near their spelling (content
# and contempt, joy and happiness): what some corpora name apart is no slip.
FORMS = """
amusement amused, anger angry angered, annoyance annoyed, anxiety anxious, boredom bored, calmness calm,
confusion confused, contempt contemptuous, contentment content contented, curiosity curious,
disappointment disappointed, disgust disgusted, distrust distrustful, embarrassment embarrassed, envy envious,
excitement excited, fear fearful afraid scared frightened, frustration frustrated, grief grieved, guilt guilty,
happiness happy, hate hatred hateful, helplessness helpless, hope hopeful, hopelessness hopeless, interest interested,
jealousy jealous, joy joyful joyous, loneliness lonely, love loving, neutral neutrality, pain painful, pride proud,
relief relieved, sadness sad, shame ashamed, surprise surprised, tenderness tender, tiredness tired, trust trusting,
worry worried
"""
FAMILY = {word: frozenset(forms.split()) for forms in FORMS.split(",") for word in forms.split()}
# of difflib: faer and fear reach it, anger and angst do not
SLIP = 0.75


class Names(NamedTuple):
    """What a task calls its classes and folds.

    `other_labels` are labels of the data that are no class on purpose; `words` maps a class to its sentence's word.
    """

    labels: Sequence[str]
    folds: Folds
    other_labels: Collection[str] = ()
    words: Mapping[str, str] | None = None


class NearMiss(NamedTuple):
    """A name in the data that is probably another one, what it does unnoticed, and what to do about it."""

    cause: str
    remedy: str


def near_label(label: str, labels: Sequence[str], words: Mapping[str, str] | None = None) -> str | None:
    """The class that a label was probably meant to be, which is none of the classes `labels`.

    It is the class with the same letters, or with other forms or slips of the same words, in any order of the words;
    None when a whole word differs. `words` maps a class to the word of its sentence, another form of its name.
    """
    spellings = [(name, name) for name in labels]
    spellings += [(name, words[name]) for name in labels if words and name in words]
    for alike in (_same_letters, _same_words, _slip_of_words):
        for name, spelling in spellings:
            if alike(label, spelling):
                return name
    return None


def near_fold(fold: str, named: Iterable[str]) -> str | None:
    """The named fold that a fold was probably meant to be; folds with other numbers are never meant."""
    return next((name for name in named if _same_letters(fold, name) or _slip_of_fold(fold, name)), None)


def near_misses(clips: Mapping[tuple[str, str], int], names: Names) -> list[NearMiss]:
    """Labels and folds of the data that are nearly those of the task.

    `clips` maps (label, fold) to the number of clips; '' stands where a clip has none.
    """
    return [*_labels_missed(clips, names), *_folds_missed(clips, names.folds)]


def check_names(clips: Mapping[tuple[str, str], int], names: Names) -> None:
    """Raise one HcepError that tells all near misses of a task."""
    found = near_misses(clips, names)
    if found:
        raise HcepError("; ".join(miss.cause for miss in found), remedy="; ".join(miss.remedy for miss in found))


def _labels_missed(clips: Mapping[tuple[str, str], int], names: Names) -> Iterator[NearMiss]:
    for label, count in totals(clips, 0).items():
        if label in {"", *names.labels, *names.other_labels}:
            continue
        near = near_label(label, names.labels, names.words)
        if near is not None:
            yield NearMiss(
                f"label {label!r} ({_clips(count)}) is no class of the task, would be left out, but is near {near!r}",
                f"write {near!r} in the list of clips, or, if {label!r} is meant, add it to the task's other_labels",
            )


def _folds_missed(clips: Mapping[tuple[str, str], int], folds: Folds) -> Iterator[NearMiss]:
    settings = {"test_folds": folds.test, "val_folds": folds.val, "train_folds": folds.train or ()}
    named = {fold: setting for setting, members in settings.items() for fold in sorted(members)}
    for fold, count in totals(clips, 1).items():
        near = near_fold(fold, named) if fold and fold not in named else None
        if near is not None:
            use = "trained on" if folds.part(fold) else "left out"
            yield NearMiss(
                f"fold {fold!r} ({_clips(count)}) would be {use}, but is near {near!r} of the task's {named[near]}",
                f"write {near!r} in the list of clips, or, if {fold!r} is meant, name it in the task's test_folds, "
                "val_folds or train_folds",
            )


def totals(clips: Mapping[tuple[str, str], int], place: int) -> Counter[str]:
    """Clips per label (place 0) or fold (place 1), sorted."""
    total: Counter[str] = Counter()
    for key in sorted(clips, key=lambda key: key[place]):
        total[key[place]] += clips[key]
    return total


def _clips(count: int) -> str:
    return "1 clip" if count == 1 else f"{count} clips"


def _words(name: str) -> list[str]:
    """Words and numbers of a name, case folded: ``testA_01`` is test, a, 1."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name)).casefold()
    return [str(int(word)) if word.isdecimal() else word for word in re.findall(r"\d+|[^\W\d_]+", text)]


def _same_letters(one: str, other: str) -> bool:
    """The same letters and numbers: ``Anger-Disgust`` and ``anger disgust``, ``Test_01`` and ``test1``."""
    first, second = (_letters_and_numbers(name) for name in (one, other))
    return first == second and first != ("", ())


def _letters_and_numbers(name: str) -> tuple[str, tuple[str, ...]]:
    words = _words(name)
    return "".join(word for word in words if not word.isdecimal()), tuple(filter(str.isdecimal, words))


def _same_words(one: str, other: str) -> bool:
    """Forms of the same words, in any order: ``angry disgust`` and ``disgust_anger``."""
    first, second = (sorted(min(FAMILY.get(word, [word])) for word in _words(name)) for name in (one, other))
    return first == second and first != []


def _slip_of_words(one: str, other: str) -> bool:
    """As many words, each a form or a slip of its partner: whole words that differ are meant to."""
    first, second = _words(one), _words(other)
    if len(first) != len(second):
        return False
    return any(
        all(_slip(word, partner) for word, partner in zip(*pairs, strict=True))
        for pairs in ((first, second), (sorted(first), sorted(second)))
    )


def _slip(word: str, partner: str) -> bool:
    forms = FAMILY.get(partner, frozenset([partner]))
    if word in forms:
        return True
    # a word that is known, or a number, is what it says
    return word not in FAMILY and not word.isdecimal() and any(_ratio(word, form) >= SLIP for form in forms)


def _slip_of_fold(one: str, other: str) -> bool:
    """As many words, with the same numbers, each word cut short or misspelt: ``val`` and ``validation``."""
    first, second = _words(one), _words(other)
    return len(first) == len(second) and all(
        word == partner
        or (
            not word.isdecimal()
            and not partner.isdecimal()
            and (_ratio(word, partner) >= SLIP or (min(len(word), len(partner)) > 2 and _cut_short(word, partner)))
        )
        for word, partner in zip(first, second, strict=True)
    )


def _cut_short(word: str, partner: str) -> bool:
    return word.startswith(partner) or partner.startswith(word)


def _ratio(word: str, partner: str) -> float:
    # the ratio depends on the order of its arguments
    return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in ((word, partner), (partner, word)))
