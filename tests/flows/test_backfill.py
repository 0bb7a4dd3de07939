"""Backfills archive every day once, a few at a time, on a real server with a real worker, even if one is killed."""

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.exceptions import ParameterTypeError
from prefect.runtime import flow_run
from prefect.states import AwaitingRetry, Cancelling, Pending

import tasks.backfill
import tasks.stages
from flows.archive import archive_recordings
from flows.backfill import backfill_recordings
from recordings.backfill.portions import Portion, parameters_of
from recordings.backfill.summary import BackfillFailed
from recordings.errors import InvalidRequest
from recordings.finding import PreflightFailed
from recordings.resample import resample_batch
from recordings.table.reading import read_audit
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.deployed import artifact, artifacts_of, eventually, final_state, runs_of
from tests.fixtures import BackfillDays, MakeCall, PlanRun, Setting
from tests.flows.backfills import archived_once, days_started, process_of, rows_of, start

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def audit_uri(tmp_path: Path) -> str:
    return str(tmp_path / "audit")


@pytest.fixture
def calls(bucket: Bucket, a_call: MakeCall) -> dict[str, bytes]:
    """Twelve calls over three days."""
    bodies = {key_of(n, DAY + timedelta(days=n % 3)): a_call(n, 1.0) for n in range(12)}
    for key, body in bodies.items():
        bucket.put(key, body)
    return bodies


@pytest.fixture
def place(bucket: Bucket, audit_uri: str) -> dict[str, Any]:
    last = DAY + timedelta(days=2)
    return {
        **{"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri},
        **{"start_date": DAY, "end_date": last, "readback_percent": 0},
    }


@pytest.fixture
def backfill(place: dict[str, Any]) -> BackfillDays:
    return partial(backfill_recordings, **place)


def test_days_run_in_this_process_and_only_once(
    bucket: Bucket, backfill: BackfillDays, calls: dict[str, bytes], audit_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = backfill()
    assert (first.days, first.finished_before, first.counts) == (3, 0, {"archived": 12})
    archived_once(bucket, audit_uri, calls)
    assert "a sample of 3 of the 3 days left: 0 of 12 recordings that can be archived are worth it" in caplog.text
    before = len(bucket.requests())
    second = backfill()
    assert (second.days, second.finished_before, second.counts) == (3, 3, {"archived": 12})
    assert float(artifact("backfill-progress")) == 100
    assert second.bytes_before == first.bytes_before == sum(map(len, calls.values()))
    assert bucket.requests_by_kind(before)["GET"] == 10  # preflight's and the canary's; no day is looked at


def test_a_large_day_is_cut_into_shards(
    bucket: Bucket, backfill: BackfillDays, audit_uri: str, a_call: MakeCall
) -> None:
    keys = [key_of(n).replace("00000000-", f"{letter * 8}-", 1) for n, letter in enumerate("00af")]
    for number, key in enumerate(keys):
        bucket.put(key, a_call(number, 1.0))
    summary = backfill(end_date=DAY, shard_above=2)
    assert (summary.days, summary.counts) == (1, {"archived": 4})
    assert len(read_audit(audit_uri)["run_id"].unique()) == 3
    again = backfill(end_date=DAY, shard_above=2)
    assert (again.days, again.days_finished, again.finished_before) == (1, 1, 1)
    assert "1 of 1 day finished" in str(again)
    ahead = backfill(end_date=DAY, shard_above=2, dry_run=True)
    assert str(ahead) == "dry run: 0 of 1 day left to archive, 0 recordings planned"


def test_a_damaged_file_costs_its_day_alone(backfill: BackfillDays, calls: dict[str, bytes], audit_uri: str) -> None:
    backfill()
    file = next(Path(audit_uri, "recording_date=2026-01-13").iterdir())
    file.write_bytes(b"no Parquet")
    with pytest.raises(BackfillFailed, match=r"2 of 3 days finished.*2026-01-13 .*cannot be read") as failed:
        backfill()
    assert failed.value.summary.counts == {"archived": 8}
    name = f"2026-01-13 {file.parent.name}/{file.name} in the audit table cannot be read"
    assert name in artifact("backfill-report")
    assert rows_of(artifact("backfill-report"))["2026-01-13"][:2] == ["not finished", "audit table damaged"]
    started = [
        each.name
        for each in Path(audit_uri, "_runs").glob("*.start.json")
        if "backfill" in json.loads(each.read_text())
    ]
    assert all(Path(audit_uri, "_runs", name.replace(".start.", ".covered.")).exists() for name in started)
    ahead = backfill(dry_run=True)
    assert (ahead.days, ahead.days_finished, ahead.finished_before, ahead.failed) == (3, 2, 3, ("2026-01-13",))
    assert "0 recordings planned. Cannot be finished: 2026-01-13. " + name in str(ahead)
    assert "**warning, audit-damaged**" in artifact("savings-forecast")


@pytest.mark.parametrize("name", ["nope", "archive-recordings/nope"])
def test_a_deployment_that_does_not_exist_is_refused_before_anything_is_written(
    backfill: BackfillDays, audit_uri: str, name: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"deployment '{name}' does not exist"):
        backfill(deployment=name)
    assert not Path(audit_uri).exists()


@pytest.mark.usefixtures("env")
def test_a_deployment_that_does_not_archive_is_refused_before_anything_is_started(
    client: SyncPrefectClient, backfill: BackfillDays, audit_uri: str
) -> None:
    before = {run.id for run in runs_of(client, "restore")}
    with pytest.raises(InvalidRequest, match="'restore-recordings/restore' starts restore-recordings, which does not"):
        backfill(deployment="restore-recordings/restore")
    assert not Path(audit_uri).exists()
    assert {run.id for run in runs_of(client, "restore")} == before


def test_a_day_that_fails_is_named_and_only_it_is_run_again(
    bucket: Bucket, backfill: BackfillDays, calls: dict[str, bytes], audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug hits a batch of one day: no real part shows one at will. What else the day archived counts."""
    day, hit = DAY + timedelta(days=1), list[str]()

    def broken(store: Any, batch: Any, *rest: Any) -> Any:
        if batch.date == day and batch.number == 2:
            hit.extend(recording.key for recording in batch.recordings)
            raise ZeroDivisionError("a bug")
        return resample_batch(store, batch, *rest)

    monkeypatch.setattr(tasks.stages, "resample_batch", broken)
    with pytest.raises(BackfillFailed, match=r"2 of 3 days finished.*Not finished: 2026-01-13\. ") as failed:
        backfill(batch_size=3)
    summary = failed.value.summary
    assert (summary.failed, summary.counts) == (("2026-01-13",), {"archived": 11, "failed": 1})
    (reason,) = summary.reasons
    assert reason.startswith("2026-01-13 failed: RunFailed: run 2026")
    assert f"{hit[0]}: stage-failed: ZeroDivisionError: a bug" in reason
    assert reason.count("/runs/flow-run/") == 1
    assert reason in str(failed.value)
    report = artifact("backfill-report")
    assert report.index(f"- {reason}") < report.index("| day |")
    assert rows_of(report)["2026-01-13"][:2] == ["Failed", "3 archived, 1 failed"]
    monkeypatch.setattr(tasks.stages, "resample_batch", resample_batch)
    summary = backfill()
    assert (summary.finished_before, summary.counts) == (2, {"archived": 12})
    assert rows_of(artifact("backfill-report"))["2026-01-13"][:2] == ["Completed", "4 archived"]
    archived_once(bucket, audit_uri, calls)


def test_totals_are_of_what_the_recordings_are_now(
    backfill: BackfillDays, place: dict[str, Any], calls: dict[str, bytes]
) -> None:
    """A run over all the days came first, and then one that found nothing to do: neither hides the other."""
    archive_recordings(**place)
    archive_recordings(**place)
    summary = backfill()
    assert (summary.finished_before, summary.counts) == (3, {"archived": 12})
    assert summary.minutes == pytest.approx(12 / 60)
    assert rows_of(artifact("backfill-report"))["2026-01-14"][:2] == ["finished before", "4 archived"]


def test_a_dry_run_ends_in_the_estimate_and_writes_nothing(
    bucket: Bucket, backfill: BackfillDays, calls: dict[str, bytes], audit_uri: str, client: SyncPrefectClient
) -> None:
    backfill(end_date=DAY)
    records = [json.loads(path.read_text()) for path in Path(audit_uri).glob("_runs/*.start.json")]
    (parent,) = [record["circumstances"] for record in records if "backfill" in record]
    (child,) = [record["circumstances"] for record in records if "backfill" not in record]
    assert (parent["flow_run_name"], child["flow_run_name"]) == ("backfill 2026-01-12", "archive 2026-01-12")
    assert parent["versions"]["prefect"]

    before, files, sent = bucket.snapshot(), everything_in(audit_uri), len(bucket.requests())
    summary = backfill(dry_run=True)
    assert (summary.days, summary.finished_before, summary.counts) == (3, 1, {"planned": 8})
    assert str(summary) == "dry run: 2 of 3 days left to archive, 8 recordings planned"
    assert "8 recordings left to archive" in artifact("savings-forecast")
    assert {method for method, _ in bucket.requests()[sent:]} == {"GET"}
    assert (bucket.snapshot(), everything_in(audit_uri)) == (before, files)
    newest = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=10)
    assert "dry run: backfill 2026-01-12 ... 2026-01-14" in [run.name for run in newest]


def everything_in(folder: str) -> list[Path]:
    return sorted(Path(folder).rglob("*"))


@pytest.mark.parametrize("empty", ["", " ", None])
def test_an_empty_date_is_refused_with_a_sentence(backfill: BackfillDays, empty: str | None) -> None:
    sent: dict[str, Any] = {"start_date": empty}  # as the form sends it
    with pytest.raises(ParameterTypeError, match="start_date: Value error, the field is empty: give a UTC day"):
        backfill(**sent)


def test_a_wrong_prefix_is_no_empty_backfill(backfill: BackfillDays, calls: dict[str, bytes], audit_uri: str) -> None:
    with pytest.raises(PreflightFailed, match="nothing-below-prefix"):
        backfill(prefixes=["connect/Acme/CallRecordings/"])
    assert not Path(audit_uri).exists()
    backfill(prefixes=[PREFIX, "connect/Acme/CallRecordings/"], end_date=DAY)
    assert "**warning, nothing-below-prefix**" in artifact("backfill-report")


@pytest.mark.timeout(900)
def test_a_killed_day_is_reported_and_a_retry_runs_only_that(
    client: SyncPrefectClient,
    env: dict[str, str],
    worker: subprocess.Popen[bytes],
    bucket: Bucket,
    calls: dict[str, bytes],
    place: dict[str, Any],
    audit_uri: str,
) -> None:
    parent = start(client, place, max_parallel=2, batch_size=1)
    victim = eventually(lambda: days_started(client, place, StateType.PENDING, StateType.RUNNING).get("2026-01-13"))
    process = eventually(lambda: process_of(worker, victim))
    os.kill(process.pid, signal.SIGKILL)
    state = eventually(lambda: final_state(client, parent.id))
    assert state.type is StateType.FAILED
    assert "Not finished: 2026-01-13" in str(state.message)
    table = {day: cells[0] for day, cells in rows_of(artifacts_of(client, parent.id)["backfill-report"].data).items()}
    assert table == {"2026-01-12": "Completed", "2026-01-13": "Crashed", "2026-01-14": "Completed"}

    runs = len(runs_of(client, "archive-day"))
    client.set_flow_run_state(parent.id, retry(), force=True)
    state = eventually(lambda: final_state(client, parent.id))
    assert state.type is StateType.COMPLETED
    assert len(runs_of(client, "archive-day")) == runs + 1
    archived_once(bucket, audit_uri, calls)


def retry() -> Any:
    """What the Retry button of the UI sets."""
    return AwaitingRetry()


@pytest.mark.timeout(900)
def test_cancelling_a_backfill_cancels_its_days(
    client: SyncPrefectClient,
    env: dict[str, str],
    worker: subprocess.Popen[bytes],
    calls: dict[str, bytes],
    place: dict[str, Any],
) -> None:
    parent = start(client, place, max_parallel=1)
    day = eventually(lambda: days_started(client, place).get("2026-01-12"))
    client.set_flow_run_state(parent.id, Cancelling())
    assert eventually(lambda: final_state(client, parent.id)).type is StateType.CANCELLED
    assert eventually(lambda: final_state(client, day.id)), client.read_flow_run(day.id).state
    assert "2026-01-13" not in days_started(client, place)


@pytest.mark.timeout(900)
def test_a_paused_pool_holds_a_backfill_until_it_is_resumed(
    client: SyncPrefectClient,
    env: dict[str, str],
    worker: subprocess.Popen[bytes],
    bucket: Bucket,
    calls: dict[str, bytes],
    place: dict[str, Any],
    audit_uri: str,
) -> None:
    pool = env["ARCHIVE_WORK_POOL"]
    parent = start(client, place, max_parallel=1)
    eventually(lambda: days_started(client, place, StateType.PENDING, StateType.RUNNING).get("2026-01-12"))
    client.update_work_pool(pool, WorkPoolUpdate(is_paused=True))
    try:
        second = eventually(lambda: days_started(client, place).get("2026-01-13"))
        time.sleep(5)  # the worker asks every second
        states = [client.read_flow_run(run.id).state for run in (second, parent)]
        assert [state and state.type for state in states] == [StateType.SCHEDULED, StateType.RUNNING]
    finally:
        client.update_work_pool(pool, WorkPoolUpdate(is_paused=False))
    assert eventually(lambda: final_state(client, parent.id)).type is StateType.COMPLETED
    archived_once(bucket, audit_uri, calls)


@pytest.mark.timeout(900)
def test_the_next_scheduled_run_takes_up_a_dead_backfill(
    client: SyncPrefectClient,
    env: dict[str, str],
    worker: subprocess.Popen[bytes],
    bucket: Bucket,
    calls: dict[str, bytes],
    place: dict[str, Any],
    audit_uri: str,
    setting: Setting,
) -> None:
    parent = start(client, place, max_parallel=1)
    second = eventually(lambda: days_started(client, place).get("2026-01-13"))
    for run in (parent, second):
        eventually(partial(process_of, worker, run)).kill()
    eventually(lambda: final_state(client, second.id))
    time.sleep(2)
    setting(ABANDONED_AFTER_H=1 / 3600)
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, readback_percent=0)
    archived_once(bucket, audit_uri, calls)


@pytest.mark.usefixtures("env")
def test_a_day_that_misses_its_cancellation_does_not_stay_cancelling(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its process is about to start: its worker looks after it no longer, and it not yet after itself."""
    monkeypatch.setattr(tasks.backfill, "_CANCELLED_WITHIN_S", 1)

    @flow
    def parent() -> None:
        with tasks.backfill._cancelled_with_us():
            tomorrow = datetime.now(UTC) + timedelta(days=1)
            day: Any = run_deployment("archive-recordings/archive-day", timeout=0, scheduled_time=tomorrow)
            client.set_flow_run_state(day.id, Pending(), force=True)
            started.append(day.id)
            client.set_flow_run_state(UUID(flow_run.id), Cancelling())
            raise KeyboardInterrupt

    started: list[UUID] = []
    with pytest.raises(KeyboardInterrupt):
        parent()
    state = final_state(client, started[0])
    assert state
    assert state.type is StateType.CANCELLED


def test_a_backfill_hands_on_all_that_decides_what_becomes_of_a_recording(plan: PlanRun) -> None:
    handed = parameters_of(Portion(date=DAY, shard=""), plan()).keys()
    taken = signature(archive_recordings.fn).parameters.keys()
    assert handed <= taken
    assert taken - handed == {"dry_run", "overwrite_converted", "lookback_days"}  # a backfill has its own, or none
