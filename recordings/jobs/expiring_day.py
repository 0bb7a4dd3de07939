"""Which recordings of a day of calls need no longer be kept, and whether they stand as the audit table says.

The table alone shows which recordings are due. Only then is the day listed, and compared: what is not understood is
not deleted.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from functools import cached_property
from itertools import groupby

import pandas as pd

from recordings.errors import Changed, Skipped
from recordings.formatting import plural
from recordings.holds import cases_by_key, held_for
from recordings.jobs.engine.intents import underway
from recordings.jobs.engine.job import Job, bare_row, begun
from recordings.jobs.engine.traces import MARKER_LEFT, has_marker_left
from recordings.lifecycle_rules import Stored
from recordings.marks import CONVERTED_TAG
from recordings.recording import Day
from recordings.retention import lifecycle_may_have_deleted, retention_of
from recordings.retention_rules import IN_RETENTION, RetentionRule, may_have_ended
from recordings.retrying import retrying
from recordings.s3.objects import UNVERSIONED, Version
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.reading import STATE_COLUMNS, Only, last_attempts, rows_of_days, states_or_attempts
from recordings.table.rows import DESTROYED, HOLDS_REPLACEMENT, STATES, AuditRow, Status
from recordings.versions import in_order, versions_below

_COLUMNS = (*STATE_COLUMNS, "reason", "etag_before", "run_id")
_WRITES = (*HOLDS_REPLACEMENT, Status.RESTORED)  # states that begin when the newest version is written
_LOOKED_AT = (Status.SKIPPED, Status.REJECTED)  # attempts that say what lay there: the recording was never archived


@dataclass(frozen=True, slots=True, kw_only=True)
class DayToExpire:
    """What a day of calls holds of recordings whose retention may have ended."""

    day: Day
    rows: tuple[AuditRow, ...] = ()  # to be worked on, and those that end at once, with the reason
    recordings: int = 0  # of the day, whose retention may have ended; those already deleted, too
    differing: tuple[str, ...] = ()  # a sentence for each recording that does not stand as the table says
    keeping: frozenset[str] = frozenset()  # the rules that keep others, as an earlier expiry saw by their tags
    gone_by_lifecycle: int = 0  # recordings that are gone, and that a lifecycle rule of the bucket may have deleted

    @property
    def percent_differing(self) -> float:
        """The share of these recordings that do not stand as the table says."""
        return 100 * len(self.differing) / self.recordings if self.recordings else 0.0

    @property
    def folders(self) -> list[list[AuditRow]]:
        """The rows by folder: one listing of a folder shows the versions of many recordings."""
        ordered = sorted(self.rows, key=lambda row: row.key)
        return [list(rows) for _, rows in groupby(ordered, key=lambda row: row.key.rpartition("/")[0])]

    def sentence_of_stop(self, job: Job) -> str:
        """Why the run deletes nothing more, and what to do."""
        return (
            f"calls of {self.day}: {len(self.differing):,} of {plural(self.recordings, 'recording')} "
            f"({self.percent_differing:.1f} %) differ from the audit table, more than stop_above_percent="
            f"{job.stop_above_percent:g} allows, so this run deleted nothing of this day or of later days. The "
            f"first: {'; '.join(self.differing[:3])}. Run reconcile_audit over this day and archive it again; if you "
            "know why the recordings differ, give a higher stop_above_percent: recordings that differ are never deleted"
        )


@dataclass(slots=True)
class _Told:
    """What the table tells of a day's recordings, by key."""

    rows: dict[str, AuditRow] = field(default_factory=dict)  # of those that may be due, with the current state
    destroyed: dict[str, str] = field(default_factory=dict)  # the run that deleted it
    kept: dict[str, str] = field(default_factory=dict)  # the rule, which is known from their tags, and keeps them
    cases: dict[str, frozenset[str]] = field(default_factory=dict)
    written: dict[str, datetime] = field(default_factory=dict)  # when its newest version was written, if a run wrote it


def look_at_day(store: Store, files: AuditFiles, day: Day, job: Job) -> DayToExpire:
    """The day's recordings whose retention may have ended, each with its row. Raises AuditDamaged.

    A day with more differences than the job allows is looked at twice: another run may have worked on it meanwhile.
    """
    found = _look(store, files, day, job)
    return found if found.percent_differing <= job.stop_above_percent else _look(store, files, day, job)


def _look(store: Store, files: AuditFiles, day: Day, job: Job) -> DayToExpire:
    told = _told(files, day, job)
    keeping = frozenset(told.kept.values())
    if not told.rows:
        return DayToExpire(day=day, keeping=keeping)
    listed = {
        key: found
        for key, found in retrying()(versions_below, store, day.key_prefixes).items()
        if _is_due(key, day, job)
    }
    comparison = _Comparison(store, files, day, job)
    rows = [comparison.row(key, listed.get(key, []), told) for key in sorted({*told.rows, *listed} - told.kept.keys())]
    return DayToExpire(
        day=day,
        rows=tuple(row for row in rows if row is not None),
        recordings=len({*told.rows, *listed, *told.destroyed} - told.kept.keys()),
        differing=tuple(comparison.differing),
        keeping=keeping,
        gone_by_lifecycle=comparison.gone_by_lifecycle,
    )


def _is_due(key: str, day: Day, job: Job) -> bool:
    return key.endswith(".wav") and may_have_ended(job.rules, key, day.date, job.started_at.date())


def _told(files: AuditFiles, day: Day, job: Job) -> _Told:
    told = _Told()

    def due(rows: pd.DataFrame) -> pd.DataFrame:
        newest = _newest_rows(rows)
        newest = newest[newest["key"].map(lambda key: _is_due(key, day, job)).astype(bool)]
        has_marker = newest["reason"].astype(str).str.startswith(MARKER_LEFT) & newest["status"].eq(Status.EXPIRED)
        gone = newest[newest["status"].isin(DESTROYED) & ~has_marker]
        told.destroyed = dict(zip(gone["key"], gone["run_id"], strict=True))
        told.kept = _kept(rows, day, job)
        told.cases = cases_by_key(rows)
        written = rows[rows["status"].isin(_WRITES)].groupby("key")["state_at"].max().dropna()
        told.written = dict(zip(written.index, written, strict=True))
        return newest[~newest["key"].isin(told.destroyed) & ~newest["key"].isin(told.kept)]

    only = Only(bucket=job.bucket, prefixes=day.key_prefixes)
    told.rows = {row.key: row for row in rows_of_days(files, [day.date], _COLUMNS, only, due)}
    return told


def _newest_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The current state of each recording; the last attempt on those that have none."""
    return states_or_attempts(rows, rows[rows["status"].isin(_LOOKED_AT) & rows["etag_before"].notna()])


def _kept(rows: pd.DataFrame, day: Day, job: Job) -> dict[str, str]:
    """The recordings of which an earlier expiry saw by their tags which rule keeps them, if that rule still does.

    They cost no request until that rule ends or any rule changes: one before it may cover them now. An expiry with
    dates looks at them: their tags may be others now.
    """
    if job.start_date or job.end_date:
        return {}
    today = job.started_at.date()
    keeping = {
        str(in_retention(rule, job.rules)): rule.said for rule in job.rules if not rule.has_ended(day.date, today)
    }
    last = last_attempts(rows)
    kept = last[last["status"].eq(Status.SKIPPED) & last["reason"].isin(keeping)]
    return dict(zip(kept["key"], kept["reason"].map(keeping), strict=True))


def in_retention(rule: RetentionRule, rules: Sequence[RetentionRule]) -> Skipped:
    """The error for a recording that the rule keeps; it names all rules by a digest."""
    digest = hashlib.sha256(repr(tuple(rules)).encode()).hexdigest()[:8]
    return Skipped(IN_RETENTION, f"kept {rule.said}; rules {digest}")


class _Comparison:
    """The recordings of a day that do not stand as the table says, as they are found."""

    def __init__(self, store: Store, files: AuditFiles, day: Day, job: Job) -> None:
        self.differing: list[str] = []
        self.gone_by_lifecycle = 0
        self._store, self._files, self._day, self._job = store, files, day, job

    def row(self, key: str, versions: Sequence[Version], told: _Told) -> AuditRow | None:
        """The recording's row: what the table says of it, or why it stays; None where nothing is left to do."""
        is_there = any(not version.is_marker for version in versions)
        row = told.rows.get(key)
        if not is_there and (row is None or self._may_have_expired(row, told.written.get(key))):
            self.gone_by_lifecycle += row is not None
            return None
        try:
            if row is None:
                raise _unknown(told.destroyed.get(key))
            check_stands(row, in_order(versions))
        except (Skipped, Changed) as error:
            return self._differs(row or bare_row(key, self._day.date, self._job, status=Status.SKIPPED), error)
        if cases := told.cases.get(key):
            return _left(row, self._job, held_for(cases))
        return row

    def _differs(self, row: AuditRow, error: Skipped | Changed) -> AuditRow:
        if run_id := self._underway.get(row.key):
            sentence = f"run {run_id} set out to work on it, and has not said how that ended"
            return _left(row, self._job, Skipped("underway", sentence))
        self.differing.append(f"{row.key}: {error}")
        return _left(row, self._job, error)

    def _may_have_expired(self, row: AuditRow, written_at: datetime | None) -> bool:
        """Whether lifecycle rules of the bucket may have deleted the recording by now.

        Of its tags, only the one is known that a run has set. What no run wrote may be as old as the call.
        """
        if has_marker_left(row):
            return False
        newest = row.after if row.status in STATES else row.before
        stored = Stored(
            key=row.key,
            size_bytes=newest.size_bytes or 0,
            tags=dict([CONVERTED_TAG] if row.tagged else ()),
            written_at=written_at or datetime.combine(row.recording_date, time.min, UTC),
        )
        now, is_versioned = self._job.started_at, self._is_versioned
        return lifecycle_may_have_deleted(retention_of(self._store), stored, now, is_versioned=is_versioned)

    @cached_property
    def _is_versioned(self) -> bool:
        """Whether the bucket may have versions beneath delete markers."""
        return bool(self._store.versioning().get("Status"))

    @cached_property
    def _underway(self) -> Mapping[str, str]:
        return underway(self._files, self._store.bucket)


def _unknown(deleted_by: str | None) -> Skipped | Changed:
    if deleted_by:
        return Changed("resurrected", f"run {deleted_by} deleted it, and it is there again")
    return Skipped("not-in-table", "the audit table has no row for it: archive its day first")


def _left(row: AuditRow, job: Job, error: Skipped | Changed) -> AuditRow:
    status = Status.CHANGED if isinstance(error, Changed) else Status.SKIPPED
    return replace(begun(row, job), status=status, reason=str(error), finished_at=datetime.now(UTC))


def check_stands(row: AuditRow, ordered: Sequence[Version]) -> None:
    """Raises Changed where the newest object, the last in order of deletion, is not what the table's last row says.

    A delete marker above is no difference: a lifecycle rule may have hidden what this run is to delete.
    """
    newest = next((each for each in reversed(ordered) if not each.is_marker), None)
    if has_marker_left(row):
        if newest is not None:
            raise _unknown(row.run_id)
        return
    if newest is None:
        raise Changed("vanished", "no version of it is left, and no run of this software deleted it")
    is_state = row.status in STATES
    side = row.after if is_state else row.before
    said = side.etag, side.version or (UNVERSIONED if is_state else newest.version_id)
    shown = newest.etag, newest.version_id
    if shown != said:
        raise Changed("changed-since", f"S3 shows (ETag, version) {shown}, the table says {said}")


def last_due(job: Job) -> date | None:
    """The youngest day of calls that a rule may no longer keep; None where every rule keeps them for ever."""
    ends = [rule.last_ended(job.started_at.date()) for rule in job.rules if rule.keep_days is not None]
    return max(ends, default=None)
