"""An operator at the Prefect UI: a backfill by its form, the report of its run, and a restore sent off too early."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page
from prefect.client.orchestration import SyncPrefectClient

from demo.servers import Server
from flows.archive import archive_recordings
from flows.expire import expire_recordings
from recordings.retention_rules import RetentionRule
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.deployed import deployment, runs_of
from tests.fixtures import MakeCall
from tests.journeys.prefect_ui import open_artifact, open_run_form, pick, send, submit


@pytest.fixture
def audit_uri(
    client: SyncPrefectClient, env: dict[str, str], bucket: Bucket, a_call: MakeCall, tmp_path: Path
) -> Iterator[str]:
    """Three calls of a day in a bucket that the deployments know: the audit table's address."""
    for n in range(3):
        bucket.put(key_of(n), a_call(n, 1.0 + n))
    audit_uri = str(tmp_path / "audit")
    changed = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri}
    before = {name: deployment(client, name) for name in ("archive-day", "backfill", "restore")}
    for each in before.values():
        known = {name: value for name, value in changed.items() if name in each.parameters}
        client.request(
            "PATCH", "/deployments/{id}", path_params={"id": each.id}, json={"parameters": each.parameters | known}
        )
    yield audit_uri
    for each in before.values():
        client.request("PATCH", "/deployments/{id}", path_params={"id": each.id}, json={"parameters": each.parameters})


@pytest.mark.usefixtures("worker")
def test_a_backfill_by_the_form_reports_what_the_audit_table_has(page: Page, prefect: Server, audit_uri: str) -> None:
    open_run_form(page, prefect.url, "backfill")
    pick(page, "start_date", DAY)
    pick(page, "end_date", DAY)
    assert submit(page) == "Completed"
    page.get_by_role("tab", name="Subflow Runs").click()
    page.get_by_role("tabpanel").get_by_role("link", name=f"archive {DAY}").first.click()  # not the flow's link beside
    report = open_artifact(page, "archive-report")
    rows = read_audit(audit_uri)
    assert rows["status"].tolist() == ["archived"] * 3
    assert f"{rows['bytes_before'].sum():,}" in report
    assert f"{rows['bytes_after'].sum():,}" in report


@pytest.fixture
def archived_uri(audit_uri: str, bucket: Bucket) -> str:
    """The same, with the calls archived."""
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    return audit_uri


@pytest.mark.usefixtures("worker")
def test_a_restore_sent_as_its_form_opens_restores_nothing(
    archived_uri: str, prefect: Server, client: SyncPrefectClient, bucket: Bucket, page: Page
) -> None:
    versions = bucket.client.list_object_versions(Bucket=bucket.name)["Versions"]
    open_run_form(page, prefect.url, "restore")
    assert submit(page) == "Failed"
    (run,) = runs_of(client, "restore")
    assert run.state
    assert "nothing is selected, so nothing was touched: give contact_ids, " in str(run.state.message)
    assert bucket.client.list_object_versions(Bucket=bucket.name)["Versions"] == versions
    assert current(read_audit(archived_uri))["status"].tolist() == ["archived"] * 3


@pytest.mark.usefixtures("worker")
def test_a_restore_takes_its_dates_by_the_form_as_it_opens(archived_uri: str, prefect: Server, page: Page) -> None:
    """No choice between a date and None comes first, and the lists that stay empty narrow nothing."""
    open_run_form(page, prefect.url, "restore")
    pick(page, "start_date", DAY)
    pick(page, "end_date", DAY)
    assert submit(page) == "Completed"
    assert "3 recordings would be restored" in open_artifact(page, "restore-report")
    assert current(read_audit(archived_uri))["status"].tolist() == ["archived"] * 3


def test_rules_of_retention_arrive_as_the_form_shows_them(
    page: Page, prefect: Server, client: SyncPrefectClient, env: dict[str, str]
) -> None:
    """Untouched, the form sends none, so that the setting counts; filled in, None keeps for ever.

    No worker is needed: the run's parameters are what the form has sent.
    """
    assert "rules" not in sent_by(page, prefect, client)

    def fill_in(page: Page) -> None:
        for _ in range(2):
            page.get_by_role("button", name="Add item").first.click()  # that of the rules comes first
        page.get_by_label("Tag").nth(1).wait_for()
        page.get_by_label("Tag").first.fill("retention=short")
        page.locator("input[type=number]").first.fill("90")
        page.get_by_role("tab", name="None", exact=True).last.click()
        page.get_by_text('Property is type "None"').wait_for()

    sent = sent_by(page, prefect, client, fill_in)["rules"]
    assert sent == [
        {"prefix": "", "tag": "retention=short", "keep_days": 90},
        {"prefix": "", "tag": "", "keep_days": None},
    ]
    validated = expire_recordings.validate_parameters(
        {"bucket": "b", "audit_uri": "a", "prefixes": [""], "rules": sent}
    )
    assert validated["rules"] == [RetentionRule(tag="retention=short", keep_days=90), RetentionRule(keep_days=None)]


def sent_by(
    page: Page, prefect: Server, client: SyncPrefectClient, fill_in: Callable[[Page], None] = lambda _: None
) -> dict[str, Any]:
    """The parameters of the run that the form of an expiry creates; the run is deleted."""
    open_run_form(page, prefect.url, "expire-recordings")
    page.get_by_label("audit_uri").wait_for()
    fill_in(page)
    run = client.read_flow_run(UUID(send(page)))
    client.delete_flow_run(run.id)
    return run.parameters
