"""Delete recordings whose retention has ended, counted from the day of the call; each row certifies a destruction.

Where more than a few of a day's recordings do not stand as the audit table says, the run deletes nothing more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any

from recordings.errors import AuditDamaged, Skipped, StoreRefused, StoreUnavailable
from recordings.formatting import plural
from recordings.jobs.engine.deletion import Checked, Proof, check_none_exempt, delete_batch, prove, removable
from recordings.jobs.engine.job import Job, begun
from recordings.jobs.engine.result import JobResult
from recordings.jobs.engine.selection import dates_asked_for
from recordings.jobs.engine.traces import has_marker_left, reason_of_destruction, state_after, state_of_end
from recordings.jobs.engine.work import Work
from recordings.jobs.expiring_day import DayToExpire, check_stands, in_retention, last_due, look_at_day
from recordings.pool import Pool
from recordings.recording import Day
from recordings.retention_rules import rule_for
from recordings.retrying import retrying
from recordings.s3.deleting import DeletingStore, Removable
from recordings.s3.objects import UNVERSIONED, StoredObject, Version
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import HOLDS_REPLACEMENT, STATES, AuditRow, BatchRows, Status
from recordings.versions import in_order, versions_by_key, versions_of


def expire_batch(store: DeletingStore, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Prove that the recordings may go, record the intent, delete all versions of each, write the rows."""
    wanted = [row for row in batch.rows if row.run_id != job.run_id]
    versions = versions_by_key(store, sorted(row.key for row in wanted))

    def proved(row: AuditRow) -> Proof | AuditRow:
        if row.run_id == job.run_id:  # it was decided from the table and the listing
            return row
        return prove(begun(row, job), lambda: _checked(store, row, versions.get(row.key), job))

    return delete_batch(store, files, batch, job, pool, proved=proved)


def _checked(store: DeletingStore, row: AuditRow, listed: Sequence[Version] | None, job: Job) -> Checked:
    """All versions of the recording, if nothing holds any of them and its retention has ended by S3's own clock."""
    ordered = versions_of(store, row.key) if listed is None else in_order(listed)
    check_stands(row, ordered)
    removables = tuple(removable(store, version) for version in ordered)
    if has_marker_left(row):
        return _rest(row, removables, ordered, job)
    check_none_exempt(removables)
    objects = [each.stored for each in removables if each.stored]
    newest, tags = objects[-1], [each.tags for each in removables if each.stored][-1]
    rule = rule_for(job.rules, row.key, tags)
    if not rule.has_ended(row.recording_date, newest.answered_at.date()):
        raise in_retention(rule, job.rules)
    expired = replace(
        _certificate(row, newest, ordered, job),
        reason=f"retention: kept {rule.said}",
        state_at=state_after(row, newest.answered_at),
    )
    if not job.dry_run:
        expired = _with_hashes(store, expired, objects)
    return Checked(row=expired, removables=removables, newest=(ordered[-1].version_id, ordered[-1].etag))


def _rest(row: AuditRow, removables: Sequence[Removable], ordered: Sequence[Version], job: Job) -> Checked:
    """The delete markers that an earlier run left, if any still are: that run has decided, and deleted all versions."""
    expired = replace(
        begun(row, job), status=row.status, reason=reason_of_destruction(row), finished_at=datetime.now(UTC)
    )
    settled = replace(expired, state_at=state_of_end(expired, expired.state_at)) if expired.state_at else expired
    newest = ordered[-1].version_id if ordered else None
    return Checked(row=settled, removables=tuple(removables), newest=(newest, ""))


def _certificate(row: AuditRow, newest: StoredObject, ordered: Sequence[Version], job: Job) -> AuditRow:
    """The row of the destruction: it names the newest version, which is the last that is deleted."""
    version = newest.version_id or UNVERSIONED
    is_state = row.status in STATES
    has_original = any(each.version_id == row.version_before for each in ordered)
    return replace(
        begun(row, job),
        status=Status.EXPIRED,
        version_before=row.version_before if is_state else version,
        version_after=version if is_state else None,
        sha256_before=row.sha256_before if is_state else newest.sha256,
        original_kept=has_original if row.status in HOLDS_REPLACEMENT else None,
        finished_at=datetime.now(UTC),
    )


def _with_hashes(store: Store, expired: AuditRow, objects: Sequence[StoredObject]) -> AuditRow:
    """The certificate with the SHA-256 of each version that it names: after the deletion nobody can learn it.

    A version is read if neither the table nor S3 has its hash; if S3 would have to thaw it first, the reason says so.
    """
    there = {each.version_id or UNVERSIONED: each for each in objects}
    for side in ("before", "after"):
        stored = there.get(getattr(expired, f"version_{side}") or "")
        if stored and not getattr(expired, f"sha256_{side}"):
            try:
                found: dict[str, Any] = {f"sha256_{side}": store.sha256_of(stored)}
                expired = replace(expired, **found)
            except Skipped as error:
                expired = replace(expired, reason=f"{expired.reason}; its SHA-256 is not known: {error}")
    return expired


class Expiry(Work):
    """The recordings whose retention may have ended, one day of calls after the other."""

    def __init__(self, job: Job, store: Store, files: AuditFiles, leave: Mapping[str, date] | None = None) -> None:
        super().__init__(job, store, files, leave)
        self._gone = 0
        self._keeping = set[str]()

    def __iter__(self) -> Iterator[list[BatchRows]]:
        for _, places in groupby(self._days(), key=lambda day: day.date):
            found = [each for day in places if (each := self._looked_at(day))]
            stops = [each for each in found if each.percent_differing > self._job.stop_above_percent]
            if stops:
                self.problems += [each.sentence_of_stop(self._job) for each in stops]
                break
            self._gone += sum(each.gone_by_lifecycle for each in found)
            self._keeping.update(rule for each in found for rule in each.keeping)
            for each in found:
                yield from self._batched(*each.folders)
        self.notes += self._rules_of_nothing()
        if self._gone:
            gone = plural(self._gone, "recording")
            self.notes.append(f"{gone} vanished before this run; the bucket's lifecycle rules may be the reason")

    def _looked_at(self, day: Day) -> DayToExpire | None:
        try:
            return look_at_day(self._store, self._files, day, self._job)
        except (AuditDamaged, StoreRefused, StoreUnavailable) as error:
            self.problems.append(f"calls of {day} are left out: {error}")
            return None

    def _rules_of_nothing(self) -> list[str]:
        """A note on each rule that may be mistyped, so that a later rule decides, and deletes.

        These are a rule whose prefix no key begins with, and a rule with a tag that decided nothing where others did.
        """
        notes, decided = list[str](), self.sums.decided | self._keeping
        for number, rule in enumerate(self._job.rules, start=1):
            if rule.prefix and not self._has_any(rule.prefix):
                covers = f"no key begins with {rule.prefix!r}, so rule {number} covers nothing"
            elif rule.tag and decided and rule.said not in decided:
                covers = f"rule {number}, for the tag {rule.tag!r}, decided about no recording in this run"
            else:
                continue
            notes.append(f"{covers}: correct the rule if it is mistyped")
        return notes

    def _has_any(self, prefix: str) -> bool:
        try:
            return retrying()(lambda: next(iter(self._store.list_objects(prefix)), None)) is not None
        except StoreRefused:
            return True  # nobody knows

    def _days(self) -> list[Day]:
        """The table's days below each prefix that a rule may no longer keep; oldest first."""
        last = last_due(self._job)
        if last is None:
            self.notes.append("every rule keeps recordings for ever")
            return []
        days: list[date] = [day for day in dates_asked_for(self._job, self._files) if day <= last]
        if not days:
            self.notes.append(
                f"in the dates asked for, the audit table has no calls up to {last}, the last day whose retention may "
                "have ended"
            )
        return [Day(prefix=prefix, date=day) for day in days for prefix in self._job.prefixes]
