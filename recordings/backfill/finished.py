"""Which portions are finished, by the records of the runs that ended."""

from collections.abc import Iterable

from recordings.backfill.portions import Portion
from recordings.dead_runs import does_no_more
from recordings.recording import days_between
from recordings.run import Run
from recordings.table.files import AuditFiles
from recordings.table.records import EndRecord, end_records


def finished(records: Iterable[EndRecord], run: Run) -> dict[Portion, str]:
    """Portions that such a run, or one that did at least as much, has finished; the id of the last that did."""
    return dict(done for end in records for done in _done_by(end, run))


def _done_by(end: EndRecord, run: Run) -> list[tuple[Portion, str]]:
    shard = end.run.shard
    if shard is None or not _did_as_much(end, run):
        return []
    first, last = end.run.dates
    days = days_between(first, min(last, end.run.youngest_day, run.end_date))
    return [(Portion(date=day, shard=shard), end.run.run_id) for day in days]


def finished_since(files: AuditFiles, run: Run) -> dict[Portion, str]:
    """The same by all records of runs that began on the first day of calls or later: no other can have done it."""
    return finished(end_records(files, run.start_date), run)


def _did_as_much(end: EndRecord, run: Run) -> bool:
    return (
        does_no_more(run, end.run)
        and end.counts is not None
        and end.unrecorded == 0
        and not (end.counts.get("failed") or end.unlisted)
        and not (end.counts.get("changed") and not end.counts.get("archived"))
    )
