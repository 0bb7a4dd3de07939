"""A browser, as a person has one."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page

from demo.browser import new_page


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty page of Chromium, where there is one."""
    with ExitStack() as stack:
        try:
            page = stack.enter_context(new_page())
        except RuntimeError as missing:
            pytest.skip(str(missing))
        page.set_default_timeout(200_000)  # a busy machine is no failure
        yield page
