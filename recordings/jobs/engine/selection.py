"""Which archived recordings a job is about, and what was asked for in vain.

All rows of a recording lie under the date of its call, so the table is gone through a day at a time: first for what is
there (``look_through``), in the few columns that this takes, then for the rows themselves (``rows_of_part``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd

from recordings.errors import AuditDamaged
from recordings.formatting import label
from recordings.jobs.engine.due import Due, due_on
from recordings.jobs.engine.job import BATCH_SIZE, Job
from recordings.recording import span
from recordings.table.files import PARTITION, AuditFiles
from recordings.table.reading import Only, audit_dates, current, read_days, rows_of_days
from recordings.table.rows import DESTROYED, EVENTS, HOLDS_REPLACEMENT, AuditRow, Status

PART_ROWS = 4 * BATCH_SIZE  # whole rows held at once: some 10 MB
MAX_NAMED = 1000  # recordings that cannot come back, each in a sentence
_CLOCKS_DIFFER = timedelta(days=1)  # this machine's and S3's, at most, where nothing more is at stake than a HEAD
CANNOT_COME_BACK = (Status.RELEASED, *DESTROYED)
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
        self.released = [*self.released, *other.released][:MAX_NAMED]
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
    """The days that have any of a few contacts or keys, found by one search over all days; all days for many names."""
    if job.names is None or len(job.names[1]) > len(days):
        return days
    try:
        return sorted(set(read_days(files, days, [PARTITION], only_of(job))[PARTITION]))
    except AuditDamaged:  # a day alone will say so
        return days


def _of_day(job: Job, files: AuditFiles, day: date) -> Found:
    only = only_of(job)
    if job.of_run is not None:
        keys = read_days(files, [day], ["key"], replace(only, run_id=job.of_run))["key"]
        if keys.empty and not job.names:
            return Found()
        if not job.names:
            only = replace(only, first_key=keys.min(), last_key=keys.max())
    rows = read_days(files, [day], _COLUMNS, only)
    if rows.empty:  # of thousands of contacts, most days have none
        return Found()
    asked = of_run(rows[rows["status"].isin(job.traits.works_on)], job)
    now = _now(rows, asked)
    archived = of_run(now[now["status"].isin(job.traits.works_on)], job)
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
            (str(status), str(run_id)): Gone(recordings=len(group), last_at=plain(group["state_at"].max()))
            for (status, run_id), group in gone.groupby(["status", "run_id"])
        },
        released=list(_released(gone[gone["status"].isin(CANNOT_COME_BACK)], job)),
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
    """The recordings that a release asks S3 about, and those that certainly wait, which get neither request nor row."""
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
        asked = of_run(rows[rows["status"].isin(job.traits.works_on)], job)
        now = _now(rows, asked)
        archived = _converted(of_run(now[now["status"].isin(job.traits.works_on)], job), job)
        return _by_grace(archived, job)[0]

    return [row for day in part.days for row in rows_of_days(files, [day], _COLUMNS, only, chosen)]


def only_of_part(job: Job, part: Part) -> Only:
    """The rows of a part's keys, whatever they say."""
    only = only_of(job)
    return replace(only, first_key=part.first_key, last_key=part.last_key) if part.first_key else only


def only_of(job: Job) -> Only:
    return Only(bucket=job.bucket, prefixes=job.prefixes, contact_ids=job.contact_ids, keys=job.keys)


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


def knows_prefix(prefix: str, job: Job, files: AuditFiles) -> bool:
    """Whether the table has any row below the prefix, or may have."""
    only = Only(bucket=job.bucket, prefixes=(prefix,))
    try:
        return any(len(read_days(files, [day], ["status"], only)) for day in reversed(audit_dates(files)))
    except AuditDamaged:
        return True


def of_run(frame: pd.DataFrame, job: Job) -> pd.DataFrame:
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
    return f"run {row.run_id} left it {label(row.status)}{when(row.started_at)}{reason}"


def _released(released: pd.DataFrame, job: Job) -> Iterator[str]:
    """What cannot come back, each by its name, where it was asked for by its name."""
    if not job.traits.brings_back or (job.names is None and job.of_run is None):
        return
    rows: Iterable[Any] = released.head(MAX_NAMED).itertuples()
    for row in rows:
        name = f"contact {row.contact_id}" if isinstance(row.contact_id, str) and not job.keys else row.key
        what = "its original was released" if row.status == Status.RELEASED else f"it was {label(row.status)}"
        yield f"{name}: {what} by run {row.run_id}{when(row.state_at)}"


def plain(moment: Any) -> datetime | None:
    return None if pd.isna(moment) else moment.to_pydatetime()


def when(moment: Any) -> str:
    return "" if moment is None or pd.isna(moment) else f" on {moment:%Y-%m-%d at %H:%M} UTC"
