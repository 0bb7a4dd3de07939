"""What a release leaves for later, kept under ``_runs/``, so that the next one reads only days with something to do.

A release without a selection looks at a day of calls where an earlier one said so, or where rows were written since.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from recordings.glossary import plural
from recordings.history import records_without_end
from recordings.jobs.job import Job
from recordings.jobs.selection import dates_asked_for
from recordings.table.evidence import RUNS, began_at, end_records, json_object, of_sound
from recordings.table.files import PARTITION, AuditFiles
from recordings.table.reading import names_of_days

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
    today, changed = job.started_at.date(), set(_changed_since(files, began - _LONGEST_RUN, dates))
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


def _changed_since(files: AuditFiles, moment: datetime, dates: Sequence[date]) -> Iterator[date]:
    """The days under which runs that began since then have written, by their end records.

    Of those that have none, or one that nobody can read, by the names of the files: they may have taken up what any
    other run had left.
    """
    ended = set[str]()
    for end in end_records(files, moment):
        ended.add(end["run"]["run_id"])
        if _archives(end["run"]):
            yield from _days_of(file["name"] for file in end["files"])
    others = records_without_end(files, moment, ended)
    if dead := tuple(f"{each}-" for each, start in others.items() if _archives(start)):
        yield from _days_of(name for name in names_of_days(files, dates) if name.rpartition("/")[2].startswith(dead))


def _archives(run: Mapping[str, Any]) -> bool:
    """Whether a run writes rows of originals that can be released; a backfill leaves that to the runs of its days."""
    return run.get("kind") not in _NOT_ARCHIVING and "backfill" not in run


def _days_of(names: Iterable[str]) -> Iterator[date]:
    for folder in {name.partition("/")[0] for name in names if name.startswith(f"{PARTITION}=")}:
        with suppress(ValueError):  # a folder that is no day's
            yield date.fromisoformat(folder.partition("=")[2])
