"""The documentation as a site: every page and link is there, and nothing of it asks another machine for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from browser import Browser
from workspace import REPOSITORY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built with every warning as an error."""
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def pages(entries) -> list[str]:
    """The pages that a part of the site's contents names, in order."""
    if isinstance(entries, str):
        return [entries]
    below = entries.values() if isinstance(entries, dict) else entries
    return [page for entry in below for page in pages(entry)]


def test_the_contents_name_every_page_once():
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    named = pages(yaml.safe_load(text)["nav"])
    there = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("docs/*.md")}
    others = {"README.md", "config/README.md", "benchmarks/README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert sorted(named) == sorted(there | others)


def test_lists_are_lists_and_tables_are_tables(site):
    for page in ("config/index.html", "docs/own_data.html", "docs/methods.html"):
        shown = re.sub(r"<(pre|code)\b.*?</\1>", "", (site / page).read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.findall(r"<p>[^<]*\n *[-|] ", shown) and "```" not in shown
    # a table that is copied from the page has its tabs
    assert "clip\tvideo\tstart\tend" in (site / "docs/own_data.html").read_text(encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_no_page_asks_another_machine_and_none_is_wider_than_a_phone(site, tmp_path):
    browser = Browser(str(CHROMIUM), tmp_path)
    try:
        browser.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
        # the page of a server that finds nothing has addresses of that server
        for page in sorted({*site.rglob("*.html")} - {site / "404.html"}):
            browser.open(page.as_uri())
            width = browser.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, f"{page.relative_to(site)} is {width} pixels wide"
        asked = [url for url in browser.requests() if not url.startswith((site.as_uri(), "data:", "about:", "blob:"))]
        assert asked == [] and browser.complaints() == []
    finally:
        browser.close()
