"""The automations that notify, on a real server, through a webhook with a listener."""

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import emit_event

from deployments.automations import plan_automations
from deployments.estate import NOTIFY, Place
from flows.report import report_savings
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.deployed import deployment, eventually, final_state, notice_within, scheduled_soon
from tests.fixtures import MakeCall

pytestmark = [pytest.mark.usefixtures("worker"), pytest.mark.timeout(900)]


class Webhook:
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        self.received: list[dict[str, str]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def about(self, words: str) -> dict[str, str] | None:
        """The first notification whose subject or body has these words."""
        return next((each for each in self.received if words in each["subject"] or words in each["body"]), None)


@pytest.fixture(scope="module")
def webhook(client: SyncPrefectClient, env: dict[str, str]) -> Iterator[Webhook]:
    """Where notifications arrive; they are off again afterwards."""
    webhook = Webhook()
    thread = threading.Thread(target=webhook.server.serve_forever)
    thread.start()
    text = {"subject": "{{subject}}", "body": "{{body}}"}
    CustomWebhookNotificationBlock(name="archive", url=webhook.url, json_data=text).save("archive", overwrite=True)
    os.environ["ARCHIVE_WORK_POOL"] = "a pool without a worker"
    try:
        install(client, "custom-webhook/archive")
        yield webhook
    finally:
        del os.environ["ARCHIVE_WORK_POOL"]
        install(client, "")
        webhook.server.shutdown()
        webhook.server.server_close()
        thread.join()


def install(client: SyncPrefectClient, block_name: str) -> None:
    shell = {**os.environ, NOTIFY: block_name}
    for plan in plan_automations(client, shell, [Place(variables=shell)], reset=True):
        plan.carry_out()


class StartArchiveDay(Protocol):
    def __call__(self, *, bucket: str = ...) -> FlowRun: ...


@pytest.fixture
def start_archive_day(client: SyncPrefectClient, bucket: Bucket, tmp_path: Path) -> StartArchiveDay:
    """Start a run of the deployment."""
    place = {"prefixes": [PREFIX], "audit_uri": str(tmp_path / "audit"), "start_date": str(DAY), "end_date": str(DAY)}
    return lambda *, bucket=bucket.name: client.create_flow_run_from_deployment(
        deployment(client, "archive-day").id, parameters={**place, "bucket": bucket}
    )


def test_a_failed_run_is_told(webhook: Webhook, start_archive_day: StartArchiveDay) -> None:
    start_archive_day(bucket="there-is-no-such-bucket")
    told = eventually(lambda: webhook.about("there is no bucket named"))
    assert told["subject"] == "Recording archive: archive 2026-01-12 Failed"
    assert "there is no bucket named 'there-is-no-such-bucket'" in told["body"]
    assert "/runs/flow-run/" in told["body"]


def test_a_loss_is_told(
    webhook: Webhook, client: SyncPrefectClient, bucket: Bucket, originals: dict[str, str], audit_uri: str
) -> None:
    """By the weekly reconciliation as it is deployed."""
    bucket.client.delete_object(Bucket=bucket.name, Key=key_of(1))
    place = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri}
    dates = {"start_date": str(DAY), "end_date": str(DAY)}
    weekly = deployment(client, "reconcile-weekly")
    client.create_flow_run_from_deployment(weekly.id, parameters={**place, **dates})
    told = eventually(lambda: webhook.about(f"compare table and {bucket.name}, {DAY}"))
    assert told["subject"] == f"Recording archive: compare table and {bucket.name}, {DAY} Failed"
    assert f"{key_of(1)}: vanished, the table says archived, but the key has no current version" in told["body"]
    assert f"{key_of(1)}: vanished" in eventually(lambda: webhook.about("something is lost"))["body"]


def test_many_rejects_are_told(
    webhook: Webhook, start_archive_day: StartArchiveDay, bucket: Bucket, a_call: MakeCall
) -> None:
    for number in range(3):
        bucket.put(key_of(number), a_call(number)[: None if number else 100])
    start_archive_day()
    told = eventually(lambda: webhook.about("many recordings rejected"))
    assert "1 rejected" in told["body"]


def test_a_missing_run_is_told_only_after_one_that_its_schedule_started(
    webhook: Webhook,
    client: SyncPrefectClient,
    bucket: Bucket,
    a_call: MakeCall,
    tmp_path: Path,
    start_archive_day: StartArchiveDay,
) -> None:
    notice_within(10, client, "recording archive, no run in 26 hours")
    bucket.put(key_of(1), a_call())
    by_hand = start_archive_day()
    eventually(lambda: final_state(client, by_hand.id))
    today = datetime.now(UTC).date()
    bucket.put(key_of(2, today - timedelta(days=7)), a_call())
    assert not webhook.about("no daily run has succeeded")
    place = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": str(tmp_path / "scheduled")}
    with scheduled_soon(client, "archive-daily", place) as runs:
        eventually(lambda: runs(StateType.COMPLETED))
    told = eventually(lambda: webhook.about("no daily run has succeeded"))
    assert told["body"].endswith(f"recording-archive.schedule.archive-recordings.{place['audit_uri']}")


def test_a_worker_that_is_gone_is_told(webhook: Webhook, client: SyncPrefectClient) -> None:
    """By the event that the server emits once a pool's last worker has gone; here, for a pool that has had none."""
    notice_within(10, client, "recording archive, worker gone")

    def told_of_another_pool() -> Any:
        """An event that arrives while the server takes up a changed automation is lost; so they are repeated."""
        pool = {
            "prefect.resource.id": f"prefect.work-pool.{uuid4()}",
            "prefect.resource.name": "a pool without a worker",
        }
        emit_event("prefect.work-pool.not-ready", resource=pool)
        return webhook.about("the worker is gone")

    assert eventually(told_of_another_pool)


def test_overdue_originals_are_told(
    webhook: Webhook,
    client: SyncPrefectClient,
    originals: dict[str, str],
    audit_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a report that is scheduled for a later day than today."""
    monkeypatch.setattr("tasks.report.scheduled_on", lambda: datetime.now(UTC).date() + timedelta(days=16))
    assert report_savings(audit_uri).originals_overdue == 3
    assert "3 originals wait" in eventually(lambda: webhook.about("wait for longer than planned"))["body"]
