"""A self-contained HTML page: plain HTML and CSS, no script, no request."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

_CSS = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #8886; text-align: left; vertical-align: top; }
td { unicode-bidi: isolate; white-space: nowrap; }
th { white-space: nowrap; } .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.sum > * { font-weight: 600; border-top: 2px solid #8888; }
.reason { min-width: 18rem; white-space: normal; overflow-wrap: anywhere; } .none { opacity: .45; }
p, h1, h2, h3, summary { overflow-wrap: anywhere; } summary { cursor: pointer; margin-top: 1rem; }
.caption { font-size: .9rem; max-width: 60rem; margin-bottom: .4rem; }
.under { display: block; font-size: .85em; opacity: .75; } .beside { font-size: .85em; opacity: .75; }
.few { opacity: .5; font-style: italic; } img.wide { width: 34rem; max-width: 100%; }
/* The first columns stay while the others scroll; a column needs a known width for the next to lie beside it. */
.stay { --first: 6.4rem; --second: 14rem; border-collapse: separate; border-spacing: 0; }
.stay tr > :nth-child(-n+2), .stay.three tr > :nth-child(3) { position: sticky; left: 0; z-index: 1;
  background: Canvas; white-space: normal; overflow-wrap: anywhere; box-sizing: border-box; }
.stay.method { --first: 14rem; --second: 6.4rem; }
.stay tr > :nth-child(1) { min-width: var(--first); max-width: var(--first); }
.stay tr > :nth-child(2) { left: var(--first); min-width: var(--second); max-width: var(--second); }
.stay.three tr > :nth-child(3) { left: calc(var(--first) + var(--second)); min-width: 11rem; max-width: 11rem; }
.stay:not(.three) tr > :nth-child(2), .stay.three tr > :nth-child(3) { border-right: 1px solid #8886; }
tbody + tbody > tr:first-child > * { border-top: 2px solid #8888; }
@media (max-width: 40rem) {
  body { margin: 1rem auto; padding: 0 .7rem; } th, td { padding: .2rem .45rem; } table { font-size: .8rem; }
  .stay { --first: 4.6rem; --second: 6.9rem; }
  .stay.method { --first: 6.9rem; --second: 4.6rem; }
  .stay th:first-child { font-size: .72rem; padding-right: 0; }
  .stay.three tr > :nth-child(1) { position: static; } .stay.three tr > :nth-child(2) { left: 0; }
  .stay.three tr > :nth-child(3) { left: var(--second); min-width: 6.2rem; max-width: 6.2rem; }
}
""".strip()


# columns whose text runs over several lines
_TEXT = ("reason", "known classes", "note", "protocol")


class Html(str):
    """Text that is HTML already."""


def html_page(title: str, parts: Iterable[str], *, css: str = "") -> str:
    """A whole page; `parts` are HTML already, `css` is added to the style of all pages."""
    # the policy makes the browser itself refuse scripts and requests, whatever a clip's name holds
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_text(title)}</title>\n<style>\n{_CSS}\n{css}</style>\n</head>\n<body>\n"
    )
    return head + "\n".join(parts) + "\n</body>\n</html>\n"


def html_text(value: Any) -> str:
    """A value as text that no browser takes for HTML; what is `Html` already stays as it is."""
    return value if isinstance(value, Html) else html.escape(str(value), quote=True)


def html_table(head: Sequence[str], body: Sequence[Sequence[Any]], *, sum_row: bool = False, stay: int = 0) -> str:
    """A table; columns of numbers stand to the right, `sum_row` sets the last row apart.

    With `stay` 2 or 3 so many first columns stay while the others scroll, and a line is drawn where the first changes.
    """
    kinds = {0: "", 2: ' class="stay"', 3: ' class="stay three"'}
    # the column of methods needs more room than that of levels, wherever it stands
    kind = ' class="stay method"' if stay == 2 and head[0] == "method" else kinds[stay]
    lines = [f'<div class="scroll" tabindex="0"><table{kind}>']
    numeric = [bool(body) and all(_is_number(row[place]) for row in body) for place in range(len(head))]
    cells = (f"<th{_mark(name, right)}>{html_text(name)}</th>" for name, right in zip(head, numeric, strict=True))
    lines.append(f"<thead><tr>{''.join(cells)}</tr></thead><tbody>")
    for place, row in enumerate(body):
        last = sum_row and place == len(body) - 1
        filled = (
            f"<td{_mark(name, right, value)}>{html_text(value)}</td>"
            for name, right, value in zip(head, numeric, row, strict=True)
        )
        if stay and place and row[0] != body[place - 1][0]:
            lines.append("</tbody><tbody>")
        lines.append(f"<tr{' class=sum' if last else ''}>{''.join(filled)}</tr>")
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def _is_number(value: Any) -> bool:
    """Whether a cell is a number, as such or as text; an empty cell is a number that is missing."""
    if not isinstance(value, str):
        return isinstance(value, int)
    try:
        return value == "" or math.isfinite(float(value))
    except ValueError:
        return False


def _mark(name: str, right: bool, value: Any = None) -> str:
    classes = ["n"] * (right or name == "share") + ["none"] * (right and value == 0) + ["reason"] * (name in _TEXT)
    return f' class="{" ".join(classes)}"' if classes else ""
