"""What a release leaves for later, kept under ``_runs/``, so that the next one reads only days with something to do.

A release without a selection looks at a day of calls where an earlier one said so, or where rows were written since.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

from recordings.formatting import plural
from recordings.jobs.engine.job import LONGEST_RUN, Job
from recordings.jobs.engine.selection import dates_asked_for
from recordings.table.files import PARTITION, AuditFiles
from recordings.table.reading import names_of_days
from recordings.table.records import (
    Kind,
    LeftRecord,
    StartRecord,
    end_records,
    left_records,
    record_look_again,
    start_records,
    writer_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The days of calls that a job looks at, and what is known of the others."""

    dates: tuple[date, ...]
    later: Mapping[date, date]  # by day of calls that is not looked at now: when a release has to look there
    by_records: bool = False  # whether days are left out because earlier releases have been through them

    @property
    def notes(self) -> list[str]:
        """What people should know who expected more."""
        if not self.by_records:
            return []
        waiting = f"{plural(len(self.later), 'day')} of calls with originals that wait, looked at again from "
        left = [f"left for later: {waiting}{min(self.later.values())} on"] if self.later else []
        return ["days that earlier releases have finished are not looked at; give dates to look at them", *left]


def days_to_look_at(job: Job, files: AuditFiles) -> Days:
    """All days that were asked for; of a release of all that is due, those that may have something to release."""
    dates = dates_asked_for(job, files)
    last = None if not job.traits.has_grace or job.narrows else _last_release(files, job)
    if last is None:
        return Days(dates=tuple(dates), later={})
    began, again = last
    today, changed = job.started_at.date(), set(_changed_since(files, began - LONGEST_RUN, dates))
    now = [day for day in dates if day in changed or again.get(day, date.max) <= today]
    later = {day: on for day, on in again.items() if day not in now}
    return Days(dates=tuple(now), later=later, by_records=True)


def record_left(files: AuditFiles, job: Job, days: Days, again: Mapping[date, date]) -> None:
    """Tell the next release of all that is due where it has to look; ``again`` is of the days looked at now.

    To be written last: what is said here to be finished is.
    """
    if job.traits.has_grace and job.is_recorded and not job.narrows:
        left = LeftRecord(
            bucket=job.bucket,
            grace_days=job.grace_days,
            grace_days_read_back=job.grace_days_read_back,
            look_again={**days.later, **again},
        )
        record_look_again(files, job.run_id, left)


def _last_release(files: AuditFiles, job: Job) -> tuple[datetime, Mapping[date, date]] | None:
    """When the last release of all that is due began, and what it left. One with a longer grace left too much."""
    return next(((began, left.look_again) for began, left in left_records(files) if _is_like(left, job)), None)


def _is_like(left: LeftRecord, job: Job) -> bool:
    waited_as_long = left.grace_days <= job.grace_days and left.grace_days_read_back <= job.grace_days_read_back
    return left.bucket == job.bucket and waited_as_long


def _changed_since(files: AuditFiles, moment: datetime, dates: Sequence[date]) -> Iterator[date]:
    """The days under which runs that began since then have written: their end records list the files.

    Where a run has no end record, or none that can be read, the names of its files tell the days: the run may have
    taken up the work of any other run.
    """
    ended = set[str]()
    for end in end_records(files, moment):
        ended.add(end.run.run_id)
        if _archives(end.run):
            yield from _days_of(file.name for file in end.files)
    if dead := {start.run_id for start in start_records(files, moment, but=ended) if _archives(start)}:
        yield from _days_of(name for name in names_of_days(files, dates) if writer_of(name) in dead)


def _archives(run: StartRecord) -> bool:
    """Whether a run writes rows of originals that can be released; a repair may."""
    return run.kind in (Kind.ARCHIVE, Kind.RECONCILE)


def _days_of(names: Iterable[str]) -> Iterator[date]:
    for folder in {name.partition("/")[0] for name in names if name.startswith(f"{PARTITION}=")}:
        with suppress(ValueError):  # a folder that is no day's
            yield date.fromisoformat(folder.partition("=")[2])
