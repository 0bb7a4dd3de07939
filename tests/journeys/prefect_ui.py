"""The Prefect UI, as a person uses it."""

import re
from datetime import date

from playwright.sync_api import Page


def open_run_form(page: Page, url: str, deployment: str) -> None:
    """From the start page: Deployments, this one by its name, since a page lists ten; then Run, Custom run."""
    page.goto(url)
    page.get_by_role("link", name="Deployments", exact=True).first.click()
    page.get_by_placeholder("Search deployments").fill(deployment)
    page.get_by_role("link", name=deployment, exact=True).first.click()  # a flow of the same name follows
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    page.get_by_role("button", name="Submit").wait_for()


def pick(page: Page, parameter: str, day: date) -> None:
    """Choose a date of the form."""
    page.get_by_label(parameter).click()
    typed = page.get_by_label("Date (yyyy-MM-dd)")
    typed.fill(day.isoformat())
    page.keyboard.press("Escape")
    typed.wait_for(state="detached")  # it fades


def submit(page: Page) -> str:
    """Submit the form, look at the run until it has ended, and return its state."""
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="View run").click()
    page.get_by_role("tab", name="Artifacts").wait_for()  # until then, the deployment's page shows how others ended
    ended = page.get_by_text("Completed", exact=True).or_(page.get_by_text("Failed", exact=True)).first
    ended.wait_for()
    return ended.inner_text()


def open_artifact(page: Page, key: str) -> str:
    """From a run's page, the text of an artifact that it published."""
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("tabpanel").get_by_role("link", name=key).click()
    page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$")).first.click()  # the newest of this key
    page.get_by_text("Flow Run", exact=True).first.wait_for()
    return page.inner_text("body")
