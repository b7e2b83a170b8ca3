"""The first page of a task's report: the question, what was done with which clips, the headline numbers, who leads."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.evaluation.scores import read_scores
from hcep.evaluation.versus_paper import MEAN
from hcep.figures.page import html_page, html_table, html_text
from hcep.figures.run_files import read_rows
from hcep.figures.summary_page import table_parts
from hcep.figures.summary_table import (
    METRICS,
    Row,
    Table,
    facts,
    read_comparisons,
    read_summary,
    remarks,
    summary_table,
)
from hcep.files import write_text
from hcep.protocol.make_split import Split, read_split
from hcep.protocol.openness import openness_value, parse_openness

HEADLINE = ("auroc", "oscr", "accuracy")
OURS = "hcep"
STAND_IN = (
    "These numbers come from small stand-in encoders, or from generated or composite clips. They show that the "
    "workflow runs and how methods behave under equal conditions. They are no results for real recordings, and must "
    "not be set beside published ones."
)
QUESTION = (
    "A model has learned some emotions, the <i>known</i> classes, from clips with picture, voice and words. Shown a "
    "new clip, does it name the emotion if it is a known one, and does it say <i>unknown</i> if it is not?"
)


def write_overview(
    summary: Path,
    comparisons: Path,
    complexity: Path,
    forest: Path,
    splits: Sequence[Path],
    runs: Sequence[Path],
    output: Path,
    *,
    task: str,
) -> None:
    """Write the page of one task; the report shows it first.

    Parameters
    ----------
    summary, comparisons, complexity : path
        Tables of the task; the last names the encoders.
    forest : path
        The SVG of the paired differences.
    splits : sequence of path
        Split JSON of every level and split.
    runs : sequence of path
        Run folders, of which ``scores.h5`` tells the settings that were used.
    output : path
        HTML file to write; it loads nothing from elsewhere.

    Raises
    ------
    HcepError
        A file is missing or unusable.
    """
    rows = read_summary(summary)
    means = [row for row in rows if row["openness"] == MEAN] or rows
    # in short lines: the report takes this page in as reStructuredText, which has a limit
    if not forest.is_file():
        raise HcepError("the file does not exist", file=forest, remedy="run the step that writes it")
    picture = base64.encodebytes(forest.read_bytes()).decode()
    table = summary_table(means, HEADLINE)
    about = "Paired differences of every method to each reference, with intervals"
    parts = [
        f"<h1>{html_text(task)}: which emotion is it, or none that was learned?</h1>",
        f"<p>{QUESTION}</p>",
        "<h2>In short</h2>",
        *_list(_in_short(table, means, read_comparisons(comparisons))),
        *table_parts(table),
        "<h2>Differences on the same clips</h2>",
        '<p class="caption">Right of the line the method is better than the reference in bold, left of it worse, in '
        "percentage points. A full mark has an interval without 0.</p>",
        f'<p><img class="wide" alt="{about}" src="data:image/svg+xml;base64,{picture}"></p>',
        "<h2>Protocol that was used</h2>",
        *_protocol(rows, [read_split(path) for path in splits], [row for _, row in read_rows(complexity, _COSTS)]),
        *_settings(runs),
    ]
    write_text(output, html_page(f"{task}: overview", parts))


_COSTS = ("method", "encoder")


def _in_short(table: Table, means: Sequence[Row], comparisons: Sequence[Row]) -> list[str]:
    """Who has the highest numbers, and how HCEP stands to its references."""
    sentences = [STAND_IN] if any(row["stand_in"] == "true" for row in means) else []
    for name, place in (("auroc", 0), ("oscr", 1)):
        best = [line for line in table.lines if line.cells[place].mark == "best"]
        if best:
            who = " and ".join(line.place[1] for line in best)
            label = METRICS[name].label
            sentences.append(
                f"The highest {label} of {len(table.lines)} methods is {best[0].cells[place].value} ({who})."
            )
    # behind a method's name may stand why it is not ranked
    few = {line.place[1].split()[0] for line in table.lines if any(cell.mark == "few" for cell in line.cells)}
    for row in comparisons:
        if (row["method"], row["openness"], row["metric"]) != (OURS, MEAN, "auroc") or not row["lo"]:
            continue
        if {OURS, row["reference"]} & few:
            continue
        difference, low, high = (float(row[key]) for key in ("difference", "lo", "hi"))
        verdict = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        sentences.append(
            f"{OURS} minus {row['reference']}: {difference:+.2f} points of AUROC [{low:.2f}, {high:.2f}], {verdict}."
        )
    ranked = any(cell.mark == "best" for line in table.lines for cell in line.cells)
    return sentences if ranked else [*sentences, "No method is ranked: see the notes below the table."]


def _protocol(rows: Sequence[Row], splits: Sequence[Split], costs: Sequence[Row]) -> list[str]:
    """What the clips, the splits and the encoders were."""
    encoders: dict[str, list[str]] = {}
    for row in costs:
        methods = encoders.setdefault(row["encoder"], [])
        methods += [row["method"]] * (row["method"] not in methods)
    named = (name if len(encoders) == 1 else f"{name} ({', '.join(methods)})" for name, methods in encoders.items())
    classes = sorted({name for split in splits for name in (*split.known, *split.unknown)})
    lists = [
        *facts(rows),
        f"Encoders, frozen: {', '.join(named)}.",
        f"Classes: {len(classes)} ({', '.join(classes)}).",
        *remarks(rows),
    ]
    head = ["openness", "O(K:U)", "splits", "training clips", "known test clips", "unknown test clips", "test groups"]
    body = []
    for level in dict.fromkeys(split.openness for split in splits):
        own = [split for split in splits if split.openness == level]
        groups = [{split.groups[clip] for clip in (*split.test_known, *split.test_unknown)} for split in own]
        counts = [[len(getattr(split, part)) for split in own] for part in ("train", "test_known", "test_unknown")]
        value = f"{openness_value(*parse_openness(level)):.2f}"
        body.append([level, value, len(own), *map(_range, counts), _range([len(found) for found in groups])])
    known = [[split.openness, split.split, ", ".join(split.known)] for split in splits]
    return [
        *_list(lists),
        html_table(head, body),
        "<details><summary>Known classes of every split</summary>",
        html_table(["openness", "split", "known classes"], known),
        "</details>",
    ]


def _list(sentences: Sequence[str]) -> list[str]:
    return ["<ul>", *(f"<li>{html_text(sentence)}</li>" for sentence in sentences), "</ul>"]


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _settings(runs: Sequence[Path]) -> list[str]:
    """What every method was run with, as its runs say: a row per setting, a column per method."""
    found: dict[str, dict[str, set[str]]] = {}
    versions: Counter[str] = Counter()
    for run in runs:
        scores = read_scores(Path(run) / "scores.h5", features=False)
        versions[", ".join(f"{name} {value}" for name, value in sorted(scores.versions.items()))] += 1
        own = found.setdefault(scores.method, {})
        for name, value in scores.settings.items():
            own.setdefault(name, set()).add(_setting(value))
    names = sorted({name for own in found.values() for name in own})
    body = [[name, *(_joined(own.get(name, set())) for own in found.values())] for name in names]
    return [
        "<details><summary>Settings of every method, and versions</summary>",
        "".join(f"<p>{html_text(text)} ({count} runs).</p>" for text, count in versions.items()),
        html_table(["setting", *found], body),
        "</details>",
    ]


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{len(value)} entries"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else json.dumps(value).strip('"')


def _joined(values: set[str]) -> str:
    return " or ".join(sorted(values))
