"""Restore, release and reconcile: what was asked for, and which recordings it is about."""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

from recordings import __version__
from recordings.files import audit_location
from recordings.manifest import BatchRows, ManifestFile, ManifestRow, Status, current, read_audit
from recordings.recording import Batch
from recordings.request import check_bucket_name, check_dates, normal_prefixes
from recordings.resample import found_row
from recordings.s3.store import Store

BATCH_SIZE = 1000  # each batch writes a file of the audit table for each of its days; small files make reports slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation on what has been archived. Dates are of the calls, UTC, inclusive; None does not narrow."""

    run_id: str
    kind: str
    bucket: str
    audit_uri: str
    prefixes: tuple[str, ...]
    start_date: date | None
    end_date: date | None
    contact_ids: tuple[str, ...] | None
    of_run: str | None
    grace_days: int
    repair: bool
    dry_run: bool
    started_at: datetime
    software_version: str = __version__


def plan_operation(
    kind: str,
    *,
    bucket: str,
    audit_uri: str,
    prefixes: Sequence[str] | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
    contact_ids: Sequence[str] | None = None,
    run_id: str | None = None,
    grace_days: int = 0,
    repair: bool = False,
    dry_run: bool = False,
) -> Operation:
    """The operation's parameters, checked. Raises InvalidRequest naming the parameter and the way out."""
    check_bucket_name(bucket)
    check_dates(start_date, end_date)
    started_at = datetime.now(UTC)
    return Operation(
        run_id=f"{started_at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
        kind=kind,
        bucket=bucket,
        audit_uri=str(audit_location(audit_uri)),
        prefixes=normal_prefixes(prefixes or [""]),
        start_date=start_date,
        end_date=end_date,
        contact_ids=None if contact_ids is None else tuple(contact_ids),
        of_run=run_id,
        grace_days=grace_days,
        repair=repair,
        dry_run=dry_run,
        started_at=started_at,
    )


def archived_rows(operation: Operation, store: Store) -> list[ManifestRow]:
    """Each recording that the operation is about and that is archived now, in the words of the audit table.

    Where the table knows nothing of the bucket, in the words of the objects' own provenance: every object is asked.
    """
    frame = read_audit(operation.audit_uri, operation.start_date, operation.end_date, session=store.session)
    of_bucket = frame[frame["bucket"] == operation.bucket]
    rows: Iterable[ManifestRow] = rows_of(current(of_bucket)) if len(of_bucket) else _rows_of_bucket(operation, store)
    return [row for row in rows if row.holds_replacement and _is_asked_for(row, operation)]


def rows_of(frame: pd.DataFrame) -> Iterator[ManifestRow]:
    """The rows of a frame as values, nulls as None."""
    names = [field.name for field in fields(ManifestRow)]
    for record in frame[names].astype(object).itertuples(index=False, name=None):
        values = {name: _plain(value) for name, value in zip(names, record, strict=True)}
        yield ManifestRow(**{**values, "status": Status(values["status"])})


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # NaN is not itself
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


def _rows_of_bucket(operation: Operation, store: Store) -> Iterator[ManifestRow]:
    for prefix in operation.prefixes:
        for item in store.list_objects(prefix):
            row = found_row(store, item["Key"])
            if row is not None:
                yield row


def _is_asked_for(row: ManifestRow, operation: Operation) -> bool:
    start, end = operation.start_date or date.min, operation.end_date or date.max
    return (
        start <= row.recording_date <= end
        and row.key.startswith(operation.prefixes)
        and (operation.contact_ids is None or row.contact_id in operation.contact_ids)
        and (operation.of_run is None or row.run_id == operation.of_run)
    )


def begun(row: ManifestRow, operation: Operation) -> ManifestRow:
    """The row with which this operation takes the recording up: nothing is proved yet."""
    return replace(
        row,
        run_id=operation.run_id,
        status=Status.FAILED,
        reason=None,
        verified=False,
        read_back=False,
        tagged=False,
        attempts=0,
        started_at=datetime.now(UTC),
        finished_at=None,
        software_version=operation.software_version,
    )


def state_after(row: ManifestRow, at: datetime) -> datetime:
    """When the state came that follows ``row``'s: ``at``, which S3 tells to the second, but never before that."""
    return max(at, row.state_at + timedelta(microseconds=1)) if row.state_at else at


def batches_of(rows: Sequence[ManifestRow]) -> list[BatchRows]:
    """The rows in batches, oldest call first."""
    ordered = sorted(rows, key=lambda row: (row.recording_date, row.key))
    cuts = [ordered[n : n + BATCH_SIZE] for n in range(0, len(ordered), BATCH_SIZE)]
    return [BatchRows(Batch(cut[0].recording_date, number, ()), cut) for number, cut in enumerate(cuts, start=1)]


class OperationResult:
    """What a batch of an operation came to. A plain class, as Batch is."""

    __slots__ = ("counts", "failures", "files", "reasons", "size_bytes")

    def __init__(self, rows: Sequence[ManifestRow], files: Sequence[ManifestFile]) -> None:
        done = [row for row in rows if row.status in (Status.RESTORED, Status.RELEASED)]
        self.files = tuple(files)
        self.counts = Counter(row.status.value for row in rows)
        self.reasons = Counter(row.reason.partition(":")[0] for row in rows if row.reason)
        self.size_bytes = sum(_original_bytes(row) for row in done)
        self.failures = [row for row in rows if row not in done][:100]


def _original_bytes(row: ManifestRow) -> int:
    return (row.bytes_after if row.status is Status.RESTORED else row.bytes_before) or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSummary:
    """What an operation's flow returns. In a dry run, the counts are of what would be done."""

    run_id: str
    kind: str
    dry_run: bool
    counts: Mapping[str, int]  # by status
    reasons: Mapping[str, int]  # by the code of the reason
    original_bytes: int  # of the originals restored or released
    manifest_files: tuple[str, ...]
    drifts: Mapping[str, int]  # by code; of a reconciliation
    unrecorded: int  # recordings asked for that no row speaks of

    @property
    def succeeded(self) -> bool:
        """Every recording asked for is accounted for and none failed."""
        return not self.unrecorded and not self.counts.get(Status.FAILED.value, 0)

    def __str__(self) -> str:
        counted = ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in sorted(self.counts.items()))
        would = "would leave " if self.dry_run else ""
        left_out = f"; no row for {self.unrecorded:,}" if self.unrecorded else ""
        return f"{self.kind} {self.run_id}: {would}{counted or 'nothing to do'}{left_out}"


class OperationFailed(Exception):
    """The operation ended, but not everything in it went well. Its rows and its record are written."""

    def __init__(self, summary: OperationSummary) -> None:
        super().__init__(f"{summary}. The rows' reasons say why; run it again for what is left")
        self.summary = summary


def summarize(
    operation: Operation, asked_for: int, results: Sequence[OperationResult], drifts: Mapping[str, int]
) -> OperationSummary:
    """The sums over the batches that were recorded."""
    counts = sum((result.counts for result in results), Counter[str]())
    return OperationSummary(
        run_id=operation.run_id,
        kind=operation.kind,
        dry_run=operation.dry_run,
        counts=dict(counts),
        reasons=dict(sum((result.reasons for result in results), Counter[str]())),
        original_bytes=sum(result.size_bytes for result in results),
        manifest_files=tuple(file.name for result in results for file in result.files),
        drifts=dict(drifts),
        unrecorded=asked_for - sum(counts.values()),
    )


def report_of(operation: Operation, summary: OperationSummary) -> str:
    """The operation's page, in Markdown."""
    would = " (a dry run: nothing was written)" if summary.dry_run else ""
    tables = (("drift", summary.drifts), ("became", summary.counts), ("reason", summary.reasons))
    sections = [
        f"# {summary.kind} of {operation.bucket}{would}",
        f"**{summary.original_bytes:,}** bytes of originals.",
        *(_table(heading, counts) for heading, counts in tables if counts),
        f"Run `{summary.run_id}`, audit table `{operation.audit_uri}`.",
    ]
    return "\n\n".join(sections)


def _table(heading: str, counts: Mapping[str, int]) -> str:
    rows = [f"| {name.replace('_', ' ')} | {count:,} |" for name, count in sorted(counts.items())]
    return "\n".join([f"| {heading} | recordings |", "|---|--:|", *rows])
