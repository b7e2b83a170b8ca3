"""The summary page holds the numbers of its tables, and its first columns stay where they are on a narrow screen."""

from __future__ import annotations

import html
import re
import shutil

import pytest
from browser import Browser
from sample_summary import comparison_row, summary_row, write_results

from hcep.evaluation.groups import groups_note
from hcep.figures.summary_page import write_summary_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LEVELS = ("k8u2", "k4u6", "mean")


def page_of(folder, rows, comparisons=()):
    write_results(folder, rows, list(comparisons))
    output = folder / "summary.html"
    write_summary_page(folder / "summary.csv", folder / "comparisons.csv", output, task="t <1>")
    return output.read_text(encoding="utf-8")


def tables_of(page):
    """Cells of every table, as text."""
    return [
        [
            [html.unescape(re.sub("<.*?>", "", cell)) for cell in re.findall("<t[hd].*?>(.*?)</t[hd]>", row)]
            for row in rows
        ]
        for rows in (
            re.findall("<tr.*?>(.*?)</tr>", table) for table in re.findall("(?s)<table.*?>(.*?)</table>", page)
        )
    ]


def test_values_intervals_and_notes(tmp_path):
    names = {"hcep": 50, "<i>x</i>": 60}
    rows = [summary_row(name, level, value, note="<b>odd</b>") for level in LEVELS for name, value in names.items()]
    for row in rows[::2]:
        row["note"] += "; movement_delta_t 2.17; movement_<n> 0"
    rows[5]["note"] += "; <i>late</i>"
    page = page_of(tmp_path, rows)
    table, moved = tables_of(page)
    assert table[0] == ["openness", "method", "AUROC ↑", "OSCR ↑", "accuracy ↑", "macro F1 ↑", "FPR95 ↓"]
    assert [line[:2] for line in table[1:]] == [[level, name] for level in LEVELS for name in names]
    assert table[1][2] == "50.00 ± 1.00 [48.00, 52.00]"
    assert page.count("<b>60.00</b>") == 3 * 4 and page.count("<b>50.00</b>") == 3
    assert page.count("<u>50.00</u>") == 3 * 4 and page.count("<u>60.00</u>") == 3
    assert moved == [["openness", "method", "delta_t", "<n>"], *([level, "hcep", "2.17", "0"] for level in LEVELS)]
    assert "<p>&lt;b&gt;odd&lt;/b&gt; (all rows).</p>" in page and "(&lt;i&gt;x&lt;/i&gt; mean).</p>" in page
    assert "<title>t &lt;1&gt;</title>" in page and "<script" not in page and "Paired" not in page


def test_few_groups_are_grey_with_the_reason(tmp_path):
    rows = [summary_row(name, value=75, auroc_sd="35.40", note=groups_note(2)) for name in "ab"]
    page = page_of(tmp_path, rows, [comparison_row("a", "b")])
    reason = '<span class="under">2 test groups</span></span>'
    assert page.count(f'<span class="few">75.00 <span class="beside">± 35.40</span> {reason}') == 2
    assert f'<span class="few">+1.50 {reason}' in page and "75.00]" not in page and "[0.10" not in page
    assert "fewer than 5 groups of test clips" in page and "<b>" not in page


def test_the_means_of_the_comparisons_are_shown_and_the_levels_folded_away(tmp_path):
    rows = [summary_row(name, level) for level in LEVELS for name in "ab"]
    page = page_of(tmp_path, rows, [comparison_row("a", "b", level) for level in LEVELS])
    _, means, every = tables_of(page)
    assert means == [["openness", "method", "minus", "AUROC ↑"], ["mean", "a", "b", "+1.50 p 0.0300 [0.10, 2.90]"]]
    assert [row[0] for row in every[1:]] == list(LEVELS)
    assert page.index("<details>") > page.index("p 0.0300") and "Bold: an interval that leaves 0 out." in page


def test_one_level_is_shown_once(tmp_path):
    rows = [summary_row(name, level) for level in ("k8u2", "mean") for name in "ab"]
    page = page_of(tmp_path, rows, [comparison_row("a", "b", level) for level in ("k8u2", "mean")])
    assert [row[0] for row in tables_of(page)[1][1:]] == ["k8u2"] and "<details>" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_the_first_columns_stay_while_the_rest_scrolls(tmp_path):
    rows = [summary_row(name, level) for level in LEVELS for name in ("hcep", "frozen_prompts_distance")]
    page_of(tmp_path, rows, [comparison_row("hcep", "frozen_prompts_distance", level) for level in LEVELS])
    browser = Browser(CHROMIUM, tmp_path / "profile")
    try:
        browser.open((tmp_path / "summary.html").as_uri())
        for width in (1280, 390):
            browser.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
            )
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
        # at 390 pixels the table scrolls: the method stays, and the last column comes into sight beside it
        method, before, after, last = browser.evaluate("""(() => {
            const box = document.querySelector('.scroll'), row = box.querySelector('tbody tr');
            const left = place => row.cells[place].getBoundingClientRect();
            const before = [left(0).left, left(1).left];
            box.scrollLeft = 10000;
            return [left(1).right, before, [left(0).left, left(1).left], [left(6).left, left(6).right]];
        })()""")
        assert box_scrolled(browser) and before == after
        assert method <= last[0] + 1 and last[1] <= 390
        assert browser.complaints() == []
    finally:
        browser.close()


def box_scrolled(browser):
    return browser.evaluate("document.querySelector('.scroll').scrollLeft") > 0
