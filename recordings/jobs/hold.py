"""Put a recording under a legal hold for a case, or lift the hold of a case. Several cases can hold one recording.

All versions are held, so that neither a release nor a lifecycle rule takes the original. Where the bucket has Object
Lock, S3 enforces the hold, and the audit table names the cases; elsewhere the tag ``legal-hold`` names them.

A hold's intent is written before S3 is asked, and a lifting looks at intents after it has lifted: so a case that holds
while another case's hold is lifted is seen by one of the two.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from recordings.errors import Changed, Skipped, Unproven
from recordings.holds import HOLD_TAG, case_of, cases_by_key, cases_in, reason_of, with_cases
from recordings.jobs.deletion import versions_of
from recordings.jobs.finding import Finding, rows_of_keys, wanted_by
from recordings.jobs.intents import conclude, confirmed, open_intents, set_out
from recordings.jobs.job import Job, batches_of
from recordings.jobs.kinds import FOUND
from recordings.jobs.result import JobResult, JobSums
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.s3.objects import Version
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.reading import Only, read_days
from recordings.table.records import Kind
from recordings.table.rows import AuditRow, BatchRows, Status
from recordings.tag import MAX_TAGS

HELD_BY_OTHERS = "(a hold that others had set before)"
_BEFORE = "held by others before"
_COLUMNS = ("bucket", "key", "status", "reason", "started_at")


class Cases:
    """The cases that hold recordings of these days, as rows and open intents say."""

    def __init__(self, files: AuditFiles, job: Job, days: Iterable[date]) -> None:
        self._files, self._job = files, job
        rows = read_days(files, sorted(set(days)), _COLUMNS, Only(bucket=job.bucket))
        self._by_rows = cases_by_key(rows)
        held = rows[rows["status"].eq(Status.HELD)]
        self._by_others = set(held[held["reason"].fillna("").astype(str).str.endswith(_BEFORE)]["key"])

    def of(self, key: str) -> frozenset[str]:
        """The cases that hold the recording, by rows."""
        return self._by_rows.get(key, frozenset()) | ({HELD_BY_OTHERS} if key in self._by_others else set())

    def about_to_hold(self) -> dict[str, set[str]]:
        """By key, the cases for which a run has set out to hold it and has not told yet how that ended."""
        found: dict[str, set[str]] = {}
        for intent in open_intents(self._files, self._job.bucket):
            if intent.kind is Kind.HOLD:
                for row in intent.rows:
                    found.setdefault(row.key, set()).add(str(case_of(row.reason)))
        return found


def hold_batch(store: Store, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Look at each recording, record the intent, set or lift the holds, write the rows."""
    cases = Cases(files, job, (row.recording_date for row in batch.rows))
    looked = pool.map(lambda row: accounted(row, lambda: _planned(store, row, job, cases)), batch.rows)
    wanted = [row for row in looked if row.status is job.traits.done]
    rows = [row for row in looked if row.status is not job.traits.done]
    if job.dry_run:
        return JobResult(job, looked, [])
    intent = set_out(files, job, batch, wanted)
    act = _held if job.kind is Kind.HOLD else _lifted
    unknown = {row.key: replace(row, status=Status.FAILED) for row in wanted}
    rows += pool.map(lambda row: accounted(unknown[row.key], lambda: act(store, row, cases)), wanted)
    if job.kind is Kind.LIFT:
        _hold_again(store, wanted, cases, pool)
    rows = confirmed(intent, rows, lambda row: FOUND[job.kind](store, row), pool)
    return JobResult(job, rows, conclude(files, intent, rows))


def _planned(store: Store, row: AuditRow, job: Job, cases: Cases) -> AuditRow:
    """The row as it will be. Raises Changed or Skipped where there is nothing to hold or to lift."""
    versions = _objects(store, row.key)
    newest = store.head(row.key, versions[-1].version_id)
    case, held_by, tags = str(job.case), cases.of(row.key), store.tags(row.key, versions[-1].version_id)
    reason = reason_of(case)
    if job.kind is Kind.LIFT and case not in held_by | cases_in(tags):
        raise Skipped("not-held", f"case {case} does not hold it")
    if job.kind is Kind.HOLD and store.locks_enabled and newest.legal_hold and not held_by:
        reason += f"; {_BEFORE}"
    if job.kind is Kind.HOLD and not store.locks_enabled:
        _check_room(with_cases(tags, cases_in(tags) | {case}))
    return replace(
        row,
        status=Status.HELD if job.kind is Kind.HOLD else Status.LIFTED,
        reason=reason,
        bytes_after=newest.size_bytes,
        etag_after=newest.etag,
        version_after=newest.version_id,
        storage_class_after=newest.storage_class,
        state_at=newest.answered_at,
        finished_at=datetime.now(UTC),
    )


def _objects(store: Store, key: str) -> list[Version]:
    """The key's versions without delete markers, the newest last. Raises Changed where there are none."""
    versions = [version for version in versions_of(store, key) if version.etag]
    if not versions:
        raise Changed("gone", "no version of it is left")
    return versions


def _check_room(tags: dict[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        raise Skipped("tag-limit", f"it has {MAX_TAGS} tags, so there is no room for the tag {HOLD_TAG}: remove one")


def _held(store: Store, row: AuditRow, _: Cases) -> AuditRow:
    case = str(case_of(row.reason))
    for version in _objects(store, row.key):
        if store.locks_enabled:
            store.put_hold(row.key, version.version_id, held=True)
        else:
            tags = store.tags(row.key, version.version_id)
            held = with_cases(tags, cases_in(tags) | {case})
            _check_room(held)
            store.put_tags(row.key, version.version_id, held)
    return _proved(store, row, held=True)


def _lifted(store: Store, row: AuditRow, cases: Cases) -> AuditRow:
    """Take the case away; S3's own hold stays as long as another case, or somebody else, holds the recording."""
    case = str(case_of(row.reason))
    others = cases.of(row.key) - {case}
    if store.locks_enabled and others:
        return replace(row, reason=f"{row.reason}; still held for {', '.join(sorted(others))}")
    for version in _objects(store, row.key):
        if store.locks_enabled:
            store.put_hold(row.key, version.version_id, held=False)
        else:
            tags = store.tags(row.key, version.version_id)
            store.put_tags(row.key, version.version_id, with_cases(tags, cases_in(tags) - {case}))
    return _proved(store, row, held=False)


def _proved(store: Store, row: AuditRow, *, held: bool) -> AuditRow:
    """The row, if S3 shows the hold, or shows that it is lifted."""
    if store.locks_enabled:
        shown = store.head(row.key, row.version_after).legal_hold
    else:
        shown = str(case_of(row.reason)) in cases_in(store.tags(row.key, row.version_after))
    if shown is not held:
        raise Unproven("hold-differs", f"S3 shows it as {'held' if shown else 'not held'}, after we asked otherwise")
    return row


def _hold_again(store: Store, lifted: Collection[AuditRow], cases: Cases, pool: Pool) -> None:
    """Hold again what another case has begun to hold while this one's hold was lifted."""
    beginning = cases.about_to_hold() if store.locks_enabled and lifted else {}
    again = [row for row in lifted if beginning.get(row.key, set()) - {case_of(row.reason)}]

    def hold(row: AuditRow) -> AuditRow:
        for version in _objects(store, row.key):
            store.put_hold(row.key, version.version_id, held=True)
        return row

    pool.map(lambda row: accounted(row, lambda: hold(row)), again)


class Holds:
    """The objects to hold, or whose hold is lifted, some batches at a time.

    The caller that iterates must hand the outcomes of the batches to ``add`` before it asks for the next ones.
    """

    def __init__(self, job: Job, store: Store, files: AuditFiles, *, leave: Collection[str] = ()) -> None:
        self.sums = JobSums(job)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._job, self._store, self._files, self._leave = job, store, files, frozenset(leave)
        self._batches = 0

    def __iter__(self) -> Iterator[list[BatchRows]]:
        finding = Finding(wanted_by(self._job), self._store, self._files)
        for keys in finding:
            rows = rows_of_keys([key for key in keys if key not in self._leave], self._job, None)
            batches = batches_of(rows, first=self._batches + 1)
            self._batches += len(batches)
            yield batches
        (self.notes if self._job.missing_ok else self.problems).extend(finding.in_vain)

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count in the outcomes of these batches."""
        self.sums.add(batches, outcomes)
