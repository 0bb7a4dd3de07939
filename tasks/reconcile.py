"""A reconciliation as Prefect carries it out: one task run per day, and per batch of what is repaired."""

from collections.abc import Mapping
from datetime import date

from prefect import unmapped

from recordings.formatting import plural
from recordings.jobs.comparison import Comparison
from recordings.jobs.drifts import DayDrifts
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobResult
from recordings.jobs.reconcile import Runs, reconcile_day
from recordings.pool import shared_pool
from recordings.recording import Day
from recordings.reports.differences import differences_report
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.parquet import write_rows
from recordings.table.rows import BatchRows
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tasks.artifacts import publish
from tasks.jobs import batch_shown
from tasks.stage import shown, stage
from tasks.workplace import workplace


@stage(task_run_name="reconcile {day}")
def find_differences(day: Day, job: Job, runs: Runs) -> DayDrifts:
    """The differences between table and bucket on this day."""
    place = workplace(job)
    drifts = DayDrifts(day, reconcile_day(place.store, place.files, day, job, shared_pool(), runs))
    return shown(drifts, drifts.trouble)


def compare(job: Job, store: Store, files: AuditFiles, leave: Mapping[str, date]) -> Comparison:
    """The comparison of the job's days, each in a task run of its own."""
    return Comparison(
        job,
        store,
        files,
        leave,
        find_drifts=lambda days, runs: find_differences.map(days, unmapped(job), unmapped(runs)).result(
            raise_on_failure=False
        ),
    )


@stage(task_run_name="repair {batch}")
def repair_batch(batch: BatchRows, job: Job) -> JobResult:
    """Verify, tag, and write the missing rows: an archiving run's own stages, which load the decoder."""
    place = workplace(job)
    rows = tag_batch(place.store, verify_batch(place.store, batch.rows, shared_pool()), shared_pool())
    written = write_rows(place.files, rows, run_id=job.run_id, number=batch.batch.number)
    return batch_shown(JobResult(job, rows, written))


def publish_differences(comparison: Comparison) -> None:
    """Publish a page that counts and shows the differences, if there are any."""
    drifts = comparison.drifts
    if drifts.counts:
        said = plural(drifts.counts.total(), "difference")
        page = differences_report(drifts.examples, drifts.counts, [file.name for file in drifts.files])
        publish(page, key="reconcile-differences", description=f"{said} between table and bucket")
