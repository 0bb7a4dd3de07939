"""Table and bucket compared: each drift (difference between them) is named, and only what is safe is repaired."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType

from demo.servers import Server
from flows.archive import archive_recordings
from flows.erase import erase_recordings
from flows.expire import expire_recordings
from flows.hold import hold_recordings
from flows.preflight import inspect_bucket
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from flows.restore import restore_recordings
from recordings.errors import InvalidRequest
from recordings.jobs.engine.summary import JobFailed
from recordings.retention_rules import RetentionRule
from recordings.table.evidence import verify_audit
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, ON_BOTH, ON_BOTH_IN_FULL, PREFIX, Bucket, key_of
from tests.deployed import artifacts_of, eventually
from tests.faults import HidingProxy, faulty_proxy
from tests.fixtures import MakeCall, Reconcile, Setting

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
KEY = key_of(1)
DOCUMENT = (Path(__file__).parents[2] / "docs" / "audit-table.md").read_text()


@pytest.fixture
def reconcile(bucket: Bucket, audit_uri: str) -> Reconcile:
    return partial(
        reconcile_audit, bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY
    )


def test_after_a_run_there_is_none(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str, a_call: MakeCall
) -> None:
    """And that is on record, too. Of a day of which nothing is archived, no recording is new."""
    bucket.put(key_of(7, DAY + timedelta(days=1)), a_call())
    summary = reconcile(end_date=DAY + timedelta(days=1))
    assert (summary.drifts, summary.counts) == ({}, {})
    assert str(summary) == f"reconcile {summary.run_id}: table and bucket agree"
    end = json.loads(Path(audit_uri, f"_runs/{summary.run_id}.end.json").read_text())
    assert (end["run"]["start_date"], end["drifts"], end["files"]) == (str(DAY), {}, [])
    with pytest.raises(InvalidRequest, match="2026-01-12 is later than end_date 2026-01-11"):
        reconcile(end_date=DAY - timedelta(days=1))


@ON_BOTH
def test_what_is_lost_ends_the_run_red_and_is_on_record(
    bucket: Bucket,
    originals: dict[str, str],
    reconcile: Reconcile,
    audit_uri: str,
    a_call: MakeCall,
    client: SyncPrefectClient,
) -> None:
    """Deleted, overwritten, and an original deleted by nobody of ours; a new call of an archived day is mentioned."""
    gone, overwritten, without_original = originals
    bucket.client.delete_object(Bucket=bucket.name, Key=gone)
    bucket.put(overwritten, b"theirs")
    bucket.client.delete_object(Bucket=bucket.name, Key=without_original, VersionId=originals[without_original])
    bucket.put(key_of(7), a_call())
    before, found = bucket.snapshot(), {}
    for repair in (False, True):
        with pytest.raises(JobFailed, match=re.escape(f"{gone}: vanished, the table says archived")) as failed:
            reconcile(repair=repair)
        summary = failed.value.summary
        found[summary.run_id] = summary.drifts
    assert bucket.snapshot() == before, "nothing of this is safe to mend"
    codes = {gone: "vanished", overwritten: "changed-since", without_original: "original-gone", key_of(7): "new-since"}
    assert list(found.values()) == [dict.fromkeys(codes.values(), 1)] * 2
    assert all(f"{key}: {code}" in str(failed.value) for key, code in codes.items() if code != "new-since")
    assert verify_audit(audit_uri).discrepancies == ()
    for run_id in found:
        file = f"_differences/{run_id}.csv"
        written = pd.read_csv(f"{audit_uri}/{file}")
        assert dict(zip(written["key"], written["difference"], strict=True)) == codes
        assert written.loc[~written["is_loss"], "key"].tolist() == [key_of(7)]
        assert not [name for name in written.columns if f"`{name}`" not in DOCUMENT]
        start, end = (
            json.loads(Path(audit_uri, f"_runs/{run_id}.{which}.json").read_text()) for which in ("start", "end")
        )
        assert start["circumstances"]["flow_run_id"].endswith(run_id.rpartition("-")[2])
        assert [each["name"] for each in end["files"]] == [file]
        Path(audit_uri, file).write_bytes(b"")
    assert [each.flaw for each in verify_audit(audit_uri).discrepancies] == ["changed"] * 2
    run = client.read_flow_run(start["circumstances"]["flow_run_id"])
    assert run.name == f"repair table and {bucket.name}, {DAY}"
    assert _red_tasks(client, run.id) == [f"reconcile {DAY} {PREFIX}"]
    artifacts = artifacts_of(client, run.id)
    assert artifacts.keys() >= {"reconcile-differences", "reconcile-report"}
    report = artifacts["reconcile-report"].data
    assert 0 < report.index("| vanished | 1 | ") < report.index("## What went wrong") < report.index(gone)
    event = eventually(lambda: _events(client, f"recording-archive.run.{summary.run_id}"))[0]
    assert (event["event"], event["payload"]["lost"]["vanished"]) == ("recording-archive.lost", 1)


def test_a_recording_that_was_left_alone_and_is_gone_is_a_loss(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str, a_call: MakeCall
) -> None:
    """Rejected or exempt, it has no replacement, so what vanished was the only copy. A text file is no recording."""
    truncated, exempt, text, there = key_of(7), key_of(8), f"{KEY}.txt", key_of(9)
    bucket.put(truncated, a_call()[:-99])
    bucket.put(exempt, a_call(8), Tagging="archive=exempt")
    bucket.put(text, b"notes")
    bucket.put(there, b"")
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    assert reconcile().drifts == {}
    for key in (truncated, exempt, text):
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    with pytest.raises(JobFailed) as failed:
        reconcile()
    assert failed.value.summary.drifts == {"vanished": 2}
    assert f"{exempt}: vanished, the table says skipped (exempt), but" in str(failed.value)
    assert f"{truncated}: vanished, the table says rejected (truncated)" in str(failed.value)


def test_what_only_a_case_knows_of_and_is_gone_is_a_loss(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str
) -> None:
    """A recording that no run has archived, and an analysis; what has been lifted since may go."""
    contact = KEY.rpartition("/")[2].partition("_")[0]
    held = [key_of(7), f"Analysis/Voice/2026/01/12/{contact}_analysis_2026-01-12T00:01:00Z.json"]
    lifted = [key_of(8), held[1].replace(contact, "another")]
    for key in (*held, *lifted):
        bucket.put(key, b"")
    hold: Any = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False, "case": "A"}
    hold_recordings(**hold, keys=[*held, *lifted])
    hold_recordings(**hold, keys=lifted, lift=True)
    assert "vanished" not in reconcile().drifts
    for key in (*held, *lifted):
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    with pytest.raises(JobFailed) as failed:
        reconcile()
    assert failed.value.summary.drifts == {"vanished": 2}
    for key in held:
        assert f"{key}: vanished, the table says held for A, but" in str(failed.value)


def test_a_wrong_place_is_not_in_agreement(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str, tmp_path: Path
) -> None:
    """Nor one that is empty now: all of it was deleted, versions and all. A folder's placeholder is no call."""
    with pytest.raises(InvalidRequest, match=r"prefixes is \[\]: give a list"):
        reconcile(prefixes=[])
    with pytest.raises(InvalidRequest, match="holds no audit table"):
        reconcile(audit_uri=str(tmp_path / "another"))
    assert not (tmp_path / "another").exists()
    bucket.put(f"{PREFIX}{DAY:%Y/%m/%d}/", b"")
    assert reconcile().drifts == {}
    wrong = PREFIX.upper()
    for prefixes in ([wrong], [""], [PREFIX, wrong]):
        with pytest.raises(JobFailed, match="No YYYY/MM/DD/ lies below prefix"):
            reconcile(prefixes=prefixes)
    for line in bucket.client.list_object_versions(Bucket=bucket.name)["Versions"]:
        bucket.client.delete_object(Bucket=bucket.name, Key=line["Key"], VersionId=line["VersionId"])
    with pytest.raises(JobFailed) as failed:
        reconcile()
    assert failed.value.summary.drifts == {"vanished": 3}


def test_a_loss_that_the_role_may_not_look_at_is_a_loss(
    s3: Server, bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing shows that it was overwritten; of the others nothing can be said, so the run is no success."""
    bucket.put(KEY, b"theirs")
    with faulty_proxy(HidingProxy(s3.url, without=["s3:GetObject", "s3:GetObjectVersionTagging"])) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(JobFailed, match=f"{re.escape(KEY)}: changed-since") as failed:
            reconcile()
    assert failed.value.summary.drifts == {"changed-since": 1, "not-compared": 2}


def test_what_overwrote_a_recording_that_a_dead_run_meant_to_restore_is_a_loss(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("recordings.jobs.restore.restore_recording", lambda *_: 1 / 0)
        with pytest.raises(JobFailed):
            restore_recordings(bucket=bucket.name, audit_uri=audit_uri, everything=True, dry_run=False)
    assert reconcile().drifts == {}
    bucket.put(KEY, b"theirs")
    with pytest.raises(JobFailed) as failed:
        reconcile()
    assert failed.value.summary.drifts == {"changed-since": 1}


def test_an_original_that_somebody_else_deleted_is_not_released_in_silence(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str
) -> None:
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY, VersionId=originals[KEY])
    with pytest.raises(JobFailed, match=f"{re.escape(KEY)} was not released: found-gone"):
        release_originals(bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False)
    with pytest.raises(JobFailed, match=r"found version .* gone") as failed:
        reconcile()
    assert failed.value.summary.drifts == {"original-gone": 1}


def test_what_is_found_is_on_record_though_prefect_takes_no_artifact(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY)
    monkeypatch.setattr("tasks.artifacts.create_markdown_artifact", lambda *_, **__: 1 / 0)
    with pytest.raises(JobFailed) as failed:
        reconcile()
    run_id = failed.value.summary.run_id
    assert Path(audit_uri, f"_differences/{run_id}.csv").is_file()
    assert Path(audit_uri, f"_runs/{run_id}.end.json").is_file()


def _red_tasks(client: Any, flow_run_id: Any) -> list[str]:
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    failed = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.FAILED])))
    return eventually(
        lambda: [each.name for each in client.read_task_runs(flow_run_filter=of_run, task_run_filter=failed)]
    )


def _events(client: Any, resource_id: str) -> list[dict[str, Any]]:
    asked = {"filter": {"resource": {"id": [resource_id]}}}
    events: list[dict[str, Any]] = client.request("POST", "/events/filter", json=asked).json()["events"]
    return events


@ON_BOTH
def test_rows_are_rebuilt_from_provenance(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str
) -> None:
    told = current(read_audit(audit_uri)).set_index("key")
    for file in Path(audit_uri).glob("recording_date=*/*"):
        file.unlink()
    before = bucket.snapshot()
    assert reconcile().drifts == {"row-missing": 3}
    assert read_audit(audit_uri).empty

    assert reconcile(repair=True).counts == {"already_archived": 3}

    assert reconcile().drifts == {}
    assert bucket.snapshot() == before
    rebuilt = current(read_audit(audit_uri)).set_index("key")
    same = ["bytes_before", "bytes_after", "sha256_before", "sha256_after", "version_before", "version_after",
            "duration_after_s", "codec_before", "codec_after", "state_at", "verified", "tagged"]  # fmt: skip
    assert rebuilt[same].to_dict() == told[same].to_dict()


@ON_BOTH
def test_a_missing_tag_is_set_again(bucket: Bucket, originals: dict[str, str], reconcile: Reconcile) -> None:
    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=KEY)
    assert reconcile().drifts == {"tag-missing": 1}
    assert bucket.tags(KEY) == {}
    assert reconcile(repair=True).counts == {"already_archived": 1}
    assert bucket.tags(KEY) == {"converted": "True"}
    assert reconcile().drifts == {}


def test_full_tags_without_ours_are_no_drift(bucket: Bucket, originals: dict[str, str], reconcile: Reconcile) -> None:
    tags = [{"Key": f"theirs-{n}", "Value": "x"} for n in range(10)]
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, Tagging={"TagSet": tags})
    assert reconcile().drifts == {}


def test_a_release_that_died_is_named_and_settled_by_a_repair(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("recordings.jobs.engine.deletion.write_and_close", lambda *_: 1 / 0)
        with pytest.raises(JobFailed) as failed:
            release_originals(bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False)
    before = bucket.snapshot()
    assert reconcile().drifts == {"release-untold": 3}
    summary = reconcile(repair=True)
    assert (summary.drifts, summary.settled) == ({}, 3)
    assert current(read_audit(audit_uri))["run_id"].unique().tolist() == [failed.value.summary.run_id]
    assert bucket.snapshot() == before
    assert verify_audit(audit_uri).discrepancies == ()


def test_a_day_that_cannot_be_compared_ends_the_run_red_after_all_the_others(
    bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str
) -> None:
    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=KEY)
    broken = Path(audit_uri) / f"recording_date={DAY + timedelta(days=1)}" / "broken.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"no Parquet")
    with pytest.raises(JobFailed, match=r"2026-01-13 .* could not be compared") as failed:
        reconcile(repair=True, end_date=DAY + timedelta(days=1))
    assert (failed.value.summary.drifts, failed.value.summary.counts) == ({"tag-missing": 1}, {"already_archived": 1})
    assert bucket.tags(KEY) == {"converted": "True"}


def test_another_class_is_told(bucket: Bucket, originals: dict[str, str], reconcile: Reconcile, audit_uri: str) -> None:
    """As a lifecycle transition leaves it: the same version in another class. The table is told otherwise here."""
    import pyarrow.parquet as pq

    for path in Path(audit_uri).glob("recording_date=*/*"):
        table = pq.read_table(path, partitioning=None)
        column = table.schema.get_field_index("storage_class_after")
        pq.write_table(table.set_column(column, table.schema.field(column), [["STANDARD_IA"] * len(table)]), path)
    assert reconcile().drifts == {"class-differs": 3}


def test_what_is_kept_too_long_is_told(originals: dict[str, str], reconcile: Reconcile, setting: Setting) -> None:
    setting(RETENTION_YEARS=0.01)
    assert reconcile().drifts == {"retention-overdue": 3}


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


class SetRules(Protocol):
    """Set the retention rules of the environment, until the next ones or the end of the test."""

    def __call__(self, *rules: dict[str, object]) -> None: ...


@pytest.fixture
def retention_rules(setting: Setting) -> SetRules:
    return lambda *rules: setting(RETENTION_RULES=json.dumps(rules))


def test_what_is_kept_too_long_counts_by_the_retention_rules(
    bucket: Bucket,
    originals: dict[str, str],
    reconcile: Reconcile,
    retention_rules: SetRules,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They count before the years; where all rules that may decide agree, no tags are asked for."""
    setting(RETENTION_YEARS=0.01)
    retention_rules({"keep_days": None})
    assert reconcile().drifts == {}
    retention_rules({"prefix": "else/", "keep_days": 0}, {"tag": "retention=short", "keep_days": 9}, {"keep_days": 10})
    with monkeypatch.context() as patch:
        patch.setattr("recordings.jobs.reconcile._drifts", lambda *_: iter(()))
        patch.setattr("recordings.s3.store.Store.tags", lambda *_: 1 / 0)
        assert reconcile().drifts == {"retention-overdue": 3}
    bucket.client.put_object_tagging(
        Bucket=bucket.name,
        Key=KEY,
        Tagging={"TagSet": [{"Key": "converted", "Value": "True"}, {"Key": "retention", "Value": "short"}]},
    )
    retention_rules({"tag": "retention=short", "keep_days": 9}, {"keep_days": 36_500})
    assert reconcile().drifts == {"retention-overdue": 1}
    retention_rules({"tag": "retention=short", "keep_days": 36_500}, {"keep_days": 9})
    assert reconcile().drifts == {"retention-overdue": 2}


def test_what_was_destroyed_is_no_difference_until_it_is_there_again(
    bucket: Bucket,
    originals: dict[str, str],
    reconcile: Reconcile,
    audit_uri: str,
    retention_rules: SetRules,
    a_call: MakeCall,
) -> None:
    """Neither is a delete marker that somebody leaves. A hold is no look at a recording that is new."""
    expired, erased, held = originals
    copies = {key: bucket.body(key) for key in (expired, erased)}
    where: Any = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    bucket.put(key_of(7), a_call(7))
    hold_recordings(**where, keys=[held, key_of(7)], case="2026-CV-1")
    assert reconcile().drifts == {"new-since": 1}
    expiry = expire_recordings(**where, rules=[RetentionRule(keep_days=9)], end_date=DAY, stop_above_percent=100)
    assert expiry.counts == {"expired": 2, "skipped": 2}
    assert reconcile().drifts == {}
    bucket.client.delete_object(Bucket=bucket.name, Key=expired)
    retention_rules({"keep_days": 9})
    assert reconcile().drifts == {"retention-overdue": 2}, "what is left of it is no recording"
    bucket.put(erased, copies[erased])
    bucket.put(expired, copies[expired])
    bucket.client.delete_object(Bucket=bucket.name, Key=expired)
    for repair in (False, True):
        with pytest.raises(JobFailed, match=f"run {expiry.run_id} expired it, but it is there again") as failed:
            reconcile(repair=repair)
        assert failed.value.summary.drifts == {"resurrected": 2, "retention-overdue": 4}
        assert failed.value.summary.counts == {}
    before = bucket.snapshot()
    summary = archive_recordings(
        bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY
    )
    assert summary.counts == {"skipped": 2}
    reasons = read_audit(audit_uri).query("run_id == @summary.run_id").set_index("key")["reason"]
    assert reasons[erased] == f"destroyed: run {expiry.run_id} expired it on {_today()}; somebody has brought it back"
    assert reasons[key_of(7)].startswith("held: ")
    assert bucket.snapshot() == before


@pytest.mark.parametrize("kind", ["expire", "erase"])
def test_a_destruction_that_died_is_named_and_settled_by_a_repair(
    bucket: Bucket,
    originals: dict[str, str],
    reconcile: Reconcile,
    audit_uri: str,
    a_call: MakeCall,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Of archived recordings, and of one that was rejected and never archived."""
    bucket.put(key_of(7), a_call()[:-99])
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    where: Any = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    with monkeypatch.context() as patch:
        patch.setattr("recordings.jobs.engine.deletion.write_and_close", lambda *_: 1 / 0)
        destroy: Any = {
            "expire": lambda: expire_recordings(**where, rules=[RetentionRule(keep_days=9)]),
            "erase": lambda: erase_recordings(**where, keys=[*originals, key_of(7)], case="2026-GDPR-1"),
        }[kind]
        with pytest.raises(JobFailed) as failed:
            destroy()
    assert bucket.snapshot() == []
    bucket.put(f"{PREFIX}{DAY:%Y/%m/%d}/", b"")
    assert reconcile().drifts == {f"{kind}-untold": 4}
    summary = reconcile(repair=True)
    assert (summary.drifts, summary.settled) == ({}, 4)
    assert current(read_audit(audit_uri))["run_id"].unique().tolist() == [failed.value.summary.run_id]
    assert verify_audit(audit_uri).discrepancies == ()


def test_inspect_bucket_reports_what_preflight_finds(unversioned_bucket: Bucket) -> None:
    unversioned_bucket.put(key_of(1), b"call")
    before = unversioned_bucket.snapshot()
    findings = inspect_bucket(unversioned_bucket.name, [PREFIX])
    assert [finding.code for finding in findings] == ["unversioned", "left-alone-stays", "kept-for", "originals-cost"]
    assert unversioned_bucket.snapshot() == before


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"bucket": "s3://calls"}, "bucket is 's3://calls': give the bare name, such as 'calls'"),
        ({"prefixes": ["s3://calls/connect/"]}, "prefixes has 's3://calls/connect/'"),
        ({"prefixes": []}, "prefixes is []: give a list"),
    ],
)
def test_inspect_bucket_says_what_was_typed_wrong(bucket: Bucket, typed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(sentence)):
        inspect_bucket(**{"bucket": bucket.name, "prefixes": [PREFIX], **typed})
