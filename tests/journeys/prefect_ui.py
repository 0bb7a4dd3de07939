"""The Prefect UI, as a person uses it."""

import re
from datetime import date
from http import HTTPStatus

from playwright.sync_api import Page


def open_run_form(page: Page, url: str, deployment: str) -> None:
    """From the start page: Deployments, this one by its name, since a page lists ten; then Run, Custom run."""
    page.goto(url)
    page.get_by_role("link", name="Deployments", exact=True).first.click()
    page.get_by_placeholder("Search deployments").fill(deployment)
    page.wait_for_url(re.compile(f"flowOrDeploymentName={deployment}"))  # a search that comes later leads back here
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


def send(page: Page) -> str:
    """Submit the form; the id of the run that it creates. Its notice with a link to the run fades.

    A server on SQLite that is busy says so (503), and a person submits again.
    """
    while True:
        with page.expect_response(lambda answer: answer.url.endswith("/create_flow_run")) as answer:
            page.get_by_role("button", name="Submit").click()
        if answer.value.status != HTTPStatus.SERVICE_UNAVAILABLE:
            assert answer.value.ok, answer.value.text()
            return str(answer.value.json()["id"])


def submit(page: Page) -> str:
    """Submit the form, look at the run until it has ended, and return its state."""
    ui = page.url.partition("/deployments/")[0]
    page.goto(f"{ui}/runs/flow-run/{send(page)}")
    page.get_by_role("tab", name="Artifacts").wait_for()
    ended = page.get_by_text("Completed", exact=True).or_(page.get_by_text("Failed", exact=True)).first
    ended.wait_for()
    return ended.inner_text()


def open_artifact(page: Page, key: str) -> str:
    """From a run's page, the text of an artifact that it published."""
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("tabpanel").get_by_role("link", name=key).click()
    page.get_by_text("Flow Run", exact=True).first.wait_for()
    return page.inner_text("body")
