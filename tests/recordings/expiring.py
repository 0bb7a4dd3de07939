"""Recordings that stand in a table as archived long ago, put there without converting, and expiries without Prefect."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from recordings.jobs.engine.job import Job, plan_job
from recordings.jobs.engine.settlement import close_settled, settle
from recordings.jobs.expire import Expiry, expire_batch
from recordings.pool import Budget, Pool
from recordings.retention_rules import RetentionRule, checked_rules
from recordings.s3.deleting import DeletingStore
from recordings.s3.objects import UNVERSIONED
from recordings.settings import Settings
from recordings.table.files import AuditFiles, LocalFiles
from recordings.table.parquet import write_rows
from recordings.table.reading import read_audit, rows_of
from recordings.table.records import Kind, record_end, record_start
from recordings.table.rows import AuditRow, Status
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.recordings.tables import ARCHIVED

KEEP_30 = (RetentionRule(keep_days=30),)


@dataclass(frozen=True)
class Ended:
    """What an expiry came to."""

    job: Job
    expiry: Expiry

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.expiry.sums.counts)

    @property
    def reasons(self) -> dict[str, int]:
        return {code: n for code, n in self.expiry.sums.reasons.items() if code != "retention"}

    @property
    def problems(self) -> list[str]:
        return self.expiry.problems


class World:
    """A bucket and its table."""

    def __init__(self, bucket: Bucket, root: Path, *, threads: int = 4) -> None:
        self.bucket, self.root = bucket, root
        self.files: AuditFiles = LocalFiles(root)
        self.store = DeletingStore(bucket.name, Settings())
        self.pool = Pool(threads, Budget(1024 * 1024))
        self.abandoned_after = timedelta(0)
        self._written = 0

    def add(self, number: int, day: date = DAY, **properties: Any) -> AuditRow:
        """An original, its replacement above it, and the row that says so."""
        key = key_of(number, day)
        original = self.bucket.put(key, b"original" * 4, **properties)
        return self.told(key, original, self.bucket.put(key, b"small" * 4, **properties), day)

    def told(self, key: str, original: dict[str, Any], replacement: dict[str, Any], day: date = DAY) -> AuditRow:
        row = replace(
            ARCHIVED,
            recording_date=day,
            bucket=self.bucket.name,
            key=key,
            etag_before=original["ETag"],
            etag_after=replacement["ETag"],
            version_before=original.get("VersionId"),
            version_after=replacement.get("VersionId"),
            sha256_before="0" * 64,
            sha256_after="1" * 64,
        )
        self.tell(row)
        return row

    def tell(self, *rows: AuditRow) -> None:
        self._written += 1
        run_id = f"20260120T030000Z-{self._written:08d}"
        run = replace(self.job(), run_id=run_id, started_at=datetime(2026, 1, 20, 3, tzinfo=UTC))
        record_start(self.files, run)
        rows = tuple(replace(row, run_id=run_id) for row in rows)
        record_end(self.files, run, totals={}, manifest=write_rows(self.files, rows, run_id=run_id, number=1))

    def job(self, rules: Sequence[RetentionRule] = KEEP_30, **changes: Any) -> Job:
        asked = {"bucket": self.bucket.name, "audit_uri": str(self.root), "prefixes": [PREFIX]}
        return plan_job(Kind.EXPIRE, **{**asked, "rules": checked_rules(rules), "stop_above_percent": 100.0, **changes})

    def expire(self, rules: Sequence[RetentionRule] = KEEP_30, today: date | None = None, **changes: Any) -> Ended:
        """A whole run; ``today``: by this machine's clock."""
        job = self.job(rules, **changes)
        if today:
            job = replace(job, started_at=datetime.combine(today, datetime.min.time(), UTC))
        record_start(self.files, job)
        settled = settle(self.store, self.files, self.pool, abandoned_after=self.abandoned_after)
        expiry = Expiry(job, self.store, self.files, settled.unsettled)
        for batches in expiry:
            expiry.add(batches, [expire_batch(self.store, self.files, each, job, self.pool) for each in batches])
        if not job.dry_run:
            record_end(self.files, job, totals={}, manifest=[*settled.files, *expiry.sums.files])
            close_settled(self.files, settled)
        return Ended(job, expiry)

    def rows(self, status: Status | None = None) -> list[AuditRow]:
        found = [row for row in rows_of(read_audit(str(self.root))) if status in (None, row.status)]
        return sorted(found, key=lambda row: (row.started_at, row.key))

    def left(self, number: int) -> list[str]:
        """The version ids, delete markers included, newest first."""
        answer = self.bucket.client.list_object_versions(Bucket=self.bucket.name, Prefix=key_of(number))
        lines = [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
        return [each.get("VersionId") or UNVERSIONED for each in lines if each["Key"] == key_of(number)]
