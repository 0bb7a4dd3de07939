"""Which archived recordings a job is about, and what was asked for in vain.

All rows of a recording lie under the date of its call, so the table is gone through a day at a time: first for what is
there (``look_through``), in the few columns that this takes, then for the rows themselves (``rows_of_part``).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

from recordings.decision import WAS_DESTROYED
from recordings.errors import AuditDamaged
from recordings.formatting import label, plural
from recordings.found import found_row
from recordings.jobs.job import BATCH_SIZE, Job
from recordings.jobs.result import Due, due_on
from recordings.keys import contact_of, date_of
from recordings.outcomes import accounted, ended
from recordings.pool import Pool
from recordings.recording import Day, days_between, span
from recordings.retrying import patience
from recordings.s3.store import Store
from recordings.table.files import PARTITION, AuditFiles
from recordings.table.reading import Only, audit_dates, current, destroyed_recordings, read_days, rows_of_days
from recordings.table.records import RUNS, START, run_ids
from recordings.table.rows import DESTROYED, EVENTS, HOLDS_REPLACEMENT, AuditRow, Status

PART_ROWS = 4 * BATCH_SIZE  # whole rows held at once: some 10 MB
_MAX_RUNS = 5  # named in a note
_FEW_CONTACTS = 10  # whose keys are listed one by one, which costs a request each, rather than with their day
_MAX_NAMED = 1000  # recordings that cannot come back, each in a sentence
_CLOCKS_DIFFER = timedelta(days=1)  # this machine's and S3's, at most, where nothing more is at stake than a HEAD
_CANNOT_COME_BACK = (Status.RELEASED, *DESTROYED)
_COLUMNS = (
    *("bucket", "key", "contact_id", "run_id", "status", "state_at", "started_at"),
    *("version_before", "bytes_before", "storage_class_before", "read_back"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some days, or a range of the keys of a day with very many recordings: what is taken up at once."""

    days: tuple[date, ...]
    recordings: int  # that the job is about
    first_key: str = ""
    last_key: str = ""  # empty: all from the first on

    def __str__(self) -> str:
        return span(self.days[0], self.days[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """How many recordings are in one state by one run, and when the last of them came into it."""

    recordings: int = 0
    last_at: datetime | None = None

    def __add__(self, other: "Gone") -> "Gone":
        moments = [each for each in (self.last_at, other.last_at) if each is not None]
        return Gone(recordings=self.recordings + other.recordings, last_at=max(moments, default=None))


@dataclass(slots=True, kw_only=True)
class Found:
    """What some days of the table hold of what is asked for. Small, however many rows there are."""

    parts: list[Part] = field(default_factory=list)
    asked: int = 0  # recordings that were archived as it is asked, whatever became of them
    unconverted: int = 0  # of those archived now
    names: set[str] = field(default_factory=set)  # contacts or keys asked for, of which something was archived
    attempts: dict[str, tuple[datetime, str]] = field(default_factory=dict)  # by such a name: the last one, in words
    others: dict[tuple[str, str], Gone] = field(default_factory=dict)  # by status and run: not archived any more
    released: list[str] = field(default_factory=list)  # sentences
    knows_run: bool = False
    waiting: dict[date, Due] = field(default_factory=dict)  # by the day on which they fall due
    unread: list[str] = field(default_factory=list)  # a sentence for each day with a file that cannot be read
    again: dict[date, date] = field(default_factory=dict)  # by day of calls: when a release has to look there again

    def add(self, other: "Found") -> None:
        """Count those of other days in."""
        self.parts += other.parts
        self.asked += other.asked
        self.unconverted += other.unconverted
        self.names |= other.names
        self.attempts |= {each: last for each, last in other.attempts.items() if last >= self.attempts.get(each, last)}
        for ended_by, gone in other.others.items():
            self.others[ended_by] = self.others.get(ended_by, Gone()) + gone
        self.released = [*self.released, *other.released][:_MAX_NAMED]
        self.knows_run |= other.knows_run
        for day, due in other.waiting.items():
            self.waiting[day] = self.waiting.get(day, Due()) + due
        self.unread += other.unread
        self.again |= other.again


def dates_asked_for(job: Job, files: AuditFiles) -> list[date]:
    """The table's days that the job may be about."""
    start, end = job.start_date or date.min, job.end_date or date.max
    return [day for day in audit_dates(files) if start <= day <= end]


def look_through(job: Job, files: AuditFiles, days: Iterable[date]) -> Found:
    """What these days hold of what is asked for, a day at a time. A damaged file costs its day alone."""
    found = Found()
    for day in _days_with_any(job, files, list(days)):
        try:
            found.add(_of_day(job, files, day))
        except AuditDamaged as error:
            found.unread.append(f"calls of {day} are left out: {error}")
            found.again[day] = job.started_at.date()
    return found


def _days_with_any(job: Job, files: AuditFiles, days: list[date]) -> list[date]:
    """Of a few contacts or keys, the days that have any: found over all days at once, most of which have none."""
    if job.names is None or len(job.names[1]) > len(days):
        return days
    try:
        return sorted(set(read_days(files, days, [PARTITION], _only(job))[PARTITION]))
    except AuditDamaged:  # a day alone will say so
        return days


def _of_day(job: Job, files: AuditFiles, day: date) -> Found:
    only = _only(job)
    if job.of_run is not None:
        keys = read_days(files, [day], ["key"], replace(only, run_id=job.of_run))["key"]
        if keys.empty and not job.names:
            return Found()
        if not job.names:
            only = replace(only, first_key=keys.min(), last_key=keys.max())
    rows = read_days(files, [day], _COLUMNS, only)
    if rows.empty:  # of thousands of contacts, most days have none
        return Found()
    asked = _asked_for(rows[rows["status"].isin(job.traits.works_on)], job)
    now = _now(rows, asked)
    archived = _asked_for(now[now["status"].isin(job.traits.works_on)], job)
    converted = _converted(archived, job)
    gone = now[~now["key"].isin(archived["key"])]
    due, waiting = _by_grace(converted, job)
    found = Found(
        parts=_parts(day, due["key"]),
        asked=asked["key"].nunique(),
        unconverted=len(archived) - len(converted),
        names=set(asked[job.names[0]].dropna()) if job.names else set(),
        attempts=_attempts(rows, asked, files, day, only, job.names[0]) if job.names else {},
        others={
            (str(status), str(run_id)): Gone(recordings=len(group), last_at=_plain(group["state_at"].max()))
            for (status, run_id), group in gone.groupby(["status", "run_id"])
        },
        released=list(_released(gone[gone["status"].isin(_CANNOT_COME_BACK)], job)),
        knows_run=job.of_run in set(rows["run_id"]),
    )
    if not waiting.empty:
        found.waiting = due_on(waiting, _graces(waiting, job))
        found.again[day] = min(found.waiting)
    return found


def _now(rows: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    states = current(rows)
    return states[states["key"].isin(asked["key"])]


def _converted(archived: pd.DataFrame, job: Job) -> pd.DataFrame:
    return archived[archived["version_before"].fillna("").ne("")] if job.traits.needs_original else archived


def _by_grace(converted: pd.DataFrame, job: Job) -> tuple[pd.DataFrame, pd.DataFrame]:
    """For a release, what S3 is asked about, and what certainly waits: neither a request nor a row is spent on that."""
    latest = pd.Timestamp(job.started_at + _CLOCKS_DIFFER)
    waits = (converted["state_at"] + _graces(converted, job)).gt(latest) & job.traits.has_grace
    return converted[~waits], converted[waits]


def _graces(converted: pd.DataFrame, job: Job) -> pd.Series:
    """For how long each original stays, as ``Job.grace_days_of`` says."""
    days = converted["read_back"].fillna(False).map({True: job.grace_days_read_back, False: job.grace_days})
    return pd.to_timedelta(days.astype("int64"), unit="D")


def _parts(day: date, keys: pd.Series) -> list[Part]:
    """The day, in ranges of keys if it has more recordings than are taken up at once."""
    if len(keys) <= PART_ROWS:
        return [Part(days=(day,), recordings=len(keys))] if len(keys) else []
    ordered = sorted(keys)
    cuts = [ordered[n : n + PART_ROWS] for n in range(0, len(ordered), PART_ROWS)]
    return [Part(days=(day,), recordings=len(cut), first_key=cut[0], last_key=cut[-1]) for cut in cuts]


def packed(parts: Iterable[Part]) -> Iterator[Part]:
    """The same parts, days with few recordings together."""
    together: Part | None = None
    for part in parts:
        if together is None:
            together = part
        elif _fit(together, part):
            together = Part(days=(*together.days, *part.days), recordings=together.recordings + part.recordings)
        else:
            yield together
            together = part
    if together is not None:
        yield together


def _fit(one: Part, other: Part) -> bool:
    return not (one.first_key or other.first_key) and one.recordings + other.recordings <= PART_ROWS


def rows_of_part(job: Job, files: AuditFiles, part: Part) -> list[AuditRow]:
    """The rows of a part's recordings, in the words of the audit table."""
    only = only_of_part(job, part)

    def chosen(rows: pd.DataFrame) -> pd.DataFrame:
        asked = _asked_for(rows[rows["status"].isin(job.traits.works_on)], job)
        now = _now(rows, asked)
        archived = _converted(_asked_for(now[now["status"].isin(job.traits.works_on)], job), job)
        return _by_grace(archived, job)[0]

    return [row for day in part.days for row in rows_of_days(files, [day], _COLUMNS, only, chosen)]


def only_of_part(job: Job, part: Part) -> Only:
    """The rows of a part's keys, whatever they say."""
    only = _only(job)
    return replace(only, first_key=part.first_key, last_key=part.last_key) if part.first_key else only


def _only(job: Job) -> Only:
    return Only(bucket=job.bucket, prefixes=job.prefixes, contact_ids=job.contact_ids, keys=job.keys)


def sentences(job: Job, files: AuditFiles, found: Found, *, by_records: bool = False) -> tuple[list[str], list[str]]:
    """What was asked for in vain, and notes, of a table that knows the bucket.

    ``by_records``: days were left out because earlier releases have been through them.
    """
    nothing = [] if found.asked or by_records else [f"the audit table has nothing archived{_where(job)}"]
    vain, notes = _told(job, [] if job.names or job.of_run else nothing)
    vain += [*_names_not_found(found, job), *_run_in_vain(found, job, files)]
    if job.traits.brings_back:
        vain += _cannot_come_back(found, job)
    if found.unconverted:
        notes.append(f"never converted, so nothing to {job.kind}: {plural(found.unconverted, 'recording')}")
    notes += _done_before(found, job)
    return sorted_by_leniency(job, vain, notes, found.unread)


def sorted_by_leniency(
    job: Job, vain: Sequence[str], notes: Sequence[str], unread: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Problems and notes: what was asked for in vain is a note if the job says ``missing_ok``."""
    return ([*unread], [*vain, *notes]) if job.missing_ok else ([*unread, *vain], [*notes])


def _done_before(found: Found, job: Job) -> Iterator[str]:
    """What became of recordings that are not archived any more as it was asked: by which run, and when."""
    for status in sorted({status for status, _ in found.others}):
        if status in _CANNOT_COME_BACK and job.traits.brings_back:
            continue  # asked for in vain
        done = "archived again" if status in HOLDS_REPLACEMENT else label(status)
        yield f"{done} before: {_by_run(found, status)}"


def _told(job: Job, nothing: list[str]) -> tuple[list[str], list[str]]:
    """As asked in vain, or as a note: a release of all that is due has nothing to do on most days."""
    return (nothing, []) if job.narrows or job.traits.wants_all else ([], nothing)


def of_unknown_bucket(job: Job) -> tuple[list[str], list[str]]:
    """The same of a table that does not know the bucket, for what is no restore."""
    return sorted_by_leniency(job, *_told(job, [knows_nothing(job)]))


def knows_nothing(job: Job) -> str:
    return f"the audit table {job.audit_uri} has nothing archived of bucket {job.bucket}"


def knows_bucket(job: Job, files: AuditFiles) -> bool:
    """Whether the table has anything archived of the bucket, or may have: the first day found is enough."""
    only = Only(bucket=job.bucket)
    for day in reversed(audit_dates(files)):
        try:
            if read_days(files, [day], ["status"], only)["status"].isin(HOLDS_REPLACEMENT).any():
                return True
        except AuditDamaged:
            return True
    return False


def _asked_for(frame: pd.DataFrame, job: Job) -> pd.DataFrame:
    return frame if job.of_run is None else frame[frame["run_id"].eq(job.of_run)]


def _attempts(
    rows: pd.DataFrame, asked: pd.DataFrame, files: AuditFiles, day: date, only: Only, column: str
) -> dict[str, tuple[datetime, str]]:
    """What the last run said of each contact or key of which this day has nothing archived."""
    if rows[column].isin(asked[column]).all():
        return {}
    reasons = read_days(files, [day], [column, "run_id", "status", "reason", "started_at"], only)
    told = ~reasons[column].isin(asked[column]) & ~reasons["status"].isin(EVENTS)
    others = reasons[told].sort_values("started_at", kind="stable")
    rows_of_others: Iterable[Any] = others.itertuples()
    return {getattr(row, column): (row.started_at, _attempt(row)) for row in rows_of_others}


def _attempt(row: Any) -> str:
    reason = f": {row.reason}" if isinstance(row.reason, str) and row.reason else ""
    return f"run {row.run_id} left it {label(row.status)}{_when(row.started_at)}{reason}"


def _names_not_found(found: Found, job: Job) -> Iterator[str]:
    """The contacts or keys of which nothing was archived, and what the last run said of each."""
    for name in job.names[1] if job.names else ():
        if name not in found.names:
            by = f" by run {job.of_run}" if job.of_run else ""
            said = f"the audit table has no archived recording of it{by}{_where(job)}"
            _, attempt = found.attempts.get(name, (None, ""))
            yield "; ".join(filter(None, [f"{_noun(job)} {name}: {said}", attempt]))


def _noun(job: Job) -> str:
    return "key" if job.keys else "contact"


def _run_in_vain(found: Found, job: Job, files: AuditFiles) -> Iterator[str]:
    if job.of_run is None or found.asked or job.names:
        return
    if found.knows_run or job.of_run in run_ids(files.names(RUNS), START):
        yield f"run {job.of_run} archived nothing{_where(job)}"
    else:
        yield f"run {job.of_run}: the audit table knows no such run"


def _released(released: pd.DataFrame, job: Job) -> Iterator[str]:
    """What cannot come back, each by its name, where it was asked for by its name."""
    if not job.traits.brings_back or (job.names is None and job.of_run is None):
        return
    rows: Iterable[Any] = released.head(_MAX_NAMED).itertuples()
    for row in rows:
        name = f"contact {row.contact_id}" if isinstance(row.contact_id, str) and not job.keys else row.key
        what = "its original was released" if row.status == Status.RELEASED else f"it was {label(row.status)}"
        yield f"{name}: {what} by run {row.run_id}{_when(row.state_at)}"


def _cannot_come_back(found: Found, job: Job) -> Iterator[str]:
    """Each by its name where that was asked for, else how many, by which run and when."""
    yield from found.released
    count = sum(each.recordings for (status, _), each in found.others.items() if status in _CANNOT_COME_BACK)
    if found.released and count > len(found.released):
        yield f"and the originals of {plural(count - len(found.released), 'more recording')} are gone, too"
    elif count and not found.released:
        for status in sorted({status for status, _ in found.others} & set(_CANNOT_COME_BACK)):
            what = "released originals" if status == Status.RELEASED else f"{label(status)} recordings"
            yield f"{what} cannot come back{_where(job)}: {_by_run(found, status)}"


def _by_run(found: Found, status: str) -> str:
    """``2 by run A on 2026-02-01, 1 by run B on 2026-02-02``."""
    by_run = {run_id: gone for (each, run_id), gone in found.others.items() if each == status}
    runs = sorted(by_run, key=lambda run_id: _moment(by_run[run_id].last_at), reverse=True)
    said = [f"{by_run[each].recordings:,} by run {each}{_when(by_run[each].last_at)}" for each in runs[:_MAX_RUNS]]
    others = len(runs) - _MAX_RUNS
    return ", ".join([*said, *([f"others by {plural(others, 'earlier run')}"] if others > 0 else [])])


def _moment(at: datetime | None) -> datetime:
    return at or datetime.min.replace(tzinfo=UTC)


def _plain(moment: Any) -> datetime | None:
    return None if pd.isna(moment) else moment.to_pydatetime()


def _when(moment: Any) -> str:
    return "" if moment is None or pd.isna(moment) else f" on {moment:%Y-%m-%d at %H:%M} UTC"


def _where(job: Job) -> str:
    dates = job.start_date or job.end_date
    window = f" from {job.start_date or 'the first day'} to {job.end_date or 'the last'}" if dates else ""
    return window if job.prefixes == ("",) else f"{window} below {', '.join(job.prefixes)}"


class ByProvenance:
    """The recordings of a bucket that the table does not know: in the words of their own provenance, for a restore.

    What an earlier restore of this kind wrote does not make the table know the bucket. What the table says that a run
    destroyed does not come back, though somebody may have copied it back.
    """

    def __init__(self, job: Job, store: Store, files: AuditFiles, pool: Pool) -> None:
        self._job, self._store, self._files, self._pool = job, store, files, pool
        self._names: set[str | None] = set()
        self._found = 0
        self._destroyed = dict[str, str]()
        self._keys = set[str]()  # of the destroyed ones, those that are there again

    def __iter__(self) -> Iterator[list[AuditRow]]:
        """The rows, so many at a time; what is no replacement is passed over."""
        days = dates_asked_for(self._job, self._files)
        self._destroyed = destroyed_recordings(self._files, days, _only(self._job))
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
        vain = [f"{_noun(job)} {each}: no replacement in the bucket" for each in asked if each not in found]
        vain += [] if job.of_run else self._destroyed_for_good()
        if job.of_run and not self._found:
            vain.append(f"run {job.of_run}: the bucket has no recording that this run archived")
        elif not (self._found or vain) and restored.empty:
            vain.append(f"no object{_where(job)} says that it was archived")
        notes = [knows_nothing(job)]
        if not restored.empty:
            notes.append(f"restored before: {_by_run(_as_found(restored), Status.RESTORED)}")
        return sorted_by_leniency(job, vain, notes)

    def _destroyed_for_good(self) -> list[str]:
        """The recordings that a run has destroyed, each in a sentence; without those that are there again."""
        gone = sorted(self._destroyed.keys() - self._keys)
        return [f"{key}: {self._destroyed[key]}" for key in gone[:_MAX_NAMED]]

    def _restored_before(self) -> pd.DataFrame:
        """By earlier restores of this kind, not by this one."""
        columns = ["bucket", "key", "contact_id", "run_id", "status", "state_at", "started_at"]
        days = dates_asked_for(self._job, self._files)
        states = current(read_days(self._files, days, columns, _only(self._job)))
        before = states["status"].eq(Status.RESTORED) & states["run_id"].ne(self._job.run_id)
        return _asked_for(states[before], self._job)


def _as_found(restored: pd.DataFrame) -> Found:
    groups = restored.groupby("run_id")["state_at"]
    return Found(
        others={
            (str(Status.RESTORED), str(run_id)): Gone(recordings=len(group), last_at=_plain(group.max()))
            for run_id, group in groups
        }
    )


def _keys_asked_for(job: Job, store: Store) -> Iterator[str]:
    """The keys that can be of a recording asked for: no other object is looked at, and few others are listed."""
    listed = (key for place in _places(job) for key in patience()(_keys_below, store, place))
    return filter(_may_be(job), job.keys or listed)


def _places(job: Job) -> list[str]:
    """What is listed: with both dates and prefixes, day by day, and of a few contacts only what begins with theirs."""
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
    contacts = set(job.contact_ids or ())

    def check(key: str) -> bool:
        day = date_of(key)
        return day is not None and start <= day <= end and (not contacts or contact_of(key) in contacts)

    return check


def _row_by_provenance(key: str, job: Job, store: Store) -> AuditRow | None:
    """A replacement's row; the row that says why it could not be looked at; None for what is no replacement."""
    unknown = _unknown_row(key, job)
    row = accounted(unknown, lambda: found_row(store, key) or unknown)
    if row.status is Status.FAILED and (row.reason or "").startswith("refused"):
        return ended(row, Status.SKIPPED, f"unreadable: {row.reason}")
    is_nothing = (row.reason is None and not row.holds_replacement) or row.status is Status.CHANGED
    return None if is_nothing else row


def _unknown_row(key: str, job: Job) -> AuditRow:
    return AuditRow(
        run_id=job.run_id,
        recording_date=date_of(key) or date.min,
        bucket=job.bucket,
        key=key,
        contact_id=contact_of(key),
        status=Status.SKIPPED,
        profile="unknown",
        started_at=datetime.now(UTC),
        software_version=job.software_version,
    )
