"""Any table of results as a page, whole and as it is, for those who do not open CSV files."""

from __future__ import annotations

from pathlib import Path

from hcep.errors import HcepError
from hcep.figures.page import html_page, html_table, html_text
from hcep.files import read_table, write_text

# what every row of a table has in common is said once above it
_ONCE = ("task", "protocol", "stand_in", "text_kind", "selection")
# what the tables are called, and what stands in them
_ABOUT = {
    "comparisons": (
        "Paired comparisons",
        "Method minus reference on the same test clips, in percentage points, with interval and p.",
    ),
    "runs": ("All runs", "Every run by itself, in percent."),
    "versus_paper": (
        "Beside the paper",
        "Our number, the one that the paper prints, and ours minus the paper's in percentage points.",
    ),
    "corpora": ("Corpus by corpus", "AUROC and OSCR with the known test clips of one corpus alone, in percent."),
}


def write_table_page(table: Path, output: Path, *, name: str, task: str = "") -> None:
    """Write the page of one CSV file.

    Parameters
    ----------
    table : path
        The CSV file; one without rows gives a page that says so.
    output : path
        HTML file to write; it loads nothing from elsewhere.
    name, task : str
        What the heading says.

    Raises
    ------
    HcepError
        There is no such table, or it was changed after it was written.
    """
    if not table.is_file():
        raise HcepError("the file does not exist", file=table, remedy="run the step that writes it")
    rows = read_table(table)
    heading, about = _ABOUT.get(name, (name, f"The table {table.name}, whole and as it is."))
    title = f"{heading}: {task}" if task else heading
    parts = [f"<h1>{html_text(title)}</h1>", f"<p>{html_text(about)}</p>"]
    if rows:
        head = list(rows[0])
        once = [key for key in head if key in _ONCE and len({row[key] for row in rows}) == 1 and rows[0][key]]
        parts += [f'<p class="caption">{html_text(key)}: {html_text(rows[0][key])}</p>' for key in once]
        shown = [key for key in head if key not in once and any(row[key] for row in rows)]
        empty = [key for key in head if key not in once and key not in shown]
        parts.append(html_table(shown, [[row[key] for key in shown] for row in rows], stay=2))
        parts += [f'<p class="caption">Without any entry: {html_text(", ".join(empty))}.</p>'] if empty else []
    else:
        parts.append("<p>This table has no row: there is nothing of its kind in this task.</p>")
    write_text(output, html_page(title, parts))
