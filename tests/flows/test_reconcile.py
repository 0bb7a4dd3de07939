"""Table and bucket compared: each drift is named, and only what is safe is mended."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.preflight import inspect_bucket
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from recordings.errors import InvalidRequest
from recordings.evidence import verify_audit
from recordings.manifest import current, read_audit
from recordings.operation import OperationFailed, OperationSummary
from recordings.settings import settings
from tests.bucket import DAY, ON_BOTH, PREFIX, Bucket, key_of

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH]
KEY = key_of(1)


@pytest.fixture
def reconcile(bucket: Bucket, audit_uri: str) -> Callable[..., OperationSummary]:
    return lambda **changes: reconcile_audit(
        **{"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri, "start_date": DAY, "end_date": DAY,
           **changes}
    )  # fmt: skip


def test_after_a_run_there_is_none(archived: dict[str, str], reconcile: Any) -> None:
    summary = reconcile()
    assert (summary.drifts, summary.counts) == ({}, {})


def test_recordings_not_archived_yet_are_no_drift(
    bucket: Bucket, archived: dict[str, str], reconcile: Any, a_call: Any
) -> None:
    bucket.put(key_of(7), a_call())
    assert reconcile().drifts == {}


def test_rows_are_rebuilt_from_provenance(
    bucket: Bucket, archived: dict[str, str], reconcile: Any, audit_uri: str
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


def test_a_missing_tag_is_set_again(bucket: Bucket, archived: dict[str, str], reconcile: Any) -> None:
    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=KEY)
    assert reconcile().drifts == {"tag-missing": 1}
    assert bucket.tags(KEY) == {}
    assert reconcile(repair=True).counts == {"already_archived": 1}
    assert bucket.tags(KEY) == {"converted": "True"}
    assert reconcile().drifts == {}


def _write_over(bucket: Bucket, version: str) -> None:
    bucket.put(KEY, b"theirs")


def _delete(bucket: Bucket, version: str) -> None:
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY)


def _delete_original(bucket: Bucket, version: str) -> None:
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY, VersionId=version)


@pytest.mark.parametrize(
    ("what", "code"),
    [(_write_over, "changed-since"), (_delete, "vanished"), (_delete_original, "original-gone")],
)
def test_what_is_not_safe_to_mend_is_only_told(
    bucket: Bucket, archived: dict[str, str], reconcile: Any, what: Any, code: str
) -> None:
    what(bucket, archived[KEY])
    before = bucket.snapshot()
    assert reconcile(repair=True).drifts == {code: 1}
    assert bucket.snapshot() == before


def test_full_tags_without_ours_are_no_drift(bucket: Bucket, archived: dict[str, str], reconcile: Any) -> None:
    tags = [{"Key": f"theirs-{n}", "Value": "x"} for n in range(10)]
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, Tagging={"TagSet": tags})
    assert reconcile().drifts == {}


def test_a_release_that_died_is_named_and_settled_by_a_repair(
    bucket: Bucket, archived: dict[str, str], reconcile: Any, audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("recordings.release.conclude", lambda *_: 1 / 0)
        with pytest.raises(OperationFailed) as failed:
            release_originals(bucket.name, audit_uri, grace_days=0, dry_run=False)
    before = bucket.snapshot()
    assert reconcile().drifts == {"release-untold": 3}
    summary = reconcile(repair=True)
    assert (summary.drifts, summary.settled) == ({}, 3)
    assert current(read_audit(audit_uri))["run_id"].unique().tolist() == [failed.value.summary.run_id]
    assert bucket.snapshot() == before
    assert verify_audit(audit_uri).discrepancies == ()


def test_a_day_that_cannot_be_compared_ends_the_run_red_after_all_the_others(
    bucket: Bucket, archived: dict[str, str], reconcile: Any, audit_uri: str
) -> None:
    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=KEY)
    broken = Path(audit_uri) / f"recording_date={DAY + timedelta(days=1)}" / "broken.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"no Parquet")
    with pytest.raises(OperationFailed, match=r"2026-01-13 .* could not be compared") as failed:
        reconcile(repair=True, end_date=DAY + timedelta(days=1))
    assert (failed.value.summary.drifts, failed.value.summary.counts) == ({"tag-missing": 1}, {"already_archived": 1})
    assert bucket.tags(KEY) == {"converted": "True"}


def test_another_class_is_told(bucket: Bucket, archived: dict[str, str], reconcile: Any, audit_uri: str) -> None:
    """As a lifecycle transition leaves it: the same version in another class. The table is told otherwise here."""
    import pyarrow.parquet as pq

    for path in Path(audit_uri).glob("recording_date=*/*"):
        table = pq.read_table(path, partitioning=None)
        column = table.schema.get_field_index("storage_class_after")
        pq.write_table(table.set_column(column, table.schema.field(column), [["STANDARD_IA"] * len(table)]), path)
    assert reconcile().drifts == {"class-differs": 3}


def test_what_is_kept_too_long_is_told(
    archived: dict[str, str], reconcile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHIVE_RETENTION_YEARS", "0.01")
    settings.cache_clear()
    try:
        assert reconcile().drifts == {"retention-overdue": 3}
    finally:
        settings.cache_clear()


def test_inspect_bucket_reports_what_preflight_finds(unversioned_bucket: Bucket) -> None:
    unversioned_bucket.put(key_of(1), b"call")
    before = unversioned_bucket.snapshot()
    findings = inspect_bucket(unversioned_bucket.name, [PREFIX])
    assert [finding.code for finding in findings] == ["unversioned", "originals-cost"]
    assert unversioned_bucket.snapshot() == before


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"bucket": "s3://calls"}, "bucket is 's3://calls': give the bare name, as 'calls'"),
        ({"prefixes": ["s3://calls/connect/"]}, "prefixes has 's3://calls/connect/'"),
        ({"prefixes": []}, "prefixes is []: give a list"),
    ],
)
def test_inspect_bucket_says_what_was_typed_wrong(bucket: Bucket, typed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(sentence)):
        inspect_bucket(**{"bucket": bucket.name, "prefixes": [PREFIX], **typed})
