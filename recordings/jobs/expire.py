"""Delete recordings whose retention has ended, counted from the day of the call; each row certifies a destruction.

A day of calls is compared with the audit table first, from listings alone. Where more than a few of its recordings do
not stand as the table says, the run deletes nothing more: what is not understood is not deleted.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pandas as pd

from recordings.decision import EXEMPT_TAG
from recordings.errors import AuditDamaged, Changed, Skipped, StoreRefused, StoreUnavailable
from recordings.formatting import plural
from recordings.holds import cases_by_key, check_no_case_holds
from recordings.jobs.aftermath import found_destroyed, state_after
from recordings.jobs.deletion import Checked, Proof, delete_batch, in_order, prove, removable, versions_of
from recordings.jobs.job import Job, batches_of, begun
from recordings.jobs.result import JobResult, JobSums
from recordings.jobs.selection import dates_asked_for
from recordings.keys import contact_of
from recordings.pool import Pool
from recordings.provenance import UNVERSIONED
from recordings.recording import Day
from recordings.retention_rules import may_have_ended, rule_for
from recordings.retrying import patience
from recordings.s3.deleting import DeletingStore
from recordings.s3.objects import Version
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.reading import STATE_COLUMNS, Only, current, read_days, rows_of_days
from recordings.table.rows import DESTROYED, STATES, AuditRow, BatchRows, Status
from recordings.versions import versions_by_key

_COLUMNS = (*STATE_COLUMNS, "reason", "etag_before")
_LOOKED_AT = (Status.SKIPPED, Status.REJECTED)  # attempts that say what lay there: the recording was never archived


@dataclass(frozen=True, slots=True, kw_only=True)
class DayToExpire:
    """What a day of calls holds of recordings whose retention may have ended."""

    day: Day
    rows: tuple[AuditRow, ...]  # to be worked on, and those that end at once, with the reason
    differing: tuple[str, ...]  # a sentence for each recording that does not stand as the table says

    @property
    def percent_differing(self) -> float:
        """The share of these recordings that do not stand as the table says."""
        return 100 * len(self.differing) / len(self.rows) if self.rows else 0.0

    def batches(self, *, first: int, leave: Collection[str]) -> list[BatchRows]:
        """The rows in batches of one folder each, numbered from ``first`` on, but for the keys to ``leave``."""
        ordered = sorted((row for row in self.rows if row.key not in leave), key=lambda row: row.key)
        found: list[BatchRows] = []
        for _, rows in groupby(ordered, key=lambda row: row.key.rpartition("/")[0]):
            found += batches_of(list(rows), first=first + len(found))
        return found


def look_at_day(store: Store, files: AuditFiles, day: Day, job: Job) -> DayToExpire:
    """The day's recordings whose retention may have ended, each with its row. Raises AuditDamaged."""
    listed = patience()(_versions_of_day, store, day)
    due = {
        key: versions
        for key, versions in listed.items()
        if may_have_ended(job.rules, key, day.date, job.started_at.date())
    }
    if not due:
        return DayToExpire(day=day, rows=(), differing=())
    only = Only(bucket=store.bucket, prefixes=day.key_prefixes)
    cases = cases_by_key(read_days(files, [day.date], _COLUMNS, only))
    known = {row.key: row for row in rows_of_days(files, [day.date], _COLUMNS, only, _newest_rows)}
    differing = list[str]()
    rows = [
        _row(key, versions, known.get(key), cases.get(key, frozenset()), day, job, differing)
        for key, versions in due.items()
        if not _is_over(known.get(key), versions)
    ]
    rows += _vanished(known, listed, day, job, differing)
    return DayToExpire(day=day, rows=tuple(rows), differing=tuple(differing))


def sentence_of_stop(found: DayToExpire, job: Job) -> str:
    """Why the run deletes nothing more."""
    return (
        f"calls of {found.day}: {len(found.differing):,} of {plural(len(found.rows), 'recording')} "
        f"({found.percent_differing:.1f} %) do not stand as the audit table says, more than stop_above_percent="
        f"{job.stop_above_percent:g} allows, so this run deleted nothing there or on later days. The first: "
        f"{'; '.join(found.differing[:3])}. Reconcile these dates, and then run it again"
    )


def _versions_of_day(store: Store, day: Day) -> Mapping[str, list[Version]]:
    found: dict[str, list[Version]] = defaultdict(list)
    for prefix in day.key_prefixes:
        for page in store.list_versions(prefix):
            for version in page:
                if not version.key.endswith("/"):  # a folder's placeholder
                    found[version.key].append(version)
    return found


def _newest_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The current state of each recording; the last attempt on those that have none."""
    states = current(rows)
    others = rows[~rows["key"].isin(states["key"]) & rows["status"].isin(_LOOKED_AT) & rows["etag_before"].notna()]
    last = others.sort_values("started_at", kind="stable").drop_duplicates("key", keep="last")
    return pd.concat([states, last])


def _row(
    key: str,
    versions: Sequence[Version],
    known: AuditRow | None,
    cases: frozenset[str],
    day: Day,
    job: Job,
    differing: list[str],
) -> AuditRow:
    """The recording's row: what the table says of it, or why it stays."""
    try:
        if known is None:
            raise Skipped("not-in-table", "the audit table does not know it: archive its day first")
        check_stands(known, versions)
    except (Skipped, Changed) as error:
        differing.append(f"{key}: {error}")
        return _left(known or _unknown(key, day, job), job, error)
    if cases:
        return _left(known, job, Skipped("held", f"held for {', '.join(sorted(cases))}"))
    return known


def _left(row: AuditRow, job: Job, error: Skipped | Changed) -> AuditRow:
    status = Status.CHANGED if isinstance(error, Changed) else Status.SKIPPED
    return replace(begun(row, job), status=status, reason=str(error), finished_at=datetime.now(UTC))


def _unknown(key: str, day: Day, job: Job) -> AuditRow:
    return AuditRow(
        run_id=job.run_id,
        recording_date=day.date,
        bucket=job.bucket,
        key=key,
        contact_id=contact_of(key),
        status=Status.SKIPPED,
        profile="unknown",
        started_at=datetime.now(UTC),
        software_version=job.software_version,
    )


def _vanished(
    known: Mapping[str, AuditRow], listed: Mapping[str, list[Version]], day: Day, job: Job, differing: list[str]
) -> Iterator[AuditRow]:
    """Recordings that the table says are there, and of which no version is."""
    for key, row in known.items():
        is_due = may_have_ended(job.rules, key, day.date, job.started_at.date())
        if is_due and key not in listed and row.status in STATES and row.status not in DESTROYED:
            error = Changed("vanished", "no version of it is left, and no run of ours deleted it")
            differing.append(f"{key}: {error}")
            yield _left(row, job, error)


def _is_over(row: AuditRow | None, versions: Sequence[Version]) -> bool:
    """Whether a run of ours has deleted the recording, and only a delete marker is left."""
    return row is not None and row.status in DESTROYED and not any(version.etag for version in versions)


def check_stands(row: AuditRow, versions: Sequence[Version]) -> None:
    """Raises Changed where the newest object is not what the table's last row says.

    A delete marker above is no difference: a lifecycle rule may have hidden what this run is to delete.
    """
    if row.status in DESTROYED:
        raise Changed("resurrected", f"run {row.run_id} deleted it, and it is there again")
    newest = next((each for each in reversed(in_order(versions)) if each.etag), None)
    if newest is None:
        raise Changed("vanished", "no version of it is left, and no run of ours deleted it")
    is_state = row.status in STATES
    side = row.after if is_state else row.before
    said = side.etag, side.version or (UNVERSIONED if is_state else newest.version_id)
    shown = newest.etag, newest.version_id
    if shown != said:
        raise Changed("changed-since", f"S3 shows (ETag, version) {shown}, the table says {said}")


def expire_batch(store: DeletingStore, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Prove that the recordings may go, record the intent, delete all versions of each, write the rows."""
    wanted = [row for row in batch.rows if row.run_id != job.run_id]
    versions = versions_by_key(store, sorted(row.key for row in wanted))

    def proved(row: AuditRow) -> Proof | AuditRow:
        if row.run_id == job.run_id:  # it was decided from the table and the listing
            return row
        return prove(begun(row, job), lambda: _checked(store, row, versions.get(row.key), job))

    return delete_batch(store, files, batch, job, pool, proved=proved, found=found_destroyed)


def _checked(store: DeletingStore, row: AuditRow, listed: Sequence[Version] | None, job: Job) -> Checked:
    """All versions of the recording, if nothing holds any of them and its retention has ended by S3's own clock."""
    ordered = in_order(versions_of(store, row.key) if listed is None else listed)
    check_stands(row, ordered)
    removables = tuple(removable(store, version) for version in ordered)
    stored = next(each.stored for each in reversed(removables) if each.stored)
    tags = store.tags(row.key, stored.version_id)
    if EXEMPT_TAG in tags.items():
        raise Skipped("exempt", "tagged archive=exempt")
    check_no_case_holds(tags)
    rule = rule_for(job.rules, row.key, tags)
    if not rule.has_ended(row.recording_date, stored.answered_at.date()):
        raise Skipped("in-retention", f"kept {rule.said}")
    expired = replace(
        begun(row, job),
        status=Status.EXPIRED,
        reason=f"retention: kept {rule.said}",
        state_at=state_after(row, stored.answered_at),
        finished_at=datetime.now(UTC),
    )
    if row.status not in STATES:
        expired = replace(expired, version_before=stored.version_id or UNVERSIONED, sha256_before=stored.sha256)
    return Checked(row=expired, removables=removables, newest=(ordered[-1].version_id, ordered[-1].etag))


class Expiry:
    """The recordings whose retention may have ended, a day of calls after the other, some batches at a time.

    The caller that iterates must hand the outcomes of the batches to ``add`` before it asks for the next ones.
    """

    def __init__(self, job: Job, store: Store, files: AuditFiles, pool: Pool, *, leave: Collection[str] = ()) -> None:
        self.sums = JobSums(job)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._job, self._store, self._files, self._pool, self._leave = job, store, files, pool, frozenset(leave)
        self._batches = 0

    def __iter__(self) -> Iterator[list[BatchRows]]:
        for day in self._days():
            try:
                found = look_at_day(self._store, self._files, day, self._job)
            except (AuditDamaged, StoreRefused, StoreUnavailable) as error:
                self.problems.append(f"calls of {day} are left out: {error}")
                continue
            if found.percent_differing > self._job.stop_above_percent:
                self.problems.append(sentence_of_stop(found, self._job))
                return
            batches = found.batches(first=self._batches + 1, leave=self._leave)
            self._batches += len(batches)
            yield batches

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count in the outcomes of these batches."""
        self.sums.add(batches, outcomes)

    def _days(self) -> list[Day]:
        """The days below each prefix that have versions left, of those that any rule may have ended; oldest first."""
        kept = [rule.keep_days for rule in self._job.rules if rule.keep_days is not None]
        if not kept:
            self.notes.append("every rule keeps recordings for ever")
            return []
        last = self._job.started_at.date() - timedelta(days=min(kept) + 1)
        days = [day for day in dates_asked_for(self._job, self._files) if day <= last]
        if not days:
            self.notes.append(f"the audit table has no calls of {last} or before, in the dates asked for")
        each = [Day(prefix=prefix, date=day) for day in days for prefix in self._job.prefixes]
        return [day for day, is_left in zip(each, self._pool.map(self._has_any, each), strict=True) if is_left]

    def _has_any(self, day: Day) -> bool:
        """Whether versions are left; also if that cannot be known, which the look at the day then reports."""
        try:
            pages = (next(self._store.list_versions(place, page_size=1), []) for place in day.key_prefixes)
            return any(pages)
        except (StoreRefused, StoreUnavailable):
            return True
