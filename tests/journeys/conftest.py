"""A browser, as a person has one, and the forms of the Prefect UI, as a person fills them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from demo.screenshots import chromium


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty tab of Playwright's own Chromium, or else of the one that is installed."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path).exists()
        installed = chromium()
        if not own and installed is None:
            pytest.skip("chromium is not installed")
        flags = ["--no-sandbox"]  # in containers root has no sandbox
        browser = playwright.chromium.launch(executable_path=None if own else installed, args=flags)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()
