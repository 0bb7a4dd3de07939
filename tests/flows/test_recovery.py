"""Runs whose process or machine dies: their silence is noticed and reported, and a retry completes their work.

``BACKFILL_DAYS=10`` runs the long version: two workers; one day's process is killed, then a worker with all processes.
"""

import os
import signal
import time
import uuid
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import SendNotification
from prefect.states import AwaitingRetry

from demo.servers import child
from demo.ui import PREFECT, deploy
from deployments.automations import automations
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.deployed import artifacts_of, deployment, eventually, final_state, notice_within, runs_of
from tests.fixtures import MakeCall
from tests.flows.backfills import archived_once, days_started, process_of, rows_of, start

LONG_DAYS = int(os.environ.get("BACKFILL_DAYS", "0"))


def test_automations_are_installed_once_and_those_that_notify_are_off(
    client: SyncPrefectClient, env: dict[str, str]
) -> None:
    deploy(env)  # again
    there = [each["name"] for each in client.request("POST", "/automations/filter", json={}).json()]
    assert sorted(there) == ["recording archive, dead runs", "recording archive, never started"]


def test_with_a_block_they_notify_through_it() -> None:
    block = uuid.uuid4()
    blocks = {
        each.name: [action.block_document_id for action in each.actions if isinstance(action, SendNotification)]
        for each in automations({}, block)
    }
    recovering = {each.name for each in automations({}, None)}
    assert recovering < blocks.keys()
    assert all(each == ([] if name in recovering else [block]) for name, each in blocks.items())


@pytest.mark.timeout(900)
def test_a_stopped_task_is_scheduled_again_and_finishes(
    client: SyncPrefectClient, env: dict[str, str], bucket: Bucket, a_call: MakeCall, tmp_path: Path
) -> None:
    """The image's command, with its environment, ended by SIGTERM as ECS ends a task on Spot."""
    calls = {key_of(n): a_call(n, 1.0) for n in range(60)}
    for key, body in calls.items():
        bucket.put(key, body)
    place = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": str(tmp_path / "audit"), "batch_size": 1}
    run = client.create_flow_run_from_deployment(
        deployment(client, "archive-day").id,
        parameters={**place, "start_date": str(DAY), "end_date": str(DAY)},
        work_queue_name="elsewhere",  # the tests' worker takes no run from it
    )
    as_in_image = {
        **env,
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",
        "PREFECT__FLOW_RUN_ID": str(run.id),
    }
    with child([*PREFECT, "flow-run", "execute"], as_in_image, tmp_path / "task.log") as task:
        eventually(lambda: len(bucket.snapshot()) > len(calls) + 3)  # its rows are written when it ends
        task.send_signal(signal.SIGTERM)
        task.wait(60)
    assert task.returncode == 0, (tmp_path / "task.log").read_text()
    state = client.read_flow_run(run.id).state
    assert state
    assert state.name == "AwaitingRetry"
    with child([*PREFECT, "flow-run", "execute"], as_in_image, tmp_path / "task.log") as task:
        task.wait(120)
    state = final_state(client, run.id)
    assert state
    assert state.type is StateType.COMPLETED
    archived_once(bucket, str(tmp_path / "audit"), calls)


@pytest.mark.timeout(1200)
@pytest.mark.skipif(not LONG_DAYS, reason="BACKFILL_DAYS is not set: five minutes")
def test_a_worker_and_its_runs_vanish_in_the_middle_of_a_backfill(
    client: SyncPrefectClient, env: dict[str, str], bucket: Bucket, a_call: MakeCall, tmp_path: Path
) -> None:
    calls = {key_of(n, DAY + timedelta(days=n % LONG_DAYS)): a_call(n, 1.0) for n in range(80 * LONG_DAYS)}
    for key, body in calls.items():
        bucket.put(key, body)
    audit_uri = str(tmp_path / "audit")
    place: dict[str, Any] = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri}
    place |= {"start_date": DAY, "end_date": DAY + timedelta(days=LONG_DAYS - 1), "batch_size": 1, "max_parallel": 4}
    notice_within(60, client, "recording archive, never started")  # no image has to be pulled here
    command = [*PREFECT, "worker", "start", "--pool", env["ARCHIVE_WORK_POOL"], "--limit", "3"]
    fast = {**env, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with child(command, fast, tmp_path / "a.log") as a, child(command, fast, tmp_path / "b.log") as b:
        parent = start(client, place)
        keeper = eventually(lambda: next((each for each in (a, b) if process_of(each, parent)), None))
        doomed = b if keeper is a else a
        eventually(lambda: running_on(client, place, doomed))
        for each in [psutil.Process(doomed.pid), *psutil.Process(doomed.pid).children(recursive=True)]:
            each.kill()
        victim = eventually(lambda: running_on(client, place, keeper))
        os.kill(eventually(partial(process_of, keeper, victim)).pid, signal.SIGKILL)
        state = eventually(lambda: final_state(client, parent.id), 600)
        table = {
            day: cells[0] for day, cells in rows_of(artifacts_of(client, parent.id)["backfill-report"].data).items()
        }
        print(f"{state.name}: {table}")
        assert state.type is StateType.FAILED
        lost = [portion for portion, ended in table.items() if ended == "Crashed"]
        assert len(lost) >= 2
        assert all(portion in str(state.message) for portion in lost)
        before = len(runs_of(client, "archive-day"))
        time.sleep(5)  # a worker with a limit dies of a run that comes back before its process is quite gone
        client.set_flow_run_state(parent.id, AwaitingRetry(), force=True)
        state = eventually(lambda: final_state(client, parent.id))
    assert state.type is StateType.COMPLETED
    assert len(runs_of(client, "archive-day")) == before + len(lost)
    archived_once(bucket, audit_uri, calls)


def running_on(client: Any, place: dict[str, Any], worker: Any) -> Any:
    """A day that works in a process of this worker."""
    days = days_started(client, place, StateType.RUNNING).values()
    return next((day for day in days if process_of(worker, day)), None)
