"""An auditor: the notebook in Jupyter Lab over an archived table, and the check that no file of it is missing."""

import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page

from demo.servers import Server, wait_until_healthy
from flows.archive import archive_recordings
from recordings.table.evidence import verify_audit
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.checkout import copy_checkout, interrupt, make, making, read_until
from tests.fixtures import MakeCall


@pytest.fixture
def audit_uri(prefect: Server, bucket: Bucket, a_call: MakeCall, tmp_path: Path) -> str:
    """The table of three archived calls, where make notebook looks for it."""
    audit_uri = str(tmp_path / "checkout" / ".demo" / "audit")
    for n in range(3):
        bucket.put(key_of(n), a_call(n, 1.0 + n))
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    return audit_uri


def test_the_notebook_runs_in_jupyter_lab_and_agrees_with_the_table(audit_uri: str, page: Page, tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    with making(checkout, "notebook") as lab:
        shown = read_until(lab, "?token=")
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/lab\S*\?token=\w+", shown)
        root, token = re.findall(r"^(.+?)/lab.*token=(\w+)", address)[0]
        wait_until_healthy(f"{root}/api/contents/audit_report.ipynb?content=0&token={token}", lab)
        page.goto(address)
        page.locator(".jp-Notebook h1").first.wait_for()
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(
            state="attached"
        )  # there is a kernel
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        archived = current(read_audit(audit_uri))
        for column in ("bytes_before", "bytes_after"):
            page.locator("table", has_text=f"{archived[column].sum():,}").first.wait_for()
        page.close()
        interrupt(lab, signal.SIGTERM)  # without a terminal, Jupyter does not handle Ctrl-C
    assert not verify_audit(audit_uri).discrepancies


def test_without_a_table_it_says_how_to_get_one(tmp_path: Path) -> None:
    assert "make demo writes one" in make(copy_checkout(tmp_path / "checkout"), "notebook", code=2)
