"""The whole job, with a real Prefect server and a real S3 server."""

import json
import subprocess
from dataclasses import replace
from datetime import UTC, date, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

import tasks.stages
from demo.servers import Server
from flows.archive import archive_recordings
from recordings.errors import StoreRefused
from recordings.finding import PreflightFailed
from recordings.glossary import meaning, way_out
from recordings.jobs.engine.job import plan_job
from recordings.summary import RunFailed
from recordings.table.files import LocalFiles
from recordings.table.records import Kind, record_start
from tasks.workplace import Workplace
from tests.bucket import DAY, ON_BOTH, ON_BOTH_IN_FULL, ON_MINISTACK, PREFIX, Bucket, key_of
from tests.deployed import artifact, eventually
from tests.faults import ErrorProxy, S3Error, faulty_proxy
from tests.fixtures import ArchiveDays, MakeCall, PlanRun
from tests.s3_requests import S3Request

NEWEST = FlowRunSort.EXPECTED_START_TIME_DESC
pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
REAL_CALLS = Path(__file__).parents[2] / ".." / "shared" / "calls"


@pytest.fixture
def archive_days(bucket: Bucket, audit_uri: str) -> ArchiveDays:
    place = partial(archive_recordings, bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri)
    return partial(place, start_date=DAY, end_date=DAY + timedelta(days=2), batch_size=4)


@pytest.fixture
def calls(bucket: Bucket, a_call: MakeCall) -> dict[str, bytes]:
    """Ten calls over three days, in the bucket."""
    bodies = {key_of(n, DAY + timedelta(days=n % 3)): a_call(n, 1.0) for n in range(10)}
    for key, body in bodies.items():
        bucket.put(key, body, Tagging="queue=sales", Metadata={"agent": "ida"}, ContentType="audio/wav")
    return bodies


def ffmpeg(arguments: str, data: bytes) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *arguments.split(), "pipe:"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@pytest.mark.skipif(not REAL_CALLS.is_dir(), reason="the folder of real voices is not beside this checkout")
def test_real_voices_end_as_exactly_what_ffmpeg_makes_of_them(bucket: Bucket, archive_days: ArchiveDays) -> None:
    originals = {str(path.relative_to(REAL_CALLS)): path.read_bytes() for path in REAL_CALLS.rglob("*.wav")}
    versions = {key: bucket.put(key, body)["VersionId"] for key, body in originals.items()}

    summary = archive_days(start_date=date(2026, 11, 9), end_date=date(2026, 11, 11), min_age_days=0)

    assert len(originals) == 18
    assert summary.counts == {"archived": 18}
    for key, original in originals.items():
        replacement = bucket.body(key)
        wanted = ffmpeg("-i pipe: -ac 1 -ar 8000 -c:a pcm_alaw -f alaw", original)
        assert ffmpeg("-i pipe: -c:a copy -f alaw", replacement) == wanted
        assert ffmpeg("-i pipe: -f s16le", replacement) == ffmpeg("-f alaw -ar 8000 -ac 1 -i pipe: -f s16le", wanted)
        assert bucket.body(key, versions[key]) == original


@ON_BOTH
def test_every_recording_is_archived_and_accounted_for(
    bucket: Bucket, archive_days: ArchiveDays, calls: dict[str, bytes], audit_uri: str
) -> None:
    summary = archive_days()

    assert (summary.counts, summary.recordings, summary.unrecorded) == ({"archived": 10}, 10, 0)
    assert summary.bytes_before == sum(map(len, calls.values()))
    assert summary.bytes_after == sum(len(bucket.body(key)) for key in calls)
    assert summary.minutes_after == pytest.approx(10 / 60)
    for key, original in calls.items():
        now, before = sorted(bucket.versions(key), key=lambda version: not version["IsLatest"])
        assert now["StorageClass"] == "GLACIER_IR"
        assert bucket.body(key, before["VersionId"]) == original
        assert bucket.tags(key) == {"queue": "sales", "converted": "True"}
        after = bucket.get(key)
        assert after["Metadata"]["agent"] == "ida"
        assert after["Metadata"]["archive-run-id"] == summary.run_id
        assert after["ContentType"] == "audio/wav"
    frame = pd.read_parquet(audit_uri)
    assert sorted(frame["key"]) == sorted(calls)
    assert frame["verified"].all()
    assert frame["tagged"].all()
    assert frame["bytes_after"].sum() == summary.bytes_after


@ON_MINISTACK  # its access log
def test_requests_are_those_of_the_design(bucket: Bucket, archive_days: ArchiveDays, a_call: MakeCall) -> None:
    for number in range(12):
        bucket.put(key_of(number), a_call(number, 1.0))
    before = len(bucket.requests())
    archive_days(end_date=DAY, readback_percent=0)
    per_recording = bucket.requests_by_kind(before)
    canary = {"GET tags": 2, "PUT tags": 1, "PUT": 1, "GET": 4, "HEAD": 5}  # GET also of ownership and locks
    assert per_recording["GET tags"] == 12 + canary["GET tags"]
    assert per_recording["PUT tags"] == 12 + canary["PUT tags"]
    assert per_recording["LIST versions"] == 3  # one for each batch of four
    preflight_gets, probe = 6, 4
    assert per_recording["GET"] == 12 + preflight_gets + canary["GET"]
    assert per_recording["PUT"] == 12 + probe + canary["PUT"]
    assert per_recording["HEAD"] == canary["HEAD"]


def test_a_second_run_finds_nothing_to_do(bucket: Bucket, archive_days: ArchiveDays, calls: dict[str, bytes]) -> None:
    archive_days()
    before = bucket.snapshot()
    again = archive_days()
    assert (again.counts, again.final, again.manifest_files) == ({}, len(calls), ())
    assert bucket.snapshot() == before
    assert str(again).endswith("nothing to archive (10 accounted for by earlier runs)")
    assert artifact("archive-report").partition("\n")[0].endswith("nothing to archive")
    assert float(artifact("archive-progress")) == 100


@ON_BOTH
def test_without_its_table_a_run_recognises_what_is_archived(
    bucket: Bucket, archive_days: ArchiveDays, calls: dict[str, bytes], tmp_path: Path
) -> None:
    archive_days()
    before = bucket.snapshot()
    again = archive_days(audit_uri=str(tmp_path / "another"))
    assert again.counts == {"already_archived": len(calls)}
    assert bucket.snapshot() == before


def test_a_run_needs_no_artifact(
    archive_days: ArchiveDays, calls: dict[str, bytes], audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("create_markdown_artifact", "create_progress_artifact", "update_progress_artifact"):
        with monkeypatch.context() as patch:
            patch.setattr(f"tasks.artifacts.{name}", lambda *_, **__: 1 / 0)
            summary = archive_days()
        assert Path(audit_uri, f"_runs/{summary.run_id}.end.json").is_file()
    assert len(pd.read_parquet(audit_uri)) == len(calls)


def test_a_damaged_file_of_the_table_costs_no_recording_and_no_day(
    archive_days: ArchiveDays, calls: dict[str, bytes], audit_uri: str
) -> None:
    from recordings.summary import RunFailed

    file, *_ = (Path(audit_uri) / name for name in archive_days().manifest_files)
    rows = len(pd.read_parquet(file))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RunFailed, match=f"file .*{file.name} of the audit table cannot be read") as failed:
        archive_days()
    assert (failed.value.summary.counts, failed.value.summary.final) == (
        {"already_archived": rows},
        len(calls) - rows,
    )
    file.unlink()
    assert archive_days().final == len(calls)


@ON_MINISTACK  # its access log
def test_a_dry_run_writes_nothing_at_all(
    bucket: Bucket, archive_days: ArchiveDays, calls: dict[str, bytes], audit_uri: str
) -> None:
    before = bucket.snapshot()
    sent = len(bucket.requests())
    summary = archive_days(dry_run=True)
    assert (summary.counts, summary.bytes_after) == ({"planned": len(calls)}, 0)
    assert "PUT" not in bucket.requests_by_kind(sent)
    assert bucket.snapshot() == before
    assert not Path(audit_uri).exists()


def test_an_empty_window_is_a_run_with_nothing_to_do(archive_days: ArchiveDays, calls: dict[str, bytes]) -> None:
    summary = archive_days(start_date=date(2025, 1, 1), end_date=date(2025, 1, 2))
    assert (summary.counts, summary.final) == ({}, 0)


def test_what_cannot_be_converted_does_not_fail_the_run(
    bucket: Bucket, archive_days: ArchiveDays, calls: dict[str, bytes], audit_uri: str
) -> None:
    truncated = key_of(20)
    bucket.put(truncated, next(iter(calls.values()))[:-9])
    bucket.put(key_of(21)[:-4] + ".txt", b"notes")
    summary = archive_days()
    assert summary.counts == {"archived": 10, "rejected": 1, "skipped": 1}
    frame = pd.read_parquet(audit_uri).set_index("key")
    assert str(frame.loc[truncated, "reason"]).startswith("truncated: ")
    assert archive_days().counts == {"skipped": 1}  # the rejected one is final, as long as neither it nor we change


@pytest.mark.parametrize("stage", ["resample", "verify", "tag"])
def test_a_stage_that_fails_leaves_rows_and_the_next_run_makes_good(
    bucket: Bucket,
    archive_days: ArchiveDays,
    calls: dict[str, bytes],
    audit_uri: str,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug hits each batch of one day: no real part shows one at will."""
    name = f"{stage}_batch"
    work = getattr(tasks.stages, name)

    def broken(store: Any, batch: Any, *rest: Any) -> Any:
        recordings = batch.recordings if stage == "resample" else batch
        if recordings[0].recording_date == DAY:
            raise ZeroDivisionError("a bug")
        return work(store, batch, *rest)

    monkeypatch.setattr(tasks.stages, name, broken)
    with pytest.raises(RunFailed, match="6 archived, 4 failed") as failed:
        archive_days()
    assert failed.value.summary.counts == {"archived": 6, "failed": 4}
    frame = pd.read_parquet(audit_uri)
    assert sorted(frame["key"]) == sorted(calls)
    assert set(frame[frame["status"] == "failed"]["reason"]) == {"stage-failed: ZeroDivisionError: a bug"}

    monkeypatch.setattr(tasks.stages, name, work)
    made_good = "archived" if stage == "resample" else "already_archived"
    assert archive_days().counts == {made_good: 4}
    for key, original in calls.items():
        assert bucket.tags(key)["converted"] == "True"
        assert original in [bucket.body(key, version["VersionId"]) for version in bucket.versions(key)]
        assert len(bucket.versions(key)) == 2


def test_the_runs_record_is_its_manifest(archive_days: ArchiveDays, calls: dict[str, bytes], audit_uri: str) -> None:
    summary = archive_days()
    record = json.loads((Path(audit_uri) / "_runs" / f"{summary.run_id}.end.json").read_text())
    on_disk = {str(path.relative_to(audit_uri)) for path in Path(audit_uri).glob("recording_date=*/*")}
    assert {file["name"] for file in record["files"]} == on_disk == set(summary.manifest_files)
    assert sum(file["rows"] for file in record["files"]) == len(calls)
    assert record["requests"] == summary.requests
    assert record["run"]["start_date"] == str(DAY)


@ON_BOTH
def test_the_audit_table_may_lie_in_s3(bucket: Bucket, archive_days: ArchiveDays, calls: dict[str, bytes]) -> None:
    uri = f"s3://{bucket.name}/audit"
    archive_days(audit_uri=uri)
    assert sorted(pd.read_parquet(uri)["key"]) == sorted(calls)
    assert archive_days(audit_uri=uri).final == len(calls)


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ({"start_date": date(2026, 2, 1)}, ValueError, "start_date 2026-02-01 is later than end_date"),
        ({"profile": "mp3"}, ValueError, "profile 'mp3' is unknown"),
        ({"storage_class": "CHEAP"}, ValueError, "storage_class 'CHEAP' is unknown"),
        ({"bucket": "no-such-bucket-anywhere"}, StoreRefused, "there is no bucket named 'no-such-bucket-anywhere'"),
        ({"shard": "a b"}, ValueError, "shard is 'a b': give the first letters"),
        ({"bucket": " "}, ValueError, "bucket is empty"),
        ({"prefixes": [" "]}, ValueError, "take the spaces out"),
        ({"prefixes": []}, ValueError, "give a list"),
        ({"accept": [""]}, ValueError, "accept '' is unknown"),
        ({"audit_uri": " "}, ValueError, "audit_uri is empty"),
        ({"audit_uri": "ftp://somewhere"}, ValueError, "audit_uri 'ftp://somewhere' is neither"),
    ],
)
def test_a_wrong_parameter_stops_the_run_before_anything_is_touched(
    bucket: Bucket,
    archive_days: ArchiveDays,
    calls: dict[str, bytes],
    audit_uri: str,
    wrong: dict[str, Any],
    error: type[Exception],
    sentence: str,
) -> None:
    before = bucket.snapshot()
    with pytest.raises(error, match=sentence):
        archive_days(**wrong)
    assert bucket.snapshot() == before
    assert not Path(audit_uri).exists()


@pytest.mark.parametrize("prefix", ["connect/Acme/CallRecordings/", "connect/acme/"])
def test_a_prefix_below_which_nothing_lies_is_no_success(
    bucket: Bucket, archive_days: ArchiveDays, calls: dict[str, bytes], audit_uri: str, prefix: str
) -> None:
    before = bucket.snapshot()
    with pytest.raises(PreflightFailed, match=r"nothing-below-prefix: .*: (acme|CallRecordings)/"):
        archive_days(prefixes=[prefix])
    assert bucket.snapshot() == before
    assert not Path(audit_uri).exists()
    assert archive_days(prefixes=[prefix, PREFIX]).counts == {"archived": 10}


def test_an_instance_without_recordings_yet_is_accepted_but_counts_as_no_success(
    bucket: Bucket, archive_days: ArchiveDays, caplog: pytest.LogCaptureFixture
) -> None:
    summary = archive_days(accept=["nothing-below-prefix"])
    assert (summary.counts, summary.counts_for_schedule) == ({}, False)
    assert "nothing at all lies below a prefix" in artifact("archive-report")
    assert "all accounted for" not in artifact("archive-report")
    assert "this run does not count as a success: nothing at all lies below a prefix" in caplog.messages


def test_nor_does_a_run_of_which_one_prefix_is_misspelt(
    bucket: Bucket, archive_days: ArchiveDays, calls: dict[str, bytes]
) -> None:
    summary = archive_days(prefixes=[PREFIX, "connect/acme/Callrecordings/"])
    assert (summary.counts, summary.counts_for_schedule) == ({"archived": 10}, False)
    assert "nothing at all lies below a prefix" in artifact("archive-report")


@ON_MINISTACK  # what is shown is ours, not the server's
def test_a_red_run_names_what_failed_and_only_that_is_red(
    bucket: Bucket,
    archive_days: ArchiveDays,
    calls: dict[str, bytes],
    s3: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """S3 refuses to read the four recordings of the first day, and to list the second day."""
    first_day, second_day = (f"{DAY + timedelta(days=n):%Y/%m/%d}/" for n in range(2))
    error = S3Error(status=403, code="AccessDenied", message="Access Denied")

    def is_hit(asked: S3Request) -> bool:
        is_listing = asked.operation == "ListObjectsV2" and asked.prefix == f"{PREFIX}{second_day}"
        return is_listing or (asked.operation == "GetObject" and first_day in asked.key)

    with faulty_proxy(ErrorProxy(s3.url, error, is_hit)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(RunFailed) as failed:
            archive_days()
    keys = sorted(key for key in calls if first_day in key)
    said = str(failed.value)
    assert f"{keys[0]}: refused: GetObject" in said
    assert f"{keys[2]}: refused" in said
    assert keys[3] not in said
    assert "and 1 more. The artifact archive-failures of http" in said
    assert f"could not list {DAY + timedelta(days=1)}" in said
    assert said in [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    report = artifact("archive-report")
    needs = "the role needs s3:GetObject there, or permission to use the KMS key"
    assert f"(AccessDenied): Access Denied; {needs}: `{keys[0]}`" in report
    assert "The artifact `archive-failures` groups what was not archived by reason" in report
    assert f"| refused | 4 | {meaning('refused')} | {way_out('refused')} |" in artifact("archive-failures")
    second_day, batch = f"list {DAY + timedelta(days=1)} {PREFIX}", f"resample {DAY} batch 1"
    states = task_states(failed.value.summary.run_id, second_day, batch)
    assert states.pop(second_day)[0] is StateType.FAILED
    state, message = states.pop(batch)
    assert state is StateType.FAILED
    assert str(message).startswith(f"4 of 4 recordings failed: {keys[0]}: refused")
    assert {state for state, _ in states.values()} == {StateType.COMPLETED}


def test_a_year_is_listed_by_a_hundred_tasks_and_a_day_that_cannot_be_costs_itself_alone(
    archive_days: ArchiveDays, bucket: Bucket, a_call: MakeCall, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [DAY + timedelta(days=n) for n in (0, 1, 2)]
    for day in days:
        bucket.put(key_of(1, day), a_call(1))
    error = S3Error(status=403, code="AccessDenied", message="Access Denied")
    refused = f"{PREFIX}{days[1]:%Y/%m/%d}/"
    with faulty_proxy(ErrorProxy(s3.url, error, lambda asked: asked.prefix == refused)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(RunFailed) as failed:
            archive_days(start_date=days[1] - timedelta(days=363), end_date=days[2], lookback_days=365)
    summary = failed.value.summary
    assert summary.counts == {"archived": 2}
    assert [each.partition(" ")[0] for each in summary.unlisted] == [str(days[1])]
    states = {name: state for name, (state, _) in task_states(summary.run_id).items() if name.startswith("list ")}
    assert 50 <= len(states) <= 100
    (failed_task,) = (name for name, state in states.items() if state is StateType.FAILED)
    assert failed_task.endswith(f" ... {days[1]} {PREFIX}")


def task_states(run_id: str, *awaited: str) -> dict[str, tuple[StateType, str | None]]:
    """The states of a run's tasks, by name: types and messages. The server records tasks with a delay."""

    def final() -> dict[str, tuple[StateType, str | None]] | None:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(sort=NEWEST, limit=50)
            (flow_run,) = [run for run in runs if run_id.endswith(run.id.hex[-8:])]
            of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
            tasks = client.read_task_runs(flow_run_filter=of_run)
        states = [(task.name, task.state) for task in tasks if task.state and task.state.is_final()]
        are_told = len(states) == len(tasks) and {*awaited} <= {name for name, _ in states}
        return {name: (state.type, state.message) for name, state in states} if are_told else None

    return eventually(final)


@ON_BOTH
def test_an_unversioned_bucket_needs_consent(
    unversioned_bucket: Bucket, archive_days: ArchiveDays, a_call: MakeCall
) -> None:
    key = key_of(1)
    unversioned_bucket.put(key, a_call())
    before = unversioned_bucket.snapshot()
    with pytest.raises(PreflightFailed, match="unversioned"):
        archive_days(bucket=unversioned_bucket.name)
    assert unversioned_bucket.snapshot() == before
    assert archive_days(bucket=unversioned_bucket.name, accept=["unversioned"]).counts == {"archived": 1}
    assert unversioned_bucket.tags(key) == {"converted": "True"}


def test_a_scheduled_run_takes_up_the_window_of_one_that_died(
    bucket: Bucket, archive_days: ArchiveDays, a_call: MakeCall, audit_uri: str, plan: PlanRun
) -> None:
    """It died long ago, over a window that this run would not look at by itself."""
    bucket.put(key_of(1), a_call())
    dead = plan(bucket.name, audit_uri=audit_uri)
    record_start(LocalFiles(Path(audit_uri)), replace(dead, run_id="20260101T000000Z-dead"))
    assert archive_days(start_date=None, end_date=None).counts == {"archived": 1}
    assert (Path(audit_uri) / "_runs" / "20260101T000000Z-dead.covered.json").exists()


def test_what_people_see_in_the_prefect_ui(
    bucket: Bucket, archive_days: ArchiveDays, calls: dict[str, bytes], audit_uri: str
) -> None:
    bucket.put(key_of(20), b"not a call")
    summary = archive_days()
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs(sort=NEWEST, limit=50) if summary.run_id.endswith(run.id.hex[-8:])]
        (flow_run,) = runs
        artifacts = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
        )
    shown = {artifact.key: artifact for artifact in artifacts}
    assert set(shown) == {"archive-progress", "archive-report", "archive-failures"}
    assert float(str(shown["archive-progress"].data)) == 100
    assert "**10** recordings archived" in str(shown["archive-report"].data)
    assert key_of(20) in str(shown["archive-failures"].data)
    assert "| not-wav | 1 |" in str(shown["archive-failures"].data)
    record = json.loads((Path(audit_uri) / "_runs" / f"{summary.run_id}.start.json").read_text())["circumstances"]
    assert (record["flow_run_id"], record["flow_run_name"]) == (str(flow_run.id), flow_run.name)
    assert record["flow_run_url"].endswith(f"/runs/flow-run/{flow_run.id}")
    assert record["versions"]["prefect"] == version("prefect")
    assert flow_run.name == "archive 2026-01-12 ... 2026-01-14"


def test_a_run_reads_s3s_times_without_guessing_their_format(bucket: Bucket, audit_uri: str) -> None:
    """Which would be two thirds of a listing's CPU: dateutil, botocore's default, has a UTC of its own."""
    bucket.put(key_of(1), b"")
    job = plan_job(Kind.RESTORE, bucket=bucket.name, audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    ((version,),) = Workplace(job).store.list_versions(PREFIX)
    assert version.last_modified.tzinfo is UTC
