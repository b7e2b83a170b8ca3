"""Answers as JSON lines, as a table of tab-separated values, or as a table for a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hcep.errors import shown
from hcep.inference.answer import OTHER_TEXT, WHOLE_PICTURE, Answer
from hcep.spreadsheet import to_cell

FORMATS = ("jsonl", "tsv", "table")
# flags of which `Answer.reason` says nothing
NOTES = {
    OTHER_TEXT: "words of another kind than those that were trained with",
    WHOLE_PICTURE: "whole pictures, where faces were trained with",
}
# columns of the TSV in front of those of the probabilities, and behind them
FIRST = ("clip", "file", "start", "end", "label", "score", "threshold", "acceptance", "nearest")
LAST = ("modalities", "text_kind", "text", "flags", "reason")


def written(answers: Iterable[Answer], form: str, classes: Sequence[str]) -> Iterator[str]:
    """The answers as pieces of text, each as soon as its answer is there; a table comes as one piece."""
    if form == "jsonl":
        yield from (_utf8(json.dumps(answer.as_dict(), ensure_ascii=False)) + "\n" for answer in answers)
    elif form == "tsv":
        yield _line([*FIRST, *(f"p_{name}" for name in classes), *LAST])
        yield from (_line(_cells(answer, classes)) for answer in answers)
    else:
        yield _table(list(answers))


def _cells(answer: Answer, classes: Sequence[str]) -> list[Any]:
    cells = [getattr(answer, name) for name in FIRST]
    cells += [answer.probabilities.get(name) for name in classes]
    cells += [getattr(answer, name) for name in LAST]
    return [to_cell(";".join(cell) if isinstance(cell, tuple) else cell) for cell in cells]


def _line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter="\t", lineterminator="\n").writerow(cells)
    return _utf8(line.getvalue())


def _utf8(text: str) -> str:
    """Text that can be written: the name of a file need not be UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _table(answers: Sequence[Answer]) -> str:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from hcep.figures.summary_text import make_console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("clip", "label", "score", "nearest", "has"):
        justify: Any = "right" if name == "score" else "left"
        table.add_column(name, justify=justify, no_wrap=name in ("label", "score"), overflow="fold")
    notes: dict[str, list[str]] = {}
    for one in answers:
        style = "red" if one.accepted is None else "bold" if one.accepted else "yellow"
        nearest = f"{one.nearest} {one.probabilities[one.nearest]:.2f}" if one.nearest else ""
        score = "" if one.score is None else f"{one.score:.4f}"
        label = Text(shown(one.label or "no answer", line=True), style=style)
        clip, near = (Text(shown(text, line=True)) for text in (one.clip, nearest))
        table.add_row(clip, label, score, near, " ".join(one.modalities))
        for note in (*(NOTES[flag] for flag in one.flags if flag in NOTES), *filter(None, one.reason.split("; "))):
            notes.setdefault(note, []).append(one.clip)
    console = make_console()
    with console.capture() as captured:
        console.print(table)
        if answers:
            share, least = answers[0].acceptance, answers[0].threshold
            console.print(f"A score of {least:.4f} is accepted, as of {100 * share:g} % of the known training clips.")
        for note, clips in notes.items():
            console.print(Text(shown(f"{note}: {', '.join(clips)}", line=True)))
    return captured.get()
