"""Pages show what is in their tables, and explain faulty input."""

from __future__ import annotations

import html.parser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hcep.errors import HcepError
from hcep.figures.qc_page import write_qc_page
from hcep.files import write_table

QC = ["clip", "dataset", "label", "fold", "flags", "reason", "frames", "audio", "text", "seconds"]


# --- quality control page ------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Tags, attributes and table cells of a page, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: list[list[list[str]]] = []
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        self.cell = tag in ("td", "th")
        if self.cell:
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.cell = False


def qc_page(tmp_path: Path, rows: Sequence[Sequence[Any]], title: str = "QC") -> tuple[str, Page]:
    write_table(tmp_path / "qc.tsv", QC, [dict(zip(QC, row, strict=True)) for row in rows], delimiter="\t")
    write_qc_page([tmp_path / "qc.tsv"], tmp_path / "qc.html", title=title)
    text = (tmp_path / "qc.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_qc_page_counts(tmp_path: Path) -> None:
    broken, silent = "frames failed: moov atom not found", "audio absent: no stream"
    rows = [
        ("a", "demo", "anger", "10", "", "", "ok", "ok", "ok", 1),
        ("b", "demo", "anger", "2", "no_audio", silent, "ok", "absent", "ok", 2),
        ("n", "demo", "fear", "2", "", "text note: cut", "ok", "ok", "note", 4),
        ("c", "demo", "fear", "2", "no_audio;no_video", broken, "failed", "failed", "ok", 3),
        ("d", "demo", "", "2", "no_video", broken, "failed", "ok", "ok", ""),
    ]
    text, page = qc_page(tmp_path, rows)
    parts, flags, classes, reasons, listed = page.tables
    assert parts == [
        ["part", "ok", "note", "absent", "failed"],
        ["frames", "3", "0", "0", "2"],
        ["audio", "3", "0", "1", "1"],
        ["text", "4", "1", "0", "0"],
    ]
    assert flags[1:] == [["no_audio", "2", "40.00 %"], ["no_video", "2", "40.00 %"]]
    assert classes == [
        ["class", "fold 2", "fold 10", "clips", "with a flag", "with a failed part"],
        ["(no label)", "1", "0", "1", "1", "1"],
        ["anger", "1", "1", "2", "1", "0"],
        ["fear", "2", "0", "2", "1", "1"],
        ["all", "4", "1", "5", "3", "2"],
    ]
    assert reasons[1:] == [[broken, "2", "40.00 %"], [silent, "1", "20.00 %"], ["text note: cut", "1", "20.00 %"]]
    assert [row[0] for row in listed] == ["clip", "c", "d", "n"]
    assert "5 clips, 2 with a part that failed (40.00 %)" in text


def test_qc_page_of_a_clean_corpus(tmp_path: Path) -> None:
    text, page = qc_page(tmp_path, [("a", "demo", "anger", "1", "", "", "ok", "ok", "ok", 1)])
    assert len(page.tables) == 2 and text.count("<p>None") == 3


def test_absent_parts_alone_are_counted_not_listed(tmp_path: Path) -> None:
    rows = [(f"c{i}", "demo", "fear", "1", "no_text", "text absent: none", "ok", "ok", "absent", 1) for i in range(9)]
    text, page = qc_page(tmp_path, rows)
    assert page.tables[3][1:] == [["text absent: none", "9", "100.00 %"]]
    assert len(page.tables) == 4 and text.endswith("<p>None.</p>\n</body>\n</html>\n")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    evil = "</td><script>alert('x')</script><img src=\"http://a.b/c\" onerror=x>\n&amp;\t'"
    rows = [(evil, evil, evil, evil, f"{evil};no_audio", evil, "failed", evil, "ok", evil)]
    text, page = qc_page(tmp_path, rows, title=evil)
    assert page.tables[-1][1][0] == evil
    assert not {"script", "img", "iframe", "link", "object", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert "default-src 'none'" in text
    assert page.tags.count("table") == 5


def test_long_qc_page_says_what_it_leaves_out(tmp_path: Path) -> None:
    rows = [(f"c{i}", "d", "fear", "1", "", f"reason {i % 60}", "failed", "ok", "ok", "") for i in range(2100)]
    text, page = qc_page(tmp_path, rows)
    assert "And 100 more: see the table qc.tsv" in text and "And 10 more reasons" in text
    assert len(page.tables[-1]) == 2001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip\tdataset\n", "has no row"),
        ("clip\tdataset\na\tb\n", "no column label, fold, flags, reason, frames, audio, text"),
        ("\t".join(QC) + "\na\tb\n", "row 2: not as many cells"),
    ],
)
def test_faulty_qc_tables(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "qc.tsv").write_text(text)
    with pytest.raises(HcepError, match=message):
        write_qc_page([tmp_path / "qc.tsv"], tmp_path / "qc.html")
