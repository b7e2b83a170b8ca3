"""Example test clips and what each method makes of them (section 4.4.1, Fig. 5 of the paper)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from numpy.typing import NDArray

from hcep.errors import HcepError
from hcep.evaluation.scores import Scores
from hcep.figures.one_split import clips_of, head, identity, largest_classes, read_split
from hcep.figures.run_files import number, read_rows
from hcep.figures.style import COLUMN, GREY, KNOWN, PALETTE, SMALL, TITLE, UNKNOWN, Drawing, draw_text
from hcep.media.shards import ABSENT
from hcep.media.store import Store, open_stores

# classes on each side, frames of a clip, and characters in a line
CLASSES, FRAMES, WIDTH = 3, 6, 62
RIGHT, WRONG = "✓", "✗"
# an SVG that keeps its text drops plain spaces at the begin of a line
INDENT = "\xa0" * 4
RATE = 16000
# points of the line of a sound
POINTS = 400
# inches: the margin, a line of text, the sound, the space between clips
MARGIN, LINE, SOUND, GAP = 0.05, 0.125, 0.2, 0.14
COLUMNS = (
    *("task", "method", "openness", "split", "seed", "dataset", "clip", "label", "known", "chosen_by"),
    *("prediction", "score", "threshold", "decision", "right", "frames", "seconds", "words", "stand_in"),
)


class Decision(NamedTuple):
    """What one method makes of a clip: its label, or unknown where the score is below the threshold."""

    run: Scores
    prediction: str
    score: float
    threshold: float
    label: str
    right: bool


class Example(NamedTuple):
    """One clip: `frames` uint8 (f, S, S, 3) and their numbers, `sound` int16 (samples of its own,); None: absent."""

    dataset: str
    clip: str
    label: str
    known: bool
    frames: NDArray[np.uint8] | None
    numbers: list[int]
    sound: NDArray[np.int16] | None
    words: str
    decisions: list[Decision]


def fig5_figure(sources: Sequence[str | Path], task: str = "") -> Drawing:
    """Test clips with frames, sound, words, truth, and the decision of every method.

    Clips are chosen by a rule: from the three known and the three unknown classes with the most test clips (of equal
    ones, the first by name), the clip of each whose score by the first method is nearest to the median of its class.
    Sources are run folders with ``scores.h5`` and ``thresholds.csv``, one per method, of one openness level, split and
    seed, and the ``index.h5`` of every dataset of the task, each beside its shards.

    Raises
    ------
    HcepError
        A source is missing or unusable, the runs do not belong together, a side has no test clip, a run has no default
        threshold, or a clip or its shard is not in the cache.
    """
    examples, first = _examples(sources)
    figure = Figure(figsize=(COLUMN, 1.0))
    head(figure, first, "Example test clips and what the methods decide", task)
    text = figure.get_suptitle()
    blocks = [_decision_lines(example.decisions) for example in examples]
    side = (COLUMN - 2 * MARGIN) / FRAMES
    heights = [side + SOUND + LINE * (2 + len(lines)) + GAP for lines in blocks]
    top = 0.12 + 0.145 * (text.count("\n") + 1)
    height = top + sum(heights)
    figure.set_size_inches(COLUMN, height)
    # the height of the figure is known only now
    figure.suptitle(text, y=1 - MARGIN / height, va="top", fontsize=TITLE)
    for example, lines, own in zip(examples, blocks, heights, strict=True):
        _draw(figure, example, lines, top, side)
        top += own
    return figure, _table(examples, first)


def _table(examples: Sequence[Example], first: Scores) -> list[dict[str, Any]]:
    """The data, with the columns `COLUMNS`: a row per clip and method, the words uncut."""
    rows = []
    for example in examples:
        clip: dict[str, Any] = {"dataset": example.dataset, "clip": example.clip, "label": example.label}
        clip |= {"known": str(example.known).lower(), "chosen_by": first.method, "words": example.words}
        clip |= {"frames": " ".join(map(str, example.numbers)), "seconds": _seconds(example)}
        for found in example.decisions:
            own = {"prediction": found.prediction, "score": found.score, "threshold": found.threshold}
            own |= {"decision": found.label, "right": str(found.right).lower()}
            rows.append(identity(found.run) | clip | own | {"stand_in": str(first.stand_in).lower()})
    return rows


def _examples(sources: Sequence[str | Path]) -> tuple[list[Example], Scores]:
    indexes = [path for path in map(Path, sources) if path.name == "index.h5"]
    folders = [path for path in map(Path, sources) if path not in indexes]
    if not indexes:
        raise HcepError("no index.h5 to read clips from", remedy="name that of every dataset of the task")
    runs = read_split(folders, features=False)
    limits = [_threshold(folder / "thresholds.csv") for folder in folders]
    store, first = open_stores(indexes), runs[0]
    chosen = [
        _nearest_to_median(first, label) for known in (True, False) for label in largest_classes(first, known, CLASSES)
    ]
    return [_example(at, runs, limits, store) for at in chosen], first


def _threshold(file: Path) -> float:
    rows = [item for item in read_rows(file, ("acceptance", "threshold", "default")) if item[1]["default"] == "true"]
    if len(rows) != 1:
        remedy = "put 0.95 into `acceptance` of the evaluation settings"
        raise HcepError(f"{len(rows)} default thresholds, not one", file=file, remedy=remedy)
    line, row = rows[0]
    return number(row, "threshold", file, line)


def _nearest_to_median(run: Scores, label: str) -> int:
    """Position of the clip in the middle of its class's scores; of two equally near ones, the first by name."""
    clips = clips_of(run, [label])
    away = np.abs(run.score[clips] - np.median(run.score[clips]))
    return min(clips, key=lambda at: (away[clips == at].item(), run.dataset[at], run.clip[at]))


def _example(at: int, runs: Sequence[Scores], limits: Sequence[float], store: Store) -> Example:
    first = runs[0]
    clip, label, known = str(first.clip[at]), str(first.label[at]), bool(first.known[at])
    absent = store.flags([clip])[0].split(";")
    frames, chosen, sound = None, [], None
    if ABSENT["frames"] not in absent:
        frames = store.frames([clip])[0]
        chosen = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)).tolist()
        frames = frames[chosen]
    if ABSENT["audio"] not in absent:
        sound = store.waveforms([clip])[0][: store.samples([clip])[0]]
    decisions = []
    for run, limit in zip(runs, limits, strict=True):
        here = np.flatnonzero((run.clip == clip) & (run.dataset == first.dataset[at])).item()
        prediction, score = str(run.prediction[here]), float(run.score[here])
        decided = prediction if score >= limit else ""
        decisions.append(
            Decision(run, prediction, score, limit, decided or "unknown", decided == (label if known else ""))
        )
    words = " ".join(store.texts([clip])[0].split())
    return Example(str(first.dataset[at]), clip, label, known, frames, chosen, sound, words, decisions)


def _seconds(example: Example) -> float | str:
    return "" if example.sound is None else round(len(example.sound) / RATE, 2)


def _decision_lines(decisions: Sequence[Decision]) -> list[tuple[str, bool]]:
    """Lines of the methods that decided alike, and whether they are right; those that are right come first."""
    groups: dict[tuple[bool, str], list[str]] = {}
    for found in sorted(decisions, key=lambda found: not found.right):
        groups.setdefault((found.right, found.label), []).append(found.run.method)
    lines = []
    for (right, label), methods in groups.items():
        text = f"{RIGHT if right else WRONG} {label}: {', '.join(methods)}"
        lines += [(line, right) for line in textwrap.wrap(text, WIDTH, subsequent_indent=INDENT)]
    return lines


def _draw(figure: Figure, example: Example, lines: Sequence[tuple[str, bool]], top: float, side: float) -> None:
    """One clip, `top` inches below the upper edge."""
    height = figure.get_figheight()

    def write(text: str, place: float, **style: Any) -> None:
        figure.text(MARGIN / COLUMN, 1 - place / height, text, va="top", **{"fontsize": SMALL} | style)

    def panel(place: float, high: float) -> Axes:
        box = (MARGIN / COLUMN, 1 - (place + high) / height, 1 - 2 * MARGIN / COLUMN, high / height)
        axes = figure.add_axes(box)
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        return axes

    side_name = "known" if example.known else "unknown"
    write(
        f"{example.label} ({side_name})",
        top,
        fontsize=7.5,
        fontweight="bold",
        color=KNOWN if example.known else UNKNOWN,
    )
    top += LINE + 0.03
    strip = panel(top, side)
    if example.frames is None:
        draw_text(strip, "no video", color=GREY, fontsize=SMALL)
    else:
        # a pixel in fifty stays white between frames
        white = np.full((example.frames.shape[1], max(1, example.frames.shape[2] // 50), 3), 255, np.uint8)
        parts = [part for frame in example.frames for part in (frame, white)][:-1]
        strip.imshow(np.concatenate(parts, axis=1))
        strip.set_anchor("W")
    top += side + 0.02
    _draw_sound(panel(top, SOUND - 0.04), example.sound)
    top += SOUND
    write(_cut(example.words), top, color="#333333", style="italic")
    for line, right in lines:
        top += LINE
        write(line, top, color=PALETTE[2] if right else "black")


def _draw_sound(axes: Axes, sound: NDArray[np.int16] | None) -> None:
    """The waveform, as high as its loudest sample, from its begin to its end."""
    if sound is None or not len(sound):
        draw_text(axes, "no sound", color=GREY, fontsize=SMALL)
        return
    pieces = np.array_split(sound.astype(np.float64), min(POINTS, len(sound)))
    low, high = np.array([[piece.min(), piece.max()] for piece in pieces]).T
    axes.fill_between(np.arange(len(pieces)), low, high, color="#4d4d4d", linewidth=0.3)
    loudest = max(float(np.abs(sound.astype(np.float64)).max()), 1.0)
    axes.set(xlim=(0, max(len(pieces) - 1, 1)), ylim=(-loudest, loudest))


def _cut(words: str) -> str:
    """Words in one line; those that the font cannot write stand in the table alone."""
    if not words:
        return "no words"
    letters = get_font(findfont("DejaVu Sans")).get_charmap()
    if any(ord(letter) not in letters for letter in words):
        return "words in a script that the font lacks: see the table beside"
    return f"“{textwrap.shorten(words, WIDTH - 2, placeholder=' …')}”"
