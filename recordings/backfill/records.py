"""The beginning and the end of a backfill in the records of runs, and who takes up what a dead backfill left."""

from collections.abc import Sequence
from datetime import timedelta

from recordings.backfill.portions import Backfill
from recordings.backfill.weeks import first_week_left
from recordings.dead_runs import DeadRuns, does_no_more, is_like, is_old
from recordings.run import Run
from recordings.table.files import AuditFiles
from recordings.table.records import (
    COVERED,
    RUNS,
    Circumstances,
    Kind,
    StartRecord,
    open_records,
    record_covered,
    record_start,
    run_ids,
)


def record_backfill(files: AuditFiles, backfill: Backfill, circumstances: Circumstances | None = None) -> None:
    """Say what is to be done, before anything is: if it dies, scheduled runs take up what is left."""
    cut = {"max_parallel": backfill.max_parallel}
    record_start(files, backfill.run, backfill=cut, circumstances=circumstances)


def record_backfill_end(files: AuditFiles, run: Run, *, is_finished: bool) -> None:
    """Say that the backfill is over; if all is finished, so are those that died and would have done no more."""
    done = [start.run_id for start in open_records(files) if _does_no_more(start, run)] if is_finished else []
    record_covered(files, {run.run_id, *done}, run)


def _does_no_more(start: StartRecord, run: Run) -> bool:
    """Whether it is a backfill that would have done nothing that this one has not."""
    first, last = start.dates
    within = start.kind is Kind.BACKFILL and run.start_date <= first and last <= run.end_date
    return within and does_no_more(start, run)


def dead_backfills(
    files: AuditFiles, opened: Sequence[StartRecord], run: Run, *, abandoned_after: timedelta
) -> DeadRuns:
    """The first week that is left of each open backfill like this run that died; none if dates were given.

    Only a week, because a run holds the keys of all that it takes up. A backfill lives while runs begin in its window.
    What is left of it is known by the names of the records that say which weeks are covered: no end record is read.
    """
    if not run.catches_up:
        return {}
    backfills = [start for start in opened if start.kind is Kind.BACKFILL and is_like(start, run)]
    recent = [start for start in opened if start.kind is not Kind.BACKFILL and not is_old(start, run, abandoned_after)]
    old = [start for start in backfills if is_old(start, run, abandoned_after)]
    dead = [start for start in old if not any(_begins_in(each, start) for each in recent)]
    if not dead:
        return {}
    covered = run_ids(files.names(RUNS), COVERED)
    return dict(filter(None, (first_week_left(start, covered) for start in dead)))


def _begins_in(inner: StartRecord, outer: StartRecord) -> bool:
    """Whether its first day is one of the other's; what does not narrow has none."""
    start, end = outer.dates
    return inner.start_date is not None and start <= inner.start_date <= end
