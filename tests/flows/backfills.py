"""Backfills by the deployment: started, their days and the processes of these found, and what has come of them."""

import subprocess
from datetime import date
from operator import attrgetter
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from recordings.table.reading import current, read_audit
from tests.bucket import Bucket
from tests.deployed import deployment, runs_of


def start(client: SyncPrefectClient, place: dict[str, Any], **more: Any) -> FlowRun:
    """The parent run of a backfill of this place, not begun."""
    parameters = {name: value.isoformat() if isinstance(value, date) else value for name, value in place.items()}
    return client.create_flow_run_from_deployment(deployment(client, "backfill").id, parameters={**parameters, **more})


def days_started(client: SyncPrefectClient, place: dict[str, Any], *states: StateType) -> dict[str, FlowRun]:
    """The newest run of each day of this place, by day; of all runs or those in these states."""
    runs = (run for run in runs_of(client, "archive-day", *states) if run.parameters["bucket"] == place["bucket"])
    return {run.parameters["start_date"]: run for run in sorted(runs, key=attrgetter("created"))}


def process_of(worker: subprocess.Popen[bytes], run: FlowRun) -> psutil.Process | None:
    """The process that a worker has started for a flow run."""
    for each in psutil.Process(worker.pid).children(recursive=True):
        try:
            if each.environ().get("PREFECT__FLOW_RUN_ID") == str(run.id):
                return each
        except psutil.Error:
            continue
    return None


def rows_of(report: str) -> dict[str, list[str]]:
    """The cells of a report's days, by day."""
    lines = [line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith("| 2026-")]
    return {day: cells for day, *cells in lines}


def archived_once(bucket: Bucket, audit_uri: str, calls: dict[str, bytes]) -> None:
    """The table and the bucket say that each call was archived, verified and tagged, and once."""
    table = current(read_audit(audit_uri))
    assert sorted(table["key"]) == sorted(calls)
    assert (table["verified"] & table["tagged"]).all()
    assert all(len(bucket.versions(key)) == 2 for key in calls)
