"""The report of a finished run, read as a reader does: in a browser, without a network."""

from __future__ import annotations

import base64
import csv
import os
import re
import shutil
from pathlib import Path

import pytest
from browser import Browser
from workspace import FIGURES, copy_workspace

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def workspace(finished_once, tmp_path_factory):
    """A finished run with its report."""
    workspace = copy_workspace(finished_once, tmp_path_factory.mktemp("report") / "finished")
    outcome = workspace.snakemake("--report", "report.html", "--report-stylesheet", "workflow/report/report.css")
    assert "Report created" in outcome.text and not outcome.begun
    return workspace


@pytest.fixture(scope="module")
def pages(workspace, tmp_path_factory):
    """A browser with the report; a picture of every page is left in HCEP_SCREENSHOTS, if that is set."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH")
    browser = Browser(CHROMIUM, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(pages, workspace, request):
    """The report's first page; afterwards the page must have asked nobody for anything and complained of nothing."""
    pages.events.clear()
    address = workspace.path("report.html").as_uri()
    pages.open(address)
    pages.wait("document.querySelectorAll('#app a').length > 3")
    yield pages
    if "HCEP_SCREENSHOTS" in os.environ:
        pages.screenshot(Path(os.environ["HCEP_SCREENSHOTS"]) / f"{re.sub(r'[^a-z0-9_]', '_', request.node.name)}.png")
    asked = pages.requests()
    assert address in asked
    assert [url for url in asked if url != address and not url.startswith(("data:", "blob:"))] == []
    assert pages.complaints() == []


def press(browser, row: str, icon: str) -> str:
    """Press the icon in the line of a result; returns what its link holds."""
    code = f"""(() => {{
        const line = [...document.querySelectorAll('tr')].find(
            e => [...e.cells].some(cell => cell.innerText.trim() === '{row}'));
        const link = line && line.querySelector("a[iconname='{icon}']");
        if (link && !link.download) link.click();
        return link ? link.href : null;
    }})()"""
    address = browser.evaluate(code)
    assert address is not None, f"{row!r} has no {icon}:\n{browser.text()}"
    return address


def test_the_file_names_no_script_or_style_of_another_machine(workspace):
    text = workspace.path("report.html").read_text()
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*>", text)


def test_the_first_page_explains_the_numbers_and_draws_the_rules(page):
    text = page.text()
    assert "on the task(s) tiny" in text and "200 bootstrap replicates" in text and "95 %" in text
    assert {"Figures", "Quality control", "Results"} <= set(text.splitlines())
    # the graph of rules is a picture; something is drawn on it, and its data name the rules
    page.wait("document.querySelector('canvas') !== null")
    page.wait(
        "[...document.querySelectorAll('canvas')].some(c => "
        "new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 20)"
    )
    rules = set(page.evaluate("rulegraph_spec.data[0].values.map(node => node.rule)"))
    assert {"decode_frames", "train", "score", "evaluate", "aggregate", "figure"} <= rules


def test_a_figure_larger_than_the_window_can_be_scrolled_to_its_top(page):
    page.call("Emulation.setDeviceMetricsOverride", width=700, height=300, deviceScaleFactor=1, mobile=False)
    page.click("Figures")
    page.wait("document.body.innerText.includes('fig9')")
    press(page, "fig9", "eye")
    place = "[...document.images].find(e => e.complete && e.naturalWidth > 300 && e.src.includes('svg'))"
    page.wait(f"{place} !== undefined")
    image, frame = (
        page.evaluate(f"(({{left, top, height}}) => [left, top, height])(({what}).getBoundingClientRect())")
        for what in (place, f"{place}.closest('.overflow-auto')")
    )
    page.call("Emulation.clearDeviceMetricsOverride")
    assert image[2] > frame[2] and image[0] >= frame[0] and image[1] >= frame[1]


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_drawn_and_explained(page, figure):
    page.click("Figures")
    page.wait(f"document.body.innerText.includes('{figure}')")
    press(page, figure, "eye")
    page.wait("[...document.images].some(e => e.complete && e.naturalWidth > 300 && e.src.includes('svg'))")
    press(page, figure, "information-circle")
    page.wait("/description/i.test(document.body.innerText)")
    description = re.split("(?i)\ndescription\n", page.text())[1]
    assert len(description) > 300 and "{%" not in description and "{{" not in description
    words = {
        **{
            "calibration": "softmax",
            "fig7": "overlap",
            "fig9": "OSCR",
            "fig10": "acceptance rate",
            "fig11": "rejected",
        },
        **{"forest": "reference", "movement": "prompt", "openness": "whisker", "training": "Loss terms"},
    }
    assert words[figure] in description and "What to doubt" in description


def test_the_tables_are_in_it_and_explained(page, workspace):
    page.click("Results")
    page.wait("document.body.innerText.includes('summary')")
    for row, name in (("summary", "summary.csv"), ("comparisons", "comparisons.csv")):
        held = press(page, row, "eye")
        content = base64.b64decode(held.partition("base64,")[2])
        assert content == workspace.path(f"results/tiny/{name}").read_bytes()
    press(page, "summary", "information-circle")
    page.wait("document.body.innerText.includes('One row per method and openness')")


def test_the_summary_table_can_be_read_inside(page, workspace):
    page.click("Results")
    page.wait("document.body.innerText.includes('summary, to read')")
    press(page, "summary, to read", "eye")
    page.wait("document.querySelectorAll('iframe').length === 1")
    text = page.evaluate("fetch(document.querySelector('iframe').src).then(answer => answer.text())")
    summary = list(csv.DictReader(workspace.path("results/tiny/summary.csv").open(newline="")))
    assert all(f"{row['auroc']} [{row['auroc_lo']}, {row['auroc_hi']}]" in text for row in summary)
    assert "not comparable with published results" in text


def test_the_quality_control_page_opens_inside(page):
    page.click("Quality control")
    page.wait("document.body.innerText.includes('every clip')")
    page.click("page")
    press(page, "tiny", "eye")
    page.wait("document.querySelectorAll('iframe').length === 1")
    held = page.evaluate("document.querySelector('iframe').src")
    assert held.startswith(("data:text/html", "blob:")) or held.endswith("#")
    text = page.evaluate("fetch(document.querySelector('iframe').src).then(answer => answer.text())")
    assert "24 clips" in text and "<script" not in text
