"""The whole life of a recording: archived, held, not expired, lifted, expired, not restored."""

from typing import Any

import pytest

from flows.erase import erase_recordings
from flows.expire import expire_recordings
from flows.hold import hold_recordings
from flows.restore import restore_recordings
from recordings.jobs.engine.summary import JobFailed
from recordings.retention_rules import RetentionRule
from recordings.table.evidence import verify_audit
from recordings.table.reading import current, read_audit
from tests.bucket import ON_BOTH, ON_BOTH_IN_FULL, PREFIX, Bucket, key_of

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
RULES = [RetentionRule(keep_days=30)]


@pytest.fixture
def where(bucket: Bucket, audit_uri: str) -> dict[str, Any]:
    return {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}


@ON_BOTH
def test_the_round_trip(bucket: Bucket, originals: dict[str, str], where: dict[str, Any], audit_uri: str) -> None:
    key = key_of(1)
    held = hold_recordings(**where, keys=[key], case="2026-CV-1")
    assert held.counts == {"held": 1}
    assert expire_recordings(**where, rules=RULES, stop_above_percent=100).counts == {"expired": 2, "skipped": 1}
    assert bucket.versions(key)
    lifted = hold_recordings(**where, keys=[key], case="2026-CV-1", lift=True)
    assert lifted.counts == {"lifted": 1}
    sizes = [version["Size"] for version in bucket.versions(key)]
    expired = expire_recordings(**where, rules=RULES)
    assert (expired.original_bytes, len(sizes)) == (sum(sizes), 2)  # the replacement and the original
    assert expired.counts == {"expired": 1}
    assert bucket.snapshot() == []
    frame = read_audit(audit_uri)
    assert current(frame)["status"].tolist() == ["expired"] * 3
    row = frame[frame["key"].eq(key) & frame["status"].eq("expired")].iloc[0]
    assert row[["sha256_before", "sha256_after", "bytes_before", "bytes_after"]].all()
    with pytest.raises(JobFailed, match=expired.run_id):
        restore_recordings(bucket=bucket.name, audit_uri=audit_uri, contact_ids=[row["contact_id"]], dry_run=False)
    assert verify_audit(audit_uri).discrepancies == ()


def test_an_erasure(bucket: Bucket, originals: dict[str, str], where: dict[str, Any], audit_uri: str) -> None:
    contact = read_audit(audit_uri)["contact_id"].iloc[0]
    analysis = f"Analysis/Voice/2026/01/12/{contact}_analysis_2026-01-12T00:00:00Z.json"
    bucket.put(analysis, b"{}")
    summary = erase_recordings(**where, contact_ids=[contact], case="2026-GDPR-1")
    assert summary.counts == {"erased": 2}
    assert not bucket.versions(analysis)


def test_the_form_of_an_erasure_submitted_as_it_opens_deletes_nothing(
    bucket: Bucket, originals: dict[str, str], where: dict[str, Any]
) -> None:
    before = bucket.snapshot()
    for dry_run in (True, False):  # as the deployment erase-deferred runs: it finishes requests, and there are none
        assert erase_recordings(**{**where, "dry_run": dry_run}).counts == {}
    assert bucket.snapshot() == before
