"""The report of a finished run, read as a reader does: in a browser, without a network."""

from __future__ import annotations

import base64
import csv
import html
import os
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from browser import Browser
from workspace import FIGURES, METHODS, copy_workspace

from hcep import registry
from hcep.evaluation.groups import LEAST_GROUPS, groups_of

pytestmark = pytest.mark.slow

LOOK = (
    *("--report-stylesheet", "workflow/report/report.css"),
    *("--report-metadata", "workflow/report/metadata.yaml"),
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def workspace(finished_once, tmp_path_factory):
    """A finished run with its report."""
    workspace = copy_workspace(finished_once, tmp_path_factory.mktemp("report") / "finished")
    for name in ("report.html", "report.zip"):
        outcome = workspace.snakemake("--report", name, *LOOK)
        assert "Report created" in outcome.text and "ERROR" not in outcome.text and not outcome.begun
    with zipfile.ZipFile(workspace.path("report.zip")) as packed:
        packed.extractall(workspace.path("unpacked"))
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


def test_the_first_page_has_question_numbers_differences_and_protocol(page, workspace):
    text = page.text()
    assert "tiny: which emotion is it" in text and "does it say unknown" in text
    assert "These numbers come from small stand-in encoders" in text
    means = [row for row in read_csv(workspace, "summary") if row["openness"] == "mean"]
    assert len(means) == 3 and all(row["auroc"] in text and row["oscr"] in text for row in means)
    shown = page.evaluate(
        "(({naturalWidth, complete}) => complete && naturalWidth)(document.querySelector('section.hcep img'))"
    )
    assert shown > 300
    assert "Encoders, frozen: tiny" in text and "anger, fear, happiness, sadness" in text
    assert "200 bootstrap replicates" in text and "95 %" in text and "best_on_test" in text
    # the settings are folded away, and those that the runs used
    page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
    assert "cosine_scale" in page.text() and "0.005" in page.text()


def test_the_graph_of_rules_has_a_page_of_its_own(page):
    assert page.evaluate("document.querySelector('canvas')") is None
    page.click("Workflow")
    # the graph of rules is a picture; something is drawn on it, and its data name the rules
    page.wait("document.querySelector('canvas') !== null")
    page.wait(
        "[...document.querySelectorAll('canvas')].some(c => "
        "new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 20)"
    )
    rules = set(page.evaluate("rulegraph_spec.data[0].values.map(node => node.rule)"))
    assert {"decode_frames", "run", "runs_tiny", "aggregate", "figure", "overview"} <= rules
    assert "which emotion is it" not in page.text()


PANELS = {
    "Complexity and run times": ["complexity"],
    "Figures": [f"{name} {registry.FIGURES[name].shows}" for name in FIGURES],
    "Figures of single methods": [f"{name} {method} k2u2" for name in ("fig10", "fig11", "fig7") for method in METHODS],
    "Overview": ["tiny"],
    "Quality control": ["tiny"],
    "Tables": ["beside the paper", "comparisons", "corpora", "runs", "summary"],
}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("form", ["report.html", "unpacked/report/report.html"])
def test_every_panel_opens(pages, workspace, form, width):
    """Each row of each list, with each position of its switch: a picture, a page or a file, and the text about it."""
    pages.events.clear()
    pages.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    address = workspace.path(form).as_uri()
    pages.open(address)
    pages.wait("document.querySelectorAll('#app a').length > 3")
    assert sorted(pages.evaluate("Object.keys(categories)")) == sorted(PANELS)
    opened = set()
    for category, expected in PANELS.items():
        rows = open_list(pages, category)
        assert sorted(rows) == sorted(expected)
        fits = "document.querySelector('#app > div > nav').getBoundingClientRect()"
        assert pages.evaluate(f"{fits}.right") <= width
        switches = pages.evaluate("[...document.querySelectorAll('nav .bg-slate-800.text-xs label')].length") or 1
        for switch in range(switches):
            for place in range(len(rows)):
                open_list(pages, category)
                pages.evaluate(f"document.querySelectorAll('nav .bg-slate-800.text-xs label')[{switch}]?.click()")
                opened.add(open_row(pages, workspace.path(form).parent, place, width))
    assert opened == set(pages.evaluate("Object.keys(results)"))
    for title in ("Statistics", "About"):
        pages.open(address)
        pages.wait("document.querySelectorAll('#app a').length > 3")
        pages.click(title)
        pages.wait("document.querySelector('canvas, nav li:nth-child(4)') !== null")
    pages.call("Emulation.clearDeviceMetricsOverride")
    folder = workspace.path(form).parent.as_uri()
    assert [url for url in pages.requests() if not url.startswith(("data:", "blob:", f"{folder}/"))] == []
    assert pages.complaints() == []


def open_list(pages, category: str) -> list[str]:
    """Open a category from the first page; returns the text of its rows."""
    pages.evaluate("app.setView({navbarMode: 'menu', content: 'metadata'})")
    pages.wait("document.querySelector('nav ul') !== null")
    pages.click(category)
    pages.wait("document.querySelector('nav tbody tr') !== null")
    return pages.evaluate(
        "[...document.querySelectorAll('nav tbody tr')].map(e => e.cells).map(cells => "
        "[...cells].slice(0, -1).map(cell => cell.innerText.trim()).join(' '))"
    )


def open_row(pages, folder: Path, place: int, width: int) -> str:
    """Open a row and the text about it; returns the path of the result."""
    row = f"document.querySelectorAll('nav tbody tr')[{place}]"
    link = f"{row}.querySelector(\"a[iconname='eye']\")"
    name = pages.evaluate(f"{link}.download")
    if name:
        held = pages.evaluate(f"{link}.getAttribute('href')")
        assert held.startswith("data:") or (folder / held).is_file()
    else:
        pages.evaluate(f"{link}.click()")
        whole = "[...document.querySelectorAll('.grow img')].some(e => e.complete && e.naturalWidth > 200)"
        pages.wait(f"{whole} || document.querySelector('iframe') !== null")
    pages.evaluate(f"{row}.querySelector(\"a[iconname='information-circle']\").click()")
    pages.wait("/description/i.test(document.body.innerText)")
    about = re.split("(?i)\ndescription\n", pages.text())[1]
    assert len(about) > 200 and "{%" not in about and "{{" not in about
    return pages.evaluate("app.state.resultPath")


def test_a_figure_larger_than_the_window_can_be_scrolled_to_its_top(page):
    page.call("Emulation.setDeviceMetricsOverride", width=700, height=300, deviceScaleFactor=1, mobile=False)
    page.click("Figures")
    page.wait("document.body.innerText.includes('fig10')")
    press(page, "fig10", "eye")
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


def test_every_table_is_a_page_and_a_file(page, workspace):
    page.click("Tables")
    page.wait("document.body.innerText.includes('summary')")
    press(page, "runs", "eye")
    page.wait("document.querySelectorAll('iframe').length === 1")
    text = page.evaluate("fetch(document.querySelector('iframe').src).then(answer => answer.text())")
    rows = read_csv(workspace, "runs")
    assert len(rows) == 3 and all(f'<td class="n">{row["auroc_lo"]}</td>' in text for row in rows)
    page.click("no")
    for row in ("summary", "comparisons", "runs"):
        held = press(page, row, "eye")
        content = base64.b64decode(held.partition("base64,")[2])
        assert content == workspace.path(f"results/tiny/{row}.csv").read_bytes()
    press(page, "summary", "information-circle")
    page.wait("document.body.innerText.includes('One row per method and openness')")


def test_costs_are_told(page, workspace):
    page.click("Complexity and run times")
    page.wait("document.body.innerText.includes('complexity')")
    press(page, "complexity", "eye")
    page.wait("document.querySelectorAll('iframe').length === 1")
    text = page.evaluate("fetch(document.querySelector('iframe').src).then(answer => answer.text())")
    assert all(row["learnable_m"] in text for row in read_csv(workspace, "complexity"))
    # eight epochs in the one run of every method
    assert len(re.findall(r'<td>\w+</td><td class="n">1</td><td class="n">8</td>', text)) == 3


def read_csv(workspace, name: str) -> list[dict[str, str]]:
    """A table of the task."""
    with workspace.path(f"results/tiny/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_summary_table_can_be_read_inside(page, workspace):
    page.click("Tables")
    page.wait("document.body.innerText.includes('summary')")
    press(page, "summary", "eye")
    page.wait("document.querySelectorAll('iframe').length === 1")
    text = page.evaluate("fetch(document.querySelector('iframe').src).then(answer => answer.text())")
    summary = read_csv(workspace, "summary")
    page_text = html.unescape(re.sub("<.*?>", "", text))
    for row in summary:
        groups = groups_of(row["note"])
        # with few groups of test clips the reason stands in the place of the interval
        few = groups is not None and groups < LEAST_GROUPS
        interval = f"{groups} test group" if few else f"[{row['auroc_lo']}, {row['auroc_hi']}]"
        parts = [row["auroc"], f"± {row['auroc_sd']}" if row["auroc_sd"] else "", interval]
        assert " ".join(filter(None, parts)) in page_text
    pairs = read_csv(workspace, "comparisons")
    assert pairs and all(f"{float(row['difference']):+.2f}" in page_text for row in pairs)
    assert "not comparable with published results" in text


def test_the_quality_control_page_opens_inside(page):
    page.click("Quality control")
    page.wait("document.body.innerText.includes('tiny')")
    press(page, "tiny", "eye")
    page.wait("document.querySelectorAll('iframe').length === 1")
    held = page.evaluate("document.querySelector('iframe').src")
    assert held.startswith(("data:text/html", "blob:")) or held.endswith("#")
    text = page.evaluate("fetch(document.querySelector('iframe').src).then(answer => answer.text())")
    assert "24 clips" in text and "<script" not in text
