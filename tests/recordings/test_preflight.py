"""Each finding, on a bucket that has it."""

from collections.abc import Callable
from typing import Any

import pytest

from recordings.errors import StoreRefused
from recordings.preflight import PreflightFailed, Severity, check_bucket, inspect_bucket
from recordings.s3.store import Store
from recordings.settings import Settings
from tests.bucket import PREFIX, Bucket


def codes(store: Store, **options: Any) -> dict[str, Severity]:
    findings = inspect_bucket(store, [PREFIX], **{"oldest_days": 13, **options})
    return {finding.code: finding.severity for finding in findings}


def lifecycle(bucket: Bucket, **rule: Any) -> None:
    whole = {"ID": "keep", "Status": "Enabled", "Filter": {"Prefix": ""}, **rule}
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [whole]})


def test_a_sound_bucket_has_only_the_note_on_originals(store: Store) -> None:
    assert codes(store) == {"originals-cost": Severity.INFO}


def test_looking_writes_nothing(bucket: Bucket, store: Store) -> None:
    codes(store)
    assert bucket.snapshot() == []


def test_a_dry_look_sends_no_write(bucket: Bucket, store: Store) -> None:
    codes(store, may_write=False)
    assert "PUT" not in bucket.requests_by_kind(3)  # the first created and versioned the bucket


@pytest.mark.parametrize("status", ["never", "Suspended"])
def test_unversioned(unversioned_bucket: Bucket, status: str) -> None:
    bucket = unversioned_bucket
    if status != "never":
        bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": status})
    assert codes(Store(bucket.name, Settings()))["unversioned"] is Severity.BLOCK


def test_no_conditional_writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "refuses_stale_writes", lambda *_: False)  # no server at hand ignores If-Match
    assert codes(store)["no-conditional-writes"] is Severity.BLOCK


def test_retention_restarts_only_for_old_recordings(bucket: Bucket, store: Store) -> None:
    lifecycle(bucket, Expiration={"Days": 2190})
    assert "retention-restarts" not in codes(store)
    assert codes(store, oldest_days=400)["retention-restarts"] is Severity.BLOCK


def test_originals_expire(bucket: Bucket, store: Store) -> None:
    lifecycle(bucket, NoncurrentVersionExpiration={"NoncurrentDays": 1})
    assert codes(store)["originals-expire"] is Severity.BLOCK


@pytest.mark.parametrize("rule", [{"Status": "Disabled"}, {"Filter": {"Prefix": "elsewhere/"}}])
def test_rules_that_do_not_concern_recordings(bucket: Bucket, store: Store, rule: dict[str, Any]) -> None:
    lifecycle(bucket, NoncurrentVersionExpiration={"NoncurrentDays": 1}, **rule)
    assert "originals-expire" not in codes(store)


def test_subscribers_run_again(bucket: Bucket, store: Store) -> None:
    bucket.client.put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    assert codes(store)["subscribers-run-again"] is Severity.WARN


def test_replicated(bucket: Bucket, store: Store) -> None:
    rule = {"ID": "all", "Status": "Enabled", "Priority": 1, "Filter": {}}
    rule["DeleteMarkerReplication"] = {"Status": "Disabled"}
    rule["Destination"] = {"Bucket": f"arn:aws:s3:::{bucket.name}"}
    configuration = {"Role": "arn:aws:iam::000000000000:role/replicate", "Rules": [rule]}
    bucket.client.put_bucket_replication(Bucket=bucket.name, ReplicationConfiguration=configuration)
    assert codes(store)["replicated"] is Severity.WARN


def test_compliance_lock(bucket: Bucket, store: Store) -> None:
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    assert codes(store)["compliance-lock"] is Severity.BLOCK


def check(bucket: str, accept: list[str]) -> Callable[[], Any]:
    return lambda: check_bucket(Store(bucket, Settings()), [PREFIX], oldest_days=13, may_write=True, accept=accept)


def test_a_blocking_finding_stops_unless_accepted(unversioned_bucket: Bucket) -> None:
    with pytest.raises(
        PreflightFailed, match=r"Enable it: .* Or accept=\[\"unversioned\"\]: originals are overwritten"
    ):
        check(unversioned_bucket.name, [])()
    findings = check(unversioned_bucket.name, ["unversioned"])()
    assert findings[0].code == "unversioned"


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_named() -> None:
    with pytest.raises(StoreRefused, match="there is no bucket named 'no-such-bucket-anywhere'"):
        check("no-such-bucket-anywhere", [])()
