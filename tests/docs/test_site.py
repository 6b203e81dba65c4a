"""The site asks no other host for anything, and fits a telephone."""

from __future__ import annotations

import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pages import ROOT
from playwright.sync_api import sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc="?(?:https?:)?//|<link[^>]*\shref="?(?:https?:)?//"""
    r"""|url\(["']?(?:https?:)?//|@import"""
)
SHOWN = ("index.html", "start/chemistry.html", "concepts/why-one-over-p.html", "api/llm.html")


def test_no_page_loads_anything_from_another_host(site):
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(files) > 40
    assert [str(file) for file in files if LOADED.search(file.read_text())] == []


def test_every_result_has_its_command():
    page = (ROOT / "docs" / "results.md").read_text()
    folders = {path.name for path in (ROOT / "docs" / "results").iterdir()}
    assert {*re.findall(r"^\| `([\w.-]+)` \| .*`", page, re.MULTILINE)} == folders


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site)) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_a_page_in_a_browser(address, width, scheme):
    """What is too wide scrolls by itself, in a box of its own; the page does not."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        problems, asked = [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        for name in SHOWN:
            page.goto(address + name)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.locator("body").get_attribute("data-md-color-scheme") == (
                "default" if scheme == "light" else "slate"
            )
        page.fill(".md-search__input", "replay")
        page.press(".md-search__input", "End")  # the page reads what was typed when a key goes up
        page.wait_for_selector(".md-search-result__link", state="attached")
        browser.close()
    assert problems == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
