"""The page in a browser, as a person uses it: a clip end to end, hostile names, files that are no media."""

from __future__ import annotations

import base64
import json
import re
import shutil

import pytest
from browser import Browser
from sample_page import LIMIT

from hcep.inference.clips import clip_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
HOSTILE = '../../<img src=x onerror=alert(1)>"\u202e&amp;.mp4'


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all tests of this file."""
    opened = Browser(CHROMIUM, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def page(browser, served):
    """The page, just opened; it may have asked this server alone, and complained of nothing."""
    browser.events.clear()
    browser.open(served.address)
    browser.wait("document.body.dataset.ready === 'true'")
    yield browser
    assert browser.complaints() == []
    local = (served.address, f"blob:{served.address.rsplit('/', 2)[0]}/", "data:")
    assert len(browser.requests()) >= 4 and all(one.startswith(local) for one in browser.requests())
    assert not [e for e in browser.events if e["method"] == "Page.javascriptDialogOpening"]
    assert [*served.temporary.iterdir()] == []


def choose(page: Browser, path) -> None:
    """Choose a file by the button, and wait for its answer."""
    field = page.call("Runtime.evaluate", expression="document.getElementById('file')")["result"]["objectId"]
    page.call("DOM.setFileInputFiles", files=[str(path)], objectId=field)
    page.wait(f"document.getElementById('name').textContent === {json.dumps(path.name)}")
    finish(page)


def drop(page: Browser, name: str, content: bytes) -> None:
    """Drop a file of any name, and wait for its answer."""
    coded = base64.b64encode(content).decode()
    page.evaluate(f"""(() => {{
        const bytes = Uint8Array.from(atob({json.dumps(coded)}), sign => sign.charCodeAt(0));
        const moved = new DataTransfer();
        moved.items.add(new File([bytes], {json.dumps(name)}));
        document.body.dispatchEvent(new DragEvent("drop", {{dataTransfer: moved, bubbles: true, cancelable: true}}));
    }})()""")
    finish(page)


def finish(page: Browser) -> None:
    """Wait until the page reads nothing."""
    page.wait("!document.getElementById('fields').disabled")


def shown(page: Browser, name: str) -> str:
    """Text of the element that has this id, '' where it is hidden."""
    return page.evaluate(f"(one => one.checkVisibility() ? one.innerText : '')(document.getElementById('{name}'))")


def count(page: Browser, selector: str) -> int:
    """How many elements there are."""
    return page.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")


def slide(page: Browser, per_cent: int) -> None:
    """Move the slider."""
    page.evaluate(f"""(() => {{
        const slider = document.getElementById("acceptance");
        slider.value = {per_cent};
        slider.dispatchEvent(new Event("input"));
    }})()""")


def test_a_clip_end_to_end(page, served):
    assert shown(page, "decision") == "no clip yet" and "stand in" in shown(page, "warning")
    assert "anger, happiness" in shown(page, "known") and "unknown were fear, sadness" in shown(page, "about")
    page.evaluate("document.getElementById('words').value = 'we made it home'")
    choose(page, served.clip)
    own = served.model.predict(served.clip, text="we made it home")
    assert shown(page, "decision") == own.label and "stand-in" in shown(page, "of-stand-in")
    assert shown(page, "text") == "“we made it home”"
    assert shown(page, "used") == "The answer comes from the words, the picture, and the sound."
    assert count(page, "#frames img") == 2 and shown(page, "frames-title") == "Picture: 2 frames"
    page.wait("[...document.querySelectorAll('#frames img')].every(one => one.naturalWidth === 32)")
    assert shown(page, "sound-title") == "Sound: 0.25 s" and count(page, "#sound path") == 1
    rows = page.evaluate("[...document.querySelectorAll('#bars tr')].map(row => row.innerText.split('\\t'))")
    best = sorted(own.probabilities.items(), key=lambda pair: -pair[1])
    assert [(name, value) for name, _, value in rows] == [(name, f"{100 * p:.1f}\xa0%") for name, p in best]
    drawn = page.evaluate("document.querySelector('#histogram svg').getAttribute('aria-label')")
    assert f"Scores of {len(served.model.training_scores)} known training clips" in drawn and "this clip" in drawn
    # without words, asked again
    page.evaluate("document.getElementById('words').value = ''")
    page.click("Ask again with these words")
    page.wait("document.getElementById('text').textContent === 'None.'")
    finish(page)
    assert shown(page, "notes") == "Words: no words were given."
    assert shown(page, "decision") == served.model.predict(served.clip).label


def test_the_slider_decides_as_the_model_does(page, served):
    choose(page, served.clip)
    found: list[str] = []
    (media,) = served.model.read([clip_of(served.clip)])
    for share in range(1, 101):
        slide(page, share)
        (own,) = served.model.answer([media], share / 100)
        assert shown(page, "decision") == own.label
        found.append(own.label)
    assert len({*found}) == 2
    # the server was asked once
    assert [one for one in page.requests() if one.startswith(f"{served.address}answer")] == [f"{served.address}answer"]
    slide(page, 95)
    row = next(row for row in served.model.about.thresholds if row["acceptance"] == 0.95)
    assert f"accepted {100 * row['test_tpr']:.1f}\xa0% of the known" in shown(page, "on-test")
    # by the keyboard
    page.evaluate("document.getElementById('acceptance').focus()")
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", code="ArrowLeft", windowsVirtualKeyCode=37)
    page.wait("document.getElementById('share').textContent === '94\\u00a0%'")


def test_a_hostile_name_is_text_and_no_path(page, served):
    outside = served.temporary.parent.parent
    before = sorted(outside.rglob("*"))
    drop(page, HOSTILE, served.clip.read_bytes())
    assert page.evaluate("document.getElementById('name').textContent") == HOSTILE
    assert count(page, "img[src=x]") == 0 and count(page, "#media img") == 2
    assert shown(page, "decision") == served.model.predict(served.clip).label
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize("content", [b"this is a text\n", b"", b"#EXTM3U\n/etc/passwd\n", b"\x00\x00\x00\x18ftypmp42"])
def test_a_file_that_is_no_media_gets_a_message(page, content):
    drop(page, "film.mp4", content)
    said = shown(page, "problem")
    assert said.startswith("This file gives no answer. Picture and sound: ") and "/" not in said
    assert shown(page, "decision") == "no answer" and shown(page, "details") == shown(page, "media") == ""
    assert page.evaluate("document.querySelector('#histogram svg').getAttribute('aria-label')").endswith(".")


def test_too_large_a_file_is_not_sent(page, served):
    drop(page, "film.mp4", bytes(LIMIT + 1))
    assert shown(page, "problem") == "No answer: the file has 0.3 MB, at most 0.3 MB are taken."
    assert not [one for one in page.requests() if one == f"{served.address}answer"]
    # and the next one is read
    drop(page, "film.mp4", served.clip.read_bytes())
    assert shown(page, "problem") == "" and count(page, "#frames img") == 2


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_and_a_screen(page, served, width, scheme):
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    drop(page, f"{'long' * 60}.mp4", served.clip.read_bytes())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = page.evaluate("(one => [one.backgroundColor, one.color])(getComputedStyle(document.body))")
    ground, text = (int(re.search(r"\d+", colour)[0]) for colour in colours)
    assert (ground < text) == (scheme == "dark")
    # the answer stands before the pictures where there is one column, and beside them where there are two
    answer, media = page.evaluate(
        "['.answer', '.media'].map(one => document.querySelector(one).getBoundingClientRect().top)"
    )
    assert answer < media
    assert (page.evaluate("document.querySelector('.answer').getBoundingClientRect().left") > 390) == (width == 1280)
