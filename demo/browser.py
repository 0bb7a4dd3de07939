"""Chromium without a window: Playwright's own, or else the one that is installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, sync_playwright

Scheme = Literal["light", "dark"]


def chromium() -> str | None:
    """Where an installed Chromium is; None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def new_page(*, width: int = 1400, height: int = 1000, scheme: Scheme = "light") -> Iterator[Page]:
    """An empty page, of this size, of a new browser. Raises RuntimeError where there is no Chromium."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path).exists()
        if not own and chromium() is None:
            raise RuntimeError("chromium is not installed: .venv/bin/playwright install chromium, or your system's own")
        browser = playwright.chromium.launch(
            executable_path=None if own else chromium(),
            args=["--no-sandbox"],  # root in a container has none
        )
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(60_000)
        try:
            yield page
        finally:
            browser.close()
