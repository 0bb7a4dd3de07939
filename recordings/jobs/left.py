"""What a release leaves for later, kept under ``_runs/``, so that the next one reads only days with something to do.

A release without a selection looks at a day of calls where an earlier one said so, or where rows were written since.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from recordings.glossary import plural
from recordings.history import records_without_end
from recordings.jobs.job import Job
from recordings.jobs.selection import dates_asked_for
from recordings.recording import days_between
from recordings.table.evidence import RUNS, began_at, json_object, of_sound, records_since
from recordings.table.files import PARTITION, AuditFiles

_LONGEST_RUN = timedelta(days=7)  # a run that began so long before a release may still have written rows after it
_LEFT = ".left.json"
_NOT_ARCHIVING = ("restore", "release")


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
    last = None if job.kind != "release" or job.narrows else _last_release(files, job)
    if last is None:
        return Days(dates=tuple(dates), later={})
    began, again = last
    today, changed = job.started_at.date(), set(_changed_since(files, began - _LONGEST_RUN))
    now = [day for day in dates if day in changed or again.get(day, date.max) <= today]
    later = {day: on for day, on in again.items() if day not in now}
    return Days(dates=tuple(now), later=later, by_records=True)


def record_left(files: AuditFiles, job: Job, days: Days, again: Mapping[date, date]) -> None:
    """Tell the next release of all that is due where it has to look; ``again`` is of the days looked at now.

    To be written last: what is said here to be finished is.
    """
    if job.kind == "release" and job.is_recorded and not job.narrows:
        record = {
            "bucket": job.bucket,
            "grace_days": job.grace_days,
            "grace_days_read_back": job.grace_days_read_back,
            "look_again": {str(day): str(on) for day, on in sorted({**days.later, **again}.items())},
        }
        files.create(f"{RUNS}/{job.run_id}{_LEFT}", json.dumps(record, indent=1).encode())


def _last_release(files: AuditFiles, job: Job) -> tuple[datetime, dict[date, date]] | None:
    """When the last release of all that is due began, and what it left. One with a longer grace left too much."""
    names = sorted((name for name in files.names(RUNS) if name.endswith(_LEFT)), reverse=True)
    read = ((name, files.read(name)) for name in names)
    records = ({"name": name, **record} for name, data in read if (record := json_object(data)))
    return next(filter(None, of_sound(lambda record: _left_by(record, job), records)), None)


def _left_by(record: Mapping[str, Any], job: Job) -> tuple[datetime, dict[date, date]] | None:
    graces = (job.grace_days, job.grace_days_read_back)
    theirs = (record["grace_days"], record["grace_days_read_back"])
    if record["bucket"] != job.bucket or any(more > ours for more, ours in zip(theirs, graces, strict=True)):
        return None
    left = {date.fromisoformat(day): date.fromisoformat(on) for day, on in record["look_again"].items()}
    return began_at(record["name"].removeprefix(f"{RUNS}/")), left


def _changed_since(files: AuditFiles, moment: datetime) -> Iterator[date]:
    """The days under which runs that began since then have written, or may have before they died."""
    for days in of_sound(_days_written, records_since(files, moment)):
        yield from days
    dead = [days for days in of_sound(_window_of, records_without_end(files).values()) if days]
    if any(began >= moment for began, _ in dead):  # it may have taken up what older ones had left undone
        for _, days in dead:
            yield from days


def _days_written(end: Mapping[str, Any]) -> list[date]:
    is_archiving = end["run"].get("kind") not in _NOT_ARCHIVING
    return list(_days_of(file["name"] for file in end["files"])) if is_archiving else []


def _window_of(start: Mapping[str, Any]) -> tuple[datetime, list[date]] | None:
    """When a run began, and the days whose rows it may have written; None if it writes none that can be released."""
    if start.get("kind") in _NOT_ARCHIVING or "backfill" in start or not start["start_date"]:
        return None
    days = days_between(date.fromisoformat(start["start_date"]), date.fromisoformat(start["end_date"]))
    return began_at(start["run_id"]), list(days)


def _days_of(names: Iterable[str]) -> Iterator[date]:
    folders = {name.partition("/")[0] for name in names}
    yield from (date.fromisoformat(each.partition("=")[2]) for each in folders if each.startswith(f"{PARTITION}="))
