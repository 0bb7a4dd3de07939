"""Restore, release and reconcile: what was asked for, and what it came to."""

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from recordings import __version__
from recordings.errors import InvalidRequest
from recordings.files import audit_location
from recordings.manifest import BatchRows, ManifestFile, ManifestRow, Status
from recordings.recording import Batch
from recordings.request import check_bucket_name, check_dates, normal_prefixes

BATCH_SIZE = 1000  # each batch writes a file of the audit table for each of its days; small files make reports slow
_MOST_SAID = 5  # problems in a summary's one line; the record and the report have all


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
    _check_contacts(contact_ids)
    if run_id is not None and not run_id.strip():
        raise InvalidRequest("run_id is empty: name a run, or leave it out for all")
    started_at = datetime.now(UTC)
    return Operation(
        run_id=f"{started_at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
        kind=kind,
        bucket=bucket,
        audit_uri=str(audit_location(audit_uri)),
        prefixes=normal_prefixes([""] if prefixes is None else prefixes),
        start_date=start_date,
        end_date=end_date,
        contact_ids=None if contact_ids is None else tuple(each.strip() for each in contact_ids),
        of_run=run_id and run_id.strip(),
        grace_days=grace_days,
        repair=repair,
        dry_run=dry_run,
        started_at=started_at,
    )


def _check_contacts(contact_ids: Sequence[str] | None) -> None:
    if contact_ids is not None and not all(each.strip() for each in contact_ids or [""]):
        raise InvalidRequest("contact_ids names no contact, or an empty one: name each, or leave it out for all")


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
        done = [row for row in rows if row.status in DONE]
        self.files = tuple(files)
        self.counts = Counter(row.status.value for row in rows)
        self.reasons = Counter(row.reason.partition(":")[0] for row in rows if row.reason)
        self.size_bytes = sum(_original_bytes(row) for row in done)
        self.failures = [row for row in rows if row.status not in DONE][:100]


DONE = (Status.RESTORED, Status.RELEASED)


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
    settled: int = 0  # rows written for what earlier runs had done
    notes: tuple[str, ...] = ()  # why there was nothing to do
    problems: tuple[str, ...] = ()  # what was asked for in vain, and what could not be looked at or written

    @property
    def succeeded(self) -> bool:
        """Every recording asked for is accounted for, none failed, and nothing was asked for in vain."""
        return not (self.unrecorded or self.problems or self.counts.get(Status.FAILED.value, 0))

    def __str__(self) -> str:
        would = "would leave " if self.dry_run and self.counts else ""
        counted = [f"{count:,} {status.replace('_', ' ')}" for status, count in sorted(self.counts.items())]
        drifted = [f"{count:,} drift {code}" for code, count in sorted(self.drifts.items())]
        settled = [f"{self.settled:,} settled for earlier runs"] if self.settled else []
        unknown = [f"no row for {self.unrecorded:,}"] if self.unrecorded else []
        parts = [", ".join(counted), ", ".join(drifted), *settled, *unknown, *_shortened(self.problems)]
        said = "; ".join(filter(None, parts)) or "; ".join(("nothing to do", *self.notes))
        return f"{self.kind} {self.run_id}: {would}{said}"


def _shortened(problems: Sequence[str]) -> Iterator[str]:
    yield from problems[:_MOST_SAID]
    if len(problems) > _MOST_SAID:
        yield f"and {len(problems) - _MOST_SAID:,} problems more"


class OperationFailed(Exception):
    """The operation ended, but not everything in it went well. Its rows and its record are written."""

    def __init__(self, summary: OperationSummary) -> None:
        super().__init__(f"{summary}. The rows' reasons say why; run it again for what is left")
        self.summary = summary


def summarize(
    operation: Operation,
    batches: Sequence[BatchRows],
    outcomes: Sequence[OperationResult | BaseException],
    *,
    drifts: Mapping[str, int],
    settled: int,
    manifest: Sequence[ManifestFile],
    notes: Sequence[str],
    problems: Sequence[str],
) -> OperationSummary:
    """The sums over the batches that were recorded, and what became of the others."""
    results = [outcome for outcome in outcomes if isinstance(outcome, OperationResult)]
    counts = sum((result.counts for result in results), Counter[str]())
    failed = [
        f"{batch} failed: {type(outcome).__name__}: {outcome}"
        for batch, outcome in zip(batches, outcomes, strict=True)
        if isinstance(outcome, BaseException)
    ]
    return OperationSummary(
        run_id=operation.run_id,
        kind=operation.kind,
        dry_run=operation.dry_run,
        counts=dict(counts),
        reasons=dict(sum((result.reasons for result in results), Counter[str]())),
        original_bytes=sum(result.size_bytes for result in results),
        manifest_files=tuple(file.name for file in manifest),
        drifts=dict(drifts),
        unrecorded=sum(len(batch.rows) for batch in batches) - sum(counts.values()),
        settled=settled,
        notes=tuple(notes),
        problems=(*failed, *problems, *_asked_in_vain(operation, results)),
    )


def _asked_in_vain(operation: Operation, results: Sequence[OperationResult]) -> Iterator[str]:
    """The contacts that were asked for by name and did not come back; the others' rows and the counts say it."""
    if operation.kind == "restore" and operation.contact_ids is not None:
        for row in (row for result in results for row in result.failures):
            yield f"contact {row.contact_id} was not restored, {row.status}: {row.reason}"


def report_of(operation: Operation, summary: OperationSummary) -> str:
    """The operation's page, in Markdown."""
    would = " (a dry run: nothing was written)" if summary.dry_run else ""
    tables = (("drift", summary.drifts), ("became", summary.counts), ("reason", summary.reasons))
    sections = [
        f"# {summary.kind} of {operation.bucket}{would}",
        f"**{summary.original_bytes:,}** bytes of originals.",
        *(_table(heading, counts) for heading, counts in tables if counts),
        *([f"{summary.settled:,} rows written for what earlier runs had done."] if summary.settled else []),
        *(
            _listed(heading, said)
            for heading, said in (("Problems", summary.problems), ("Notes", summary.notes))
            if said
        ),
        f"Run `{summary.run_id}`, audit table `{operation.audit_uri}`.",
    ]
    return "\n\n".join(sections)


def _listed(heading: str, sentences: Sequence[str]) -> str:
    return "\n".join([f"## {heading}", *(f"- {sentence}" for sentence in sentences[:1000])])


def _table(heading: str, counts: Mapping[str, int]) -> str:
    rows = [f"| {name.replace('_', ' ')} | {count:,} |" for name, count in sorted(counts.items())]
    return "\n".join([f"| {heading} | recordings |", "|---|--:|", *rows])
