"""Erase everything that a bucket holds of a contact, or under a key: all versions, analyses and transcripts, too.

The request is written down before the first deletion. What is under a hold or a lock waits: a later run without
contacts and keys takes up the requests that are not finished.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from recordings.errors import Changed, Skipped
from recordings.formatting import plural
from recordings.holds import check_no_case_holds, reason_of
from recordings.jobs.deletion import Checked, delete_batch, prove, removable, versions_of
from recordings.jobs.finding import Finding, Wanted, rows_of_keys
from recordings.jobs.hold import Cases
from recordings.jobs.job import Job, batches_of
from recordings.jobs.kinds import FOUND
from recordings.jobs.result import JobResult, JobSums
from recordings.pool import Pool
from recordings.s3.deleting import DeletingStore
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.records import ErasureRecord, Kind, open_erasures, record_erased
from recordings.table.rows import AuditRow, BatchRows, Status

_WAITS = (Status.SKIPPED, Status.FAILED)


def requested_by(job: Job) -> ErasureRecord:
    """The request of a job that names contacts or keys."""
    return ErasureRecord(
        run_id=job.run_id,
        bucket=job.bucket,
        prefixes=job.prefixes,
        contact_ids=job.contact_ids or (),
        keys=job.keys or (),
        start_date=job.start_date,
        end_date=job.end_date,
        case=str(job.case),
        requested_at=job.started_at,
    )


class Erasure:
    """The objects to erase, some batches at a time: those of the job's own request, or of all unfinished ones.

    The caller that iterates must hand the outcomes of the batches to ``add`` before it asks for the next ones.
    """

    def __init__(self, job: Job, store: Store, files: AuditFiles, *, leave: Sequence[str] = ()) -> None:
        self.sums = JobSums(job)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.finished: list[ErasureRecord] = []
        self._job, self._store, self._files, self._leave = job, store, files, frozenset(leave)
        self._batches = 0

    def __iter__(self) -> Iterator[list[BatchRows]]:
        if self._job.contact_ids or self._job.keys:
            requests = [requested_by(self._job)]
        else:
            requests = open_erasures(self._files, self._job.bucket)
        for request in requests:
            yield from self._of(request)

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count in the outcomes of these batches."""
        self.sums.add(batches, outcomes)

    def _of(self, request: ErasureRecord) -> Iterator[list[BatchRows]]:
        finding, waiting = Finding(_wanted(request), self._store, self._files), self._waiting
        for keys in finding:
            rows = rows_of_keys([key for key in keys if key not in self._leave], self._job, reason_of(request.case))
            batches = batches_of(rows, first=self._batches + 1)
            self._batches += len(batches)
            yield batches
        if request.run_id == self._job.run_id:
            (self.notes if self._job.missing_ok else self.problems).extend(finding.in_vain)
        if self._waiting > waiting or self._leave:
            self.notes.append(
                f"{plural(self._waiting - waiting, 'object')} of the request of run {request.run_id} could not be "
                "erased yet: the run that is scheduled tries again"
            )
        else:
            self.finished.append(request)

    @property
    def _waiting(self) -> int:
        return sum(self.sums.counts[status.value] for status in _WAITS) + self.sums.unrecorded


def _wanted(request: ErasureRecord) -> Wanted:
    return Wanted(
        bucket=request.bucket,
        prefixes=request.prefixes,
        contact_ids=request.contact_ids,
        keys=request.keys,
        start_date=request.start_date,
        end_date=request.end_date,
    )


def erase_batch(store: DeletingStore, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Prove that the objects may go, record the intent, delete all versions of each, write the rows."""
    cases = Cases(files, job, (row.recording_date for row in batch.rows))
    return delete_batch(
        store,
        files,
        batch,
        job,
        pool,
        proved=lambda row: prove(row, lambda: _checked(store, row, cases)),
        found=FOUND[Kind.ERASE],
    )


def _checked(store: DeletingStore, row: AuditRow, cases: Cases) -> Checked:
    """All versions under the key, if nothing holds any of them. The row says no more than which key, when and why."""
    ordered = versions_of(store, row.key)
    if not ordered:
        raise Changed("gone", "no version of it is left")
    if held_by := cases.of(row.key):
        raise Skipped("held", f"held for {', '.join(sorted(held_by))}")
    removables = tuple(removable(store, version) for version in ordered)
    stored = next((each.stored for each in reversed(removables) if each.stored), None)
    if stored:
        check_no_case_holds(store.tags(row.key, stored.version_id))
    newest = ordered[-1]
    erased = replace(
        row,
        status=Status.ERASED,
        version_before=stored.version_id if stored else newest.version_id,
        state_at=stored.answered_at if stored else datetime.now(UTC),
        finished_at=datetime.now(UTC),
    )
    return Checked(row=erased, removables=removables, newest=(newest.version_id, newest.etag))


def close_erasures(files: AuditFiles, job: Job, erasure: Erasure) -> None:
    """Say of each request of which nothing is left that it is finished. To be called after the end record."""
    for request in erasure.finished:
        record_erased(files, request, job)
