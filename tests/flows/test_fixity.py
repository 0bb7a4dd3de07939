"""The replacements are checked at rest: what is intact gets a row, and what differs ends the run red."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web
from prefect.client.orchestration import SyncPrefectClient

from demo.servers import Server
from flows.fixity import check_fixity
from flows.release import release_originals
from flows.restore import restore_recordings
from recordings.errors import InvalidRequest
from recordings.jobs.engine.summary import JobFailed
from recordings.jobs.fixity import is_turn
from recordings.settings import settings
from recordings.table.files import LocalFiles
from recordings.table.parquet import write_rows
from recordings.table.reading import current, read_audit, rows_of
from recordings.table.rows import AuditRow
from tests.bucket import ON_BOTH_IN_FULL, PREFIX, Bucket, key_of
from tests.deployed import artifact
from tests.faults import Proxy, faulty_proxy
from tests.fixtures import Check
from tests.recordings.tables import ARCHIVED
from tests.s3_requests import s3_request

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
KEY = key_of(1)


@pytest.fixture
def check(bucket: Bucket, audit_uri: str) -> Check:
    place = partial(check_fixity, bucket=bucket.name, audit_uri=audit_uri, prefixes=[PREFIX])
    return partial(place, dry_run=False, sample_percent=0)


def checked(audit_uri: str, run_id: str) -> pd.DataFrame:
    rows = read_audit(audit_uri)
    return rows[rows["run_id"].eq(run_id)].set_index("key", drop=False)


def reason_of(audit_uri: str, failed: pytest.ExceptionInfo[JobFailed]) -> str:
    """Why the recording KEY did not check out."""
    return str(checked(audit_uri, failed.value.summary.run_id).loc[KEY, "reason"])


def test_what_is_intact_gets_a_row_that_supersedes_nothing(
    bucket: Bucket, originals: dict[str, str], check: Check, audit_uri: str
) -> None:
    before, states = bucket.snapshot(), current(read_audit(audit_uri))
    summary = check()
    assert (summary.counts, summary.reasons, summary.reading.recordings) == ({"checked": 3}, {}, 0)
    rows = checked(audit_uri, summary.run_id)
    assert set(rows["status"]) == {"checked"}
    assert not rows["read_back"].any()
    assert rows["sha256_after"].to_dict() == {key: hashlib.sha256(bucket.body(key)).hexdigest() for key in originals}
    assert bucket.snapshot() == before
    pd.testing.assert_frame_equal(current(read_audit(audit_uri)).reset_index(drop=True), states.reset_index(drop=True))
    assert "3 recordings found intact" in artifact("fixity-report")


def test_released_recordings_are_checked_and_restored_ones_are_not(
    bucket: Bucket, originals: dict[str, str], check: Check, audit_uri: str
) -> None:
    place: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "everything": True, "dry_run": False}
    restore_recordings(**{**place, "everything": False, "contact_ids": [KEY.rpartition("/")[2].partition("_")[0]]})
    assert release_originals(**place, grace_days=0).counts == {"released": 2}
    summary = check(sample_percent=100)
    assert summary.counts == {"checked": 2}
    assert set(checked(audit_uri, summary.run_id)["key"]) == set(originals) - {KEY}


def test_within_so_many_checks_each_recording_is_read_once(
    bucket: Bucket, originals: dict[str, str], check: Check, audit_uri: str
) -> None:
    """Whatever the days on which they are made."""
    read = [checked(audit_uri, check(sample_percent=34).run_id).query("read_back")["key"].tolist() for _ in range(3)]
    assert sorted(key for keys in read for key in keys) == sorted(originals)
    again = [checked(audit_uri, check(sample_percent=34).run_id).query("read_back")["key"].tolist() for _ in range(3)]
    assert again == read


def test_a_dry_run_says_what_it_would_cost_and_asks_for_nothing(
    originals: dict[str, str], bucket: Bucket, check: Check, audit_uri: str
) -> None:
    files = sorted(Path(audit_uri).rglob("*.*"))
    summary = check(dry_run=True, sample_percent=100)
    size_bytes = sum(len(bucket.body(key)) for key in originals)
    assert (summary.counts, summary.reading.size_bytes) == ({"checked": 3}, size_bytes)
    assert summary.reading.usd == pytest.approx(3 * (0.01 + 0.01) / 1000 + size_bytes / 1024**3 * 0.03)
    assert "to check 3 recordings, run it again with dry_run=False" in str(summary)
    assert str(summary).endswith("dry_run=False")
    assert sorted(Path(audit_uri).rglob("*.*")) == files


def _delete(bucket: Bucket) -> None:
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY)


def _overwrite(bucket: Bucket) -> None:
    bucket.put(KEY, b"theirs")


@pytest.mark.parametrize(
    ("harm", "code", "found"),
    [(_delete, "vanished", "found none"), (_overwrite, "changed-since", "found version ")],
)
def test_what_is_gone_or_overwritten_is_a_loss(
    bucket: Bucket,
    originals: dict[str, str],
    check: Check,
    audit_uri: str,
    harm: Callable[[Bucket], None],
    code: str,
    found: str,
) -> None:
    version = bucket.versions(KEY)[0]["VersionId"]
    harm(bucket)
    with pytest.raises(JobFailed) as failed:
        check()
    assert failed.value.summary.counts == {"checked": 2, "failed": 1}
    reason = reason_of(audit_uri, failed)
    assert reason.startswith(f"{code}: s3://{bucket.name}/{KEY}: expected version {version}, {found}")
    assert reason in str(failed.value)
    assert "**something is lost**" in artifact("fixity-report")


def test_a_stored_checksum_that_the_table_does_not_know_is_a_loss(
    bucket: Bucket, originals: dict[str, str], check: Check, audit_uri: str
) -> None:
    """As if the object had been written with other bytes, and the same version id."""
    row = _row(audit_uri)
    stored, wrong = row.sha256_after, "0" * 64
    later = replace(row, run_id="20260301T030000Z-00000001", sha256_after=wrong)
    for file in Path(audit_uri).glob("recording_date=*/*"):
        file.unlink()
    write_rows(LocalFiles(Path(audit_uri)), [later], run_id=later.run_id, number=1)
    with pytest.raises(JobFailed, match=f"expected SHA-256 {wrong}, found {stored}, the checksum that S3 keeps"):
        check()


class RottenProxy(Proxy):
    """The bytes of one object, with one bit turned, and S3's checksum of what was written."""

    def __init__(self, upstream: str, key: str, *, times: int) -> None:
        super().__init__(upstream)
        self._key, self._left = key, times

    async def handle(self, request: web.Request) -> web.StreamResponse:
        status, headers, body = await self._forward(request)
        asked = s3_request(request.method, request.raw_path, request.headers)
        if asked.operation == "GetObject" and asked.key == self._key and self._left:
            self._left -= 1
            body = body[:500] + bytes([body[500] ^ 1]) + body[501:]
        return web.Response(status=status, headers=headers, body=None if request.method == "HEAD" else body)


@pytest.mark.parametrize(("times", "is_rotten"), [(1, False), (99, True)])
def test_bytes_that_rot_are_a_loss_and_bytes_garbled_once_are_read_again(
    bucket: Bucket,
    originals: dict[str, str],
    check: Check,
    audit_uri: str,
    s3: Server,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
    is_rotten: bool,
) -> None:
    expected = hashlib.sha256(bucket.body(KEY)).hexdigest()
    with faulty_proxy(RottenProxy(s3.url, KEY, times=times)) as address, monkeypatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", address)
        if not is_rotten:
            assert check(sample_percent=100).counts == {"checked": 3}
            return
        with pytest.raises(JobFailed) as failed:
            check(sample_percent=100)
    assert failed.value.summary.counts == {"checked": 2, "failed": 1}
    reason = reason_of(audit_uri, failed)
    assert reason.startswith(f"checksum-differs: s3://{bucket.name}/{KEY}: expected SHA-256 {expected}, found ")


def copy_over(bucket: Bucket, audit_uri: str, **properties: Any) -> None:
    """The same bytes written anew by somebody else, and the table told of their version."""
    version = bucket.put(KEY, bucket.body(KEY), **properties)["VersionId"]
    moment = bucket.client.head_object(Bucket=bucket.name, Key=KEY)["LastModified"]
    row = replace(
        _row(audit_uri),
        version_after=version,
        state_at=moment + timedelta(seconds=1),
        run_id="20260301T030000Z-00000001",
    )
    write_rows(LocalFiles(Path(audit_uri)), [row], run_id=row.run_id, number=1)


def test_without_a_stored_checksum_the_bytes_are_read(
    bucket: Bucket, originals: dict[str, str], check: Check, audit_uri: str
) -> None:
    copy_over(bucket, audit_uri, StorageClass="GLACIER_IR", ChecksumAlgorithm="CRC32")
    summary = check()
    assert (summary.counts, summary.reading.recordings) == ({"checked": 3}, 1)


def test_what_lies_too_cold_to_be_read_is_checked_by_its_stored_checksum(
    bucket: Bucket, originals: dict[str, str], check: Check, audit_uri: str
) -> None:
    """As a lifecycle rule leaves it."""
    copy_over(bucket, audit_uri, StorageClass="DEEP_ARCHIVE", ChecksumAlgorithm="SHA256")
    summary = check(sample_percent=100)
    assert (summary.counts, summary.reasons, summary.reading.recordings) == ({"checked": 3}, {"not-read": 1}, 2)


def test_what_lies_too_cold_and_has_no_stored_checksum_is_left(
    bucket: Bucket, originals: dict[str, str], check: Check, audit_uri: str
) -> None:
    copy_over(bucket, audit_uri, StorageClass="DEEP_ARCHIVE", ChecksumAlgorithm="CRC32")
    summary = check()
    assert (summary.counts, summary.reasons) == ({"checked": 2, "skipped": 1}, {"needs-thaw": 1})


def test_a_mistyped_table_or_share_is_refused(originals: dict[str, str], check: Check, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="holds no audit table"):
        check(audit_uri=str(tmp_path / "lost"))
    with pytest.raises(JobFailed, match="nothing archived below elsewhere/"):
        check(prefixes=["elsewhere/"])


def test_a_loss_emits_the_event_that_automations_wait_for(
    bucket: Bucket, originals: dict[str, str], check: Check, client: SyncPrefectClient
) -> None:
    from tests.deployed import eventually

    _delete(bucket)
    with pytest.raises(JobFailed) as failed:
        check()
    run_id = failed.value.summary.run_id
    resource = {"id": [f"recording-archive.run.{run_id}"]}

    def events() -> Any:
        asked = {"filter": {"resource": resource, "occurred": {"since": "2020-01-01T00:00:00Z"}}}
        return client.request("POST", "/events/filter", json=asked).json()["events"]

    assert eventually(events)[0]["payload"]["lost"] == {"vanished": 1}


def _row(audit_uri: str) -> AuditRow:
    (row,) = (row for row in rows_of(read_audit(audit_uri)) if row.key == KEY and row.holds_replacement)
    return row


@pytest.mark.parametrize(("sample_percent", "turns"), [(100, 1), (50, 2), (34, 3), (30, 4), (8.33, 12), (0.5, 200)])
def test_the_turns_of_a_recording(sample_percent: float, turns: int) -> None:
    for number in range(20):
        row = replace(ARCHIVED, key=key_of(number))
        taken = [is_turn(row, checks, sample_percent) for checks in range(2 * turns)]
        assert sum(taken[:turns]) == 1
        assert taken[turns:] == taken[:turns]
    shares = [sum(is_turn(replace(ARCHIVED, key=key_of(n)), 5, sample_percent) for n in range(2000))]
    assert shares[0] == pytest.approx(2000 / turns, abs=4 * (2000 / turns) ** 0.5)


def test_nothing_is_read_of_a_share_of_nothing() -> None:
    assert not any(is_turn(ARCHIVED, checks, 0) for checks in range(100))


def test_the_patience_of_tests_is_not_what_makes_rotten_bytes_end() -> None:
    assert settings().patience_s > 60
