"""Quality control as one HTML page: what is missing, where, and why. Plain HTML and CSS, no script, no request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcep.concealed import has_concealed
from hcep.figures.page import html_page, html_table, html_text
from hcep.figures.run_files import read_rows
from hcep.files import write_text

KINDS = ("frames", "audio", "text")
STATUSES = ("ok", "note", "absent", "failed")
NEEDED = ("clip", "dataset", "label", "fold", "flags", "reason", *KINDS)
# a browser could not open a page with every clip of a broken corpus; qc.tsv lists them all
MOST_LISTED = 2000
MOST_REASONS = 50


def write_qc_page(qc: Sequence[Path], output: str | Path, *, title: str = "Quality control") -> None:
    """Write the page of one task.

    Parameters
    ----------
    qc : sequence of path
        ``qc.tsv`` of each dataset: one row a clip, columns ``clip dataset label fold flags reason frames audio text``
        and any others. `flags` are joined by ``;``; the last three hold ``ok``, ``note``, ``absent`` or ``failed``.
    output : path
        HTML file to write; it loads nothing from elsewhere.

    Raises
    ------
    HcepError
        A table is missing, empty, or lacks a column.
    """
    rows = [row for path in qc for _, row in read_rows(path, NEEDED, delimiter="\t")]
    failed = [row for row in rows if _has(row, "failed")]
    # a part that the release lacks may be absent in every row, so absent parts are counted and not listed
    listed = failed + [row for row in rows if _has(row, "note") and not _has(row, "failed")]
    concealed = sum(has_concealed(row["reason"]) for row in rows)
    datasets = ", ".join(sorted({row["dataset"] for row in rows}))
    parts = [
        f"<h1>{html_text(title)}</h1>",
        f"<p>Dataset: {html_text(datasets)}. {len(rows)} clips, {len(failed)} with a part that failed "
        f"({100 * len(failed) / len(rows):.2f} %). No clip is dropped: what one lacks is flagged and stands as zeros "
        "in the cache.</p>",
        f"<p>ffmpeg concealed errors in {concealed} clips, see Reasons: look at them.</p>" if concealed else "",
        "<h2>Parts</h2>",
        "<p>ok: read; note: used, with something to know; absent: the release has none; failed: there, but not "
        "readable.</p>",
        _status_table(rows),
        "<h2>Flags</h2>",
        _flag_table(rows),
        "<h2>Clips per class and fold</h2>",
        _class_table(rows),
        "<h2>Reasons</h2>",
        _reason_table(rows),
        "<h2>Clips with a failed part or a note</h2>",
        _clip_table(listed),
    ]
    write_text(output, html_page(title, parts))


def _flags(row: dict[str, str]) -> list[str]:
    return [flag for flag in row["flags"].split(";") if flag]


def _has(row: dict[str, str], status: str) -> bool:
    return any(row[kind] == status for kind in KINDS)


def _status_table(rows: Sequence[dict[str, str]]) -> str:
    counts = {kind: Counter(row[kind] for row in rows) for kind in KINDS}
    names = [*STATUSES, *sorted({name for found in counts.values() for name in found} - set(STATUSES))]
    return html_table(["part", *names], [[kind, *(counts[kind][name] for name in names)] for kind in KINDS])


def _flag_table(rows: Sequence[dict[str, str]]) -> str:
    counts = Counter(sorted(flag for row in rows for flag in set(_flags(row))))
    if not counts:
        return "<p>None: every clip has all its parts.</p>"
    return _share_table("flag", counts.most_common(), len(rows))


def _share_table(name: str, counts: Sequence[tuple[str, int]], total: int) -> str:
    return html_table([name, "clips", "share"], [[key, n, f"{100 * n / total:.2f} %"] for key, n in counts])


def _class_table(rows: Sequence[dict[str, str]]) -> str:
    folds = sorted({row["fold"] for row in rows}, key=_natural)
    per_cell = Counter((row["label"], row["fold"]) for row in rows)
    per_class = Counter(row["label"] for row in rows)
    flagged = Counter(row["label"] for row in rows if _flags(row))
    failed = Counter(row["label"] for row in rows if _has(row, "failed"))
    body: list[list[Any]] = [
        [label or "(no label)", *(per_cell[label, fold] for fold in folds), count, flagged[label], failed[label]]
        for label, count in sorted(per_class.items())
    ]
    totals = [sum(per_cell[label, fold] for label in per_class) for fold in folds]
    body.append(["all", *totals, len(rows), flagged.total(), failed.total()])
    head = ["class", *(f"fold {fold}" if fold else "(no fold)" for fold in folds)]
    return html_table([*head, "clips", "with a flag", "with a failed part"], body, sum_row=True)


def _reason_table(rows: Sequence[dict[str, str]]) -> str:
    counts = Counter(sorted(row["reason"] for row in rows if row["reason"]))
    if not counts:
        return "<p>None.</p>"
    left = len(counts) - MOST_REASONS
    more = f"<p>And {left} more reasons.</p>" if left > 0 else ""
    return _share_table("reason", counts.most_common(MOST_REASONS), len(rows)) + more


def _clip_table(rows: Sequence[dict[str, str]]) -> str:
    if not rows:
        return "<p>None.</p>"
    columns = list(dict.fromkeys([*NEEDED, *(column for row in rows for column in row)]))
    left = len(rows) - MOST_LISTED
    note = f"<p>And {left} more: see the table qc.tsv.</p>" if left > 0 else ""
    return html_table(columns, [[row.get(column, "") for column in columns] for row in rows[:MOST_LISTED]]) + note


def _natural(fold: str) -> tuple[int, int, str]:
    """Folds 2 and 10 in this order, names after numbers."""
    return (0, int(fold), "") if fold.isascii() and fold.isdigit() else (1, 0, fold)
