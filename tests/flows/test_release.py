"""Originals are released only when every check passes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.hold import hold_recordings
from flows.release import release_originals
from flows.restore import restore_recordings
from recordings.errors import InvalidRequest
from recordings.jobs.engine.summary import JobFailed
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, ON_BOTH, ON_BOTH_IN_FULL, ON_MINISTACK, PREFIX, Bucket, key_of
from tests.faults import ErrorProxy, HidingProxy, S3Error, faulty_proxy
from tests.fixtures import MakeCall, Release, Setting

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
KEY = key_of(1)


@pytest.fixture
def release(bucket: Bucket, audit_uri: str) -> Release:
    everything = partial(release_originals, everything=True, grace_days=0)
    return partial(everything, bucket=bucket.name, audit_uri=audit_uri, dry_run=False)


@ON_BOTH
def test_exactly_the_originals_go(bucket: Bucket, originals: dict[str, str], release: Release, audit_uri: str) -> None:
    before = bucket.snapshot()
    sizes = [version["Size"] for key in originals for version in bucket.versions(key) if not version["IsLatest"]]
    summary = release()
    assert (summary.counts, summary.original_bytes) == ({"released": 3}, sum(sizes))
    gone = set(before) - set(bucket.snapshot())
    assert {(key, version) for key, version, _, _ in gone} == set(originals.items())
    assert set(bucket.snapshot()) < set(before)
    now = current(read_audit(audit_uri))
    assert now["status"].tolist() == ["released"] * 3
    assert not now["original_kept"].any()
    assert release().counts == {}


def test_the_default_is_a_dry_run(bucket: Bucket, originals: dict[str, str], audit_uri: str) -> None:
    before = bucket.snapshot()
    assert release_originals(bucket=bucket.name, audit_uri=audit_uri, grace_days=0).counts == {"released": 3}
    assert bucket.snapshot() == before
    assert "released" not in set(pd.read_parquet(audit_uri)["status"])


def test_the_grace_period_is_kept(bucket: Bucket, originals: dict[str, str], release: Release) -> None:
    before = bucket.snapshot()
    assert release(grace_days=30).reasons == {"in-grace": 3}
    assert bucket.snapshot() == before


def test_what_a_case_holds_is_not_released_until_all_cases_are_lifted(
    bucket: Bucket, originals: dict[str, str], release: Release, audit_uri: str
) -> None:
    """By the tag on the replacement, or by the table alone: somebody has taken the tag, or S3's hold, away by hand."""
    by_tag, by_table, free = originals
    where: Any = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri, "dry_run": False}
    for case in ("2026-CV-1", "2026-CV-2"):
        hold_recordings(**where, keys=[by_tag, by_table], case=case)
    converted = {"TagSet": [{"Key": "converted", "Value": "True"}]}
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=by_table, Tagging=converted)
    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=by_table, VersionId=originals[by_table])
    held_by, is_tagged = "2026-CV-1, 2026-CV-2", False
    for case in ("2026-CV-1", "2026-CV-2"):
        summary = release()
        assert summary.reasons == {"held": 2}
        rows = read_audit(audit_uri).query("run_id == @summary.run_id and status == 'skipped'")
        assert dict(zip(rows["key"], rows["reason"], strict=True)) == {
            by_tag: f"held: held for {held_by}, as its tag legal-hold says",
            by_table: f"held: held for {held_by}{', as its tag legal-hold says' if is_tagged else ''}",
        }
        hold_recordings(**where, keys=[by_tag, by_table], case=case, lift=True)
        held_by, is_tagged = "2026-CV-2", True  # the lifting has held it again for the other case
    assert {key for key, version in originals.items() if len(bucket.versions(key)) == 1} == {free}
    assert release().counts == {"released": 2}


def test_what_somebody_tagged_as_held_is_not_released(
    bucket: Bucket, originals: dict[str, str], release: Release
) -> None:
    tags = {"TagSet": [{"Key": "converted", "Value": "True"}, {"Key": "legal-hold", "Value": "2026-CV-9"}]}
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, Tagging=tags)
    assert (release().counts, len(bucket.versions(KEY))) == ({"released": 2, "skipped": 1}, 2)


@pytest.mark.parametrize(("name", "value", "code"), [("legal-hold", "", "held"), ("archive", "exempt", "exempt")])
def test_an_original_with_a_mark_of_its_own_stays(
    bucket: Bucket, originals: dict[str, str], release: Release, name: str, value: str, code: str
) -> None:
    tags = {"TagSet": [{"Key": name, "Value": value}]}
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, VersionId=originals[KEY], Tagging=tags)
    summary = release()
    assert (summary.counts, summary.reasons) == ({"released": 2, "skipped": 1}, {code: 1})
    assert originals[KEY] in [version["VersionId"] for version in bucket.versions(KEY)]


def test_a_window_narrows_it(originals: dict[str, str], release: Release) -> None:
    with pytest.raises(JobFailed, match="the audit table has nothing archived from 2026-01-13 to the last"):
        release(start_date=DAY + timedelta(days=1))


def _untag(bucket: Bucket, version: str) -> None:
    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=KEY)


def _exempt(bucket: Bucket, version: str) -> None:
    tags = [{"Key": "converted", "Value": "True"}, {"Key": "archive", "Value": "exempt"}]
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, Tagging={"TagSet": tags})


def _replace(bucket: Bucket, version: str) -> None:
    bucket.put(KEY, b"theirs", Tagging="converted=True")


def _hold(bucket: Bucket, version: str) -> None:
    bucket.client.put_object_legal_hold(Bucket=bucket.name, Key=KEY, VersionId=version, LegalHold={"Status": "ON"})


def _hold_current(bucket: Bucket, version: str) -> None:
    """As somebody does in the console, which shows the current version."""
    bucket.client.put_object_legal_hold(Bucket=bucket.name, Key=KEY, LegalHold={"Status": "ON"})


def _lock(bucket: Bucket, version: str) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    bucket.client.put_object_retention(Bucket=bucket.name, Key=KEY, VersionId=version, Retention=retention)


@pytest.mark.parametrize(
    ("what", "code", "fails"),
    [
        (_untag, "tag-missing", True),
        (_exempt, "exempt", False),
        (_replace, "replacement-differs", True),
        (_hold, "held", False),
        (_hold_current, "held", False),
        (_lock, "locked", False),
    ],
)
@ON_BOTH
def test_one_that_does_not_prove_itself_stays(
    bucket: Bucket,
    originals: dict[str, str],
    release: Release,
    what: Callable[[Bucket, str], None],
    code: str,
    fails: bool,
) -> None:
    if what in (_hold, _hold_current, _lock):
        bucket.client.put_object_lock_configuration(
            Bucket=bucket.name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
        )
    what(bucket, originals[KEY])
    if fails:
        with pytest.raises(JobFailed) as failed:
            release()
        summary = failed.value.summary
    else:
        summary = release()
    assert summary.counts["released"] == 2
    assert summary.reasons == {code: 1}
    assert originals[KEY] in [version["VersionId"] for version in bucket.versions(KEY)]


@ON_MINISTACK
def test_a_role_that_cannot_see_holds_releases_nothing(
    bucket: Bucket, originals: dict[str, str], release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock: Any = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    _hold_current(bucket, "")
    before = bucket.snapshot()
    proxy = HidingProxy(bucket.server.url, without=["s3:GetObjectLegalHold"])
    with faulty_proxy(proxy) as address, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(JobFailed, match="GetObjectLegalHold"):
            release()
    assert bucket.snapshot() == before


@ON_MINISTACK
def test_without_a_row_nothing_is_released(
    bucket: Bucket, originals: dict[str, str], release: Release, tmp_path: Path
) -> None:
    """Rather a name that was mistyped than an empty table."""
    before, asked = bucket.snapshot(), len(bucket.requests())
    with pytest.raises(InvalidRequest, match="holds no audit table"):
        release(audit_uri=str(tmp_path / "lost"))
    assert not (tmp_path / "lost").exists()
    assert bucket.requests_by_kind(asked) == {"GET": 1}, "how versioning is set: no object was asked"
    assert bucket.snapshot() == before


def test_full_tags_are_no_reason_to_keep_it(bucket: Bucket, originals: dict[str, str], release: Release) -> None:
    """Ten foreign tags leave no room for converted=True: the provenance stands for it."""
    _fill_tags(bucket, 10)
    assert release().counts == {"released": 3}


def test_what_was_archived_with_full_tags_is_released(
    bucket: Bucket, originals: dict[str, str], release: Release, audit_uri: str, a_call: MakeCall
) -> None:
    """Its row says verified, not tagged, and tag-limit."""
    from flows.archive import archive_recordings

    bucket.put(key_of(5), a_call(5, 1.0), Tagging="&".join(f"theirs-{n}=x" for n in range(10)))
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    assert release().counts == {"released": 4}
    assert len(bucket.versions(key_of(5))) == 1


def test_nine_tags_without_ours_are_one(bucket: Bucket, originals: dict[str, str], release: Release) -> None:
    _fill_tags(bucket, 9)
    with pytest.raises(JobFailed) as failed:
        release()
    assert failed.value.summary.reasons == {"tag-missing": 1}


def _fill_tags(bucket: Bucket, count: int) -> None:
    tags = [{"Key": f"theirs-{n}", "Value": "x"} for n in range(count)]
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, Tagging={"TagSet": tags})


def test_a_restored_recording_is_out_of_it(
    bucket: Bucket, originals: dict[str, str], release: Release, audit_uri: str
) -> None:
    restore_recordings(bucket=bucket.name, audit_uri=audit_uri, everything=True, dry_run=False)
    before = bucket.snapshot()
    assert release().counts == {}
    assert bucket.snapshot() == before


@ON_MINISTACK
def test_the_question_for_mfa_waits_for_s3(
    bucket: Bucket, originals: dict[str, str], release: Release, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than botocore's own attempts do, which are two here."""
    attempts = 2
    setting(MAX_ATTEMPTS=attempts)
    error = S3Error(status=503, code="SlowDown", message="")
    proxy = ErrorProxy(bucket.server.url, error, lambda asked: asked.operation == "GetBucketVersioning", times=attempts)
    with faulty_proxy(proxy) as address, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        assert release().counts == {"released": 3}
    assert len(proxy.hit) == attempts


@ON_MINISTACK
def test_what_cannot_be_settled_is_not_found_gone(
    bucket: Bucket, originals: dict[str, str], release: Release, audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look at what a dead run deleted is refused: this run ends red and claims nothing, the next one settles."""
    with monkeypatch.context() as patch:
        patch.setattr("recordings.jobs.engine.deletion.write_and_close", lambda *_: 1 / 0)
        with pytest.raises(JobFailed) as died:
            release()
    error = S3Error(status=403, code="Forbidden", message="")
    proxy = ErrorProxy(
        bucket.server.url, error, lambda asked: (asked.operation, asked.key) == ("HeadObject", KEY), times=1
    )
    with faulty_proxy(proxy) as address, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(JobFailed, match=f"release {died.value.summary.run_id}, {KEY}: refused"):
            release()
    assert (len(proxy.hit), release().settled) == (1, 1)
    told = read_audit(audit_uri).query("status == 'released'")
    assert set(told["run_id"]) == {died.value.summary.run_id}
    assert sorted(told["key"]) == sorted(originals)
