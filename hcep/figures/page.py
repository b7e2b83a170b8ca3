"""A self-contained HTML page: plain HTML and CSS, no script, no request."""

from __future__ import annotations

import html
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
""".strip()


def html_page(title: str, parts: Iterable[str]) -> str:
    """A whole page; `parts` are HTML already."""
    # the policy makes the browser itself refuse scripts and requests, whatever a clip's name holds
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_text(title)}</title>\n<style>\n{_CSS}\n</style>\n</head>\n<body>\n"
    )
    return head + "\n".join(parts) + "\n</body>\n</html>\n"


def html_text(value: Any) -> str:
    """A value as text that no browser takes for HTML."""
    return html.escape(str(value), quote=True)


def html_table(head: Sequence[str], body: Sequence[Sequence[Any]], *, sum_row: bool = False) -> str:
    """A table; columns of whole numbers stand to the right, `sum_row` sets the last row apart."""
    lines = ['<div class="scroll"><table>']
    numeric = [bool(body) and all(isinstance(row[place], int) for row in body) for place in range(len(head))]
    cells = (f"<th{_mark(name, right)}>{html_text(name)}</th>" for name, right in zip(head, numeric, strict=True))
    lines.append(f"<thead><tr>{''.join(cells)}</tr></thead><tbody>")
    for place, row in enumerate(body):
        last = sum_row and place == len(body) - 1
        filled = (
            f"<td{_mark(name, right, value)}>{html_text(value)}</td>"
            for name, right, value in zip(head, numeric, row, strict=True)
        )
        lines.append(f"<tr{' class=sum' if last else ''}>{''.join(filled)}</tr>")
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def _mark(name: str, right: bool, value: Any = None) -> str:
    classes = ["n"] * (right or name == "share") + ["none"] * (right and value == 0) + ["reason"] * (name == "reason")
    return f' class="{" ".join(classes)}"' if classes else ""
