"""The recordings that a restore brings back without a table: replacements say in their metadata what they are."""

from collections.abc import Callable, Iterator
from datetime import date

import pandas as pd

from recordings.decision import WAS_DESTROYED
from recordings.jobs.engine.job import Job, bare_row
from recordings.jobs.engine.selection import MAX_NAMED, PART_ROWS, Found, Gone, dates_asked_for, of_run, only_of, plain
from recordings.jobs.engine.vain import by_run, knows_nothing, noun_of, sorted_by_leniency, where
from recordings.keys import contact_of, date_of
from recordings.observed import found_row
from recordings.outcomes import accounted, ended
from recordings.pool import Pool
from recordings.recording import Day, days_between
from recordings.retrying import retrying
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.reading import current, destroyed_recordings, read_days
from recordings.table.rows import AuditRow, Status

_FEW_CONTACTS = 10  # whose keys are listed one by one, which costs a request each, rather than with their day


class ByProvenance:
    """The recordings of a bucket that the table does not know, as their own provenance describes them, for a restore.

    Rows of an earlier restore of this kind do not make the table know the bucket. A recording that a run destroyed, as
    the table says, is not restored, even if somebody has copied the recording back.
    """

    def __init__(self, job: Job, store: Store, files: AuditFiles, pool: Pool) -> None:
        self._job, self._store, self._files, self._pool = job, store, files, pool
        self._names: set[str | None] = set()
        self._found = 0
        self._destroyed = dict[str, str]()
        self._keys = set[str]()  # of the destroyed recordings that are there again

    def __iter__(self) -> Iterator[list[AuditRow]]:
        """The rows, some thousands at a time; objects that are no replacements are left out."""
        days = dates_asked_for(self._job, self._files)
        self._destroyed = destroyed_recordings(self._files, days, only_of(self._job))
        keys = list(_keys_asked_for(self._job, self._store))
        for start in range(0, len(keys), PART_ROWS):
            found = self._pool.map(self._look_at, keys[start : start + PART_ROWS])
            rows = [row for row in found if row is not None and _is_of_run(row, self._job)]
            self._names |= {row.key if self._job.keys else row.contact_id for row in rows}
            self._keys |= {row.key for row in rows if row.key in self._destroyed}
            self._found += len(rows)
            yield rows

    def _look_at(self, key: str) -> AuditRow | None:
        row = _row_by_provenance(key, self._job, self._store)
        if row is None or key not in self._destroyed:
            return row
        return ended(row, Status.SKIPPED, f"{WAS_DESTROYED}: {self._destroyed[key]}; somebody has brought it back")

    def sentences(self) -> tuple[list[str], list[str]]:
        """What was asked for in vain, and notes. To be asked for after the rows."""
        job = self._job
        restored = self._restored_before()
        column, asked = job.names or ("contact_id", ())
        gone = {key if job.keys else contact_of(key) for key in self._destroyed}
        found = self._names | set(restored[column]) | gone
        vain = [f"{noun_of(job)} {each}: no replacement in the bucket" for each in asked if each not in found]
        vain += [] if job.of_run else self._destroyed_for_good()
        if job.of_run and not self._found:
            vain.append(f"run {job.of_run}: the bucket has no recording that this run archived")
        elif not (self._found or vain) and restored.empty:
            vain.append(f"no object{where(job)} says that it was archived")
        notes = [knows_nothing(job)]
        if not restored.empty:
            notes.append(f"restored before: {by_run(_as_found(restored), Status.RESTORED)}")
        return sorted_by_leniency(job, vain, notes)

    def _destroyed_for_good(self) -> list[str]:
        """The recordings that a run has destroyed, each in a sentence; without those that are there again."""
        gone = sorted(self._destroyed.keys() - self._keys)
        return [f"{key}: {self._destroyed[key]}" for key in gone[:MAX_NAMED]]

    def _restored_before(self) -> pd.DataFrame:
        """By earlier restores of this kind, not by this one."""
        columns = ["bucket", "key", "contact_id", "run_id", "status", "state_at", "started_at"]
        days = dates_asked_for(self._job, self._files)
        states = current(read_days(self._files, days, columns, only_of(self._job)))
        before = states["status"].eq(Status.RESTORED) & states["run_id"].ne(self._job.run_id)
        return of_run(states[before], self._job)


def _as_found(restored: pd.DataFrame) -> Found:
    groups = restored.groupby("run_id")["state_at"]
    return Found(
        others={
            (str(Status.RESTORED), str(run_id)): Gone(recordings=len(group), last_at=plain(group.max()))
            for run_id, group in groups
        }
    )


def _keys_asked_for(job: Job, store: Store) -> Iterator[str]:
    """The keys that can be of a recording asked for: no other object is looked at, and few others are listed."""
    listed = (key for place in _places(job) for key in retrying()(_keys_below, store, place))
    return filter(_may_be(job), job.keys or listed)


def _places(job: Job) -> list[str]:
    """The prefixes to list: with dates and prefixes, those of each day, and for a few contacts, those of their ids."""
    start, end = job.start_date, job.end_date
    if start is None or end is None or job.prefixes == ("",):
        return list(job.prefixes)
    few = job.contact_ids if job.contact_ids and len(job.contact_ids) <= _FEW_CONTACTS else ("",)
    days = (Day(prefix=prefix, date=day, shard=contact) for day in days_between(start, end)
            for prefix in job.prefixes for contact in few)  # fmt: skip
    return [place for day in days for place in day.key_prefixes]


def _keys_below(store: Store, prefix: str) -> list[str]:
    return [item["Key"] for item in store.list_objects(prefix)]


def _is_of_run(row: AuditRow, job: Job) -> bool:
    return job.of_run in (None, row.run_id) or not row.holds_replacement


def _may_be(job: Job) -> Callable[[str], bool]:
    """Whether a key can be of a recording asked for: no other object is looked at."""
    start, end = job.start_date or date.min, job.end_date or date.max
    contacts = set(job.contact_ids)

    def check(key: str) -> bool:
        day = date_of(key)
        return day is not None and start <= day <= end and (not contacts or contact_of(key) in contacts)

    return check


def _row_by_provenance(key: str, job: Job, store: Store) -> AuditRow | None:
    """A replacement's row; the row that says why it could not be looked at; None for what is no replacement."""
    unknown = bare_row(key, date_of(key) or date.min, job, status=Status.SKIPPED)
    row = accounted(unknown, lambda: found_row(store, key) or unknown)
    if row.status is Status.FAILED and (row.reason or "").startswith("refused"):
        return ended(row, Status.SKIPPED, f"unreadable: {row.reason}")
    is_nothing = (row.reason is None and not row.holds_replacement) or row.status is Status.CHANGED
    return None if is_nothing else row
