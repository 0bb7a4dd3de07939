"""Erase everything that a bucket holds of a contact, or under a key: all versions, analyses and transcripts, too.

The request is written down before the first deletion. It is finished when a listing shows nothing of it any more, a
week after it was made or later. Until then each run without contacts and keys takes it up again: what was under a hold
or a lock, and what Contact Lens, a replication or a copy wrote after the first run.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from recordings.errors import Changed, StoreRefused, StoreUnavailable
from recordings.formatting import plural
from recordings.holds import reason_of
from recordings.jobs.engine.deletion import Checked, delete_batch, prove, removable
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.object_search import ObjectSearch, rows_of_keys
from recordings.jobs.engine.result import JobResult
from recordings.jobs.engine.work import Work
from recordings.keys import contact_of
from recordings.pool import Pool
from recordings.provenance import provenance_of
from recordings.request import Selection
from recordings.s3.deleting import DeletingStore
from recordings.s3.objects import UNVERSIONED, StoredObject, Version
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.records import ErasureRecord, open_erasures, record_erased, record_erasure
from recordings.table.rows import AuditRow, BatchRows, Status
from recordings.versions import versions_of

OPEN_DAYS = 7  # for which a request stays open at least


def requested_by(job: Job) -> ErasureRecord:
    """The request of a job that names contacts or keys."""
    return ErasureRecord(
        run_id=job.run_id,
        bucket=job.bucket,
        prefixes=job.prefixes,
        contact_ids=job.contact_ids,
        keys=job.keys,
        start_date=job.start_date,
        end_date=job.end_date,
        case=str(job.case),
        requested_at=job.started_at,
    )


class Erasure(Work):
    """The objects to erase: those of the job's own request, or of all unfinished ones."""

    def __init__(self, job: Job, store: Store, files: AuditFiles, leave: Mapping[str, date] | None = None) -> None:
        super().__init__(job, store, files, leave)
        self._finished: list[ErasureRecord] = []

    def __iter__(self) -> Iterator[list[BatchRows]]:
        if not (self._job.dry_run or self._job.takes_up_requests):
            record_erasure(self._files, requested_by(self._job))
        for requests in self._requests():
            try:
                yield from self._of(requests)
            except (StoreRefused, StoreUnavailable) as error:
                runs = ", ".join(each.run_id for each in requests)
                self.problems.append(f"the bucket could not be listed for the requests of {runs}: {error}")

    def conclude(self) -> None:
        """Record as finished each request for which nothing is left."""
        for request in self._finished:
            record_erased(self._files, request, self._job)

    def _requests(self) -> list[list[ErasureRecord]]:
        """The requests, those together that are looked for at the same places."""
        if not self._job.takes_up_requests:
            return [[requested_by(self._job)]]
        requests, damaged = open_erasures(self._files, self._job.bucket)
        self.problems += [
            f"{each} cannot be read, so nobody knows what to erase for it: make the request again" for each in damaged
        ]
        together = defaultdict[object, list[ErasureRecord]](list)
        for request in requests:
            together[request.prefixes, request.start_date, request.end_date].append(request)
        return list(together.values())

    def _of(self, requests: Sequence[ErasureRecord]) -> Iterator[list[BatchRows]]:
        search = ObjectSearch(_wanted(requests), self._store, self._files)
        for keys in search:
            yield from self._batched_apart(row for key in keys for row in self._rows(requests, key))
        if requests[0].run_id == self._job.run_id:
            self._asked_in_vain(search.in_vain)
        if not self._job.dry_run:
            self._look_what_is_left(requests)

    def _rows(self, requests: Sequence[ErasureRecord], key: str) -> list[AuditRow]:
        case = next(request.case for request in requests if _is_asked(request, key))
        return rows_of_keys([key], self._job, reason_of(case))

    def _look_what_is_left(self, requests: Sequence[ErasureRecord]) -> None:
        left = [key for keys in ObjectSearch(_wanted(requests), self._store, self._files) for key in keys]
        for request in requests:
            count = sum(_is_asked(request, key) for key in left)
            closes = request.requested_at + timedelta(days=OPEN_DAYS)
            whose = f"request {request.case} of run {request.run_id}"
            where = " in the folders of these days and of the days beside them" if request.only_days else ""
            if count:
                self.notes.append(f"{whose}: {plural(count, 'object')} left; the scheduled run tries again")
            elif self._job.started_at < closes:
                self.notes.append(
                    f"{whose}: nothing is left{where}; the request stays open until {closes:%Y-%m-%d}, for objects "
                    "that are written late"
                )
            else:
                self._finished.append(request)


def _wanted(requests: Sequence[ErasureRecord]) -> Selection:
    first = requests[0]
    return Selection(
        bucket=first.bucket,
        prefixes=first.prefixes,
        contact_ids=tuple(dict.fromkeys(each for request in requests for each in request.contact_ids)),
        keys=tuple(dict.fromkeys(each for request in requests for each in request.keys)),
        start_date=first.start_date,
        end_date=first.end_date,
    )


def _is_asked(request: ErasureRecord, key: str) -> bool:
    return key in request.keys or contact_of(key) in request.contact_ids


def erase_batch(store: DeletingStore, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Prove that the objects may go, record the intent, delete all versions of each, write the rows."""
    return delete_batch(
        store,
        files,
        batch,
        job,
        pool,
        proved=lambda row: prove(row, lambda: _checked(store, row)),
    )


def _checked(store: DeletingStore, row: AuditRow) -> Checked:
    """All versions under the key, if nothing holds any of them. The row says no more than which key, when and why.

    It also names the newest version, and the original of a replacement: if only the original goes, that must be told.
    """
    ordered = versions_of(store, row.key)
    if not ordered:
        raise Changed("gone", "no version of it is left")
    removables = tuple(removable(store, version) for version in ordered)
    stored = next((each.stored for each in reversed(removables) if each.stored), None)
    newest, written_at = ordered[-1], max(version.last_modified for version in ordered)
    version = stored.version_id if stored else newest.version_id
    original = _original_below(stored, ordered)
    erased = replace(
        row,
        status=Status.ERASED,
        version_before=original or version,
        version_after=(version or UNVERSIONED) if original else None,
        original_kept=True if original else None,
        state_at=max(stored.answered_at if stored else datetime.now(UTC), written_at + timedelta(microseconds=1)),
        finished_at=datetime.now(UTC),
    )
    return Checked(row=erased, removables=removables, newest=(newest.version_id, newest.etag))


def _original_below(newest: StoredObject | None, ordered: Sequence[Version]) -> str | None:
    """The version id of the original, if the newest object is its replacement, and the original is still there."""
    provenance = provenance_of(newest.metadata) if newest else None
    if newest is None or provenance is None or provenance.original.version == (newest.version_id or UNVERSIONED):
        return None
    return next((each.version_id for each in ordered if each.version_id == provenance.original.version), None)
