"""A real browser for tests, and what every page has to keep to."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, ViewportSize, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
LONG = 60_000.0  # milliseconds before a test gives up
SERIOUS = ("serious", "critical")


def chromium() -> Path:
    """The browser; installed where this is a machine for tests, else the test is skipped with the reason."""
    if not CHROMIUM.exists() and os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        _install("update")
        _install(
            "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu"
        )
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    return CHROMIUM


def _install(*words: str) -> None:
    subprocess.run(["apt-get", "-qq", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser with nothing in it."""
    binary = chromium()
    with sync_playwright() as made:
        browser = started(made, binary)
        try:
            yield browser
        finally:
            browser.close()


def started(made: Playwright, binary: Path) -> Browser:
    return made.chromium.launch(executable_path=binary, args=FLAGS)


@dataclass
class Tab:
    """One page of the browser, and what went wrong in it."""

    page: Page
    address: str  # of the server
    troubles: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        """Open an address of the dashboard, and wait until it is drawn."""
        self.page.goto(f"{self.address}{path}", timeout=LONG)
        return self.page

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"{self.page.url}: {message.text}")

    def asked(self, request: Request) -> None:
        """Nothing may be fetched from anywhere else."""
        split, own = urlsplit(request.url), urlsplit(self.address)
        if split.scheme in ("http", "https") and split.netloc != own.netloc:
            self.troubles.append(f"asked {request.url}")

    def violations(self) -> list[str]:
        """What keeps people from using the page, of the serious kinds."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for each in found
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@contextmanager
def tab(browser: Browser, address: str, *, colours: str = "light", size: ViewportSize = DESK) -> Iterator[Tab]:
    """A page with cookies of its own; whatever went wrong in it fails the test."""
    dark = "dark" if colours == "dark" else "light"
    context = browser.new_context(color_scheme=dark, viewport=size, accept_downloads=True)
    context.set_default_timeout(LONG)
    opened = Tab(context.new_page(), address)
    opened.page.on("console", opened.heard)
    opened.page.on("pageerror", lambda error: opened.troubles.append(str(error)))
    opened.page.on("request", opened.asked)
    try:
        yield opened
    finally:
        context.close()
    assert not opened.troubles, opened.troubles
