"""An operator at the Prefect UI: a backfill by its form, the report of its run, and a restore sent off too early."""

from collections.abc import Iterator
from typing import Any

import pytest

from demo.servers import Server
from flows.archive import archive_recordings
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.deployed import deployment, runs_of
from tests.journeys.prefect_ui import open_artifact, open_run_form, pick, submit


@pytest.fixture
def place(client: Any, env: dict[str, str], bucket: Bucket, a_call: Any, tmp_path: Any) -> Iterator[str]:
    """Three calls of a day in a bucket that the deployments know: the audit table's address."""
    for n in range(3):
        bucket.put(key_of(n), a_call(n, 1.0 + n))
    changed = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": str(tmp_path / "audit")}
    before = {name: deployment(client, name) for name in ("archive-day", "backfill", "restore")}
    for each in before.values():
        known = {name: value for name, value in changed.items() if name in each.parameters}
        client.request(
            "PATCH", "/deployments/{id}", path_params={"id": each.id}, json={"parameters": each.parameters | known}
        )
    yield changed["audit_uri"]
    for each in before.values():
        client.request("PATCH", "/deployments/{id}", path_params={"id": each.id}, json={"parameters": each.parameters})


@pytest.mark.usefixtures("worker")
def test_a_backfill_by_the_form_reports_what_the_audit_table_has(page: Any, prefect: Server, place: str) -> None:
    open_run_form(page, prefect.url, "backfill")
    pick(page, "start_date", DAY)
    pick(page, "end_date", DAY)
    assert submit(page) == "Completed"
    page.get_by_role("tab", name="Subflow Runs").click()
    page.get_by_role("tabpanel").get_by_role("link", name=f"archive {DAY}").first.click()  # not the flow's link beside
    report = open_artifact(page, "archive-report")
    rows = read_audit(place)
    assert rows["status"].tolist() == ["archived"] * 3
    assert f"{rows['bytes_before'].sum():,}" in report
    assert f"{rows['bytes_after'].sum():,}" in report


@pytest.fixture
def archived(place: str, bucket: Bucket) -> str:
    """The same, with the calls archived."""
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=place, start_date=DAY, end_date=DAY)
    return place


@pytest.mark.usefixtures("worker")
def test_a_restore_sent_as_its_form_opens_restores_nothing(
    archived: str, prefect: Server, client: Any, bucket: Bucket, page: Any
) -> None:
    versions = bucket.client.list_object_versions(Bucket=bucket.name)["Versions"]
    open_run_form(page, prefect.url, "restore")
    assert submit(page) == "Failed"
    (run,) = runs_of(client, "restore")
    assert "nothing is selected, so nothing was touched: give contact_ids, " in run.state.message
    assert bucket.client.list_object_versions(Bucket=bucket.name)["Versions"] == versions
    assert current(read_audit(archived))["status"].tolist() == ["archived"] * 3


@pytest.mark.usefixtures("worker")
def test_a_restore_takes_its_dates_by_the_form_as_it_opens(archived: str, prefect: Server, page: Any) -> None:
    """No choice between a date and None comes first, and the lists that stay empty narrow nothing."""
    open_run_form(page, prefect.url, "restore")
    pick(page, "start_date", DAY)
    pick(page, "end_date", DAY)
    assert submit(page) == "Completed"
    assert "3 recordings would be restored" in open_artifact(page, "restore-report")
    assert current(read_audit(archived))["status"].tolist() == ["archived"] * 3
