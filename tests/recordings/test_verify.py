"""The proof: S3 is asked, and whatever it shows that we did not write is noticed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from recordings.errors import StoreRefused
from recordings.pool import Pool
from recordings.recording import Batch
from recordings.resample import resample_batch
from recordings.run import Run
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.rows import AuditRow, Status
from recordings.verify import verify_batch
from tests.bucket import DAY, Bucket, key_of
from tests.fixtures import Listed, MakeCall, PlanRun, Stages

KEY = key_of(1)


@pytest.fixture
def resampled(bucket: Bucket, store: Store, pool: Pool, listed: Listed, a_call: MakeCall) -> Stages:
    """Rows of five recordings, replaced but not verified."""

    def rows(run: Run) -> list[AuditRow]:
        for number in range(5):
            bucket.put(key_of(number), a_call(number), Tagging="queue=sales")
        return resample_batch(store, Batch(DAY, 1, listed(run)), run, pool)

    return rows


def row_of(rows: list[AuditRow], key: str = KEY) -> AuditRow:
    return next(row for row in rows if row.key == key)


def test_one_listing_proves_a_batch(bucket: Bucket, plan: PlanRun, store: Store, pool: Pool, resampled: Stages) -> None:
    run = plan(bucket.name)
    rows = resampled(run)
    before = len(bucket.requests())
    verified = verify_batch(store, rows, pool, run.readback_percent)
    assert bucket.requests_by_kind(before) == {"LIST versions": 1}
    assert all(row.verified and row.original_kept and not row.read_back for row in verified)
    stored = {version["VersionId"]: version["LastModified"] for version in bucket.versions(KEY)}
    assert row_of(verified).state_at == stored[row_of(verified).version_after]


def test_asks_for_each_key_where_others_lie_thick_between(
    bucket: Bucket, plan: PlanRun, store: Store, pool: Pool, resampled: Stages
) -> None:
    run = plan(bucket.name)
    rows = resampled(run)
    crowd = key_of(2)[:-4]
    for number in range(60):
        bucket.put(f"{crowd}-{number:03d}.wav", b"")
    apart = [row for row in rows if row.key in (key_of(1), key_of(4))]
    before = len(bucket.requests())
    verified = verify_batch(store, apart, pool, run.readback_percent)
    assert bucket.requests_by_kind(before) == {"LIST versions": 4, "HEAD": 2}  # the first was found on the way
    assert all(row.verified and row.original_kept for row in verified)


def test_reads_back_the_share_asked_for(
    bucket: Bucket, plan: PlanRun, store: Store, pool: Pool, resampled: Stages
) -> None:
    run = plan(bucket.name, readback_percent=100)
    verified = verify_batch(store, resampled(run), pool, run.readback_percent)
    assert all(row.verified and row.read_back for row in verified)


def test_reading_back_finds_other_bytes(
    bucket: Bucket, plan: PlanRun, store: Store, pool: Pool, resampled: Stages
) -> None:
    run = plan(bucket.name, readback_percent=100)
    rows = [replace(row, sha256_after="0" * 64) if row.key == KEY else row for row in resampled(run)]
    row = row_of(verify_batch(store, rows, pool, run.readback_percent))
    assert (row.status, row.verified) == (Status.FAILED, False)
    assert str(row.reason).startswith("reads-back-differently")


def _write_over(bucket: Bucket, row: AuditRow) -> None:
    bucket.put(row.key, b"theirs")


def _delete(bucket: Bucket, row: AuditRow) -> None:
    bucket.client.delete_object(Bucket=bucket.name, Key=row.key)


def _remove_ours(bucket: Bucket, row: AuditRow) -> None:
    bucket.client.delete_object(Bucket=bucket.name, Key=row.key, VersionId=row.version_after)


def _remove_original(bucket: Bucket, row: AuditRow) -> None:
    bucket.client.delete_object(Bucket=bucket.name, Key=row.key, VersionId=row.version_before)


@pytest.mark.parametrize(
    ("damage", "status", "code"),
    [
        (_write_over, Status.CHANGED, "superseded"),
        (_delete, Status.CHANGED, "superseded"),
        (_remove_ours, Status.FAILED, "replacement-missing"),
        (_remove_original, Status.FAILED, "original-missing"),
    ],
)
def test_notices_what_others_did(
    bucket: Bucket,
    plan: PlanRun,
    store: Store,
    pool: Pool,
    resampled: Stages,
    damage: Callable[[Bucket, AuditRow], None],
    status: Status,
    code: str,
) -> None:
    run = plan(bucket.name)
    rows = resampled(run)
    damage(bucket, row_of(rows))
    verified = verify_batch(store, rows, pool, run.readback_percent)
    row = row_of(verified)
    assert (row.status, str(row.reason).partition(":")[0], row.verified) == (status, code, False)
    assert all(other.verified for other in verified if other.key != KEY)


@pytest.mark.parametrize("column", ["etag_after", "bytes_after", "storage_class_after"])
def test_notices_that_s3_shows_something_else(
    bucket: Bucket, plan: PlanRun, store: Store, pool: Pool, resampled: Stages, column: str
) -> None:
    run = plan(bucket.name)
    wrong: dict[str, Any] = {"etag_after": '"0"', "bytes_after": 1, "storage_class_after": "STANDARD"}
    rows = [replace(row, **{column: wrong[column]}) if row.key == KEY else row for row in resampled(run)]
    row = row_of(verify_batch(store, rows, pool, run.readback_percent))
    assert (row.status, row.verified) == (Status.FAILED, False)
    assert str(row.reason).startswith("replacement-differs")


def test_asks_nothing_where_nothing_is_claimed(
    bucket: Bucket, plan: PlanRun, store: Store, pool: Pool, resampled: Stages
) -> None:
    run = plan(bucket.name)
    rows = [replace(row, status=Status.REJECTED) for row in resampled(run)]
    before = len(bucket.requests())
    assert verify_batch(store, rows, pool, run.readback_percent) == rows
    assert not bucket.requests_by_kind(before)


def test_without_versioning_the_original_is_not_kept(
    unversioned_bucket: Bucket, plan: PlanRun, pool: Pool, a_call: MakeCall
) -> None:
    from recordings.plan import list_day
    from recordings.recording import Day
    from recordings.settings import Settings
    from recordings.table.files import open_table
    from tests.bucket import PREFIX

    unversioned_bucket.put(KEY, a_call())
    run, store = plan(unversioned_bucket.name), Store(unversioned_bucket.name, Settings())
    listing = list_day(store, open_table(run.audit_uri), Day(prefix=PREFIX, date=DAY), run)
    (row,) = verify_batch(store, resample_batch(store, Batch(DAY, 1, listing.open), run, pool), pool)
    assert (row.status, row.verified, row.original_kept) == (Status.ARCHIVED, True, False)


def test_a_listing_that_is_refused_leaves_each_recording_to_be_asked_for(
    bucket: Bucket, plan: PlanRun, pool: Pool, resampled: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In process, because the error is to be one that no server sends."""
    rows = resampled(plan(bucket.name))
    store = Store(bucket.name, Settings())

    def refused(*_: Any, **__: Any) -> Any:
        raise StoreRefused("ListObjectVersions was refused (UnheardOf)")

    monkeypatch.setattr(store, "list_versions", refused)
    row = row_of(verify_batch(store, rows, pool))
    assert (row.status, row.verified, row.original_kept) == (Status.ARCHIVED, True, True)
