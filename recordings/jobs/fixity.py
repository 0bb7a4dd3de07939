"""Fixity at rest: do the replacements still have the bytes that they had when they were archived? Nothing is changed.

S3 keeps a SHA-256 with each replacement, which it checked on arrival. A check compares it with the table's; of a share
of the recordings it reads and hashes the bytes, too. Whose turn it is to be read follows from the key and from how
often the recording was checked before, so that within so many checks each recording is read once.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil

from recordings.errors import BodyDiffers, Changed, Skipped, Unproven
from recordings.jobs.engine.job import Job, begun
from recordings.jobs.engine.meanwhile import without_our_own_work
from recordings.jobs.engine.result import JobResult, Reading
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.pricing import prices
from recordings.s3.objects import UNVERSIONED, StoredObject
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.parquet import write_rows
from recordings.table.reading import Only, read_days
from recordings.table.rows import AuditRow, BatchRows, Status

_FROZEN = ("GLACIER", "DEEP_ARCHIVE")  # storage classes that must be thawed before anybody can read
_READINGS = 3  # a body that was garbled on the way is right the next time
_ROUNDING = 0.05  # 8.33 percent mean a twelfth


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The bytes that the bucket has for a row."""

    sha256: str
    how: str  # which checksum it is


def keys_to_read(batch: BatchRows, files: AuditFiles, job: Job) -> frozenset[str]:
    """The keys of the recordings whose turn it is to be read."""
    keys, days = sorted(row.key for row in batch.rows), sorted({row.recording_date for row in batch.rows})
    only = Only(bucket=job.bucket, first_key=keys[0], last_key=keys[-1])
    told = read_days(files, days, ["key", "status"], only)
    checks = Counter(told.loc[told["status"].eq(Status.CHECKED), "key"])
    return frozenset(row.key for row in batch.rows if is_turn(row, checks[row.key], job.sample_percent))


def is_turn(row: AuditRow, checks: int, sample_percent: float) -> bool:
    """Whether this check reads a recording that was checked so many times before.

    Of any 100/sample_percent checks in a row, rounded up, exactly one reads the recording.
    """
    if not sample_percent:
        return False
    turns = max(1, ceil(100 / sample_percent - _ROUNDING))
    lot = int.from_bytes(hashlib.sha256(f"{row.bucket}/{row.key}".encode()).digest()[:8], "big")
    return checks % turns == lot % turns


def check_batch(store: Store, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Check the replacements and write the rows; in a dry run, say only what would be asked and read."""
    to_read = keys_to_read(batch, files, job)
    if job.dry_run:
        rows = [replace(_started(row, job), status=Status.CHECKED, read_back=row.key in to_read) for row in batch.rows]
        return JobResult(job, rows, [], _reading(rows))
    rows = pool.map(lambda row: check_recording(store, row, job, is_turn=row.key in to_read), batch.rows)
    rows = without_our_own_work(files, batch, rows, job)
    written = write_rows(files, rows, run_id=job.run_id, number=batch.batch.number)
    return JobResult(job, rows, written, _reading(rows))


def check_recording(store: Store, row: AuditRow, job: Job, *, is_turn: bool) -> AuditRow:
    """The row of the check; ``row`` is the current row; ``is_turn`` says whether to read the recording, too."""
    started = _started(row, job)
    return accounted(started, lambda: _checked(store, started, is_turn=is_turn))


def _started(row: AuditRow, job: Job) -> AuditRow:
    return replace(begun(row, job), state_at=None, original_kept=None)


def _checked(store: Store, row: AuditRow, *, is_turn: bool) -> AuditRow:
    current = _current(store, row)
    if current.sha256:
        _compare(row, _Found(sha256=current.sha256, how="the checksum that S3 keeps"))
    done = replace(row, status=Status.CHECKED, finished_at=datetime.now(UTC), attempts=current.attempts)
    if current.sha256 and not is_turn:
        return done
    if current.storage_class in _FROZEN:
        return _unread(done, current)
    _compare(row, _read(store, current))
    return replace(done, read_back=True, finished_at=datetime.now(UTC))


def _unread(row: AuditRow, current: StoredObject) -> AuditRow:
    if not current.sha256:
        raise Skipped("needs-thaw", f"S3 keeps no SHA-256 with it, and it lies in {current.storage_class}")
    return replace(row, reason=f"not-read: it lies in {current.storage_class}; its stored SHA-256 is right")


def _current(store: Store, row: AuditRow) -> StoredObject:
    try:
        current = store.head(row.key)
    except Changed as error:
        raise Unproven("vanished", f"{_path(row)}: expected version {row.version_after}, found none") from error
    expected, found = row.version_after or UNVERSIONED, current.version_id or UNVERSIONED
    if expected != found:
        raise Unproven("changed-since", f"{_path(row)}: expected version {expected}, found version {found}")
    return current


def _read(store: Store, current: StoredObject) -> _Found:
    """The SHA-256 of the bytes as they arrive. Raises Unproven where they never have the checksum that S3 keeps."""
    for reading in range(_READINGS):
        digest = hashlib.sha256()
        try:
            with store.read(current.key, version_id=current.version_id) as (_, body):
                for block in body.blocks():
                    digest.update(block)
            break
        except BodyDiffers:
            if reading == _READINGS - 1:
                break
    return _Found(sha256=digest.hexdigest(), how="the checksum of the bytes as read")


def _compare(row: AuditRow, found: _Found) -> None:
    if found.sha256 != row.sha256_after:
        raise Unproven(
            "checksum-differs",
            f"{_path(row)}: expected SHA-256 {row.sha256_after}, found {found.sha256}, {found.how}",
        )


def _path(row: AuditRow) -> str:
    return f"s3://{row.bucket}/{row.key}"


def _reading(rows: Sequence[AuditRow]) -> Reading:
    """What was asked and read; costs are list prices, without KMS and without the time of the machine."""
    read = [row for row in rows if row.read_back]
    return Reading(
        recordings=len(read),
        size_bytes=sum(row.bytes_after or 0 for row in read),
        usd=sum(map(_look_usd, rows)) + sum(map(_read_usd, read)),
    )


def _look_usd(row: AuditRow) -> float:
    return prices().requests({"HeadObject": 1}, row.storage_class_after or "STANDARD")


def _read_usd(row: AuditRow) -> float:
    storage_class = row.storage_class_after or "STANDARD"
    return prices().requests({"GetObject": 1}, storage_class) + prices().reading(row.bytes_after or 0, storage_class)
